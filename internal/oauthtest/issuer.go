package oauthtest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is a running authorization server with one user, alice.
type Issuer struct {
	URL      string // the issuer identifier (RFC 8414 §2)
	AliasURL string // where the endpoints of clients with a certificate are, "" without Aliases
	Log      *Log

	options    IssuerOptions
	origin     string
	server     *server
	alias      *server // nil without Aliases
	proofs     *proofs
	signingKey *jose.JSONWebKey

	mu         sync.Mutex // guards all below
	clients    map[string]*client
	requests   map[string]*authorization // shown to the person, not yet decided
	pushed     map[string]pushed         // by request_uri
	codes      map[string]*code
	access     map[string]*accessToken
	refresh    map[string]*refreshToken
	devices    map[string]*device // by device code
	assertions map[string]bool    // jti of client assertions
	reuses     int
	slowDowns  int
}

// grant is what a person, or a client for itself, allowed. Its tokens are one family.
type grant struct {
	client    *client
	subject   string
	scopes    []string
	resources []string
	revoked   bool

	signedIn bool     // a person did, which an ID token can tell
	nonce    string   // for the ID token
	acr      []string // what the authorization request demanded of the sign-in (RFC 9470)
	maxAge   *int
}

// NewIssuer starts an authorization server; Close it.
func NewIssuer(o IssuerOptions) (*Issuer, error) {
	if o.Path != "" && (!strings.HasPrefix(o.Path, "/") || strings.HasSuffix(o.Path, "/")) {
		return nil, fmt.Errorf("issuer path %q must start with a slash and not end in one", o.Path)
	}
	if o.RedirectURIs == nil {
		o.RedirectURIs = []string{"http://127.0.0.1/callback", "http://[::1]/callback"}
	}
	if o.Log == nil {
		o.Log = new(Log)
	}
	o.DPoP = o.DPoP || o.RequireDPoP || o.DPoPNonce
	switch o.PAR {
	case "", "offered", "required":
	default:
		return nil, fmt.Errorf("PAR %q is not offered or required", o.PAR)
	}
	if o.TLS == nil && o.needsCertificates() {
		return nil, errors.New("client certificates need TLS")
	}
	key, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	main := o.TLS
	if o.needsCertificates() && !o.Aliases {
		main = asking(o.TLS, o.ClientCA)
	}
	l, origin, err := listen(o.Listen, main)
	if err != nil {
		return nil, err
	}
	i := &Issuer{
		URL: origin + o.Path, Log: o.Log, options: o, origin: origin, proofs: newProofs(origin, o.DPoPNonce), signingKey: key,
		clients: map[string]*client{}, requests: map[string]*authorization{}, pushed: map[string]pushed{}, codes: map[string]*code{},
		access: map[string]*accessToken{}, refresh: map[string]*refreshToken{}, devices: map[string]*device{}, assertions: map[string]bool{},
	}
	i.preregister()
	if o.Aliases {
		if err := i.startAlias(); err != nil {
			_ = l.Close()
			return nil, err
		}
	}
	i.server = serve(l, main, i)
	return i, nil
}

// Close stops the server and waits for its handlers.
func (i *Issuer) Close() {
	i.server.close()
	if i.alias != nil {
		i.alias.close()
	}
}

// ServeHTTP answers as the started server does, for a client that has no network.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.Log.record("issuer", i.route(r.URL.Path), w, r)
}

// Valid reports whether a resource may accept token: issued here, not expired, not revoked,
// meant for resource (RFC 8707) and carrying all scopes. Otherwise why says what is wrong.
func (i *Issuer) Valid(token, resource string, scopes []string) (ok bool, why string) {
	_, why = i.check(token, []string{resource}, scopes)
	return why == "", why
}

// ExpireTokens makes every access token issued so far expired.
func (i *Issuer) ExpireTokens() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range i.access {
		t.expires = time.Unix(0, 0)
	}
}

// RevokeTokens revokes every access token issued so far; refresh tokens still work.
func (i *Issuer) RevokeTokens() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.access)
}

// RevokeRefreshTokens revokes every refresh token issued so far; access tokens still work.
func (i *Issuer) RevokeRefreshTokens() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.refresh)
}

// ForgetClients drops the clients that registered themselves.
func (i *Issuer) ForgetClients() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, c := range i.clients {
		if c.dynamic {
			delete(i.clients, id)
		}
	}
}

// ExpireDeviceCodes makes every device code issued so far expired.
func (i *Issuer) ExpireDeviceCodes() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, d := range i.devices {
		d.expires = time.Unix(0, 0)
	}
}

// ExpirePushedRequests makes every request_uri handed out so far expired.
func (i *Issuer) ExpirePushedRequests() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for uri, p := range i.pushed {
		i.pushed[uri] = pushed{p.authorization, time.Unix(0, 0)}
	}
}

// RefreshReuseDetected returns how often a rotated refresh token was presented again.
func (i *Issuer) RefreshReuseDetected() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reuses
}

// SlowDown makes the next n device polls answer slow_down.
func (i *Issuer) SlowDown(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.slowDowns = n
}

func (i *Issuer) route(path string) http.HandlerFunc {
	if h := override(i.options.Handle, path); h != nil {
		return h
	}
	o := i.options
	if path == o.Path+"/.well-known/openid-configuration" || !o.OIDCOnly && path == "/.well-known/oauth-authorization-server"+o.Path {
		return i.metadata
	}
	endpoint, ok := strings.CutPrefix(path, o.Path)
	if !ok {
		return notFound
	}
	switch {
	case endpoint == "/authorize" && !o.NoCode:
		return i.authorize
	case endpoint == "/authorize/decision" && !o.NoCode:
		return i.decideAuthorization
	case endpoint == "/token":
		return i.token
	case endpoint == "/revoke":
		return i.revoke
	case endpoint == "/register" && !o.NoRegistration:
		return i.register
	case strings.HasPrefix(endpoint, managePath) && o.Management && !o.NoRegistration:
		return i.manage
	case endpoint == "/par" && o.PAR != "" && !o.NoCode:
		return i.push
	case endpoint == "/jwks" && o.IDToken:
		return i.keys
	case endpoint == "/device_authorization" && !o.NoDevice:
		return i.authorizeDevice
	case endpoint == "/device" && !o.NoDevice:
		return i.devicePage
	case endpoint == "/device/decision" && !o.NoDevice:
		return i.decideDevice
	}
	return notFound
}

func override(handle map[string]http.HandlerFunc, path string) http.HandlerFunc {
	best := ""
	for suffix := range handle {
		if strings.HasSuffix(path, suffix) && len(suffix) > len(best) {
			best = suffix
		}
	}
	return handle[best]
}

func notFound(w http.ResponseWriter, r *http.Request) {
	note(w, "nothing here")
	http.NotFound(w, r)
}
