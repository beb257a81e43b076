package tlsmat

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// loadPair fills in the certificate chain and its key.
func (m *Material) loadPair(ctx context.Context, e Entry, in *inputs) error {
	certBlocks, err := in.cert.blocks()
	if err != nil {
		return err
	}
	m.keyFile = in.key
	keyBlocks := certBlocks
	if in.key == nil {
		m.keyFile = in.cert.as("key")
	} else if keyBlocks, err = in.key.blocks(); err != nil {
		return err
	}
	if in.key != nil && has(certBlocks, isKey) && !has(certBlocks, isCertificate) && has(keyBlocks, isCertificate) && !has(keyBlocks, isKey) {
		return in.cert.fault(causeSwapped, nil)
	}
	p := e.passphrase()
	if certBlocks, err = in.cert.unpack(ctx, certBlocks, p); err != nil {
		return err
	}
	if in.key == nil {
		keyBlocks = certBlocks
	} else if keyBlocks, err = in.key.unpack(ctx, keyBlocks, p); err != nil {
		return err
	}
	certs, err := in.cert.certificates(certBlocks)
	if err != nil {
		return err
	}
	key, err := m.keyFile.privateKey(ctx, keyBlocks, p)
	if err != nil {
		return err
	}
	chain, unused := orderChain(certs, key.Public())
	if chain == nil {
		return mismatch(in.cert, m.keyFile, certs[0], key)
	}
	open, err := m.keyFile.checkPermissions(e.StrictPermissions)
	if err != nil {
		return err
	}
	m.send(chain, key)
	m.doubts = append(m.doubts, m.chainFindings(chain, unused)...)
	m.doubts = append(m.doubts, open...)
	m.doubts = append(m.doubts, p.needless()...)
	return nil
}

// useHome fills in the certificate chain of a key that does not leave its home.
func (m *Material) useHome(e Entry, in *inputs) error {
	certs := in.chain
	if len(certs) == 0 {
		if in.cert == nil {
			return e.fault(causeNoChain, "cert", nil)
		}
		blocks, err := in.cert.blocks()
		if err != nil {
			return err
		}
		if certs, err = in.cert.certificates(blocks); err != nil {
			return err
		}
	}
	chain, unused := orderChain(certs, in.signer.Public())
	if chain == nil {
		return e.mismatch(certs[0], in.signer)
	}
	m.send(chain, in.signer)
	m.doubts = append(m.doubts, m.chainFindings(chain, unused)...)
	return nil
}

// send has servers that ask get this chain.
func (m *Material) send(chain []*x509.Certificate, key crypto.Signer) {
	m.cert = &tls.Certificate{PrivateKey: newSigner(key), Leaf: chain[0]}
	for _, c := range chain {
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
}

// mismatch says that no certificate has this key. While a rotation is half written, the files'
// times tell.
func mismatch(certFile, keyFile *file, leaf *x509.Certificate, key crypto.Signer) *LoadError {
	cause := causeMismatch
	switch {
	case keyFile.modified.Sub(certFile.modified).Abs() >= time.Second:
		cause = causeHalfRenewed
	case KeyAlgorithm(leaf.PublicKey) != KeyAlgorithm(key.Public()):
		cause = causeMismatchKind
	}
	return keyFile.fault(cause, nil, append(bothKeys(leaf, key), "cert_file", sanitize.Line(certFile.path, 1000),
		"key_time", second(keyFile.modified), "cert_time", second(certFile.modified))...)
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
