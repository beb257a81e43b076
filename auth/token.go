package auth

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// freshFor is how long a token counts as just issued: when it is refused, a new login would be too.
const freshFor = time.Minute

// refreshTime bounds a refresh. It runs on its own context: the new refresh token must be stored
// even if the call that needed it is gone.
const refreshTime = 30 * time.Second

// stored returns the token for the request, refreshed when it is about to expire; nil without one.
func (t *Transport) stored(ctx context.Context, w *work) (*tokenstore.Token, error) {
	tok, err := t.find(ctx, w)
	if err != nil || tok == nil || !expiring(tok, time.Now()) {
		return tok, err
	}
	if tok.RefreshToken.IsZero() {
		return nil, nil
	}
	next, err := t.renew(ctx, tok)
	if err != nil && time.Now().Before(tok.Expiry) {
		t.opts.Logger.Warn("the token could not be refreshed; the old one is still valid", "origin", w.origin.String(), "error", err)
		return tok, nil
	}
	return next, err
}

// find returns the stored token whose resource covers the request most closely.
func (t *Transport) find(ctx context.Context, w *work) (*tokenstore.Token, error) {
	all, err := tokenstore.Tokens(ctx, t.opts.Store, w.principal)
	if err != nil {
		return nil, err
	}
	var best *tokenstore.Token
	for _, tok := range all {
		if w.site.Issuer != "" && tok.Issuer != w.site.Issuer {
			continue // the config names another issuer now
		}
		if covers(tok.Resource, w.origin, w.req.URL) && (best == nil || len(tok.Resource) > len(best.Resource)) {
			best = tok
		}
	}
	return best, nil
}

// covers reports whether a token for resource may go to u: the same origin, and a path that
// begins with the resource's whole segments.
func covers(resource string, o origin.Origin, u *url.URL) bool {
	r, err := url.Parse(resource)
	if err != nil {
		return false
	}
	ro, err := origin.Of(r)
	if err != nil || ro != o {
		return false
	}
	if o.Scheme() != "https" && !o.IsLoopback() {
		return false
	}
	prefix := strings.TrimSuffix(r.EscapedPath(), "/")
	path := u.EscapedPath()
	if strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") {
		return prefix == "" // what the server makes of it is not known
	}
	return path == prefix || strings.HasPrefix(path, prefix+"/") || prefix == ""
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

// renew refreshes old, once among all goroutines and processes. It returns nil without an error
// where the issuer refuses for good: a person must sign in again.
func (t *Transport) renew(ctx context.Context, old *tokenstore.Token) (*tokenstore.Token, error) {
	key := old.Key()
	flight := strings.Join([]string{string(key.Principal), key.Resource, key.Issuer}, "\x00")
	ch := t.refresh.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTime)
		defer cancel()
		return t.renewLocked(ctx, old)
	})
	select {
	case r := <-ch:
		tok, _ := r.Val.(*tokenstore.Token)
		return tok, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *Transport) renewLocked(ctx context.Context, old *tokenstore.Token) (*tokenstore.Token, error) {
	key := old.Key()
	unlock, err := t.opts.Store.Lock(ctx, "refresh "+string(key.Principal)+" "+key.Resource+" "+key.Issuer)
	if err != nil {
		return nil, err
	}
	defer unlock()
	cur, err := tokenstore.GetToken(ctx, t.opts.Store, key)
	if isNotFound(err) {
		return nil, nil // signed out meanwhile
	}
	if err != nil {
		return nil, err
	}
	if !cur.AccessToken.Equal(old.AccessToken.Reveal()) {
		return cur, nil // another goroutine or process was faster
	}
	next, err := t.opts.Login.Refresh(ctx, cur, t.client(cur.Issuer))
	if err == nil {
		return next, nil
	}
	if !login.IsRefused(err) {
		return nil, err // it may pass: nothing is deleted
	}
	t.opts.Logger.Info("the issuer refused the refresh token; a new login is needed", "issuer", cur.Issuer, "error", err)
	if err := t.opts.Store.Delete(ctx, key); err != nil {
		return nil, err
	}
	return nil, nil
}

func (t *Transport) client(issuer string) login.Credentials { return t.opts.Client(issuer) }
