package auth

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// proof is what a server finds in a DPoP header.
type proof struct {
	ID     string `json:"jti"`
	Method string `json:"htm"`
	URL    string `json:"htu"`
	Nonce  string `json:"nonce"`
	Token  string `json:"ath"`
	key    string // thumbprint
}

func readProof(t testing.TB, s sent) proof {
	t.Helper()
	var p proof
	signed, err := jose.ParseSignedCompact(s.Proof, []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	key := signed.Signatures[0].Protected.JSONWebKey
	payload, err := signed.Verify(key)
	must(t, err)
	must(t, json.Unmarshal(payload, &p))
	sum, err := key.Thumbprint(crypto.SHA256)
	must(t, err)
	p.key = base64.RawURLEncoding.EncodeToString(sum)
	_, token, _ := strings.Cut(s.Authorization, " ")
	hash := sha256.Sum256([]byte(token))
	if p.Token != base64.RawURLEncoding.EncodeToString(hash[:]) {
		t.Errorf("ath %q is not that of the token sent", p.Token)
	}
	return p
}

// bound is a token bound to the key that w has for the issuer.
func (w *world) bound(resource, issuer, token string) tokenstore.Token {
	w.t.Helper()
	key, err := w.Transport.opts.Login.ProofKey(w.t.Context(), principal.Local, issuer)
	must(w.t, err)
	return tokenstore.Token{
		Resource: resource, Issuer: issuer, TokenEndpoint: issuer + "/token", ClientID: "c", TokenType: "DPoP", KeyThumbprint: key.Thumbprint(),
		AccessToken: secret.New(token), ObtainedAt: time.Now(),
	}
}

func challengeDPoP(w http.ResponseWriter, code, nonce string) {
	w.Header().Set("WWW-Authenticate", `DPoP error="`+code+`", algs="ES256"`)
	if nonce != "" {
		w.Header().Set("DPoP-Nonce", nonce)
	}
	w.WriteHeader(401)
}

func nonceOf(r *http.Request) string {
	var p proof
	parts := strings.Split(r.Header.Get("DPoP"), ".")
	if len(parts) != 3 {
		return ""
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(payload, &p)
	return p.Nonce
}

// Every sending of a token that is bound to a key has a proof of its own, with the nonce that the
// server gave last.
func TestProofs(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, tt := range []struct {
		name   string
		serve  func() http.HandlerFunc
		calls  []int    // statuses of requests one after the other
		nonces []string // in the proofs that the server saw
	}{
		{"no nonce", func() http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) {}
		}, []int{200, 200}, []string{"", ""}},
		{"a nonce is demanded", func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if nonceOf(r) != "n1" {
					challengeDPoP(w, "use_dpop_nonce", "n1")
				}
			}
		}, []int{200, 200}, []string{"", "n1", "n1"}},
		{"a nonce comes with each answer", func() http.HandlerFunc {
			n := 0
			return func(w http.ResponseWriter, r *http.Request) {
				n++
				w.Header().Set("DPoP-Nonce", "n"+string(rune('0'+n)))
			}
		}, []int{200, 200, 200}, []string{"", "n1", "n2"}},
		{"none is ever good", func() http.HandlerFunc {
			n := 0
			return func(w http.ResponseWriter, r *http.Request) {
				n++
				challengeDPoP(w, "use_dpop_nonce", "n"+string(rune('0'+n)))
			}
		}, []int{401}, []string{"", "n1"}},
		{"demanded, and not given", func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { challengeDPoP(w, "use_dpop_nonce", "") }
		}, []int{401}, []string{""}},
		{"the same again", func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { challengeDPoP(w, "use_dpop_nonce", "n1") }
		}, []int{401, 401}, []string{"", "n1", "n1"}},
		{"said beside Bearer", func() http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if nonceOf(r) == "" {
					w.Header().Add("WWW-Authenticate", "Bearer")
					w.Header().Add("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
					w.Header().Set("DPoP-Nonce", "n1")
					w.WriteHeader(401)
				}
			}
		}, []int{200}, []string{"", "n1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve := tt.serve()
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: serve})
			w.configure(host, Site{Headers: []Header{{"dpop", secret.New("configured")}, {"Authorization", secret.New("Basic configured")}}})
			tok := w.bound(host, a, "token-1")
			tok.RefreshToken = secret.New("r-old")
			w.put(tok)
			for _, want := range tt.calls {
				w.page(host+handbook+"?q=1", want)
			}
			var nonces []string
			seen := map[string]bool{}
			for _, s := range n.sentTo("") {
				p := readProof(t, s)
				nonces = append(nonces, p.Nonce)
				if s.Authorization != "DPoP token-1" || p.Method != "GET" || p.URL != host+handbook || p.key != tok.KeyThumbprint || seen[p.ID] {
					t.Errorf("sent %+v with %+v", s, p)
				}
				seen[p.ID] = true
			}
			if !slices.Equal(nonces, tt.nonces) {
				t.Errorf("nonces %q, want %q", nonces, tt.nonces)
			}
			if got := w.token(); !got.AccessToken.Equal("token-1") {
				t.Error("the token was replaced")
			}
		})
	}
}

// What one origin gave is not sent to another, nor what one principal was given for another.
func TestNoncesStayAtTheirOrigin(t *testing.T) {
	const h, k, a = "https://h.example", "https://h.example:8443", "https://a.example"
	serve := func(w http.ResponseWriter, r *http.Request) { w.Header().Set("DPoP-Nonce", "of-"+r.URL.Host) }
	w, n := newWireWorld(t, map[string]http.HandlerFunc{h: serve, k: serve})
	w.put(w.bound(h, a, "one"))
	w.put(w.bound(k, a, "two"))
	for range 2 {
		w.page(h, 200)
		w.page(k, 200)
	}
	var got []string
	for _, s := range n.sentTo("") {
		got = append(got, readProof(t, s).Nonce)
	}
	if want := []string{"", "", "of-h.example", "of-h.example:8443"}; !slices.Equal(got, want) {
		t.Errorf("nonces %q, want %q", got, want)
	}
}

func TestProofAndBody(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, again := range []bool{true, false} {
		w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(w http.ResponseWriter, r *http.Request) {
			if nonceOf(r) == "" {
				challengeDPoP(w, "use_dpop_nonce", "n1")
			}
		}})
		w.put(w.bound(host, a, "token-1"))
		req := newRequest(t, principal.Local, host+handbook)
		req.Method, req.Body = http.MethodPost, io.NopCloser(strings.NewReader("the body"))
		if again {
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("the body")), nil }
		}
		resp, err := w.RoundTrip(req)
		must(t, err)
		resp.Body.Close()
		got := n.sentTo("")
		if want := map[bool]int{true: 2, false: 1}[again]; len(got) != want {
			t.Fatalf("%d requests, want %d", len(got), want)
		}
		for _, s := range got {
			if p := readProof(t, s); p.Method != "POST" || s.Body != "the body" {
				t.Errorf("sent %+v with %+v", s, p)
			}
		}
		if !again { // what the server said is not forgotten
			w.page(host+handbook, 200)
		}
		last := n.sentTo("")[len(n.sentTo(""))-1]
		if p := readProof(t, last); p.Nonce != "n1" {
			t.Errorf("nonce %q at last, want n1", p.Nonce)
		}
	}
}

func TestProofIsASecret(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(http.ResponseWriter, *http.Request) {}})
	w.put(w.bound(host, a, "token-1"))
	w.configure(host, Site{Headers: []Header{{"Authorization", secret.New("not sent")}}})
	resp := w.page(host, 200)
	var got []string
	for _, s := range Secrets(resp) {
		got = append(got, s.Reveal())
	}
	if want := []string{"token-1", n.sentTo("")[0].Proof}; !slices.Equal(got, want) || want[1] == "" {
		t.Errorf("secrets %q, want %q", got, want)
	}
}

// A bearer token goes as one, and nothing that looks like a proof beside it.
func TestBearerTokenHasNoProof(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(http.ResponseWriter, *http.Request) {}})
	w.configure(host, Site{Headers: []Header{{"DPoP", secret.New("configured")}}})
	w.put(tokenstore.Token{Resource: host, Issuer: a, AccessToken: secret.New("plain"), ObtainedAt: time.Now()})
	req := newRequest(t, principal.Local, host)
	req.Header.Set("DPoP", "the caller's")
	resp, err := w.RoundTrip(req)
	must(t, err)
	resp.Body.Close()
	if got := n.sentTo("")[0]; got.Authorization != "Bearer plain" || got.Proof != "" {
		t.Errorf("sent %+v", got)
	}
}

// A token whose key or certificate we have no more is not sent, whatever else is done about it.
func TestTokensBoundToOtherThings(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	cert := func(cn string) *x509.Certificate {
		return tlstest.NewCA("clients").Issue(tlstest.Leaf{CN: cn, Client: true}).Cert.Leaf
	}
	old, renewed := cert("old"), cert("renewed")
	long := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name    string
		tok     tokenstore.Token
		cert    *x509.Certificate
		grants  bool   // the issuer's answer to a refresh
		fetched bool   // with a token
		want    string // code, "" for the page
		refresh int
		kept    int
	}{
		{"key, nothing to refresh with", tokenstore.Token{TokenType: "DPoP", KeyThumbprint: "lost"}, nil, true, false, "login_required", 0, 1},
		{"key, not said which", tokenstore.Token{TokenType: "DPoP"}, nil, true, false, "login_required", 0, 1},
		{"key, and so is the refresh token", tokenstore.Token{TokenType: "DPoP", KeyThumbprint: "lost", RefreshToken: secret.New("r-old")}, nil, true, false, "login_required", 0, 0},
		{"certificate in use", tokenstore.Token{CertificateThumbprint: thumbprintOf(old)}, old, true, true, "", 0, 1},
		{"certificate renewed, nothing to refresh with", tokenstore.Token{CertificateThumbprint: thumbprintOf(old)}, renewed, true, false, "login_required", 0, 1},
		{"certificate renewed, and the refresh token is bound to the old one", tokenstore.Token{CertificateThumbprint: thumbprintOf(old), RefreshToken: secret.New("r-old")}, renewed, true, false, "login_required", 0, 0},
		{"certificate renewed, refreshed as a client with a secret", tokenstore.Token{ClientID: machine.ID, CertificateThumbprint: thumbprintOf(old), RefreshToken: secret.New("r-old")}, renewed, true, true, "", 1, 1},
		{"certificate renewed, refresh refused", tokenstore.Token{ClientID: machine.ID, CertificateThumbprint: thumbprintOf(old), RefreshToken: secret.New("r-old")}, renewed, false, false, "login_required", 1, 0},
		{"certificate taken away", tokenstore.Token{CertificateThumbprint: thumbprintOf(old), RefreshToken: secret.New("r-old")}, nil, false, false, "login_required", 0, 1},
		{"just issued for another certificate", tokenstore.Token{CertificateThumbprint: thumbprintOf(old), ObtainedAt: time.Now()}, renewed, true, false, "oauth.token_binding", 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{accepts: "new", challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
			if tt.fetched && tt.refresh == 0 {
				s.accepts = "old"
			}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, func(url.Values) (int, map[string]any) {
				if !tt.grants {
					return 400, map[string]any{"error": "invalid_grant"}
				}
				return 200, map[string]any{"access_token": "new", "token_type": "Bearer"}
			})})
			if tt.cert != nil {
				w.certs[host], w.certs[a] = tt.cert, tt.cert
			}
			if tt.tok.ClientID == machine.ID {
				w.configure(host, Site{Issuer: a})
				w.clients[a] = machine
			}
			tt.tok.Resource, tt.tok.Issuer, tt.tok.TokenEndpoint, tt.tok.AccessToken = host, a, a+"/token", secret.New("old")
			if tt.tok.ObtainedAt.IsZero() {
				tt.tok.ObtainedAt = long
			}
			w.put(tt.tok)
			resp, err := w.get(host + handbook)
			if got := codeOf(err); got != tt.want || tt.want == "" && resp.StatusCode != 200 {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
			if got := len(n.sentTo(a + "/token")); got != tt.refresh {
				t.Errorf("%d refreshes, want %d", got, tt.refresh)
			}
			if got := len(w.tokens()); got != tt.kept {
				t.Errorf("%d tokens are kept, want %d", got, tt.kept)
			}
			for _, s := range n.sentTo(host + handbook) {
				if tt.refresh+len(tt.want) > 0 && strings.HasSuffix(s.Authorization, " old") || (s.Authorization != "") != tt.fetched {
					t.Errorf("sent %+v", s)
				}
			}
		})
	}
}

func thumbprintOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Which tokens are asked for.
func TestWantsDPoP(t *testing.T) {
	es, rs := []string{"RS256", "ES256"}, []string{"RS256"}
	for _, tt := range []struct {
		name       string
		challenges []string
		res        discovery.Resource
		server     []string
		want       bool
	}{
		{"nobody speaks of it", []string{"Bearer"}, discovery.Resource{}, nil, false},
		{"the resource takes no other", []string{"Bearer"}, discovery.Resource{DPoPBoundAccessTokensRequired: true}, nil, true},
		{"no other is offered", []string{"DPoP"}, discovery.Resource{}, nil, true},
		{"no other of OAuth's", []string{"Basic", `dpop algs="ES256"`}, discovery.Resource{}, nil, true},
		{"both are, and the server can", []string{"Bearer, DPoP"}, discovery.Resource{}, es, true},
		{"both are, with an algorithm of ours", []string{`Bearer, DPoP algs="PS256 ES256"`}, discovery.Resource{}, es, true},
		{"both are, with another algorithm", []string{`Bearer, DPoP algs="PS256"`}, discovery.Resource{}, es, false},
		{"both are, and the server cannot", []string{"Bearer, DPoP"}, discovery.Resource{}, nil, false},
		{"both are, and the server knows another algorithm", []string{"Bearer, DPoP"}, discovery.Resource{}, rs, false},
		{"both sides can", []string{"Bearer"}, discovery.Resource{DPoPSigningAlgValuesSupported: es}, es, true},
		{"only the resource can", []string{"Bearer"}, discovery.Resource{DPoPSigningAlgValuesSupported: es}, nil, false},
		{"only the server can", []string{"Bearer"}, discovery.Resource{}, es, false},
		{"the resource knows another algorithm", []string{"Bearer"}, discovery.Resource{DPoPSigningAlgValuesSupported: rs}, es, false},
		{"bare, and both sides can", nil, discovery.Resource{DPoPSigningAlgValuesSupported: es}, es, true},
	} {
		server := &discovery.AuthServer{DPoPSigningAlgValuesSupported: tt.server}
		if got, _ := wantsDPoP(challenge.Parse(tt.challenges), &tt.res, server); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A resource that can tell certificates apart gets a token for ours, where we have one.
func TestWantsCertificate(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	ours := tlstest.NewCA("clients").Issue(tlstest.Leaf{CN: "ours", Client: true}).Cert.Leaf
	for _, tt := range []struct {
		name      string
		announced bool
		cert      *x509.Certificate
		want      bool
	}{
		{"announced", true, ours, true},
		{"announced, and we have none", true, nil, false},
		{"not announced", false, ours, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{metadata: map[string]any{"resource": host, "authorization_servers": []string{a}, "tls_client_certificate_bound_access_tokens": tt.announced}}
			w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: edited(a, nil)})
			if tt.cert != nil {
				w.certs[host], w.certs[a] = tt.cert, tt.cert
			}
			plan, err := w.plan(newRequest(t, principal.Local, host).Context(), w.workFor(host), question{want: wantsToken}, nil)
			must(t, err)
			if got := plan.Request.CertificateBound; got != tt.want {
				t.Errorf("asks for a bound token: %v, want %v", got, tt.want)
			}
		})
	}
}

// Of several challenges the one counts that speaks of the token sent.
func TestWhichChallengeSpeaks(t *testing.T) {
	bearer, proofs := &tokenstore.Token{TokenType: "Bearer"}, &tokenstore.Token{TokenType: "DPoP"}
	for _, tt := range []struct {
		lines string
		tok   *tokenstore.Token
		want  string // realm
	}{
		{`Bearer realm=1, DPoP realm=2`, nil, "1"},
		{`DPoP realm=1, Bearer realm=2`, nil, "2"},
		{`Bearer realm=1, DPoP realm=2`, proofs, "2"},
		{`Bearer realm=1, DPoP realm=2, error=e`, bearer, "2"},
		{`Bearer realm=1, error=e, DPoP realm=2`, proofs, "1"},
		{`Bearer realm=1, error=e, DPoP realm=2, error=e`, proofs, "2"},
		{`Bearer realm=1, Bearer realm=2`, bearer, "1"},
		{`Bearer realm=1, bearer realm=2, error=e`, bearer, "2"},
		{`Basic realm=1, error=e, Bearer realm=2`, bearer, "2"},
		{`Basic realm=1, error=e`, bearer, ""},
	} {
		got, ok := oauth(challenge.Parse([]string{tt.lines}), tt.tok)
		if got.Params["realm"] != tt.want || ok != (tt.want != "") {
			t.Errorf("%s with %+v: %q, want %q", tt.lines, tt.tok, got.Params["realm"], tt.want)
		}
	}
}

func TestAsksForNonce(t *testing.T) {
	for _, tt := range []struct {
		status int
		line   string
		want   bool
	}{
		{401, `DPoP error="use_dpop_nonce"`, true},
		{401, `Bearer, DPoP error="use_dpop_nonce"`, true},
		{401, `Bearer error="use_dpop_nonce"`, false},
		{401, `DPoP error="invalid_token"`, false},
		{400, `DPoP error="use_dpop_nonce"`, false},
		{401, "", false},
	} {
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{"Www-Authenticate": {tt.line}}}
		if got := asksForNonce(resp, &tokenstore.Token{TokenType: "DPoP"}); got != tt.want {
			t.Errorf("%d %s: %v, want %v", tt.status, tt.line, got, tt.want)
		}
	}
}

// The whole story with keys: nonces at both ends, and a refresh.
func TestSignInWithProofs(t *testing.T) {
	w := newWorld(t, options{})
	i := w.issuer(oauthtest.IssuerOptions{DPoP: true, RequireDPoP: true, DPoPNonce: true, RotateRefresh: true})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, DPoP: true, DPoPNonce: true})
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)
	w.page(r.URL+"/", 200)
	first := w.token()
	w.refreshAll(r.URL + handbook)
	if got := w.token(); got.KeyThumbprint != first.KeyThumbprint || got.AccessToken.Equal(first.AccessToken.Reveal()) || got.TokenType != "DPoP" {
		t.Errorf("the refreshed token is bound to %q, want %q", got.KeyThumbprint, first.KeyThumbprint)
	}
	seen := map[string]bool{}
	for _, e := range w.log.Events() {
		signed := e.Header.Get("DPoP")
		if signed != "" && seen[signed] {
			t.Errorf("%s %s got a proof that was used before", e.Method, e.Path)
		}
		seen[signed] = true
		if scheme, _, _ := strings.Cut(e.Header.Get("Authorization"), " "); e.Server == "resource" && scheme != "" && scheme != "DPoP" {
			t.Errorf("%s got a token as %s", e.Path, scheme)
		}
	}
	if got := w.authorizations(handbook); len(got) != 4 { // without a token, with one and without a nonce, with both, and refreshed
		t.Errorf("%d requests for the page, want 4", len(got))
	}
}

// A token that was not bound gives way where the resource wants one that is.
func TestResourceBeginsToWantProofs(t *testing.T) {
	w := newWorld(t, options{})
	i := w.issuer(oauthtest.IssuerOptions{DPoP: true, NoRefresh: true})
	wants := false
	var strict *oauthtest.Resource
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, Handle: map[string]http.HandlerFunc{"/p": func(rw http.ResponseWriter, req *http.Request) {
		if wants {
			strict.ServeHTTP(rw, req)
		}
	}}})
	strict = w.resource(oauthtest.ResourceOptions{Issuer: i, DPoP: true, ResourceID: r.URL, Metadata: "none", Pages: map[string]oauthtest.Page{"/p": {}}})
	w.signIn(r.URL + handbook)
	if got := w.token().TokenType; got != "Bearer" {
		t.Fatalf("token type %s", got)
	}
	wants = true
	w.signIn(r.URL + "/p") // at once, although the token is fresh
	if got := w.token().TokenType; got != "DPoP" {
		t.Errorf("token type %s, want DPoP", got)
	}
}

// Where the config switches proofs off, and the resource takes tokens without them, that is that.
func TestProofsAreSwitchedOff(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for challenged, want := range map[string]string{"Bearer, DPoP": "login_required", "DPoP": "oauth.unsupported"} {
		s := &site{challenge: challenged, metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
		w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: edited(a, map[string]any{"dpop_signing_alg_values_supported": []string{"ES256"}})})
		w.settings[a] = login.Settings{DPoP: "never"}
		if _, err := w.get(host + handbook); codeOf(err) != want {
			t.Errorf("%s: got %v, want %s", challenged, err, want)
		}
	}
}

// The whole story with certificates, in place of keys.
func TestSignInWithCertificates(t *testing.T) {
	clients := tlstest.NewCA("clients")
	pair := clients.Issue(tlstest.Leaf{CN: "alice", Client: true})
	w := newWorld(t, options{tls: true, private: AllowPrivate, client: pair})
	i := w.issuer(oauthtest.IssuerOptions{CertificateBound: true, Aliases: true, ClientCA: clients.Pool()})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, CertificateBound: true, TLS: testCA().MutualConfig(clients, "127.0.0.1")})
	w.certs[r.URL], w.certs[i.AliasURL] = pair.Cert.Leaf, pair.Cert.Leaf
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)
	if got := w.token().CertificateThumbprint; got != thumbprintOf(pair.Cert.Leaf) {
		t.Errorf("bound to %q, want %q", got, thumbprintOf(pair.Cert.Leaf))
	}
	sentBefore := len(w.authorizations(handbook))
	w.certs[r.URL] = clients.Issue(tlstest.Leaf{CN: "alice", Client: true}).Cert.Leaf // renewed
	w.change(func(tok *tokenstore.Token) { tok.ObtainedAt = time.Now().Add(-time.Hour) })
	_, err := w.get(r.URL + handbook)
	if err == nil {
		t.Error("no error after the certificate changed at the site alone")
	}
	for _, sent := range w.authorizations(handbook)[sentBefore:] {
		if sent != "" {
			t.Error("the token was sent with another certificate")
		}
	}
}
