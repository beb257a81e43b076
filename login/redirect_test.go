package login

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestRedirectURI(t *testing.T) {
	const own = "/0a5fa3e8e3cb2f4b8b9b8e0a4f8b6e8e" // as long as that of an issuer
	for _, tc := range []struct {
		name       string
		host       string
		configured bool
		all, want  string // want without the issuer's own part
	}{
		{"standard", "", false, "http://127.0.0.1:1234/callback", "http://127.0.0.1:1234/callback" + own},
		{"localhost", "localhost", false, "http://127.0.0.1:1234/callback", "http://localhost:1234/callback" + own},
		{"IPv6", "[::1]", false, "http://127.0.0.1:1234/callback", "http://[::1]:1234/callback" + own},
		{"configured client", "", true, "http://127.0.0.1:1234/callback", "http://127.0.0.1:1234/callback"},
		{"configured client, localhost", "localhost", true, "http://127.0.0.1:1234/callback", "http://localhost:1234/callback"},
		{"device login", "localhost", false, "http://127.0.0.1/callback", "http://localhost/callback" + own},
		{"a host that is not this machine", "evil.example", true, "http://127.0.0.1:1234/callback", "http://127.0.0.1:1234/callback"},
		{"a host that hides another", "localhost@evil.example", true, "http://127.0.0.1:1234/callback", "http://127.0.0.1:1234/callback"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := New(Options{Settings: func(string) Settings { return Settings{RedirectHost: tc.host} }})
			req := Request{Server: &discovery.AuthServer{Issuer: "https://login.example"}}
			if tc.configured {
				req.Client.ID = "mine"
			}
			got := f.redirectURI(req, tc.all)
			if base, ok := strings.CutSuffix(tc.want, own); ok {
				hash, ok := strings.CutPrefix(got, base+"/")
				if !ok || len(hash) != len(own)-1 || strings.Trim(hash, "0123456789abcdef") != "" {
					t.Errorf("got %s", got)
				}
			} else if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRedirectURIToRegister(t *testing.T) {
	for _, tc := range []struct {
		name   string
		issuer string
		set    Settings
		port   int
		want   string // "": refused
		hint   string
	}{
		{"standard", "https://login.example", Settings{}, 0, "http://127.0.0.1/callback", ""},
		{"standard, fixed port", "https://login.example", Settings{}, 8123, "http://127.0.0.1/callback", ""},
		{"Entra", "https://login.microsoftonline.com/t/v2.0", Settings{}, 0, "http://localhost/callback", ""},
		{"Okta, fixed port", "https://dev-1.okta.com", Settings{}, 8123, "http://127.0.0.1:8123/callback", ""},
		{"Okta, any port", "https://dev-1.okta.com", Settings{}, 0, "", "http://127.0.0.1:PORT/callback"},
		{"Okta that the configuration trusts", "https://dev-1.okta.com", Settings{RedirectPort: "any"}, 0, "http://127.0.0.1/callback", ""},
		{"compared, IPv6", "https://login.example", Settings{RedirectPort: "exact", RedirectHost: "[::1]"}, 8123, "http://[::1]:8123/callback", ""},
		{"compared, localhost, any port", "https://login.example", Settings{RedirectPort: "exact", RedirectHost: "localhost"}, 0, "", "http://localhost:PORT/callback"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := New(Options{Settings: func(string) Settings { return tc.set }})
			got, err := f.RedirectURI(tc.issuer, tc.port)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Fatalf("got %q, %v, want %q", got, err, tc.want)
			}
			var refused *RedirectPortError
			if err != nil && (!errors.As(err, &refused) || refused.Code() != "oauth.redirect_port" || !strings.Contains(refused.Hint(), tc.hint+" ") ||
				!strings.Contains(refused.Error(), "login.port")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRedirectURIsToRegister(t *testing.T) {
	for _, tc := range []struct {
		needed string
		want   []string
	}{
		{"http://127.0.0.1:1/callback/h", []string{"http://127.0.0.1:1/callback/h", "http://[::1]:1/callback/h"}},
		{"http://[::1]:1/callback/h", []string{"http://[::1]:1/callback/h", "http://127.0.0.1:1/callback/h"}},
		{"http://localhost:1/callback/h", []string{"http://localhost:1/callback/h", "http://127.0.0.1:1/callback/h", "http://[::1]:1/callback/h"}},
		{"http://127.0.0.1/callback/h", []string{"http://127.0.0.1/callback/h", "http://[::1]/callback/h"}},
	} {
		if diff := cmp.Diff(tc.want, redirectURIs(tc.needed)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.needed, diff)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		name       string
		registered []string
		login      string
		any, exact bool
	}{
		{"the same", []string{"http://[::1]:1/callback/h", "http://127.0.0.1:1/callback/h"}, "http://127.0.0.1:1/callback/h", true, true},
		{"another port", []string{"http://127.0.0.1:1/callback/h"}, "http://127.0.0.1:2/callback/h", true, false},
		{"registered without a port", []string{"http://127.0.0.1/callback/h"}, "http://127.0.0.1:2/callback/h", true, false},
		{"another host", []string{"http://127.0.0.1:1/callback/h"}, "http://localhost:1/callback/h", false, false},
		{"another family", []string{"http://127.0.0.1:1/callback/h"}, "http://[::1]:1/callback/h", false, false},
		{"another path", []string{"http://127.0.0.1:1/callback/g"}, "http://127.0.0.1:1/callback/h", false, false},
		{"none", nil, "http://127.0.0.1:1/callback/h", false, false},
		{"a device login", []string{"http://127.0.0.1:1/callback/h"}, "http://127.0.0.1/callback/h", true, true},
		{"a device login elsewhere", nil, "http://localhost/callback/h", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reg := &tokenstore.Client{RedirectURIs: tc.registered}
			if got := covers(reg, tc.login, false); got != tc.any {
				t.Errorf("any port: %v", got)
			}
			if got := covers(reg, tc.login, true); got != tc.exact {
				t.Errorf("exact port: %v", got)
			}
		})
	}
}

// Where there is no client, what to register is said, as this issuer wants it.
func TestHintOfAMissingClient(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://login.example":                    `redirect URI http://127.0.0.1/callback (any port), then put its client_id under issuers."https://login.example" in`,
		"https://login.microsoftonline.com/t/v2.0": "redirect URI http://localhost/callback (any port), then",
		"https://dev-1.okta.com":                   "redirect URI http://127.0.0.1:PORT/callback (PORT is login.port, which must be set), then",
	} {
		err := New(Options{}).canGetClient(Request{Server: &discovery.AuthServer{Issuer: issuer}})
		var missing *ClientError
		if !errors.As(err, &missing) || !strings.Contains(missing.Hint(), want) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

// The browser comes back to the host that the issuer knows.
func TestSignInAtAnotherLoopbackHost(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{}, options{})
			w.opts.Settings = func(string) Settings { return Settings{RedirectHost: host} }
			if err := w.signIn(w.request()); err != nil {
				t.Fatal(err)
			}
			asked, form := w.one("/authorize").Query, w.one("/token").Form
			if got := asked.Get("redirect_uri"); !strings.HasPrefix(got, "http://"+host+":") || form.Get("redirect_uri") != got {
				t.Errorf("came back to %q, said %q", got, form.Get("redirect_uri"))
			}
		})
	}
}
