package discovery

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// documents are seeds of metadata.
func documents() []string {
	seeds := []string{
		`{"resource":"https://h.example/a","authorization_servers":["https://as.example","http://x"],"scopes_supported":["a","b c"],"resource_name":"x"}`,
		`{"resource":"https://h.example/a","jwks_uri":"https://h.example/j","signed_metadata":"` + unsigned(`{"alg":"none"}`, `{"iss":"https://h.example/a"}`) + `","dpop_signing_alg_values_supported":["ES256"]}`,
		`{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a?x","token_endpoint":"https://as.example/t","scopes_supported":["a"]}`,
		`{"issuer":"https://as.example","ISSUER":"https://evil.example","token_endpoint":"https://as.example/t","device_authorization_endpoint":"https://as.example/d"}`,
		`{"issuer":"https://as.example","token_endpoint":"https://as.example/t","grant_types_supported":["client_credentials"],"mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example/t"}}`,
		`{"issuer":"https://as.example","jwks_uri":"https://as.example/j","signed_metadata":"` + unsigned(`{"alg":"ES256","kid":"a"}`, `{"iss":"https://as.example","exp":1e300}`) + `","keys":[{"kty":"EC","kid":"a"},{}]}`,
		`{"resource":"https://h.example/a/b?q","resource":1}`,
		strings.Repeat(`{"":`, 40),
		"{\"resource\":\"\xff\"}",
	}
	for _, a := range attacks {
		for _, r := range a.replies {
			if len(r.body) < 4<<10 {
				seeds = append(seeds, r.body)
			}
		}
	}
	return seeds
}

func FuzzMetadata(f *testing.F) {
	seeds := documents()
	if len(seeds) == 0 {
		f.Fatal("there are no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
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
		signed := func(status string) {
			if status != "" && !strings.HasPrefix(status, signedMetadataIgnored) || strings.ContainsAny(status, "\n\x1b") {
				t.Errorf("signed metadata %q, although nobody has a key", status) // the document is its own key set
			}
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
			if _, ok := Covers(r.Resource, page); !ok {
				t.Errorf("resource %q does not cover the page", r.Resource)
			}
			signed(r.SignedMetadata)
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
		signed(s.SignedMetadata)
		m := s.MTLSEndpointAliases
		for _, u := range []string{
			s.AuthorizationEndpoint, s.TokenEndpoint, s.DeviceAuthorizationEndpoint, s.RegistrationEndpoint, s.RevocationEndpoint, s.PushedAuthorizationRequestEndpoint,
			m.TokenEndpoint, m.DeviceAuthorizationEndpoint, m.RegistrationEndpoint, m.RevocationEndpoint, m.PushedAuthorizationRequestEndpoint,
		} {
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

// identifiers are seeds of pages and issuers.
var identifiers = []string{
	"https://h.example", "https://h.example/", "https://h.example/a/b/?q#f", "https://u:p@h.example//a//", "https://h.example/a%2fb/%2e%2e/é", "https://bücher.example:8443/ä?",
	"https://[::1]/..;/", `https://h.example/a\b`, "https://h.example/*", "https://h.example/%zz", "http://h.example/a", "https:opaque", "https://h.example/%c0%ae%c0%ae/a", "https://h.example/%25252e",
}

func FuzzWellKnownURL(f *testing.F) {
	if len(identifiers) == 0 {
		f.Fatal("there are no seeds")
	}
	for _, s := range identifiers {
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
				if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.String() != missing.Tried[i] || climbs(u.EscapedPath()) {
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

// Nobody but those who have its key can make a token: whatever else is sent is not verified.
func FuzzSignedMetadata(f *testing.F) {
	good := token(f, jose.ES256, "p256", "k", `{"iss":"https://as.example","token_endpoint":"https://as.example/signed"}`)
	keys := marshal(f, set(jwk(f, "p256", members{"kid": "k"})))
	seeds := []struct{ token, keys string }{
		{good, keys}, {good, `{"keys":[]}`}, {good + "A", keys}, {"e30.e30.", keys}, {good, marshal(f, set(jwk(f, "rsa", nil), jwk(f, "ed", nil), jwk(f, "other", members{"kid": "k"})))},
		{unsigned(`{"alg":"none"}`, `{"iss":"https://as.example"}`), keys}, {"", `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`},
	}
	if len(seeds) == 0 {
		f.Fatal("there are no seeds")
	}
	for _, s := range seeds {
		f.Add(s.token, s.keys)
	}
	f.Fuzz(func(t *testing.T, signed, keySet string) {
		doc, err := json.Marshal(members{"issuer": asIssuer, "authorization_endpoint": asIssuer + "/a", "token_endpoint": asIssuer + "/t", "jwks_uri": asKeys, "signed_metadata": signed})
		if err != nil {
			return // not UTF-8
		}
		for _, published := range []string{keySet, keys} {
			w := newWeb(map[string]string{asAt: string(doc), asKeys: published})
			s, err := New(Options{Transport: w}).AuthServer(t.Context(), asIssuer)
			if err != nil {
				checkError(t, err)
				continue
			}
			// The keys of this process are nowhere else, and the seeds may come from another.
			if s.SignedMetadata == SignedMetadataVerified && published == keys && signed != good {
				t.Errorf("%q is verified", signed)
			}
			if s.SignedMetadata != SignedMetadataVerified && s.TokenEndpoint != asIssuer+"/t" {
				t.Errorf("%q, and the token endpoint is %s", s.SignedMetadata, s.TokenEndpoint)
			}
		}
	})
}
