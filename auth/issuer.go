package auth

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// maxIssuers is how many authorization servers of one resource are tried.
const maxIssuers = 3

// issuers returns those to try, in order: the configured one and no other; else those that the
// config names, and no others; else that of the token before, then where the person has
// agreed to sign in before: for this origin, which left a token, or at all, which left a registration;
// then the rest.
func (t *Transport) issuers(ctx context.Context, w *work, res *discovery.Resource, tok *tokenstore.Token) ([]string, error) {
	if w.site.Issuer != "" {
		return []string{w.site.Issuer}, nil
	}
	all := slices.Clone(res.AuthorizationServers)
	if len(all) == 0 {
		return nil, &NoIssuerError{Origin: w.origin}
	}
	if named := slices.DeleteFunc(slices.Clone(all), func(issuer string) bool { return !t.opts.Issuer(issuer) }); len(named) > 0 {
		all = named
	}
	if len(all) > 1 {
		stored, err := tokenstore.Tokens(ctx, t.opts.Store, w.principal)
		if err != nil {
			return nil, err
		}
		rank := map[string]int{}
		for _, issuer := range all {
			rank[issuer] = t.rank(ctx, w, issuer, tok, stored)
		}
		slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(rank[a], rank[b]) })
	}
	return all[:min(len(all), maxIssuers)], nil
}

// rank says how well we know an issuer of the resource's: the less, the better.
func (t *Transport) rank(ctx context.Context, w *work, issuer string, tok *tokenstore.Token, stored []*tokenstore.Token) int {
	isHere := func(tok *tokenstore.Token) bool {
		at, err := origin.OfURL(tok.Resource)
		return err == nil && at == w.origin && tok.Issuer == issuer
	}
	_, err := tokenstore.GetClient(ctx, t.opts.Store, tokenstore.ClientKey(w.principal, issuer))
	for i, ok := range []bool{tok != nil && tok.Issuer == issuer, slices.ContainsFunc(stored, isHere), err == nil} {
		if ok {
			return i
		}
	}
	return 3
}

// server reads the metadata of an issuer, if the page may send us there.
func (t *Transport) server(ctx context.Context, from *discovery.Client, w *work, issuer string) (*discovery.AuthServer, error) {
	if u, err := url.Parse(issuer); err == nil && u.Scheme == "http" && !w.mayBePlain() {
		return nil, &PlaintextError{Origin: w.origin, Issuer: issuer}
	}
	if !t.opts.Issuer(issuer) {
		if err := t.opts.Zones.CheckStranger(ctx, w.origin, issuer); err != nil {
			return nil, err
		}
	}
	server, err := from.AuthServer(ctx, issuer)
	var denied *netguard.DeniedError
	var notFound *discovery.NotFoundError
	switch {
	case errors.As(err, &denied):
		return nil, &IssuerAddressError{Origin: w.origin, Issuer: issuer, Err: denied}
	case errors.As(err, &notFound) && w.isLegacyIssuer(issuer):
		return legacyServer(issuer), nil
	case err != nil:
		return nil, err
	}
	return server, t.checkEndpoints(ctx, w, server)
}

// isLegacy reports whether the origin itself may be the issuer without saying so, as in MCP's
// authorization of 2025-03-26.
func (w *work) isLegacy() bool { return w.site.Configured && w.site.Legacy && w.site.Issuer == "" }

func (w *work) isLegacyIssuer(issuer string) bool {
	return w.isLegacy() && issuer == w.origin.String()
}

// legacyServer is the one that an origin without metadata has by MCP's authorization of 2025-03-26,
// section 2.3.3, which demands PKCE of it.
func legacyServer(issuer string) *discovery.AuthServer {
	return &discovery.AuthServer{
		Issuer: issuer, AuthorizationEndpoint: issuer + "/authorize", TokenEndpoint: issuer + "/token", RegistrationEndpoint: issuer + "/register",
		CodeChallengeMethodsSupported: []string{"S256"},
	}
}

// trusts reports whether the configuration names the issuer.
func (t *Transport) trusts(w *work, issuer string) bool {
	return w.site.Issuer == issuer || t.opts.Issuer(issuer)
}

// client returns the client registered beforehand, only where the config ties the origin to its
// issuer: else any site could borrow it by naming the issuer (RFC 9728 §7.4).
func (t *Transport) client(w *work, issuer string) login.Credentials {
	if w.site.Issuer != issuer && !w.isLegacyIssuer(issuer) {
		return login.Credentials{}
	}
	return t.opts.Client(issuer)
}

// checkEndpoints does as [Zones.CheckStranger] for the endpoints of an authorization server, which
// only one that was named, for a page that was, may have elsewhere.
func (t *Transport) checkEndpoints(ctx context.Context, w *work, s *discovery.AuthServer) error {
	from, err := origin.OfURL(s.Issuer)
	if err != nil {
		return err
	}
	named := func(o origin.Origin) bool { return t.opts.Zones.named(ctx, o) }
	for _, e := range s.Endpoints() {
		to, err := origin.OfURL(e.URL)
		if err != nil {
			return err
		}
		if to != from && named(to) && !(named(from) && (named(w.origin) || t.opts.Issuer(s.Issuer))) {
			return &discovery.InvalidError{URL: s.URL, Reason: e.Member + " is at " + to.String() + ", which is for the issuers in the config only"}
		}
	}
	return nil
}
