package login

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestRevoke(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	tok := w.token()
	if tok.RevocationEndpoint != w.issuer.URL+"/revoke" {
		t.Fatalf("the revocation endpoint is %q", tok.RevocationEndpoint)
	}
	if err := w.Revoke(t.Context(), tok, Credentials{}); err != nil {
		t.Fatal(err)
	}
	var got []url.Values
	for _, e := range w.received("/revoke") {
		got = append(got, e.Form)
		if e.Method != http.MethodPost || e.RawQuery != "" || e.Header.Get("Authorization") != "" || e.Header.Get("DPoP") != "" {
			t.Errorf("%s %s?%s %v", e.Method, e.Path, e.RawQuery, e.Header)
		}
	}
	want := []url.Values{
		{"token": {tok.RefreshToken.Reveal()}, "token_type_hint": {"refresh_token"}, "client_id": {tok.ClientID}},
		{"token": {tok.AccessToken.Reveal()}, "token_type_hint": {"access_token"}, "client_id": {tok.ClientID}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ok, _ := w.issuer.Valid(tok.AccessToken.Reveal(), resource, nil); ok {
		t.Error("the access token still works")
	}
	if _, err := w.Refresh(t.Context(), tok, Credentials{}); !IsRefused(err) {
		t.Errorf("the refresh token: %v", err)
	}
}

// The token goes to the endpoint it is pinned to, with the client it was issued to.
func TestRevokeIsPinned(t *testing.T) {
	for _, tc := range []struct {
		name       string
		configured Credentials
		registered *tokenstore.Client
		secret     string // sent
	}{
		{"public", Credentials{}, nil, ""},
		{"configured", Credentials{ID: "mine", Secret: secret.New("s"), AuthMethod: "client_secret_post"}, nil, "s"},
		{"another one configured meanwhile", Credentials{ID: "other", Secret: secret.New("s"), AuthMethod: "client_secret_post"}, nil, ""},
		{"registered", Credentials{}, &tokenstore.Client{ClientID: "mine", ClientSecret: secret.New("r"), AuthMethod: "client_secret_post"}, "r"},
		{"another one registered meanwhile", Credentials{}, &tokenstore.Client{ClientID: "other", ClientSecret: secret.New("r"), AuthMethod: "client_secret_post"}, ""},
		{"both", Credentials{ID: "mine", Secret: secret.New("s"), AuthMethod: "client_secret_post"},
			&tokenstore.Client{ClientID: "mine", ClientSecret: secret.New("r"), AuthMethod: "client_secret_post"}, "s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			f, store, _ := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				if got := "https://" + r.Host + r.URL.Path; got != "https://pinned.example/revoke" {
					t.Errorf("sent to %s", got)
				}
				if r.PostFormValue("client_id") != "mine" || r.PostFormValue("client_secret") != tc.secret || r.Header.Get("Authorization") != "" {
					t.Errorf("form %v", r.PostForm)
				}
				if p := principal.From(r.Context()); p != "alice" {
					t.Errorf("sent for %q", p)
				}
			})
			tok := revocable()
			if tc.registered != nil {
				tc.registered.Principal, tc.registered.Issuer = tok.Principal, tok.Issuer
				if err := tokenstore.PutClient(t.Context(), store, tc.registered); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Revoke(t.Context(), tok, tc.configured); err != nil || asked != 2 {
				t.Errorf("%v, %d requests", err, asked)
			}
		})
	}
}

// The client authenticates as it does at the token endpoint; its assertion is for the issuer.
func TestRevokeWithAssertion(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, oauthtest.IssuerOptions{ClientKeys: map[string]crypto.PublicKey{"mine": key.Public()}}, options{})
	req := w.request()
	req.Client = Credentials{ID: "mine", AuthMethod: "private_key_jwt", Key: &SigningKey{Signer: key}}
	tok, err := robotToken(t, w.Flows, req)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), tok, Credentials{}); err == nil {
		t.Error("revoked without its client")
	}
	w.issuer.Log.Reset()
	if err := w.Revoke(t.Context(), tok, req.Client); err != nil {
		t.Fatal(err)
	}
	if form := w.one("/revoke").Form; form.Get("client_assertion") == "" || form.Get("token") != tok.AccessToken.Reveal() {
		t.Errorf("form %v", form)
	}
	if ok, _ := w.issuer.Valid(tok.AccessToken.Reveal(), resource, nil); ok {
		t.Error("the access token still works")
	}
}

func revocable() *tokenstore.Token {
	return &tokenstore.Token{
		Principal: "alice", Resource: resource, Issuer: "https://login.example", ClientID: "mine", TokenEndpoint: "https://pinned.example/token",
		RevocationEndpoint: "https://pinned.example/revoke", RefreshToken: secret.New("CANARY-refresh"), AccessToken: secret.New("CANARY-access"),
	}
}

func TestRevocationAnswers(t *testing.T) {
	const access, refresh = "access_token", "refresh_token"
	ok := says(200, "", "")
	for _, tc := range []struct {
		name    string
		change  func(*tokenstore.Token)
		answers map[string]http.HandlerFunc // by token_type_hint
		asked   []string
		text    string // of the error, "": none
		none    bool   // the error is ErrNoRevocation
	}{
		{"both", nil, map[string]http.HandlerFunc{refresh: ok, access: ok}, []string{refresh, access}, "", false},
		{"a success with content", nil, map[string]http.HandlerFunc{refresh: saysJSON(200, `{"ok":true}`), access: says(200, "text/html", "<p>done")}, []string{refresh, access}, "", false},
		{"a success without", nil, map[string]http.HandlerFunc{refresh: says(204, "", ""), access: says(204, "", "")}, []string{refresh, access}, "", false},
		{"a success that is none", nil, map[string]http.HandlerFunc{refresh: saysJSON(200, `{"error":"invalid_client"}`), access: ok}, []string{refresh, access}, "refresh token was not revoked", false},
		{"no refresh token", func(t *tokenstore.Token) { t.RefreshToken = secret.Text{} }, map[string]http.HandlerFunc{access: ok}, []string{access}, "", false},
		{"no access token", func(t *tokenstore.Token) { t.AccessToken = secret.Text{} }, map[string]http.HandlerFunc{refresh: ok}, []string{refresh}, "", false},
		{"no endpoint", func(t *tokenstore.Token) { t.RevocationEndpoint = "" }, nil, nil, "offers no revocation", true},
		{"access tokens cannot be revoked", nil, map[string]http.HandlerFunc{refresh: ok, access: saysJSON(400, `{"error":"unsupported_token_type"}`)}, []string{refresh, access}, "", false},
		{"refresh tokens cannot be revoked", nil, map[string]http.HandlerFunc{refresh: saysJSON(400, `{"error":"unsupported_token_type"}`), access: ok}, []string{refresh, access}, "refresh token was not revoked", false},
		{"the client is unknown", nil, map[string]http.HandlerFunc{refresh: saysJSON(401, `{"error":"invalid_client"}`), access: saysJSON(401, `{"error":"invalid_client"}`)}, []string{refresh, access}, "refresh token was not revoked", false},
		{"access token refused", nil, map[string]http.HandlerFunc{refresh: ok, access: saysJSON(400, `{"error":"invalid_request"}`)}, []string{refresh, access}, "access token was not revoked", false},
		{"unavailable", nil, map[string]http.HandlerFunc{refresh: says(503, "text/plain", "later"), access: says(503, "text/plain", "later")}, []string{refresh, access}, "refresh token was not revoked: https://pinned.example answered 503", false},
		{"unavailable for the second", nil, map[string]http.HandlerFunc{refresh: ok, access: says(503, "", "")}, []string{refresh, access}, "access token was not revoked", false},
		{"a redirect", nil, map[string]http.HandlerFunc{refresh: redirects, access: redirects}, []string{refresh, access}, "redirects", false},
		{"HTML", nil, map[string]http.HandlerFunc{refresh: says(404, "text/html", "<h1>no"), access: ok}, []string{refresh, access}, "answered 404", false},
		{"an echo", nil, map[string]http.HandlerFunc{refresh: echoes, access: echoes}, []string{refresh, access}, "invalid_request", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []string
			f, _, _ := at(t, func(w http.ResponseWriter, r *http.Request) {
				hint := r.PostFormValue("token_type_hint")
				asked = append(asked, hint)
				if r.URL.Path != "/revoke" || !strings.HasPrefix(r.PostFormValue("token"), "CANARY-"+strings.TrimSuffix(hint, "_token")) {
					t.Errorf("%s with %v", r.URL, r.PostForm)
				}
				tc.answers[hint](w, r)
			})
			tok := revocable()
			if tc.change != nil {
				tc.change(tok)
			}
			err := f.Revoke(t.Context(), tok, Credentials{ID: "mine", Secret: secret.New("CANARY-secret")})
			if diff := cmp.Diff(tc.asked, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if (err == nil) != (tc.text == "") || tc.none != errors.Is(err, ErrNoRevocation) {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				contains(t, "error", err.Error(), tc.text)
				if strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %q", err)
				}
			}
		})
	}
}

func redirects(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
}

// echoes shows what it was sent.
func echoes(w http.ResponseWriter, r *http.Request) {
	saysJSON(400, `{"error":"invalid_request","error_description":"token `+r.PostFormValue("token")+` is unknown"}`)(w, r)
}

// A server that cannot be reached, or does not answer, holds a logout up for ten seconds and no more.
func TestRevocationWithoutAnswer(t *testing.T) {
	broken := errors.New("connection refused")
	for _, tc := range []struct {
		name   string
		answer func(context.Context) error
		after  time.Duration
		asked  int
	}{
		{"refused", func(context.Context) error { return broken }, 0, 1},
		{"silent", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 10 * time.Second, 1},
		{"slow, twice", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(9 * time.Second):
				return nil
			}
		}, 10 * time.Second, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				f, _, _ := atTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
					asked++
					if err := tc.answer(r.Context()); err != nil {
						return nil, err
					}
					return inProcess(says(200, "", "")).RoundTrip(r)
				}))
				start := time.Now()
				err := f.Revoke(t.Context(), revocable(), Credentials{})
				if err == nil || !strings.Contains(err.Error(), "was not revoked") {
					t.Errorf("got %v", err)
				}
				if got := time.Since(start); got != tc.after || asked != tc.asked {
					t.Errorf("after %v and %d requests, want %v and %d", got, asked, tc.after, tc.asked)
				}
			})
		})
	}
}
