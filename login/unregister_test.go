package login

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestUnregister(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{Management: true, Path: "/tenant1"}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	reg := w.registration()
	path := "/tenant1/register/" + reg.ClientID
	if reg.RegistrationClientURI != w.issuer.URL[:len(w.issuer.URL)-len("/tenant1")]+path {
		t.Fatalf("stored %s", reg.RegistrationClientURI)
	}
	if err := w.Unregister(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	e := w.one(path)
	if e.Method != http.MethodDelete || e.Header.Get("Authorization") != "Bearer "+reg.RegistrationAccessToken.Reveal() || len(e.Body) != 0 || e.RawQuery != "" {
		t.Errorf("%s %s?%s %v %q", e.Method, e.Path, e.RawQuery, e.Header, e.Body)
	}
	if _, err := w.Refresh(t.Context(), w.token(), Credentials{}); !IsRefused(err) {
		t.Errorf("the client still works: %v", err)
	}
	if err := w.Unregister(t.Context(), reg); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("a second time: %v", err)
	}
}

// A server that does not offer management leaves nothing to delete with.
func TestUnregisterIsNotOffered(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	w.issuer.Log.Reset()
	if err := w.Unregister(t.Context(), w.registration()); !errors.Is(err, ErrNoManagement) {
		t.Errorf("got %v", err)
	}
	if n := len(w.issuer.Log.Events()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// A server that names another's address as its own gets nothing sent there, by a logout or else.
func TestUnregisterElsewhere(t *testing.T) {
	other, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	w := newWorld(t, oauthtest.IssuerOptions{Management: true, EditReply: func(path string, reply map[string]any) {
		if strings.HasSuffix(path, "/register") {
			reply["registration_client_uri"] = other.URL + "/anything"
		}
	}}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	reg := w.registration()
	if !reg.RegistrationAccessToken.IsZero() || reg.RegistrationClientURI != "" {
		t.Errorf("stored %+v", reg)
	}
	if err := w.Unregister(t.Context(), reg); !errors.Is(err, ErrNoManagement) {
		t.Errorf("got %v", err)
	}
	if n := len(other.Log.Events()); n != 0 {
		t.Errorf("%d requests elsewhere", n)
	}
}

func TestUnregisterAnswers(t *testing.T) {
	const uri = "https://login.example/r/1?a=b"
	for _, tc := range []struct {
		name       string
		uri, token string
		answer     http.HandlerFunc // nil: must not be asked
		want       error            // nil: as text says
		text       string
	}{
		{"gone", uri, "r", says(204, "", ""), nil, ""},
		{"gone, with content", uri, "r", saysJSON(200, `{}`), nil, ""},
		{"not known", uri, "r", says(401, "", ""), ErrNotRegistered, ""},
		{"not found", uri, "r", says(404, "text/html", "<h1>"), ErrNotRegistered, ""},
		{"gone before", uri, "r", says(410, "", ""), ErrNotRegistered, ""},
		{"not offered", uri, "r", says(405, "", ""), ErrNoManagement, ""},
		{"not implemented", uri, "r", says(501, "", ""), ErrNoManagement, ""},
		{"forbidden", uri, "r", says(403, "", ""), nil, "answered 403: the registration was not removed"},
		{"failed", uri, "r", says(503, "", ""), nil, "answered 503: the registration was not removed"},
		{"a redirect", uri, "r", redirects, nil, "answered 307: the registration was not removed"},
		{"no token", uri, "", nil, ErrNoManagement, ""},
		{"no address", "", "r", nil, ErrNoManagement, ""},
		{"plain http", "http://login.example/r/1", "r", nil, ErrNoManagement, ""},
		{"user name", "https://login.example@evil.example/r", "r", nil, ErrNoManagement, ""},
		{"no URL", "%zz", "r", nil, ErrNoManagement, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			f, _, _ := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				p := principal.From(r.Context())
				if got := "https://" + r.Host + r.URL.RequestURI(); got != uri || r.Method != http.MethodDelete || r.Header.Get("Authorization") != "Bearer r" || p != "alice" {
					t.Errorf("%s %s %v for %q", r.Method, got, r.Header, p)
				}
				if tc.answer != nil {
					tc.answer(w, r)
				}
			})
			err := f.Unregister(t.Context(), &tokenstore.Client{
				Principal: "alice", Issuer: "https://login.example", ClientID: "c", RegistrationClientURI: tc.uri, RegistrationAccessToken: secret.New(tc.token),
			})
			if (asked == 1) != (tc.answer != nil) || asked > 1 {
				t.Errorf("asked %d times", asked)
			}
			switch {
			case tc.text != "":
				if err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("got %v", err)
				}
			case !errors.Is(err, tc.want):
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestUnregisterWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := atTransport(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}))
		start := time.Now()
		err := f.Unregister(t.Context(), &tokenstore.Client{Principal: "alice", RegistrationClientURI: "https://login.example/r", RegistrationAccessToken: secret.New("r")})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "was not removed") {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("after %v", got)
		}
	})
}
