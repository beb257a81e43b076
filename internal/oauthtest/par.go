package oauthtest

import (
	"net/http"
	"net/url"
	"time"
)

const (
	pushedPrefix   = "urn:ietf:params:oauth:request_uri:"
	pushedLifetime = time.Minute
)

// pushed is an authorization request that waits for the browser (RFC 9126).
type pushed struct {
	*authorization
	expires time.Time
}

// push is the pushed authorization request endpoint (RFC 9126 §2).
func (i *Issuer) push(w http.ResponseWriter, r *http.Request) {
	form, c, f := i.clientRequest(w, r)
	if f == nil && form == nil {
		return
	}
	var a *authorization
	if f == nil {
		a, f = readPushed(c, form)
	}
	if f == nil && i.options.DPoP && r.Header.Get("DPoP") != "" {
		// RFC 9449 §10.1: the proof stands for dpop_jkt.
		var thumbprint string
		thumbprint, f = i.proofs.check(w, r, "")
		if f == nil && a.jkt != "" && a.jkt != thumbprint {
			f = refuse("invalid_dpop_proof", "dpop_jkt is not the key of the proof")
		}
		a.jkt = thumbprint
	}
	if f != nil {
		f.write(w)
		return
	}
	uri := pushedPrefix + random()
	i.mu.Lock()
	i.pushed[uri] = pushed{a, time.Now().Add(pushedLifetime)}
	i.mu.Unlock()
	note(w, "authorization request of %s taken", c.name)
	i.reply(w, r, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": int(pushedLifetime.Seconds())})
}

func readPushed(c *client, form url.Values) (*authorization, *refusal) {
	if form.Has("request_uri") {
		return nil, refuse("invalid_request", "request_uri must not be pushed") // RFC 9126 §2.1
	}
	if form.Get("client_id") != c.id {
		return nil, refuse("invalid_request", "client_id is missing") // RFC 9126 §2.1: even where the client authenticates
	}
	a := &authorization{client: c, redirectURI: form.Get("redirect_uri"), state: form.Get("state"), challenge: form.Get("code_challenge")}
	if !c.mayRedirectTo(a.redirectURI) {
		return nil, refuse("invalid_request", "the redirect_uri is not registered for this client")
	}
	return a, a.read(form)
}

// takePushed returns the request behind a request_uri, once; otherwise why says what is wrong.
func (i *Issuer) takePushed(q url.Values) (a *authorization, why string) {
	if i.options.PAR == "" || len(q["request_uri"]) != 1 {
		return nil, "One request_uri of a server that offers it."
	}
	// RFC 9126 §4, RFC 9101 §5: what was pushed is the request, nothing beside it counts.
	if len(q) != 2 || len(q["client_id"]) != 1 {
		return nil, "With a request_uri there must be a client_id and nothing else."
	}
	uri := q.Get("request_uri")
	i.mu.Lock()
	defer i.mu.Unlock()
	p, ok := i.pushed[uri]
	if !ok || p.client.id != q.Get("client_id") {
		return nil, "The request_uri is unknown, was used before or belongs to another client."
	}
	delete(i.pushed, uri)
	if !time.Now().Before(p.expires) {
		return nil, "The request_uri has expired."
	}
	return p.authorization, ""
}
