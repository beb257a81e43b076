package login

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
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
		{"a token that no header can carry", "none", `{"client_id":"c","registration_access_token":"r\r\nX: y","registration_client_uri":"https://login.example/r"}`,
			&tokenstore.Client{ClientID: "c", AuthMethod: "none"}},
		{"huge management token", "none", fmt.Sprintf(`{"client_id":"c","registration_access_token":%q,"registration_client_uri":"https://login.example/r"}`, strings.Repeat("x", 3000)), nil},
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
			got, err := parseRegistration([]byte(tc.body), tc.asked, "https://login.example", "https://api.login.example/register")
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

// The registration access token is kept only where it will go to the server itself.
func TestManagementAddress(t *testing.T) {
	for _, tc := range []struct {
		name, uri, issuer, endpoint string
		want                        bool
	}{
		{"at the issuer", "https://login.example/r/1", "https://login.example/t", "https://login.example/register", true},
		{"at the registration endpoint", "https://api.login.example/r/1", "https://login.example", "https://api.login.example/register", true},
		{"with its port", "https://login.example:443/r", "https://login.example", "https://login.example/register", true},
		{"with a query", "https://login.example/r?client_id=1", "https://login.example", "https://login.example/register", true},
		{"loopback issuer", "http://127.0.0.1:8080/r", "http://127.0.0.1:8080", "http://127.0.0.1:8080/register", true},
		{"elsewhere", "https://evil.example/r", "https://login.example", "https://login.example/register", false},
		{"another host of the site", "https://www.login.example/r", "https://login.example", "https://login.example/register", false},
		{"another port", "https://login.example:8443/r", "https://login.example", "https://login.example/register", false},
		{"another loopback port", "http://127.0.0.1:9090/r", "http://127.0.0.1:8080", "http://127.0.0.1:8080/register", false},
		{"plain http", "http://login.example/r", "https://login.example", "https://login.example/register", false},
		{"plain http at a plain issuer", "http://login.example/r", "http://login.example", "http://login.example/register", false},
		{"user name", "https://login.example@evil.example/r", "https://login.example", "https://login.example/register", false},
		{"user name at the right host", "https://me@login.example/r", "https://login.example", "https://login.example/register", false},
		{"fragment", "https://login.example/r#x", "https://login.example", "https://login.example/register", false},
		{"relative", "/r/1", "https://login.example", "https://login.example/register", false},
		{"another scheme", "ftp://login.example/r", "https://login.example", "https://login.example/register", false},
		{"none", "", "https://login.example", "https://login.example/register", false},
		{"no URL", "%zz", "https://login.example", "https://login.example/register", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"client_id":"c","registration_access_token":"r","registration_client_uri":%q}`, tc.uri)
			got, err := parseRegistration([]byte(body), "none", tc.issuer, tc.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			want := &tokenstore.Client{ClientID: "c", AuthMethod: "none"}
			if tc.want {
				want.RegistrationAccessToken, want.RegistrationClientURI = secret.New("r"), tc.uri
			}
			if diff := cmp.Diff(want, got, equalSecrets); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// asked is a registration request as the server received it.
type asked struct {
	ClientName       string   `json:"client_name"`
	ApplicationType  string   `json:"application_type"`
	RedirectURIs     []string `json:"redirect_uris"`
	GrantTypes       []string `json:"grant_types"`
	ResponseTypes    []string `json:"response_types"`
	AuthMethod       string   `json:"token_endpoint_auth_method"`
	DPoPBound        *bool    `json:"dpop_bound_access_tokens"`
	CertificateBound *bool    `json:"tls_client_certificate_bound_access_tokens"`
	Scope            *string  `json:"scope"`
	Resource         any      `json:"resource"`
}

func (w *world) asked() (all []asked) {
	w.t.Helper()
	for _, e := range w.received("/register") {
		var a asked
		if err := json.Unmarshal(e.Body, &a, json.RejectUnknownMembers(true)); err != nil {
			w.t.Errorf("%v in %s", err, e.Body)
		}
		if got := e.Header.Get("Authorization"); got != "" {
			w.t.Errorf("registered with credentials: %s", got)
		}
		all = append(all, a)
	}
	return all
}

func TestRegistrationRequest(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name     string
		settings Settings
		change   func(*Request)
		want     asked
	}{
		{"usual", Settings{}, func(*Request) {}, asked{RedirectURIs: []string{"http://127.0.0.1:1001", "http://[::1]:1001"}}},
		{"localhost", Settings{RedirectHost: "localhost"}, func(*Request) {}, asked{RedirectURIs: []string{"http://localhost:1001", "http://127.0.0.1:1001", "http://[::1]:1001"}}},
		{"IPv6", Settings{RedirectHost: "[::1]"}, func(*Request) {}, asked{RedirectURIs: []string{"http://[::1]:1001", "http://127.0.0.1:1001"}}},
		{"always with proofs", Settings{DPoP: "always"}, func(*Request) {}, asked{RedirectURIs: []string{"http://127.0.0.1:1001", "http://[::1]:1001"}, DPoPBound: &yes}},
		// Another resource of this issuer may know no proofs, and shares the registration.
		{"one resource wants proofs", Settings{}, func(r *Request) { r.DPoP = true }, asked{RedirectURIs: []string{"http://127.0.0.1:1001", "http://[::1]:1001"}}},
		{"bound to the certificate", Settings{}, func(r *Request) { r.CertificateBound = true }, asked{RedirectURIs: []string{"http://127.0.0.1:1001", "http://[::1]:1001"}, CertificateBound: &yes}},
		{"no device grant", Settings{}, func(r *Request) { r.Server.DeviceAuthorizationEndpoint = "" },
			asked{RedirectURIs: []string{"http://127.0.0.1:1001", "http://[::1]:1001"}, GrantTypes: []string{"authorization_code", "refresh_token"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{}, options{})
			w.opts.Settings = func(string) Settings { return tc.settings }
			req := w.request()
			tc.change(&req)
			uri := w.redirectURI(req, "http://127.0.0.1:1001/callback")
			if _, _, err := w.client(t.Context(), req, uri); err != nil {
				t.Fatal(err)
			}
			path := uri[strings.Index(uri, "/callback/"):]
			for i := range tc.want.RedirectURIs {
				tc.want.RedirectURIs[i] += path
			}
			tc.want.ClientName, tc.want.ApplicationType, tc.want.ResponseTypes, tc.want.AuthMethod = "mcp-authfetch", "native", []string{"code"}, "none"
			if tc.want.GrantTypes == nil {
				tc.want.GrantTypes = []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}
			}
			if diff := cmp.Diff([]asked{tc.want}, w.asked()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := w.registration(); !slices.Equal(got.RedirectURIs, tc.want.RedirectURIs) || !slices.Equal(got.GrantTypes, tc.want.GrantTypes) {
				t.Errorf("stored %+v", got)
			}
		})
	}
}

// A server that takes one redirect URI only is asked once more, for the one that is needed.
func TestRegistrationWithOneRedirectURI(t *testing.T) {
	for _, tc := range []struct {
		name    string
		code    string
		always  bool
		asked   int
		settled bool
	}{
		{"redirect URI", "invalid_redirect_uri", false, 2, true},
		{"metadata", "invalid_client_metadata", false, 2, true},
		{"whatever is asked", "invalid_redirect_uri", true, 2, false},
		{"another reason", "access_denied", false, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{Handle: map[string]http.HandlerFunc{"/register": func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if tc.always || strings.Contains(string(body), "[::1]") {
					saysJSON(400, `{"error":"`+tc.code+`"}`)(rw, r)
					return
				}
				saysJSON(201, `{"client_id":"c"}`)(rw, r)
			}}}, options{})
			req := w.request()
			uri := w.redirectURI(req, "http://127.0.0.1:1001/callback")
			c, _, err := w.client(t.Context(), req, uri)
			if (err == nil) != tc.settled || tc.settled && c.ID != "c" {
				t.Fatalf("got %+v, %v", c, err)
			}
			all := w.asked()
			if len(all) != tc.asked || tc.asked == 2 && !slices.Equal(all[1].RedirectURIs, []string{uri}) {
				t.Errorf("asked %+v", all)
			}
			if reg := w.registration(); tc.settled && !slices.Equal(reg.RedirectURIs, []string{uri}) || !tc.settled && reg != nil {
				t.Errorf("stored %+v", reg)
			}
		})
	}
}
