package login

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const maxRequestURI = 512

// push sends the parameters of an authorization request to the server directly (RFC 9126 §2) and
// returns what the browser carries in their place.
//
// A server that offers this is asked for it even if it does not insist, and a failure is final: a
// network attacker who only has to break this request must not get the parameters through the
// browser instead.
func (f *Flows) push(ctx context.Context, g *grant, params map[string]string) (map[string]string, error) {
	to := g.call(g.pushed)
	r, err := f.sendForm(ctx, to, g.client, params)
	if err != nil {
		return nil, err
	}
	// 201 is the standard's; servers that answer 200 are known.
	if r.status != http.StatusCreated && r.status != http.StatusOK {
		return nil, to.fail(r)
	}
	uri, err := parsePushed(r.body)
	if err != nil {
		return nil, &TokenError{Endpoint: shownEndpoint(g.pushed), Status: r.status, Reason: err.Error()}
	}
	return map[string]string{"client_id": g.client.ID, "request_uri": uri}, nil
}

// parsePushed reads a pushed authorization response (RFC 9126 §2.2).
func parsePushed(body []byte) (uri string, err error) {
	var a struct {
		RequestURI string         `json:"request_uri"`
		ExpiresIn  jsontext.Value `json:"expires_in"`
	}
	switch err := json.Unmarshal(body, &a); {
	case err != nil:
		return "", errors.New("the answer is not a valid JSON object")
	case !isVisible(a.RequestURI) || len(a.RequestURI) > maxRequestURI:
		return "", errors.New("the request_uri is missing or unusable")
	case number(a.ExpiresIn) <= 0:
		return "", errors.New("the expires_in is missing or not positive")
	}
	return a.RequestURI, nil
}
