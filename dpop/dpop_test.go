package dpop_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func newKey(t testing.TB) *dpop.Key {
	t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func sum(s string) string {
	digest := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

// thumbprint is RFC 7638 §3 for an EC key, by hand.
func thumbprint(x, y string) string {
	return sum(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`)
}

// open verifies a proof with the key in it and returns its header and claims.
func open(t *testing.T, proof string) (header, claims map[string]any) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(proof, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(signed.Signatures[0].Protected.JSONWebKey)
	if err != nil {
		t.Fatal(err)
	}
	protected, err := base64.RawURLEncoding.DecodeString(proof[:strings.Index(proof, ".")])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(protected, &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return header, claims
}

func TestProof(t *testing.T) {
	key := newKey(t)
	const at = "https://as.example/token"
	for _, tt := range []struct {
		name          string
		method, nonce string
		token         string
		want          map[string]any // beside jti and iat
	}{
		{"at a token endpoint", "POST", "", "", map[string]any{"htm": "POST", "htu": at}},
		{"with a nonce", "POST", "eyJ7S.zG-8_~", "", map[string]any{"htm": "POST", "htu": at, "nonce": "eyJ7S.zG-8_~"}},
		{"with a token", "GET", "", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", map[string]any{
			"htm": "GET", "htu": at, "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo", // the example of RFC 9449 §7.1
		}},
		{"with both", "DELETE", "n", "t", map[string]any{"htm": "DELETE", "htu": at, "nonce": "n", "ath": sum("t")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proof, err := key.Proof(tt.method, parse(t, at), tt.nonce, secret.New(tt.token))
			if err != nil {
				t.Fatal(err)
			}
			header, claims := open(t, proof)
			jwk, _ := header["jwk"].(map[string]any)
			x, _ := jwk["x"].(string)
			y, _ := jwk["y"].(string)
			if d := cmp.Diff(map[string]any{
				"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": y}, // and no d
			}, header); d != "" {
				t.Errorf("header (-want +got):\n%s", d)
			}
			if got, want := key.Thumbprint(), thumbprint(x, y); got != want {
				t.Errorf("thumbprint %s, want %s", got, want)
			}
			if iat, _ := claims["iat"].(float64); time.Since(time.Unix(int64(iat), 0)).Abs() > 5*time.Second {
				t.Errorf("iat %v", claims["iat"])
			}
			if id, _ := claims["jti"].(string); len(id) < 16 { // RFC 9449 §4.2: 96 bits of chance
				t.Errorf("jti %q", id)
			}
			delete(claims, "iat")
			delete(claims, "jti")
			if d := cmp.Diff(tt.want, claims); d != "" {
				t.Errorf("claims (-want +got):\n%s", d)
			}
		})
	}
}

// The helper above computes what RFC 9449 §6.1 prints for the key of its examples.
func TestThumbprintVector(t *testing.T) {
	got := thumbprint("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA")
	if want := "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTargetOfProof(t *testing.T) {
	key := newKey(t)
	for _, tt := range []struct{ name, target, want string }{
		{"as it is", "https://site.example/a/b", "https://site.example/a/b"},
		{"no path", "https://site.example", "https://site.example/"},
		{"only a query", "https://site.example?q=1", "https://site.example/"},
		{"query", "https://site.example/a?q=1&r=%2F", "https://site.example/a"},
		{"empty query", "https://site.example/a?", "https://site.example/a"},
		{"fragment", "https://site.example/a#f", "https://site.example/a"},
		{"default port", "https://site.example:443/a", "https://site.example/a"},
		{"default port of http", "http://site.example:80/a", "http://site.example/a"},
		{"another port", "https://site.example:8443/a", "https://site.example:8443/a"},
		{"the other default port", "https://site.example:80/a", "https://site.example:80/a"},
		{"upper case", "HTTPS://Site.EXAMPLE/Path", "https://site.example/Path"},
		{"escaped path", "https://site.example/a%2Fb/%7Ec%20d", "https://site.example/a%2Fb/%7Ec%20d"},
		{"what needs escaping", "https://site.example/a b/é", "https://site.example/a%20b/%C3%A9"},
		{"dots and slashes stay", "https://site.example/a/../b//c/", "https://site.example/a/../b//c/"},
		{"user and password", "https://u:p@site.example/a", "https://site.example/a"},
		{"international name", "https://bücher.example/a", "https://xn--bcher-kva.example/a"},
		{"IPv6", "http://[0:0::1]:8080/a", "http://[::1]:8080/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proof, err := key.Proof("GET", parse(t, tt.target), "", secret.Text{})
			if err != nil {
				t.Fatal(err)
			}
			if _, claims := open(t, proof); claims["htu"] != tt.want {
				t.Errorf("got %v, want %s", claims["htu"], tt.want)
			}
		})
	}
	for _, bad := range []string{"", "/a", "site.example/a", "ftp://site.example/a", "mailto:a@site.example", "https:///a"} {
		if proof, err := key.Proof("GET", parse(t, bad), "", secret.Text{}); err == nil {
			t.Errorf("%q: got a proof for %s", bad, proof)
		}
	}
}

func TestProofsDiffer(t *testing.T) {
	key, seen := newKey(t), map[any]bool{}
	for range 50 {
		proof, err := key.Proof("GET", parse(t, "https://site.example/"), "", secret.Text{})
		if err != nil {
			t.Fatal(err)
		}
		_, claims := open(t, proof)
		seen[claims["jti"]] = true
	}
	if len(seen) != 50 {
		t.Errorf("50 proofs have %d different jti", len(seen))
	}
	if a, b := newKey(t), newKey(t); a.Thumbprint() == b.Thumbprint() {
		t.Error("two keys are one")
	}
}

func TestKeyIsKept(t *testing.T) {
	key := newKey(t)
	text, err := key.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := dpop.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if again.Thumbprint() != key.Thumbprint() {
		t.Errorf("thumbprint %s became %s", key.Thumbprint(), again.Thumbprint())
	}
	proof, err := again.Proof("GET", parse(t, "https://site.example/"), "", secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	header, _ := open(t, proof)
	jwk := header["jwk"].(map[string]any)
	if got := thumbprint(jwk["x"].(string), jwk["y"].(string)); got != key.Thumbprint() {
		t.Errorf("proofs of the kept key are of %s", got)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	pkcs8 := func(key any, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	right, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(right)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(right.Public())
	if err != nil {
		t.Fatal(err)
	}
	whole := pkcs8(right, nil)
	encode := base64.RawURLEncoding.EncodeToString
	if _, err := dpop.ParseKey(secret.New(encode(whole))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text string }{
		{"empty", ""},
		{"not base64", "this is no key"},
		{"garbage", encode([]byte("this is no key"))},
		{"truncated", encode(whole[:len(whole)-8])},
		{"P-224", encode(pkcs8(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)))},
		{"P-384", encode(pkcs8(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))},
		{"P-521", encode(pkcs8(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)))},
		{"RSA", encode(pkcs8(rsa.GenerateKey(rand.Reader, 2048)))},
		{"Ed25519", encode(pkcs8(ed, nil))},
		{"SEC 1", encode(sec1)},
		{"a public key", encode(public)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := dpop.ParseKey(secret.New(tt.text))
			if err == nil {
				t.Fatalf("got %v", key)
			}
			if tt.text != "" && strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error repeats the text: %v", err)
			}
		})
	}
}

// Whoever prints a key, or something that holds one, prints no secret.
func TestKeyIsNotPrinted(t *testing.T) {
	key := newKey(t)
	text, err := key.Text()
	if err != nil {
		t.Fatal(err)
	}
	der, err := base64.RawURLEncoding.DecodeString(text.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := parsed.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	number := new(big.Int).SetBytes(private) // how a print of the struct would show it
	secrets := map[string]string{
		"the stored text": text.Reveal(), "raw": string(private), "base64url": base64.RawURLEncoding.EncodeToString(private),
		"base64": base64.RawStdEncoding.EncodeToString(private), "hex": fmt.Sprintf("%x", private), "HEX": fmt.Sprintf("%X", private),
		"decimal": number.String(), "bytes": strings.Trim(fmt.Sprint(private), "[]"), "Go bytes": fmt.Sprintf("%#v", private)[len("[]byte{"):],
		"words": strings.Trim(fmt.Sprint(number.Bits()), "[]"),
	}
	type holder struct {
		Shown  *dpop.Key
		hidden *dpop.Key
		value  dpop.Key
		list   []*dpop.Key
		named  map[string]*dpop.Key
		any    any
	}
	held := holder{key, key, *key, []*dpop.Key{key}, map[string]*dpop.Key{"k": key}, key}
	prints := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%e", "%t", "%p", "%T", "%w", "%999v", "%-5.3s", "% x"} {
		for name, v := range map[string]any{"pointer": key, "value": *key, "holder": held, "pointer to holder": &held, "pointer to pointer": &key} {
			prints[verb+" of "+name] = fmt.Sprintf(verb, v) // wrong verbs are part of it
		}
	}
	for name, v := range map[string]any{"key": key, "holder": &held} {
		var line bytes.Buffer
		slog.New(slog.NewTextHandler(&line, nil)).Info("x", "key", v)
		slog.New(slog.NewJSONHandler(&line, nil)).Info("x", "key", v)
		prints["slog of "+name] = line.String()
		std, err := stdjson.Marshal(v)
		prints["encoding/json of "+name] = fmt.Sprint(string(std), err)
		strict, err := json.Marshal(v)
		prints["json of "+name] = fmt.Sprint(string(strict), err)
	}
	for how, got := range prints {
		for form, s := range secrets {
			if strings.Contains(got, s) {
				t.Errorf("%s shows the private key as %s: %s", how, form, got)
			}
		}
	}
	if got := fmt.Sprintf("%v", key); got != "DPoP key "+key.Thumbprint() {
		t.Errorf("got %q", got)
	}
	var none *dpop.Key
	if got := fmt.Sprint(none); got != "<nil>" {
		t.Errorf("nil prints as %q", got)
	}
}

func BenchmarkProof(b *testing.B) {
	key, target, token := newKey(b), parse(b, "https://site.example/docs/handbook?page=1"), secret.New(rand.Text())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.Proof("GET", target, "nonce", token); err != nil {
			b.Fatal(err)
		}
	}
}
