package login

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// How a person is reached depends on the server, the surroundings and the config.
func TestChoiceOfMethod(t *testing.T) {
	const (
		page        = "page"
		openedPage  = "opened page"
		device      = "device"
		unsupported = "oauth.unsupported"
	)
	works := func(context.Context, string) error { return nil }
	fails := func(context.Context, string) error { return errors.New("no display") }
	i, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	for _, tc := range []struct {
		name             string
		headless         bool
		noCode, noDevice bool
		grant            string
		open             func(context.Context, string) error
		want             string
	}{
		{"all there", false, false, false, "", works, openedPage},
		{"all there, no browser opens", false, false, false, "", fails, device},
		{"all there, browser not wanted", false, false, false, "", nil, device},
		{"all there, headless", true, false, false, "", works, device},
		{"code only", false, false, true, "", works, openedPage},
		{"code only, no browser opens", false, false, true, "", fails, page},
		{"code only, headless", true, false, true, "", works, page},
		{"device only", false, true, false, "", works, device},
		{"device only, headless", true, true, false, "", works, device},
		{"neither", false, true, true, "", works, unsupported},
		{"neither, headless", true, true, true, "", nil, unsupported},

		{"code configured", false, false, false, AuthorizationCode, works, openedPage},
		{"code configured, no browser opens", false, false, false, AuthorizationCode, fails, page},
		{"code configured, headless", true, false, false, AuthorizationCode, works, page},
		{"code configured, device only", false, true, false, AuthorizationCode, works, unsupported},
		{"device configured", false, false, false, DeviceCode, works, device},
		{"device configured, headless", true, false, false, DeviceCode, works, device},
		{"device configured, code only", false, false, true, DeviceCode, works, unsupported},
		{"device configured, headless, code only", true, false, true, DeviceCode, works, unsupported},
		{"device configured, device only", false, true, false, DeviceCode, works, device},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opened := ""
			w := newWorldAt(t, i, options{headless: tc.headless})
			opts := action.DeskOptions{}
			if tc.open != nil {
				opts.Open = func(ctx context.Context, u string) error {
					opened = u
					return tc.open(ctx, u)
				}
			}
			w.desk = action.NewDesk(opts)
			t.Cleanup(w.desk.Close)
			w.opts.Desk = w.desk
			if tc.noCode {
				w.server.AuthorizationEndpoint = ""
			}
			if tc.noDevice {
				w.server.DeviceAuthorizationEndpoint = ""
			}
			req := w.request()
			req.Grant = tc.grant
			a, err := w.Start(t.Context(), req)
			got := ""
			var coded interface {
				Code() string
				Hint() string
			}
			switch {
			case errors.As(err, &coded):
				got = coded.Code()
				if coded.Hint() == "" {
					t.Error("no hint")
				}
			case err != nil:
				t.Fatal(err)
			case a.Prompt().UserCode != "":
				got = device
			case a.Prompt().Opened:
				got = openedPage
			case a.Prompt().URL != "":
				got = page
			}
			if got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			if tc.headless && opened != "" {
				t.Error("a browser was opened although there is none")
			}
			if p := got == page || got == openedPage; p && len(i.Log.Events()) != 0 {
				t.Error("the issuer was asked before the person agreed")
			}
			if a == nil {
				return
			}
			a.End(action.ErrClosed)
			if got == device && opened != "" { // the same question waits nowhere else
				_, body, err := w.person.Get(t.Context(), opened)
				if err != nil || strings.Contains(body, "<form") {
					t.Errorf("the page that no browser showed still asks: %v", err)
				}
			}
		})
	}
}

// Where no browser opens and the device grant does not work either, the link stays.
func TestDeviceFallbackFails(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{Handle: map[string]http.HandlerFunc{"/device_authorization": says(500, "text/html", "<h1>down</h1>")}},
		options{desk: action.DeskOptions{Open: func(context.Context, string) error { return errors.New("no display") }}})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	if w.token() == nil {
		t.Error("no token")
	}
}

func TestRefusedBeforeAnythingHappens(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*Request)
		code string
		hint string
	}{
		{"no PKCE metadata", func(r *Request) { r.Server.CodeChallengeMethodsSupported = nil }, "oauth.unsupported", "PKCE"},
		{"plain PKCE only", func(r *Request) { r.Server.CodeChallengeMethodsSupported = []string{"plain", "s256"} }, "oauth.unsupported", "PKCE"},
		{"no registration and no client", func(r *Request) { r.Server.RegistrationEndpoint = "" }, "oauth.no_client", "http://127.0.0.1/callback"},
		{"the same with a device code", func(r *Request) { r.Server.RegistrationEndpoint, r.Grant = "", DeviceCode }, "oauth.no_client", "client_id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var opened atomic.Int32
			w := newWorld(t, oauthtest.IssuerOptions{}, options{desk: action.DeskOptions{Open: func(context.Context, string) error { opened.Add(1); return nil }}})
			req := w.request()
			tc.edit(&req)
			a, err := w.Start(t.Context(), req)
			var coded interface {
				error
				Code() string
				Hint() string
			}
			if a != nil || !errors.As(err, &coded) || coded.Code() != tc.code {
				t.Fatalf("got %v, %v", a, err)
			}
			contains(t, "hint", coded.Hint(), tc.hint)
			contains(t, "error", err.Error(), w.issuer.URL)
			if n := len(w.issuer.Log.Events()); n != 0 || opened.Load() != 0 {
				t.Errorf("%d requests, browser opened %d times", n, opened.Load())
			}
		})
	}
}

func TestSingleFlight(t *testing.T) {
	var opened atomic.Int32
	w := newWorld(t, oauthtest.IssuerOptions{}, options{desk: action.DeskOptions{Open: func(context.Context, string) error { opened.Add(1); return nil }}})
	var mu sync.Mutex
	seen := map[*action.Action]bool{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a, err := w.Start(t.Context(), w.request())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[a] = true
		})
	}
	wg.Wait()
	if len(seen) != 1 || opened.Load() != 1 {
		t.Fatalf("%d actions, browser opened %d times", len(seen), opened.Load())
	}
	for _, tc := range []struct {
		name  string
		joins bool // one question at a time for an origin, whatever it names
		edit  func(*Request)
	}{
		{"principal", false, func(r *Request) { r.Principal = "someone-else" }},
		{"origin", false, func(r *Request) { r.Origin = mustOrigin(t, "https://other.example") }},
		{"resource", true, func(r *Request) { r.Resource = "https://wiki.example/other" }},
		{"client", true, func(r *Request) { r.Client.ID = "configured" }},
		{"issuer", true, func(r *Request) { s := *r.Server; s.Issuer += "/other"; r.Server = &s }},
	} {
		req := w.request()
		tc.edit(&req)
		if a := w.start(req); seen[a] != tc.joins {
			t.Errorf("another %s: joined %v, want %v", tc.name, seen[a], tc.joins)
		}
	}
	for a := range seen {
		if err := w.person.Continue(t.Context(), a.Prompt().URL); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, a); err != nil {
			t.Fatal(err)
		}
	}
	w.one("/register")
	w.one("/token")
}

// The login outlives the call that caused it.
func TestLoginOutlivesItsCall(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	ctx, cancel := context.WithCancel(t.Context())
	a, err := w.Start(ctx, w.request())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.person.Continue(t.Context(), a.Prompt().URL); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, a); err != nil {
		t.Error(err)
	}
}

func TestConfiguredClients(t *testing.T) {
	const id, password = "my client:1/ü%41+&=?☃", `p"w:d /%2F+&=ü☃`
	for _, tc := range []struct {
		name, secret, method, used string
	}{
		{"public", "", "", "none"},
		{"public, said so", "", "none", "none"},
		{"secret", password, "", "client_secret_basic"},
		{"basic", password, "client_secret_basic", "client_secret_basic"},
		{"post", password, "client_secret_post", "client_secret_post"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Clients: map[string]string{id: tc.secret}, NoRegistration: true}, options{})
			req := w.request()
			req.Client = Credentials{ID: id, Secret: secret.New(tc.secret), AuthMethod: tc.method}
			if err := w.signIn(req); err != nil {
				t.Fatal(err)
			}
			if got := w.one("/authorize").Query.Get("redirect_uri"); !strings.HasSuffix(got, "/callback") {
				t.Errorf("redirect_uri %q, want the one that was registered beforehand", got)
			}
			e := w.one("/token")
			basic := e.Header.Get("Authorization")
			if e.Form.Has("client_secret") != (tc.used == "client_secret_post") || e.Form.Has("client_id") != (tc.used != "client_secret_basic") ||
				strings.HasPrefix(basic, "Basic ") != (tc.used == "client_secret_basic") {
				t.Errorf("form %v, Authorization %q", e.Form, basic)
			}
			if tc.used == "client_secret_post" && (e.Form.Get("client_id") != id || e.Form.Get("client_secret") != password) {
				t.Errorf("form %v", e.Form)
			}
			if tok := w.token(); tok == nil || tok.ClientID != id {
				t.Errorf("stored %v", tok)
			}
			if w.registration() != nil {
				t.Error("a configured client is stored as a registration")
			}
		})
	}
	t.Run("unknown method", func(t *testing.T) {
		w := newWorld(t, oauthtest.IssuerOptions{}, options{})
		req := w.request()
		req.Client = Credentials{ID: id, Secret: secret.New(password), AuthMethod: "private_key_jwt"}
		var e *ClientError
		if _, err := robotToken(t, w.Flows, req); !errors.As(err, &e) || len(w.issuer.Log.Events()) != 0 {
			t.Errorf("error %v, %d requests", err, len(w.issuer.Log.Events()))
		}
	})
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{Clients: map[string]string{"robot": "s3cret"}}, options{})
	req := w.request()
	req.Grant = ClientCredentials
	var e *ClientError
	if _, err := robotToken(t, w.Flows, req); !errors.As(err, &e) || len(w.issuer.Log.Events()) != 0 {
		t.Errorf("without a client: %v", err)
	}
	hint[*ClientError](t, e, "oauth.no_client", "registered beforehand", `issuers."`+w.issuer.URL+`".client_id`)
	if strings.Contains(e.Hint(), "redirect") {
		t.Errorf("hint %q", e.Hint())
	}
	req.Client = Credentials{ID: "robot", Secret: secret.New("s3cret")}
	tok, err := robotToken(t, w.Flows, req)
	if err != nil {
		t.Fatal(err)
	}
	form := w.one("/token").Form
	if form.Get("grant_type") != "client_credentials" || form.Get("resource") != resource || form.Get("scope") != "wiki.read wiki.list" {
		t.Errorf("form %v", form)
	}
	if ok, why := w.issuer.Valid(tok.AccessToken.Reveal(), resource, []string{"wiki.list"}); !ok {
		t.Error(why)
	}
	if stored := w.token(); !stored.AccessToken.Equal(tok.AccessToken.Reveal()) || !stored.RefreshToken.IsZero() {
		t.Error("what is returned is not what is stored")
	}
	req.Client.Secret = secret.New("wrong")
	if _, err := robotToken(t, w.Flows, req); !isClientRefused(err) || IsRefused(err) {
		t.Errorf("a wrong secret: %v", err)
	}
	if w.token() == nil {
		t.Error("a failure deleted the token")
	}
}

func TestNilLoggerIsSilent(t *testing.T) {
	f, _, req := at(t, saysJSON(200, `{"access_token":"a","token_type":"bearer"}`))
	if _, err := robotToken(t, f, req); err != nil {
		t.Error(err)
	}
}

// A server that nobody configured must not borrow another site's sign-in page.
func TestSignInPageOfAnotherSite(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	req := w.request()
	s := *req.Server
	s.AuthorizationEndpoint = "https://honest.example/authorize"
	req.Server = &s
	var unsupported *UnsupportedError
	if _, err := w.Start(t.Context(), req); !errors.As(err, &unsupported) {
		t.Errorf("error %v, want an UnsupportedError", err)
	}
	req.Trusted = true
	if _, err := w.Start(t.Context(), req); err != nil {
		t.Errorf("a configured issuer: %v", err)
	}
}
