// Package dpop proves with each request that its sender holds the key of its token (RFC 9449).
package dpop

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Algorithm is the one that proofs are signed with; every server that knows DPoP is to know it
// (RFC 9449 §5.1 leaves the choice to the server's dpop_signing_alg_values_supported).
const Algorithm = "ES256"

// Key is a P-256 key pair that tokens are bound to. It never changes and prints no secret.
type Key struct {
	private    func() *ecdsa.PrivateKey // a function, which every verb of fmt prints as an address
	thumbprint string
}

// NewKey makes a key pair.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newKey(private)
}

// ParseKey reads what [Key.Text] wrote.
func ParseKey(text secret.Text) (*Key, error) {
	bad := errors.New("not a P-256 private key")
	der, err := base64.RawURLEncoding.DecodeString(text.Reveal())
	if err != nil {
		return nil, bad
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, bad
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, bad
	}
	return newKey(private)
}

func newKey(private *ecdsa.PrivateKey) (*Key, error) {
	sum, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &Key{func() *ecdsa.PrivateKey { return private }, base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// Text is the key for the token store: PKCS #8 in base64url.
func (k *Key) Text() (secret.Text, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private())
	if err != nil {
		return secret.Text{}, err
	}
	defer clear(der)
	return secret.New(base64.RawURLEncoding.EncodeToString(der)), nil
}

// Thumbprint is the base64url SHA-256 thumbprint of the public key (RFC 7638), the jkt of the
// tokens bound to it and the dpop_jkt of authorization requests (RFC 9449 §6.1, §10).
func (k *Key) Thumbprint() string { return k.thumbprint }

// Format implements [fmt.Formatter].
func (k *Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "DPoP key "+k.thumbprint) }

// Proof returns the value of the DPoP header of one request (RFC 9449 §4.2). nonce is the one the
// server gave last, "" for none; token is the access token that the request carries, none at a
// token endpoint. Each proof may be sent once.
func (k *Key) Proof(method string, target *url.URL, nonce string, token secret.Text) (string, error) {
	at, err := withoutQuery(target)
	if err != nil {
		return "", err
	}
	claims := struct {
		ID       string `json:"jti"`
		Method   string `json:"htm"`
		URL      string `json:"htu"`
		IssuedAt int64  `json:"iat"`
		Nonce    string `json:"nonce,omitzero"`
		Token    string `json:"ath,omitzero"`
	}{rand.Text(), method, at, time.Now().Unix(), nonce, ""}
	if !token.IsZero() {
		sum := sha256.Sum256([]byte(token.Reveal()))
		claims.Token = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k.private()}, options)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// withoutQuery is the htu of a URL (RFC 9449 §4.2), in the form in which it is sent.
func withoutQuery(u *url.URL) (string, error) {
	o, err := origin.Of(u)
	if err != nil {
		return "", err
	}
	return o.String() + cmp.Or(u.EscapedPath(), "/"), nil
}
