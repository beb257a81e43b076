package oauthtest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestAuthorizeAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, action string
		noISS        bool
	}{{"approve", "approve", false}, {"deny", "deny", false}, {"without iss", "approve", true}} {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t, oauthtest.IssuerOptions{NoISS: tt.noISS})
			got := decide(t, i, authorizeQuery("v"), tt.action)
			if (got.Get("code") != "") != (tt.action == "approve") {
				t.Errorf("code is %q", got.Get("code"))
			}
			got.Del("code")
			got.Del("error_description")
			want := url.Values{"state": {"st-1"}}
			if !tt.noISS {
				want.Set("iss", i.URL)
			}
			if tt.action == "deny" {
				want.Set("error", "access_denied")
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAuthorizeRefusesByRedirect(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	deviceOnly := registered(t, i, map[string]any{"grant_types": []string{deviceGrant}, "redirect_uris": []string{redirectURI}})
	for _, tt := range []struct {
		name    string
		changes []string
		want    string
	}{
		{"implicit", []string{"response_type", "token"}, "unsupported_response_type"},
		{"no response_type", []string{"response_type", ""}, "unsupported_response_type"},
		{"no state", []string{"state", ""}, "invalid_request"},
		{"no PKCE", []string{"code_challenge", "", "code_challenge_method", ""}, "invalid_request"},
		{"plain PKCE", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"plain PKCE by default", []string{"code_challenge_method", ""}, "invalid_request"},
		{"challenge that is no sum", []string{"code_challenge", "short"}, "invalid_request"},
		{"no resource", []string{"resource", ""}, "invalid_target"},
		{"relative resource", []string{"resource", "/docs"}, "invalid_target"},
		{"resource with fragment", []string{"resource", audience + "#x"}, "invalid_target"},
		{"bad scope", []string{"scope", `docs "read"`}, "invalid_scope"},
		{"grant not registered", []string{"client_id", deviceOnly}, "unauthorized_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := redirected(t, get(t, i.URL+"/authorize?"+authorizeQuery("v", tt.changes...).Encode()))
			if got.Get("error") != tt.want || got.Get("code") != "" || got.Get("iss") != i.URL {
				t.Errorf("got %v, want error %s with iss and no code", got, tt.want)
			}
		})
	}
	if a := post(t, i.URL+"/authorize", authorizeQuery("v")); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d, want 405", a.status)
	}
	t.Run("state twice", func(t *testing.T) {
		got := redirected(t, get(t, i.URL+"/authorize?"+authorizeQuery("v").Encode()+"&state=st-1"))
		if got.Get("error") != "invalid_request" {
			t.Errorf("got %v", got)
		}
	})
}

// With the client or the redirect URI in doubt nothing is sent anywhere.
func TestAuthorizeDoesNotRedirectToStrangers(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{AutoApprove: true})
	web := registered(t, i, map[string]any{"application_type": "web", "redirect_uris": []string{"https://app.example/callback"}})
	named := registered(t, i, map[string]any{"redirect_uris": []string{"http://localhost:7777/callback"}})
	for _, twice := range []string{"client_id=public", "redirect_uri=" + url.QueryEscape(redirectURI)} {
		if a := get(t, i.URL+"/authorize?"+authorizeQuery("v").Encode()+"&"+twice); a.status != 400 {
			t.Errorf("%s twice: got %d, want 400", twice, a.status)
		}
	}
	withQuery := registered(t, i, map[string]any{"redirect_uris": []string{redirectURI + "?a=1"}})
	if got := redirected(t, get(t, i.URL+"/authorize?"+authorizeQuery("v", "client_id", withQuery, "redirect_uri", redirectURI+"?a=1").Encode())); got.Get("a") != "1" || got.Get("code") == "" {
		t.Errorf("registered query: got %v", got)
	}
	for _, tt := range []struct {
		name, client, redirect string
		want                   int
	}{
		{"registered without port", "public", "http://127.0.0.1:5/callback", 303},
		{"IPv6", "public", "http://[::1]:5/callback", 303},
		{"web", web, "https://app.example/callback", 303},
		{"localhost, same port", named, "http://localhost:7777/callback", 303},
		{"unknown client", "nobody", redirectURI, 400},
		{"no client", "", redirectURI, 400},
		{"no redirect URI", "public", "", 400},
		{"other path", "public", "http://127.0.0.1:5/callback/x", 400},
		{"query added", "public", "http://127.0.0.1:5/callback?x=1", 400},
		{"fragment added", "public", "http://127.0.0.1:5/callback#x", 400},
		{"https loopback", "public", "https://127.0.0.1:5/callback", 400},
		{"other loopback address", "public", "http://127.0.0.2:5/callback", 400},
		{"other host", "public", "http://evil.example/callback", 400},
		{"userinfo", "public", "http://127.0.0.1@evil.example/callback", 400},
		{"localhost for an IP literal", "public", "http://localhost:5/callback", 400},
		{"localhost, other port", named, "http://localhost:7778/callback", 400},
		{"web with port", web, "https://app.example:444/callback", 400},
		{"web without TLS", web, "http://app.example/callback", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := authorizeQuery("v", "client_id", tt.client, "redirect_uri", tt.redirect)
			a := get(t, i.URL+"/authorize?"+q.Encode())
			if a.status != tt.want || (a.header.Get("Location") != "") != (tt.want == 303) {
				t.Errorf("got %d to %q, want %d", a.status, a.header.Get("Location"), tt.want)
			}
		})
	}
}

func TestDecisionIsTakenOnceAndFromOurPage(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	show := func() url.Values {
		m := hidden.FindStringSubmatch(get(t, i.URL+"/authorize?"+authorizeQuery("v").Encode()).body)
		return url.Values{"request": {m[1]}, "action": {"approve"}}
	}
	form := show()
	if a := post(t, i.URL+"/authorize/decision", form, "Origin", "https://evil.example"); a.status != http.StatusForbidden {
		t.Errorf("foreign origin: got %d, want 403", a.status)
	}
	if a := post(t, i.URL+"/authorize/decision", values(form, "action", "")); a.status != http.StatusBadRequest {
		t.Errorf("no action: got %d, want 400", a.status)
	}
	if a := post(t, i.URL+"/authorize/decision", form, "Origin", i.URL); a.status != http.StatusSeeOther {
		t.Errorf("own origin: got %d, want 303", a.status)
	}
	if a := post(t, i.URL+"/authorize/decision", form); a.status != http.StatusBadRequest {
		t.Errorf("again: got %d, want 400", a.status)
	}
}

var regexpScript = regexp.MustCompile(`(?i)<script`)

func TestPagesEscapeWhatTheClientSays(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	id := registered(t, i, map[string]any{"client_name": "<script>alert(1)</script>"})
	a := get(t, i.URL+"/authorize?"+authorizeQuery("v", "client_id", id).Encode())
	if m := hidden.FindString(a.body); m == "" || regexpScript.MatchString(a.body) {
		t.Errorf("page: %s", a.body)
	}
}
