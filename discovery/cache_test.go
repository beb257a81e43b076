package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

const (
	asIssuer = "https://as.example"
	asDoc    = `{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"`
)

// web answers in process, and remembers what it was asked for. Where it has nothing it answers 404.
type web struct {
	mu    sync.Mutex
	at    map[string]func() (*http.Response, error)
	asked []string
}

func newWeb(documents map[string]string) *web {
	w := &web{at: map[string]func() (*http.Response, error){}}
	for u, doc := range documents {
		w.put(u, doc)
	}
	return w
}

func (w *web) put(u, doc string) {
	w.set(u, func() (*http.Response, error) { return jsonAnswer(doc), nil })
}

func (w *web) status(u string, status int) {
	w.set(u, func() (*http.Response, error) { return &http.Response{StatusCode: status, Body: http.NoBody}, nil })
}

func (w *web) set(u string, answer func() (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[u] = answer
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r.URL.String())
	answer, ok := w.at[r.URL.String()]
	w.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if !ok {
		return &http.Response{StatusCode: 404, Body: http.NoBody}, nil
	}
	return answer()
}

// requests returns what was asked for since the last time.
func (w *web) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func TestHowLongAnswersAreKept(t *testing.T) {
	const page, prm = "https://h.example/a", "https://h.example" + protectedResource
	server := func(c *Client) error { _, err := c.AuthServer(context.Background(), asIssuer); return err }
	resource := func(c *Client) error {
		_, err := c.Resource(context.Background(), parse(t, page), "")
		return err
	}
	broken := func() (*http.Response, error) { return nil, errors.New("no route") }
	signed := marshal(t, members{"resource": "https://h.example", "jwks_uri": "https://h.example/jwks", "signed_metadata": token(t, jose.ES256, "p256", "", `{"iss":"https://h.example"}`)})
	for _, tt := range []struct {
		name string
		web  func(*web)
		ask  func(*Client) error
		err  string
		life time.Duration
	}{
		{"authorization server", func(w *web) { w.put(asIssuer+authorizationServer, asDoc+"}") }, server, "", 10 * time.Minute},
		{"resource", func(w *web) { w.put(prm, `{"resource":"https://h.example"}`) }, resource, "", 10 * time.Minute},
		{"not found", func(*web) {}, server, notFound, time.Minute},
		{"resource not found", func(*web) {}, resource, notFound, time.Minute},
		{"mismatch", func(w *web) { w.put(asIssuer+authorizationServer, `{"issuer":"https://evil.example"}`) }, server, mismatch, time.Minute},
		{"resource mismatch", func(w *web) { w.put(prm, `{"resource":"https://evil.example"}`) }, resource, mismatch, time.Minute},
		{"invalid", func(w *web) { w.put(asIssuer+authorizationServer, asDoc+`,"issuer":""}`) }, server, invalid, time.Minute},
		{"too large", func(w *web) { w.put(asIssuer+authorizationServer, strings.Repeat(" ", MaxBodyBytes+1)) }, server, invalid, time.Minute},
		{"request failed", func(w *web) { w.set(asIssuer+authorizationServer, broken) }, server, failed, 0},
		{"the last request failed", func(w *web) { w.set(asIssuer+openIDConfiguration, broken) }, server, failed, 0},
		{"too large, and a request failed", func(w *web) {
			w.put(asIssuer+authorizationServer, strings.Repeat(" ", MaxBodyBytes+1))
			w.set(asIssuer+openIDConfiguration, broken)
		}, server, invalid, 0},
		{"502", func(w *web) { w.status(asIssuer+authorizationServer, 502) }, server, unavailable, 0},
		{"503 behind 404", func(w *web) { w.status(asIssuer+openIDConfiguration, 503) }, server, unavailable, 0},
		{"429", func(w *web) { w.status(asIssuer+authorizationServer, 429) }, server, unavailable, 0},
		{"429 of a resource", func(w *web) { w.status(prm, 429) }, resource, unavailable, 0},
		{"403 is an answer", func(w *web) { w.status(asIssuer+authorizationServer, 403) }, server, notFound, time.Minute},
		{"503 before a document", func(w *web) {
			w.status(asIssuer+authorizationServer, 503)
			w.put(asIssuer+openIDConfiguration, asDoc+"}")
		}, server, unavailable, 0},
		{"signed, and its keys cannot be read now", func(w *web) {
			w.put(prm, signed)
			w.set("https://h.example/jwks", broken)
		}, resource, "", time.Minute},
		{"signed, and its keys are not there", func(w *web) { w.put(prm, signed) }, resource, "", 10 * time.Minute},
		{"found behind a failure", func(w *web) {
			w.set(prm+"/a", broken)
			w.put(prm, `{"resource":"https://h.example"}`)
		}, resource, "", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb(nil)
				tt.web(w)
				steps := 0
				c := New(Options{Transport: w, Observe: func(Step) { steps++ }})
				ask := func() int {
					t.Helper()
					steps = 0
					if err := tt.ask(c); kind(err) != tt.err {
						t.Errorf("got %v, want %q", err, tt.err)
					}
					n := len(w.requests())
					if n != steps {
						t.Errorf("%d requests in %d steps", n, steps)
					}
					return n
				}
				if ask() == 0 {
					t.Fatal("nothing is asked")
				}
				if n := ask(); (n == 0) != (tt.life > 0) {
					t.Errorf("%d requests at once", n)
				}
				if tt.life == 0 {
					return
				}
				time.Sleep(tt.life - time.Nanosecond)
				if n := ask(); n != 0 {
					t.Errorf("%d requests before the end", n)
				}
				time.Sleep(time.Nanosecond)
				if ask() == 0 {
					t.Error("known for too long")
				}
				if n := ask(); n != 0 {
					t.Errorf("%d requests the second time", n)
				}
			})
		})
	}
}

func TestWhatIsKeptApart(t *testing.T) {
	const prm = "https://h.example" + protectedResource
	w := newWeb(map[string]string{
		prm: `{"resource":"https://h.example"}`, "https://h.example/doc": `{"resource":"https://h.example"}`, asIssuer + authorizationServer: asDoc + "}",
	})
	c := New(Options{Transport: w})
	ask := func(p principal.ID, page, advertised string, want ...string) {
		t.Helper()
		if _, err := c.Resource(principal.With(t.Context(), p), parse(t, page), advertised); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, w.requests()); diff != "" {
			t.Errorf("%s asks for %s, %q (-want +got):\n%s", p, page, advertised, diff)
		}
	}
	ask("alice", "https://h.example/a", "", prm+"/a", prm)
	ask("alice", "https://h.example/a?q=1#f", "")
	ask("alice", "https://H.example:443/a", "")
	ask("alice", "https://h.example/a", "https://evil.example/doc") // cannot be used: the same question
	ask("alice", "https://h.example/b", "", prm+"/b", prm)
	ask("alice", "https://h.example/a", "https://h.example/doc", "https://h.example/doc")
	ask("bob", "https://h.example/a", "", prm+"/a", prm)
	ask("", "https://h.example/a", "", prm+"/a", prm)
	for _, p := range []principal.ID{"alice", "bob", "alice", "bob"} {
		if _, err := c.AuthServer(principal.With(t.Context(), p), asIssuer); err != nil {
			t.Error(err)
		}
	}
	if got := w.requests(); len(got) != 2 {
		t.Errorf("asked for %v, want once for each", got)
	}
	// A page that has the name of an issuer is no issuer.
	if _, err := c.Resource(principal.With(t.Context(), "alice"), parse(t, asIssuer), ""); kind(err) != notFound {
		t.Errorf("got %v, want that there is none", err)
	}
}

// A resource with a query is that of one page, and the query is not part of the question.
func TestQueriesDoNotShareAnswers(t *testing.T) {
	w := newWeb(map[string]string{"https://h.example/doc": `{"resource":"https://h.example/p?tenant=a"}`})
	c := New(Options{Transport: w})
	for _, tt := range []struct{ query, err string }{{"?tenant=a", ""}, {"?tenant=b", mismatch}, {"?tenant=a", ""}, {"", mismatch}, {"?tenant=a", ""}} {
		r, err := c.Resource(t.Context(), parse(t, "https://h.example/p"+tt.query), "https://h.example/doc")
		if kind(err) != tt.err {
			t.Errorf("%q: got %v, %v; want %q", tt.query, r, err, tt.err)
		}
	}
	// A site may change what it says: what it said before does not come back.
	c = New(Options{Transport: w})
	ask := func(c *Client, want string) {
		t.Helper()
		if r, err := c.Resource(t.Context(), parse(t, "https://h.example/p?tenant=a"), "https://h.example/doc"); err != nil || r.Resource != want {
			t.Errorf("got %v, %v; want %s", r, err, want)
		}
	}
	w.put("https://h.example/doc", `{"resource":"https://h.example"}`)
	ask(c, "https://h.example")
	w.put("https://h.example/doc", `{"resource":"https://h.example/p?tenant=a"}`)
	ask(c, "https://h.example")
	ask(c.Fresh(), "https://h.example/p?tenant=a")
	ask(c, "https://h.example/p?tenant=a")
}

// The answer for one query is none for another, even for those who wait for it.
func TestQueriesDoNotShareAFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWeb(nil)
		w.set("https://h.example/doc", func() (*http.Response, error) {
			<-release
			return jsonAnswer(`{"resource":"https://h.example/p?tenant=a"}`), nil
		})
		c := New(Options{Transport: w})
		var all sync.WaitGroup
		for query, want := range map[string]string{"tenant=a": "", "tenant=b": mismatch, "tenant=c": mismatch} {
			all.Go(func() {
				if r, err := c.Resource(t.Context(), parse(t, "https://h.example/p?"+query), "https://h.example/doc"); kind(err) != want {
					t.Errorf("%s: got %v, %v; want %q", query, r, err, want)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
	})
}

func TestFresh(t *testing.T) {
	const prm = "https://h.example" + protectedResource
	w := newWeb(map[string]string{prm: `{"resource":"https://h.example","authorization_servers":["https://old.example"]}`})
	c := New(Options{Transport: w})
	ask := func(c *Client, issuer string, requests int) {
		t.Helper()
		r, err := c.Resource(t.Context(), parse(t, "https://h.example"), "")
		if err != nil || r.AuthorizationServers[0] != issuer {
			t.Errorf("got %v, %v; want %s", r, err, issuer)
		}
		if got := w.requests(); len(got) != requests {
			t.Errorf("asked for %v, want %d", got, requests)
		}
	}
	ask(c, "https://old.example", 1)
	w.put(prm, `{"resource":"https://h.example","authorization_servers":["https://new.example"]}`)
	ask(c, "https://old.example", 0)
	ask(c.Fresh(), "https://new.example", 1)
	ask(c, "https://new.example", 0)
	ask(c.Fresh().Fresh(), "https://new.example", 1)

	// A failure leaves what is known; a refusal does not.
	w.set(prm, func() (*http.Response, error) { return nil, errors.New("no route") })
	if _, err := c.Fresh().Resource(t.Context(), parse(t, "https://h.example"), ""); kind(err) != failed {
		t.Errorf("got %v, want the failure", err)
	}
	w.requests()
	ask(c, "https://new.example", 0)
	w.put(prm, `{"resource":"https://evil.example"}`)
	for _, c := range []*Client{c.Fresh(), c} {
		if _, err := c.Resource(t.Context(), parse(t, "https://h.example"), ""); kind(err) != mismatch {
			t.Errorf("got %v, want a mismatch", err)
		}
	}
	if got := w.requests(); len(got) != 1 {
		t.Errorf("asked for %v, want one request", got)
	}
}

func TestCallersCannotChangeWhatIsKept(t *testing.T) {
	doc := asDoc + `,"scopes_supported":["a"],"grant_types_supported":["a"],"code_challenge_methods_supported":["a"],"token_endpoint_auth_methods_supported":["a"],
		"token_endpoint_auth_signing_alg_values_supported":["a"],"dpop_signing_alg_values_supported":["a"]}`
	w := newWeb(map[string]string{
		asIssuer + authorizationServer:          doc,
		"https://h.example" + protectedResource: `{"resource":"https://h.example","authorization_servers":["https://a.example"],"scopes_supported":["a"],"dpop_signing_alg_values_supported":["a"]}`,
	})
	c := New(Options{Transport: w})
	for range 3 { // the one who asked, and those who are told later
		s, err := c.AuthServer(t.Context(), asIssuer)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]string{s.ScopesSupported, s.GrantTypesSupported, s.CodeChallengeMethodsSupported, s.TokenEndpointAuthMethodsSupported,
			s.TokenEndpointAuthSigningAlgValuesSupported, s.DPoPSigningAlgValuesSupported} {
			if diff := cmp.Diff([]string{"a"}, list); diff != "" {
				t.Errorf("server (-want +got):\n%s", diff)
			}
			list[0] = "changed"
		}
		if s.TokenEndpoint != asIssuer+"/t" {
			t.Error("the token endpoint was changed")
		}
		s.TokenEndpoint = "https://evil.example"

		r, err := c.Resource(t.Context(), parse(t, "https://h.example"), "")
		if err != nil {
			t.Fatal(err)
		}
		want := &Resource{URL: "https://h.example" + protectedResource, Resource: "https://h.example", AuthorizationServers: []string{"https://a.example"},
			ScopesSupported: []string{"a"}, DPoPSigningAlgValuesSupported: []string{"a"}}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("resource (-want +got):\n%s", diff)
		}
		r.AuthorizationServers[0], r.ScopesSupported[0], r.DPoPSigningAlgValuesSupported[0], r.Resource = "x", "x", "x", "x"

		_, err = c.AuthServer(t.Context(), "https://nowhere.example")
		var missing *NotFoundError
		if !errors.As(err, &missing) || missing.Tried[0] == "x" || missing.Reasons[0] == "x" {
			t.Fatalf("got %v", err)
		}
		missing.Tried[0], missing.Reasons[0] = "x", "x"
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	w := newWeb(nil)
	c := New(Options{Transport: w})
	ask := func(i int) int {
		w.requests()
		_, _ = c.AuthServer(t.Context(), fmt.Sprintf("https://as%d.example", i))
		return len(w.requests())
	}
	for i := range maxKept + 1 {
		ask(i)
	}
	if n := len(c.cache.entries); n != maxKept || c.cache.order.Len() != n {
		t.Errorf("%d entries, %d in order, want %d", n, c.cache.order.Len(), maxKept)
	}
	if ask(maxKept) != 0 || ask(1) != 0 {
		t.Error("a young one went first")
	}
	if ask(0) == 0 {
		t.Error("the oldest did not go first")
	}

	large := `{"issuer":"https://as%d.example","token_endpoint":"https://as.example/t","authorization_endpoint":"https://as.example/a","x":"` + strings.Repeat("x", 60<<10) + `"}`
	const many = maxKeptBytes/(60<<10) + 10
	for i := range many {
		w.put(fmt.Sprintf("https://as%d.example", i)+authorizationServer, fmt.Sprintf(large, i))
	}
	c = New(Options{Transport: w})
	for i := range many {
		ask(i)
	}
	if n := len(c.cache.entries); c.cache.bytes > maxKeptBytes || n >= many || n < many-20 {
		t.Errorf("%d documents of %d bytes are kept", n, c.cache.bytes)
	}
	if ask(many-1) != 0 || ask(0) == 0 {
		t.Error("it is not the oldest that went")
	}
	for i := range many { // each in the place of another
		ask(i)
	}
	sum := 0
	for e := c.cache.order.Front(); e != nil; e = e.Next() {
		sum += e.Value.(*entry).finding.size
	}
	if sum != c.cache.bytes {
		t.Errorf("%d bytes are counted as %d", sum, c.cache.bytes)
	}
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWeb(nil)
		w.set(asIssuer+authorizationServer, func() (*http.Response, error) {
			<-release
			return jsonAnswer(asDoc + `,"scopes_supported":["a"]}`), nil
		})
		c := New(Options{Transport: w})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				s, err := c.AuthServer(t.Context(), asIssuer)
				if err != nil || s.Issuer != asIssuer || s.ScopesSupported[0] != "a" {
					t.Errorf("got %v, %v", s, err)
					return
				}
				s.Issuer, s.ScopesSupported[0] = "x", "x" // it is everybody's own
			})
		}
		synctest.Wait()
		// Whoever wants it fresh does not wait for what began before; those who do share theirs.
		for range 10 {
			all.Go(func() {
				if _, err := c.Fresh().AuthServer(t.Context(), asIssuer); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if got := w.requests(); len(got) != 2 {
			t.Errorf("%d requests, want one, and one afresh", len(got))
		}
	})
}

func TestAFailureIsSharedButNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWeb(nil)
		w.set(asIssuer+authorizationServer, func() (*http.Response, error) { <-release; return nil, errors.New("no route") })
		c := New(Options{Transport: w})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := c.AuthServer(t.Context(), asIssuer); kind(err) != failed || !strings.Contains(err.Error(), "no route") {
					t.Errorf("got %v, want the failure", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if got := w.requests(); len(got) != 2 {
			t.Errorf("asked for %v, want both addresses once", got)
		}
		w.put(asIssuer+authorizationServer, asDoc+"}")
		if _, err := c.AuthServer(t.Context(), asIssuer); err != nil {
			t.Error(err)
		}
	})
}

// A caller that goes away takes nobody with it.
func TestCancelledCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		c := New(Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			select {
			case <-release:
				return jsonAnswer(asDoc + "}"), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})})
		ask := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := c.AuthServer(ctx, asIssuer)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		leader, follower := ask(first), ask(second)
		rest := []chan error{ask(t.Context()), ask(t.Context())}
		if asked.Load() != 1 {
			t.Fatalf("%d requests", asked.Load())
		}
		cancelSecond() // one who waits
		if err := <-follower; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		cancelFirst() // the one who asks
		if err := <-leader; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		synctest.Wait()
		if asked.Load() != 2 {
			t.Errorf("%d requests, want that one of the others asks again", asked.Load())
		}
		close(release)
		for _, done := range rest {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := len(c.cache.flights); n != 0 {
			t.Errorf("%d flights are left", n)
		}
	})
}

// An answer that comes late does not replace what was asked for later.
func TestALateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWeb(nil)
		w.set(asIssuer+authorizationServer, func() (*http.Response, error) {
			<-release
			return jsonAnswer(asDoc + `,"scopes_supported":["old"]}`), nil
		})
		c := New(Options{Transport: w})
		late := make(chan struct{})
		go func() {
			_, _ = c.AuthServer(t.Context(), asIssuer)
			close(late)
		}()
		time.Sleep(time.Second)
		w.put(asIssuer+authorizationServer, asDoc+`,"scopes_supported":["new"]}`)
		if _, err := c.Fresh().AuthServer(t.Context(), asIssuer); err != nil {
			t.Fatal(err)
		}
		close(release)
		<-late
		if s, err := c.AuthServer(t.Context(), asIssuer); err != nil || s.ScopesSupported[0] != "new" {
			t.Errorf("got %v, %v; want the newer", s, err)
		}
	})
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	w := newWeb(nil)
	w.set(asIssuer+authorizationServer, func() (*http.Response, error) { panic("transport") })
	c := New(Options{Transport: w})
	func() {
		defer func() { _ = recover() }()
		_, _ = c.AuthServer(t.Context(), asIssuer)
	}()
	w.put(asIssuer+authorizationServer, asDoc+"}")
	if _, err := c.AuthServer(t.Context(), asIssuer); err != nil {
		t.Error(err)
	}
}
