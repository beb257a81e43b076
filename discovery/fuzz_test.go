package discovery

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"resource":"https://h.example/a","authorization_servers":["https://as.example","http://x"],"scopes_supported":["a","b c"],"resource_name":"x"}`))
	f.Add([]byte(`{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a?x","token_endpoint":"https://as.example/t","scopes_supported":["a"]}`))
	f.Add([]byte(`{"issuer":"https://as.example","ISSUER":"https://evil.example","token_endpoint":"https://as.example/t","device_authorization_endpoint":"https://as.example/d"}`))
	f.Add([]byte(`{"resource":"https://h.example/a/b?q","resource":1}`))
	f.Add([]byte(strings.Repeat(`{"":`, 40)))
	f.Add([]byte("{\"resource\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := New(Options{Transport: inProcess(string(body))})
		https := func(raw string) bool {
			u, err := url.Parse(raw)
			if err != nil {
				return false
			}
			o, err := origin.Of(u)
			return err == nil && o.Scheme() == "https" && u.User == nil && u.Fragment == "" && len(raw) <= MaxURLBytes
		}
		page := &url.URL{Scheme: "https", Host: "h.example", Path: "/a/b", RawQuery: "q"}
		for _, advertised := range []string{"", "https://h.example/x"} {
			r, err := c.Resource(t.Context(), page, advertised)
			if err != nil {
				checkError(t, err)
				continue
			}
			u, err := url.Parse(r.Resource)
			if err != nil || !https(r.Resource) || u.EscapedPath() != "" && !strings.HasPrefix("/a/b/", strings.TrimSuffix(u.EscapedPath(), "/")+"/") {
				t.Errorf("resource %q", r.Resource)
			}
			if len(r.AuthorizationServers) > MaxAuthorizationServers || len(r.ScopesSupported) > MaxResourceScopes {
				t.Errorf("%d issuers, %d scopes", len(r.AuthorizationServers), len(r.ScopesSupported))
			}
			for _, issuer := range r.AuthorizationServers {
				if !https(issuer) || strings.ContainsAny(issuer, "?#") {
					t.Errorf("issuer %q", issuer)
				}
			}
			if slices.ContainsFunc(r.ScopesSupported, func(s string) bool { return !challenge.IsScope(s) }) {
				t.Errorf("scopes %q", r.ScopesSupported)
			}
		}
		s, err := c.AuthServer(t.Context(), "https://as.example")
		if err != nil {
			checkError(t, err)
			return
		}
		if s.Issuer != "https://as.example" || s.TokenEndpoint == "" {
			t.Errorf("issuer %q, token endpoint %q", s.Issuer, s.TokenEndpoint)
		}
		for _, u := range []string{s.AuthorizationEndpoint, s.TokenEndpoint, s.DeviceAuthorizationEndpoint, s.RegistrationEndpoint, s.RevocationEndpoint, s.PushedAuthorizationRequestEndpoint, s.JWKSURI} {
			if u != "" && !https(u) {
				t.Errorf("endpoint %q", u)
			}
		}
	})
}

// checkError: every refusal is one of ours, told in one line.
func checkError(t *testing.T, err error) {
	t.Helper()
	if k := kind(err); k != notFound && k != mismatch && k != invalid || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("error %q of kind %s", err, kind(err))
	}
}

func FuzzWellKnownURL(f *testing.F) {
	for _, s := range []string{
		"https://h.example", "https://h.example/", "https://h.example/a/b/?q#f", "https://u:p@h.example//a//", "https://h.example/a%2fb/%2e%2e/é", "https://bücher.example:8443/ä?",
		"https://[::1]/..;/", `https://h.example/a\b`, "https://h.example/*", "https://h.example/%zz", "http://h.example/a", "https:opaque",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		page, err := url.Parse(raw)
		if err != nil {
			return
		}
		var asked []*url.URL
		c := New(Options{AllowHTTP: func(origin.Origin) bool { return true }, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL)
			return &http.Response{StatusCode: 404, Body: http.NoBody}, nil
		})})
		check := func(err error, most int, prefixOnly bool) {
			if len(asked) == 0 {
				return
			}
			var missing *NotFoundError
			if !errors.As(err, &missing) || len(missing.Tried) != len(asked) || len(asked) > most {
				t.Fatalf("%d requests and %v", len(asked), err)
			}
			want, err := origin.Of(page)
			if err != nil {
				t.Fatalf("requests for %q: %v", raw, err)
			}
			for i, u := range asked {
				if o, err := origin.Of(u); err != nil || o != want || u.Host != strings.TrimPrefix(want.String(), want.Scheme()+"://") {
					t.Errorf("%s is asked for %s", u, want)
				}
				if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.String() != missing.Tried[i] || hasDotSegment(u.EscapedPath()) {
					t.Errorf("%s is asked", u)
				}
				if prefixOnly && !strings.HasPrefix(u.EscapedPath(), protectedResource) || !strings.Contains(u.EscapedPath(), "/.well-known/") {
					t.Errorf("%s is no well-known address", u)
				}
			}
		}
		_, err = c.Resource(t.Context(), page, "")
		check(err, 2, true)
		asked = nil
		_, err = c.AuthServer(t.Context(), raw)
		check(err, 3, false)
	})
}
