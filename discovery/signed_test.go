package discovery

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

type members = map[string]any

func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testKeys are made once: RSA takes its time.
var testKeys = sync.OnceValue(func() map[string]any {
	must := func(k any, err error) any {
		if err != nil {
			panic(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]any{
		"p256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "other": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"p384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "p521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"rsa": must(rsa.GenerateKey(rand.Reader, 2048)), "ed": must(ed, err), "secret": []byte("0123456789abcdef0123456789abcdef"),
	}
})

// token signs claims; kid "" is left out of the header.
func token(t testing.TB, alg jose.SignatureAlgorithm, key, kid string, claims string) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	if kid != "" {
		opts.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: testKeys()[key]}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// unsigned is a token of these parts and no signature.
func unsigned(header, claims string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(claims)) + "."
}

// jwk is the public key as it is published, with changes.
func jwk(t testing.TB, key string, change members) members {
	t.Helper()
	k := jose.JSONWebKey{Key: testKeys()[key]}
	if p, ok := k.Key.(crypto.Signer); ok {
		k.Key = p.Public()
	}
	b, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var m members
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	maps.Copy(m, change)
	return m
}

func set(keys ...members) members { return members{"keys": keys} }

const (
	asAt   = asIssuer + authorizationServer
	asKeys = asIssuer + "/jwks"
)

func TestSignedAuthServer(t *testing.T) {
	good := `{"iss":"https://as.example","token_endpoint":"https://as.example/signed"}`
	sign := func(claims string) string { return token(t, jose.ES256, "p256", "", claims) }
	published := set(jwk(t, "p256", nil))
	kid := func(key, id string) members { return jwk(t, key, members{"kid": id}) }
	var many []members
	for range MaxKeys + 1 {
		many = append(many, jwk(t, "p256", nil))
	}
	private, err := (&jose.JSONWebKey{Key: testKeys()["p256"]}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakSigner, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: weak}, nil)
	if err != nil {
		t.Fatal(err)
	}
	weakSigned, err := weakSigner.Sign([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	weakToken, _ := weakSigned.CompactSerialize()
	weakKey, _ := (&jose.JSONWebKey{Key: weak.Public()}).MarshalJSON()
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	tampered := func() string {
		parts := strings.Split(sign(good), ".")
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://as.example","token_endpoint":"https://evil.example/t"}`))
		return strings.Join(parts, ".")
	}

	for _, tt := range []struct {
		name    string
		signed  any     // signed_metadata
		change  members // of the plain document; nil values are left out
		keys    any     // what is at jwks_uri; nil: 404
		want    string  // SignedMetadata, which begins so; or the kind of error
		token   string  // endpoint, behind the issuer
		noFetch bool    // of the keys
	}{
		{"none", nil, nil, published, "", "/t", true},
		{"verified", sign(good), nil, published, "verified", "/signed", false},
		{"ES384", token(t, jose.ES384, "p384", "", good), nil, set(jwk(t, "p384", nil)), "verified", "/signed", false},
		{"RS256", token(t, jose.RS256, "rsa", "", good), nil, set(jwk(t, "rsa", nil)), "verified", "/signed", false},
		{"PS256", token(t, jose.PS256, "rsa", "", good), nil, set(jwk(t, "rsa", nil)), "verified", "/signed", false},
		{"EdDSA", token(t, jose.EdDSA, "ed", "", good), nil, set(jwk(t, "ed", nil)), "verified", "/signed", false},
		{"one of several keys", sign(good), nil, set(jwk(t, "ed", nil), jwk(t, "other", nil), jwk(t, "p256", nil)), "verified", "/signed", false},
		{"the key named", token(t, jose.ES256, "p256", "b", good), nil, set(kid("other", "a"), kid("p256", "b")), "verified", "/signed", false},
		{"keys not understood", sign(good), nil, set(members{"kty": "XYZ"}, members{}, jwk(t, "p256", members{"use": "enc"}), jwk(t, "p256", members{"x5u": 5, "x5c": "?"})), "verified", "/signed", false},
		{"what the claims leave out", sign(`{"iss":"https://as.example","scopes_supported":["s"]}`), nil, published, "verified", "/t", false},
		{"not to end yet", sign(fmt.Sprintf(`{"iss":"https://as.example","exp":%d,"nbf":%d,"iat":1}`, in(time.Hour), in(-time.Hour))), nil, published, "verified", "/t", false},
		{"within the skew of clocks", sign(fmt.Sprintf(`{"iss":"https://as.example","exp":%d,"nbf":%d}`, in(-30*time.Second), in(30*time.Second))), nil, published, "verified", "/t", false},
		{"only the signed one has an endpoint", sign(good), members{"token_endpoint": nil}, published, "verified", "/signed", false},
		{"null is a claim too", sign(`{"iss":"https://as.example","revocation_endpoint":null}`), members{"revocation_endpoint": asIssuer + "/r"}, published, "verified", "/t", false},
		{"claims about the token are no metadata", sign(`{"iss":"https://as.example","signed_metadata":5,"aud":1,"sub":2,"jti":3}`), nil, published, "verified", "/t", false},
		{"claims in another case", sign(`{"iss":"https://as.example","TOKEN_ENDPOINT":"https://evil.example"}`), nil, published, "verified", "/t", false},

		{"no keys named", sign(good), members{"jwks_uri": nil}, published, "ignored: the document names no keys", "/t", true},
		{"keys named by null", sign(good), members{"jwks_uri": "NULL"}, published, "ignored: the document names no keys", "/t", true},
		{"keys at another host", sign(good), members{"jwks_uri": "https://keys.example/jwks"}, published, "ignored: its keys are at another origin", "/t", true},
		{"keys at another port", sign(good), members{"jwks_uri": "https://as.example:8443/jwks"}, published, "ignored: its keys are at another origin", "/t", true},
		{"keys over plain http", sign(good), members{"jwks_uri": "http://as.example/jwks"}, published, "ignored: jwks_uri is not valid: it is not https", "/t", true},
		{"keys at a script", sign(good), members{"jwks_uri": "javascript:alert(1)"}, published, "ignored: jwks_uri is not valid", "/t", true},
		{"keys at a number", sign(good), members{"jwks_uri": 5}, published, "ignored: jwks_uri is not valid", "/t", true},
		{"keys are not there", sign(good), nil, nil, "ignored: its keys cannot be read: the server answered with status 404", "/t", false},
		{"keys are no object", sign(good), nil, []int{1}, "ignored: its keys cannot be read", "/t", false},
		{"keys are no list", sign(good), nil, members{"keys": 1}, "ignored: its keys cannot be read", "/t", false},
		{"no keys", sign(good), nil, set(), "ignored: the key it was signed with is not among", "/t", false},
		{"no keys member", sign(good), nil, members{}, "ignored: the key it was signed with is not among", "/t", false},
		{"too many keys", sign(good), nil, members{"keys": many}, "ignored: its keys cannot be read", "/t", false},
		{"too large a set", sign(good), nil, members{"keys": []any{jwk(t, "p256", nil)}, "x": strings.Repeat("x", MaxBodyBytes)}, "ignored: its keys cannot be read", "/t", false},
		{"another key named", token(t, jose.ES256, "p256", "c", good), nil, set(kid("p256", "b")), "ignored: the key it was signed with is not among", "/t", false},
		{"keys of another type", sign(good), nil, set(jwk(t, "rsa", nil), jwk(t, "p384", nil)), "ignored: the key it was signed with is not among", "/t", false},
		{"a key for encryption", sign(good), nil, set(jwk(t, "p256", members{"use": "enc"})), "ignored: the key it was signed with is not among", "/t", false},
		{"a key for another algorithm", token(t, jose.RS256, "rsa", "", good), nil, set(jwk(t, "rsa", members{"alg": "PS256"})), "ignored: the key it was signed with is not among", "/t", false},
		{"a key that everybody has", sign(good), nil, members{"keys": []any{object{}, jsonRaw(private)}}, "ignored: the key it was signed with is not among", "/t", false},
		{"a weak key", weakToken, nil, members{"keys": []any{jsonRaw(weakKey)}}, "ignored: the key it was signed with is not among", "/t", false},
		{"HMAC", token(t, jose.HS256, "secret", "", good), nil, set(jwk(t, "secret", nil)), `ignored: its algorithm "HS256" is not`, "/t", true},
		{"another algorithm", token(t, jose.ES512, "p521", "", good), nil, set(jwk(t, "p521", nil)), `ignored: its algorithm "ES512" is not`, "/t", true},
		{"no algorithm", unsigned(`{}`, good), nil, published, `ignored: its algorithm "" is not`, "/t", true},
		{"two algorithms", unsigned(`{"alg":"none","alg":"ES256"}`, good), nil, published, "ignored: it is no signed JWT", "/t", true},
		{"critical extension", unsigned(`{"alg":"ES256","crit":["b64"],"b64":false}`, good), nil, published, "ignored: it uses an extension", "/t", true},
		{"signed by another", sign(`{"iss":"https://federation.example","token_endpoint":"https://evil.example"}`), nil, published, "ignored: it was signed by another", "/t", true},
		{"signed by another spelling", sign(`{"iss":"https://as.example/"}`), nil, published, "ignored: it was signed by another", "/t", true},
		{"signed by nobody", sign(`{"token_endpoint":"https://evil.example"}`), nil, published, "ignored: it was signed by another", "/t", true},
		{"claims that are no object", sign(`[]`), nil, published, "ignored: it is no signed JWT", "/t", true},
		{"claims with a name twice", sign(`{"iss":"https://as.example","iss":"https://as.example"}`), nil, published, "ignored: it is no signed JWT", "/t", true},
		{"claims that are no UTF-8", sign("{\"iss\":\"https://as.example\",\"x\":\"\xff\"}"), nil, published, "ignored: it is no signed JWT", "/t", true},
		{"claims far too deep", sign(`{"iss":"https://as.example","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), nil, published, "ignored: it is no signed JWT", "/t", true},
		{"no JWT", "x", nil, published, "ignored: it is no signed JWT", "/t", true},
		{"two parts", "e30.e30", nil, published, "ignored: it is no signed JWT", "/t", true},
		{"padding", "e30=.e30=.", nil, published, "ignored: it is no signed JWT", "/t", true},
		{"empty", "", nil, published, "ignored: it is no signed JWT", "/t", true},
		{"a number", 5, nil, published, "ignored: it is no signed JWT", "/t", true},
		{"an object", members{}, nil, published, "ignored: it is no signed JWT", "/t", true},

		{"not signed", unsigned(`{"alg":"none"}`, good), nil, published, invalid, "", true},
		{"not signed, in another case", unsigned(`{"alg":"NoNe"}`, good), nil, published, invalid, "", true},
		{"signature left out", unsigned(`{"alg":"ES256"}`, good), nil, published, invalid, "", false},
		{"another's signature", token(t, jose.ES256, "other", "", good), nil, published, invalid, "", false},
		{"another's signature under the same name", token(t, jose.ES256, "other", "b", good), nil, set(kid("p256", "b")), invalid, "", false},
		{"tampered with", tampered(), nil, published, invalid, "", false},
		{"expired", sign(fmt.Sprintf(`{"iss":"https://as.example","exp":%d}`, in(-2*time.Minute))), nil, published, invalid, "", false},
		{"not valid yet", sign(fmt.Sprintf(`{"iss":"https://as.example","nbf":%d}`, in(2*time.Minute))), nil, published, invalid, "", false},
		{"an end that is no number", sign(`{"iss":"https://as.example","exp":"never"}`), nil, published, invalid, "", false},
		{"an endpoint over plain http", sign(`{"iss":"https://as.example","token_endpoint":"http://as.example/t"}`), nil, published, invalid, "", false},
		{"an endpoint that is a script", sign(`{"iss":"https://as.example","authorization_endpoint":"javascript:alert(1)"}`), nil, published, invalid, "", false},
		{"an alias over plain http", sign(`{"iss":"https://as.example","mtls_endpoint_aliases":{"token_endpoint":"http://as.example/t"}}`), nil, published, invalid, "", false},
		{"an endpoint that is a list", sign(`{"iss":"https://as.example","token_endpoint":[]}`), nil, published, invalid, "", false},
		{"another issuer", sign(`{"iss":"https://as.example","issuer":"https://evil.example"}`), nil, published, mismatch, "", false},
		{"another spelling of the issuer", sign(`{"iss":"https://as.example","issuer":"https://as.example/"}`), nil, published, mismatch, "", false},
		{"no issuer any more", sign(`{"iss":"https://as.example","issuer":null}`), nil, published, mismatch, "", false},
		{"the plain document is another's", sign(good), members{"issuer": "https://evil.example"}, published, mismatch, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := members{"issuer": asIssuer, "authorization_endpoint": asIssuer + "/a", "token_endpoint": asIssuer + "/t", "jwks_uri": asKeys}
			if tt.signed != nil {
				doc["signed_metadata"] = tt.signed
			}
			for k, v := range tt.change {
				switch v {
				case nil:
					delete(doc, k)
				case "NULL":
					doc[k] = nil
				default:
					doc[k] = v
				}
			}
			w := newWeb(map[string]string{asAt: marshal(t, doc)})
			if tt.keys != nil {
				w.put(asKeys, marshal(t, tt.keys))
			}
			var steps []string
			c := New(Options{Transport: w, Observe: func(s Step) { steps = append(steps, s.URL) }})
			s, err := c.AuthServer(t.Context(), asIssuer)
			got := kind(err)
			if err == nil {
				got = s.SignedMetadata
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || strings.ContainsAny(got, "\n") {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && s.TokenEndpoint != asIssuer+tt.token {
				t.Errorf("token endpoint %s, want %s", s.TokenEndpoint, tt.token)
			}
			if err == nil && s.RevocationEndpoint != "" {
				t.Errorf("revocation endpoint %s", s.RevocationEndpoint)
			}
			want := []string{asAt}
			if !tt.noFetch {
				want = append(want, asKeys)
			}
			if diff := cmp.Diff(want, w.requests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// jsonRaw is JSON that is there already.
func jsonRaw(b []byte) any {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	return v
}

func TestSignedResource(t *testing.T) {
	const at = "https://h.example" + protectedResource
	sign := func(claims string) string { return token(t, jose.ES256, "p256", "", claims) }
	for _, tt := range []struct {
		name     string
		resource string
		signed   string
		want     string
		issuer   string
	}{
		{"verified", "https://h.example", sign(`{"iss":"https://h.example","authorization_servers":["https://signed.example"]}`), "verified", "https://signed.example"},
		{"resource once more", "https://h.example/", sign(`{"iss":"https://h.example/","resource":"https://h.example/","scopes_supported":["s"]}`), "verified", "https://plain.example"},
		{"signed by its authorization server", "https://h.example", sign(`{"iss":"https://plain.example","authorization_servers":["https://evil.example"]}`), "ignored: it was signed by another", "https://plain.example"},
		{"another spelling", "https://h.example", sign(`{"iss":"https://h.example/","authorization_servers":["https://evil.example"]}`), "ignored: it was signed by another", "https://plain.example"},
		{"another resource", "https://h.example", sign(`{"iss":"https://h.example","resource":"https://h.example/"}`), mismatch, ""},
		{"another origin", "https://h.example", sign(`{"iss":"https://h.example","resource":"https://evil.example"}`), mismatch, ""},
		{"wrong signature", "https://h.example", token(t, jose.ES256, "other", "", `{"iss":"https://h.example"}`), invalid, ""},
		{"issuers a string", "https://h.example", sign(`{"iss":"https://h.example","authorization_servers":"https://evil.example"}`), invalid, ""},
		{"issuers that cannot be used", "https://h.example", sign(`{"iss":"https://h.example","authorization_servers":["http://10.0.0.1","https://ok.example"]}`), "verified", "https://ok.example"},
		{"plain resource of another", "https://evil.example", sign(`{"iss":"https://evil.example","resource":"https://h.example"}`), mismatch, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWeb(map[string]string{
				at:                       marshal(t, members{"resource": tt.resource, "authorization_servers": []string{"https://plain.example"}, "jwks_uri": "https://h.example/jwks", "signed_metadata": tt.signed}),
				"https://h.example/jwks": marshal(t, set(jwk(t, "p256", nil))),
			})
			r, err := New(Options{Transport: w}).Resource(t.Context(), parse(t, "https://h.example"), "")
			got := kind(err)
			if err == nil {
				got = r.SignedMetadata
			}
			if got != tt.want || err == nil && (len(r.AuthorizationServers) != 1 || r.AuthorizationServers[0] != tt.issuer) {
				t.Errorf("got %q (%v, %v), want %q of %s", got, r, err, tt.want, tt.issuer)
			}
			for _, u := range w.requests() {
				if u != at && u != "https://h.example/jwks" {
					t.Errorf("%s was asked for", u)
				}
			}
		})
	}
}

// Keys are read like documents: from the origin only, JSON only, and with what time is left.
func TestKeysAreReadLikeDocuments(t *testing.T) {
	signed := token(t, jose.ES256, "p256", "", `{"iss":"https://as.example","token_endpoint":"https://as.example/signed"}`)
	doc := marshal(t, members{"issuer": asIssuer, "authorization_endpoint": asIssuer + "/a", "token_endpoint": asIssuer + "/t", "jwks_uri": asKeys, "signed_metadata": signed})
	keys := marshal(t, set(jwk(t, "p256", nil)))
	redirect := func(to string) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {to}}, Body: http.NoBody}, nil
		}
	}
	for _, tt := range []struct {
		name   string
		answer func() (*http.Response, error)
		want   string
		asked  []string
		life   time.Duration
	}{
		{"redirect within the origin", redirect("/keys"), "verified", []string{asAt, asKeys, asIssuer + "/keys"}, FoundLife},
		{"redirect away", redirect("https://keys.example/keys"), "ignored: ", []string{asAt, asKeys}, FoundLife},
		{"redirect to a cloud's metadata", redirect("http://169.254.169.254/"), "ignored: ", []string{asAt, asKeys}, FoundLife},
		{"HTML", func() (*http.Response, error) {
			a := jsonAnswer(keys)
			a.Header.Set("Content-Type", "text/html")
			return a, nil
		}, "ignored: ", []string{asAt, asKeys}, FoundLife},
		{"its own type", func() (*http.Response, error) {
			a := jsonAnswer(keys)
			a.Header.Set("Content-Type", "application/jwk-set+json")
			return a, nil
		}, "verified", []string{asAt, asKeys}, FoundLife},
		{"no route", func() (*http.Response, error) { return nil, errors.New("no route") }, "ignored: ", []string{asAt, asKeys}, RefusalLife},
		{"503", func() (*http.Response, error) {
			return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
		}, "ignored: ", []string{asAt, asKeys}, RefusalLife},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb(map[string]string{asAt: doc, asIssuer + "/keys": keys, "https://keys.example/keys": keys})
				w.set(asKeys, tt.answer)
				c := New(Options{Transport: w})
				s, err := c.AuthServer(t.Context(), asIssuer)
				if err != nil || !strings.HasPrefix(s.SignedMetadata, tt.want) {
					t.Fatalf("got %v, %v; want %q", s, err, tt.want)
				}
				if diff := cmp.Diff(tt.asked, w.requests()); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				for _, wait := range []struct {
					time  time.Duration
					again bool
				}{{tt.life - 1, false}, {1, true}} {
					time.Sleep(wait.time)
					if _, err := c.AuthServer(t.Context(), asIssuer); err != nil || (len(w.requests()) > 0) != wait.again {
						t.Errorf("after %v: %v, asked again: %v", wait.time, err, !wait.again)
					}
				}
			})
		})
	}
}

// The clock decides, not when it was read.
func TestSignedMetadataExpires(t *testing.T) {
	keys := marshal(t, set(jwk(t, "p256", nil)))
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		signed := token(t, jose.ES256, "p256", "", fmt.Sprintf(`{"iss":"https://as.example","exp":%d}`, time.Now().Add(time.Hour).Unix()))
		w := newWeb(map[string]string{asKeys: keys,
			asAt: marshal(t, members{"issuer": asIssuer, "authorization_endpoint": asIssuer + "/a", "token_endpoint": asIssuer + "/t", "jwks_uri": asKeys, "signed_metadata": signed})})
		c := New(Options{Transport: w})
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{0, ""}, {time.Hour + clockSkew - time.Second, ""}, {time.Second, invalid}} {
			time.Sleep(step.after)
			if _, err := c.Fresh().AuthServer(t.Context(), asIssuer); kind(err) != step.want {
				t.Errorf("got %v, want %q", err, step.want)
			}
		}
	})
}
