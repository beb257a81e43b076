package oauthtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestIDToken(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{IDToken: true})
	code, verifier := newCode(t, i, "nonce", "n-1")
	a := post(t, i.URL+"/token", tokenForm(code, verifier)).json
	token, _ := a["id_token"].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("id_token %q", token)
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var claims object
	if err := json.Unmarshal(decode(parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if exp, _ := claims["exp"].(float64); int64(exp) <= time.Now().Unix() {
		t.Errorf("exp %v", claims["exp"])
	}
	want := object{"iss": i.URL, "sub": "alice", "aud": "public", "email": "alice@example.com", "email_verified": true, "nonce": "n-1"}
	if d := cmp.Diff(want, with(claims, "iat", nil, "exp", nil)); d != "" {
		t.Error(d)
	}
	keys := get(t, get(t, i.URL+rfc8414).json["jwks_uri"].(string)).json["keys"].([]any)
	key := keys[0].(object)
	if key["d"] != nil {
		t.Error("the private key is shown")
	}
	x, y := decode(key["x"].(string)), decode(key["y"].(string))
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		t.Fatal(err)
	}
	sum, signature := sha256.Sum256([]byte(parts[0]+"."+parts[1])), decode(parts[2])
	if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the signature is wrong")
	}
	if refreshed := refresh(t, i, a["refresh_token"]).json; refreshed["id_token"] == nil {
		t.Error("a refresh yields none")
	}
	if own := post(t, i.URL+"/token", mine()).json; own["id_token"] != nil || own["access_token"] == nil {
		t.Errorf("a client for itself: got %v", own)
	}
	off := newIssuer(t, oauthtest.IssuerOptions{})
	if login(t, off)["id_token"] != nil || get(t, off.URL+"/jwks").status != 404 {
		t.Error("off: there is one")
	}
}
