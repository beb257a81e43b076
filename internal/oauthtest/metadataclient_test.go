package oauthtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestMetadataClients(t *testing.T) {
	var site *httptest.Server
	site = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := object{
			"client_id": site.URL + r.URL.Path, "client_name": "Tool", "redirect_uris": []string{"http://127.0.0.1/callback"},
			"grant_types": []string{"authorization_code", "refresh_token"}, "token_endpoint_auth_method": "none",
		}
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/client.json", http.StatusFound)
			return
		case "/missing":
			http.NotFound(w, r)
			return
		case "/page":
			w.Header().Set("Content-Type", "text/html")
		case "/impostor":
			m["client_id"] = site.URL + "/client.json"
		case "/slash":
			m["client_id"] = site.URL + "/slash/"
		case "/secret":
			m["client_secret"] = "x"
		case "/basic":
			m["token_endpoint_auth_method"] = "client_secret_basic"
		case "/elsewhere":
			m["redirect_uris"] = []string{"http://127.0.0.1/other"}
		case "/none":
			delete(m, "redirect_uris")
		}
		json.NewEncoder(w).Encode(m)
	}))
	defer site.Close()
	i := newIssuer(t, oauthtest.IssuerOptions{MetadataClients: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	off := newIssuer(t, oauthtest.IssuerOptions{})
	for issuer, want := range map[*oauthtest.Issuer]any{i: true, off: nil} {
		if got := get(t, issuer.URL+rfc8414).json["client_id_metadata_document_supported"]; got != want {
			t.Errorf("announced %v, want %v", got, want)
		}
	}
	for _, tt := range []struct{ name, id, why string }{
		{"right", site.URL + "/client.json", ""},
		{"redirects", site.URL + "/redirect", "status 302"},
		{"missing", site.URL + "/missing", "status 404"},
		{"a page", site.URL + "/page", "text/html"},
		{"another client's", site.URL + "/impostor", "client_id in it"},
		{"one slash more", site.URL + "/slash", "client_id in it"},
		{"with a secret", site.URL + "/secret", "token_endpoint_auth_method"},
		{"wants a secret", site.URL + "/basic", "token_endpoint_auth_method"},
		{"redirects elsewhere", site.URL + "/elsewhere", "redirect_uri"},
		{"redirects nowhere", site.URL + "/none", "redirect_uris"},
		{"no path", site.URL + "/", "path"},
		{"no path at all", site.URL, "path"},
		{"dot segments", site.URL + "/x/../client.json", "path"},
		{"fragment", site.URL + "/client.json#x", "path"},
		{"user", strings.Replace(site.URL, "http://", "http://u@", 1) + "/client.json", "path"},
		{"another scheme", "ftp://127.0.0.1/client.json", "unknown"},
	} {
		a := get(t, i.URL+"/authorize?"+authorizeQuery("v", "client_id", tt.id).Encode())
		if want := map[bool]int{true: 200, false: 400}[tt.why == ""]; a.status != want || a.header.Get("Location") != "" {
			t.Errorf("%s: got %d, want %d: %s", tt.name, a.status, want, a.body)
		}
		if note := lastNote(i.Log); tt.why != "" && !strings.Contains(note, tt.why) {
			t.Errorf("%s: note %q does not say %q", tt.name, note, tt.why)
		}
	}
	id := site.URL + "/client.json"
	code, verifier := newCode(t, i, "client_id", id, "redirect_uri", redirectURI) // any port
	a := post(t, i.URL+"/token", tokenForm(code, verifier, "client_id", id))
	if a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if a := refresh(t, i, a.json["refresh_token"], "client_id", id); a.status != 200 {
		t.Errorf("refresh: got %d %s", a.status, a.body)
	}
	if a := get(t, off.URL+"/authorize?"+authorizeQuery("v", "client_id", id).Encode()); a.status != 400 {
		t.Errorf("off: got %d", a.status)
	}
}
