package oauthtest_test

import (
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestStepUp(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{PAR: "offered"})
	demanding := func(acr string, maxAge int) *oauthtest.Resource {
		return newResource(t, oauthtest.ResourceOptions{Issuer: i, ResourceID: audience, ACR: acr, MaxAge: maxAge})
	}
	both, class, age := demanding("urn:mfa urn:key", 60), demanding("urn:mfa", 0), demanding("", 60)
	for _, tt := range []struct {
		name    string
		at      *oauthtest.Resource
		request []string
		want    string // of the challenge; "": admitted
	}{
		{"nothing asked", both, nil, `error="insufficient_user_authentication", error_description="the sign-in is too old", acr_values="urn:mfa urn:key", max_age="60"`},
		{"both asked", both, []string{"acr_values", "urn:mfa urn:key", "max_age", "60"}, ""},
		{"one class of two", both, []string{"acr_values", "urn:key", "max_age", "0"}, ""},
		{"no age", both, []string{"acr_values", "urn:mfa"}, `max_age="60"`},
		{"too high an age", both, []string{"acr_values", "urn:mfa", "max_age", "61"}, `max_age="60"`},
		{"no class", both, []string{"max_age", "60"}, `acr_values="urn:mfa urn:key"`},
		{"another class", both, []string{"acr_values", "urn:mf", "max_age", "60"}, `acr_values="urn:mfa urn:key"`},
		{"class alone", class, []string{"acr_values", "urn:mfa"}, ""},
		{"class alone, not asked", class, nil, `acr_values="urn:mfa"`},
		{"age alone", age, []string{"max_age", "5"}, ""},
		{"age alone, not asked", age, nil, `max_age="60"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, verifier := newCode(t, i, tt.request...)
			tokens := post(t, i.URL+"/token", tokenForm(code, verifier)).json
			refreshed := refresh(t, i, tokens["refresh_token"]).json
			for _, token := range []any{tokens["access_token"], refreshed["access_token"]} {
				a := bearer(t, tt.at.URL+"/", token)
				if got := a.header.Get("WWW-Authenticate"); (a.status == 200) != (tt.want == "") || !strings.Contains(got, tt.want) || tt.want != "" && (a.status != 401 || !strings.Contains(got, "insufficient_user_authentication")) {
					t.Errorf("got %d %s", a.status, got)
				}
			}
		})
	}
	for _, bad := range []string{"soon", "-1"} {
		if q := redirected(t, get(t, i.URL+"/authorize?"+authorizeQuery("v", "max_age", bad).Encode())); q.Get("error") != "invalid_request" {
			t.Errorf("max_age %s: got %v", bad, q)
		}
	}
	// A first visit is told nothing of this.
	if got := get(t, both.URL+"/").header.Get("WWW-Authenticate"); strings.Contains(got, "acr_values") {
		t.Errorf("got %s", got)
	}
}
