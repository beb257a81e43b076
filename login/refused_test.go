package login

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// What is wrong in the configuration is corrected there; it costs no login.
func TestConfiguredClientIsRefused(t *testing.T) {
	const issuer, idp = "https://login.example", "https://idp.example"
	configured := Credentials{ID: "mine", Secret: secret.New("wrong")}
	tok := &tokenstore.Token{
		Principal: "local", Resource: resource, Issuer: issuer, ClientID: "mine", TokenEndpoint: issuer + "/token", RefreshToken: secret.New("refresh"),
	}
	for _, tc := range []struct {
		name   string
		issuer string // that refuses; "": nobody configured the client
		ask    func(t *testing.T, f *Flows, req Request) error
	}{
		{"refresh", issuer, func(t *testing.T, f *Flows, _ Request) error {
			_, err := f.Refresh(t.Context(), tok, configured)
			return err
		}},
		{"refresh, a public client", issuer, func(t *testing.T, f *Flows, _ Request) error {
			_, err := f.Refresh(t.Context(), tok, Credentials{ID: "mine"})
			return err
		}},
		{"client credentials", issuer, func(t *testing.T, f *Flows, req Request) error {
			_, err := robotToken(t, f, req)
			return err
		}},
		{"assertion", issuer, func(t *testing.T, f *Flows, req Request) error {
			req.Grant, req.Trusted, req.Subject = JWTBearer, true, subject("a.b.c")
			_, err := f.Obtain(t.Context(), req)
			return err
		}},
		{"at the identity provider", idp, func(t *testing.T, f *Flows, req Request) error {
			req.Grant, req.Trusted, req.Subject = JWTBearer, true, subject("a.b.c")
			req.Subject.At, req.Subject.AtEndpoint, req.Subject.Client = idp, idp+"/token", configured
			_, err := f.Obtain(t.Context(), req)
			return err
		}},
		{"code", issuer, func(t *testing.T, f *Flows, req Request) error {
			return authorize(t, f, req, req.Client).Callback(t.Context(), url.Values{"code": {"c"}})
		}},
		{"pushed", issuer, func(t *testing.T, f *Flows, req Request) error {
			req.Grant, req.Server.PushedAuthorizationRequestEndpoint = AuthorizationCode, issuer+"/par"
			g, err := f.settle(t.Context(), req, req.Client)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.push(t.Context(), g, map[string]string{})
			return err
		}},
		{"device", issuer, func(t *testing.T, f *Flows, req Request) error {
			req.Grant = DeviceCode
			_, err := f.Start(t.Context(), req)
			return err
		}},
		{"polling", issuer, func(t *testing.T, f *Flows, req Request) error {
			g, err := f.settle(t.Context(), req, req.Client)
			if err != nil {
				t.Fatal(err)
			}
			return f.poll(t.Context(), g, &deviceAnswer{deviceCode: secret.New("device"), interval: time.Millisecond})
		}},

		{"refresh, another client", "", func(t *testing.T, f *Flows, _ Request) error {
			_, err := f.Refresh(t.Context(), tok, Credentials{ID: "other", Secret: secret.New("s")})
			return err
		}},
		{"refresh, a registered client", "", func(t *testing.T, f *Flows, _ Request) error {
			if err := tokenstore.PutClient(t.Context(), f.opts.Store, &tokenstore.Client{Principal: "local", Issuer: issuer, ClientID: "mine"}); err != nil {
				t.Fatal(err)
			}
			_, err := f.Refresh(t.Context(), tok, Credentials{})
			return err
		}},
		{"code, a registered client", "", func(t *testing.T, f *Flows, req Request) error {
			c := req.Client
			req.Client = Credentials{}
			return authorize(t, f, req, c).Callback(t.Context(), url.Values{"code": {"c"}})
		}},
		{"refresh, our metadata document", "", func(t *testing.T, f *Flows, _ Request) error {
			own := *tok
			own.ClientID = "https://me.example/client.json"
			_, err := f.Refresh(t.Context(), &own, Credentials{})
			return err
		}},
	} {
		for _, code := range []string{"invalid_client", "unauthorized_client"} {
			t.Run(tc.name+", "+code, func(t *testing.T) {
				f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
					if tc.issuer == issuer && r.Host == "idp.example" {
						t.Error("asked elsewhere")
					}
					saysJSON(401, `{"error":"`+code+`","error_description":"bad secret"}`)(w, r)
				})
				err := tc.ask(t, f, req)
				if got := isClientRefused(err); got != (tc.issuer != "") || IsRefused(err) == got || err == nil {
					t.Fatalf("got %v: of the configuration %v, final %v", err, got, IsRefused(err))
				}
				if tc.issuer != "" {
					hint[*ClientRefusedError](t, err, "oauth.invalid_client", tc.issuer, `"`+code+`": "bad secret"`,
						`issuers."`+tc.issuer+`"`, "client_id", "client_secret", "private_key", "token_endpoint_auth_method")
				}
			})
		}
	}
}
