package oauthtest_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func nativeClient(changes map[string]any) map[string]any {
	m := map[string]any{
		"client_name": "Test client", "application_type": "native", "token_endpoint_auth_method": "none",
		"redirect_uris": []string{"http://127.0.0.1/callback"}, "grant_types": []string{"authorization_code", "refresh_token"},
	}
	maps.Copy(m, changes)
	return m
}

func registered(t *testing.T, i *oauthtest.Issuer, changes map[string]any) string {
	t.Helper()
	a := postJSON(t, i.URL+"/register", nativeClient(changes))
	if a.status != http.StatusCreated {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	return a.json["client_id"].(string)
}

func TestRegisterThenLogin(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	id := registered(t, i, nil)
	code, verifier := newCode(t, i, "client_id", id)
	a := post(t, i.URL+"/token", tokenForm(code, verifier, "client_id", id))
	if a.status != 200 || a.json["refresh_token"] == nil {
		t.Fatalf("token: %d %s", a.status, a.body)
	}
	i.ForgetClients()
	wantError(t, "refresh of a forgotten client", refresh(t, i, a.json["refresh_token"], "client_id", id), 401, "invalid_client")
	if a := get(t, i.URL+"/authorize?"+authorizeQuery("v", "client_id", id).Encode()); a.status != 400 {
		t.Errorf("authorize of a forgotten client: got %d, want 400", a.status)
	}
	if a := post(t, i.URL+"/token", tokenForm(newCode(t, i))); a.status != 200 {
		t.Errorf("clients registered beforehand are kept: got %d", a.status)
	}
}

func TestRegisterReply(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{NoDevice: true})
	a := postJSON(t, i.URL+"/register", nativeClient(map[string]any{
		"token_endpoint_auth_method": "client_secret_post", "grant_types": []string{"authorization_code", deviceGrant},
	}))
	if a.status != http.StatusCreated || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %v", a.status, a.header)
	}
	if a.json["client_secret"] == "" || a.json["client_secret_expires_at"] != 0.0 {
		t.Errorf("secret of a confidential client: %v", a.body)
	}
	if d := cmp.Diff([]any{"authorization_code"}, a.json["grant_types"]); d != "" {
		t.Errorf("a grant that is not offered is left out: %s", d)
	}
	wantError(t, "nothing offered", postJSON(t, i.URL+"/register", nativeClient(map[string]any{"grant_types": []string{deviceGrant}})), 400, "invalid_client_metadata")
	m := postJSON(t, i.URL+"/register", map[string]any{"redirect_uris": []string{"https://app.example/cb"}}).json
	if d := cmp.Diff([]any{"client_secret_basic", "web", []any{"authorization_code"}, []any{"code"}, m["client_id"]},
		[]any{m["token_endpoint_auth_method"], m["application_type"], m["grant_types"], m["response_types"], m["client_name"]}); d != "" {
		t.Errorf("defaults: %s", d)
	}
	if a := postJSON(t, i.URL+"/register", nativeClient(nil)); a.json["client_secret"] != nil {
		t.Errorf("public client got a secret")
	}
}

func TestRegisterRefuses(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	uri := func(s string) map[string]any { return map[string]any{"redirect_uris": []string{s}} }
	for _, tt := range []struct {
		name    string
		changes map[string]any
		want    string // "" for accepted
	}{
		{"native loopback", nil, ""},
		{"native https", uri("https://app.example/cb"), ""},
		{"native scheme", uri("com.example.app:/cb"), ""},
		{"loopback for the default type, web", map[string]any{"application_type": ""}, "invalid_redirect_uri"},
		{"unknown type", map[string]any{"application_type": "robot"}, "invalid_client_metadata"},
		{"no redirect URI", map[string]any{"redirect_uris": []string{}}, "invalid_redirect_uri"},
		{"plain http elsewhere", uri("http://app.example/cb"), "invalid_redirect_uri"},
		{"fragment", uri("http://127.0.0.1/cb#x"), "invalid_redirect_uri"},
		{"javascript", uri("javascript:alert(1)"), "invalid_redirect_uri"},
		{"userinfo", uri("http://u@127.0.0.1/cb"), "invalid_redirect_uri"},
		{"unknown method", map[string]any{"token_endpoint_auth_method": "magic"}, "invalid_client_metadata"},
		{"unknown grant", map[string]any{"grant_types": []string{"password"}}, "invalid_client_metadata"},
		{"response without grant", map[string]any{"grant_types": []string{deviceGrant}, "response_types": []string{"code"}}, "invalid_client_metadata"},
		{"grant without response", map[string]any{"response_types": []string{}}, "invalid_client_metadata"},
		{"implicit", map[string]any{"response_types": []string{"token"}}, "invalid_client_metadata"},
		{"public client_credentials", map[string]any{"grant_types": []string{"client_credentials"}}, "invalid_client_metadata"},
		{"wrong JSON type", map[string]any{"redirect_uris": "http://127.0.0.1/cb"}, "invalid_client_metadata"},
	} {
		a := postJSON(t, i.URL+"/register", nativeClient(tt.changes))
		if tt.want == "" {
			if a.status != http.StatusCreated {
				t.Errorf("%s: got %d %s, want 201", tt.name, a.status, a.body)
			}
			continue
		}
		wantError(t, tt.name, a, 400, tt.want)
	}
	resp, err := plain.Post(i.URL+"/register", "text/plain", strings.NewReader(`{"application_type":"native","redirect_uris":["http://127.0.0.1/cb"]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("other media type: got %d, want 400", resp.StatusCode)
	}
	if a := get(t, i.URL+"/register"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d, want 405", a.status)
	}
}
