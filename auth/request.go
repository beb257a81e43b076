package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// searchTime bounds how long we look for who issues tokens, at all the servers that are named.
const searchTime = 2 * discovery.CallTimeout

// Plan is the login that an answer asks for.
type Plan struct {
	Resource *discovery.Resource // what the page belongs to; its URL is "" where the config says it
	Request  *login.Request      // nil where no authorization server could be read
}

// Plan says what login would be made for resp, the answer to a request that carried no token,
// without beginning it. nil: none is asked for. With an error it holds what was found before.
func (t *Transport) Plan(ctx context.Context, resp *http.Response) (*Plan, error) {
	w, err := t.work(resp.Request.WithContext(ctx)) // that of the request may have ended with its body
	if err != nil {
		return nil, err
	}
	q := t.question(w, resp, nil)
	if q.want == nothing && w.site.Issuer == "" && !w.isLegacy() {
		return nil, nil
	}
	q.want = wantsToken
	return t.plan(ctx, w, q, nil)
}

// plan finds out who issues tokens for the page, and what to ask for. nil: nobody says, and nothing
// about the challenge is OAuth. tok is the token that was of no use, if any.
func (t *Transport) plan(ctx context.Context, w *work, q question, tok *tokenstore.Token) (*Plan, error) {
	from := t.opts.Discovery
	if q.want == wantsToken && tok != nil {
		from = from.Fresh() // the resource may have moved to another issuer
	}
	search, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	res, err := t.resource(search, from, w, q.challenges)
	if err != nil || res == nil {
		return nil, err
	}
	if _, ok := w.depth(res.Resource); !ok { // a token for it would never be sent to this page
		return nil, &discovery.MismatchError{URL: res.URL, Member: "resource", Got: res.Resource, Want: w.origin.String() + w.req.URL.EscapedPath()}
	}
	p := &Plan{Resource: res}
	issuers, err := t.issuers(search, w, res, tok)
	if err != nil {
		return p, err
	}
	var first error
	for _, issuer := range issuers {
		req, err := t.requestTo(search, from, w, q, res, issuer, tok)
		if err == nil {
			p.Request = req
			return p, nil
		}
		if first == nil {
			first, p.Request = err, req
		}
		var mismatch *discovery.MismatchError
		if errors.As(err, &mismatch) || ctx.Err() != nil {
			return p, err
		}
		t.opts.Logger.Info("an authorization server that the resource names cannot be used", "origin", w.origin.String(), "error", err)
	}
	return p, first
}

// requestTo is the login at one issuer of the resource's; with an error of [login.Flows.Check] both
// are returned.
func (t *Transport) requestTo(ctx context.Context, from *discovery.Client, w *work, q question, res *discovery.Resource, issuer string, tok *tokenstore.Token) (*login.Request, error) {
	server, err := t.server(ctx, from, w, issuer)
	if err != nil {
		return nil, err
	}
	if tok != nil && tok.Issuer != issuer {
		tok = nil // its scopes are another server's
	}
	req := &login.Request{
		Principal: w.principal, Origin: w.origin, Resource: res.Resource, Server: server,
		Scopes: scopes(w.site, q, res, server, tok), Grant: w.site.Grant, Client: t.client(w, issuer), Trusted: t.trusts(w, issuer),
		// A resource says that it can, not that it must (RFC 9728 §2); without a certificate it could not.
		CertificateBound: res.TLSClientCertificateBoundAccessTokens && t.opts.Certificate(w.origin) != nil,
	}
	if w.site.Scopes == nil && len(req.Scopes) > 0 && t.opts.Login.Settings(issuer).Resource == "omit" {
		return nil, &ScopesError{Origin: w.origin, Issuer: issuer, Scopes: req.Scopes}
	}
	if q.want == wantsSignIn {
		req.ACRValues = q.said.ACRValues()
		if age, ok := q.said.MaxAge(); ok {
			req.MaxAge = &age
		}
	}
	if req.Subject, err = t.subject(ctx, from, w.site); err != nil {
		return nil, err
	}
	var must bool
	req.DPoP, must = wantsDPoP(q.challenges, res, server)
	err = t.opts.Login.Check(*req)
	if err != nil && req.DPoP && !must { // it is only the better way
		req.DPoP = false
		err = t.opts.Login.Check(*req)
	}
	return req, err
}

// resource returns what the page says it belongs to, or what the config says in its place.
func (t *Transport) resource(ctx context.Context, from *discovery.Client, w *work, cs []challenge.Challenge) (*discovery.Resource, error) {
	bare := len(cs) == 0 && w.site.Issuer == "" && !w.site.Legacy
	if w.origin.Scheme() != "https" && !w.mayBePlain() {
		if bare {
			return nil, nil
		}
		return nil, &PlaintextError{Origin: w.origin}
	}
	advertised := challenge.ResourceMetadata(cs)
	res, err := from.Resource(ctx, w.req.URL, advertised)
	var notFound *discovery.NotFoundError
	switch {
	case !errors.As(err, &notFound):
		return res, err
	case w.site.Issuer != "":
		return &discovery.Resource{Resource: w.origin.String()}, nil
	case w.isLegacy() && advertised == "":
		return &discovery.Resource{Resource: w.origin.String(), AuthorizationServers: []string{w.origin.String()}}, nil
	case bare:
		return nil, nil
	}
	return nil, &NoIssuerError{Origin: w.origin, Err: err}
}

// wantsDPoP reports whether the token should be bound to a key: it must where the resource takes no
// other, and better is where both sides can (RFC 9449 §5.1, §7.1; RFC 9728 §2).
func wantsDPoP(cs []challenge.Challenge, res *discovery.Resource, server *discovery.AuthServer) (wants, must bool) {
	bySite := slices.Contains(res.DPoPSigningAlgValuesSupported, dpop.Algorithm)
	c, proofs := challenge.Find(cs, "DPoP")
	_, bearer := challenge.Find(cs, "Bearer")
	switch {
	case res.DPoPBoundAccessTokensRequired, proofs && !bearer:
		return true, true
	case proofs:
		bySite = c.Params["algs"] == "" || slices.Contains(strings.Fields(c.Params["algs"]), dpop.Algorithm)
	}
	return bySite && slices.Contains(server.DPoPSigningAlgValuesSupported, dpop.Algorithm), false
}

// scopes: the configured ones and no more; else what the challenge asks for, with what was asked
// for before; else what the resource lists; else none. A server that offers offline_access gives
// refresh tokens only to those who ask for it.
func scopes(site Site, q question, res *discovery.Resource, server *discovery.AuthServer, tok *tokenstore.Token) []string {
	if site.Scopes != nil {
		return site.Scopes
	}
	want := q.said.Scopes()
	switch {
	case len(want) == 0 && (tok == nil || q.want != wantsSignIn):
		want = slices.Clone(res.ScopesSupported)
	case tok != nil:
		want = union(tok.Scopes, want)
	}
	if slices.Contains(server.ScopesSupported, "offline_access") && !login.Silent(site.Grant) {
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
