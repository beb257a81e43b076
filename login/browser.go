package login

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

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
			redirectURI = f.redirectURI(req, redirectURI)
			c, stored, err := f.client(principal.With(ctx, req.Principal), req, redirectURI)
			if err != nil {
				return action.Next{}, err
			}
			if stored {
				reused.Store(&c)
			}
			return f.authorizationRequest(req, c, redirectURI), nil
		},
	})
	if err != nil {
		return nil, err
	}
	go func() { // ends with the action
		<-a.Done()
		// Servers that forgot a client say so on a page of theirs, and the browser never comes back.
		if c := reused.Load(); c != nil && (errors.Is(a.Err(), action.ErrExpired) || isUnknownClient(a.Err())) {
			f.forgetRegistration(context.Background(), req.Principal, req.Server.Issuer, *c)
		}
	}()
	return a, nil
}

// authorizationRequest is RFC 6749 §4.1.1 with PKCE (RFC 7636) and resource (RFC 8707).
func (f *Flows) authorizationRequest(req Request, c Credentials, redirectURI string) action.Next {
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	conf := oauth2.Config{
		ClientID: c.ID, RedirectURL: redirectURI, Scopes: req.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: req.Server.AuthorizationEndpoint},
	}
	params := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("resource", req.Resource)}
	if slices.Contains(req.Scopes, "offline_access") && !strings.Contains(req.Server.AuthorizationEndpoint, "prompt=") { // given only with the person's consent (OpenID Connect Core §11)
		params = append(params, oauth2.SetAuthURLParam("prompt", "consent"))
	}
	return action.Next{
		URL:   conf.AuthCodeURL(state, params...),
		State: state, RedirectURI: redirectURI,
		Callback: func(ctx context.Context, answer url.Values) error {
			code, err := checkAnswer(req, answer)
			if err != nil {
				return err
			}
			form := req.tokenForm("authorization_code")
			form["code"], form["redirect_uri"], form["code_verifier"] = code, redirectURI, verifier
			_, err = f.obtain(principal.With(ctx, req.Principal), req, c, form)
			return err
		},
	}
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
		return "", action.ErrDenied
	case e != "":
		return "", &TokenError{Endpoint: shownEndpoint(req.Server.AuthorizationEndpoint), Status: 302, ErrorCode: e, Description: sanitize.Text(answer.Get("error_description"))}
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
