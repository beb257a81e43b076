package login

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func ecKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// part decodes the header (0) or claims (1) of a JWT.
func part(t testing.TB, jwt string, n int) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", jwt)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPrivateKeyJWT(t *testing.T) {
	for _, tc := range []struct {
		name, algorithm, used string
		key                   crypto.Signer
	}{
		{"P-256", "", "ES256", ecKey(t, elliptic.P256())},
		{"RSA", "", "RS256", rsaKey(t, 2048)},
		{"RSA with PSS", "PS256", "PS256", rsaKey(t, 2048)},
		{"Ed25519", "", "EdDSA", edKey(t)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{ClientKeys: map[string]crypto.PublicKey{"robot": tc.key.Public()}, PAR: "required"}, options{})
			req := w.request()
			req.Client = Credentials{ID: "robot", AuthMethod: "private_key_jwt", Key: &SigningKey{Signer: tc.key, ID: "kid-1", Algorithm: tc.algorithm}}
			if err := w.signIn(req); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Refresh(t.Context(), w.token(), req.Client); err != nil {
				t.Fatal(err)
			}
			if _, err := robotToken(t, w.Flows, req); err != nil {
				t.Fatal(err)
			}
			req.Grant = DeviceCode
			if _, _, err := w.authorizeDevice(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			seen := map[any]bool{}
			for path, want := range map[string]int{"/par": 1, "/token": 3, "/device_authorization": 1} {
				all := w.received(path)
				if len(all) != want {
					t.Errorf("%d requests to %s, want %d", len(all), path, want)
				}
				for _, e := range all {
					if e.Form.Get("client_id") != "robot" || e.Form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" ||
						e.Form.Has("client_secret") || e.Header.Get("Authorization") != "" {
						t.Errorf("%s: form %v, headers %v", path, e.Form, e.Header)
					}
					header, claims := part(t, e.Form.Get("client_assertion"), 0), part(t, e.Form.Get("client_assertion"), 1)
					if header["alg"] != tc.used || header["kid"] != "kid-1" {
						t.Errorf("header %v", header)
					}
					if claims["iss"] != "robot" || claims["sub"] != "robot" || claims["aud"] != w.issuer.URL || seen[claims["jti"]] || len(claims["jti"].(string)) < 20 {
						t.Errorf("claims %v", claims)
					}
					seen[claims["jti"]] = true
					if life := claims["exp"].(float64) - claims["iat"].(float64); life <= 0 || life > 60 {
						t.Errorf("valid for %v seconds", life)
					}
				}
			}
		})
	}
}

// An assertion ends a minute after its own moment, whenever that is.
func TestAssertionClock(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	synctest.Test(t, func(t *testing.T) {
		var got []map[string]any
		f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
			got = append(got, part(t, r.PostFormValue("client_assertion"), 1))
			saysJSON(200, `{"access_token":"tok","token_type":"Bearer"}`)(w, r)
		})
		req.Client = Credentials{ID: "robot", AuthMethod: "private_key_jwt", Key: &SigningKey{Signer: key}}
		for range 2 {
			if _, err := robotToken(t, f, req); err != nil {
				t.Fatal(err)
			}
			if last := got[len(got)-1]; last["iat"] != float64(time.Now().Unix()) || last["exp"] != float64(time.Now().Add(time.Minute).Unix()) {
				t.Errorf("claims %v at %d", last, time.Now().Unix())
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestSigningAlgorithm(t *testing.T) {
	ec, rs, ed := ecKey(t, elliptic.P256()), rsaKey(t, 2048), edKey(t)
	for _, tc := range []struct {
		name      string
		key       *SigningKey
		supported []string
		want      string
		text      string
	}{
		{"EC, server says nothing", &SigningKey{Signer: ec}, nil, "ES256", ""},
		{"RSA, server says nothing", &SigningKey{Signer: rs}, nil, "RS256", ""},
		{"Ed25519, server says nothing", &SigningKey{Signer: ed}, nil, "EdDSA", ""},
		{"RSA, both", &SigningKey{Signer: rs}, []string{"PS256", "RS256"}, "RS256", ""},
		{"RSA, PSS only", &SigningKey{Signer: rs}, []string{"ES256", "PS256"}, "PS256", ""},
		{"RSA, configured", &SigningKey{Signer: rs, Algorithm: "PS256"}, []string{"RS256", "PS256"}, "PS256", ""},
		{"configured, not taken", &SigningKey{Signer: rs, Algorithm: "RS256"}, []string{"PS256"}, "", "takes only"},
		{"EC, RSA only", &SigningKey{Signer: ec}, []string{"RS256", "PS256"}, "", `takes only "RS256, PS256"`},
		{"not of this key", &SigningKey{Signer: ec, Algorithm: "RS256"}, nil, "", `cannot sign with "RS256"`},
		{"never none", &SigningKey{Signer: ec, Algorithm: "none"}, []string{"none"}, "", `cannot sign with "none"`},
		{"never a MAC", &SigningKey{Signer: rs, Algorithm: "HS256"}, nil, "", `cannot sign with "HS256"`},
		{"P-384", &SigningKey{Signer: ecKey(t, elliptic.P384())}, nil, "", "none of P-256"},
		{"short RSA", &SigningKey{Signer: rsaKey(t, 1024)}, nil, "", "fewer than 2048"},
		{"no signer", &SigningKey{}, nil, "", "needs a private key"},
		{"no key", nil, nil, "", "needs a private key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := signingAlgorithm("https://login.example", tc.key, tc.supported)
			if got != jose.SignatureAlgorithm(tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.text != "" {
				hint[*ClientError](t, err, "oauth.no_client", tc.text, `issuers."https://login.example"`)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A refresh knows no metadata; it signs as the login before did.
func TestSigningAlgorithmIsRemembered(t *testing.T) {
	var used []any
	f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
		used = append(used, part(t, r.PostFormValue("client_assertion"), 0)["alg"])
		saysJSON(200, `{"access_token":"tok","token_type":"Bearer","refresh_token":"r"}`)(w, r)
	})
	req.Client = Credentials{ID: "robot", AuthMethod: "private_key_jwt", Key: &SigningKey{Signer: rsaKey(t, 2048)}}
	req.Server.TokenEndpointAuthSigningAlgValuesSupported = []string{"PS256"}
	tok, err := robotToken(t, f, req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Refresh(t.Context(), tok, req.Client); err != nil {
		t.Fatal(err)
	}
	if len(used) != 2 || used[0] != "PS256" || used[1] != "PS256" {
		t.Errorf("signed with %v", used)
	}
}

// What the server does not take is known before anybody is asked.
func TestMethodThatIsNotTaken(t *testing.T) {
	for _, tc := range []struct {
		name   string
		client Credentials
		taken  []string
		text   string // "": accepted
	}{
		{"basic", Credentials{ID: "c", Secret: secret.New("s")}, []string{"client_secret_basic"}, ""},
		{"no list", Credentials{ID: "c", Secret: secret.New("s"), AuthMethod: "client_secret_post"}, nil, ""},
		{"public, not listed", Credentials{ID: "c"}, []string{"client_secret_basic"}, ""},
		{"post, basic only", Credentials{ID: "c", Secret: secret.New("s"), AuthMethod: "client_secret_post"}, []string{"client_secret_basic"}, `takes only "client_secret_basic"`},
		{"basic by default, post only", Credentials{ID: "c", Secret: secret.New("s")}, []string{"client_secret_post\u202e"}, `takes only "client_secret_post"`},
		{"assertion, not listed", Credentials{ID: "c", AuthMethod: "private_key_jwt"}, []string{"none"}, "private_key_jwt"},
		{"assertion, no key", Credentials{ID: "c", AuthMethod: "private_key_jwt"}, nil, "needs a private key"},
		{"unknown", Credentials{ID: "c", AuthMethod: "client_secret_jwt"}, []string{"client_secret_jwt"}, "not supported"},
	} {
		for _, grant := range []string{AuthorizationCode, DeviceCode, ClientCredentials} {
			t.Run(tc.name+", "+grant, func(t *testing.T) {
				f, _, req := at(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
				req.Client, req.Grant, req.Server.TokenEndpointAuthMethodsSupported = tc.client, grant, tc.taken
				err := f.Check(req)
				if tc.text == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				hint[*ClientError](t, err, "oauth.no_client", tc.text, `issuers."https://login.example"`)
				if a, err := f.Start(t.Context(), req); grant != ClientCredentials && (err == nil || a != nil) {
					t.Errorf("a login began: %v", err)
				}
			})
		}
	}
}

// A client that is refused is not tried in another way.
func TestClientAuthenticationIsNotProbed(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	certificate := new(x509.Certificate)
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			asked := 0
			f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				saysJSON(401, `{"error":"invalid_client"}`)(w, r)
			})
			f.opts.Certificate = func(origin.Origin) *x509.Certificate { return certificate }
			req.Client.AuthMethod, req.Client.Key = method, &SigningKey{Signer: key}
			if _, err := robotToken(t, f, req); !isClientRefused(err) || asked != 1 {
				t.Errorf("%v after %d requests", err, asked)
			}
		})
	}
}

func TestCertificateClientWithoutCertificate(t *testing.T) {
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth"} {
		f, _, req := at(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
		req.Client = Credentials{ID: "c", AuthMethod: method}
		_, err := robotToken(t, f, req)
		hint[*ClientError](t, err, "oauth.no_client", "https://login.example", `sites."https://login.example".mtls`)
		for _, grant := range []string{AuthorizationCode, DeviceCode} {
			req.Grant = grant
			hint[*ClientError](t, f.Check(req), "oauth.no_client", `sites."https://login.example".mtls`)
		}
		// The certificate of the token endpoint is not enough where the code is asked for elsewhere.
		f.opts.Certificate = func(o origin.Origin) *x509.Certificate {
			if o.Host() == "login.example" {
				return new(x509.Certificate)
			}
			return nil
		}
		req.Grant, req.Server.DeviceAuthorizationEndpoint = DeviceCode, "https://device.example/d"
		hint[*ClientError](t, f.Check(req), "oauth.no_client", `sites."https://device.example".mtls`)
	}
}

func TestKeysAreNeverPrinted(t *testing.T) {
	for _, signer := range []crypto.Signer{ecKey(t, elliptic.P256()), edKey(t)} {
		k := &SigningKey{Signer: signer, ID: canary}
		for _, v := range []any{k, *k, Credentials{ID: "c", Key: k}, Request{Client: Credentials{Key: k}}, []SigningKey{*k}} {
			if out := printed(v); leaks(out) {
				t.Errorf("%T prints %s", v, out)
			}
		}
	}
}
