package auth

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func mustOrigin(t testing.TB, s string) origin.Origin {
	t.Helper()
	o, err := origin.Parse(s)
	must(t, err)
	return o
}

// shifting is a site whose n-th refusal says what challenge does, and what its metadata names then.
func shifting(host string, status int, issuer, challenge func(n int) string) (h http.HandlerFunc, refusals *int) {
	refusals = new(int)
	return func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == prm {
			serveJSON(rw, 200, map[string]any{"resource": host, "authorization_servers": []string{issuer(*refusals)}})
			return
		}
		*refusals++
		rw.Header().Set("WWW-Authenticate", challenge(*refusals))
		rw.WriteHeader(status)
	}, refusals
}

// asks signs in as often as url asks for it, at most limit times.
func (w *world) asks(url string, limit int) (n int) {
	w.t.Helper()
	for ; n < limit; n++ {
		_, err := w.get(url)
		needed, ok := err.(*ActionRequired)
		if !ok {
			return n
		}
		p := needed.Prompt()
		needed.End(nil)
		w.put(tokenstore.Token{Resource: p.Resource, Issuer: p.Issuer, TokenType: "Bearer", AccessToken: secret.New(fmt.Sprintf("token-%d", n)), Scopes: p.Scopes, ObtainedAt: time.Now()})
	}
	return n
}

// A site cannot have a person sign in without end by naming another issuer each time.
func TestRoundsAreOfAnOrigin(t *testing.T) {
	const host, as = "https://h.example", "https://as.example"
	path := func(n int) string { return fmt.Sprintf("%s/t%d", as, n) }
	issuers := func(rw http.ResponseWriter, r *http.Request) {
		issuer, ok := strings.CutPrefix(r.URL.Path, "/.well-known/oauth-authorization-server")
		if !ok {
			rw.WriteHeader(404)
			return
		}
		r.URL.Path = "/.well-known/oauth-authorization-server"
		server(as+issuer, nil)(rw, r)
	}
	for _, tt := range []struct {
		name      string
		status    int
		challenge func(int) string
		most      int
	}{
		{"a sign-in of another kind", 401, func(n int) string { return fmt.Sprintf(`%s, acr_values="c%d"`, insufficient, n) }, 1 + maxAllRounds},
		{"of the same kind", 401, func(int) string { return insufficient + `, acr_values="phr"` }, 1 + maxRounds},
		{"another token", 401, func(int) string { return "Bearer" }, 1 + maxRounds},
		{"another scope", 403, func(n int) string { return fmt.Sprintf(`Bearer error="insufficient_scope", scope="s%d"`, n) }, 1 + maxRounds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := shifting(host, tt.status, path, tt.challenge)
			w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: h, as: issuers})
			if got := w.asks(host+handbook, 40); got > tt.most {
				t.Errorf("the person had to sign in %d times, want at most %d", got, tt.most)
			}
		})
	}
}

// What was granted and then accepted is not held against a site that needs more and more scopes.
func TestRoundsThatHelped(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	needs, granted := 1, ""
	metadata := map[string]any{"resource": host, "authorization_servers": []string{a}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == prm:
			serveJSON(rw, 200, metadata)
		case !strings.Contains(granted, fmt.Sprintf("s%d ", needs)):
			rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="s%d"`, needs))
			rw.WriteHeader(403)
		}
	}})
	w.signedInAs("first", host, a)
	for range 2 * maxAllRounds {
		act := w.action(host + handbook)
		granted = strings.Join(act.Prompt().Scopes, " ") + " "
		act.End(nil)
		w.change(func(tok *tokenstore.Token) { tok.Scopes = act.Prompt().Scopes })
		w.page(host+handbook, 200)
		needs++
	}
}

// Nor is it against pages that each want another kind of sign-in, and take it.
func TestKindsThatHelped(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	metadata := map[string]any{"resource": host, "authorization_servers": []string{a}}
	last := ""
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
		switch class := strings.TrimPrefix(r.URL.Path, "/"); {
		case r.URL.Path == prm:
			serveJSON(rw, 200, metadata)
		case class != last:
			rw.Header().Set("WWW-Authenticate", insufficient+`, acr_values="`+class+`"`)
			rw.WriteHeader(401)
		}
	}})
	w.signedInAs("first", host, a)
	for i := range 2 * maxAllRounds {
		page := []string{"A", "B"}[i%2]
		act := w.action(host + "/" + page)
		act.End(nil)
		last = page
		w.page(host+"/"+page, 200)
	}
}

// A short value of a configured header does not stand in the way of words that a challenge needs.
func TestChallengeWithWordsOfOurHeaders(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	metadata := map[string]any{"resource": host, "authorization_servers": []string{a}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == prm {
			serveJSON(rw, 200, metadata)
			return
		}
		rw.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", scope="read docs.read-all canary-key-1"`)
		rw.WriteHeader(403)
	}})
	w.configure(host, Site{Headers: []Header{{"X-Kind", secret.New("read")}, {"X-Word", secret.New("invalid_token")}, {"X-Key", secret.New("canary-key-1")}}})
	if got := w.action(host + handbook).Prompt().Scopes; strings.Join(got, " ") != "read docs.read-all" {
		t.Errorf("asks for %q", got)
	}
}

// A no to a refresh token that is not the one in the store any more changes nothing there.
func TestRefusedRefreshOfAnOldToken(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	var w *world
	s := &site{accepts: "new", challenge: "Bearer"}
	newer := tokenstore.Token{Resource: host, Issuer: a, TokenType: "Bearer", AccessToken: secret.New("new"), RefreshToken: secret.New("r2"), ObtainedAt: time.Now()}
	w, _ = newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, func(url.Values) (int, map[string]any) {
		w.put(newer)
		return 400, map[string]any{"error": "invalid_grant"}
	})})
	w.put(tokenstore.Token{Resource: host, Issuer: a, TokenType: "Bearer", AccessToken: secret.New("old"), RefreshToken: secret.New("r1"), TokenEndpoint: a + "/token",
		ObtainedAt: time.Now().Add(-time.Hour), Expiry: time.Now().Add(-time.Minute)})
	w.page(host+handbook, 200)
	if got := w.token(); !got.AccessToken.Equal("new") {
		t.Error("the newer token is not there any more")
	}
}

// Where the scopes alone say whom a token is for, a site must not choose them.
func TestScopesThatAreAnAudience(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, tt := range []struct {
		name  string
		site  Site
		wants string
		code  string // "": a token, or somebody is asked
	}{
		{"without a person", Site{Issuer: a, Grant: login.ClientCredentials}, "https://graph.example/.default", "oauth.scopes_required"},
		{"with a person", Site{Issuer: a}, "https://graph.example/.default", "oauth.scopes_required"},
		{"configured", Site{Issuer: a, Grant: login.ClientCredentials, Scopes: []string{"api://wiki/.default"}}, "https://graph.example/.default", ""},
		{"none at all", Site{Issuer: a, Grant: login.ClientCredentials}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{accepts: "T", challenge: `Bearer scope="` + tt.wants + `"`}
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, func(url.Values) (int, map[string]any) {
				return 200, map[string]any{"access_token": "T", "token_type": "Bearer"}
			})})
			w.configure(host, tt.site)
			w.clients[a], w.settings[a] = machine, login.Settings{Resource: "omit"}
			resp, err := w.get(host + handbook)
			var refused *ScopesError
			if e, ok := err.(*ScopesError); ok {
				refused = e
			}
			if (refused != nil) != (tt.code != "") {
				t.Fatalf("got %v, %v", resp, err)
			}
			if tt.code == "" {
				if got := n.sentTo(a + "/token"); len(got) != 1 {
					t.Errorf("%d token requests", len(got))
				}
				return
			}
			if refused.Code() != tt.code || !strings.Contains(refused.Hint(), `sites."https://h.example".oauth.scopes`) || len(n.sentTo(a+"/token")) != 0 {
				t.Errorf("code %s, hint %s", refused.Code(), refused.Hint())
			}
		})
	}
}

// What a site repeats of our token is neither shown nor sent on.
func TestChallengeThatEchoes(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	metadata := map[string]any{"resource": host, "authorization_servers": []string{a}}
	for name, challenge := range map[string]string{
		"class": `Bearer error="insufficient_user_authentication", acr_values="%s"`,
		"scope": `Bearer error="insufficient_scope", scope="x-%s"`,
	} {
		t.Run(name, func(t *testing.T) {
			w, n := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == prm {
					serveJSON(rw, 200, metadata)
					return
				}
				rw.Header().Set("WWW-Authenticate", fmt.Sprintf(challenge, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
				rw.WriteHeader(map[string]int{"class": 401, "scope": 403}[name])
			}})
			w.signedInAs("canary-token", host, a)
			resp, err := w.get(host + handbook)
			needed, ok := err.(*ActionRequired)
			if ok && strings.Contains(fmt.Sprint(needed.Prompt()), "canary") || err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("shows the token: %v, %v", resp, err)
			}
			for _, s := range n.sentTo(a) {
				if strings.Contains(s.URL, "canary") {
					t.Errorf("sent to the issuer: %s", s.URL)
				}
			}
		})
	}
}

// A token is the client's that got it: where the config names another one now, it is not used.
func TestTokenOfAnotherClient(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{accepts: "T2", challenge: "Bearer"}
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, func(url.Values) (int, map[string]any) {
		return 200, map[string]any{"access_token": "T2", "token_type": "Bearer"}
	})})
	w.configure(host, Site{Issuer: a, Grant: login.ClientCredentials})
	w.clients[a] = machine
	w.put(tokenstore.Token{Resource: host, Issuer: a, ClientID: "before", TokenType: "Bearer", AccessToken: secret.New("T1"), ObtainedAt: time.Now()})
	w.page(host+handbook, 200)
	for _, s := range n.sentTo(host) {
		if strings.Contains(s.Authorization, "T1") {
			t.Error("the token of another client was sent")
		}
	}
}
