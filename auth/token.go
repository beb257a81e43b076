package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// freshFor is how long a token counts as just issued: when it is refused, a new login would be too.
const freshFor = time.Minute

// flightTime bounds what is asked of an issuer without a person, waiting for a lock included.
const flightTime = 30 * time.Second

// stored returns the token for the request, replaced when it is about to expire or is bound to what
// we have no more; nil without one.
func (t *Transport) stored(ctx context.Context, w *work) (*tokenstore.Token, error) {
	tok, err := t.find(ctx, w)
	if err != nil || tok == nil {
		return nil, err
	}
	usable, err := t.isUsable(ctx, w, tok)
	if err != nil || usable && !expiring(tok, time.Now()) {
		return tok, err
	}
	good := usable && time.Now().Before(tok.Expiry) // for a little while yet
	if t.mayRefresh(w, tok) {
		next, err := t.renew(ctx, w, tok)
		switch {
		case next != nil:
			return next, nil
		case err == nil:
			good = false // refused, and deleted
		case !good && (isTransient(err) || isClientRefused(err)):
			return nil, err
		default:
			t.opts.Logger.Warn("the token could not be refreshed", "origin", w.origin.String(), "error", err)
		}
	}
	next, err := t.ahead(ctx, w, tok)
	switch {
	case next != nil:
		return next, nil
	case err != nil:
		t.opts.Logger.Warn("the token could not be replaced", "origin", w.origin.String(), "error", err)
	}
	if good {
		return tok, nil
	}
	return nil, nil
}

// mayRefresh: what is bound to a certificate stays where there is none at the moment, because it may
// come back, and a server that refuses the refresh means it for good.
func (t *Transport) mayRefresh(w *work, tok *tokenstore.Token) bool {
	return !tok.RefreshToken.IsZero() && (tok.CertificateThumbprint == "" || t.opts.Certificate(w.origin) != nil)
}

// find returns the stored token whose resource covers the request most closely; of several, the
// one obtained last.
func (t *Transport) find(ctx context.Context, w *work) (*tokenstore.Token, error) {
	all, err := tokenstore.Tokens(ctx, t.opts.Store, w.principal)
	if err != nil {
		return nil, err
	}
	var best *tokenstore.Token
	var deepest int
	for _, tok := range all {
		if w.site.Issuer != "" && tok.Issuer != w.site.Issuer {
			continue // the config names another issuer now
		}
		if c := t.client(w, tok.Issuer); c.ID != "" && tok.ClientID != "" && tok.ClientID != c.ID {
			continue // or another client
		}
		depth, ok := w.depth(tok.Resource)
		if ok && (best == nil || depth > deepest || depth == deepest && tok.ObtainedAt.After(best.ObtainedAt)) {
			best, deepest = tok, depth
		}
	}
	return best, nil
}

// depth reports whether a token for resource may go to the request: see [discovery.Covers].
func (w *work) depth(resource string) (depth int, ok bool) {
	if w.origin.Scheme() != "https" && !w.mayBePlain() {
		return 0, false
	}
	return discovery.Covers(resource, w.req.URL)
}

// expiring reports whether the token ends within 30 seconds, or within a tenth of its life if
// that is shorter. An unknown end is no end.
func expiring(t *tokenstore.Token, now time.Time) bool {
	if t.Expiry.IsZero() {
		return false
	}
	early := min(30*time.Second, t.Expiry.Sub(t.ObtainedAt)/10)
	return now.Add(early).After(t.Expiry)
}

// isFresh reports whether the token was issued just now, and has not come to its end since.
func isFresh(t *tokenstore.Token, now time.Time) bool {
	age := now.Sub(t.ObtainedAt)
	return age >= 0 && age < freshFor && (t.Expiry.IsZero() || now.Before(t.Expiry))
}

// isTransient reports whether a refresh that failed may go well later: the issuer was not
// reached, failed itself or was asked too often. Any other answer it will give again.
func isTransient(err error) bool {
	var answer *login.TokenError
	if !errors.As(err, &answer) {
		return err != nil
	}
	switch answer.ErrorCode {
	case "server_error", "temporarily_unavailable", "slow_down":
		return true
	}
	return answer.Status < 400 || answer.Status >= 500 || answer.Status == http.StatusRequestTimeout || answer.Status == http.StatusTooManyRequests
}

// isClientRefused reports whether the issuer does not take our configured client: signing in again
// would fare no better.
func isClientRefused(err error) bool {
	var refused *login.ClientRefusedError
	return errors.As(err, &refused)
}

// renew refreshes old, once among all goroutines and processes. It returns nil without an error
// where the issuer refuses for good: a person must sign in again.
func (t *Transport) renew(ctx context.Context, w *work, old *tokenstore.Token) (*tokenstore.Token, error) {
	key := old.Key()
	flight := strings.Join([]string{"refresh", string(key.Principal), key.Resource, key.Issuer}, "\x00")
	return t.once(ctx, flight, func(ctx context.Context) (*tokenstore.Token, error) {
		return t.renewLocked(ctx, w, old)
	})
}

// once runs get a single time for all who ask meanwhile. It runs on its own context: what the
// issuer hands out must be stored even if the call that needed it is gone; [login.Flows.Wait] waits for it.
func (t *Transport) once(ctx context.Context, flight string, get func(context.Context) (*tokenstore.Token, error)) (*tokenstore.Token, error) {
	ch := t.flights.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTime)
		defer cancel()
		return get(ctx)
	})
	select {
	case r := <-ch:
		tok, _ := r.Val.(*tokenstore.Token)
		return tok, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *Transport) renewLocked(ctx context.Context, w *work, old *tokenstore.Token) (*tokenstore.Token, error) {
	key := old.Key()
	unlock, err := tokenstore.LockToken(ctx, t.opts.Store, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	cur, err := tokenstore.GetToken(ctx, t.opts.Store, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, nil // signed out meanwhile
	}
	if err != nil {
		return nil, err
	}
	if !cur.AccessToken.Equal(old.AccessToken.Reveal()) {
		return cur, nil // another goroutine or process was faster
	}
	next, err := t.opts.Login.Refresh(ctx, cur, t.client(w, cur.Issuer))
	if err == nil {
		return next, nil
	}
	if !login.IsRefused(err) {
		return nil, err // nothing is deleted
	}
	// Somebody who asks for no lock, of another version or machine, may have been faster after all.
	last, e := tokenstore.GetToken(ctx, t.opts.Store, key)
	switch {
	case errors.Is(e, tokenstore.ErrNotFound):
		return nil, nil
	case e != nil:
		return nil, e
	case !last.AccessToken.Equal(cur.AccessToken.Reveal()) || !last.RefreshToken.Equal(cur.RefreshToken.Reveal()):
		return last, nil
	}
	t.opts.Logger.Info("the issuer refused the refresh token; a new login is needed", "issuer", action.ShowIssuer(cur.Issuer), "error", err)
	return nil, t.opts.Store.Delete(ctx, key)
}
