package login

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// question is one that MaySend was asked.
type question struct {
	principal        principal.ID
	issuer, endpoint string
}

// Whatever the rules do not allow any more is not sent, whichever request it is.
func TestMaySendRefuses(t *testing.T) {
	const issuer, idp, mine = "https://login.example", "https://idp.example", "https://login.example/r/1"
	refuses := errors.New("not any more")
	for _, tc := range []struct {
		name, issuer, endpoint string
		ask                    func(ctx context.Context, f *Flows, req Request) error
	}{
		{"client credentials", issuer, issuer + "/token", func(ctx context.Context, f *Flows, req Request) error {
			req.Grant = ClientCredentials
			_, err := f.Obtain(ctx, req)
			return err
		}},
		{"identity provider", idp, idp + "/token", func(ctx context.Context, f *Flows, req Request) error {
			req.Grant, req.Trusted, req.Subject = JWTBearer, true, subject("a.b.c")
			req.Subject.At, req.Subject.AtEndpoint, req.Subject.Client = idp, idp+"/token", Credentials{ID: "c"}
			_, err := f.Obtain(ctx, req)
			return err
		}},
		{"refresh", issuer, "https://old.example/token", func(ctx context.Context, f *Flows, req Request) error {
			_, err := f.Refresh(ctx, &tokenstore.Token{
				Principal: "alice", Resource: resource, Issuer: issuer, ClientID: "c", TokenEndpoint: "https://old.example/token", RefreshToken: secret.New("refresh"),
			}, Credentials{})
			return err
		}},
		{"revocation", issuer, "https://old.example/revoke", func(ctx context.Context, f *Flows, req Request) error {
			return f.Revoke(ctx, &tokenstore.Token{
				Principal: "alice", Resource: resource, Issuer: issuer, ClientID: "c", RevocationEndpoint: "https://old.example/revoke",
				AccessToken: secret.New("access"), RefreshToken: secret.New("refresh"),
			}, Credentials{})
		}},
		{"removal of a registration", issuer, mine, func(ctx context.Context, f *Flows, req Request) error {
			return f.Unregister(ctx, &tokenstore.Client{Principal: "alice", Issuer: issuer, ClientID: "c", RegistrationClientURI: mine, RegistrationAccessToken: secret.New("r")})
		}},
		{"registration", issuer, issuer + "/register", func(ctx context.Context, f *Flows, req Request) error {
			req.Client = Credentials{}
			_, _, err := f.client(ctx, req, "http://127.0.0.1:1001/callback/h")
			return err
		}},
		{"device", issuer, issuer + "/device_authorization", func(ctx context.Context, f *Flows, req Request) error {
			req.Grant = DeviceCode
			_, err := f.Start(ctx, req)
			return err
		}},
		{"polling", issuer, issuer + "/token", func(ctx context.Context, f *Flows, req Request) error {
			g, err := f.settle(ctx, req, req.Client)
			if err != nil {
				return err
			}
			return f.poll(ctx, g, &deviceAnswer{deviceCode: secret.New("device"), interval: time.Millisecond})
		}},
		{"pushed", issuer, issuer + "/par", func(ctx context.Context, f *Flows, req Request) error {
			req.Grant, req.Server.PushedAuthorizationRequestEndpoint = AuthorizationCode, issuer+"/par"
			g, err := f.settle(ctx, req, req.Client)
			if err != nil {
				return err
			}
			_, err = f.push(ctx, g, map[string]string{})
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked", r.URL) })
			var asked []question
			f.opts.MaySend = func(ctx context.Context, issuer, endpoint string) error {
				asked = append(asked, question{principal.From(ctx), issuer, endpoint})
				return refuses
			}
			req.Principal = "alice"
			if err := tc.ask(t.Context(), f, req); !errors.Is(err, refuses) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff([]question{{"alice", tc.issuer, tc.endpoint}}, asked, cmp.AllowUnexported(question{})); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// Not one request of ours goes out unasked, from the registration to its end.
func TestMaySendIsAskedBeforeEveryRequest(t *testing.T) {
	var asked, sent []string
	w := newWorld(t, oauthtest.IssuerOptions{PAR: "required", Management: true, DPoP: true, DPoPNonce: true}, options{
		wrap: func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				sent = append(sent, r.URL.String())
				return next.RoundTrip(r)
			})
		},
		flows: func(o *Options) {
			o.MaySend = func(ctx context.Context, _, endpoint string) error {
				if principal.From(ctx) != principal.Local {
					t.Errorf("asked for %q", principal.From(ctx))
				}
				asked = append(asked, endpoint)
				return nil
			}
		},
	})
	req := w.request()
	req.DPoP = true
	if err := w.signIn(req); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Refresh(t.Context(), w.token(), Credentials{}); err != nil {
		t.Fatal(err)
	}
	req.Grant = DeviceCode
	if _, _, err := w.authorizeDevice(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), w.token(), Credentials{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Unregister(t.Context(), w.registration()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/register", "/par", "/token", "/device_authorization", "/revoke"} {
		if !slices.ContainsFunc(sent, func(u string) bool { return strings.HasSuffix(u, path) }) {
			t.Errorf("nothing was sent to %s; the test proves less than it says", path)
		}
	}
	if diff := cmp.Diff(sent, asked); diff != "" {
		t.Errorf("(-sent +asked):\n%s", diff)
	}
}

// A page that waited while the rules changed is not sent on.
func TestMaySendWhileAPageWaits(t *testing.T) {
	refuses := errors.New("not any more")
	var now error
	w := newWorld(t, oauthtest.IssuerOptions{}, options{flows: func(o *Options) {
		o.MaySend = func(context.Context, string, string) error { return now }
	}})
	a := w.start(w.request())
	now = refuses
	if err := w.person.Continue(t.Context(), a.Prompt().URL); err == nil {
		t.Error("the person was led on")
	}
	if err := wait(t, a); !errors.Is(err, refuses) || errors.Is(err, action.ErrDenied) {
		t.Errorf("ended with %v", err)
	}
	if n := len(w.issuer.Log.Events()); n != 0 {
		t.Errorf("%d requests", n)
	}
}
