package login

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// shown are the client certificates by origin; they may change.
type shown map[string]*tlstest.Pair

func (s shown) certificate(o origin.Origin) *x509.Certificate {
	if p := s[o.String()]; p != nil {
		return p.Cert.Leaf
	}
	return nil
}

// transport shows them, on connections of their own.
func (s shown) transport(roots *x509.CertPool) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		o, err := origin.Of(r.URL)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{RootCAs: roots}
		if p := s[o.String()]; p != nil {
			config.Certificates = []tls.Certificate{p.Cert}
		}
		return (&http.Transport{DisableKeepAlives: true, TLSClientConfig: config}).RoundTrip(r)
	}
}

// newMutual is a world whose issuer may ask for certificates.
func newMutual(t *testing.T, i oauthtest.IssuerOptions) (*world, shown, *tlstest.CA) {
	t.Helper()
	ca := tlstest.NewCA("ca")
	i.TLS = ca.ServerConfig("127.0.0.1")
	issuer, err := oauthtest.NewIssuer(i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	s := shown{}
	w := newWorldAt(t, issuer, options{
		roots: ca.Pool(), wrap: func(http.RoundTripper) http.RoundTripper { return s.transport(ca.Pool()) },
		flows: func(o *Options) { o.Certificate = s.certificate },
	})
	return w, s, ca
}

func client(ca *tlstest.CA, name string) *tlstest.Pair {
	return ca.Issue(tlstest.Leaf{CN: name, Client: true})
}

func TestCertificateClients(t *testing.T) {
	own := client(tlstest.NewCA("clients"), "robot")
	for _, tc := range []struct{ method, registered string }{
		{"tls_client_auth", "CN=robot"}, {"self_signed_tls_client_auth", "x5t#S256:" + tlsmat.Thumbprint(own.Cert.Leaf)},
	} {
		t.Run(tc.method, func(t *testing.T) {
			w, certificates, _ := newMutual(t, oauthtest.IssuerOptions{CertificateClients: map[string]string{"robot": tc.registered}, PAR: "offered"})
			certificates[w.issuer.URL] = own
			req := w.request()
			req.Client = Credentials{ID: "robot", AuthMethod: tc.method}
			if err := w.signIn(req); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Refresh(t.Context(), w.token(), req.Client); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/par", "/token"} {
				for _, e := range w.received(path) {
					if e.Form.Get("client_id") != "robot" || e.Form.Has("client_secret") || e.Form.Has("client_assertion") || e.Header.Get("Authorization") != "" || e.ClientCertificate != "robot" {
						t.Errorf("%s: %v, certificate %q", path, e.Form, e.ClientCertificate)
					}
				}
			}
			if w.token().CertificateThumbprint != "" {
				t.Error("a token is taken for bound although the server does not bind any")
			}
			// Without the certificate, nothing is sent.
			delete(certificates, w.issuer.URL)
			w.issuer.Log.Reset()
			_, err := w.Refresh(t.Context(), w.token(), req.Client)
			hint[*ClientError](t, err, "oauth.no_client", w.issuer.URL)
			if IsRefused(err) || len(w.issuer.Log.Events()) != 0 {
				t.Errorf("%v, %d requests", err, len(w.issuer.Log.Events()))
			}
		})
	}
}

// With a certificate every endpoint that has an alias is used there; the browser never is.
func TestAliases(t *testing.T) {
	ca := tlstest.NewCA("clients")
	own := client(ca, "robot")
	w, certificates, _ := newMutual(t, oauthtest.IssuerOptions{
		CertificateClients: map[string]string{"robot": "CN=robot"}, PAR: "offered", Aliases: true, CertificateBound: true, ClientCA: ca.Pool(),
	})
	alias := originOf(t, w.issuer.AliasURL)
	certificates[alias] = own
	req := w.request()
	req.Client = Credentials{ID: "robot", AuthMethod: "tls_client_auth"}
	if err := w.signIn(req); err != nil {
		t.Fatal(err)
	}
	tok := w.token()
	if tok.TokenEndpoint != alias+"/token" || tok.RevocationEndpoint != alias+"/revoke" || tok.CertificateThumbprint != "" { // what nobody demanded
		t.Errorf("stored %s, %s, bound to %q", tok.TokenEndpoint, tok.RevocationEndpoint, tok.CertificateThumbprint)
	}
	if _, err := w.Refresh(t.Context(), tok, req.Client); err != nil {
		t.Fatal(err)
	}
	req.Grant = DeviceCode
	if _, _, err := w.authorizeDevice(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/par": alias, "/token": alias, "/device_authorization": alias, "/authorize": originOf(t, w.issuer.URL)} {
		for _, e := range w.received(path) {
			if got := "https://" + e.Header.Get("Host"); got != want {
				t.Errorf("%s was asked at %s, want %s", path, got, want)
			}
		}
		if len(w.received(path)) == 0 {
			t.Errorf("%s was not asked", path)
		}
	}
	// Where the alias cannot be used, nothing goes to the usual address instead.
	delete(certificates, alias)
	certificates[originOf(t, w.issuer.URL)] = own
	for _, grant := range []string{AuthorizationCode, DeviceCode, ClientCredentials} {
		req.Grant = grant
		hint[*ClientError](t, w.Check(req), "oauth.no_client", alias, `sites."`+alias+`".mtls`)
	}
}

func originOf(t testing.TB, u string) string {
	t.Helper()
	o, err := origin.OfURL(u)
	if err != nil {
		t.Fatal(err)
	}
	return o.String()
}

func TestEndpoints(t *testing.T) {
	const usual, alias = "https://login.example", "https://mtls.login.example"
	own := client(tlstest.NewCA("ca"), "own")
	for _, tc := range []struct {
		name             string
		method           string
		bound, announced bool
		certificates     shown
		aliases          discovery.Endpoints
		want             terms
		err              string
	}{
		{"no certificate in play", "none", false, false, shown{usual: own, alias: own}, discovery.Endpoints{TokenEndpoint: alias + "/t"}, terms{token: usual + "/token", revocation: usual + "/revoke"}, ""},
		{"announced, no certificate", "none", false, true, nil, discovery.Endpoints{TokenEndpoint: alias + "/t"}, terms{token: usual + "/token", revocation: usual + "/revoke"}, ""},
		{"announced, certificate at the alias", "none", false, true, shown{alias: own}, discovery.Endpoints{TokenEndpoint: alias + "/t"},
			terms{token: alias + "/t", revocation: usual + "/revoke"}, ""},
		{"announced, no alias", "none", false, true, shown{usual: own}, discovery.Endpoints{}, terms{token: usual + "/token", revocation: usual + "/revoke"}, ""},
		{"announced, certificate only at the usual address", "none", false, true, shown{usual: own}, discovery.Endpoints{TokenEndpoint: alias + "/t"},
			terms{token: usual + "/token", revocation: usual + "/revoke"}, ""},
		{"revocation alone has an alias", "tls_client_auth", false, false, shown{usual: own, alias: own}, discovery.Endpoints{RevocationEndpoint: alias + "/r"}, terms{token: usual + "/token", revocation: alias + "/r"}, ""},
		{"authenticates, certificate only at the usual address", "tls_client_auth", false, false, shown{usual: own}, discovery.Endpoints{TokenEndpoint: alias + "/t"}, terms{}, `sites."` + alias + `".mtls`},
		{"demanded, certificate only at the usual address", "none", true, true, shown{usual: own, "https://wiki.example": own}, discovery.Endpoints{TokenEndpoint: alias + "/t"}, terms{}, `sites."` + alias + `".mtls`},
		{"demanded", "none", true, true, shown{alias: own, "https://wiki.example": own}, discovery.Endpoints{TokenEndpoint: alias + "/t"},
			terms{token: alias + "/t", revocation: usual + "/revoke", certificate: tlsmat.Thumbprint(own.Cert.Leaf)}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, http.NotFound)
			f.opts.Certificate = tc.certificates.certificate
			req.Grant, req.CertificateBound = ClientCredentials, tc.bound
			req.Client = Credentials{ID: "c", AuthMethod: tc.method}
			req.Server.RevocationEndpoint = usual + "/revoke"
			req.Server.TLSClientCertificateBoundAccessTokens, req.Server.MTLSEndpointAliases = tc.announced, tc.aliases
			got, err := f.terms(req, req.Client)
			if tc.err != "" {
				hint[interface {
					error
					Code() string
					Hint() string
				}](t, err, code(err), tc.err)
				return
			}
			if err != nil || *got != tc.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
}

func code(err error) string {
	if e, ok := err.(interface{ Code() string }); ok {
		return e.Code()
	}
	return ""
}

// The resource and the token endpoint must see the same certificate, and that is known beforehand.
func TestCertificateThatTheResourceDemands(t *testing.T) {
	const login, wiki = "https://login.example", "https://wiki.example"
	ca := tlstest.NewCA("ca")
	own, other := client(ca, "own"), client(ca, "other")
	for _, tc := range []struct {
		name         string
		certificates shown
		want         []string // nil: well
	}{
		{"the same", shown{login: own, wiki: own}, nil},
		{"different ones", shown{login: own, wiki: other}, []string{login, wiki, "same entry", `sites."https://wiki.example".mtls`, `sites."https://login.example".mtls`}},
		{"none at the resource", shown{login: own}, []string{"no client certificate is configured for https://wiki.example", `sites."https://wiki.example".mtls`}},
		{"none at the token endpoint", shown{wiki: own}, []string{`sites."https://login.example".mtls`}},
		{"none at all", shown{}, []string{`sites."https://login.example".mtls`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
			f.opts.Certificate = tc.certificates.certificate
			req.CertificateBound, req.Client.Secret = true, secret.Text{}
			for _, grant := range []string{AuthorizationCode, DeviceCode, ClientCredentials} {
				req.Grant = grant
				err := f.Check(req)
				if tc.want == nil {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				hint[*CertificateError](t, err, "oauth.certificate", tc.want...)
			}
		})
	}
}

// A public client's refresh token is lost with the certificate; a confidential one binds anew.
func TestRefreshAfterRotation(t *testing.T) {
	for _, tc := range []struct {
		name   string
		client Credentials
		old    bool // whether the refresh token still works
	}{
		{"public", Credentials{ID: "public"}, false},
		{"secret", Credentials{ID: "secret", Secret: secret.New("s")}, true},
		{"certificate", Credentials{ID: "robot", AuthMethod: "tls_client_auth"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, certificates, ca := newMutual(t, oauthtest.IssuerOptions{
				CertificateBound: true, Clients: map[string]string{"public": "", "secret": "s"}, CertificateClients: map[string]string{"robot": "CN=robot"},
			})
			first, second := client(ca, "robot"), client(ca, "robot")
			req := w.request()
			certificates[w.issuer.URL], certificates["https://wiki.example"] = first, first
			req.Client, req.CertificateBound = tc.client, true
			if err := w.signIn(req); err != nil {
				t.Fatal(err)
			}
			tok := w.token()
			if tok.CertificateThumbprint != tlsmat.Thumbprint(first.Cert.Leaf) || tok.TokenType != "Bearer" {
				t.Errorf("bound to %q, %s", tok.CertificateThumbprint, tok.TokenType)
			}
			again, err := w.Refresh(t.Context(), tok, tc.client)
			if err != nil || again.CertificateThumbprint != tok.CertificateThumbprint {
				t.Fatalf("the same certificate: %v", err)
			}
			certificates[w.issuer.URL] = second
			w.issuer.Log.Reset()
			next, err := w.Refresh(t.Context(), again, tc.client)
			if tc.old {
				defer func() { // without any certificate it must not become a token that everybody can use
					delete(certificates, w.issuer.URL)
					w.issuer.Log.Reset()
					_, err := w.Refresh(t.Context(), w.token(), tc.client)
					hint[*CertificateError](t, err, "oauth.certificate", "https://wiki.example", "no client certificate is configured for "+w.issuer.URL, `sites."`+w.issuer.URL+`".mtls`)
					if IsRefused(err) || len(w.issuer.Log.Events()) != 0 {
						t.Errorf("%v, %d requests", err, len(w.issuer.Log.Events()))
					}
					certificates[w.issuer.URL] = second // it comes back
					if next, err := w.Refresh(t.Context(), w.token(), tc.client); err != nil || next.CertificateThumbprint == "" {
						t.Errorf("with the certificate again: %v", err)
					}
				}()
				if err != nil || next.CertificateThumbprint != tlsmat.Thumbprint(second.Cert.Leaf) || w.token().CertificateThumbprint != next.CertificateThumbprint {
					t.Errorf("another certificate: %v", err)
				}
				return
			}
			hint[*BindingError](t, err, "oauth.binding_lost", "certificate", "sign in again")
			if !IsRefused(err) || len(w.issuer.Log.Events()) != 0 {
				t.Errorf("%v, %d requests", err, len(w.issuer.Log.Events()))
			}
			delete(certificates, w.issuer.URL)
			if _, err := w.Refresh(t.Context(), again, tc.client); !IsRefused(err) {
				t.Errorf("no certificate: %v", err)
			}
		})
	}
}

// A token that was bound to nothing does not mind a certificate.
func TestRefreshOfAnUnboundToken(t *testing.T) {
	f, _, req := at(t, saysJSON(200, `{"access_token":"new","token_type":"Bearer"}`))
	own := client(tlstest.NewCA("ca"), "own")
	f.opts.Certificate = shown{"https://login.example": own}.certificate
	tok := &tokenstore.Token{Principal: "local", Resource: resource, Issuer: req.Server.Issuer, TokenEndpoint: req.Server.TokenEndpoint, ClientID: "c", RefreshToken: secret.New("r"), AccessToken: secret.New("a")}
	next, err := f.Refresh(t.Context(), tok, Credentials{})
	if err != nil || next.CertificateThumbprint != "" {
		t.Errorf("got %+v, %v", next, err)
	}
}
