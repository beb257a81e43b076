package login

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Client assertions (RFC 7523 §2.2).
const (
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLifetime = time.Minute
	minRSABits        = 2048 // RFC 7518 §3.3
)

// Format implements [fmt.Formatter]: no verb prints the key.
func (k SigningKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// LogValue implements [slog.LogValuer].
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText implements [encoding.TextMarshaler], so that JSON and the like are redacted too.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }

func (c Credentials) method() string {
	switch {
	case c.AuthMethod != "":
		return c.AuthMethod
	case c.Secret.IsZero():
		return "none"
	}
	return "client_secret_basic"
}

// showsCertificate reports whether the client is known by its certificate (RFC 8705 §2).
func (c Credentials) showsCertificate() bool {
	m := c.method()
	return m == "tls_client_auth" || m == "self_signed_tls_client_auth"
}

// checkMethod reports early whether a configured client can authenticate at s. That it does not
// authenticate at all is something that many servers allow without listing it.
func checkMethod(s *discovery.AuthServer, c Credentials) error {
	method, taken := c.method(), s.TokenEndpointAuthMethodsSupported
	switch {
	case method == "none":
		return nil
	case !slices.Contains(methods, method):
		return unknownMethod(s.Issuer, method)
	case len(taken) > 0 && !slices.Contains(taken, method):
		return &ClientError{
			Issuer: s.Issuer, Reason: "it is configured to authenticate with " + method + ", but the server takes only " + sanitize.Quote(strings.Join(taken, ", ")),
			Remedy: "set " + issuerKey(s.Issuer, "token_endpoint_auth_method") + " in the config to what the client is registered with",
		}
	case method == "private_key_jwt":
		_, err := signingAlgorithm(s.Issuer, c.Key, s.TokenEndpointAuthSigningAlgValuesSupported)
		return err
	}
	return nil
}

// methods are the ones that authenticate knows. The first three need nothing but what a registration gives.
var methods = []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"}

func unknownMethod(issuer, method string) error {
	return &ClientError{Issuer: issuer, Reason: "the authentication method " + sanitize.Quote(method) + " is not supported",
		Remedy: "set " + issuerKey(issuer, "token_endpoint_auth_method") + " in the config to one of " + strings.Join(methods, ", ")}
}

// authenticate adds the client's authentication (RFC 6749 §2.3) to a form.
func (f *Flows) authenticate(to call, c Credentials, form map[string]string) (url.Values, http.Header, error) {
	values, header := url.Values{}, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for k, v := range form {
		values.Set(k, v)
	}
	switch method := c.method(); method {
	case "none":
		if c.ID != "" { // a grant may do without a client (RFC 7521 §4.1, RFC 8693 §2.1)
			values.Set("client_id", c.ID)
		}
	case "client_secret_post":
		values.Set("client_id", c.ID)
		values.Set("client_secret", c.Secret.Reveal())
	case "client_secret_basic":
		// Both halves are form-encoded first (RFC 6749 §2.3.1).
		pair := url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case "private_key_jwt":
		assertion, err := f.assertion(to, c)
		if err != nil {
			return nil, nil, err
		}
		values.Set("client_id", c.ID)
		values.Set("client_assertion_type", assertionType)
		values.Set("client_assertion", assertion)
	case "tls_client_auth", "self_signed_tls_client_auth":
		// The handshake authenticates; the client_id says as whom (RFC 8705 §2).
		if f.certificate(to.endpoint) == nil {
			return nil, nil, noCertificate(to.issuer, to.endpoint)
		}
		values.Set("client_id", c.ID)
	default:
		return nil, nil, unknownMethod(to.issuer, method)
	}
	return values, header, nil
}

// noCertificate: a client that is known by its certificate has none at an endpoint.
func noCertificate(issuer, endpoint string) error {
	o := shownEndpoint(endpoint)
	return &ClientError{Issuer: issuer, Reason: "it authenticates with a client certificate, and none is configured for " + o,
		Remedy: "add a site with a certificate to the config: " + siteKey(o)}
}

// assertion is a JWT that authenticates the client once, at one server (RFC 7523 §3).
func (f *Flows) assertion(to call, c Credentials) (string, error) {
	algorithm, err := signingAlgorithm(to.issuer, c.Key, f.signingAlgorithms(to))
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expiry   int64  `json:"exp"`
	}{c.ID, c.ID, to.issuer, rand.Text(), now.Unix(), now.Add(assertionLifetime).Unix()})
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if c.Key.ID != "" {
		options = options.WithHeader("kid", c.Key.ID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: cryptosigner.Opaque(c.Key.Signer)}, options)
	if err != nil {
		return "", fmt.Errorf("signing a client assertion for %s: %w", shownEndpoint(to.issuer), err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("signing a client assertion for %s: %w", shownEndpoint(to.issuer), err)
	}
	return signed.CompactSerialize()
}

// signingAlgorithms returns what the server announces. A request that knows no metadata, such as
// a refresh, takes what an earlier one of this process did.
func (f *Flows) signingAlgorithms(to call) []string {
	if to.algorithms != nil {
		f.algorithms.Store(to.issuer, to.algorithms)
		return to.algorithms
	}
	known, _ := f.algorithms.Load(to.issuer)
	list, _ := known.([]string)
	return list
}

// signingAlgorithm chooses what to sign with: what is configured, else the first that both the
// key and the server (supported; empty: not known) are able to.
func signingAlgorithm(issuer string, k *SigningKey, supported []string) (jose.SignatureAlgorithm, error) {
	refuse := func(format string, args ...any) (jose.SignatureAlgorithm, error) {
		return "", &ClientError{Issuer: issuer, Reason: fmt.Sprintf(format, args...),
			Remedy: "check the key of the client under " + issuerKey(issuer, "") + " in the config, and its algorithm"}
	}
	if k == nil || k.Signer == nil {
		return refuse("private_key_jwt needs a private key, and none is configured")
	}
	var able []string
	switch key := k.Signer.Public().(type) {
	case ed25519.PublicKey:
		able = []string{"EdDSA"}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			able = []string{"ES256"}
		}
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return refuse("its RSA key has fewer than %d bits", minRSABits)
		}
		able = []string{"RS256", "PS256"}
	}
	switch {
	case len(able) == 0:
		return refuse("its key is none of P-256, RSA and Ed25519")
	case k.Algorithm != "" && !slices.Contains(able, k.Algorithm):
		return refuse("its key cannot sign with %s, only with %s", strconv.Quote(k.Algorithm), strings.Join(able, " or "))
	case k.Algorithm != "":
		able = []string{k.Algorithm}
	}
	if len(supported) == 0 {
		return jose.SignatureAlgorithm(able[0]), nil
	}
	for _, a := range able {
		if slices.Contains(supported, a) {
			return jose.SignatureAlgorithm(a), nil
		}
	}
	return refuse("its key signs with %s, and the server takes only %s", strings.Join(able, " or "), sanitize.Quote(strings.Join(supported, ", ")))
}

// issuerKey and siteKey name a place in the config.
func issuerKey(issuer, member string) string {
	return strings.TrimSuffix("issuers."+sanitize.Quote(issuer)+"."+member, ".")
}

func siteKey(o string) string { return "sites." + sanitize.Quote(o) + ".mtls" }
