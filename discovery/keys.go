package discovery

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxKeys is how many keys a JWK set may have.
const MaxKeys = 32

// RSA keys below are too weak, and those above take too long.
const minRSABits, maxRSABits = 2048, 8192

// keys reads the keys of a JWK set that may have made a signature with this header. brief: the
// set could not be read now, but perhaps soon.
func (c *Client) keys(ctx context.Context, url string, alg jose.SignatureAlgorithm, header object) (keys []any, brief bool, err error) {
	err = c.get(ctx, candidate{url, func(_ context.Context, _ *Client, at string, body []byte) error {
		keys, err = readKeys(at, body, alg, header)
		return err
	}})
	return keys, isPassing(err), err
}

func readKeys(at string, body []byte, alg jose.SignatureAlgorithm, header object) ([]any, error) {
	document, err := parseObject(at, body)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := document.decode(at, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > MaxKeys {
		return nil, &InvalidError{URL: at, Reason: fmt.Sprintf("it has more than %d keys", MaxKeys)}
	}
	var keys []any
	for _, raw := range set.Keys {
		k, err := readKey(at, raw)
		if err != nil {
			continue // a key that is not understood is skipped (RFC 7517 §5)
		}
		if header.has("kid") && k.KeyID != header.text("kid") || !suits(k, alg) {
			continue
		}
		keys = append(keys, k.Key)
	}
	return keys, nil
}

// readKey reads a public key, and nothing of it but the key itself and what it is for.
func readKey(at string, raw []byte) (k jose.JSONWebKey, err error) {
	members, err := parseObject(at, raw)
	if err != nil {
		return k, err
	}
	public := object{}
	for name, value := range members {
		switch {
		case slices.Contains([]string{"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}, name):
			public[name] = value
		case name == "d" || name == "k":
			return k, errors.New("everybody has this key")
		}
	}
	b, err := json.Marshal(public)
	if err != nil {
		return k, err
	}
	return k, k.UnmarshalJSON(b)
}

// suits reports whether signatures of this algorithm can be verified with a key.
func suits(k jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != string(alg) {
		return false
	}
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && key.Curve == elliptic.P256() || alg == jose.ES384 && key.Curve == elliptic.P384()
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return (alg == jose.RS256 || alg == jose.PS256) && bits >= minRSABits && bits <= maxRSABits
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}
