package tokenstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const canary = "canary-9d04"

var now = time.Date(2030, 1, 2, 3, 4, 5, 678, time.FixedZone("CET", 3600))

func sampleToken() *Token {
	return &Token{
		Principal: "local", Resource: "https://wiki.example/a", Issuer: "https://as.example",
		AccessToken: secret.New(canary + "-access"), RefreshToken: secret.New(canary + `-"<refresh>\`),
		TokenType: "Bearer", Scopes: []string{"wiki.read", "offline_access"}, ClientID: "c1",
		TokenEndpoint: "https://as.example/token", Expiry: now.Add(time.Hour), ObtainedAt: now, Subject: "Zoë",
		RevocationEndpoint:    "https://as.example/revoke",
		KeyThumbprint:         "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
		CertificateThumbprint: "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2",
	}
}

func sampleProofKey() *ProofKey {
	return &ProofKey{
		Principal: "local", Issuer: "https://as.example",
		Private: secret.New(`{"kty":"EC","crv":"P-256","d":"` + canary + `-proof"}`), CreatedAt: now,
	}
}

func sampleClient() *Client {
	return &Client{
		Principal: "local", Issuer: "https://as.example",
		ClientID: "c1", ClientSecret: secret.New(canary + "-secret"), SecretExpiry: now.Add(time.Hour),
		AuthMethod: "client_secret_basic", RedirectURIs: []string{"http://127.0.0.1/callback"}, GrantTypes: []string{"authorization_code"},
		RegistrationAccessToken: secret.New(canary + "-registration"), RegistrationClientURI: "https://as.example/register/c1",
		RegisteredAt: now,
	}
}

func sampleApproval() *Approval {
	return &Approval{
		Principal: "local", Resource: "https://wiki.example", Issuer: "https://as.example",
		Scopes: []string{"wiki.read"}, ClientID: "c1", GrantedAt: now, Expires: now.Add(90 * 24 * time.Hour),
	}
}

// same compares secrets by value: the usual ways of looking at them all show the same.
var same = cmp.Options{
	cmp.Comparer(func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() }),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
}

func TestRecordsRoundTrip(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		for name, want := range map[string]*Token{
			"full":           sampleToken(),
			"least":          {Principal: "p", Resource: "https://least.example", AccessToken: secret.New("a")},
			"refresh only":   {Principal: "p", Resource: "https://refresh.example", RefreshToken: secret.New("r")},
			"no scopes":      {Principal: "p", Resource: "https://none.example", AccessToken: secret.New("a"), Scopes: []string{}},
			"beyond 2038":    {Principal: "p", Resource: "https://late.example", AccessToken: secret.New("a"), Expiry: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
			"before the era": {Principal: "p", Resource: "https://early.example", AccessToken: secret.New("a"), Expiry: time.Unix(-1e10, 0)},
		} {
			if err := PutToken(ctx, s, want); err != nil {
				t.Fatalf("%s: PutToken: %v", name, err)
			}
			got, err := GetToken(ctx, s, want.Key())
			if err != nil {
				t.Fatalf("%s: GetToken: %v", name, err)
			}
			// nil scopes are not known, empty scopes are none: cmp tells them apart.
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}

		if err := PutClient(ctx, s, sampleClient()); err != nil {
			t.Fatal(err)
		}
		client, err := GetClient(ctx, s, ClientKey("local", "https://as.example"))
		if diff := cmp.Diff(sampleClient(), client, same); err != nil || diff != "" {
			t.Errorf("GetClient: %v (-want +got):\n%s", err, diff)
		}
		if err := PutProofKey(ctx, s, sampleProofKey()); err != nil {
			t.Fatal(err)
		}
		proof, err := GetProofKey(ctx, s, ProofKeyKey("local", "https://as.example"))
		if diff := cmp.Diff(sampleProofKey(), proof, same); err != nil || diff != "" {
			t.Errorf("GetProofKey: %v (-want +got):\n%s", err, diff)
		}
		for name, k := range map[string]Key{
			"other issuer":    ProofKeyKey("local", "https://other.example"),
			"other principal": ProofKeyKey("other", "https://as.example"),
		} {
			if got, err := GetProofKey(ctx, s, k); !errors.Is(err, ErrNotFound) {
				t.Errorf("GetProofKey of %s = %v, %v, want ErrNotFound", name, got, err)
			}
		}
		address := &Approval{Principal: "local", Resource: "https://intranet.example"}
		for _, a := range []*Approval{sampleApproval(), address} {
			if err := PutApproval(ctx, s, a); err != nil {
				t.Fatal(err)
			}
		}
		approval, err := GetApproval(ctx, s, ApprovalKey("local", "https://wiki.example", "https://as.example"))
		if diff := cmp.Diff(sampleApproval(), approval, same); err != nil || diff != "" {
			t.Errorf("GetApproval: %v (-want +got):\n%s", err, diff)
		}

		// Lists hold one kind and principal each, sorted.
		tokens, err := Tokens(ctx, s, "p")
		if err != nil {
			t.Fatal(err)
		}
		var resources []string
		for _, token := range tokens {
			resources = append(resources, strings.TrimSuffix(strings.TrimPrefix(token.Resource, "https://"), ".example"))
		}
		if diff := cmp.Diff([]string{"early", "late", "least", "none", "refresh"}, resources); diff != "" {
			t.Errorf("Tokens (-want +got):\n%s", diff)
		}
		clients, err := Clients(ctx, s, "local")
		if diff := cmp.Diff([]*Client{sampleClient()}, clients, same); err != nil || diff != "" {
			t.Errorf("Clients: %v (-want +got):\n%s", err, diff)
		}
		approvals, err := Approvals(ctx, s, "local")
		if diff := cmp.Diff([]*Approval{address, sampleApproval()}, approvals, same); err != nil || diff != "" {
			t.Errorf("Approvals: %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestPutRecordRefuses(t *testing.T) {
	access := secret.New(canary)
	for name, put := range map[string]func(context.Context, Store) error{
		"token without principal": func(ctx context.Context, s Store) error {
			return PutToken(ctx, s, &Token{Resource: "https://a.example", AccessToken: access})
		},
		"token without resource": func(ctx context.Context, s Store) error {
			return PutToken(ctx, s, &Token{Principal: "p", AccessToken: access})
		},
		"token without token": func(ctx context.Context, s Store) error {
			return PutToken(ctx, s, &Token{Principal: "p", Resource: "https://a.example"})
		},
		"token not UTF-8": func(ctx context.Context, s Store) error {
			return PutToken(ctx, s, &Token{Principal: "p", Resource: "https://a.example", AccessToken: secret.New(canary + "\xff")})
		},
		"expiry in the year 10000": func(ctx context.Context, s Store) error {
			return PutToken(ctx, s, &Token{Principal: "p", Resource: "https://a.example", AccessToken: access, Expiry: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
		},
		"client without issuer": func(ctx context.Context, s Store) error {
			return PutClient(ctx, s, &Client{Principal: "p", ClientID: "c", ClientSecret: access})
		},
		"client without id": func(ctx context.Context, s Store) error {
			return PutClient(ctx, s, &Client{Principal: "p", Issuer: "https://as.example", ClientSecret: access})
		},
		"proof key without issuer": func(ctx context.Context, s Store) error {
			return PutProofKey(ctx, s, &ProofKey{Principal: "p", Private: access})
		},
		"proof key without principal": func(ctx context.Context, s Store) error {
			return PutProofKey(ctx, s, &ProofKey{Issuer: "https://as.example", Private: access})
		},
		"proof key without key": func(ctx context.Context, s Store) error {
			return PutProofKey(ctx, s, &ProofKey{Principal: "p", Issuer: "https://as.example"})
		},
		"approval without resource": func(ctx context.Context, s Store) error {
			return PutApproval(ctx, s, &Approval{Principal: "p", Issuer: "https://as.example"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewMemory()
			err := put(t.Context(), s)
			if err == nil {
				t.Error("no error")
			} else if strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows the secret: %v", err)
			}
			if len(s.values) != 0 {
				t.Error("it was stored")
			}
		})
	}
}

func TestDamagedRecords(t *testing.T) {
	good := `{"principal":"local","resource":"https://a.example","issuer":"https://as.example","access_token":"` + canary + `"}`
	for _, tt := range []struct{ name, value string }{
		{"empty object", `{}`},
		{"member of the wrong type", `{"principal":"local","resource":"https://a.example","issuer":"https://as.example","access_token":{"` + canary + `":1}}`},
		{"secret is a number", `{"principal":"local","resource":"https://a.example","issuer":"https://as.example","access_token":17}`},
		{"time is no time", strings.Replace(good, `}`, `,"expiry":"`+canary+`"}`, 1)},
		{"scopes are a string", strings.Replace(good, `}`, `,"scopes":"`+canary+`"}`, 1)},
		{"no token", strings.Replace(good, "access_token", "token", 1)},
		{"names in another case", strings.Replace(good, "access_token", "ACCESS_TOKEN", 1)},
		{"other principal", strings.Replace(good, `"local"`, `"other"`, 1)},
		{"other resource", strings.Replace(good, "a.example", "evil.example", 1)},
		{"other issuer", strings.Replace(good, "as.example", "evil.example", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forEachStore(t, func(t *testing.T, s Store) {
				ctx := t.Context()
				k := TokenKey("local", "https://a.example", "https://as.example")
				if err := s.Put(ctx, k, []byte(tt.value)); err != nil {
					t.Fatal(err)
				}
				if err := PutToken(ctx, s, sampleToken()); err != nil {
					t.Fatal(err)
				}
				_, err := GetToken(ctx, s, k)
				damaged, ok := errors.AsType[*DamagedError](err)
				if !ok || !errors.Is(err, ErrNotFound) || damaged.Key != k || damaged.Code() != "store.damaged" || damaged.Hint() == "" {
					t.Fatalf("GetToken: %#v, want a DamagedError that is ErrNotFound", err)
				}
				if strings.Contains(fmt.Sprintf("%+v %v", damaged, err), canary) {
					t.Errorf("the error shows the value: %v", err)
				}
				tokens, err := Tokens(ctx, s, "local")
				if diff := cmp.Diff([]*Token{sampleToken()}, tokens, same); err != nil || diff != "" {
					t.Errorf("Tokens: %v (-want +got):\n%s", err, diff)
				}
				if got, err := s.Get(ctx, k); err != nil || string(got) != tt.value {
					t.Errorf("the damaged record is now %s, %v; want it as it was", got, err)
				}
				repaired := sampleToken()
				repaired.Resource = k.Resource
				if err := PutToken(ctx, s, repaired); err != nil {
					t.Fatal(err)
				}
				if _, err := GetToken(ctx, s, k); err != nil {
					t.Errorf("after storing it anew: %v", err)
				}
			})
		})
	}
}

func TestDamagedProofKeys(t *testing.T) {
	good := `{"principal":"local","issuer":"https://as.example","private_key":"` + canary + `"}`
	for _, tt := range []struct{ name, value string }{
		{"empty object", `{}`},
		{"no key", strings.Replace(good, "private_key", "key", 1)},
		{"empty key", strings.Replace(good, canary, "", 1)},
		{"key is an object", `{"principal":"local","issuer":"https://as.example","private_key":{"` + canary + `":1}}`},
		{"time is no time", strings.Replace(good, `}`, `,"created_at":"`+canary+`"}`, 1)},
		{"other principal", strings.Replace(good, `"local"`, `"other"`, 1)},
		{"other issuer", strings.Replace(good, "as.example", "evil.example", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forEachStore(t, func(t *testing.T, s Store) {
				ctx := t.Context()
				k := ProofKeyKey("local", "https://as.example")
				if err := s.Put(ctx, k, []byte(tt.value)); err != nil {
					t.Fatal(err)
				}
				_, err := GetProofKey(ctx, s, k)
				damaged, ok := errors.AsType[*DamagedError](err)
				if !ok || !errors.Is(err, ErrNotFound) || damaged.Key != k {
					t.Fatalf("GetProofKey: %v, want a DamagedError that is ErrNotFound", err)
				}
				if !strings.Contains(err.Error(), "as.example") || strings.Contains(err.Error(), canary) {
					t.Errorf("the error does not name the issuer, or shows the value: %v", err)
				}
				if err := PutProofKey(ctx, s, sampleProofKey()); err != nil {
					t.Fatal(err)
				}
				if _, err := GetProofKey(ctx, s, k); err != nil {
					t.Errorf("after storing it anew: %v", err)
				}
			})
		})
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	records := []any{sampleToken(), *sampleToken(), sampleClient(), *sampleClient(), sampleProofKey(), *sampleProofKey(), []*Token{sampleToken()}, map[principal.ID]Client{"p": *sampleClient()}}
	var out bytes.Buffer
	for _, r := range records {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&out, verb+"\n", r)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "record", r)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "record", r)
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the output contains a secret as %q:\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), secret.Redacted) {
		t.Error("the output does not say that something was redacted")
	}
}
