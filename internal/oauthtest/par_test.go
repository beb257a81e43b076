package oauthtest_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestPushedRequests(t *testing.T) {
	for _, mode := range []string{"", "offered", "required"} {
		i := newIssuer(t, oauthtest.IssuerOptions{PAR: mode})
		m := get(t, i.URL+rfc8414).json
		if announced := m["pushed_authorization_request_endpoint"] != nil; announced != (mode != "") || m["require_pushed_authorization_requests"] == true != (mode == "required") {
			t.Errorf("%q: metadata %v", mode, m)
		}
		a := get(t, i.URL+"/authorize?"+authorizeQuery("v").Encode())
		if mode != "required" {
			if a.status != 200 {
				t.Errorf("%q: plain request: got %d", mode, a.status)
			}
		} else if q := redirected(t, a); q.Get("error") != "invalid_request" || q.Get("state") != "st-1" {
			t.Errorf("%q: plain request: got %v", mode, q)
		}
		if a := post(t, i.URL+"/par", authorizeQuery("v")); a.status != map[string]int{"": 404, "offered": 201, "required": 201}[mode] {
			t.Errorf("%q: push: got %d", mode, a.status)
		}
	}
	if i, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{PAR: "sometimes"}); err == nil {
		i.Close()
		t.Error("unknown PAR was accepted")
	}
}

func TestPushedRequestIsUsedOnce(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{PAR: "required"})
	verifier := strings.Repeat("v", 43)
	push := func() url.Values {
		a := post(t, i.URL+"/par", authorizeQuery(verifier))
		uri, _ := a.json["request_uri"].(string)
		if a.status != 201 || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || a.json["expires_in"] != 60.0 || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		return url.Values{"client_id": {"public"}, "request_uri": {uri}}
	}
	used := push()
	q := decide(t, i, used, "approve")
	if a := post(t, i.URL+"/token", tokenForm(q.Get("code"), verifier)); a.status != 200 || q.Get("state") != "st-1" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	expired := push()
	i.ExpirePushedRequests()
	for _, tt := range []struct {
		name  string
		query url.Values
	}{
		{"used", used},
		{"expired", expired},
		{"of another client", values(push(), "client_id", "other")},
		{"without client", values(push(), "client_id", "")},
		{"with a parameter beside it", values(push(), "scope", "all")},
		{"with the redirect beside it", values(push(), "redirect_uri", redirectURI)},
		{"made up", values(push(), "request_uri", "urn:ietf:params:oauth:request_uri:x")},
	} {
		if a := get(t, i.URL+"/authorize?"+tt.query.Encode()); a.status != 400 || a.header.Get("Location") != "" {
			t.Errorf("%s: got %d to %q", tt.name, a.status, a.header.Get("Location"))
		}
		if note := lastNote(i.Log); !strings.HasPrefix(note, "refused without redirect") {
			t.Errorf("%s: note %q", tt.name, note)
		}
	}
}

func TestPushIsRefused(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{PAR: "offered"})
	for _, tt := range []struct {
		name    string
		changes []string
		status  int
		want    string
	}{
		{"unknown client", []string{"client_id", "nobody"}, 401, "invalid_client"},
		{"no secret", []string{"client_id", "confidential"}, 401, "invalid_client"},
		{"wrong secret", []string{"client_id", "confidential", "client_secret", "x"}, 401, "invalid_client"},
		{"redirect elsewhere", []string{"redirect_uri", "https://evil.example/"}, 400, "invalid_request"},
		{"no redirect", []string{"redirect_uri", ""}, 400, "invalid_request"},
		{"request_uri", []string{"request_uri", "urn:x"}, 400, "invalid_request"},
		{"no challenge", []string{"code_challenge", ""}, 400, "invalid_request"},
		{"no resource", []string{"resource", ""}, 400, "invalid_target"},
		{"implicit", []string{"response_type", "token"}, 400, "unsupported_response_type"},
	} {
		wantError(t, tt.name, post(t, i.URL+"/par", authorizeQuery("v", tt.changes...)), tt.status, tt.want)
	}
	secret := "Basic Y29uZmlkZW50aWFsOnMzY3JldCslMjYlMkIlMjU=" // confidential:s3cret+%26%2B%25
	wantError(t, "no client_id beside Basic", post(t, i.URL+"/par", authorizeQuery("v", "client_id", ""), "Authorization", secret), 400, "invalid_request")
	if a := post(t, i.URL+"/par", authorizeQuery("v", "client_id", "confidential"), "Authorization", secret); a.status != 201 {
		t.Errorf("Basic: got %d %s", a.status, a.body)
	}
	if a := get(t, i.URL+"/par"); a.status != 405 {
		t.Errorf("GET: got %d", a.status)
	}
}
