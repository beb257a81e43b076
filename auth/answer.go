package auth

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// answer returns the token that should satisfy the challenge, [*ActionRequired] where a person is
// needed, or (nil, nil) where the challenge is not ours to answer. tok is what was sent, if any.
func (t *Transport) answer(ctx context.Context, w *work, q question, tok *tokenstore.Token) (next *tokenstore.Token, err error) {
	switch q.want {
	case wantsToken:
		next, err = t.again(ctx, w, tok)
	case wantsSignIn: // which no refresh is
		next, err = t.newer(ctx, w, tok)
	}
	if next != nil || err != nil {
		return next, err
	}
	return t.login(ctx, w, q, tok)
}

// again gets a token in place of tok without a new login: nil where that cannot be.
func (t *Transport) again(ctx context.Context, w *work, tok *tokenstore.Token) (*tokenstore.Token, error) {
	next, err := t.newer(ctx, w, tok)
	if next != nil || err != nil || tok == nil || tok.RefreshToken.IsZero() {
		return next, err
	}
	next, err = t.renew(ctx, w, tok)
	if err != nil && !isTransient(err) && !isClientRefused(err) {
		t.opts.Logger.Warn("the token could not be refreshed; a new login is needed", "origin", w.origin.String(), "error", err)
		return nil, nil
	}
	return next, err
}

// newer returns the token that somebody else has got meanwhile: nil where there is none but tok.
func (t *Transport) newer(ctx context.Context, w *work, tok *tokenstore.Token) (*tokenstore.Token, error) {
	cur, err := t.find(ctx, w)
	if err != nil || cur == nil || expiring(cur, time.Now()) || tok != nil && cur.AccessToken.Equal(tok.AccessToken.Reveal()) {
		return nil, err
	}
	if ok, err := t.isUsable(ctx, w, cur); !ok {
		return nil, err
	}
	return cur, nil
}

// login begins one, or makes it where nobody is needed for it.
func (t *Transport) login(ctx context.Context, w *work, q question, tok *tokenstore.Token) (*tokenstore.Token, error) {
	plan, err := t.plan(ctx, w, q, tok)
	if err != nil || plan == nil {
		return nil, err
	}
	req := plan.Request
	if err := t.pointless(ctx, w, q, req, tok); err != nil {
		return nil, err
	}
	if q.want != wantsScope {
		// Who signs in next may have more rights than the one before.
		t.steps.Delete(tokenKey(req))
		if req.Replaces, err = t.inTheWay(ctx, w, req); err != nil {
			return nil, err
		}
	}
	if login.Silent(req.Grant) {
		return t.silently(ctx, w, q.want == wantsToken, req, tok)
	}
	a, err := t.opts.Login.Start(ctx, *req)
	if err != nil {
		return nil, err
	}
	if p := a.Prompt(); p.Resource == req.Resource && p.Issuer == req.Server.Issuer { // and not another login of this origin, which was joined
		switch {
		case q.want == wantsScope && within(req.Scopes, p.Scopes):
			t.steps.Store(tok.Key(), a)
			t.rounds.add(w, scopesOf(w), nil, a)
		case q.want == wantsSignIn:
			t.rounds.add(w, demandOf(req), req.MaxAge, a)
		case isJustIssued(tok):
			t.rounds.add(w, elsewhere, nil, a)
		}
	}
	return nil, &ActionRequired{a}
}

// pointless says why what req would get would fare no better than what there is.
func (t *Transport) pointless(ctx context.Context, w *work, q question, req *login.Request, tok *tokenstore.Token) error {
	isOurs := func(tok *tokenstore.Token) bool {
		return tok != nil && tok.Resource == req.Resource && tok.Issuer == req.Server.Issuer
	}
	switch {
	case q.want == wantsSignIn && !t.rounds.mayAdd(w, demandOf(req)):
		return &AuthenticationError{Origin: w.origin, Issuer: req.Server.Issuer, ACRValues: req.ACRValues, MaxAge: req.MaxAge}
	case q.want != wantsToken:
		return nil
	case isOurs(tok) && isJustIssued(tok) && (isDPoP(tok) || !req.DPoP):
		return &RefusedError{Origin: w.origin, Issuer: tok.Issuer}
	case isJustIssued(tok) && !t.rounds.mayAdd(w, elsewhere):
		return &RefusedError{Origin: w.origin, Issuer: tok.Issuer}
	case tok != nil:
		return nil
	}
	// None was sent: the one that there is may be bound to what we do not have here.
	cur, err := t.find(ctx, w)
	if err != nil || !isOurs(cur) || !isJustIssued(cur) {
		return err
	}
	_, err = t.holder(ctx, w, cur)
	return err
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
func (t *Transport) refused(ctx context.Context, w *work, q question, tok *tokenstore.Token) error {
	_, err := t.login(ctx, w, q, tok)
	var needed *ActionRequired
	var declined *action.DeclinedError
	var otherwise *AuthenticationError
	if errors.As(err, &needed) || errors.As(err, &declined) || errors.As(err, &otherwise) || ctx.Err() != nil {
		return err
	}
	return &RefusedError{Origin: w.origin, Issuer: tok.Issuer, Err: err}
}

// elsewhere is the demand of an origin that refuses a token which was only just issued, and names
// another issuer or resource.
const elsewhere = "another issuer or resource"

func isJustIssued(tok *tokenstore.Token) bool { return tok != nil && isFresh(tok, time.Now()) }

// tokenKey is where the token will be stored that req gets.
func tokenKey(req *login.Request) tokenstore.Key {
	return tokenstore.TokenKey(req.Principal, req.Resource, req.Server.Issuer)
}
