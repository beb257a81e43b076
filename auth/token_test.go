package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestWhereATokenMayGo(t *testing.T) {
	for _, tt := range []struct {
		resource, page string
		want           bool
	}{
		{"https://h.example", "https://h.example/a/b?c", true},
		{"https://h.example", "https://h.example", true},
		{"https://h.example/", "https://h.example", true},
		{"https://h.example", "https://h.example/a/../b", true},
		{"https://H.Example:443", "https://h.example./a", true},
		{"https://h.example", "https://h.example:8443/a", false},
		{"https://h.example", "https://sub.h.example/a", false},
		{"https://h.example", "http://h.example/a", false},
		{"http://h.example", "http://h.example/a", false},
		{"http://127.0.0.1:1", "http://127.0.0.1:1/a", true},
		{"http://127.0.0.1:2", "http://127.0.0.1:2/a", false}, // not configured
		{"http://127.0.0.1:1", "https://127.0.0.1:1/a", false},

		{"https://h.example/docs", "https://h.example/docs", true},
		{"https://h.example/docs", "https://h.example/docs/", true},
		{"https://h.example/docs", "https://h.example/docs/a", true},
		{"https://h.example/docs", "https://h.example/docs?a=1", true},
		{"https://h.example/docs", "https://h.example/docs//a", true},
		{"https://h.example/docs", "https://h.example/docs/100%25", true},
		{"https://h.example/docs", "https://h.example/docs/a..b", true},
		{"https://h.example/docs", "https://h.example/docs/...", true},
		{"https://h.example/docs", "https://h.example/", false},
		{"https://h.example/docs", "https://h.example/docsx", false},
		{"https://h.example/docs", "https://h.example/Docs/a", false},
		{"https://h.example/docs", "https://h.example//docs/a", false},
		{"https://h.example/docs", "https://h.example/doc%73/a", false},
		{"https://h.example/docs", "https://h.example/docs%2Fa", false},
		{"https://h.example/docs/", "https://h.example/docs/a", true},
		{"https://h.example/docs/", "https://h.example/docs/", true},
		{"https://h.example/docs/", "https://h.example/docs", false},

		{"https://h.example/docs", "https://h.example/docs/../admin", false},
		{"https://h.example/docs", "https://h.example/docs/..", false},
		{"https://h.example/docs", "https://h.example/docs/%2e%2E/admin", false},
		{"https://h.example/docs", "https://h.example/docs/.%2e/admin", false},
		{"https://h.example/docs", "https://h.example/docs/..%2fadmin", false},
		{"https://h.example/docs", "https://h.example/docs/a%2f..%2f..%2fadmin", false},
		{"https://h.example/docs", "https://h.example/docs/..%5cadmin", false},
		{"https://h.example/docs", "https://h.example/docs/..;/admin", false},
		{"https://h.example/docs", "https://h.example/docs/..;a=b/admin", false},
		{"https://h.example/docs", "https://h.example/docs/..%3b/admin", false},
		{"https://h.example/docs", "https://h.example/docs/%252e%252e/admin", false},
		{"https://h.example/docs", "https://h.example/docs/%252%65%252%65/admin", false},
		{"https://h.example/docs", "https://h.example/docs/x%25/%252e%252e%252fadmin", false},
		{"https://h.example/docs", "https://h.example/docs/%2525252525252e", false},
		{"https://h.example/docs/../x", "https://h.example/docs/../x", true},

		{"https://h.example/p?tenant=a", "https://h.example/p?tenant=a", true},
		{"https://h.example/p?tenant=a", "https://h.example/p?tenant=b", false},
		{"https://h.example/p?tenant=a", "https://h.example/p", false},
		{"https://h.example/p?tenant=a", "https://h.example/p/x?tenant=a", false},
		{"https://h.example?tenant=a", "https://h.example/?tenant=a", true},

		{"", "https://h.example/", false},
		{"urn:x", "https://h.example/", false},
		{"https://h.example:0", "https://h.example/", false},
		{"%", "https://h.example/", false},
	} {
		u, err := url.Parse(tt.page)
		must(t, err)
		o, err := origin.Of(u)
		must(t, err)
		w := &work{origin: o, site: Site{Configured: o.String() != "http://127.0.0.1:2"}, req: &http.Request{URL: u}}
		if _, got := w.depth(tt.resource); got != tt.want {
			t.Errorf("a token for %s goes to %s: %v, want %v", tt.resource, tt.page, got, tt.want)
		}
	}
}

func TestExpiring(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name           string
		obtained, ends time.Duration // from now; 0 ends never
		want           bool
	}{
		{"an hour, just issued", 0, time.Hour, false},
		{"an hour, 31 s left", -time.Hour, 31 * time.Second, false},
		{"an hour, 29 s left", -time.Hour, 29 * time.Second, true},
		{"an hour, over", -2 * time.Hour, -time.Hour, true},
		{"ten seconds, just issued", 0, 10 * time.Second, false},
		{"ten seconds, half way", -5 * time.Second, 5 * time.Second, false},
		{"ten seconds, the last one", -9100 * time.Millisecond, 900 * time.Millisecond, true},
		{"no end", -1000 * time.Hour, 0, false},
		{"the clock was set back a day", 24 * time.Hour, 25 * time.Hour, false},
		{"the clock was set forward a day", -24 * time.Hour, -23 * time.Hour, true},
	} {
		tok := &tokenstore.Token{ObtainedAt: now.Add(tt.obtained)}
		if tt.ends != 0 {
			tok.Expiry = now.Add(tt.ends)
		}
		if got := expiring(tok, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if !expiring(&tokenstore.Token{Expiry: now.Add(time.Second)}, now) {
		t.Error("a token of unknown age is not renewed before it ends")
	}
}

func TestIsFresh(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		tok  tokenstore.Token
		want bool
	}{
		{"just issued", tokenstore.Token{ObtainedAt: now}, true},
		{"a minute old", tokenstore.Token{ObtainedAt: now.Add(-time.Minute)}, false},
		{"over already", tokenstore.Token{ObtainedAt: now.Add(-5 * time.Second), Expiry: now.Add(-time.Second)}, false},
		{"from tomorrow, as the clock was set back", tokenstore.Token{ObtainedAt: now.Add(24 * time.Hour)}, false},
		{"of unknown age", tokenstore.Token{}, false},
	} {
		if got := isFresh(&tt.tok, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The life of a token by the clock.
func TestRefreshInTime(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	for _, tt := range []struct {
		name     string
		lifetime any // expires_in of the tokens that a refresh gets
		after    []time.Duration
		want     []int // refreshes so far
	}{
		{"an hour", 3600, []time.Duration{0, 59 * time.Minute, 31 * time.Second, time.Hour}, []int{0, 0, 1, 2}},
		{"ten seconds", 10, []time.Duration{time.Hour, 8 * time.Second, 1500 * time.Millisecond}, []int{1, 1, 2}},
		{"not said", nil, []time.Duration{time.Hour, 365 * 24 * time.Hour}, []int{1, 1}},
		{"zero, which is not said", 0, []time.Duration{time.Hour, time.Second, 365 * 24 * time.Hour}, []int{1, 1, 1}},
		{"negative, which is not said", -5, []time.Duration{time.Hour, time.Second}, []int{1, 1}},
		{"a thousand years", 1 << 35, []time.Duration{time.Hour, 365 * 24 * time.Hour}, []int{1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refreshes int
				w, _ := newWireWorld(t, map[string]http.HandlerFunc{
					host: func(http.ResponseWriter, *http.Request) {},
					a: server(a, func(url.Values) (int, map[string]any) {
						refreshes++
						body := map[string]any{"access_token": "new", "token_type": "Bearer"}
						if tt.lifetime != nil {
							body["expires_in"] = tt.lifetime
						}
						return 200, body
					}),
				})
				w.put(tokenstore.Token{
					Resource: host, Issuer: a, TokenEndpoint: a + "/token", ClientID: "c", AccessToken: secret.New("old"), RefreshToken: secret.New("r"),
					ObtainedAt: time.Now(), Expiry: time.Now().Add(time.Hour),
				})
				for i, d := range tt.after {
					time.Sleep(d)
					w.page(host+handbook, 200)
					if refreshes != tt.want[i] {
						t.Errorf("after step %d: %d refreshes, want %d", i, refreshes, tt.want[i])
					}
				}
			})
		})
	}
}

// The last half minute of a token that nothing can renew is not wasted.
func TestNothingToRefreshWith(t *testing.T) {
	const host = "https://h.example"
	s := &site{accepts: "old"}
	w, n := newWireWorld(t, map[string]http.HandlerFunc{host: s.ServeHTTP})
	tok := tokenstore.Token{Resource: host, Issuer: "https://a.example", AccessToken: secret.New("old"), ObtainedAt: time.Now().Add(-time.Hour), Expiry: time.Now().Add(10 * time.Second)}
	w.put(tok)
	w.page(host+handbook, 200)
	tok.Expiry = time.Now().Add(-time.Second)
	w.put(tok)
	w.page(host+handbook, 401)
	if got := n.sentTo(host + handbook); got[0].Authorization != "Bearer old" || got[1].Authorization != "" || len(got) != 2 {
		t.Errorf("sent %+v", got)
	}
}

func TestOneRefreshAmongGoroutines(t *testing.T) {
	const callers = 50
	for _, tt := range []struct {
		name string
		end  func(w *world, i *oauthtest.Issuer)
	}{
		{"before expiry", func(w *world, _ *oauthtest.Issuer) {
			w.change(func(tok *tokenstore.Token) {
				tok.ObtainedAt, tok.Expiry = time.Now().Add(-time.Hour), time.Now().Add(10*time.Second)
			})
		}},
		{"after expiry", func(w *world, i *oauthtest.Issuer) {
			i.ExpireTokens()
			w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
		}},
		{"on 401", func(_ *world, i *oauthtest.Issuer) { i.RevokeTokens() }},
		{"on 401, no end known", func(w *world, i *oauthtest.Issuer) {
			i.RevokeTokens()
			w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Time{} })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, options{})
			i := w.issuer(oauthtest.IssuerOptions{RotateRefresh: true})
			r := w.resource(oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"read"}})
			w.signIn(r.URL + handbook)
			tt.end(w, i)
			var all sync.WaitGroup
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
			all.Wait()
			got := w.grants("refresh_token")
			if len(got) != 1 || i.RefreshReuseDetected() != 0 {
				t.Fatalf("%d refreshes, %d with a used token; want 1 and none", len(got), i.RefreshReuseDetected())
			}
			if got[0].Form.Get("resource") != r.URL || got[0].Form.Get("scope") != "read" {
				t.Errorf("refresh %v", got[0].Form)
			}
			if n := len(w.opened); n != 1 {
				t.Errorf("%d browser windows, want that of the sign-in", n)
			}
		})
	}
}

// wreck is a token endpoint that answers as it is told to, or else as the issuer does.
type wreck struct {
	mu   sync.Mutex // guards fail
	fail http.HandlerFunc
	next http.HandlerFunc
}

func (x *wreck) set(h http.HandlerFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = h
}

func (x *wreck) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	h := x.fail
	x.mu.Unlock()
	if h == nil {
		h = x.next
	}
	h(w, r)
}

// newWreck starts an issuer whose tokens are asked for through the wreck.
func newWreck(w *world, clients map[string]string) (*oauthtest.Issuer, *wreck) {
	x := new(wreck)
	good := w.issuer(oauthtest.IssuerOptions{RotateRefresh: true, Clients: clients, Handle: map[string]http.HandlerFunc{"/broken": x.ServeHTTP}, Edit: func(_ string, m map[string]any) {
		m["token_endpoint"] = strings.TrimSuffix(m["token_endpoint"].(string), "/token") + "/broken"
	}})
	x.next = func(rw http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/token"
		good.ServeHTTP(rw, r)
	}
	return good, x
}

func TestRefreshFails(t *testing.T) {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	oauth := func(status int, code string) http.HandlerFunc {
		return answer(status, "application/json", `{"error":"`+code+`"}`)
	}
	for _, tt := range []struct {
		name      string
		fail      http.HandlerFunc
		transient bool // keeps the token, and no login is needed
		forgotten bool // the refused token is deleted
	}{
		{"connection dropped", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, false},
		{"500", answer(500, "text/html", "oops"), true, false},
		{"503 as JSON", oauth(503, "temporarily_unavailable"), true, false},
		{"429", answer(429, "text/plain", ""), true, false},
		{"portal", answer(302, "text/html", ""), true, false},
		{"portal's page", answer(200, "text/html", "<html>"), true, false},
		{"server_error", oauth(400, "server_error"), true, false},
		{"invalid_grant", oauth(400, "invalid_grant"), false, true},
		{"invalid_client", oauth(401, "invalid_client"), false, true},
		{"invalid_scope", oauth(400, "invalid_scope"), false, false},
		{"endpoint is gone", answer(404, "text/html", ""), false, false},
	} {
		for name, end := range map[string]func(w *world, i *oauthtest.Issuer){
			"good for a little while": func(w *world, _ *oauthtest.Issuer) {
				w.change(func(tok *tokenstore.Token) {
					tok.ObtainedAt, tok.Expiry = time.Now().Add(-time.Hour), time.Now().Add(15*time.Second)
				})
			},
			"expired": func(w *world, i *oauthtest.Issuer) {
				i.ExpireTokens()
				w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
			},
			"revoked": func(_ *world, i *oauthtest.Issuer) { i.RevokeTokens() },
		} {
			t.Run(tt.name+", token "+name, func(t *testing.T) {
				w := newWorld(t, options{})
				i, x := newWreck(w, nil)
				r := w.resource(oauthtest.ResourceOptions{Issuer: i})
				w.signIn(r.URL + handbook)
				w.put(tokenstore.Token{Resource: "https://other.example", Issuer: i.URL, AccessToken: secret.New("x"), ObtainedAt: time.Now()})
				other := w.tokens()
				must(t, w.store.Delete(t.Context(), tokenstore.TokenKey(principal.Local, "https://other.example", i.URL)))
				end(w, i)
				before := w.token()
				w.put(*other[1])

				x.set(tt.fail)
				resp, err := w.get(r.URL + handbook)
				x.set(nil)
				var needed *ActionRequired
				switch {
				case name == "good for a little while" && !tt.forgotten:
					must(t, err)
					if resp.StatusCode != 200 {
						t.Errorf("status %d, want 200", resp.StatusCode)
					}
				case tt.transient:
					if err == nil || errors.As(err, &needed) {
						t.Errorf("got %v, want the failure", err)
					}
				case name == "revoked":
					// It has only just been issued: to sign in again at once would not help.
					isA[*RefusedError](t, err)
				default:
					isA[*ActionRequired](t, err)
				}
				left := w.tokens()
				if !left[len(left)-1].AccessToken.Equal("x") {
					t.Error("the token for another site is lost")
				}
				if _, err := tokenstore.GetClient(t.Context(), w.store, tokenstore.ClientKey(principal.Local, i.URL)); err != nil && tt.name != "invalid_client" {
					t.Errorf("the registration is lost: %v", err)
				}
				if tt.forgotten {
					if len(left) != 1 {
						t.Error("a refresh token that was refused for good is kept")
					}
					return
				}
				if len(left) != 2 || !left[0].RefreshToken.Equal(before.RefreshToken.Reveal()) {
					t.Fatal("the refresh token is lost")
				}
				w.page(r.URL+handbook, 200) // when the issuer is well again
				if n := i.RefreshReuseDetected(); n != 0 {
					t.Errorf("%d used refresh tokens were sent", n)
				}
			})
		}
	}
}

// A caller that goes away takes no token with it: what the issuer rotated is stored.
func TestCancelledCaller(t *testing.T) {
	w := newWorld(t, options{})
	i, x := newWreck(w, nil)
	r := w.resource(oauthtest.ResourceOptions{Issuer: i})
	w.signIn(r.URL + handbook)
	i.ExpireTokens()
	w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
	before := w.token()

	asked, answer := make(chan struct{}), make(chan struct{})
	x.set(func(rw http.ResponseWriter, req *http.Request) {
		close(asked)
		<-answer
		x.next(rw, req)
	})
	ctx, cancel := context.WithCancel(principal.With(t.Context(), principal.Local))
	gone := make(chan error)
	go func() {
		req, _ := newGet(ctx, r.URL+handbook)
		_, err := w.RoundTrip(req)
		gone <- err
	}()
	<-asked
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	close(answer)
	for deadline := time.Now().Add(soon); w.token().RefreshToken.Equal(before.RefreshToken.Reveal()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rotated token was not stored")
		}
	}
	x.set(nil)
	w.page(r.URL+handbook, 200)
	if n := w.log.Count("issuer", "POST", "/broken"); n != 2 || i.RefreshReuseDetected() != 0 {
		t.Errorf("%d token requests, want those for the code and one refresh", n)
	}
}

// A refresh waits for the lock, and what it finds then counts.
func TestRefreshReadsAgainUnderTheLock(t *testing.T) {
	const host, a = "https://h.example", "https://a.example"
	old := tokenstore.Token{
		Resource: host, Issuer: a, TokenEndpoint: a + "/token", AccessToken: secret.New("old"), RefreshToken: secret.New("r"),
		ObtainedAt: time.Now().Add(-time.Hour), Expiry: time.Now().Add(-time.Second),
	}
	for _, tt := range []struct {
		name string
		does func(w *world) // who holds the lock
		want string
	}{
		{"refreshed", func(w *world) {
			next := old
			next.AccessToken, next.Expiry = secret.New("next"), time.Now().Add(time.Hour)
			w.put(next)
		}, "Bearer next"},
		{"signed out", func(w *world) {
			must(w.t, w.store.Delete(w.t.Context(), tokenstore.TokenKey(principal.Local, host, a)))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, n := newWireWorld(t, map[string]http.HandlerFunc{host: func(http.ResponseWriter, *http.Request) {}, a: server(a, nil)})
			w.put(old)
			unlock, err := tokenstore.LockToken(t.Context(), w.store, tokenstore.TokenKey(principal.Local, host, a))
			must(t, err)
			done := make(chan error)
			go func() {
				resp, err := w.RoundTrip(newRequest(t, principal.Local, host+handbook))
				if err == nil {
					resp.Body.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			tt.does(w)
			unlock()
			must(t, <-done)
			want := []sent{{Method: "GET", URL: host + handbook, Authorization: tt.want}}
			if d := cmp.Diff(want, n.sentTo("")); d != "" {
				t.Errorf("sent (-want +got):\n%s", d)
			}
		})
	}
}

// brokenStore cannot be read.
type brokenStore struct{ tokenstore.Store }

func (brokenStore) List(context.Context, tokenstore.Kind, principal.ID) ([]tokenstore.Entry, error) {
	return nil, errBroken
}

var errBroken = errors.New("the disk is gone")

func TestStoreThatCannotBeRead(t *testing.T) {
	n := &wire{}
	w := newWorld(t, options{base: n, store: brokenStore{tokenstore.NewMemory()}})
	if _, err := w.get("https://h.example/"); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	if len(n.sentTo("")) != 0 {
		t.Error("the request was sent")
	}
}
