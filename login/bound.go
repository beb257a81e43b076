package login

import (
	"cmp"
	"context"
	"crypto/x509"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// terms are what holds for one login: where its requests go, and what its tokens will be bound to.
type terms struct {
	token, device, pushed, revocation string // endpoints; "" where they are not used

	certificate string // thumbprint of the client certificate that the tokens will be bound to, or ""
	dpop        bool   // they will be bound to a key
}

// grant is one way to a token, with all that is settled before its first request.
type grant struct {
	Request
	terms
	client Credentials
	key    *dpop.Key // nil: none
}

// settle finds out on which terms c gets a token.
func (f *Flows) settle(ctx context.Context, req Request, c Credentials) (*grant, error) {
	t, err := f.terms(req, c)
	if err != nil {
		return nil, err
	}
	g := &grant{Request: req, terms: *t, client: c}
	if t.dpop {
		if g.key, err = f.ProofKey(ctx, req.Principal, req.Server.Issuer); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// call is a request of the login to one of the server's endpoints.
func (g *grant) call(endpoint string) call {
	return call{
		principal: g.Principal, issuer: g.Server.Issuer, endpoint: endpoint, key: g.key,
		algorithms: g.Server.TokenEndpointAuthSigningAlgValuesSupported, configured: g.Client.ID != "",
	}
}

// terms needs no request and no store, so that everything that stands in the way of a login is
// known before a person is asked.
func (f *Flows) terms(req Request, c Credentials) (*terms, error) {
	var t terms
	var err error
	if t.dpop, err = f.usesDPoP(req); err != nil {
		return nil, err
	}
	s := req.Server
	binds := req.CertificateBound || s.TLSClientCertificateBoundAccessTokens
	var aliases discovery.Endpoints
	var mustAuthenticate, mustBind func(endpoint string) error // nil: the request works without a certificate
	switch {
	case c.showsCertificate():
		mustAuthenticate = func(endpoint string) error { return noCertificate(s.Issuer, endpoint) }
		mustBind = mustAuthenticate
	case req.CertificateBound:
		mustBind = func(endpoint string) error { return unbindable(req.Origin, shownEndpoint(endpoint)) }
	}
	if c.showsCertificate() || binds {
		aliases = s.MTLSEndpointAliases
	}
	if t.token, err = f.endpoint(s.TokenEndpoint, aliases.TokenEndpoint, mustBind); err != nil {
		return nil, err
	}
	switch {
	case Silent(req.Grant):
	case f.byDevice(req):
		t.device, err = f.endpoint(s.DeviceAuthorizationEndpoint, aliases.DeviceAuthorizationEndpoint, mustAuthenticate)
	default:
		t.pushed, err = f.endpoint(s.PushedAuthorizationRequestEndpoint, aliases.PushedAuthorizationRequestEndpoint, mustAuthenticate)
	}
	if err != nil {
		return nil, err
	}
	if t.revocation, err = f.endpoint(s.RevocationEndpoint, aliases.RevocationEndpoint, nil); err != nil {
		return nil, err
	}
	// The server's own announcement says only that it can bind tokens: whether it does is a matter of
	// the client and the resource.
	if req.CertificateBound {
		t.certificate = tlsmat.Thumbprint(f.certificate(t.token))
		return &t, f.checkSameCertificate(req, &t)
	}
	return &t, nil
}

// endpoint is where a request goes. A client with a certificate uses the alias of an endpoint, if
// the server announces one, else the usual address (RFC 8705 §5). Without a certificate there the
// usual address is as good, unless must says that it is not. Metadata and the authorization
// endpoint have no alias: the browser knows nothing of our certificates.
func (f *Flows) endpoint(usual, alias string, must func(endpoint string) error) (string, error) {
	if usual == "" {
		return "", nil
	}
	at := cmp.Or(alias, usual)
	switch {
	case f.certificate(at) != nil:
		return at, nil
	case must != nil:
		return "", must(at)
	}
	return usual, nil
}

// checkSameCertificate: the resource compares the certificate that it is shown with the one that
// was shown at the token endpoint (RFC 8705 §3).
func (f *Flows) checkSameCertificate(req Request, t *terms) error {
	own := tlsmat.Thumbprint(f.opts.Certificate(req.Origin))
	switch {
	case own == "":
		return unbindable(req.Origin, req.Origin.String())
	case own != t.certificate:
		token := shownEndpoint(t.token)
		return &CertificateError{Origin: req.Origin, TokenOrigin: token, Reason: "another certificate is configured for " + token + " than for " + req.Origin.String(),
			Remedy: "give both sites the same entry: " + siteKey(req.Origin.String()) + " and " + siteKey(token)}
	}
	return nil
}

// unbindable: no certificate is configured at an origin where the resource's demand needs one.
func unbindable(o origin.Origin, at string) error {
	return &CertificateError{Origin: o, TokenOrigin: at, Reason: "no client certificate is configured for " + at,
		Remedy: "add a site with a certificate to the config: " + siteKey(at)}
}

// usesDPoP reports whether tokens are to be bound to a key (RFC 9449).
func (f *Flows) usesDPoP(req Request) (bool, error) {
	issuer := req.Server.Issuer
	switch f.Settings(issuer).DPoP {
	case "always":
		return true, nil
	case "never":
		if req.DPoP {
			return false, &UnsupportedError{Issuer: issuer, What: "tokens bound to a key (DPoP), which " + req.Origin.String() + " demands: the configuration switches it off",
				Remedy: "remove " + issuerKey(issuer, "dpop") + `: "never" from the config`}
		}
		return false, nil
	}
	if req.DPoP && !slices.Contains(req.Server.DPoPSigningAlgValuesSupported, dpop.Algorithm) {
		return false, &UnsupportedError{Issuer: issuer, What: "tokens bound to a key (DPoP with " + dpop.Algorithm + "), which " + req.Origin.String() + " demands",
			Remedy: "if it works without being announced, set " + issuerKey(issuer, "dpop") + `: "always" in the config`}
	}
	return req.DPoP, nil
}

// certificate is the client certificate that is shown at an endpoint, nil where there is none.
func (f *Flows) certificate(endpoint string) *x509.Certificate {
	o, err := origin.OfURL(endpoint)
	if err != nil {
		return nil
	}
	return f.opts.Certificate(o)
}
