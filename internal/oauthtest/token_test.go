package oauthtest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestCodeFlow(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	a := post(t, i.URL+"/token", tokenForm(newCode(t, i)))
	if a.status != 200 || a.header.Get("Cache-Control") != "no-store" || a.json["token_type"] != "Bearer" ||
		a.json["expires_in"] != 3600.0 || a.json["scope"] != "docs.read docs.list" || a.json["refresh_token"] == nil {
		t.Fatalf("got %d %v %s", a.status, a.header, a.body)
	}
	token := a.json["access_token"].(string)
	for _, tt := range []struct {
		name, resource string
		scopes         []string
		want           bool
	}{
		{"as granted", audience, []string{"docs.read", "docs.list"}, true},
		{"no scope needed", audience, nil, true},
		{"scope not granted", audience, []string{"docs.write"}, false},
		{"other resource", "https://other.example", nil, false},
		{"resource above", "https://docs.example", nil, false},
		{"trailing slash", audience + "/", nil, false},
	} {
		if got, why := i.Valid(token, tt.resource, tt.scopes); got != tt.want || (why == "") != tt.want {
			t.Errorf("%s: Valid = %v %q, want %v", tt.name, got, why, tt.want)
		}
	}
	if ok, _ := i.Valid("made-up", audience, nil); ok {
		t.Error("a made-up token is valid")
	}
}

func TestCodeIsRefused(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	for _, tt := range []struct {
		name    string
		changes []string
		status  int
		want    string
	}{
		{"wrong verifier", []string{"code_verifier", strings.Repeat("x", 43)}, 400, "invalid_grant"},
		{"no verifier", []string{"code_verifier", ""}, 400, "invalid_grant"},
		{"other port", []string{"redirect_uri", "http://127.0.0.1:40002/callback"}, 400, "invalid_grant"},
		{"no redirect_uri", []string{"redirect_uri", ""}, 400, "invalid_grant"},
		{"other client", []string{"client_id", "other"}, 400, "invalid_grant"},
		{"unknown client", []string{"client_id", "nobody"}, 401, "invalid_client"},
		{"no client", []string{"client_id", ""}, 401, "invalid_client"},
		{"made-up code", []string{"code", "made-up"}, 400, "invalid_grant"},
		{"no resource", []string{"resource", ""}, 400, "invalid_target"},
		{"other resource", []string{"resource", "https://other.example"}, 400, "invalid_target"},
		{"bad resource", []string{"resource", "manual"}, 400, "invalid_target"},
		{"no grant", []string{"grant_type", ""}, 400, "invalid_request"},
		{"unknown grant", []string{"grant_type", "password"}, 400, "unsupported_grant_type"},
	} {
		code, verifier := newCode(t, i)
		wantError(t, tt.name, post(t, i.URL+"/token", tokenForm(code, verifier, tt.changes...)), tt.status, tt.want)
	}
}

// The right verifier does not help where RFC 7636 §4.1 does not allow it.
func TestVerifierSyntax(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	for _, tt := range []struct {
		name, verifier string
		status         int
	}{
		{"shortest", strings.Repeat("a", 43), 200}, {"longest", strings.Repeat("~", 128), 200},
		{"too short", strings.Repeat("a", 42), 400}, {"too long", strings.Repeat("a", 129), 400}, {"reserved character", strings.Repeat("+", 43), 400},
	} {
		code := decide(t, i, authorizeQuery(tt.verifier), "approve").Get("code")
		if a := post(t, i.URL+"/token", tokenForm(code, tt.verifier)); a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.status)
		}
	}
}

// A challenge that equals the verifier would pass only where plain is understood.
func TestPlainPKCEDoesNotVerify(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	verifier := strings.Repeat("A", 43) // base64url of 32 bytes, so the authorization request is well formed
	code := decide(t, i, authorizeQuery("", "code_challenge", verifier), "approve").Get("code")
	wantError(t, "plain", post(t, i.URL+"/token", tokenForm(code, verifier)), 400, "invalid_grant")
}

func TestCodeWorksOnceAndReuseRevokes(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	code, verifier := newCode(t, i)
	first := post(t, i.URL+"/token", tokenForm(code, verifier))
	wantValid(t, i, first.json["access_token"], true)
	wantError(t, "reuse", post(t, i.URL+"/token", tokenForm(code, verifier)), 400, "invalid_grant")
	wantValid(t, i, first.json["access_token"], false)
	wantError(t, "refresh after reuse", refresh(t, i, first.json["refresh_token"]), 400, "invalid_grant")

	code, verifier = newCode(t, i)
	wantError(t, "wrong verifier", post(t, i.URL+"/token", tokenForm(code, strings.Repeat("x", 43))), 400, "invalid_grant")
	wantError(t, "right verifier afterwards", post(t, i.URL+"/token", tokenForm(code, verifier)), 400, "invalid_grant")
}

func TestTokenRequestForm(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"confidential"}, "client_secret": {"s3cret &+%"}, "resource": {audience}}
	if a := post(t, i.URL+"/token", form); a.status != 200 {
		t.Fatalf("well formed: got %d %s", a.status, a.body)
	}
	wantError(t, "query", post(t, i.URL+"/token?client_secret=x", form), 400, "invalid_request")
	wantError(t, "JSON", postJSON(t, i.URL+"/token", map[string]string{"grant_type": "client_credentials"}), 400, "invalid_request")
	twice := values(form)
	twice["grant_type"] = []string{"client_credentials", "client_credentials"}
	wantError(t, "parameter twice", post(t, i.URL+"/token", twice), 400, "invalid_request")
	req, err := http.NewRequest(http.MethodPost, i.URL+"/token", strings.NewReader(values(form, "client_id", "", "client_secret", "").Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("confidential", "s3cret+%26%2B%25")
	req.Header.Add("Authorization", "Bearer x")
	wantError(t, "two Authorization headers", send(t, req), 401, "invalid_client")
	wantError(t, "too long", post(t, i.URL+"/token", values(form, "x", strings.Repeat("x", 70000))), 400, "invalid_request")
	if a := get(t, i.URL+"/token?"+form.Encode()); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d, want 405", a.status)
	}
}

func TestClientAuthentication(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	confidential := func(method string) (id, secret string) {
		a := postJSON(t, i.URL+"/register", nativeClient(map[string]any{
			"token_endpoint_auth_method": method, "grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{},
		}))
		return a.json["client_id"].(string), a.json["client_secret"].(string)
	}
	basicID, basicSecret := confidential("client_secret_basic")
	postID, postSecret := confidential("client_secret_post")
	for _, tt := range []struct {
		name             string
		user, password   string // Basic, form-encoded unless raw
		raw              bool
		clientID, secret string // in the body
		status           int
		want             string
	}{
		{name: "basic", user: basicID, password: basicSecret, status: 200},
		{name: "basic with the same client_id", user: basicID, password: basicSecret, clientID: basicID, status: 200},
		{name: "post", clientID: postID, secret: postSecret, status: 200},
		{name: "registered beforehand, basic", user: "confidential", password: "s3cret &+%", status: 200},
		{name: "registered beforehand, post", clientID: "confidential", secret: "s3cret &+%", status: 200},
		{name: "basic, not encoded", user: "confidential", password: "s3cret &+%", raw: true, status: 401, want: "invalid_client"},
		{name: "basic, wrong secret", user: basicID, password: "x", status: 401, want: "invalid_client"},
		{name: "post, wrong secret", clientID: postID, secret: "x", status: 401, want: "invalid_client"},
		{name: "post by a basic client", clientID: basicID, secret: basicSecret, status: 401, want: "invalid_client"},
		{name: "basic by a post client", user: postID, password: postSecret, status: 401, want: "invalid_client"},
		{name: "no secret", clientID: basicID, status: 401, want: "invalid_client"},
		{name: "both", user: basicID, password: basicSecret, clientID: basicID, secret: basicSecret, status: 400, want: "invalid_request"},
		{name: "two clients", user: basicID, password: basicSecret, clientID: postID, status: 400, want: "invalid_request"},
		{name: "public with a secret", clientID: "public", secret: "x", status: 401, want: "invalid_client"},
		{name: "public for itself", clientID: "public", status: 400, want: "unauthorized_client"},
	} {
		form := values(url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}, "client_id", tt.clientID, "client_secret", tt.secret)
		req, err := http.NewRequest(http.MethodPost, i.URL+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if tt.raw {
			req.SetBasicAuth(tt.user, tt.password)
		} else if tt.user != "" {
			req.SetBasicAuth(url.QueryEscape(tt.user), url.QueryEscape(tt.password))
		}
		a := send(t, req)
		if tt.want != "" {
			wantError(t, tt.name, a, tt.status, tt.want)
		} else if a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.status)
		}
		if a.status == 401 && a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", tt.name)
		}
	}
}

func TestClientCredentials(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	a := post(t, i.URL+"/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"confidential"}, "client_secret": {"s3cret &+%"}, "resource": {audience}, "scope": {"docs.read"},
	})
	if a.status != 200 || a.json["refresh_token"] != nil || a.json["scope"] != "docs.read" {
		t.Fatalf("got %d %s, want a token and no refresh token", a.status, a.body)
	}
	wantValid(t, i, a.json["access_token"], true)
	codeOnly := postJSON(t, i.URL+"/register", nativeClient(map[string]any{"token_endpoint_auth_method": "client_secret_post"})).json
	wantError(t, "not registered for it", post(t, i.URL+"/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {codeOnly["client_id"].(string)}, "client_secret": {codeOnly["client_secret"].(string)}, "resource": {audience},
	}), 400, "unauthorized_client")
}

func TestRefresh(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	first := login(t, i)
	i.ExpireTokens()
	wantValid(t, i, first["access_token"], false)
	a := refresh(t, i, first["refresh_token"])
	if a.status != 200 || a.json["refresh_token"] != nil || a.json["scope"] != "docs.read docs.list" {
		t.Fatalf("got %d %s, want a token of the same scope and no new refresh token", a.status, a.body)
	}
	wantValid(t, i, a.json["access_token"], true)
	if a := refresh(t, i, first["refresh_token"], "scope", "docs.read"); a.status != 200 || a.json["scope"] != "docs.read" {
		t.Errorf("narrower scope: got %d %s", a.status, a.body)
	}
	wantError(t, "wider scope", refresh(t, i, first["refresh_token"], "scope", "docs.write"), 400, "invalid_scope")
	wantError(t, "other resource", refresh(t, i, first["refresh_token"], "resource", "https://other.example"), 400, "invalid_target")
	wantError(t, "no resource", refresh(t, i, first["refresh_token"], "resource", ""), 400, "invalid_target")
	wantError(t, "other client", refresh(t, i, first["refresh_token"], "client_id", "other"), 400, "invalid_grant")
	wantError(t, "access token instead", refresh(t, i, first["access_token"]), 400, "invalid_grant")
	i.RevokeRefreshTokens()
	wantError(t, "revoked", refresh(t, i, first["refresh_token"]), 400, "invalid_grant")
	wantValid(t, i, a.json["access_token"], true)
}

func TestRefreshRotationDetectsReuse(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{RotateRefresh: true})
	first, bystander := login(t, i), login(t, i)
	second := refresh(t, i, first["refresh_token"]).json
	if second["refresh_token"] == nil || second["refresh_token"] == first["refresh_token"] {
		t.Fatalf("refresh token was not rotated: %v", second)
	}
	if got := i.RefreshReuseDetected(); got != 0 {
		t.Fatalf("reuse detected %d times, want 0", got)
	}
	wantError(t, "reuse", refresh(t, i, first["refresh_token"]), 400, "invalid_grant")
	if got := i.RefreshReuseDetected(); got != 1 {
		t.Errorf("reuse detected %d times, want 1", got)
	}
	wantError(t, "newest of the family", refresh(t, i, second["refresh_token"]), 400, "invalid_grant")
	wantValid(t, i, second["access_token"], false)
	wantValid(t, i, bystander["access_token"], true)
}

func TestTokenLifetime(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lifetime time.Duration
		want     any
	}{{"default", 0, 3600.0}, {"short", 90 * time.Second, 90.0}, {"omitted", -1, nil}} {
		i := newIssuer(t, oauthtest.IssuerOptions{TokenLifetime: tt.lifetime, NoRefresh: true})
		a := login(t, i)
		if a["expires_in"] != tt.want || a["refresh_token"] != nil {
			t.Errorf("%s: got %v, want expires_in %v and no refresh token", tt.name, a, tt.want)
		}
		wantValid(t, i, a["access_token"], true)
		i.ExpireTokens()
		wantValid(t, i, a["access_token"], false)
	}
}

func TestRevoke(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	revoke := func(token any, client string) answer {
		return post(t, i.URL+"/revoke", values(url.Values{"token_type_hint": {"refresh_token"}}, "token", token.(string), "client_id", client))
	}
	a, b := login(t, i), login(t, i)
	wantError(t, "other client", revoke(a["access_token"], "other"), 400, "unauthorized_client")
	wantError(t, "other client's refresh token", revoke(a["refresh_token"], "other"), 400, "unauthorized_client")
	wantError(t, "no token", revoke("", "public"), 400, "invalid_request")
	wantError(t, "no client", revoke(a["access_token"], ""), 401, "invalid_client")
	wantValid(t, i, a["access_token"], true)
	for _, token := range []any{a["access_token"], a["access_token"], "made-up", b["refresh_token"]} {
		if got := revoke(token, "public"); got.status != 200 {
			t.Errorf("revoke: got %d %s, want 200", got.status, got.body)
		}
	}
	wantValid(t, i, a["access_token"], false)
	if got := refresh(t, i, a["refresh_token"]); got.status != 200 {
		t.Errorf("refresh after revoking the access token: got %d, want 200", got.status)
	}
	wantValid(t, i, b["access_token"], false)
	wantError(t, "refresh after revoking the refresh token", refresh(t, i, b["refresh_token"]), 400, "invalid_grant")

	c := login(t, i)
	i.RevokeTokens()
	wantValid(t, i, c["access_token"], false)
	if got := refresh(t, i, c["refresh_token"]); got.status != 200 {
		t.Errorf("refresh after RevokeTokens: got %d, want 200", got.status)
	}
}
