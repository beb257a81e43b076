package oauthtest

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// IssuerOptions shape an [Issuer]. The zero value is a well-behaved server that offers everything.
type IssuerOptions struct {
	TLS    *tls.Config // nil: plain http on loopback
	Listen string      // "": 127.0.0.1:0; the host given here is the host of the URL
	Path   string      // path of the issuer identifier, such as "/tenant1"
	Log    *Log        // nil: its own

	TokenLifetime  time.Duration // 0: one hour; negative: expires_in is omitted, tokens do not expire
	NoRefresh      bool          // issue no refresh tokens
	NoRegistration bool          // no dynamic registration (RFC 7591)
	NoDevice       bool          // no device grant (RFC 8628)
	NoISS          bool          // neither announce nor send iss (RFC 9207)
	NoPKCEMetadata bool          // do not announce S256; it is demanded all the same
	NoCode         bool          // no authorization endpoint and no code grant
	RotateRefresh  bool          // each refresh token works once; using one again revokes its family
	OIDCOnly       bool          // metadata only where OpenID Connect Discovery puts it: path + /.well-known/openid-configuration
	AutoApprove    bool          // the authorization endpoint redirects back at once, with no person
	DeviceInterval int           // seconds; 0: 1. Sent as it is, enforced up to 60

	// Clients registered beforehand: client_id to secret, "" for a public client. One with a secret
	// may use client_secret_basic or client_secret_post.
	Clients map[string]string
	// RedirectURIs of those clients; nil: /callback on 127.0.0.1 or [::1], any port (RFC 8252 §7.3).
	RedirectURIs []string

	Edit         func(path string, metadata map[string]any) // change a metadata document before it is sent
	EditReply    func(path string, reply map[string]any)    // change a JSON reply of /token, /register or /device_authorization
	EditRedirect func(query url.Values)                     // change what the redirect back to the client carries
	// Handle overrides an endpoint by the end of its path ("/token", "/register"); the longest wins.
	Handle map[string]http.HandlerFunc
}

// Issuer is a running authorization server with one user, alice.
type Issuer struct {
	URL string // the issuer identifier (RFC 8414 §2)
	Log *Log

	options IssuerOptions
	origin  string
	server  *server

	mu        sync.Mutex // guards all below
	clients   map[string]*client
	requests  map[string]*authorization // shown to the person, not yet decided
	codes     map[string]*code
	access    map[string]*accessToken
	refresh   map[string]*refreshToken
	devices   map[string]*device // by device code
	reuses    int
	slowDowns int
}

// grant is what a person, or a client for itself, allowed. Its tokens are one family.
type grant struct {
	client    *client
	subject   string
	scopes    []string
	resources []string
	revoked   bool
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
	l, origin, err := listen(o.Listen, o.TLS)
	if err != nil {
		return nil, err
	}
	i := &Issuer{
		URL: origin + o.Path, Log: o.Log, options: o, origin: origin,
		clients: map[string]*client{}, requests: map[string]*authorization{}, codes: map[string]*code{},
		access: map[string]*accessToken{}, refresh: map[string]*refreshToken{}, devices: map[string]*device{},
	}
	for id, secret := range o.Clients {
		i.clients[id] = i.preregistered(id, secret)
	}
	i.server = serve(l, o.TLS, i)
	return i, nil
}

// Close stops the server and waits for its handlers.
func (i *Issuer) Close() { i.server.close() }

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
