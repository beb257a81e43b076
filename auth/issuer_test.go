package auth

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// edited is [server] with other metadata; nil removes a member.
func edited(issuer string, edit map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-authorization-server" {
			w.WriteHeader(404)
			return
		}
		m := map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"registration_endpoint": issuer + "/register", "code_challenge_methods_supported": []string{"S256"},
		}
		maps.Copy(m, edit)
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
		serveJSON(w, 200, m)
	}
}

// Of several authorization servers the best known is taken, and the next where it is of no use.
func TestSeveralIssuers(t *testing.T) {
	const host, a, b, c, d = "https://h.example", "https://a.example", "https://b.example", "https://c.example", "https://d.example"
	broken := func(w http.ResponseWriter, _ *http.Request) { serveJSON(w, 200, map[string]any{"issuer": 5}) }
	type servers map[string]http.HandlerFunc
	for _, tt := range []struct {
		name    string
		listed  []string
		setUp   func(w *world)
		servers servers // others are well; nil cannot be reached
		want    string  // issuer, or code of the error
		asked   []string
	}{
		{"the first", []string{a, b, c}, nil, nil, a, []string{a}},
		{"where we are registered", []string{a, b, c}, func(w *world) { w.register(b) }, nil, b, []string{b}},
		{"where there is a token before where we are registered", []string{a, b, c}, func(w *world) {
			w.register(b)
			w.put(tokenstore.Token{Resource: host + "/elsewhere", Issuer: c, AccessToken: secret.New("t"), ObtainedAt: time.Now()})
		}, nil, c, []string{c}},
		{"not where there is a token for another origin", []string{a, b, c}, func(w *world) {
			w.put(tokenstore.Token{Resource: "https://other.example", Issuer: c, AccessToken: secret.New("t"), ObtainedAt: time.Now()})
		}, nil, a, []string{a}},
		{"the one that the config names before all", []string{a, b, c}, func(w *world) { w.register(b); w.named[c] = true }, nil, c, []string{c}},
		{"the one of the site before all", []string{a, b}, func(w *world) { w.named[b] = true; w.configure(host, Site{Issuer: d}) }, nil, d, []string{d}},

		{"the second, the first is not found", []string{a, b}, nil, servers{a: http.NotFound}, b, []string{a, b}},
		{"the second, the first is not reached", []string{a, b}, nil, servers{a: nil}, b, []string{a, b}},
		{"the second, the first is invalid", []string{a, b}, nil, servers{a: broken}, b, []string{a, b}},
		{"the second, the first is not to be used", []string{a, b}, nil, servers{a: edited(a, map[string]any{"token_endpoint": "http://a.example"})}, b, []string{a, b}},
		{"the second, the first lacks PKCE", []string{a, b}, nil, servers{a: edited(a, map[string]any{"code_challenge_methods_supported": []string{"plain"}})}, b, []string{a, b}},
		{"the second, the first takes no clients", []string{a, b}, nil, servers{a: edited(a, map[string]any{"registration_endpoint": nil})}, b, []string{a, b}},
		{"the third", []string{a, b, c}, nil, servers{a: http.NotFound, b: nil}, c, []string{a, b, c}},
		{"none, and the first says why", []string{a, b}, nil, servers{a: edited(a, map[string]any{"registration_endpoint": nil}), b: http.NotFound}, "oauth.no_client", []string{a, b}},
		{"three at most", []string{a, b, c, d}, nil, servers{a: http.NotFound, b: http.NotFound, c: http.NotFound}, "oauth.discovery_not_found", []string{a, b, c}},
		{"a liar stops", []string{a, b}, nil, servers{a: edited(a, map[string]any{"issuer": b})}, "oauth.metadata_mismatch", []string{a}},
		{"no stranger in place of one that the config names", []string{a, b}, func(w *world) { w.named[a] = true }, servers{a: http.NotFound}, "oauth.discovery_not_found", []string{a}},
		{"no stranger in place of the site's", []string{a, b}, func(w *world) { w.configure(host, Site{Issuer: d}) }, servers{d: http.NotFound}, "oauth.discovery_not_found", []string{d}},
		{"another that the config names", []string{a, b, c}, func(w *world) { w.named[b], w.named[c] = true, true }, servers{b: http.NotFound}, c, []string{b, c}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": tt.listed}}
			hosts := map[string]http.HandlerFunc{host: s.ServeHTTP}
			for _, issuer := range []string{a, b, c, d} {
				hosts[issuer] = edited(issuer, nil)
			}
			maps.Copy(hosts, tt.servers)
			w, n := newWireWorld(t, hosts)
			if tt.setUp != nil {
				tt.setUp(w)
			}
			_, err := w.get(host + handbook)
			var needed *ActionRequired
			got := codeOf(err)
			if errors.As(err, &needed) {
				got = needed.Prompt().Issuer
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
			var asked []string
			for _, issuer := range []string{a, b, c, d} {
				if len(n.sentTo(issuer)) > 0 {
					asked = append(asked, issuer)
				}
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func (w *world) register(issuer string) {
	must(w.t, tokenstore.PutClient(w.t.Context(), w.store, &tokenstore.Client{Principal: principal.Local, Issuer: issuer, ClientID: "c"}))
}

func TestNoMoreIssuersThanThree(t *testing.T) {
	const host = "https://h.example"
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{})
	w.register("https://d.example")
	res := &discovery.Resource{AuthorizationServers: []string{"https://a.example", "https://b.example", "https://c.example", "https://d.example"}}
	got, err := w.issuers(t.Context(), w.workFor(host), res, nil)
	if d := cmp.Diff([]string{"https://d.example", "https://a.example", "https://b.example"}, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

// A page that nobody configured sends us to no address inside, and a configured one only to
// issuers there that are configured too.
func TestIssuersAtAddressesInside(t *testing.T) {
	const host, inside, outside = "https://h.example", "https://10.0.0.1", "https://a.example"
	for name, configured := range map[string]bool{"page is a stranger": false, "page is configured": true} {
		t.Run(name, func(t *testing.T) {
			s := &site{challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{"http://10.0.0.1", inside}}}
			n := &wire{hosts: map[string]http.HandlerFunc{host: s.ServeHTTP}}
			w := newWorld(t, options{base: guarded{n, "10.0.0.1"}})
			if configured {
				w.configure(host, Site{})
			}
			_, err := w.get(host + handbook)
			isA[*netguard.DeniedError](t, err)
			if got := len(n.sentTo("http://10.0.0.1")) + len(n.sentTo(inside)); got != 0 {
				t.Errorf("%d requests went inside", got)
			}
			// One that can be used stands beside it.
			s.metadata["authorization_servers"] = []string{inside, outside}
			n.hosts[outside] = edited(outside, nil)
			w = newWorld(t, options{base: guarded{n, "10.0.0.1"}})
			if got := w.action(host + handbook).Prompt().Issuer; got != outside {
				t.Errorf("signs in at %s, want %s", got, outside)
			}
		})
	}
}

// A refused token makes us look anew where the resource belongs; nothing else does.
func TestMovedIssuerIsSeenAtOnce(t *testing.T) {
	const host, a, b = "https://h.example", "https://a.example", "https://b.example"
	s := &site{accepts: "new", challenge: "Bearer", metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, nil), b: server(b, nil)})
	w.action(host + handbook).End(nil)
	w.put(tokenstore.Token{Resource: host, Issuer: a, AccessToken: secret.New("new"), ObtainedAt: time.Now().Add(-time.Hour)})
	w.page(host+handbook, 200)
	before := len(n.sentTo(host + prm))
	s.accepts, s.metadata = "newer", map[string]any{"resource": host, "authorization_servers": []string{b}}
	if got := w.action(host + handbook).Prompt().Issuer; got != b {
		t.Errorf("signs in at %s, want %s", got, b)
	}
	if got := len(n.sentTo(host + prm)); got == before {
		t.Error("the metadata was not read anew")
	}
}

// A refresh token goes to the endpoint of its time, whatever the metadata says now.
func TestRefreshIsPinned(t *testing.T) {
	w := newWorld(t, options{})
	thief := w.resource(oauthtest.ResourceOptions{})
	moved := false
	i := w.issuer(oauthtest.IssuerOptions{Edit: func(_ string, m map[string]any) {
		if moved {
			m["token_endpoint"], m["revocation_endpoint"], m["registration_endpoint"] = thief.URL+"/token", thief.URL+"/revoke", thief.URL+"/register"
		}
	}})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i})
	w.signIn(r.URL + handbook)
	moved = true
	w.refreshAll(r.URL + handbook)
	i.RevokeTokens()
	w.page(r.URL+handbook, 200)
	if got := w.grants("refresh_token"); len(got) != 2 {
		t.Errorf("%d refreshes at the issuer, want 2", len(got))
	}
	for _, path := range []string{"/token", "/revoke", "/register"} {
		if n := w.log.Count("resource", "", path); n != 0 {
			t.Errorf("%d requests for the thief's %s", n, path)
		}
	}
}

// The authorization of MCP's revision 2025-03-26: the site itself is the issuer.
func TestLegacy(t *testing.T) {
	const host = "https://h.example"
	metadata := map[string]any{
		"issuer": host, "authorization_endpoint": host + "/sign-in", "token_endpoint": host + "/oauth/token", "registration_endpoint": host + "/oauth/register",
		"code_challenge_methods_supported": []string{"S256"},
	}
	for _, tt := range []struct {
		name      string
		site      Site
		challenge string
		metadata  map[string]any // of the authorization server
		resource  map[string]any
		want      string // code of the error; "": the page as it came
		endpoint  string // of authorization
	}{
		{"with metadata", Site{Legacy: true}, "Bearer", metadata, nil, "login_required", host + "/sign-in"},
		{"with default endpoints", Site{Legacy: true}, "Bearer", nil, nil, "login_required", host + "/authorize"},
		{"bare", Site{Legacy: true}, "", nil, nil, "login_required", host + "/authorize"},
		{"with metadata of another issuer", Site{Legacy: true}, "Bearer", map[string]any{"issuer": "https://evil.example"}, nil, "oauth.metadata_mismatch", ""},
		{"the challenge names metadata", Site{Legacy: true}, `Bearer resource_metadata="` + host + `/prm"`, nil, nil, "oauth.no_issuer", ""},
		{"the metadata names no issuer", Site{Legacy: true}, "Bearer", nil, map[string]any{"resource": host}, "oauth.no_issuer", ""},
		{"the site is not known to be such", Site{}, "Bearer", metadata, nil, "oauth.no_issuer", ""},
		{"another scheme", Site{Legacy: true}, "Basic", metadata, nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{challenge: tt.challenge, metadata: tt.resource}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/.well-known/oauth-authorization-server" && tt.metadata != nil:
					serveJSON(rw, 200, tt.metadata)
				case strings.HasPrefix(r.URL.Path, "/.well-known/") && s.metadata == nil, r.URL.Path == "/prm":
					rw.WriteHeader(404)
				default:
					s.ServeHTTP(rw, r)
				}
			}})
			w.configure(host, tt.site)
			w.clients[host] = machine
			var target string
			resp, err := w.get(host + handbook)
			if got := codeOf(err); got != tt.want || tt.want == "" && resp.StatusCode != 401 {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			var needed *ActionRequired
			if errors.As(err, &needed) {
				if p := needed.Prompt(); p.Issuer != host || p.Resource != host {
					t.Errorf("prompt %+v", p)
				}
				plan, err := w.plan(newRequest(t, principal.Local, host).Context(), w.workFor(host+handbook), question{want: wantsToken}, nil)
				must(t, err)
				req := plan.Request
				target = req.Server.AuthorizationEndpoint
				if req.Client.ID != machine.ID {
					t.Errorf("client %q, want the one that the config has for the site", req.Client.ID)
				}
			}
			if target != tt.endpoint {
				t.Errorf("signs in at %q, want %q", target, tt.endpoint)
			}
			for _, s := range n.sentTo("") {
				if s.Method != "GET" {
					t.Errorf("%s %s before anybody agreed", s.Method, s.URL)
				}
			}
		})
	}
}

func (w *world) workFor(url string) *work {
	w.t.Helper()
	got, _, err := w.prepare(newRequest(w.t, principal.Local, url))
	must(w.t, err)
	return got
}
