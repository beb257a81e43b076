package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// flaky is a store that cannot be written while broken.
type flaky struct {
	tokenstore.Store
	broken bool
}

func (s *flaky) Put(ctx context.Context, k tokenstore.Key, v []byte) error {
	if s.broken {
		return &tokenstore.WriteError{Path: "tokens.json", Err: errors.New("no space")}
	}
	return s.Store.Put(ctx, k, v)
}

// rotating answers each refresh with the next pair, and takes each refresh token once.
func rotating(t *testing.T, lifetime string) (*Flows, *flaky, *tokenstore.Token, *int) {
	t.Helper()
	n := new(int)
	f, store, req := at(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.PostFormValue("refresh_token"); got != fmt.Sprint("CANARY-r", *n) {
			saysJSON(400, `{"error":"invalid_grant"}`)(w, r)
			return
		}
		*n++
		saysJSON(200, fmt.Sprintf(`{"access_token":"CANARY-a%d","refresh_token":"CANARY-r%d","token_type":"Bearer","expires_in":%s}`, *n, *n, lifetime))(w, r)
	})
	s := &flaky{Store: store}
	f.opts.Store = s
	tok := &tokenstore.Token{
		Principal: "local", Resource: resource, Issuer: req.Server.Issuer, ClientID: "c", TokenEndpoint: req.Server.TokenEndpoint,
		AccessToken: secret.New("CANARY-a0"), RefreshToken: secret.New("CANARY-r0"), TokenType: "Bearer",
	}
	if err := tokenstore.PutToken(t.Context(), store, tok); err != nil {
		t.Fatal(err)
	}
	return f, s, tok, n
}

// stored is what the store holds now, which is what the next caller begins with.
func stored(t *testing.T, s tokenstore.Store, old *tokenstore.Token) *tokenstore.Token {
	t.Helper()
	tok, err := tokenstore.GetToken(t.Context(), s, old.Key())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// The spent refresh token is never sent again, and the new one is not lost.
func TestRefreshedTokenThatCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f, s, tok, asked := rotating(t, "3600")
		f.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s.broken = true
		next, err := f.Refresh(t.Context(), tok, Credentials{})
		if err != nil || next.AccessToken.Reveal() != "CANARY-a1" {
			t.Fatalf("got %v", err)
		}
		contains(t, "log", log.String(), "level=WARN", "no space")
		// The same again while the disk is full: no request.
		for range 3 {
			again, err := f.Refresh(t.Context(), stored(t, s, tok), Credentials{})
			if err != nil || again.AccessToken.Reveal() != "CANARY-a1" || *asked != 1 {
				t.Fatalf("%v after %d requests", err, *asked)
			}
		}
		// It comes to its end: the newest refresh token is used.
		time.Sleep(time.Hour - 29*time.Second)
		again, err := f.Refresh(t.Context(), stored(t, s, tok), Credentials{})
		if err != nil || again.AccessToken.Reveal() != "CANARY-a2" || *asked != 2 {
			t.Fatalf("%v after %d requests", err, *asked)
		}
		s.broken = false
		again, err = f.Refresh(t.Context(), stored(t, s, tok), Credentials{})
		if err != nil || again.AccessToken.Reveal() != "CANARY-a2" || *asked != 2 {
			t.Fatalf("%v after %d requests", err, *asked)
		}
		if now := stored(t, s, tok); now.RefreshToken.Reveal() != "CANARY-r2" {
			t.Error("what was kept is not stored")
		}
		if len(f.unsaved.tokens) != 0 {
			t.Errorf("%d tokens are kept although they are stored", len(f.unsaved.tokens))
		}
		// Nothing is kept any more: a refresh is one again.
		if again, err = f.Refresh(t.Context(), stored(t, s, tok), Credentials{}); err != nil || again.AccessToken.Reveal() != "CANARY-a3" {
			t.Errorf("got %v", err)
		}
		if leaks(log.String()) {
			t.Errorf("the log holds a token:\n%s", log.String())
		}
	})
}

// Another login, or another process, that has written since is right.
func TestKeptTokenYieldsToAnotherLogin(t *testing.T) {
	f, s, tok, asked := rotating(t, "3600")
	s.broken = true
	if _, err := f.Refresh(t.Context(), tok, Credentials{}); err != nil {
		t.Fatal(err)
	}
	s.broken = false
	other := *tok
	other.AccessToken = secret.New("other") // with the same refresh token, as a server that does not rotate gives
	if err := tokenstore.PutToken(t.Context(), s, &other); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Refresh(t.Context(), &other, Credentials{}); !IsRefused(err) || *asked != 1 {
		t.Errorf("%v: what was kept was used for another login", err)
	}
	if now := stored(t, s, tok); now.AccessToken.Reveal() != "other" {
		t.Error("the other login was overwritten")
	}
}

func TestKeptTokenThatIsRefusedIsForgotten(t *testing.T) {
	f, s, tok, asked := rotating(t, "1")
	s.broken = true
	if _, err := f.Refresh(t.Context(), tok, Credentials{}); err != nil {
		t.Fatal(err)
	}
	*asked = 7
	if _, err := f.Refresh(t.Context(), tok, Credentials{}); !IsRefused(err) || len(f.unsaved.tokens) != 0 {
		t.Errorf("%v, %d kept", err, len(f.unsaved.tokens))
	}
}

func TestKeptTokensAreBounded(t *testing.T) {
	var u unsaved
	for i := range 2 * maxUnsaved {
		tok := &tokenstore.Token{Principal: "local", Resource: fmt.Sprint("https://r.example/", i), AccessToken: secret.New("a")}
		u.keep(tok, tok)
		if u.after(tok) == nil {
			t.Fatal("the newest is not kept")
		}
	}
	if len(u.tokens) != maxUnsaved {
		t.Errorf("%d are kept", len(u.tokens))
	}
}

// What was refreshed is stored even if the caller's time is over.
func TestRefreshStoresAfterItsCallersEnd(t *testing.T) {
	f, s, tok, _ := rotating(t, "3600")
	ctx, cancel := context.WithCancel(t.Context())
	next := f.opts.Transport
	f.opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		defer cancel()
		return next.RoundTrip(r)
	})
	if _, err := f.Refresh(ctx, tok, Credentials{}); err != nil {
		t.Fatal(err)
	}
	if now := stored(t, s, tok); now.RefreshToken.Reveal() != "CANARY-r1" {
		t.Error("the new refresh token is lost")
	}
	if strings.Contains(fmt.Sprintf("%+v", f), canary) {
		t.Error("the flows print a token")
	}
}
