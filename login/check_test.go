package login

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestPKCEMustBeAnnounced(t *testing.T) {
	for _, tc := range []struct {
		name, setting string
		announced     []string
		ok            bool
	}{
		{"announced", "", []string{"S256"}, true},
		{"announced with others", "", []string{"plain", "S256"}, true},
		{"nothing announced", "", nil, false},
		{"empty list", "", []string{}, false},
		{"plain only", "", []string{"plain"}, false},
		{"another case", "", []string{"s256"}, false},
		{"nothing announced, said so", "advertised", nil, false},
		{"nothing announced, overridden", "unadvertised", nil, true},
		{"plain only, overridden", "unadvertised", []string{"plain"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, http.NotFound)
			settings(Settings{PKCE: tc.setting})(&f.opts)
			req.Grant, req.Server.CodeChallengeMethodsSupported = AuthorizationCode, tc.announced
			err := f.Check(req)
			if tc.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			hint[*UnsupportedError](t, err, "oauth.unsupported", `issuers."https://login.example".pkce: "unadvertised"`)
		})
	}
}

// Overridden or not, the challenge is sent, and the server checks it.
func TestPKCEIsSentAllTheSame(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{NoPKCEMetadata: true}, options{flows: settings(Settings{PKCE: "unadvertised"})})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	if q := w.one("/authorize").Query; q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 {
		t.Errorf("query %v", q)
	}
}

// Only an authorization request can say how the person has to sign in.
func TestStepUpNeedsABrowser(t *testing.T) {
	minute := time.Minute
	for _, tc := range []struct {
		name, grant      string
		headless, noCode bool
		page             bool
	}{
		{"any", "", false, false, true},
		{"headless", "", true, false, true},
		{"device only", "", false, true, false},
		{"headless, device only", "", true, true, false},
		{"code configured", AuthorizationCode, true, false, true},
		{"device configured", DeviceCode, false, false, false},
		{"silent", ClientCredentials, false, false, false},
	} {
		for name, edit := range map[string]func(*Request){
			"acr_values": func(r *Request) { r.ACRValues = []string{"mfa"} }, "max_age": func(r *Request) { r.MaxAge = &minute },
		} {
			t.Run(tc.name+", "+name, func(t *testing.T) {
				w := newWorld(t, oauthtest.IssuerOptions{}, options{headless: tc.headless})
				w.opts.Desk = action.NewDesk(action.DeskOptions{}) // opens nothing
				t.Cleanup(w.opts.Desk.Close)
				req := w.request()
				req.Grant = tc.grant
				if tc.noCode {
					w.server.AuthorizationEndpoint = ""
				}
				edit(&req)
				if Silent(tc.grant) {
					req.Client.ID = "configured"
					_, err := w.Obtain(t.Context(), req)
					hint[*UnsupportedError](t, err, "oauth.unsupported", "https://wiki.example", "authorization_code")
					return
				}
				a, err := w.Start(t.Context(), req)
				if !tc.page {
					hint[*UnsupportedError](t, err, "oauth.unsupported", "https://wiki.example", "authorization_code")
					if n := len(w.issuer.Log.Events()); n != 0 {
						t.Errorf("%d requests", n)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { a.End(action.ErrClosed) })
				if a.Prompt().URL == "" || a.Prompt().UserCode != "" {
					t.Errorf("prompt %+v", a.Prompt())
				}
			})
		}
	}
}
