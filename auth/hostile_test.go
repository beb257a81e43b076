package auth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// OAuth over plain http is for loopback origins that are both configured.
func TestPlainHTTP(t *testing.T) {
	const local, https = "http://127.0.0.1:8001", "https://a.example"
	for _, tt := range []struct {
		name, resource, challenge, issuer string
		configured                        bool
		siteIssuer                        bool
		want                              string // code of the error; "": the page as it came
		asked                             bool   // for metadata of the resource
	}{
		{name: "public resource", resource: "http://h.example", challenge: "Bearer", issuer: https, want: "oauth.plaintext"},
		{name: "public resource, configured", resource: "http://h.example", challenge: "Bearer", issuer: https, configured: true, want: "oauth.plaintext"},
		{name: "public resource with an issuer, bare", resource: "http://h.example", issuer: https, configured: true, siteIssuer: true, want: "oauth.plaintext"},
		{name: "public resource, bare", resource: "http://h.example", issuer: https, want: ""},
		{name: "loopback, not configured", resource: local, challenge: "Bearer", issuer: https, want: "oauth.plaintext"},
		{name: "loopback, configured", resource: local, challenge: "Bearer", issuer: https, configured: true, want: "login_required", asked: true},
		{name: "public resource, http issuer", resource: "https://h.example", challenge: "Bearer", issuer: "http://127.0.0.1:8002", want: "oauth.plaintext", asked: true},
		{name: "public resource, http issuer in the config", resource: "https://h.example", challenge: "Bearer", issuer: "http://127.0.0.1:8002", configured: true, siteIssuer: true, want: "oauth.plaintext", asked: true},
		{name: "in other spelling", resource: "https://h.example", challenge: "Bearer", issuer: "HTTP://127.0.0.1:8002", configured: true, siteIssuer: true, want: "oauth.plaintext", asked: true},
		{name: "loopback over TLS, not configured, http issuer", resource: "https://127.0.0.1:8001", challenge: "Bearer", issuer: "http://127.0.0.1:8002", want: "oauth.plaintext", asked: true},
		{name: "loopback, http issuer", resource: local, challenge: "Bearer", issuer: "http://127.0.0.1:8002", configured: true, want: "login_required", asked: true},
		{name: "loopback, http issuer that is not configured", resource: local, challenge: "Bearer", issuer: "http://127.0.0.1:8003", configured: true, want: "oauth.no_issuer", asked: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{challenge: tt.challenge, metadata: map[string]any{"resource": tt.resource, "authorization_servers": []string{tt.issuer}}}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{
				tt.resource: s.ServeHTTP, strings.ToLower(tt.issuer): server(tt.issuer, nil),
			})
			w.configure("http://127.0.0.1:8002", Site{})
			if tt.configured {
				site := Site{}
				if tt.siteIssuer {
					site.Issuer = tt.issuer
				}
				w.configure(tt.resource, site)
			}
			resp, err := w.get(tt.resource + handbook)
			if got := codeOf(err); got != tt.want || tt.want == "" && resp.StatusCode != 401 {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
			if got := len(n.sentTo(tt.resource + prm)); (got > 0) != tt.asked {
				t.Errorf("%d requests for metadata", got)
			}
			if got := n.sentTo(strings.ToLower(tt.issuer)); tt.want != "login_required" && len(got) != 0 {
				t.Errorf("the issuer was asked: %v", got)
			}
			var plain *PlaintextError
			if errors.As(err, &plain) && (plain.Hint() == "" || (plain.Issuer != "") != tt.asked) {
				t.Errorf("%+v", plain)
			}
		})
	}
}

func codeOf(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// A token kept from when its plain http origin was configured is not sent any more.
func TestPlainTokenOutOfConfig(t *testing.T) {
	const local = "http://127.0.0.1:8001"
	s := &site{accepts: "old", challenge: "Bearer"}
	w, n := newWireWorld(t, map[string]http.HandlerFunc{local: s.ServeHTTP})
	w.put(tokenstore.Token{Resource: local, Issuer: "https://a.example", AccessToken: secret.New("old"), ObtainedAt: time.Now()})
	w.configure(local, Site{})
	w.page(local+handbook, 200)
	delete(w.sites, local)
	_, err := w.get(local + handbook)
	isA[*PlaintextError](t, err)
	if got := n.sentTo(local); got[len(got)-1].Authorization != "" {
		t.Error("the token was sent")
	}
}

func TestMetadataElsewhereIsIgnored(t *testing.T) {
	w := newWorld(t, options{tls: true, private: AllowPrivate})
	evil := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{})})
	w.log.Reset()
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{}), Metadata: "none", Challenge: func(*http.Request) []string {
		return []string{`Bearer resource_metadata="` + evil.URL + prm + `"`}
	}})
	_, err := w.get(r.URL + handbook)
	isA[*NoIssuerError](t, err)
	for _, e := range w.log.Events() {
		if e.Header.Get("Host") != strings.TrimPrefix(r.URL, "https://") {
			t.Errorf("%s was asked for %s", e.Header.Get("Host"), e.Path)
		}
	}
}

func TestDocumentsThatLie(t *testing.T) {
	for _, tt := range []struct {
		name           string
		editResource   func(map[string]any)
		editIssuer     func(string, map[string]any)
		issuerRequests int
	}{
		{"resource of another origin", func(m map[string]any) { m["resource"] = "https://bank.example" }, nil, 0},
		{"resource on another port", func(m map[string]any) { m["resource"] = "https://127.0.0.1:1" }, nil, 0},
		{"resource over http", func(m map[string]any) { m["resource"] = strings.Replace(m["resource"].(string), "https", "http", 1) }, nil, 0},
		{"resource below another path", func(m map[string]any) { m["resource"] = m["resource"].(string) + "/admin" }, nil, 0},
		{"another issuer", nil, func(_ string, m map[string]any) { m["issuer"] = "https://login.example" }, 1},
		{"issuer with a slash more", nil, func(_ string, m map[string]any) { m["issuer"] = m["issuer"].(string) + "/" }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{tls: true, private: AllowPrivate})
			i := w.issuer(oauthtest.IssuerOptions{Edit: tt.editIssuer})
			r := w.resource(oauthtest.ResourceOptions{Issuer: i, EditMetadata: tt.editResource})
			_, err := w.get(r.URL + handbook)
			isA[*discovery.MismatchError](t, err)
			if n := w.log.Count("issuer", "", ""); n != tt.issuerRequests || len(w.opened) != 0 {
				t.Errorf("%d requests to the issuer, want %d; windows %q", n, tt.issuerRequests, w.opened)
			}
		})
	}
}

// A resource whose path could lead elsewhere is not signed in for: its token would never be sent,
// and the person asked again and again.
func TestPageThatNoTokenWouldReach(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, page := range []string{"/docs/..;/admin", "/docs/%252e%252e/admin"} {
		s := &site{challenge: `Bearer resource_metadata="` + host + prm + `"`, metadata: map[string]any{"resource": host + "/docs", "authorization_servers": []string{a}}}
		w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, nil)})
		w.put(tokenstore.Token{Resource: host + "/docs", Issuer: a, AccessToken: secret.New("t"), ObtainedAt: time.Now()})
		_, err := w.get(host + page + "?secret")
		e := isA[*discovery.MismatchError](t, err)
		if strings.Contains(e.Error(), "secret") {
			t.Error("the error shows the query")
		}
		for _, s := range n.sentTo("") {
			if s.Authorization != "" {
				t.Errorf("%s got the token", s.URL)
			}
		}
	}
}

// An issuer inside is not for a resource to name: nothing is sent to it, and nobody is asked to
// allow it.
func TestIssuerInside(t *testing.T) {
	for _, private := range []Private{DenyPrivate, AskPrivate} {
		w := newWorld(t, options{tls: true, private: private})
		i := w.issuer(oauthtest.IssuerOptions{})
		for _, issuer := range []string{i.URL, "https://10.0.0.1", "https://169.254.169.254", "https://[::1]"} {
			r := w.resource(oauthtest.ResourceOptions{Issuer: i, EditMetadata: func(m map[string]any) { m["authorization_servers"] = []string{issuer} }})
			w.configure(r.URL, Site{})
			_, err := w.get(r.URL + handbook)
			isA[*netguard.DeniedError](t, err)
			var needed *ActionRequired
			if errors.As(err, &needed) {
				t.Errorf("%s: a person is asked to allow it", issuer)
			}
		}
		if n := w.log.Count("issuer", "", ""); n != 0 {
			t.Errorf("%d requests to the issuer", n)
		}
	}
}

// What we post to a server's endpoints must not reach, on a stranger's word, what the config or a
// person opened for other purposes.
func TestEndpointsElsewhere(t *testing.T) {
	endpoints := []string{"token_endpoint", "registration_endpoint", "device_authorization_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint"}
	for _, e := range slices.Clone(endpoints) {
		endpoints = append(endpoints, "mtls_endpoint_aliases."+e)
	}
	for _, tt := range []struct {
		name  string
		setUp func(w *world, victim, issuer, resource string)
		want  string
	}{
		{"configured site", func(w *world, victim, _, _ string) { w.configure(victim, Site{}) }, "oauth.metadata_invalid"},
		{"nobody's", func(*world, string, string, string) {}, "login_required"},
		{"configured, as are issuer and page", func(w *world, victim, issuer, resource string) {
			w.configure(victim, Site{})
			w.configure(issuer, Site{})
			w.configure(resource, Site{})
		}, "login_required"},
		{"configured issuer of a stranger's page", func(w *world, _, issuer, _ string) { w.configure(issuer, Site{}) }, "oauth.metadata_invalid"},
	} {
		for _, endpoint := range endpoints {
			t.Run(tt.name+", "+endpoint, func(t *testing.T) {
				w := newWorld(t, options{tls: true, private: AllowPrivate})
				victim := w.resource(oauthtest.ResourceOptions{})
				i := w.issuer(oauthtest.IssuerOptions{Edit: func(_ string, m map[string]any) {
					if alias, ok := strings.CutPrefix(endpoint, "mtls_endpoint_aliases."); ok {
						m["mtls_endpoint_aliases"] = map[string]any{alias: victim.URL + "/delete?everything"}
						return
					}
					m[endpoint] = victim.URL + "/delete?everything"
				}})
				r := w.resource(oauthtest.ResourceOptions{Issuer: i})
				tt.setUp(w, victim.URL, i.URL, r.URL)
				_, err := w.get(r.URL + handbook)
				if got := codeOf(err); got != tt.want {
					t.Errorf("got %s (%v), want %s", got, err, tt.want)
				}
				if n := w.log.Count("resource", "", "/delete"); n != 0 {
					t.Errorf("the victim got %d requests", n)
				}
				if n := w.log.Count("issuer", "", ""); n != 0 && strings.HasPrefix(tt.name, "configured issuer of") {
					t.Errorf("the configured issuer got %d requests on a stranger's word", n)
				}
			})
		}
	}
	t.Run("allowed by a person", func(t *testing.T) {
		const host, a, victim = "https://h.example", "https://a.example", "https://10.0.0.1"
		s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
		n := &wire{hosts: map[string]http.HandlerFunc{host: s.ServeHTTP, a: func(rw http.ResponseWriter, _ *http.Request) {
			serveJSON(rw, 200, map[string]any{
				"issuer": a, "authorization_endpoint": a + "/authorize", "token_endpoint": victim + "/token", "code_challenge_methods_supported": []string{"S256"},
				"registration_endpoint": a + "/register",
			})
		}}}
		w := newWorld(t, options{base: n, private: AskPrivate})
		must(t, tokenstore.PutApproval(t.Context(), w.store, &tokenstore.Approval{Principal: "local", Resource: victim, Zone: "private", Expires: time.Now().Add(time.Hour)}))
		_, err := w.get(host + handbook)
		isA[*discovery.InvalidError](t, err)
	})
}

// A resource that turns to a new issuer takes nothing of the old one's with it.
func TestNewIssuerGetsNothingOld(t *testing.T) {
	w := newWorld(t, options{tls: true, private: AllowPrivate})
	good, evil := w.issuer(oauthtest.IssuerOptions{Path: "/good"}), w.issuer(oauthtest.IssuerOptions{Path: "/evil"})
	turned := false
	r := w.resource(oauthtest.ResourceOptions{Issuer: good, EditMetadata: func(m map[string]any) {
		if turned {
			m["authorization_servers"] = []string{evil.URL}
		}
	}})
	w.signIn(r.URL + handbook)
	tok := w.token()
	client, err := tokenstore.GetClient(t.Context(), w.store, tokenstore.ClientKey("local", good.URL))
	must(t, err)
	turned = true
	good.RevokeTokens()
	good.RevokeRefreshTokens()
	w.change(func(tok *tokenstore.Token) { tok.ObtainedAt = time.Now().Add(-time.Hour) })
	a := w.action(r.URL + handbook)
	if got := a.Prompt().Issuer; got != evil.URL {
		t.Fatalf("signs in at %s, want %s", got, evil.URL)
	}
	must(t, w.person.Continue(t.Context(), a.Prompt().URL))
	w.ended(a, nil)
	for _, e := range w.log.Events() {
		if !strings.HasPrefix(e.Path, "/evil") {
			continue
		}
		all := string(e.Body) + e.RawQuery + e.Header.Get("Authorization")
		for what, s := range map[string]string{"access token": tok.AccessToken.Reveal(), "refresh token": tok.RefreshToken.Reveal(), "client": client.ClientID} {
			if strings.Contains(all, s) {
				t.Errorf("%s %s got the old %s", e.Method, e.Path, what)
			}
		}
	}
}

// A declined login stays declined when the question comes by way of a refused token.
func TestDeclinedAfterRefusal(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{challenge: `Bearer resource_metadata="` + host + prm + `"`, metadata: map[string]any{"resource": host + "/docs", "authorization_servers": []string{a}}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, func(url.Values) (int, map[string]any) {
		return 200, map[string]any{"access_token": "outer", "token_type": "Bearer"}
	})})
	w.put(tokenstore.Token{
		Resource: host, Issuer: a, TokenEndpoint: a + "/token", AccessToken: secret.New("outer"), RefreshToken: secret.New("r"), ObtainedAt: time.Now(),
	})
	act := w.action(host + handbook)
	must(t, w.person.Cancel(t.Context(), act.Prompt().URL))
	_, err := w.get(host + handbook)
	isA[*action.DeclinedError](t, err)
}

// What a header says that is not as it should be leads nowhere else, and the rest of it counts.
func TestHeadersThatAreOdd(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	at := `resource_metadata="` + host + `/prm"`
	for _, tt := range []struct {
		name   string
		lines  []string
		asked  string // address of the metadata; "": none is read
		scopes []string
	}{
		{"two lines", []string{`Basic realm="x"`, "Bearer " + at}, "/prm", nil},
		{"token68 first", []string{"Negotiate YWJj==, Bearer " + at}, "/prm", nil},
		{"escaped backslash before the quote", []string{`Bearer realm="a\\", ` + at}, "/prm", nil},
		{"a parameter twice", []string{`Bearer ` + at + `, scope="a", scope="b", Basic`, "Bearer"}, prm + handbook, nil},
		{"a parameter twice, and nothing else", []string{`Bearer ` + at + `, ` + at, `Basic realm="x"`}, "", nil},
		{"no comma", []string{`Bearer error="x" scope="y"`, "Bearer " + at + `, scope="z"`}, "/prm", []string{"z"}},
		{"in capitals", []string{"BEARER " + at}, "/prm", nil},
		{"with proofs, in capitals", []string{"DPOP " + at}, "/prm", nil},
		{"scopes that are none", []string{`Bearer ` + at + `, scope="a b` + "\x01" + ` \" c é a"`}, "/prm", []string{"a", "b", "c"}},
		{"relative", []string{`Bearer resource_metadata="/prm"`}, prm + handbook, nil},
		{"another origin", []string{`Bearer resource_metadata="https://evil.example/prm"`}, prm + handbook, nil},
		{"another port", []string{`Bearer resource_metadata="` + host + `:8443/prm"`}, prm + handbook, nil},
		{"no address", []string{`Bearer resource_metadata="javascript:alert(1)"`}, prm + handbook, nil},
		{"the first of two", []string{"Bearer " + at + `, Basic resource_metadata="` + host + `/other"`}, "/prm", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, n := newWireWorld(t, map[string]http.HandlerFunc{
				a: edited(a, map[string]any{"dpop_signing_alg_values_supported": []string{"ES256"}}),
				host: func(rw http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/prm", prm, prm + handbook:
						id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/prm"), prm)
						serveJSON(rw, 200, map[string]any{"resource": host + id, "authorization_servers": []string{a}})
					default:
						rw.Header()["Www-Authenticate"] = tt.lines
						rw.WriteHeader(401)
					}
				},
			})
			resp, err := w.get(host + handbook)
			var needed *ActionRequired
			switch {
			case tt.asked == "" && (err != nil || resp.StatusCode != 401):
				t.Errorf("got %v, want the page as it came", err)
			case tt.asked != "" && !errors.As(err, &needed):
				t.Fatalf("got %v, want an action", err)
			case tt.asked != "" && !slices.Equal(needed.Prompt().Scopes, tt.scopes):
				t.Errorf("scopes %q, want %q", needed.Prompt().Scopes, tt.scopes)
			}
			for _, s := range n.sentTo("") {
				if s.URL != host+handbook && s.URL != host+tt.asked && !strings.HasPrefix(s.URL, a+"/.well-known/") {
					t.Errorf("asked for %s", s.URL)
				}
			}
			if got := len(n.sentTo(host + tt.asked)); got == 0 {
				t.Error("the metadata was not read")
			}
		})
	}
}
