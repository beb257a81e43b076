package auth

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

const insufficient = `Bearer error="insufficient_user_authentication"`

// signedInAs is the site's answer to a login: as a login leaves it, without one.
func (w *world) signedInAs(token, resource, issuer string) {
	w.put(tokenstore.Token{
		Resource: resource, Issuer: issuer, TokenEndpoint: issuer + "/token", Scopes: []string{"read"},
		AccessToken: secret.New(token), RefreshToken: secret.New("refresh-1"), ObtainedAt: time.Now(),
	})
}

// A site that wants the person to sign in otherwise gets that, and never a refresh (RFC 9470 §4).
func TestSignInOtherwise(t *testing.T) {
	w := newWorld(t, options{})
	i := w.issuer(oauthtest.IssuerOptions{})
	r := w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read"}, ACR: "phr phrh", MaxAge: 600})
	w.signIn(r.URL + handbook) // of any kind, which does not suffice
	w.signIn(r.URL + handbook)
	w.page(r.URL+handbook, 200)
	asked := w.log.Find("issuer", "/authorize")
	if len(asked) != 2 {
		t.Fatalf("%d authorization requests, want 2", len(asked))
	}
	if q := asked[0].Query; q.Has("acr_values") || q.Has("max_age") {
		t.Errorf("the first asks for %v", q)
	}
	if q := asked[1].Query; q.Get("acr_values") != "phr phrh" || q.Get("max_age") != "600" || q.Get("scope") != "read" {
		t.Errorf("the second asks for %v", q)
	}
	if n := len(w.grants("refresh_token")); n != 0 {
		t.Errorf("%d refreshes", n)
	}
}

// Where signing in again and again does not help, that is said.
func TestSignInOtherwiseInVain(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, tt := range []struct {
		name      string
		challenge func(n int) string // of the n-th answer
		rounds    int
		message   string
		later     time.Duration // when the person may be asked again
	}{
		{"class", func(int) string { return insufficient + `, acr_values="phr"` }, 2,
			`https://h.example asks for a sign-in of the class "phr", which https://a.example does not give`, time.Hour},
		{"age", func(int) string { return insufficient + `, max_age="600"` }, 2,
			`https://h.example asks for a sign-in not older than 10m0s, which https://a.example does not give`, 10 * time.Minute},
		{"age of nothing", func(int) string { return insufficient + `, max_age=0` }, 2,
			`https://h.example asks for a sign-in not older than 0s, which https://a.example does not give`, time.Minute},
		{"not said", func(int) string { return insufficient }, 2,
			`https://h.example asks for a sign-in of another kind, which https://a.example does not give`, time.Hour},
		{"another one each time", func(n int) string { return insufficient + fmt.Sprintf(`, acr_values="c%d"`, n) }, 6,
			`https://h.example asks for a sign-in of the class "c13", which https://a.example does not give`, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			metadata := map[string]any{"resource": host, "authorization_servers": []string{a}}
			w, wire := newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == prm {
					serveJSON(rw, 200, metadata)
					return
				}
				rw.Header().Set("WWW-Authenticate", tt.challenge(n))
				rw.WriteHeader(401)
				n++
			}})
			w.signedInAs("first", host, a)
			for range tt.rounds {
				act := w.action(host + handbook)
				if got := act.Prompt().Scopes; !slices.Equal(got, []string{"read"}) {
					t.Errorf("asks for %q, want what the token has", got)
				}
				if w.action(host+handbook) != act {
					t.Fatal("another question while the first one waits")
				}
				act.End(nil)
				w.signedInAs("next", host, a)
			}
			_, err := w.get(host + handbook)
			if e := isA[*AuthenticationError](t, err); e.Error() != tt.message || e.Hint() == "" {
				t.Errorf("got %v, want %s", e, tt.message)
			}
			if got := len(wire.sentTo(a + "/token")); got != 0 {
				t.Errorf("%d token requests", got)
			}
			recent := w.rounds.all[roundKey{principal.Local, mustOrigin(t, host)}]
			for i := range recent {
				if recent[i].counts != tt.later {
					t.Errorf("a round counts for %v, want %v", recent[i].counts, tt.later)
				}
				recent[i].counts = 0
			}
			w.action(host + handbook).End(nil)
		})
	}
}

// What a person said no to is not a round.
func TestSignInOtherwiseDeclined(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{challenge: insufficient, metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, nil)})
	w.signedInAs("first", host, a)
	for range 4 {
		w.action(host + handbook).End(errBroken)
		if _, err := w.get(host + handbook); codeOf(err) != errBroken.Error() {
			t.Errorf("got %v, want what ended the action", err)
		}
	}
	w.action(host + handbook)
}

// Another call may have signed in meanwhile.
func TestSignedInOtherwiseMeanwhile(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	var w *world
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer next" {
			return
		}
		w.signedInAs("next", host, a)
		rw.Header().Set("WWW-Authenticate", insufficient)
		rw.WriteHeader(401)
	}})
	w.signedInAs("first", host, a)
	w.page(host+handbook, 200)
	if got := len(n.sentTo("")); got != 2 {
		t.Errorf("%d requests, want 2", got)
	}
}

// Even then what the site demands may be in vain, which is told as it is.
func TestSignedInOtherwiseMeanwhileInVain(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	var w *world
	meanwhile, n := false, 0
	s := &site{challenge: insufficient, metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	w, _ = newWireWorld(t, map[string]http.HandlerFunc{a: server(a, nil), host: func(rw http.ResponseWriter, r *http.Request) {
		if meanwhile && r.URL.Path == handbook {
			n++
			w.signedInAs(fmt.Sprint("other-", n), host, a)
		}
		s.ServeHTTP(rw, r)
	}})
	w.signedInAs("first", host, a)
	for range maxRounds {
		w.action(host + handbook).End(nil)
	}
	meanwhile = true
	if _, err := w.get(host + handbook); codeOf(err) != "oauth.insufficient_user_authentication" || n != 2 {
		t.Errorf("got %v after %d requests", err, n)
	}
}

// A machine cannot sign in otherwise.
func TestMachinesSignInInOneWay(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{challenge: insufficient + `, acr_values="phr"`, metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, nil)})
	w.configure(host, Site{Issuer: a, Grant: login.ClientCredentials})
	w.clients[a] = machine
	w.signedInAs("first", host, a)
	_, err := w.get(host + handbook)
	isA[*login.UnsupportedError](t, err)
	if got := len(n.sentTo(a + "/token")); got != 0 {
		t.Errorf("%d token requests", got)
	}
}

// Without a token the error says nothing about one.
func TestInsufficientWithoutAToken(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	s := &site{challenge: insufficient + `, acr_values="phr"`, metadata: map[string]any{"resource": host, "authorization_servers": []string{a}}}
	w, _ := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP, a: server(a, nil)})
	if got := w.action(host + handbook).Prompt(); got.Issuer != a {
		t.Errorf("prompt %+v", got)
	}
}
