package discovery

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// What became of signed metadata.
const (
	SignedMetadataVerified = "verified"
	signedMetadataIgnored  = "ignored: " // and why
)

// clockSkew is how far the clocks of others may be off.
const clockSkew = time.Minute

// algorithms are those of signatures that we verify: of public keys only.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.PS256, jose.EdDSA}

// unverifiable is why signed metadata is ignored.
type unverifiable string

func (u unverifiable) Error() string { return string(u) }

// verify lays the claims of a document's signed metadata over its members, before which they take
// precedence (RFC 8414 §2.1, RFC 9728 §2.2), and returns what became of them. They are ignored
// unless the one that the document is about signed them itself, with a key that the document leads
// to at that origin. An error says that they cannot be true. brief: the keys may be had soon.
func (c *Client) verify(ctx context.Context, at string, members object, subject string) (status string, brief bool, err error) {
	if !members.has("signed_metadata") {
		return "", false, nil
	}
	claims, brief, err := c.claims(ctx, at, members, subject)
	var ignored unverifiable
	switch {
	case errors.As(err, &ignored):
		return signedMetadataIgnored + ignored.Error(), brief, nil
	case err != nil:
		return "", false, err
	}
	maps.Copy(members, claims) // those about the token itself are no metadata that we know
	return SignedMetadataVerified, false, nil
}

func (c *Client) claims(ctx context.Context, at string, members object, subject string) (claims object, brief bool, err error) {
	token := members.text("signed_metadata")
	header, claims, ok := unpack(token)
	if !ok {
		return nil, false, unverifiable("it is no signed JWT")
	}
	keysURL, err := c.keysURL(members, subject)
	if err != nil {
		return nil, false, err
	}
	alg := jose.SignatureAlgorithm(header.text("alg"))
	switch {
	case strings.EqualFold(string(alg), "none"):
		return nil, false, &InvalidError{URL: at, Reason: "its signed metadata is not signed"}
	case !slices.Contains(algorithms, alg):
		return nil, false, unverifiable("its algorithm " + sanitize.Quote(string(alg)) + " is not one that is accepted here")
	case header.has("crit"):
		return nil, false, unverifiable("it uses an extension that is not known here")
	case claims.text("iss") != subject:
		return nil, false, unverifiable("it was signed by another")
	}
	keys, brief, err := c.keys(ctx, keysURL, alg, header)
	if err != nil {
		return nil, brief, unverifiable("its keys cannot be read: " + err.Error())
	}
	if len(keys) == 0 {
		return nil, false, unverifiable("the key it was signed with is not among those that are published")
	}
	if err := checkSignature(token, keys); err != nil {
		return nil, false, &InvalidError{URL: at, Reason: "its signed metadata has a wrong signature"}
	}
	return claims, false, checkTimes(at, claims)
}

// unpack reads the parts of a JWT, without verifying it.
func unpack(token string) (header, claims object, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, false
	}
	for i, o := range []*object{&header, &claims} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		if err != nil {
			return nil, nil, false
		}
		if *o, err = parseObject("", b); err != nil {
			return nil, nil, false
		}
	}
	return header, claims, true
}

// keysURL returns where the document says the keys are, if that is at the origin it is about.
func (c *Client) keysURL(members object, subject string) (string, error) {
	if !members.has("jwks_uri") {
		return "", unverifiable("the document names no keys")
	}
	keys, err := c.checkURL(members.text("jwks_uri"))
	if err != nil {
		return "", unverifiable("jwks_uri is not valid: " + err.Error())
	}
	at, err := origin.Of(keys)
	if about, aboutErr := origin.OfURL(subject); err != nil || aboutErr != nil || at != about {
		return "", unverifiable("its keys are at another origin")
	}
	return keys.String(), nil
}

func checkSignature(token string, keys []any) error {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err = signed.Verify(k); err == nil {
			return nil
		}
	}
	return err
}

func checkTimes(at string, claims object) error {
	var times struct {
		Expiry    *float64 `json:"exp"`
		NotBefore *float64 `json:"nbf"`
	}
	if err := claims.decode(at, &times); err != nil {
		return &InvalidError{URL: at, Reason: "its signed metadata has a time that is no number"}
	}
	now, skew := float64(time.Now().Unix()), clockSkew.Seconds()
	switch {
	case times.Expiry != nil && now-skew >= *times.Expiry:
		return &InvalidError{URL: at, Reason: "its signed metadata has expired"}
	case times.NotBefore != nil && now+skew < *times.NotBefore:
		return &InvalidError{URL: at, Reason: "its signed metadata is not valid yet"}
	}
	return nil
}
