package oauthtest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func manage(t *testing.T, method, u string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Add(header[n], header[n+1])
	}
	return send(t, req)
}

func TestManagement(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{Management: true})
	metadata := object{"redirect_uris": []string{redirectURI}, "application_type": "native", "token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"}}
	registered := postJSON(t, i.URL+"/register", metadata).json
	second := postJSON(t, i.URL+"/register", with(metadata, "grant_types", nil)).json // without refresh tokens
	id, at := registered["client_id"].(string), registered["registration_client_uri"].(string)
	token := "Bearer " + registered["registration_access_token"].(string)
	if at != i.URL+"/register/"+id {
		t.Errorf("registration_client_uri is %s", at)
	}
	code, verifier := newCode(t, i, "client_id", id)
	tokens := post(t, i.URL+"/token", tokenForm(code, verifier, "client_id", id)).json
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		for name, header := range map[string][]string{
			"no token": nil, "made-up token": {"Authorization", "Bearer x"}, "another client's": {"Authorization", "Bearer " + second["registration_access_token"].(string)},
			"another scheme": {"Authorization", strings.Replace(token, "Bearer", "Basic", 1)}, "two": {"Authorization", token, "Authorization", token},
		} {
			if a := manage(t, method, at, header...); a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s with %s: got %d", method, name, a.status)
			}
		}
		if a := manage(t, method, i.URL+"/register/public", "Authorization", "Bearer "); a.status != 401 {
			t.Errorf("%s of a client that did not register: got %d", method, a.status)
		}
	}
	if a := manage(t, http.MethodPut, at, "Authorization", token); a.status != 405 {
		t.Errorf("PUT: got %d", a.status)
	}
	if a := manage(t, http.MethodGet, at, "Authorization", token); a.status != 200 || a.json["client_id"] != id || a.json["registration_access_token"] != registered["registration_access_token"] {
		t.Errorf("GET: got %d %s", a.status, a.body)
	}
	wantValid(t, i, tokens["access_token"], true)
	if a := manage(t, http.MethodDelete, at, "Authorization", token); a.status != 204 || a.body != "" {
		t.Errorf("DELETE: got %d %s", a.status, a.body)
	}
	wantValid(t, i, tokens["access_token"], false)
	wantError(t, "the deleted client", refresh(t, i, tokens["refresh_token"], "client_id", id), 401, "invalid_client")
	if a := manage(t, http.MethodDelete, at, "Authorization", token); a.status != 401 {
		t.Errorf("DELETE again: got %d", a.status)
	}

	at, token = second["registration_client_uri"].(string), "Bearer "+second["registration_access_token"].(string)
	code, verifier = newCode(t, i, "client_id", second["client_id"].(string))
	tokens = post(t, i.URL+"/token", tokenForm(code, verifier, "client_id", second["client_id"].(string))).json
	manage(t, http.MethodDelete, at, "Authorization", token)
	wantValid(t, i, tokens["access_token"], false)

	off := newIssuer(t, oauthtest.IssuerOptions{})
	plain := postJSON(t, off.URL+"/register", metadata).json
	if plain["registration_access_token"] != nil || plain["registration_client_uri"] != nil {
		t.Errorf("off: got %v", plain)
	}
	if a := manage(t, http.MethodGet, off.URL+"/register/"+plain["client_id"].(string)); a.status != 404 {
		t.Errorf("off: got %d", a.status)
	}
}
