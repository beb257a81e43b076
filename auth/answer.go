package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// question is what a response asks of us.
type question int

const (
	nothing    question = iota
	wantsToken          // there was none, or it was not accepted
	wantsScope          // the token was accepted and does not reach far enough (RFC 6750 §3.1)
)

// question reads what resp, the answer to a request with tok, asks for: a token where it is a 401
// that does not only speak of other schemes, or a 403 or redirect that says so in a challenge. A
// bare 403 is a no, not a question.
func (t *Transport) question(w *work, resp *http.Response, tok *tokenstore.Token) (question, []challenge.Challenge) {
	status := resp.StatusCode
	if status != http.StatusUnauthorized && status != http.StatusForbidden && (status < 300 || status > 399) {
		return nothing, nil
	}
	cs := challenge.Parse(resp.Header.Values("Www-Authenticate"))
	bearer, isBearer := challenge.Find(cs, "Bearer")
	isOAuth := isBearer || challenge.ResourceMetadata(cs) != ""
	code := bearer.Params["error"]
	switch {
	case status == http.StatusUnauthorized && (len(cs) == 0 || isOAuth || tok != nil || w.site.Issuer != ""):
		return wantsToken, cs
	case status == http.StatusForbidden && isOAuth && (tok == nil || code == "invalid_token"):
		return wantsToken, cs
	case status == http.StatusForbidden && code == "insufficient_scope" && t.mayStepUp(w, bearer.Scopes(), tok):
		return wantsScope, cs
	case status < 400 && challenge.ResourceMetadata(cs) != "":
		return wantsToken, cs
	}
	return nothing, nil
}

// mayStepUp reports whether signing in again can get tok the scopes in want. It cannot where they
// are granted already, where the config asks for others, and where the issuer gave less than it
// was asked for the last time.
func (t *Transport) mayStepUp(w *work, want []string, tok *tokenstore.Token) bool {
	if w.site.Scopes != nil {
		want = w.site.Scopes
	}
	if within(want, tok.Scopes) {
		return false
	}
	last, ok := t.steps.Load(tok.Key())
	if !ok {
		return true
	}
	a := last.(*action.Action)
	succeeded := !a.EndedAt().IsZero() && a.Err() == nil
	return !succeeded || !within(want, a.Prompt().Scopes)
}

func within(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

// answer returns the token that should satisfy the challenge, [*ActionRequired] where a person is
// needed, or (nil, nil) where the challenge is not ours to answer. tok is what was sent, if any.
func (t *Transport) answer(ctx context.Context, w *work, q question, cs []challenge.Challenge, tok *tokenstore.Token) (*tokenstore.Token, error) {
	if q == wantsToken {
		next, err := t.again(ctx, w, tok)
		if next != nil || err != nil {
			return next, err
		}
	}
	return t.login(ctx, w, q, cs, tok)
}

// again gets a token in place of tok without a new login: nil where that cannot be.
func (t *Transport) again(ctx context.Context, w *work, tok *tokenstore.Token) (*tokenstore.Token, error) {
	cur, err := t.find(ctx, w)
	if err != nil {
		return nil, err
	}
	if cur != nil && !expiring(cur, time.Now()) && (tok == nil || !cur.AccessToken.Equal(tok.AccessToken.Reveal())) {
		return cur, nil // someone else was faster
	}
	if tok == nil || tok.RefreshToken.IsZero() {
		return nil, nil
	}
	next, err := t.renew(ctx, w, tok)
	if err != nil && !isTransient(err) {
		t.opts.Logger.Warn("the token could not be refreshed; a new login is needed", "origin", w.origin.String(), "error", err)
		return nil, nil
	}
	return next, err
}

// login begins one, or makes it where nobody is needed for it.
func (t *Transport) login(ctx context.Context, w *work, q question, cs []challenge.Challenge, tok *tokenstore.Token) (*tokenstore.Token, error) {
	req, err := t.request(ctx, w, cs, tok)
	if err != nil || req == nil {
		return nil, err
	}
	if q == wantsToken && tok != nil && isFresh(tok, time.Now()) && tok.Resource == req.Resource && tok.Issuer == req.Server.Issuer {
		return nil, &RefusedError{Origin: w.origin, Issuer: tok.Issuer} // a new one would fare no better
	}
	if q == wantsToken {
		// Who signs in next may have more rights than the one before.
		t.steps.Delete(tokenstore.TokenKey(req.Principal, req.Resource, req.Server.Issuer))
		if req.Replaces, err = t.inTheWay(ctx, w, req); err != nil {
			return nil, err
		}
	}
	if req.Grant == login.ClientCredentials {
		return t.silently(ctx, w, q, req, tok)
	}
	a, err := t.opts.Login.Start(ctx, *req)
	if err != nil {
		return nil, err
	}
	if p := a.Prompt(); q == wantsScope && p.Resource == req.Resource && p.Issuer == req.Server.Issuer && within(req.Scopes, p.Scopes) {
		t.steps.Store(tok.Key(), a) // and not another login of this origin, which was joined
	}
	return nil, &ActionRequired{a}
}

// silently logs in with the client's own credentials, once among all goroutines.
func (t *Transport) silently(ctx context.Context, w *work, q question, req *login.Request, tok *tokenstore.Token) (*tokenstore.Token, error) {
	flight := strings.Join([]string{"client", string(req.Principal), req.Resource, req.Server.Issuer, strings.Join(req.Scopes, " ")}, "\x00")
	return t.once(ctx, flight, func(ctx context.Context) (*tokenstore.Token, error) {
		if q == wantsToken {
			if next, err := t.again(ctx, w, tok); next != nil || err != nil {
				return next, err
			}
		}
		return t.opts.Login.ClientCredentials(ctx, *req)
	})
}

// inTheWay is the token that was of no use for this page but would still be taken for it after the
// login, because its resource reaches less far than the one that the page has now.
func (t *Transport) inTheWay(ctx context.Context, w *work, req *login.Request) (tokenstore.Key, error) {
	cur, err := t.find(ctx, w)
	if err != nil || cur == nil {
		return tokenstore.Key{}, err
	}
	of, _ := w.depth(cur.Resource)
	if now, ok := w.depth(req.Resource); !ok || of <= now {
		return tokenstore.Key{}, nil
	}
	return cur.Key(), nil
}

// refused says what it means that tok, which was to answer a challenge, was not accepted: that the
// page wants a token of another issuer or for another resource, or that nothing helps.
func (t *Transport) refused(ctx context.Context, w *work, cs []challenge.Challenge, tok *tokenstore.Token) error {
	_, err := t.login(ctx, w, wantsToken, cs, tok)
	var needed *ActionRequired
	var declined *action.DeclinedError
	if errors.As(err, &needed) || errors.As(err, &declined) || ctx.Err() != nil {
		return err
	}
	return &RefusedError{Origin: w.origin, Issuer: tok.Issuer, Err: err}
}
