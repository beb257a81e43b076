package auth

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// No error and no log line ever shows a token, a code, a verifier or a secret, however written.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t, options{})
	i, x := newWreck(w, map[string]string{"machine": "client-secret-canary"})
	var r *oauthtest.Resource
	r = w.resource(oauthtest.ResourceOptions{Issuer: i, Handle: map[string]http.HandlerFunc{"/no": func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+r.URL+prm+`"`)
		rw.WriteHeader(401)
	}}})
	w.configure(r.URL, Site{Issuer: i.URL, Headers: []Header{{"X-Api-Key", secret.New("api-key-canary")}}})
	w.clients[i.URL] = login.Credentials{ID: "machine", Secret: secret.New("client-secret-canary")}

	said := new(strings.Builder)
	secrets := map[string]string{"api-key-canary": "configured header", "client-secret-canary": "client secret"}
	get := func(path string) {
		resp, err := w.get(r.URL + path)
		if err == nil {
			resp.Body.Close()
		}
		fmt.Fprintf(said, "%v %+v %#v\n", err, err, err)
		for _, tok := range w.tokens() {
			secrets[tok.AccessToken.Reveal()], secrets[tok.RefreshToken.Reveal()] = "access token", "refresh token"
			fmt.Fprintf(said, "%v %+v %#v\n", tok, *tok, w.Transport.opts.Client(i.URL))
		}
	}
	expire := func() {
		w.change(func(tok *tokenstore.Token) { tok.Expiry = time.Now().Add(-time.Second) })
	}
	get(handbook)
	w.signIn(r.URL + handbook)
	get(handbook)
	expire()
	get(handbook) // refreshed
	get("/no")    // refused
	x.set(func(rw http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	expire()
	get(handbook)
	x.set(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	get(handbook)
	x.set(func(rw http.ResponseWriter, _ *http.Request) {
		serveJSON(rw, 400, map[string]any{"error": "invalid_grant"})
	})
	get(handbook)

	for _, e := range w.log.Events() {
		for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret"} {
			secrets[e.Form.Get(name)] = name
		}
	}
	delete(secrets, "")
	if len(secrets) < 8 {
		t.Fatalf("only %d secrets were in play", len(secrets))
	}
	text := said.String() + w.logged.String()
	for s, what := range secrets {
		for _, spelling := range spellings(s) {
			if strings.Contains(text, spelling) {
				t.Errorf("the %s shows in errors or the log as %s", what, spelling)
			}
		}
	}
}

// spellings are the ways in which a secret may stand in a text.
func spellings(s string) []string {
	all := []string{s, url.QueryEscape(s), url.PathEscape(s)}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for shift := range 3 { // base64 of a text looks different by where the secret stands in it
			b := enc.EncodeToString([]byte(strings.Repeat("x", shift) + s))
			all = append(all, b[4:len(b)-4])
		}
	}
	return all
}
