// Package login gets tokens from authorization servers: with a person in a browser or at another device, or without one.
package login

import (
	"context"
	"crypto"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// The grants (RFC 6749 §1.3, RFC 8628, RFC 7523, RFC 8693).
const (
	AuthorizationCode = "authorization_code"
	DeviceCode        = "device_code"
	ClientCredentials = "client_credentials"
	JWTBearer         = "jwt_bearer"
	TokenExchange     = "token_exchange"
)

// Silent reports whether a grant needs no person.
func Silent(grant string) bool {
	return grant == ClientCredentials || grant == JWTBearer || grant == TokenExchange
}

// Credentials are a client known to an authorization server (RFC 6749 §2).
type Credentials struct {
	ID     string
	Secret secret.Text
	// AuthMethod is how it authenticates at the token endpoint (RFC 7591 §2, RFC 8705 §2): "none",
	// "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth" or
	// "self_signed_tls_client_auth"; "" is none without a secret, basic with one.
	AuthMethod string
	Key        *SigningKey // for private_key_jwt
}

// SigningKey signs client assertions (RFC 7523 §2.2).
type SigningKey struct {
	Signer    crypto.Signer
	ID        string // kid, may be ""
	Algorithm string // "ES256", "RS256", "PS256" or "EdDSA"; "": as the key and the server allow
}

// Subject is the token that the grants [JWTBearer] and [TokenExchange] start from.
type Subject struct {
	// Token reads it; it is called for each request, because such tokens rotate.
	Token func(context.Context) (secret.Text, error)
	Type  string // its token type URI (RFC 8693 §3); "": an ID token
	// At is the identity provider that turns the token into an assertion for the authorization
	// server first (identity assertion authorization grant); "": the token goes there itself.
	At         string
	AtEndpoint string      // the token endpoint of At
	Client     Credentials // ours at the identity provider
}

// Request is one login.
type Request struct {
	Principal principal.ID
	Origin    origin.Origin         // who asked for a token: shown to the person
	Resource  string                // RFC 8707 resource identifier, sent verbatim
	Server    *discovery.AuthServer // where the person signs in
	Scopes    []string
	Grant     string         // one of the constants above; "": [AuthorizationCode] or [DeviceCode], as the surroundings allow
	Client    Credentials    // zero: the stored registration, or a new one
	Replaces  tokenstore.Key // a token to delete once the new one is stored; zero: none
	Trusted   bool           // the configuration names this server; others are held to stricter rules
	Subject   Subject        // for [JWTBearer] and [TokenExchange]

	DPoP             bool           // the resource wants a token bound to a key (RFC 9449)
	CertificateBound bool           // the resource wants a token bound to the client certificate (RFC 8705 §3)
	ACRValues        []string       // how the person must have signed in (RFC 9470 §4)
	MaxAge           *time.Duration // how long ago at most; nil: no matter
}

// Options configure [Flows]. Transport, Store and Desk are required.
type Options struct {
	Transport http.RoundTripper // to authorization servers; carries no tokens of resources
	Store     tokenstore.Store
	Desk      *action.Desk
	// ClientMetadataURL is where our client metadata document is served; servers that take such
	// documents know us by it. "": it is served nowhere.
	ClientMetadataURL string
	// Settings is what the configuration says of an issuer beyond its client; nil: nothing.
	Settings func(issuer string) Settings
	// Certificate is our client certificate at an origin, nil where there is none; nil: nowhere.
	Certificate func(origin.Origin) *x509.Certificate

	// MaySend is asked before each request to an authorization server, with the principal in ctx. Its
	// error is returned, and nothing is sent. issuer is whose endpoint it is; nil: always.
	MaySend func(ctx context.Context, issuer, endpoint string) error

	Headless bool         // no browser here can reach a loopback page: use a device code where one is offered
	Logger   *slog.Logger // nil: silent
}

// Flows runs logins, at most one at a time per principal and origin.
type Flows struct {
	opts    Options
	started action.Book[flowKey]
	nonces  dpop.Nonces // of authorization servers
	unsaved unsaved
	tasks   tasks

	algorithms sync.Map // issuer to what it announced to take of client assertions, a []string
}

// flowKey: one login at a time for an origin. A site that names another issuer or resource with
// every answer must not get another question through, above all not after a no.
type flowKey struct {
	principal principal.ID
	origin    origin.Origin
}

// New returns Flows.
func New(opts Options) *Flows {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Settings == nil {
		opts.Settings = func(string) Settings { return Settings{} }
	}
	if opts.Certificate == nil {
		opts.Certificate = func(origin.Origin) *x509.Certificate { return nil }
	}
	if opts.MaySend == nil {
		opts.MaySend = func(context.Context, string, string) error { return nil }
	}
	return &Flows{opts: opts}
}

// Start begins the login that req describes, or joins the one under way. The token is in the
// store when the action has ended well. [*action.DeclinedError] says that the person refused lately.
func (f *Flows) Start(ctx context.Context, req Request) (*action.Action, error) {
	key := flowKey{req.Principal, req.Origin}
	a, fresh, err := f.started.Join(ctx, key, func() (*action.Action, error) {
		// The login outlives the call that caused it.
		return f.begin(context.WithoutCancel(ctx), req)
	})
	if err == nil && fresh {
		f.opts.Logger.Info("a login waits for a person", "origin", req.Origin.String(), "issuer", action.ShowIssuer(req.Server.Issuer))
	}
	return a, err
}

// begin chooses between the browser and the device code (RFC 8628): a code where it was configured,
// where no browser can reach us, or where none could be opened, provided that the server offers it.
func (f *Flows) begin(ctx context.Context, req Request) (*action.Action, error) {
	if err := f.Check(req); err != nil {
		return nil, err
	}
	if f.byDevice(req) {
		return f.startDevice(ctx, req)
	}
	a, err := f.placePage(req)
	if err != nil {
		return nil, err
	}
	device := req.Server.DeviceAuthorizationEndpoint != "" && req.Grant == "" && !req.stepsUp()
	if !f.opts.Headless && !f.opts.Desk.OpenBrowser(ctx, a) && device {
		req.Grant = DeviceCode
		code, err := f.startDevice(ctx, req)
		if err != nil {
			f.opts.Logger.Info("the device code grant did not work; the link stays", "error", err)
			return a, nil
		}
		a.End(action.ErrClosed)
		return code, nil
	}
	return a, nil
}

// byDevice reports whether the person is given a code at once, with no page of ours.
func (f *Flows) byDevice(req Request) bool {
	s := req.Server
	switch {
	case req.Grant != "":
		return req.Grant == DeviceCode
	case s.DeviceAuthorizationEndpoint == "":
		return false
	}
	return s.AuthorizationEndpoint == "" || f.opts.Headless && !req.stepsUp()
}

// stepsUp reports whether the resource demands how or when the person signed in (RFC 9470). Only
// an authorization request can carry that.
func (r Request) stepsUp() bool { return len(r.ACRValues) > 0 || r.MaxAge != nil }
