package login

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// A client whose secret is about to end is replaced, not a moment earlier.
func TestExpiredSecretIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registrations := 0
		f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
			registrations++
			saysJSON(201, fmt.Sprintf(`{"client_id":"c%d","client_secret":"s","client_secret_expires_at":%d}`, registrations, time.Now().Add(time.Hour).Unix()))(w, r)
		})
		req.Client = Credentials{}
		for _, tc := range []struct {
			after  time.Duration
			id     string
			stored bool
		}{
			{0, "c1", false}, {0, "c1", true}, {59 * time.Minute, "c1", true}, {time.Second, "c2", false}, {time.Minute, "c2", true}, {24 * time.Hour, "c3", false},
		} {
			time.Sleep(tc.after)
			c, stored, err := f.client(t.Context(), req, "http://127.0.0.1:1001/callback/h")
			if err != nil || c.ID != tc.id || stored != tc.stored {
				t.Errorf("%v later: %+v, stored %v, %v; want %s, %v", tc.after, c, stored, err, tc.id, tc.stored)
			}
		}
	})
}

func TestPortOfTheRegistration(t *testing.T) {
	const first, second = "http://127.0.0.1:1001/callback", "http://127.0.0.1:1002/callback"
	for _, tc := range []struct {
		name          string
		settings      Settings
		then          Settings
		again         string // the redirect URI of the second login
		registrations int
	}{
		{"any port", Settings{}, Settings{}, second, 1},
		{"exact, the same port", Settings{RedirectPort: "exact"}, Settings{RedirectPort: "exact"}, first, 1},
		{"exact, another port", Settings{RedirectPort: "exact"}, Settings{RedirectPort: "exact"}, second, 2},
		{"exact, a device login", Settings{RedirectPort: "exact"}, Settings{RedirectPort: "exact"}, "http://127.0.0.1/callback", 1},
		{"exact since then", Settings{}, Settings{RedirectPort: "exact"}, second, 2},
		{"localhost since then", Settings{}, Settings{RedirectHost: "localhost"}, first, 2},
		{"IPv6 since then", Settings{}, Settings{RedirectHost: "[::1]"}, second, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Management: true}, options{})
			req := w.request()
			login := func(s Settings, all string) (Credentials, bool, string) {
				t.Helper()
				w.opts.Settings = func(string) Settings { return s }
				uri := w.redirectURI(req, all)
				c, stored, err := w.client(t.Context(), req, uri)
				if err != nil {
					t.Fatal(err)
				}
				return c, stored, uri
			}
			one, _, _ := login(tc.settings, first)
			two, stored, uri := login(tc.then, tc.again)
			anew := tc.registrations == 2
			if stored == anew || (one.ID == two.ID) == anew || len(w.received("/register")) != tc.registrations {
				t.Errorf("client %s after %s, stored %v, %d registrations", two.ID, one.ID, stored, len(w.received("/register")))
			}
			reg := w.registration()
			if reg.ClientID != two.ID || anew && !slices.Contains(reg.RedirectURIs, uri) {
				t.Errorf("stored %+v", reg)
			}
			if !anew {
				return
			}
			if !slices.Contains(w.asked()[1].RedirectURIs, uri) {
				t.Errorf("registered %v", w.asked()[1].RedirectURIs)
			}
			// The replaced one does not stay at the server.
			eventually(t, "the old registration is deleted", func() bool {
				gone := w.received("/register/" + one.ID)
				return len(gone) == 1 && gone[0].Method == http.MethodDelete && gone[0].Status == http.StatusNoContent
			})
			if n := len(w.received("/register/" + two.ID)); n != 0 {
				t.Errorf("%d requests about the new one", n)
			}
		})
	}
}

// Deleting a registration ends its tokens: it stays while one is there.
func TestReplacedRegistrationWithTokens(t *testing.T) {
	for _, tc := range []struct {
		name  string
		token func(*tokenstore.Token)
		stays bool
	}{
		{"a token of it", func(*tokenstore.Token) {}, true},
		{"a token of another client", func(tok *tokenstore.Token) { tok.ClientID = "other" }, false},
		{"a token of another issuer", func(tok *tokenstore.Token) { tok.Issuer = "https://login.example" }, false},
		{"a token of somebody else", func(tok *tokenstore.Token) { tok.Principal = "other" }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Management: true}, options{})
			w.opts.Settings = func(string) Settings { return Settings{RedirectPort: "exact"} }
			req := w.request()
			old, _, err := w.client(t.Context(), req, "http://127.0.0.1:1001/callback/h")
			if err != nil {
				t.Fatal(err)
			}
			tok := &tokenstore.Token{Principal: principal.Local, Resource: "https://other.example", Issuer: w.issuer.URL, ClientID: old.ID, AccessToken: secret.New("a")}
			tc.token(tok)
			if err := tokenstore.PutToken(t.Context(), w.store, tok); err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.client(t.Context(), req, "http://127.0.0.1:1002/callback/h"); err != nil {
				t.Fatal(err)
			}
			deleted := func() bool { return len(w.received("/register/"+old.ID)) == 1 }
			if !tc.stays {
				eventually(t, "the old registration is deleted", deleted)
				return
			}
			time.Sleep(20 * time.Millisecond)
			if deleted() {
				t.Error("the registration was deleted under its token")
			}
		})
	}
}

// A server that gives the same client again must not be asked to delete it.
func TestSameClientAgain(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{Management: true, EditReply: func(path string, reply map[string]any) {
		if strings.HasSuffix(path, "/register") {
			reply["client_id"] = "always-the-same"
		}
	}}, options{})
	w.opts.Settings = func(string) Settings { return Settings{RedirectPort: "exact"} }
	req := w.request()
	for _, uri := range []string{"http://127.0.0.1:1001/callback/h", "http://127.0.0.1:1002/callback/h"} {
		if _, _, err := w.client(t.Context(), req, uri); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	if n := w.issuer.Log.Count("issuer", http.MethodDelete, ""); n != 0 || len(w.received("/register")) != 2 {
		t.Errorf("%d deletions", n)
	}
}

// A refresh tells that the server forgot the client; the next login registers anew.
func TestForgottenClientAtRefresh(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	before := w.registration().ClientID
	w.issuer.ForgetClients()
	if _, err := w.Refresh(t.Context(), w.token(), Credentials{}); !IsRefused(err) {
		t.Fatalf("got %v", err)
	}
	if w.registration() != nil {
		t.Fatal("the registration is still there")
	}
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	if after := w.registration().ClientID; after == before || len(w.received("/register")) != 2 {
		t.Errorf("client %q after %q, %d registrations", after, before, len(w.received("/register")))
	}
}

// Only the client that the server does not know is forgotten, not what took its place.
func TestForgetRegistration(t *testing.T) {
	const issuer = "https://login.example"
	for _, tc := range []struct {
		name                  string
		principal             principal.ID
		issuer, id            string
		forgotten, registered bool
	}{
		{"the one", principal.Local, issuer, "c", true, true},
		{"another client", principal.Local, issuer, "d", false, true},
		{"another issuer", principal.Local, issuer + "/t", "c", false, true},
		{"another principal", "other", issuer, "c", false, true},
		{"none", principal.Local, issuer, "c", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, store, _ := at(t, http.NotFound)
			if tc.registered {
				if err := tokenstore.PutClient(t.Context(), store, &tokenstore.Client{Principal: principal.Local, Issuer: issuer, ClientID: "c"}); err != nil {
					t.Fatal(err)
				}
			}
			f.forgetRegistration(t.Context(), tc.principal, tc.issuer, Credentials{ID: tc.id})
			_, err := tokenstore.GetClient(t.Context(), store, tokenstore.ClientKey(principal.Local, issuer))
			if (err != nil) != tc.forgotten {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// A registration under way is waited for: what it brings is not the one that was forgotten.
func TestForgetRegistrationDuringAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
			<-goOn
			saysJSON(201, `{"client_id":"new"}`)(w, r)
		})
		req.Client = Credentials{}
		old := &tokenstore.Client{Principal: principal.Local, Issuer: req.Server.Issuer, ClientID: "old", SecretExpiry: time.Now()}
		if err := tokenstore.PutClient(t.Context(), store, old); err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, _, err := f.client(t.Context(), req, "http://127.0.0.1:1001/callback/h"); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		forgotten := false
		go func() {
			f.forgetRegistration(t.Context(), principal.Local, req.Server.Issuer, Credentials{ID: "old"})
			forgotten = true
		}()
		synctest.Wait()
		if forgotten {
			t.Error("it did not wait")
		}
		close(goOn)
		synctest.Wait()
		if reg, err := tokenstore.GetClient(t.Context(), store, old.Key()); err != nil || reg.ClientID != "new" || !forgotten {
			t.Errorf("stored %+v, %v", reg, err)
		}
	})
}

// Registrations that led to no token are bounded; those with one are not counted.
func TestUnusedRegistrationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, store, req := at(t, saysJSON(201, `{"client_id":"c"}`))
		req.Client = Credentials{}
		register := func(issuer string, p principal.ID) {
			t.Helper()
			server := *req.Server
			server.Issuer = issuer
			r := req
			r.Server, r.Principal = &server, p
			if _, _, err := f.client(t.Context(), r, "http://127.0.0.1:1001/callback/h"); err != nil {
				t.Fatal(err)
			}
			f.Wait(t.Context())
			time.Sleep(time.Second)
		}
		issuer := func(i int) string { return fmt.Sprintf("https://login%d.example", (i*7)%50) } // not in the store's order
		register("https://used.example", req.Principal)
		if err := tokenstore.PutToken(t.Context(), store, &tokenstore.Token{
			Principal: req.Principal, Resource: resource, Issuer: "https://used.example", AccessToken: secret.New("a"),
		}); err != nil {
			t.Fatal(err)
		}
		register("https://used.example", "other")
		for i := range 50 {
			register(issuer(i), req.Principal)
		}
		want := []string{"https://used.example"}
		for i := 50 - 32; i < 50; i++ {
			want = append(want, issuer(i))
		}
		var got []string
		all, err := tokenstore.Clients(t.Context(), store, req.Principal)
		if err != nil {
			t.Fatal(err)
		}
		for _, reg := range all {
			got = append(got, reg.Issuer)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("kept %v, want %v", got, want)
		}
		if _, err := tokenstore.GetClient(t.Context(), store, tokenstore.ClientKey("other", "https://used.example")); err != nil {
			t.Errorf("somebody else's: %v", err)
		}
	})
}
