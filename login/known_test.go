package login

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKnownIssuer(t *testing.T) {
	for _, tc := range []struct {
		issuer, want string // want "": unknown
	}{
		{"https://login.microsoftonline.com/9a1b/v2.0", "Microsoft Entra ID"},
		{"https://login.microsoftonline.com/organizations/v2.0", "Microsoft Entra ID"},
		{"https://login.microsoftonline.us/9a1b/v2.0", "Microsoft Entra ID"},
		{"https://login.partner.microsoftonline.cn/9a1b/v2.0", "Microsoft Entra ID"},
		{"https://LOGIN.microsoftonline.com/9a1b/v2.0", "Microsoft Entra ID"},
		{"https://login.microsoftonline.com:443/9a1b/v2.0", "Microsoft Entra ID"},
		{"https://dev-1.okta.com", "Okta"},
		{"https://dev-1.okta.com/oauth2/default", "Okta"},
		{"https://dev-1.oktapreview.com/oauth2/aus1", "Okta"},
		{"https://acme.auth0.com/", "Auth0"},
		{"https://acme.eu.auth0.com/", "Auth0"},
		{"https://accounts.google.com", "Google"},
		{"https://github.com/login/oauth", "GitHub"},
		{"https://sso.example/realms/staff", "Keycloak"},
		{"https://sso.example:8443/auth/realms/staff", "Keycloak"},
		{"https://auth.atlassian.com", "Atlassian"},
		{"https://auth.atlassian.com/abcdef", "Atlassian"},
		{"https://mcp.atlassian.com", "Atlassian"},
		{"https://cf.mcp.atlassian.com", "Atlassian"},
		{"https://acme.cloudflareaccess.com", "Cloudflare Access"},
		{"https://acme.cloudflareaccess.com/cdn-cgi/access/sso/oidc/1", "Cloudflare Access"},

		{"https://login.microsoftonline.com.evil.example/9a1b/v2.0", ""},
		{"https://login.microsoftonline.com@evil.example/9a1b/v2.0", ""},
		{"https://evil@login.microsoftonline.com/9a1b/v2.0", ""},
		{"https://login.microsoftonline.com:8443/9a1b/v2.0", ""},
		{"http://login.microsoftonline.com/9a1b/v2.0", ""},
		{"https://evil.login.microsoftonline.com/9a1b/v2.0", ""},
		{"https://evil-login.microsoftonline.com", ""},
		{"https://evil.example/login.microsoftonline.com", ""},
		{"https://evil.example/?https://login.microsoftonline.com", ""},
		{"https://evil.example#login.microsoftonline.com", ""},
		{"https://login.microsoftonline.com/?tenant=9a1b", ""},
		{"https://login.microsoftonline.com%2eevil.example", ""},
		{"https://login.mіcrosoftonline.com", ""}, // a Cyrillic letter
		{"login.microsoftonline.com", ""},
		{"//login.microsoftonline.com", ""},
		{"https://evilokta.com", ""},
		{"https://okta.com", ""},
		{"https://dev-1.okta.com.evil.example", ""},
		{"https://evilauth0.com/", ""},
		{"https://auth0.com/", ""},
		{"https://acme.auth0.com.evil.example/", ""},
		{"http://acme.auth0.com/", ""},
		{"https://accounts.google.com.evil.example", ""},
		{"https://accounts.google.example", ""},
		{"https://github.com", ""},
		{"https://github.com/login/oauthx", ""},
		{"https://github.com/stranger", ""},
		{"https://evil.example/login/oauth", ""},
		{"https://gist.github.com/login/oauth", ""},
		{"http://sso.example/realms/staff", ""},
		{"https://sso.example/realmsx/staff", ""},
		{"https://sso.example/x/realms/staff", ""},
		{"https://evil.atlassian.com", ""},
		{"https://auth.atlassian.com.evil.example", ""},
		{"https://evilcloudflareaccess.com", ""},
		{"https://acme.cloudflareaccess.com.evil.example", ""},
		{"https://login.example", ""},
		{"", ""},
		{"https://", ""},
		{"\x00", ""},
	} {
		t.Run(tc.issuer, func(t *testing.T) {
			name, s, source, ok := KnownIssuer(tc.issuer)
			if name != tc.want || ok != (tc.want != "") || ok != (source != "") {
				t.Errorf("got %q, %q, %v, want %q", name, source, ok, tc.want)
			}
			if diff := cmp.Diff(Settings{}, s); !ok && diff != "" {
				t.Errorf("settings of nobody: %s", diff)
			}
		})
	}
}

// The order is that of docs/issuers.md.
func TestKnownIssuers(t *testing.T) {
	var names []string
	for _, k := range KnownIssuers() {
		names = append(names, k.Name)
		t.Run(k.Name, func(t *testing.T) {
			if len(k.Hosts) == 0 || len(k.Sources) == 0 || !strings.HasSuffix(k.Note, ".") {
				t.Errorf("incomplete: %+v", k)
			}
			for _, s := range k.Sources {
				if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
					t.Errorf("source %q", s)
				}
			}
			for _, h := range k.Hosts {
				if strings.Contains(strings.TrimPrefix(h, "*."), "*") && h != "*" || strings.ToLower(h) != h {
					t.Errorf("host %q", h)
				}
			}
			// Anybody can have such a host.
			if diff := cmp.Diff(Settings{}, k.Settings); slices.Contains(k.Hosts, "*") && diff != "" {
				t.Errorf("settings at any host: %s", diff)
			}
			if h := k.Settings.RedirectHost; h != "" && !slices.Contains(loopbackHosts, h) {
				t.Errorf("redirect host %q", h)
			}
			// Nothing of the protocol itself may be set by a parameter.
			for _, params := range []map[string]string{k.Settings.AuthorizeParams, k.Settings.TokenParams} {
				for name := range params {
					if !slices.Contains([]string{"access_type", "audience", "prompt"}, name) {
						t.Errorf("parameter %q", name)
					}
				}
			}
			// What gives way to an issuer is listed here too, so that nobody adds to it in passing.
			relaxed := k.Settings.Resource == "omit" || k.Settings.PKCE == "unadvertised" || k.Settings.DPoP == "never"
			if relaxed != (k.Name == "Microsoft Entra ID") {
				t.Errorf("settings %+v", k.Settings)
			}
		})
	}
	want := []string{"Microsoft Entra ID", "Okta", "Auth0", "Google", "GitHub", "Keycloak", "Atlassian", "Cloudflare Access"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The table is nobody's to change.
func TestKnownIssuersAreCopies(t *testing.T) {
	for _, k := range KnownIssuers() {
		if k.Settings.AuthorizeParams != nil {
			k.Settings.AuthorizeParams["audience"] = "evil"
		}
		k.Hosts[0] = "evil.example"
	}
	if name, _, _, _ := KnownIssuer("https://evil.example"); name != "" {
		t.Errorf("evil.example is %s", name)
	}
	if _, s, _, _ := KnownIssuer("https://acme.auth0.com/"); s.AuthorizeParams["audience"] != "{resource}" {
		t.Errorf("got %v", s.AuthorizeParams)
	}
}
