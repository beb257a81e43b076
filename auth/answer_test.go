package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

var machine = login.Credentials{ID: "machine", Secret: secret.New("s3cret")}

func TestAPersonIsAskedOnce(t *testing.T) {
	w := newWorld(t, options{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{})})
	first := w.action(r.URL + handbook)
	if second := w.action(r.URL + "/"); second != first {
		t.Error("the second request does not join the first one's action")
	}
	must(t, w.person.Deny(t.Context(), first.Prompt().URL))
	w.ended(first, action.ErrDenied)
	_, err := w.get(r.URL + handbook)
	declined := isA[*action.DeclinedError](t, err)
	if rest := time.Until(declined.Until); rest < action.CoolDown-time.Minute || rest > action.CoolDown {
		t.Errorf("the question rests for %v, want %v", rest, action.CoolDown)
	}
	if len(w.opened) != 1 || w.opened[0] != first.Prompt().URL {
		t.Errorf("browser windows: %q", w.opened)
	}
	if got := w.authorizations(handbook); len(w.tokens()) != 0 || slices.Max(got) != "" {
		t.Errorf("after a no there are tokens: %q", got)
	}
}

func TestCancelAndExpiry(t *testing.T) {
	w := newWorld(t, options{timeout: 300 * time.Millisecond})
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{})})
	first := w.action(r.URL + handbook)
	w.ended(first, action.ErrExpired)
	second := w.action(r.URL + handbook)
	if second == first {
		t.Fatal("an action that has expired is joined")
	}
	must(t, w.person.Cancel(t.Context(), second.Prompt().URL))
	_, err := w.get(r.URL + handbook)
	isA[*action.DeclinedError](t, err)
}

// A site that takes no token at all must not make anybody sign in over and over.
func TestFreshTokenIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name      string
		noRefresh bool
		status    int
		requests  int // with a token, per call
	}{
		{"401, with a refresh token", false, 401, 2},
		{"401, without one", true, 401, 1},
		{"302, with a refresh token", false, 302, 2},
		{"302, without one", true, 302, 1},
		{"403, with a refresh token", false, 403, 2},
		{"403, without one", true, 403, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{})
			i := w.issuer(oauthtest.IssuerOptions{NoRefresh: tt.noRefresh})
			var r *oauthtest.Resource
			r = w.resource(oauthtest.ResourceOptions{Issuer: i, Handle: map[string]http.HandlerFunc{"/no": func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="`+r.URL+prm+`"`)
				rw.WriteHeader(tt.status)
			}}})
			w.signIn(r.URL + "/no")
			for call := 1; call <= 2; call++ {
				_, err := w.get(r.URL + "/no")
				e := isA[*RefusedError](t, err)
				if e.Issuer != i.URL || e.Origin.String() != r.URL || e.Hint() == "" {
					t.Errorf("%+v", e)
				}
				if got, want := len(w.authorizations("/no")), 1+call*tt.requests; got != want {
					t.Errorf("%d requests after %d calls, want %d", got, call, want)
				}
			}
			if len(w.opened) != 1 || len(w.grants("authorization_code")) != 1 {
				t.Errorf("%d logins, want 1", len(w.opened))
			}
			w.page(r.URL+handbook, 200)
		})
	}
}

// Without a challenge of ours in it, the second 401 is no page either.
func TestTokenIsRefusedWithAnotherScheme(t *testing.T) {
	w := newWorld(t, options{})
	i := w.issuer(oauthtest.IssuerOptions{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, Handle: map[string]http.HandlerFunc{"/no": func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", "Basic")
		rw.WriteHeader(401)
	}}})
	w.page(r.URL+"/no", 401)
	w.signIn(r.URL + handbook)
	_, err := w.get(r.URL + "/no")
	isA[*RefusedError](t, err)
	if n := len(w.grants("refresh_token")); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

const prm = "/.well-known/oauth-protected-resource"

// scoped is a site where reading and writing need different scopes.
func scoped(w *world, i *oauthtest.Issuer) *oauthtest.Resource {
	var r *oauthtest.Resource
	r = w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read"}, Handle: map[string]http.HandlerFunc{"/write": func(rw http.ResponseWriter, req *http.Request) {
		tok, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		if ok, _ := i.Valid(tok, r.URL, []string{"read", "write"}); ok {
			return
		}
		rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="write", resource_metadata="`+r.URL+prm+`"`)
		rw.WriteHeader(403)
	}}})
	return r
}

func TestStepUp(t *testing.T) {
	w := newWorld(t, options{})
	r := scoped(w, w.issuer(oauthtest.IssuerOptions{}))
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)
	a := w.action(r.URL + "/write")
	if d := cmp.Diff([]string{"read", "write"}, a.Prompt().Scopes); d != "" {
		t.Errorf("scopes asked for: %s", d)
	}
	w.page(r.URL+handbook, 200) // the old token serves meanwhile
	if w.action(r.URL+"/write") != a {
		t.Error("a second question about the same scope")
	}
	must(t, w.person.Continue(t.Context(), a.Prompt().URL))
	w.ended(a, nil)
	w.page(r.URL+"/write", 200)
	w.page(r.URL+handbook, 200)
	if n := len(w.grants("refresh_token")); n != 0 {
		t.Errorf("%d refreshes: they cannot widen a scope", n)
	}
	w.token()
}

// Where signing in again changes nothing, the 403 is the answer.
func TestNoStepUp(t *testing.T) {
	t.Run("granted already", func(t *testing.T) {
		w := newWorld(t, options{})
		i := w.issuer(oauthtest.IssuerOptions{})
		r := w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read"}, Handle: map[string]http.HandlerFunc{"/no": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="read"`)
			rw.WriteHeader(403)
		}}})
		w.signIn(r.URL + handbook)
		w.page(r.URL+"/no", 403)
		w.page(r.URL+"/no", 403)
	})
	t.Run("which one is not said", func(t *testing.T) {
		w := newWorld(t, options{})
		i := w.issuer(oauthtest.IssuerOptions{})
		r := w.resource(oauthtest.ResourceOptions{Issuer: i, Handle: map[string]http.HandlerFunc{"/no": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
			rw.WriteHeader(403)
		}}})
		w.signIn(r.URL + handbook)
		w.page(r.URL+"/no", 403)
	})
	t.Run("the config names the scopes", func(t *testing.T) {
		w := newWorld(t, options{})
		r := scoped(w, w.issuer(oauthtest.IssuerOptions{}))
		w.configure(r.URL, Site{Scopes: []string{"read"}})
		w.signIn(r.URL + handbook)
		w.page(r.URL+"/write", 403)
	})
	t.Run("the config was given more scopes since", func(t *testing.T) {
		w := newWorld(t, options{})
		r := scoped(w, w.issuer(oauthtest.IssuerOptions{}))
		w.signIn(r.URL + handbook)
		w.configure(r.URL, Site{Scopes: []string{"read", "write"}})
		w.signIn(r.URL + "/write")
		w.page(r.URL+"/write", 200)
	})
	t.Run("another one each time", func(t *testing.T) {
		const host, a = "https://h.example", "https://a.example"
		n := 0
		metadata := map[string]any{"resource": host, "authorization_servers": []string{a}}
		w, _ := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == prm {
				serveJSON(rw, 200, metadata)
				return
			}
			rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="s%d"`, n))
			rw.WriteHeader(403)
			n++
		}})
		w.signedInAs("first", host, a)
		for _, page := range []string{"/a", "/b", "/c"} {
			for range 2 {
				w.action(host + page).End(nil)
				w.signedInAs("next", host, a)
			}
			w.page(host+page, 403)
		}
		w.page(host+"/d", 403)
	})
	t.Run("the issuer grants less", func(t *testing.T) {
		w := newWorld(t, options{})
		var r *oauthtest.Resource
		i := w.issuer(oauthtest.IssuerOptions{EditReply: func(path string, m map[string]any) {
			if path == "/token" {
				m["scope"] = "read"
			}
		}})
		r = w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read"}, Handle: map[string]http.HandlerFunc{"/write": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="write", resource_metadata="`+r.URL+prm+`"`)
			rw.WriteHeader(403)
		}}})
		w.signIn(r.URL + handbook)
		w.signIn(r.URL + "/write")
		w.page(r.URL+"/write", 403)
		w.page(r.URL+"/write", 403)
		w.page(r.URL+handbook, 200)
	})
}

func TestConfiguredIssuer(t *testing.T) {
	t.Run("wins over what the resource says", func(t *testing.T) {
		w := newWorld(t, options{})
		named, configured := w.issuer(oauthtest.IssuerOptions{Path: "/named"}), w.issuer(oauthtest.IssuerOptions{Path: "/configured"})
		r := w.resource(oauthtest.ResourceOptions{Issuer: named})
		w.configure(r.URL, Site{Issuer: configured.URL})
		if got := w.action(r.URL + handbook).Prompt().Issuer; got != configured.URL {
			t.Errorf("signs in at %s, want %s", got, configured.URL)
		}
		for _, e := range w.log.Events() {
			if strings.Contains(e.Path, "/named") {
				t.Errorf("the other issuer was asked for %s", e.Path)
			}
		}
	})
	t.Run("does without metadata of the resource", func(t *testing.T) {
		for name, challenge := range map[string]func(*http.Request) []string{
			"Bearer": nil, "bare": func(*http.Request) []string { return nil }, "Basic": func(*http.Request) []string { return []string{"Basic"} },
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, options{})
				i := w.issuer(oauthtest.IssuerOptions{})
				r := w.resource(oauthtest.ResourceOptions{Issuer: i, Metadata: "none", Challenge: challenge})
				w.configure(r.URL, Site{Issuer: i.URL})
				w.signIn(r.URL + handbook)
				w.page(r.URL+handbook, 200)
				w.page(r.URL+"/", 200)
			})
		}
	})
	t.Run("a token of another one is not used", func(t *testing.T) {
		w := newWorld(t, options{})
		i, next := w.issuer(oauthtest.IssuerOptions{}), w.issuer(oauthtest.IssuerOptions{})
		r := w.resource(oauthtest.ResourceOptions{Issuer: i})
		w.signIn(r.URL + handbook)
		w.configure(r.URL, Site{Issuer: next.URL})
		w.log.Reset()
		if got := w.action(r.URL + handbook).Prompt().Issuer; got != next.URL {
			t.Errorf("signs in at %s, want %s", got, next.URL)
		}
		if d := cmp.Diff([]string{""}, w.authorizations(handbook)); d != "" {
			t.Error(d)
		}
		w.configure(r.URL, Site{Issuer: i.URL})
		w.page(r.URL+handbook, 200) // and nothing was lost
	})
	t.Run("its scopes and no others", func(t *testing.T) {
		w := newWorld(t, options{})
		i := w.issuer(oauthtest.IssuerOptions{})
		r := w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read", "write"}})
		w.configure(r.URL, Site{Issuer: i.URL, Scopes: []string{"read"}})
		w.signIn(r.URL + handbook)
		if got := w.log.Find("issuer", "/authorize")[0].Query.Get("scope"); got != "read" {
			t.Errorf("scope %q, want read", got)
		}
	})
}

func TestScopesWithoutChallengeScope(t *testing.T) {
	w := newWorld(t, options{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: w.issuer(oauthtest.IssuerOptions{}), Scopes: []string{"a", "b"}, Metadata: "root", Challenge: func(*http.Request) []string { return []string{"Bearer"} }})
	if d := cmp.Diff([]string{"a", "b"}, w.action(r.URL+handbook).Prompt().Scopes); d != "" {
		t.Error(d)
	}
}

// The client that the config has for an issuer is for the sites that the config ties to it.
func TestClientRegisteredBeforehand(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", tls), func(t *testing.T) {
			w := newWorld(t, options{tls: tls, private: AllowPrivate})
			i := w.issuer(oauthtest.IssuerOptions{Clients: map[string]string{"machine": "s3cret"}})
			ours, stranger := w.resource(oauthtest.ResourceOptions{Issuer: i}), w.resource(oauthtest.ResourceOptions{Issuer: i})
			w.configure(ours.URL, Site{Issuer: i.URL})
			w.clients[i.URL] = machine

			w.signIn(ours.URL + handbook)
			w.page(ours.URL+handbook, 200)
			if got := w.log.Find("issuer", "/authorize")[0].Query.Get("client_id"); got != "machine" {
				t.Errorf("client %q, want the configured one", got)
			}
			if n := w.log.Count("issuer", "POST", "/register"); n != 0 {
				t.Errorf("%d registrations, want none", n)
			}
			w.log.Reset()
			w.signIn(stranger.URL + handbook)
			w.page(stranger.URL+handbook, 200)
			w.refreshAll(stranger.URL + handbook)
			for _, e := range w.log.Events() {
				user, _, _ := (&http.Request{Header: e.Header}).BasicAuth()
				if e.Query.Get("client_id") == "machine" || e.Form.Get("client_id") == "machine" || user == "machine" {
					t.Errorf("%s %s used the configured client for a site that is not its", e.Method, e.Path)
				}
			}
			if n := len(w.grants("refresh_token")); n != 1 {
				t.Errorf("%d refreshes, want 1", n)
			}
		})
	}
	t.Run("nor by default", func(t *testing.T) {
		w := newWorld(t, options{})
		i := w.issuer(oauthtest.IssuerOptions{Clients: map[string]string{"machine": "s3cret"}, NoRegistration: true})
		r := w.resource(oauthtest.ResourceOptions{Issuer: i})
		w.clients[i.URL] = machine
		_, err := w.get(r.URL + handbook)
		isA[*login.ClientError](t, err)
	})
	t.Run("nor for a refresh, when the config has let go of the site", func(t *testing.T) {
		w := newWorld(t, options{})
		i := w.issuer(oauthtest.IssuerOptions{Clients: map[string]string{"machine": "s3cret"}})
		r := w.resource(oauthtest.ResourceOptions{Issuer: i})
		w.configure(r.URL, Site{Issuer: i.URL})
		w.clients[i.URL] = machine
		w.signIn(r.URL + handbook)
		w.configure(r.URL, Site{})
		w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
		w.log.Reset()
		w.action(r.URL + handbook)
		for _, e := range w.log.Events() {
			if e.Server == "issuer" && (e.Header.Get("Authorization") != "" || strings.Contains(string(e.Body), "s3cret")) {
				t.Errorf("%s %s carried the client's secret", e.Method, e.Path)
			}
		}
	})
}

// refreshAll makes the token of url expire and gets url again.
func (w *world) refreshAll(url string) {
	w.t.Helper()
	for _, tok := range w.tokens() {
		tok.Expiry = time.Now().Add(-time.Second)
		must(w.t, tokenstore.PutToken(w.t.Context(), w.store, tok))
	}
	w.page(url, 200)
}

func TestClientCredentialsNeedNobody(t *testing.T) {
	w := newWorld(t, options{})
	release := make(chan struct{})
	i := w.issuer(oauthtest.IssuerOptions{Clients: map[string]string{"machine": "s3cret"}, EditReply: func(string, map[string]any) { <-release }})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read"}})
	w.configure(r.URL, Site{Issuer: i.URL, Grant: login.ClientCredentials, Scopes: []string{"read"}})
	w.clients[i.URL] = machine
	var all sync.WaitGroup
	const callers = 50
	for range callers {
		all.Go(func() {
			resp, err := w.RoundTrip(newRequest(t, principal.Local, r.URL+handbook))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
	for w.log.Count("resource", "GET", handbook) < callers { // all wait for the one token
		time.Sleep(time.Millisecond)
	}
	close(release)
	all.Wait()
	got := w.grants("client_credentials")
	if len(got) != 1 || got[0].Form.Get("scope") != "read" || got[0].Form.Get("resource") != r.URL {
		t.Errorf("token requests %+v, want one", got)
	}
	w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
	w.page(r.URL+handbook, 200)
	if n := len(w.grants("client_credentials")); n != 2 || len(w.opened) != 0 {
		t.Errorf("%d token requests, want 2; browser windows %q", n, w.opened)
	}
}

func TestClientCredentialsLookAgain(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	var w *world
	s := &site{accepts: "new", challenge: "Bearer"}
	endpoints := server(a, nil)
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: func(rw http.ResponseWriter, r *http.Request) {
		w.put(tokenstore.Token{Resource: host, Issuer: a, AccessToken: secret.New("new"), ObtainedAt: time.Now()})
		endpoints(rw, r)
	}})
	w.configure(host, Site{Issuer: a, Grant: login.ClientCredentials})
	w.clients[a] = machine
	w.page(host+handbook, 200)
	if got := n.sentTo(a + "/token"); len(got) != 0 {
		t.Errorf("%d token requests, although another call has got a token meanwhile", len(got))
	}
}

// site answers on the wire as a resource whose pages take one token only.
type site struct {
	accepts   string // an access token
	challenge string
	metadata  map[string]any // of the resource, served at the well-known URL of the origin
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == prm && s.metadata != nil:
		serveJSON(w, 200, s.metadata)
	case r.Header.Get("Authorization") == "Bearer "+s.accepts && s.accepts != "":
	default:
		if s.challenge != "" {
			w.Header().Set("WWW-Authenticate", s.challenge)
		}
		w.WriteHeader(401)
	}
}

// server answers on the wire as an authorization server whose token endpoint says reply.
func server(issuer string, reply func(form url.Values) (status int, body map[string]any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server":
			serveJSON(w, 200, map[string]any{
				"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
				"registration_endpoint": issuer + "/register", "code_challenge_methods_supported": []string{"S256"},
			})
		case "/token":
			_ = r.ParseForm()
			status, body := reply(r.PostForm)
			serveJSON(w, status, body)
		default:
			w.WriteHeader(404)
		}
	}
}

func serveJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (w *world) put(tok tokenstore.Token) {
	w.t.Helper()
	tok.Principal = principal.Local
	if tok.TokenType == "" {
		tok.TokenType = "Bearer"
	}
	must(w.t, tokenstore.PutToken(w.t.Context(), w.store, &tok))
}

// newWireWorld has the wire's body read by nobody, because the wire has read it.
func newWireWorld(t testing.TB, hosts map[string]http.HandlerFunc) (*world, *wire) {
	n := &wire{hosts: hosts}
	return newWorld(t, options{base: n}), n
}

// A token that its resource has stopped taking leads to where the resource points now, once, and
// the token that comes of it is the one that is used.
func TestResourceMoves(t *testing.T) {
	const host, a, b = "https://h.example", "https://a.example", "https://b.example"
	long := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name      string
		old       tokenstore.Token
		metadata  string // resource
		issuer    string
		refreshes int
		kept      int // tokens, before the login
	}{
		{"to another issuer, nothing to refresh with", tokenstore.Token{Resource: host, Issuer: a}, host, b, 0, 1},
		{"to another issuer, although the old one still refreshes", tokenstore.Token{Resource: host, Issuer: a, RefreshToken: secret.New("r-old")}, host, b, 1, 1},
		{"to another issuer, token expired", tokenstore.Token{Resource: host, Issuer: a, Expiry: time.Now().Add(-time.Minute)}, host, b, 0, 1},
		{"to a wider resource", tokenstore.Token{Resource: host + "/docs", Issuer: a}, host, a, 0, 1},
		{"to a wider resource, token expired", tokenstore.Token{Resource: host + "/docs", Issuer: a, Expiry: time.Now().Add(-time.Minute)}, host, a, 0, 1},
		{"to a narrower resource", tokenstore.Token{Resource: host, Issuer: a, RefreshToken: secret.New("r-old")}, host + "/docs", a, 1, 1},
		{"nowhere, but the token is old", tokenstore.Token{Resource: host, Issuer: a}, host, a, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{accepts: "new", challenge: `Bearer resource_metadata="` + host + prm + `"`, metadata: map[string]any{"resource": tt.metadata, "authorization_servers": []string{tt.issuer}}}
			reply := func(url.Values) (int, map[string]any) {
				return 200, map[string]any{"access_token": "refreshed", "token_type": "Bearer"}
			}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, reply), b: server(b, reply)})
			tt.old.AccessToken, tt.old.ObtainedAt, tt.old.TokenEndpoint = secret.New("old"), long, a+"/token"
			w.put(tt.old)
			tt.old.Principal = principal.Local
			got := w.action(host + handbook).Prompt()
			if got.Issuer != tt.issuer {
				t.Errorf("signs in at %s, want %s", got.Issuer, tt.issuer)
			}
			if got := len(n.sentTo(a + "/token")); got != tt.refreshes {
				t.Errorf("%d refreshes, want %d", got, tt.refreshes)
			}
			if got := n.sentTo(b + "/token"); len(got) != 0 {
				t.Errorf("the new issuer was sent %v", got)
			}
			if got := len(w.tokens()); got != tt.kept {
				t.Errorf("%d tokens are kept, want %d", got, tt.kept)
			}
			// As the login leaves it:
			w.put(tokenstore.Token{Resource: tt.metadata, Issuer: tt.issuer, AccessToken: secret.New("new"), ObtainedAt: time.Now()})
			if strings.HasPrefix(tt.name, "to a wider") {
				must(t, w.store.Delete(t.Context(), tt.old.Key()))
			}
			w.page(host+handbook, 200)
		})
	}
}

// Of nested resources each page gets the token of its own.
func TestNestedResources(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	outer, inner := &site{accepts: "outer"}, &site{accepts: "inner"}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/docs/") {
			inner.ServeHTTP(rw, r)
			return
		}
		outer.ServeHTTP(rw, r)
	}})
	for resource, tok := range map[string]string{host: "outer", host + "/docs": "inner", host + "/docs/other": "other", host + "/doc": "doc"} {
		w.put(tokenstore.Token{Resource: resource, Issuer: a, AccessToken: secret.New(tok), ObtainedAt: time.Now()})
	}
	w.page(host+"/docs/x", 200)
	w.page(host+"/documents", 200)
	w.page(host, 200)
}

// Another process may have signed in between our request and its answer.
func TestTokenThatCameMeanwhile(t *testing.T) {
	const host = "https://h.example"
	for name, old := range map[string]string{"there was none": "", "there was another": "old"} {
		t.Run(name, func(t *testing.T) {
			var w *world
			s := &site{accepts: "new"}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(rw http.ResponseWriter, r *http.Request) {
				w.put(tokenstore.Token{Resource: host, Issuer: "https://a.example", AccessToken: secret.New("new"), ObtainedAt: time.Now()})
				s.ServeHTTP(rw, r)
			}})
			if old != "" {
				w.put(tokenstore.Token{Resource: host, Issuer: "https://a.example", AccessToken: secret.New(old), ObtainedAt: time.Now()})
			}
			w.page(host+handbook, 200)
			if got := len(n.sentTo(host)); got != 2 {
				t.Errorf("%d requests, want 2", got)
			}
		})
	}
}

func TestChooseIssuer(t *testing.T) {
	const host, a, b, c = "https://h.example", "https://a.example", "https://b.example", "https://c.example"
	for _, tt := range []struct {
		name, known, token, configured, want string
	}{
		{name: "the first", want: a},
		{name: "where there is a client", known: b, want: b},
		{name: "that of the token before", known: b, token: c, want: c},
		{name: "the configured one", known: a, token: b, configured: c, want: c},
		{name: "not one that is not listed", token: "https://d.example", want: a},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a, b, c}}}
			hosts := map[string]http.HandlerFunc{host: s.ServeHTTP}
			for _, issuer := range []string{a, b, c} {
				hosts[issuer] = server(issuer, nil)
			}
			w, n := newWireWorld(t, hosts)
			if tt.known != "" {
				must(t, tokenstore.PutClient(t.Context(), w.store, &tokenstore.Client{Principal: principal.Local, Issuer: tt.known, ClientID: "c"}))
			}
			if tt.token != "" {
				w.put(tokenstore.Token{Resource: host, Issuer: tt.token, AccessToken: secret.New("old"), Scopes: []string{"s"}, ObtainedAt: time.Now().Add(-time.Hour)})
			}
			if tt.configured != "" {
				w.configure(host, Site{Issuer: tt.configured})
			}
			if got := w.action(host + handbook).Prompt().Issuer; got != tt.want {
				t.Errorf("signs in at %s, want %s", got, tt.want)
			}
			for _, issuer := range []string{a, b, c} {
				if issuer != tt.want && len(n.sentTo(issuer)) != 0 {
					t.Errorf("%s was asked too", issuer)
				}
			}
		})
	}
}

// What was granted by one issuer is not asked of another.
func TestScopesAreNotCarriedToAnotherIssuer(t *testing.T) {
	const host, a, b = "https://h.example", "https://a.example", "https://b.example"
	s := &site{challenge: `Bearer scope="read"`, metadata: map[string]any{"resource": host, "authorization_servers": []string{b}}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, b: server(b, nil)})
	w.put(tokenstore.Token{Resource: host, Issuer: a, AccessToken: secret.New("old"), Scopes: []string{"admin"}, ObtainedAt: time.Now().Add(-time.Hour)})
	if d := cmp.Diff([]string{"read"}, w.action(host+handbook).Prompt().Scopes); d != "" {
		t.Error(d)
	}
}

func TestDiscoveryErrorsStop(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP})
	if _, err := w.get(host + handbook); err == nil || errors.As(err, new(*discovery.NotFoundError)) || !strings.Contains(err.Error(), "no route") {
		t.Errorf("issuer cannot be reached: %v", err)
	}
	w, _ = newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: http.NotFound})
	_, err := w.get(host + handbook)
	isA[*discovery.NotFoundError](t, err)
}

// Who was given less once is asked again after signing in anew: it may be somebody with more rights.
func TestStepUpAfterSigningInAnew(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	key := tokenstore.TokenKey(principal.Local, host, a)
	s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	wired, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, nil)})
	wired.steps.Store(key, action.New("x", action.Prompt{}))
	wired.action(host + handbook)
	if _, ok := wired.steps.Load(key); ok {
		t.Error("what an earlier login gave is still held against the next")
	}
}
