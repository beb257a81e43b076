package tlsmat

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// loadPair fills in the certificate chain and its key.
func (m *Material) loadPair(ctx context.Context, e Entry, in *inputs) error {
	m.keyFile = in.key
	if in.key == nil {
		m.keyFile = in.cert.As("key")
	}
	p := e.passphrase()
	certs, key, err := keyfile.Pair(ctx, in.cert, in.key, p)
	if err != nil {
		return err
	}
	chain, unused := orderChain(certs, key.Public())
	if chain == nil {
		return mismatch(in.cert, m.keyFile, certs[0], key)
	}
	open, err := m.keyFile.CheckPermissions(e.StrictPermissions)
	if err != nil {
		return err
	}
	m.send(chain, key)
	m.doubts = append(m.doubts, m.chainFindings(chain, unused)...)
	for _, c := range open {
		m.doubts = append(m.doubts, told("permissions", c))
	}
	if needless, ok := p.Needless(); ok {
		m.doubts = append(m.doubts, told("pair", needless))
	}
	return nil
}

// useHome fills in the certificate chain of a key that does not leave its home.
func (m *Material) useHome(e Entry, in *inputs) error {
	certs := in.chain
	if len(certs) == 0 {
		if in.cert == nil {
			return e.fault(causeNoChain, "cert", nil)
		}
		blocks, err := in.cert.Blocks()
		if err != nil {
			return err
		}
		if certs, err = in.cert.Certificates(blocks); err != nil {
			return err
		}
	}
	chain, unused := orderChain(certs, in.signer.Public())
	if chain == nil {
		return e.mismatch(certs[0], in.signer)
	}
	m.send(chain, keyfile.Opaque(in.signer))
	m.doubts = append(m.doubts, m.chainFindings(chain, unused)...)
	return nil
}

// send has servers that ask get this chain.
func (m *Material) send(chain []*x509.Certificate, key crypto.Signer) {
	m.cert = &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
}

// mismatch says that no certificate has this key. While a rotation is half written, the files'
// times tell.
func mismatch(certFile, keyFile *keyfile.File, leaf *x509.Certificate, key crypto.Signer) *LoadError {
	cause := causeMismatch
	switch {
	case keyFile.Modified.Sub(certFile.Modified).Abs() >= time.Second:
		cause = causeHalfRenewed
	case KeyAlgorithm(leaf.PublicKey) != KeyAlgorithm(key.Public()):
		cause = causeMismatchKind
	}
	return keyFile.Fault(cause, nil, append(bothKeys(leaf, key), "cert_file", sanitize.Line(certFile.Path, 1000),
		"key_time", second(keyFile.Modified), "cert_time", second(certFile.Modified))...)
}

// mismatch says that no certificate has the key of the entry's home.
func (e Entry) mismatch(leaf *x509.Certificate, key crypto.Signer) *LoadError {
	field := "key"
	switch {
	case len(e.Signer) > 0:
		field = "signer"
	case e.SPIFFE != "":
		field = "spiffe"
	case !isURI(e.Key):
		field = "cert"
	}
	return e.fault(causeMismatchHome, field, nil, bothKeys(leaf, key)...)
}

// bothKeys are what tells a key from that of a certificate.
func bothKeys(leaf *x509.Certificate, key crypto.Signer) []string {
	return []string{"subject", sanitize.Quote(leaf.Subject.String()), "key_spki", spkiOf(key.Public()), "cert_spki", spki(leaf),
		"key_kind", KeyAlgorithm(key.Public()), "cert_kind", KeyAlgorithm(leaf.PublicKey)}
}

func second(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
