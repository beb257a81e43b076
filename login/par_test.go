package login

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func TestPushedAuthorizationRequest(t *testing.T) {
	for _, tc := range []struct {
		name, par string
		client    Credentials
	}{
		{"offered", "offered", Credentials{}}, {"required", "required", Credentials{}},
		{"basic", "required", Credentials{ID: "robot", Secret: secret.New("s3cret")}},
		{"post", "required", Credentials{ID: "robot", Secret: secret.New("s3cret"), AuthMethod: "client_secret_post"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{PAR: tc.par, Clients: map[string]string{"robot": "s3cret"}}, options{})
			req := w.request()
			req.Client = tc.client
			if err := w.signIn(req); err != nil {
				t.Fatal(err)
			}
			pushed, browser := w.one("/par"), w.one("/authorize").Query
			for name, want := range map[string]string{
				"response_type": "code", "code_challenge_method": "S256", "resource": resource, "scope": "wiki.read wiki.list", "client_id": w.token().ClientID,
			} {
				if got := pushed.Form[name]; len(got) != 1 || got[0] != want {
					t.Errorf("pushed %s = %q, want %q", name, got, want)
				}
			}
			if len(browser) != 2 || browser.Get("client_id") != w.token().ClientID || browser.Get("request_uri") == "" {
				t.Errorf("the browser carries %v", browser)
			}
			if pushed.Form.Get("redirect_uri") == "" || pushed.Form.Get("state") == "" || w.one("/token").Form.Get("redirect_uri") != pushed.Form.Get("redirect_uri") {
				t.Errorf("pushed %v", pushed.Form)
			}
			if got := strings.HasPrefix(pushed.Header.Get("Authorization"), "Basic "); got != (tc.client.method() == "client_secret_basic") {
				t.Errorf("headers %v", pushed.Header)
			}
		})
	}
}

// A request that cannot be pushed does not go through the browser instead.
func TestPushedRequestFails(t *testing.T) {
	for _, par := range []string{"offered", "required"} {
		for _, tc := range []struct {
			name    string
			handler http.HandlerFunc
			text    string
		}{
			{"server fails", says(503, "text/html", "down"), "server failed"},
			{"refused", saysJSON(400, `{"error":"invalid_request","error_description":"no \u001b[31m"}`), `"invalid_request": "no [31m"`},
			{"not found", says(404, "text/html", "no"), "not JSON"},
			{"redirect", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
			}, "redirects"},
			{"no network", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "asking http://127.0.0.1"},
			{"nonsense", saysJSON(201, `{}`), "request_uri"},
		} {
			t.Run(par+", "+tc.name, func(t *testing.T) {
				w := newWorld(t, oauthtest.IssuerOptions{PAR: par, Handle: map[string]http.HandlerFunc{"/par": tc.handler}}, options{})
				err := w.signIn(w.request())
				if err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Fatalf("ended with %v, want %q", err, tc.text)
				}
				if n := len(w.received("/authorize")); n != 0 {
					t.Errorf("the browser went there %d times", n)
				}
			})
		}
	}
}

func TestPushedResponses(t *testing.T) {
	const good = "urn:ietf:params:oauth:request_uri:6esc"
	for _, tc := range []struct {
		name, body, want string
	}{
		{"good", `{"request_uri":"` + good + `","expires_in":60}`, good},
		{"as text", `{"request_uri":"` + good + `","expires_in":"60"}`, good},
		{"any URI", `{"request_uri":"https://login.example/r?a=b&c","expires_in":1}`, "https://login.example/r?a=b&c"},
		{"longest", `{"request_uri":"` + strings.Repeat("x", 512) + `","expires_in":1}`, strings.Repeat("x", 512)},
		{"longer", `{"request_uri":"` + strings.Repeat("x", 513) + `","expires_in":1}`, ""},
		{"empty", `{"request_uri":"","expires_in":60}`, ""},
		{"missing", `{"expires_in":60}`, ""},
		{"space", `{"request_uri":"urn: x","expires_in":60}`, ""},
		{"line break", `{"request_uri":"urn:x\r\n","expires_in":60}`, ""},
		{"letters", `{"request_uri":"urn:ü","expires_in":60}`, ""},
		{"no time", `{"request_uri":"urn:x"}`, ""},
		{"no time left", `{"request_uri":"urn:x","expires_in":0}`, ""},
		{"negative time", `{"request_uri":"urn:x","expires_in":-1}`, ""},
		{"twice", `{"request_uri":"urn:x","request_uri":"urn:y","expires_in":60}`, ""},
		{"another case", `{"REQUEST_URI":"urn:x","expires_in":60}`, ""},
		{"list", `["urn:x"]`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := parsePushed([]byte(tc.body)); got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	for _, status := range []int{200, 201, 202, 204, 400} {
		f, _, req := at(t, saysJSON(status, `{"request_uri":"urn:x","expires_in":60}`))
		req.Grant, req.Server.PushedAuthorizationRequestEndpoint = AuthorizationCode, "https://login.example/par"
		g, err := f.settle(t.Context(), req, req.Client)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.push(t.Context(), g, map[string]string{})
		if (err == nil) != (status < 202) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// A registration that the server does not know any more is replaced before the browser goes there.
func TestPushedRequestOfAForgottenClient(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{PAR: "required"}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	w.issuer.ForgetClients()
	w.issuer.Log.Reset()
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	if r, p := len(w.received("/register")), len(w.received("/par")); r != 1 || p != 2 {
		t.Errorf("%d registrations, %d pushed requests", r, p)
	}
	// One that is unknown for ever is not replaced for ever.
	w = newWorld(t, oauthtest.IssuerOptions{PAR: "required", Handle: map[string]http.HandlerFunc{"/par": saysJSON(401, `{"error":"invalid_client"}`)}}, options{})
	for range 2 {
		var e *TokenError
		if err := w.signIn(w.request()); !errors.As(err, &e) || e.ErrorCode != "invalid_client" {
			t.Errorf("ended with %v", err)
		}
	}
	if r, p := len(w.received("/register")), len(w.received("/par")); r > 2 || p > 3 {
		t.Errorf("%d registrations, %d pushed requests", r, p)
	}
}

func TestRequiredWithoutEndpoint(t *testing.T) {
	f, _, req := at(t, http.NotFound)
	req.Grant, req.Server.RequirePushedAuthorizationRequests = AuthorizationCode, true
	hint[*UnsupportedError](t, f.Check(req), "oauth.unsupported", "pushed")
}

// What the endpoint's URL brings along stays; nothing in it takes the place of ours.
func TestPushedToAnEndpointWithQuery(t *testing.T) {
	f, _, req := at(t, saysJSON(201, `{"request_uri":"urn:x","expires_in":60}`))
	req.Grant = AuthorizationCode
	req.Server.PushedAuthorizationRequestEndpoint = "https://login.example/par"
	req.Server.AuthorizationEndpoint = "https://login.example/authorize?tenant=a%20b&request_uri=urn:evil&client_id=evil"
	u, err := url.Parse(authorize(t, f, req, req.Client).URL)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"tenant": {"a b"}, "request_uri": {"urn:x"}, "client_id": {"configured"}}
	if got := u.Query(); got.Encode() != want.Encode() {
		t.Errorf("got %v", got)
	}
}

// The page ends when its time is over, even while the server takes its time with the request.
func TestExpiryDuringPush(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{PAR: "required"}, options{
		desk: action.DeskOptions{Timeout: 300 * time.Millisecond},
		wrap: func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/par") {
					time.Sleep(600 * time.Millisecond)
				}
				return next.RoundTrip(r)
			})
		},
	})
	if err := w.signIn(w.request()); err != action.ErrExpired {
		t.Errorf("ended with %v", err)
	}
	if n := len(w.received("/authorize")); n != 0 {
		t.Errorf("the browser went there %d times", n)
	}
}
