package login

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// placePage puts the short page up. The server hears of us only when the person continues.
func (f *Flows) placePage(req Request) (*action.Action, error) {
	var reused atomic.Pointer[Credentials] // Continue may still run when the action has ended
	a, err := f.opts.Desk.Place(action.Form{
		Prompt: action.Prompt{Kind: action.SignIn, Origin: req.Origin, Issuer: req.Server.Issuer, Resource: req.Resource, Scopes: req.Scopes},
		Target: req.Server.AuthorizationEndpoint,
		Continue: func(ctx context.Context, redirectURI string) (action.Next, error) {
			defer f.tasks.begin()()
			return f.agreed(principal.With(ctx, req.Principal), req, f.redirectURI(req, redirectURI), &reused)
		},
	})
	if err != nil {
		return nil, err
	}
	f.tasks.start(func() { // ends with the action
		<-a.Done()
		if c := reused.Load(); c != nil && mayBeUnknown(*c, a.Err()) {
			f.forgetRegistration(context.Background(), req.Principal, req.Server.Issuer, *c)
		}
	})
	return a, nil
}

// mayBeUnknown reports whether a login that ended with err may have ended so because the server has
// forgotten the client: it says so on a page of its own, and the browser never comes back. The end of
// the process says less; what only the registration knows is not given up for it.
func mayBeUnknown(c Credentials, err error) bool {
	return errors.Is(err, action.ErrExpired) || isUnknownClient(err) || errors.Is(err, action.ErrClosed) && c.Secret.IsZero()
}

// agreed makes the authorization request that the person agreed to. A registration that the server
// has forgotten is replaced once, if the server says so before the browser goes there; reused
// notes one that may turn out to be later.
func (f *Flows) agreed(ctx context.Context, req Request, redirectURI string, reused *atomic.Pointer[Credentials]) (action.Next, error) {
	for first := true; ; first = false {
		c, stored, err := f.client(ctx, req, redirectURI)
		if err != nil {
			return action.Next{}, err
		}
		g, err := f.settle(ctx, req, c)
		if err != nil {
			return action.Next{}, err
		}
		next, err := f.authorizationRequest(ctx, g, redirectURI)
		if first && stored && isUnknownClient(err) {
			f.forgetRegistration(ctx, req.Principal, req.Server.Issuer, c)
			continue
		}
		if stored {
			reused.Store(&c)
		}
		return next, err
	}
}

// authorizationRequest is RFC 6749 §4.1.1, through the browser or pushed (RFC 9126).
func (f *Flows) authorizationRequest(ctx context.Context, g *grant, redirectURI string) (action.Next, error) {
	at, err := url.Parse(g.Server.AuthorizationEndpoint)
	if err != nil {
		return action.Next{}, unusableURL(g.Server.AuthorizationEndpoint)
	}
	query := at.Query() // what the endpoint's URL brings along stays (RFC 6749 §3.1)
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	params := f.authorizationParams(g, query)
	params["redirect_uri"], params["state"] = redirectURI, state
	params["code_challenge"], params["code_challenge_method"] = oauth2.S256ChallengeFromVerifier(verifier), "S256"
	if g.pushed != "" {
		if params, err = f.push(ctx, g, params); err != nil {
			return action.Next{}, err
		}
	}
	for name, value := range params {
		query.Set(name, value)
	}
	at.RawQuery = query.Encode()
	return action.Next{
		URL: at.String(), State: state, RedirectURI: redirectURI,
		Callback: func(ctx context.Context, answer url.Values) error {
			code, err := checkAnswer(g.Request, answer)
			if err != nil {
				return err
			}
			form := f.tokenForm(g.Request, "authorization_code")
			form["code"], form["redirect_uri"], form["code_verifier"] = code, redirectURI, verifier
			_, err = f.obtain(principal.With(ctx, g.Principal), g, form)
			return err
		},
	}, nil
}

// authorizationParams are those that are the same at each attempt. Whatever the configuration adds
// to them, what we set ourselves counts.
func (f *Flows) authorizationParams(g *grant, endpoint url.Values) map[string]string {
	params := extra(g.Request, f.Settings(g.Server.Issuer).AuthorizeParams)
	// offline_access is given only with the person's consent (OpenID Connect Core §11).
	if _, configured := params["prompt"]; !configured && !endpoint.Has("prompt") && slices.Contains(g.Scopes, "offline_access") {
		params["prompt"] = "consent"
	}
	params["response_type"], params["client_id"] = "code", g.client.ID
	if len(g.Scopes) > 0 {
		params["scope"] = strings.Join(g.Scopes, " ")
	}
	f.addResource(params, g.Server.Issuer, g.Resource)
	if len(g.ACRValues) > 0 { // RFC 9470 §4
		params["acr_values"] = strings.Join(g.ACRValues, " ")
	}
	if g.MaxAge != nil {
		params["max_age"] = strconv.FormatInt(int64(max(0, *g.MaxAge)/time.Second), 10)
	}
	if g.key != nil { // the code will work with this key only (RFC 9449 §10)
		params["dpop_jkt"] = g.key.Thumbprint()
	}
	return params
}

// checkAnswer validates the authorization response; the state was compared already. The issuer
// is compared first, as a plain string (RFC 9207 §2.4): of a wrong one nothing is used or shown.
func checkAnswer(req Request, answer url.Values) (code string, err error) {
	iss, present := answer.Get("iss"), answer.Has("iss")
	switch {
	case present && iss != req.Server.Issuer:
		return "", &AnswerError{Issuer: req.Server.Issuer, Reason: "it came from another issuer"}
	case !present && req.Server.IssParameterSupported:
		return "", &AnswerError{Issuer: req.Server.Issuer, Reason: "it does not say which issuer it came from, although this one promises to"}
	}
	switch e := answer.Get("error"); {
	case e == "access_denied":
		return "", &DeniedError{Issuer: req.Server.Issuer, Description: sanitize.Text(answer.Get("error_description"))}
	case e != "":
		return "", &TokenError{Endpoint: shownEndpoint(req.Server.AuthorizationEndpoint), ErrorCode: e, Description: sanitize.Text(answer.Get("error_description"))}
	}
	if code = answer.Get("code"); code == "" || len(code) > 8<<10 || strings.ContainsAny(code, "\x00\r\n") {
		return "", &AnswerError{Issuer: req.Server.Issuer, Reason: "it has no usable code"}
	}
	return code, nil
}

// isUnknownClient: the server does not know the registration any more.
func isUnknownClient(err error) bool {
	var e *TokenError
	return errors.As(err, &e) && (e.ErrorCode == "invalid_client" || e.ErrorCode == "unauthorized_client")
}
