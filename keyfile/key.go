package keyfile

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// signer hides the key from every verb of fmt: formatted where methods are not called, as within
// unexported fields, a function is an address, while an Ed25519 key would be its bytes.
type signer struct {
	public crypto.PublicKey
	sign   func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// Opaque is the key in a form that prints no secret.
func Opaque(key crypto.Signer) crypto.Signer { return &signer{key.Public(), key.Sign} }

// Public implements [crypto.Signer].
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer].
func (s *signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(rand, digest, opts)
}

// Format implements [fmt.Formatter].
func (s *signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

var (
	errPassphrase = errors.New("wrong passphrase")
	errDamaged    = errors.New("the encrypted block is damaged")
)

// unsupportedError is a key or an encryption that exists, but not here.
type unsupportedError struct {
	what       string
	encryption bool
}

func (e *unsupportedError) Error() string { return e.what + " is not supported" }

// privateKey finds and decodes the first private key of the file.
func (f *File) privateKey(ctx context.Context, blocks []Block, p *Passphrase) (crypto.Signer, error) {
	for _, b := range blocks {
		if b.IsKey() {
			return f.decodeKey(ctx, b, p)
		}
	}
	switch {
	case f.Field == "key" && has(blocks, Block.IsCertificate):
		return nil, f.Fault(causeCertAsKey, nil)
	case has(blocks, func(b Block) bool { return strings.HasSuffix(b.Type, "PUBLIC KEY") }):
		return nil, f.Fault(causePublicKey, nil)
	}
	return nil, f.Fault(causeNoKey, nil)
}

func (f *File) decodeKey(ctx context.Context, b Block, p *Passphrase) (crypto.Signer, error) {
	der := b.Bytes
	if b.encrypted() {
		text, err := p.forBlock(ctx, f, b)
		if err != nil {
			return nil, err
		}
		if der, err = b.decrypt([]byte(text.Reveal())); err != nil {
			return nil, f.keyError(b, err, p)
		}
		defer clear(der)
	}
	key, err := parseKey(b.Type, der)
	if err != nil {
		return nil, f.keyError(b, err, p)
	}
	return key, nil
}

// keyError tells a wrong passphrase, a key of an unknown kind and a damaged file apart.
func (f *File) keyError(b Block, err error, p *Passphrase) *Error {
	if errors.Is(err, errPassphrase) {
		return p.wrong(f, b)
	}
	detail := sanitize.Line(err.Error(), 300)
	var unsupported *unsupportedError
	if !errors.As(err, &unsupported) {
		return f.Fault(causeDamagedKey, err, "block", b.String(), "detail", detail)
	}
	switch {
	case b.Type == "OPENSSH PRIVATE KEY":
		return f.Fault(causeOpenSSH, err, "block", b.String())
	case unsupported.encryption:
		return f.Fault(causeForeignCipher, err, "block", b.String(), "detail", unsupported.what, "inform", b.inform())
	}
	return f.Fault(causeForeignKey, err, "block", b.String(), "detail", unsupported.what)
}

// parseKey decodes PKCS#8, PKCS#1 or SEC 1, whatever the label says: files with a wrong one exist.
func parseKey(label string, der []byte) (crypto.Signer, error) {
	if name := foreignKey(label); name != "" {
		return nil, &unsupportedError{what: name}
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if rsaKey, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return rsaKey, nil
		}
		ecKey, e := x509.ParseECPrivateKey(der)
		if e != nil {
			return nil, keyFault(label, der, err)
		}
		key = ecKey
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P224() { // has no TLS signature scheme (RFC 8446 §4.2.3)
			return nil, &unsupportedError{what: "an ECDSA key on the curve P-224"}
		}
		return key, nil
	}
	return nil, &unsupportedError{what: "a key agreement key, which cannot sign,"}
}

func foreignKey(label string) string {
	switch label {
	case "OPENSSH PRIVATE KEY":
		return "an OpenSSH key"
	case "TSS2 PRIVATE KEY":
		return "a key inside a TPM"
	case "DSA PRIVATE KEY":
		return "a DSA key"
	}
	return ""
}

// keyFault names the algorithm when it is the algorithm that err is about.
func keyFault(label string, der []byte, err error) error {
	if label == "EC PRIVATE KEY" {
		var sec1 struct { // RFC 5915 §3
			Version    int
			PrivateKey []byte
			Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
			PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
		}
		if _, e := asn1.Unmarshal(der, &sec1); e == nil && sec1.Curve != nil && !tlsCurves[sec1.Curve.String()] {
			return &unsupportedError{what: "an ECDSA key on the curve " + curveName(sec1.Curve)}
		}
		return err
	}
	var info privateKeyInfo
	if _, e := asn1.Unmarshal(der, &info); e != nil {
		return err
	}
	algorithm := info.Algorithm.Algorithm.String()
	switch algorithm {
	case "1.2.840.113549.1.1.1", "1.3.101.112": // RSA, Ed25519: known, so the key itself is broken
		return err
	case "1.2.840.10045.2.1":
		var curve asn1.ObjectIdentifier
		if _, e := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &curve); e != nil {
			return &unsupportedError{what: "an ECDSA key without a named curve"}
		}
		if tlsCurves[curve.String()] {
			return err
		}
		return &unsupportedError{what: "an ECDSA key on the curve " + curveName(curve)}
	}
	name, known := map[string]string{
		"1.3.101.113":           "an Ed448 key",
		"1.3.101.111":           "an X448 key",
		"1.2.840.113549.1.1.10": "a key restricted to RSA-PSS",
		"1.2.840.10040.4.1":     "a DSA key",
	}[algorithm]
	if !known {
		name = "a key of the algorithm " + algorithm
	}
	return &unsupportedError{what: name}
}

var tlsCurves = map[string]bool{"1.2.840.10045.3.1.7": true, "1.3.132.0.34": true, "1.3.132.0.35": true}

func curveName(oid asn1.ObjectIdentifier) string {
	if oid.String() == "1.3.132.0.10" {
		return "secp256k1"
	}
	return oid.String()
}
