package oauthtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// forItself is a token request of a confidential client for itself.
func forItself(id, secret string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "resource": {audience}}
}

func mine() url.Values { return forItself("confidential", "s3cret &+%") }

func lastNote(l *oauthtest.Log) string {
	events := l.Events()
	return events[len(events)-1].Note
}

func TestProofsAreChecked(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{DPoP: true, Path: "/t"})
	key, other, large := newKey(t, elliptic.P256()), newKey(t, elliptic.P256()), newKey(t, elliptic.P384())
	private := with(jwk(t, key), "d", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE")
	at, now := i.URL+"/token", time.Now().Unix()
	header, claims := proofHeader(t, key), func(changes ...any) object { return with(proofClaims("POST", at), changes...) }
	for _, tt := range []struct {
		name  string
		proof string
		why   string // "": accepted
	}{
		{"right", jws(t, key, header, claims()), ""},
		{"a little old", jws(t, key, header, claims("iat", now-50)), ""},
		{"with a nonce nobody asked for", jws(t, key, header, claims("nonce", "n")), ""},
		{"no typ", jws(t, key, with(header, "typ", nil), claims()), "typ"},
		{"another typ", jws(t, key, with(header, "typ", "JWT"), claims()), "typ"},
		{"no algorithm", jws(t, key, with(header, "alg", "none"), claims()), "ES256"},
		{"another algorithm", jws(t, large, with(header, "alg", "ES384", "jwk", jwk(t, large)), claims()), "ES256"},
		{"another curve", jws(t, large, with(header, "jwk", jwk(t, large)), claims()), "key of the proof"},
		{"no key", jws(t, key, with(header, "jwk", nil), claims()), "public key"},
		{"the private key", jws(t, key, with(header, "jwk", private), claims()), "public key"},
		{"signed by another key", jws(t, other, header, claims()), "signature"},
		{"htm of another method", jws(t, key, header, claims("htm", "GET")), "htm"},
		{"htm in lower case", jws(t, key, header, claims("htm", "post")), "htm"},
		{"htu of another endpoint", jws(t, key, header, claims("htu", i.URL+"/revoke")), "htu"},
		{"htu of another origin", jws(t, key, header, claims("htu", "https://evil.example/t/token")), "htu"},
		{"htu with a query", jws(t, key, header, claims("htu", at+"?a=b")), "htu"},
		{"old", jws(t, key, header, claims("iat", now-120)), "iat"},
		{"of the future", jws(t, key, header, claims("iat", now+120)), "iat"},
		{"no iat", jws(t, key, header, claims("iat", nil)), "iat"},
		{"no jti", jws(t, key, header, claims("jti", nil)), "jti"},
		{"with ath", jws(t, key, header, claims("ath", s256("token"))), "ath"},
		{"garbage", "garbage", "ES256"},
		{"empty", "", "ES256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := post(t, at, mine(), "DPoP", tt.proof)
			if tt.why == "" {
				if a.status != 200 || a.json["token_type"] != "DPoP" {
					t.Errorf("got %d %s", a.status, a.body)
				}
				return
			}
			wantError(t, tt.name, a, 400, "invalid_dpop_proof")
			if note := lastNote(i.Log); !strings.Contains(note, tt.why) {
				t.Errorf("note %q does not say %q", note, tt.why)
			}
		})
	}
	req, err := http.NewRequest(http.MethodPost, at, strings.NewReader(mine().Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Dpop": {proof(t, key, "POST", at), proof(t, key, "POST", at)}}
	wantError(t, "two proofs", send(t, req), 400, "invalid_dpop_proof")
	again := proof(t, key, "POST", at)
	post(t, at, mine(), "DPoP", again)
	wantError(t, "sent again", post(t, at, mine(), "DPoP", again), 400, "invalid_dpop_proof")
}

func TestProofsMayBeDemanded(t *testing.T) {
	for _, tt := range []struct {
		name             string
		options          oauthtest.IssuerOptions
		without, withOne string // token_type or error
	}{
		{"off", oauthtest.IssuerOptions{}, "Bearer", "Bearer"},
		{"on", oauthtest.IssuerOptions{DPoP: true}, "Bearer", "DPoP"},
		{"required", oauthtest.IssuerOptions{RequireDPoP: true}, "invalid_dpop_proof", "DPoP"},
	} {
		i := newIssuer(t, tt.options)
		if got, want := get(t, i.URL+rfc8414).json["dpop_signing_alg_values_supported"] != nil, tt.name != "off"; got != want {
			t.Errorf("%s: announced %v, want %v", tt.name, got, want)
		}
		for _, got := range []struct {
			a    answer
			want string
		}{
			{post(t, i.URL+"/token", mine()), tt.without},
			{post(t, i.URL+"/token", mine(), "DPoP", proof(t, newKey(t, elliptic.P256()), "POST", i.URL+"/token")), tt.withOne},
		} {
			if got.a.json["token_type"] != got.want && got.a.json["error"] != got.want {
				t.Errorf("%s: got %s, want %s", tt.name, got.a.body, got.want)
			}
		}
	}
}

func TestNonces(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{DPoPNonce: true, PAR: "offered"})
	key := newKey(t, elliptic.P256())
	r := newResource(t, oauthtest.ResourceOptions{Issuer: i, DPoPNonce: true, ResourceID: audience})
	form := url.Values{"grant_type": {"client_credentials"}}
	token := ""
	for _, tt := range []struct {
		name   string
		renew  func()
		status int
		send   func(nonce any) answer
	}{
		{"token", i.RenewDPoPNonce, 400, func(nonce any) answer {
			a := post(t, i.URL+"/token", values(mine(), "grant_type", form.Get("grant_type")), "DPoP", proof(t, key, "POST", i.URL+"/token", "nonce", nonce))
			if s, ok := a.json["access_token"].(string); ok {
				token = s
			}
			return a
		}},
		{"pushed", i.RenewDPoPNonce, 400, func(nonce any) answer {
			return post(t, i.URL+"/par", authorizeQuery("v"), "DPoP", proof(t, key, "POST", i.URL+"/par", "nonce", nonce))
		}},
		{"page", r.RenewDPoPNonce, 401, func(nonce any) answer {
			return get(t, r.URL+"/", "Authorization", "DPoP "+token, "DPoP", proof(t, key, "GET", r.URL+"/", "nonce", nonce, "ath", s256(token)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused := func(name string, a answer) string {
				t.Helper()
				said := a.json["error"] == "use_dpop_nonce" || strings.Contains(a.header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`)
				if a.status != tt.status || !said || a.header.Get("DPoP-Nonce") == "" {
					t.Fatalf("%s: got %d %v %s", name, a.status, a.header, a.body)
				}
				return a.header.Get("DPoP-Nonce")
			}
			first := refused("none", tt.send(nil))
			refused("made up", tt.send("made-up"))
			if a := tt.send(first); a.status >= 300 || a.header.Get("DPoP-Nonce") != first {
				t.Errorf("given: got %d %v", a.status, a.header)
			}
			tt.renew()
			a := tt.send(first)
			if second := a.header.Get("DPoP-Nonce"); a.status >= 300 || second == first || second == "" {
				t.Errorf("the one before: got %d %v", a.status, a.header)
			}
			tt.renew()
			refused("two renewals old", tt.send(first))
		})
	}
}

func TestBoundTokens(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{DPoP: true})
	r := newResource(t, oauthtest.ResourceOptions{Issuer: i, DPoP: true, ResourceID: audience})
	both := newResource(t, oauthtest.ResourceOptions{Issuer: i, ResourceID: audience})
	if m := get(t, r.URL+"/.well-known/oauth-protected-resource/manual").json; m["dpop_bound_access_tokens_required"] != true || m["dpop_signing_alg_values_supported"] == nil {
		t.Errorf("metadata %v", m)
	}
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	bound := post(t, i.URL+"/token", mine(), "DPoP", proof(t, key, "POST", i.URL+"/token")).json["access_token"].(string)
	free := post(t, i.URL+"/token", mine()).json["access_token"].(string)
	made := func(key *ecdsa.PrivateKey, s *oauthtest.Resource, token string, changes ...any) string {
		return proof(t, key, "GET", s.URL+"/docs/handbook", append([]any{"ath", s256(token)}, changes...)...)
	}
	for _, tt := range []struct {
		name           string
		at             *oauthtest.Resource
		scheme, token  string
		proof          string
		status         int
		code, noteSays string
	}{
		{"right", r, "DPoP", bound, made(key, r, bound), 200, "", "page"},
		{"no token", r, "", "", "", 401, "", "no token"},
		{"bound as Bearer", r, "Bearer", bound, "", 401, "invalid_token", "Bearer"},
		{"bound as Bearer with its proof", r, "Bearer", bound, made(key, r, bound), 401, "invalid_token", "Bearer"},
		{"unbound as Bearer", r, "Bearer", free, "", 401, "invalid_token", "not bound"},
		{"unbound with a proof", r, "DPoP", free, made(key, r, free), 401, "invalid_token", "not bound"},
		{"no proof", r, "DPoP", bound, "", 401, "invalid_dpop_proof", "one DPoP proof"},
		{"another key", r, "DPoP", bound, made(other, r, bound), 401, "invalid_token", "not of the key"},
		{"ath of another token", r, "DPoP", bound, made(key, r, free), 401, "invalid_dpop_proof", "ath"},
		{"no ath", r, "DPoP", bound, made(key, r, bound, "ath", nil), 401, "invalid_dpop_proof", "ath"},
		{"proof for another site", r, "DPoP", bound, made(key, both, bound), 401, "invalid_dpop_proof", "htu"},
		{"unknown token", r, "DPoP", "made-up", made(key, r, "made-up"), 401, "invalid_token", "unknown"},
		{"a site of both kinds, bound", both, "DPoP", bound, made(key, both, bound), 200, "", "page"},
		{"a site of both kinds, bound as Bearer", both, "Bearer", bound, "", 401, "invalid_token", "Bearer"},
		{"a site of both kinds, unbound with a proof", both, "DPoP", free, made(key, both, free), 401, "invalid_token", "is not bound to a key"},
		{"a site of both kinds, unbound", both, "Bearer", free, "", 200, "", "page"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			if tt.scheme != "" {
				header = append(header, "Authorization", tt.scheme+" "+tt.token)
			}
			if tt.proof != "" {
				header = append(header, "DPoP", tt.proof)
			}
			a := get(t, tt.at.URL+"/docs/handbook", header...)
			challenge := a.header.Get("WWW-Authenticate")
			if a.status != tt.status || tt.code != "" && !strings.Contains(challenge, `error="`+tt.code+`"`) {
				t.Errorf("got %d %q, want %d %s", a.status, challenge, tt.status, tt.code)
			}
			if tt.status == 401 && tt.at == r && (!strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `algs="ES256"`)) {
				t.Errorf("challenge %q", challenge)
			}
			if note := lastNote(tt.at.Log); !strings.Contains(note, tt.noteSays) {
				t.Errorf("note %q does not say %q", note, tt.noteSays)
			}
		})
	}
	// A server that knows no DPoP takes no notice of proofs.
	if a := get(t, newResource(t, oauthtest.ResourceOptions{Issuer: newIssuer(t, oauthtest.IssuerOptions{})}).URL+"/", "Authorization", "DPoP "+bound); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer realm="docs", resource_metadata`) {
		t.Errorf("got %v", a.header)
	}
}

func TestBoundRefreshTokens(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{DPoP: true})
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	at := i.URL + "/token"
	for _, tt := range []struct {
		name    string
		client  []string
		refused bool
	}{
		{"public client", []string{"client_id", "public"}, true},
		{"confidential client", []string{"client_id", "confidential", "client_secret", "s3cret &+%"}, false}, // RFC 9449 §5
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, verifier := newCode(t, i, tt.client[:2]...)
			a := post(t, at, tokenForm(code, verifier, tt.client...), "DPoP", proof(t, key, "POST", at))
			form := values(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.json["refresh_token"].(string)}, "resource": {audience}}, tt.client...)
			if a := post(t, at, form, "DPoP", proof(t, key, "POST", at)); a.status != 200 || a.json["token_type"] != "DPoP" {
				t.Errorf("same key: got %d %s", a.status, a.body)
			}
			for name, header := range map[string][]string{"another key": {"DPoP", proof(t, other, "POST", at)}, "no proof": nil} {
				if a := post(t, at, form, header...); (a.status == 400 && a.json["error"] == "invalid_grant") != tt.refused || tt.refused == (a.status == 200) {
					t.Errorf("%s: got %d %s, want refused %v", name, a.status, a.body, tt.refused)
				}
			}
		})
	}
}

func TestBoundCodes(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{DPoP: true, PAR: "offered"})
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	at := i.URL + "/token"
	for _, tt := range []struct {
		name   string
		header []string
		want   int
	}{
		{"same key", []string{"DPoP", proof(t, key, "POST", at)}, 200},
		{"another key", []string{"DPoP", proof(t, other, "POST", at)}, 400},
		{"no proof", nil, 400},
	} {
		code, verifier := newCode(t, i, "dpop_jkt", thumbprint(t, key))
		if a := post(t, at, tokenForm(code, verifier), tt.header...); a.status != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.want)
		}
	}
	if q := redirected(t, get(t, i.URL+"/authorize?"+authorizeQuery("v", "dpop_jkt", "short").Encode())); q.Get("error") != "invalid_request" {
		t.Errorf("bad dpop_jkt: got %v", q)
	}
	wantError(t, "pushed with another key", post(t, i.URL+"/par", authorizeQuery("v", "dpop_jkt", thumbprint(t, key)), "DPoP", proof(t, other, "POST", i.URL+"/par")), 400, "invalid_dpop_proof")
	verifier := strings.Repeat("v", 43)
	for _, tt := range []struct {
		by   *ecdsa.PrivateKey
		want int
	}{{key, 200}, {other, 400}} {
		pushed := post(t, i.URL+"/par", authorizeQuery(verifier), "DPoP", proof(t, key, "POST", i.URL+"/par"))
		code := decide(t, i, url.Values{"client_id": {"public"}, "request_uri": {pushed.json["request_uri"].(string)}}, "approve").Get("code")
		if a := post(t, at, tokenForm(code, verifier), "DPoP", proof(t, tt.by, "POST", at)); a.status != tt.want {
			t.Errorf("bound by the proof of the push: got %d %s, want %d", a.status, a.body, tt.want)
		}
	}
}
