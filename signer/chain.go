package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// identity reads the answer to chain: the certificates, leaf first, and the key of the leaf.
func (r *response) identity(name command) ([]*x509.Certificate, crypto.PublicKey, error) {
	wrong := func(format string, args ...any) error {
		return name.fault("signer.chain", "reason", fmt.Sprintf(format, args...))
	}
	if r.Chain == nil {
		return nil, nil, name.fault("signer.answer", "method", "chain", "reason", "no member chain")
	}
	var chain []*x509.Certificate
	for i, text := range r.Chain {
		der, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, nil, wrong("chain[%d] is not base64", i)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, wrong("chain[%d] is not a certificate: %s", i, sanitize.Line(err.Error(), 200))
		}
		chain = append(chain, cert)
	}
	var public crypto.PublicKey
	if r.PublicKey != "" {
		der, err := base64.StdEncoding.DecodeString(r.PublicKey)
		if err == nil {
			public, err = x509.ParsePKIXPublicKey(der)
		}
		if err != nil {
			return nil, nil, wrong("public_key is not the base64 of a SubjectPublicKeyInfo")
		}
	}
	if len(chain) == 0 {
		if public == nil {
			return nil, nil, name.fault("signer.no_key")
		}
		return nil, public, nil
	}
	leaf := chain[0]
	if public != nil && !equal(public, leaf.PublicKey) {
		return nil, nil, wrong("public_key is not that of chain[0]")
	}
	for i, c := range chain[1:] {
		if leaf.IsCA && bytes.Equal(c.RawIssuer, leaf.RawSubject) && !bytes.Equal(c.RawSubject, leaf.RawSubject) {
			return nil, nil, wrong("chain[0] is the authority that issued chain[%d], and the leaf must be first", i+1)
		}
	}
	return chain, leaf.PublicKey, nil
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// describe names a key as people do, or returns "" for one that TLS cannot use (RFC 8446 §4.2.3).
func describe(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return "ECDSA " + k.Curve.Params().Name
		}
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}
