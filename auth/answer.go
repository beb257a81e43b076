package auth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// challenged reports whether resp asks for an access token in a way we can answer: a 401 that does
// not only speak of other schemes; a 403 or a redirect that says where its metadata is, or whose
// Bearer challenge says that the scope is too small. A bare 403 is a no, not a question.
func challenged(resp *http.Response, w *work, tok *tokenstore.Token) ([]challenge.Challenge, bool) {
	status := resp.StatusCode
	if status != http.StatusUnauthorized && status != http.StatusForbidden && (status < 300 || status > 399) {
		return nil, false
	}
	cs := challenge.Parse(resp.Header.Values("Www-Authenticate"))
	bearer, isBearer := challenge.Find(cs, "Bearer")
	switch {
	case status == http.StatusUnauthorized:
		return cs, len(cs) == 0 || isBearer || challenge.ResourceMetadata(cs) != "" || w.site.Issuer != ""
	case status == http.StatusForbidden:
		if bearer.Params["error"] == "insufficient_scope" {
			return cs, !granted(tok, bearer.Scopes())
		}
		return cs, tok == nil && (isBearer || challenge.ResourceMetadata(cs) != "")
	default:
		return cs, challenge.ResourceMetadata(cs) != ""
	}
}

// granted reports whether tok was asked for with all of want already: asking again changes nothing.
func granted(tok *tokenstore.Token, want []string) bool {
	if tok == nil {
		return false
	}
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(tok.Scopes, s) })
}

// answer returns the token that should satisfy the challenge, [*ActionRequired] where a person is
// needed, or (nil, nil) where the challenge is not ours to answer. tok is what was refused.
func (t *Transport) answer(ctx context.Context, w *work, cs []challenge.Challenge, status int, tok *tokenstore.Token) (*tokenstore.Token, error) {
	if tok != nil && status == http.StatusUnauthorized {
		next, err := t.again(ctx, w, tok)
		if next != nil || err != nil {
			return next, err
		}
	}
	req, err := t.request(ctx, w, cs, tok)
	if err != nil || req == nil {
		return nil, err
	}
	if req.Grant == login.ClientCredentials {
		return t.opts.Login.ClientCredentials(ctx, *req)
	}
	a, err := t.opts.Login.Start(ctx, *req)
	if err != nil {
		return nil, err
	}
	return nil, &ActionRequired{a}
}

// again gets a new token for one that was refused, without a person: nil if that cannot be.
func (t *Transport) again(ctx context.Context, w *work, tok *tokenstore.Token) (*tokenstore.Token, error) {
	cur, err := t.find(ctx, w)
	if err != nil {
		return nil, err
	}
	if cur != nil && !cur.AccessToken.Equal(tok.AccessToken.Reveal()) {
		return cur, nil // renewed by someone else meanwhile
	}
	if !tok.RefreshToken.IsZero() {
		if next, err := t.renew(ctx, tok); next != nil || err != nil {
			return next, err
		}
		return nil, nil
	}
	if time.Since(tok.ObtainedAt) < freshFor {
		return nil, &RefusedError{Origin: w.origin, Issuer: tok.Issuer}
	}
	return nil, nil
}

// request finds out who issues tokens for this resource, and what to ask for. nil: nobody says.
func (t *Transport) request(ctx context.Context, w *work, cs []challenge.Challenge, tok *tokenstore.Token) (*login.Request, error) {
	if w.origin.Scheme() != "https" && !(w.origin.IsLoopback() && w.site.Configured) {
		return nil, &PlaintextError{Origin: w.origin}
	}
	res, err := t.opts.Discovery.Resource(ctx, w.req.URL, challenge.ResourceMetadata(cs))
	var notFound *discovery.NotFoundError
	switch {
	case err == nil:
	case !errors.As(err, &notFound):
		return nil, err
	case w.site.Issuer != "":
		res = &discovery.Resource{Resource: w.origin.String()} // the config says what the resource does not
	case len(cs) == 0:
		return nil, nil // a bare 401: nothing here speaks OAuth
	default:
		return nil, &NoIssuerError{Origin: w.origin, Err: err}
	}
	issuer := w.site.Issuer
	if issuer == "" {
		if len(res.AuthorizationServers) == 0 {
			return nil, &NoIssuerError{Origin: w.origin}
		}
		issuer = t.choose(ctx, w, res.AuthorizationServers)
	}
	if strings.HasPrefix(issuer, "http:") && !w.origin.IsLoopback() {
		return nil, &PlaintextError{Origin: w.origin, Issuer: issuer}
	}
	server, err := t.opts.Discovery.AuthServer(ctx, issuer)
	if err != nil {
		return nil, err
	}
	req := &login.Request{
		Principal: w.principal, Origin: w.origin, Resource: res.Resource, Server: server,
		Scopes: scopes(w.site, cs, res, tok), Grant: w.site.Grant,
	}
	// A client registered beforehand is used only where the config ties the origin to its issuer:
	// else any site could borrow it by naming the issuer (RFC 9728 §7.4).
	if w.site.Issuer == issuer {
		req.Client = t.client(issuer)
	}
	return req, nil
}

// choose takes the issuer where this resource has a client already, else the first.
func (t *Transport) choose(ctx context.Context, w *work, issuers []string) string {
	for _, issuer := range issuers {
		if _, err := tokenstore.GetClient(ctx, t.opts.Store, tokenstore.ClientKey(w.principal, issuer)); err == nil {
			return issuer
		}
	}
	return issuers[0]
}

// scopes: the configured ones and no more; else what the challenge asks for, with what was asked
// for before; else what the resource lists; else none.
func scopes(site Site, cs []challenge.Challenge, res *discovery.Resource, tok *tokenstore.Token) []string {
	if site.Scopes != nil {
		return site.Scopes
	}
	if c, ok := challenge.Find(cs, "Bearer"); ok {
		if want := c.Scopes(); len(want) > 0 {
			if tok != nil {
				want = union(tok.Scopes, want)
			}
			return want
		}
	}
	return res.ScopesSupported
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

func isNotFound(err error) bool { return errors.Is(err, tokenstore.ErrNotFound) }

// discard lets the connection be used again.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}
