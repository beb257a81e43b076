package login

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// slow is a store whose locks take a moment.
type slow struct{ tokenstore.Store }

func (s slow) Lock(ctx context.Context, name string) (func(), error) {
	time.Sleep(100 * time.Millisecond)
	return s.Store.Lock(ctx, name)
}

// A server shows its page about an unknown client, and the browser never comes back: the process
// that waited for it ends at once, and the next login registers anew.
func TestWaitAtTheEndOfAProcess(t *testing.T) {
	for _, tc := range []struct {
		name   string
		expire bool
		secret string // of the registration
		gone   bool
	}{
		{"expired", true, "", true},
		{"expired, a client with a secret", true, "s", true},
		{"closed", false, "", true},
		{"closed, a client with a secret", false, "s", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{}, options{desk: action.DeskOptions{Timeout: 1500 * time.Millisecond}, flows: func(o *Options) { o.Store = slow{o.Store} }})
			if err := tokenstore.PutClient(t.Context(), w.store, &tokenstore.Client{
				Principal: "local", Issuer: w.issuer.URL, ClientID: "forgotten", ClientSecret: secret.New(tc.secret),
				RedirectURIs: []string{w.redirectURI(w.request(), callback)},
			}); err != nil {
				t.Fatal(err)
			}
			a := w.start(w.request())
			if err := w.person.Continue(t.Context(), a.Prompt().URL); err == nil {
				t.Fatal("the server knows the client; the test proves nothing")
			}
			if tc.expire {
				if err := wait(t, a); err != action.ErrExpired {
					t.Fatalf("ended with %v", err)
				}
			}
			w.desk.Close()
			w.Wait(t.Context())
			if gone := w.registration() == nil; gone != tc.gone {
				t.Errorf("the registration is gone: %v", gone)
			}
			if n := len(w.received("/authorize")); n != 1 {
				t.Errorf("%d authorization requests", n)
			}
		})
	}
}

// What is replaced is removed at its server before the process ends.
func TestWaitForARemoval(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{Management: true}, options{wrap: func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodDelete {
				time.Sleep(100 * time.Millisecond)
			}
			return next.RoundTrip(r)
		})
	}, flows: settings(Settings{RedirectPort: "exact"})})
	for _, uri := range []string{"http://127.0.0.1:1001/callback/h", "http://127.0.0.1:1002/callback/h"} {
		if _, _, err := w.client(t.Context(), w.request(), uri); err != nil {
			t.Fatal(err)
		}
	}
	w.desk.Close()
	w.Wait(t.Context())
	if n := w.issuer.Log.Count("issuer", http.MethodDelete, ""); n != 1 {
		t.Errorf("%d removals", n)
	}
}

// A refresh that was sent has spent its token: its answer is stored.
func TestWaitForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, tok, _ := rotating(t, "3600")
		next := f.opts.Transport
		f.opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			return next.RoundTrip(r)
		})
		go func() { _, _ = f.Refresh(context.Background(), tok, Credentials{}) }()
		synctest.Wait()
		f.Wait(t.Context())
		if got := stored(t, s, tok).RefreshToken.Reveal(); got != "CANARY-r1" {
			t.Errorf("stored %s", got)
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Options{})
		f.Wait(t.Context()) // nothing to wait for
		one := f.tasks.begin()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		f.Wait(ctx)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("waited %v", took)
		}
		// One that begins during the wait is waited for, too; ending twice counts once.
		two := f.tasks.begin()
		go func() {
			time.Sleep(time.Second)
			one()
			one()
			time.Sleep(time.Second)
			two()
		}()
		start = time.Now()
		f.Wait(t.Context())
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("waited %v", took)
		}
	})
}
