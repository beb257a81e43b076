package login

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestRegistrationAnswers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		asked string
		body  string
		want  *tokenstore.Client // nil: refused
	}{
		{"public", "none", `{"client_id":"c","token_endpoint_auth_method":"none"}`, &tokenstore.Client{ClientID: "c", AuthMethod: "none"}},
		{"silent about the method", "none", `{"client_id":"c"}`, &tokenstore.Client{ClientID: "c", AuthMethod: "none"}},
		{"a secret that was not asked for", "none", `{"client_id":"c","client_secret":"s"}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_basic"}},
		{"a secret, as asked", "client_secret_post", `{"client_id":"c","client_secret":"s"}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_post"}},
		{"a secret, other method", "client_secret_post", `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_basic"}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_basic"}},
		{"a secret that is not used", "none", `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"none"}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "none"}},
		{"a method without its secret", "none", `{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}`, &tokenstore.Client{ClientID: "c", AuthMethod: "none"}},
		{"secret that never ends", "none", `{"client_id":"c","client_secret":"s","client_secret_expires_at":0}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_basic"}},
		{"secret that ends", "none", `{"client_id":"c","client_secret":"s","client_secret_expires_at":2000000000}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_basic", SecretExpiry: time.Unix(2000000000, 0)}},
		{"end as a string", "none", `{"client_id":"c","client_secret":"s","client_secret_expires_at":"2000000000"}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_basic", SecretExpiry: time.Unix(2000000000, 0)}},
		{"end beyond all time", "none", `{"client_id":"c","client_secret":"s","client_secret_expires_at":9e99}`,
			&tokenstore.Client{ClientID: "c", ClientSecret: secret.New("s"), AuthMethod: "client_secret_basic"}},
		{"management", "none", `{"client_id":"c","registration_access_token":"r","registration_client_uri":"https://login.example/r"}`,
			&tokenstore.Client{ClientID: "c", AuthMethod: "none", RegistrationAccessToken: secret.New("r"), RegistrationClientURI: "https://login.example/r"}},
		{"key that stands twice", "none", `{"client_id":"c","client_id":"d"}`, nil},
		{"key in another case", "none", `{"CLIENT_ID":"c"}`, nil},
		{"a method that cannot be used", "none", `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"private_key_jwt"}`, nil},
		{"no client_id", "none", `{}`, nil},
		{"client_id with a line break", "none", `{"client_id":"a\r\nb"}`, nil},
		{"huge client_id", "none", fmt.Sprintf(`{"client_id":%q}`, strings.Repeat("x", 3000)), nil},
		{"number", "none", `{"client_id":7}`, nil},
		{"array", "none", `[]`, nil},
		{"null", "none", `null`, nil},
		{"nothing", "none", ``, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseRegistration([]byte(tc.body), tc.asked)
			if (err == nil) != (tc.want != nil) {
				t.Fatalf("got %v, %v", got, err)
			}
			if diff := cmp.Diff(tc.want, got, equalSecrets); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRegistrationIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		code    string
		text    string
	}{
		{"by the server", saysJSON(400, `{"error":"invalid_redirect_uri","error_description":"no loopback\u001b[0m"}`), "oauth.token_endpoint", `"invalid_redirect_uri": "no loopback[0m"`},
		{"by us", saysJSON(201, `{"client_id":""}`), "oauth.token_endpoint", "client_id"},
		{"HTML", says(201, "text/html", "<h1>hello</h1>"), "oauth.token_endpoint", "not JSON"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "oauth.token_endpoint", "redirects"},
		{"not found", says(404, "text/plain", "no"), "oauth.token_endpoint", "answered 404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Handle: map[string]http.HandlerFunc{"/register": tc.handler}}, options{})
			err := w.signIn(w.request())
			var e *TokenError
			if !errors.As(err, &e) || e.Code() != tc.code {
				t.Fatalf("ended with %v", err)
			}
			contains(t, "error", err.Error(), tc.text)
			if w.registration() != nil || len(w.received("/elsewhere")) != 0 || len(w.received("/authorize")) != 0 {
				t.Error("it went on")
			}
		})
	}
}

// Servers that answer 200, hand out secrets or know only some methods are served as they want.
func TestRegistrationAtOtherServers(t *testing.T) {
	for _, tc := range []struct {
		name      string
		supported []string
		want      string // "": refused
	}{
		{"no list", nil, "none"},
		{"all", []string{"private_key_jwt", "client_secret_post", "client_secret_basic", "none"}, "none"},
		{"basic", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic"},
		{"post", []string{"client_secret_post"}, "client_secret_post"},
		{"none of ours", []string{"private_key_jwt", "tls_client_auth"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{}, options{})
			w.server.TokenEndpointAuthMethodsSupported = tc.supported
			err := w.signIn(w.request())
			if tc.want == "" {
				var e *UnsupportedError
				if !errors.As(err, &e) || len(w.received("/register")) != 0 {
					t.Errorf("ended with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := w.registration(); got.AuthMethod != tc.want || got.ClientSecret.IsZero() != (tc.want == "none") {
				t.Errorf("registered %+v", got)
			}
			// A refresh authenticates in the same way.
			if _, err := w.Refresh(t.Context(), w.token(), Credentials{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExpiredSecretIsNotUsed(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	reg := w.registration()
	for _, tc := range []struct {
		left time.Duration
		want int // registrations in all
	}{{time.Hour, 1}, {30 * time.Second, 2}} {
		reg.SecretExpiry = time.Now().Add(tc.left)
		if err := tokenstore.PutClient(t.Context(), w.store, reg); err != nil {
			t.Fatal(err)
		}
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
		if got := len(w.received("/register")); got != tc.want {
			t.Errorf("%v left: %d registrations, want %d", tc.left, got, tc.want)
		}
	}
}
