package oauthtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

const prm = "/.well-known/oauth-protected-resource"

// tokenFor obtains a token through the code flow.
func tokenFor(t *testing.T, i *oauthtest.Issuer, resource, scope string) string {
	t.Helper()
	code, verifier := newCode(t, i, "resource", resource, "scope", scope)
	return post(t, i.URL+"/token", tokenForm(code, verifier, "resource", resource)).json["access_token"].(string)
}

func TestResourceDemandsAToken(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	r := newResource(t, oauthtest.ResourceOptions{Issuer: i, Scopes: []string{"docs.read", "docs.list"}, Public: []string{"/public"},
		Pages: map[string]oauthtest.Page{"/docs": {Body: []byte("secret page")}, "/public/a": {Body: []byte("open page")}}})
	if d := cmp.Diff([]any{"docs.read", "docs.list"}, get(t, r.URL+prm).json["scopes_supported"]); d != "" {
		t.Error(d)
	}
	good := tokenFor(t, i, r.URL, "docs.list docs.read docs.more")
	gone := tokenFor(t, i, r.URL, "docs.list docs.read")
	post(t, i.URL+"/revoke", map[string][]string{"token": {gone}, "client_id": {"public"}})
	metadata := `, scope="docs.read docs.list", resource_metadata="` + r.URL + prm + `"`
	failed := func(code, why string) string {
		return `Bearer realm="docs", error="` + code + `", error_description="` + why + `"` + metadata
	}
	for _, tt := range []struct {
		name, path string
		header     []string
		status     int
		challenge  string
	}{
		{"public", "/public/a", nil, 200, ""},
		{"no token", "/docs", nil, 401, `Bearer realm="docs"` + metadata},
		{"no such page, no token", "/nothing", nil, 401, `Bearer realm="docs"` + metadata},
		{"good token", "/docs", []string{"Authorization", "Bearer " + good}, 200, ""},
		{"scheme in other case", "/docs", []string{"Authorization", "bearer " + good}, 200, ""},
		{"no such page", "/nothing", []string{"Authorization", "Bearer " + good}, 404, ""},
		{"other scheme", "/docs", []string{"Authorization", "Basic " + good}, 401, `Bearer realm="docs"` + metadata},
		{"made-up token", "/docs", []string{"Authorization", "Bearer x"}, 401, failed("invalid_token", "the token is unknown or revoked")},
		{"revoked token", "/docs", []string{"Authorization", "Bearer " + gone}, 401, failed("invalid_token", "the token is unknown or revoked")},
		{"wrong audience", "/docs", []string{"Authorization", "Bearer " + tokenFor(t, i, "https://other.example", "docs.read docs.list")}, 401, failed("invalid_token", "the token is for another resource")},
		{"audience with a slash", "/docs", []string{"Authorization", "Bearer " + tokenFor(t, i, r.URL+"/", "docs.read docs.list")}, 401, failed("invalid_token", "the token is for another resource")},
		{"scope missing", "/docs", []string{"Authorization", "Bearer " + tokenFor(t, i, r.URL, "docs.read")}, 403, failed("insufficient_scope", "the token lacks a scope")},
		{"two headers", "/docs", []string{"Authorization", "Bearer " + good, "Authorization", "Bearer x"}, 400, failed("invalid_request", "one token, in one header, and not in the URL")},
		{"token in the URL", "/docs?access_token=" + good, nil, 400, failed("invalid_request", "one token, in one header, and not in the URL")},
	} {
		a := get(t, r.URL+tt.path, tt.header...)
		if got := strings.Join(a.header.Values("WWW-Authenticate"), "|"); a.status != tt.status || got != tt.challenge {
			t.Errorf("%s: got %d %s, want %d %s", tt.name, a.status, got, tt.status, tt.challenge)
		}
		if strings.Contains(a.body, "secret page") != (tt.status == 200 && tt.path == "/docs") {
			t.Errorf("%s: body %q", tt.name, a.body)
		}
	}
	i.ExpireTokens()
	if a := bearer(t, r.URL+"/docs", good); a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), "the token has expired") {
		t.Errorf("expired: got %d %v", a.status, a.header)
	}
}

func TestResourceMetadataPlaces(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	for _, tt := range []struct {
		name     string
		options  oauthtest.ResourceOptions
		header   string            // resource_metadata after the base URL
		found    map[string]string // well-known suffix to resource after the base URL
		notFound []string
	}{
		{"header", oauthtest.ResourceOptions{}, prm, map[string]string{"": ""}, []string{"/docs/handbook"}},
		{"path", oauthtest.ResourceOptions{Metadata: "path"}, "", map[string]string{"/docs/handbook": "/docs/handbook"}, []string{"", "/docs"}},
		{"root", oauthtest.ResourceOptions{Metadata: "root"}, "", map[string]string{"": ""}, []string{"/docs/handbook"}},
		{"none", oauthtest.ResourceOptions{Metadata: "none"}, "", nil, []string{"", "/docs/handbook"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Issuer = i
			r := newResource(t, tt.options)
			challenge := get(t, r.URL+"/docs/handbook").header.Get("WWW-Authenticate")
			want := `Bearer realm="docs"`
			if tt.header != "" {
				want += `, resource_metadata="` + r.URL + tt.header + `"`
			}
			if challenge != want {
				t.Errorf("challenge: got %s, want %s", challenge, want)
			}
			for suffix, resource := range tt.found {
				a := get(t, r.URL+prm+suffix)
				if a.json["resource"] != r.URL+resource {
					t.Errorf("%s: resource is %v, want %s", suffix, a.json["resource"], r.URL+resource)
				}
				if d := cmp.Diff([]any{i.URL}, a.json["authorization_servers"]); d != "" {
					t.Error(d)
				}
				if got := bearer(t, r.URL+"/docs/handbook", tokenFor(t, i, r.URL+resource, "")); got.status != 200 {
					t.Errorf("token for %s: got %d, want 200", r.URL+resource, got.status)
				}
			}
			for _, suffix := range tt.notFound {
				if a := get(t, r.URL+prm+suffix); a.status != 404 {
					t.Errorf("%s: got %d, want 404", suffix, a.status)
				}
			}
		})
	}
}

func TestResourceIdentifierWithPath(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	const id = "https://docs.example/manual"
	for _, mode := range []string{"header", "path"} {
		r := newResource(t, oauthtest.ResourceOptions{Issuer: i, ResourceID: id, Metadata: mode})
		if a := get(t, r.URL+prm+"/manual"); a.json["resource"] != id {
			t.Errorf("%s: resource is %v, want %s", mode, a.json["resource"], id)
		}
		if a := get(t, r.URL+prm); a.status != 404 {
			t.Errorf("%s: root: got %d, want 404", mode, a.status)
		}
		named := strings.Contains(get(t, r.URL+"/").header.Get("WWW-Authenticate"), `resource_metadata="`+r.URL+prm+`/manual"`)
		if named != (mode == "header") {
			t.Errorf("%s: challenge names the metadata: %v", mode, named)
		}
		if a := bearer(t, r.URL+"/", tokenFor(t, i, id, "")); a.status != 200 {
			t.Errorf("%s: got %d, want 200", mode, a.status)
		}
		if a := bearer(t, r.URL+"/", tokenFor(t, i, r.URL, "")); a.status != 401 {
			t.Errorf("%s: token for the origin: got %d, want 401", mode, a.status)
		}
	}
}

func TestResourceMisbehaves(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	lines := []string{"Negotiate YWJj==", `Basic realm="x", Bearer scope="a"`}
	var r *oauthtest.Resource
	r = newResource(t, oauthtest.ResourceOptions{
		Issuer: i, ChallengeStatus: http.StatusFound, Challenge: func(*http.Request) []string { return lines },
		EditMetadata: func(m map[string]any) { m["resource"] = "https://other.example" },
		Handle: map[string]http.HandlerFunc{
			"/odd": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
			"/mcp": func(w http.ResponseWriter, req *http.Request) {
				r.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })).ServeHTTP(w, req)
			},
		},
	})
	a := get(t, r.URL+"/docs/handbook")
	if d := cmp.Diff(lines, a.header.Values("WWW-Authenticate")); d != "" || a.status != 302 || a.header.Get("Location") != r.URL+"/sign-in" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	if a := get(t, r.URL+"/sign-in"); a.status != 200 || !strings.Contains(a.body, "not the page that was asked for") {
		t.Errorf("sign-in page: got %d %s", a.status, a.body)
	}
	if got := get(t, r.URL+prm).json["resource"]; got != "https://other.example" {
		t.Errorf("edited resource: got %v", got)
	}
	if a := get(t, r.URL+"/odd"); a.status != http.StatusTeapot {
		t.Errorf("handler: got %d", a.status)
	}
	if a := post(t, r.URL+"/mcp", nil); a.status != 302 {
		t.Errorf("protected handler, no token: got %d, want 302", a.status)
	}
	if a := post(t, r.URL+"/mcp", nil, "Authorization", "Bearer "+tokenFor(t, i, r.URL, "")); a.status != http.StatusAccepted {
		t.Errorf("protected handler, token: got %d, want 202", a.status)
	}
}

func TestResourceWithoutIssuerIsOpen(t *testing.T) {
	r := newResource(t, oauthtest.ResourceOptions{})
	for path, want := range map[string]string{"/": "Harbour documentation", "/docs/handbook": "cranectl restart --wait ready"} {
		if a := get(t, r.URL+path); a.status != 200 || !strings.Contains(a.body, want) || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	if a := get(t, r.URL+prm); a.status != 404 {
		t.Errorf("metadata: got %d, want 404", a.status)
	}
	w := httptest.NewRecorder()
	r.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusAccepted {
		t.Errorf("Protect: got %d, want 202", w.Code)
	}
	own := newResource(t, oauthtest.ResourceOptions{Pages: map[string]oauthtest.Page{
		"/gone": {ContentType: "text/plain", Body: []byte("moved"), Status: 302, Header: http.Header{"location": {"/new"}}},
	}})
	if a := get(t, own.URL+"/gone"); a.status != 302 || a.header.Get("Location") != "/new" || a.header.Get("Content-Type") != "text/plain" || a.body != "moved" {
		t.Errorf("own page: got %d %v %q", a.status, a.header, a.body)
	}
}
