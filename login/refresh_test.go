package login

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestRefresh(t *testing.T) {
	for _, tc := range []struct {
		name   string
		rotate bool
	}{{"rotated", true}, {"kept", false}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{RotateRefresh: tc.rotate}, options{})
			if err := w.signIn(w.request()); err != nil {
				t.Fatal(err)
			}
			old := w.token()
			w.issuer.Log.Reset()
			next, err := w.Refresh(t.Context(), old, Credentials{})
			if err != nil {
				t.Fatal(err)
			}
			form := w.one("/token").Form
			for name, want := range map[string]string{
				"grant_type": "refresh_token", "refresh_token": old.RefreshToken.Reveal(), "resource": resource, "scope": "wiki.read wiki.list", "client_id": old.ClientID,
			} {
				if got := form[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if got := next.RefreshToken.Equal(old.RefreshToken.Reveal()); got == tc.rotate {
				t.Errorf("the refresh token is the old one: %v", got)
			}
			if next.AccessToken.Equal(old.AccessToken.Reveal()) {
				t.Error("the access token is the old one")
			}
			stored := w.token()
			if !stored.AccessToken.Equal(next.AccessToken.Reveal()) || !stored.RefreshToken.Equal(next.RefreshToken.Reveal()) || !stored.Expiry.Equal(next.Expiry) {
				t.Error("what is returned is not what is stored")
			}
			if stored.ClientID != old.ClientID || stored.TokenEndpoint != old.TokenEndpoint || stored.ObtainedAt.Before(old.ObtainedAt) {
				t.Errorf("stored %+v", stored)
			}
			// It works a second time, with what is stored now.
			if _, err := w.Refresh(t.Context(), stored, Credentials{}); err != nil || w.issuer.RefreshReuseDetected() != 0 {
				t.Errorf("again: %v, %d reuses", err, w.issuer.RefreshReuseDetected())
			}
		})
	}
}

// A refresh token goes to the endpoint it came from, with the client it was issued to.
func TestRefreshIsPinned(t *testing.T) {
	token := func() *tokenstore.Token {
		return &tokenstore.Token{
			Principal: "local", Resource: resource, Issuer: "https://login.example", ClientID: "mine", TokenEndpoint: "https://pinned.example/token",
			RefreshToken: secret.New("refresh"), AccessToken: secret.New("old"), Expiry: time.Now().Add(-time.Hour),
		}
	}
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
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			f, store, _ := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				if got := "https://" + r.Host + r.URL.Path; got != "https://pinned.example/token" {
					t.Errorf("sent to %s", got)
				}
				if r.PostFormValue("client_id") != "mine" || r.PostFormValue("client_secret") != tc.secret || r.Header.Get("Authorization") != "" {
					t.Errorf("form %v", r.PostForm)
				}
				saysJSON(200, `{"access_token":"new","token_type":"Bearer"}`)(w, r)
			})
			if tc.registered != nil {
				tc.registered.Principal, tc.registered.Issuer = "local", "https://login.example"
				if err := tokenstore.PutClient(t.Context(), store, tc.registered); err != nil {
					t.Fatal(err)
				}
			}
			next, err := f.Refresh(t.Context(), token(), tc.configured)
			if err != nil || asked != 1 {
				t.Fatalf("%v, %d requests", err, asked)
			}
			// An answer without expires_in takes the old end away.
			if !next.Expiry.IsZero() || next.RefreshToken.Reveal() != "refresh" {
				t.Errorf("got %+v", next)
			}
		})
	}
}

func TestFailedRefreshKeepsTheToken(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	old := w.token()
	w.issuer.RevokeRefreshTokens()
	if _, err := w.Refresh(t.Context(), old, Credentials{}); !IsRefused(err) {
		t.Errorf("error %v", err)
	}
	if now := w.token(); !now.RefreshToken.Equal(old.RefreshToken.Reveal()) {
		t.Error("the stored token changed")
	}
}

func TestIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want bool
	}{
		{"none", nil, false},
		{"invalid_grant", &TokenError{Status: 400, ErrorCode: "invalid_grant"}, true},
		{"invalid_client", &TokenError{Status: 401, ErrorCode: "invalid_client"}, true},
		{"unauthorized_client", &TokenError{Status: 400, ErrorCode: "unauthorized_client"}, true},
		{"wrapped", fmt.Errorf("refreshing: %w", &TokenError{ErrorCode: "invalid_grant"}), true},
		{"in another case", &TokenError{ErrorCode: "INVALID_GRANT"}, false},
		{"invalid_request", &TokenError{ErrorCode: "invalid_request"}, false},
		{"invalid_scope", &TokenError{ErrorCode: "invalid_scope"}, false},
		{"temporarily_unavailable", &TokenError{ErrorCode: "temporarily_unavailable"}, false},
		{"server failed", &TokenError{Status: 503, Reason: "the server failed"}, false},
		{"network", errors.New("connection refused"), false},
		{"denied", action.ErrDenied, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IsRefused(tc.err); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
