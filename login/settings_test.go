package login

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettings(t *testing.T) {
	const auth0, entra, other = "https://example.eu.auth0.com/", "https://login.microsoftonline.com/tenant/v2.0", "https://login.example"
	params := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, tc := range []struct {
		name       string
		issuer     string
		configured Settings
		want       Settings
	}{
		{"nothing is known", other, Settings{}, Settings{
			Resource: "send", AuthorizeParams: params(), TokenParams: params(), RedirectHost: "127.0.0.1", RedirectPort: "any", PKCE: "advertised", DPoP: "auto"}},
		{"the configuration alone", other, Settings{Resource: "omit", TokenParams: params("a", "b"), DPoP: "always", RedirectHost: "[::1]"}, Settings{
			Resource: "omit", AuthorizeParams: params(), TokenParams: params("a", "b"), RedirectHost: "[::1]", RedirectPort: "any", PKCE: "advertised", DPoP: "always"}},
		{"the table alone", entra, Settings{}, Settings{
			Resource: "omit", AuthorizeParams: params(), TokenParams: params(), RedirectHost: "localhost", RedirectPort: "any", PKCE: "unadvertised", DPoP: "auto"}},
		{"the configuration over the table", entra, Settings{Resource: "send", PKCE: "advertised", RedirectHost: "127.0.0.1", RedirectPort: "exact"}, Settings{
			Resource: "send", AuthorizeParams: params(), TokenParams: params(), RedirectHost: "127.0.0.1", RedirectPort: "exact", PKCE: "advertised", DPoP: "auto"}},
		{"parameters are merged by name", auth0, Settings{AuthorizeParams: params("organization", "o", "audience", "mine")}, Settings{
			Resource: "send", AuthorizeParams: params("organization", "o", "audience", "mine"), TokenParams: params("audience", "{resource}"),
			RedirectHost: "127.0.0.1", RedirectPort: "exact", PKCE: "advertised", DPoP: "auto"}},
		{"an empty value takes one away", auth0, Settings{AuthorizeParams: params("audience", "", "never", "")}, Settings{
			Resource: "send", AuthorizeParams: params(), TokenParams: params("audience", "{resource}"), RedirectHost: "127.0.0.1", RedirectPort: "exact", PKCE: "advertised", DPoP: "auto"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := New(Options{Settings: func(issuer string) Settings {
				if issuer != tc.issuer {
					t.Errorf("asked for %s", issuer)
				}
				return tc.configured
			}})
			got := f.Settings(tc.issuer)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for i, v := 0, reflect.ValueOf(got); i < v.NumField(); i++ {
				if v.Field(i).IsZero() {
					t.Errorf("%s is left open", v.Type().Field(i).Name)
				}
			}
			// What one caller does with its maps is no other's concern.
			got.AuthorizeParams["state"], got.TokenParams["client_id"] = "evil", "evil"
			if diff := cmp.Diff(tc.want, f.Settings(tc.issuer)); diff != "" {
				t.Errorf("a second time (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no configuration", func(t *testing.T) {
		if got := New(Options{}).Settings(other).Resource; got != "send" {
			t.Errorf("resource is %q", got)
		}
	})
}
