package oauthtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"
)

type object = map[string]any

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jws signs as ES256 does, whatever the header says (RFC 7515 §5.1, RFC 7518 §3.4).
func jws(t *testing.T, key *ecdsa.PrivateKey, header, claims object) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// jwk is the public half (RFC 7518 §6.2.1).
func jwk(t *testing.T, key *ecdsa.PrivateKey) object {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	size := (len(point) - 1) / 2
	return object{
		"kty": "EC", "crv": key.Curve.Params().Name, "x": base64.RawURLEncoding.EncodeToString(point[1 : 1+size]),
		"y": base64.RawURLEncoding.EncodeToString(point[1+size:]),
	}
}

// thumbprint is RFC 7638 §3.
func thumbprint(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	k := jwk(t, key)
	return s256(`{"crv":"` + k["crv"].(string) + `","kty":"EC","x":"` + k["x"].(string) + `","y":"` + k["y"].(string) + `"}`)
}

// with copies o with changes: name, value pairs; a nil value removes.
func with(o object, changes ...any) object {
	o = maps.Clone(o)
	for n := 0; n < len(changes); n += 2 {
		if name := changes[n].(string); changes[n+1] == nil {
			delete(o, name)
		} else {
			o[name] = changes[n+1]
		}
	}
	return o
}

func proofHeader(t *testing.T, key *ecdsa.PrivateKey) object {
	return object{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(t, key)}
}

func proofClaims(method, u string) object {
	return object{"jti": rand.Text(), "htm": method, "htu": u, "iat": time.Now().Unix()}
}

// proof is a DPoP proof (RFC 9449 §4.2), with changed claims.
func proof(t *testing.T, key *ecdsa.PrivateKey, method, u string, changes ...any) string {
	t.Helper()
	return jws(t, key, proofHeader(t, key), with(proofClaims(method, u), changes...))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// strs is a list of strings of a JSON document.
func strs(v any) (list []string) {
	elements, _ := v.([]any)
	for _, e := range elements {
		list = append(list, e.(string))
	}
	return list
}
