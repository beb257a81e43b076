package auth

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// request finds out who issues tokens for the page, and what to ask for. nil: nobody says, and
// nothing about the challenge is OAuth. tok is the token that was of no use, if any.
func (t *Transport) request(ctx context.Context, w *work, cs []challenge.Challenge, tok *tokenstore.Token) (*login.Request, error) {
	res, err := t.resource(ctx, w, cs)
	if err != nil || res == nil {
		return nil, err
	}
	if _, ok := w.depth(res.Resource); !ok { // a token for it would never be sent to this page
		return nil, &discovery.MismatchError{URL: res.URL, Member: "resource", Got: res.Resource, Want: w.origin.String() + pathOf(w.req.URL)}
	}
	issuer, err := t.issuer(ctx, w, res, tok)
	if err != nil {
		return nil, err
	}
	if !t.opts.Issuer(issuer) {
		if err := t.opts.Zones.CheckStranger(ctx, w.origin, issuer); err != nil {
			return nil, err
		}
	}
	server, err := t.opts.Discovery.AuthServer(ctx, issuer)
	var denied *netguard.DeniedError
	if errors.As(err, &denied) {
		return nil, &IssuerAddressError{Origin: w.origin, Issuer: issuer, Err: denied}
	}
	if err != nil {
		return nil, err
	}
	if err := t.checkEndpoints(ctx, w, server); err != nil {
		return nil, err
	}
	if tok != nil && tok.Issuer != issuer {
		tok = nil // its scopes are another server's
	}
	return &login.Request{
		Principal: w.principal, Origin: w.origin, Resource: res.Resource, Server: server,
		Scopes: scopes(w.site, cs, res, server, tok), Grant: w.site.Grant, Client: t.client(w, issuer),
		Trusted: w.site.Issuer == issuer || t.opts.Issuer(issuer),
	}, nil
}

// resource returns what the page says it belongs to, or what the config says in its place.
func (t *Transport) resource(ctx context.Context, w *work, cs []challenge.Challenge) (*discovery.Resource, error) {
	bare := len(cs) == 0 && w.site.Issuer == ""
	if w.origin.Scheme() != "https" && !w.mayBePlain() {
		if bare {
			return nil, nil
		}
		return nil, &PlaintextError{Origin: w.origin}
	}
	res, err := t.opts.Discovery.Resource(ctx, w.req.URL, challenge.ResourceMetadata(cs))
	var notFound *discovery.NotFoundError
	switch {
	case !errors.As(err, &notFound):
		return res, err
	case w.site.Issuer != "":
		return &discovery.Resource{Resource: w.origin.String()}, nil
	case bare:
		return nil, nil
	}
	return nil, &NoIssuerError{Origin: w.origin, Err: err}
}

// issuer returns the configured one; else that of the token before; else the first of the
// resource's where the principal has a client already; else the first.
func (t *Transport) issuer(ctx context.Context, w *work, res *discovery.Resource, tok *tokenstore.Token) (string, error) {
	issuer := w.site.Issuer
	if issuer == "" {
		if len(res.AuthorizationServers) == 0 {
			return "", &NoIssuerError{Origin: w.origin}
		}
		issuer = t.choose(ctx, w, res.AuthorizationServers, tok)
	}
	if u, err := url.Parse(issuer); err == nil && u.Scheme == "http" && !w.mayBePlain() {
		return "", &PlaintextError{Origin: w.origin, Issuer: issuer}
	}
	return issuer, nil
}

func (t *Transport) choose(ctx context.Context, w *work, issuers []string, tok *tokenstore.Token) string {
	if tok != nil && slices.Contains(issuers, tok.Issuer) {
		return tok.Issuer
	}
	for _, issuer := range issuers {
		if _, err := tokenstore.GetClient(ctx, t.opts.Store, tokenstore.ClientKey(w.principal, issuer)); err == nil {
			return issuer
		}
	}
	return issuers[0]
}

// checkEndpoints does as [Zones.CheckStranger] for the endpoints of an authorization server, which
// only one that was named, for a page that was, may have elsewhere.
func (t *Transport) checkEndpoints(ctx context.Context, w *work, s *discovery.AuthServer) error {
	from, err := origin.OfURL(s.Issuer)
	if err != nil {
		return err
	}
	named := func(o origin.Origin) bool { return t.opts.Zones.named(ctx, o) }
	for _, e := range []struct{ member, url string }{
		{"token_endpoint", s.TokenEndpoint},
		{"device_authorization_endpoint", s.DeviceAuthorizationEndpoint},
		{"registration_endpoint", s.RegistrationEndpoint},
		{"revocation_endpoint", s.RevocationEndpoint},
	} {
		if e.url == "" {
			continue
		}
		to, err := origin.OfURL(e.url)
		if err != nil {
			return err
		}
		if to != from && named(to) && !(named(from) && (named(w.origin) || t.opts.Issuer(s.Issuer))) {
			return &discovery.InvalidError{URL: s.URL, Reason: e.member + " is at " + to.String() + ", which is for the issuers in the config only"}
		}
	}
	return nil
}

// client returns the client registered beforehand, only where the config ties the origin to its
// issuer: else any site could borrow it by naming the issuer (RFC 9728 §7.4).
func (t *Transport) client(w *work, issuer string) login.Credentials {
	if w.site.Issuer != issuer {
		return login.Credentials{}
	}
	return t.opts.Client(issuer)
}

// scopes: the configured ones and no more; else what the challenge asks for, with what was asked
// for before; else what the resource lists; else none. A server that offers offline_access gives
// refresh tokens only to those who ask for it.
func scopes(site Site, cs []challenge.Challenge, res *discovery.Resource, server *discovery.AuthServer, tok *tokenstore.Token) []string {
	if site.Scopes != nil {
		return site.Scopes
	}
	bearer, _ := challenge.Find(cs, "Bearer")
	want := slices.Clone(bearer.Scopes())
	if len(want) == 0 {
		want = slices.Clone(res.ScopesSupported)
	} else if tok != nil {
		want = union(tok.Scopes, want)
	}
	if slices.Contains(server.ScopesSupported, "offline_access") {
		want = union(want, []string{"offline_access"})
	}
	return want
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
