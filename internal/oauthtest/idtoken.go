package oauthtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func newSigningKey() (*jose.JSONWebKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &jose.JSONWebKey{Key: private, KeyID: "1", Algorithm: string(jose.ES256), Use: "sig"}, err
}

// idToken tells the client who signed in (OpenID Connect Core §2).
func (i *Issuer) idToken(g *grant) (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss": i.URL, "sub": g.subject, "aud": g.client.id, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"email": g.subject + "@example.com", "email_verified": true,
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.signingKey}, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// keys is the JWK Set document of the issuer (RFC 7517 §5).
func (i *Issuer) keys(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	note(w, "keys shown")
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.signingKey.Public()}})
}
