package tlsmat

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// orderChain returns the certificate of this key followed by its issuers in order, as RFC 8446
// §4.4.2 wants it sent, and what of certs belongs to no such chain. A nil chain: no certificate
// has this key.
func orderChain(certs []*x509.Certificate, public crypto.PublicKey) (chain, unused []*x509.Certificate) {
	key, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, certs
	}
	rest := append([]*x509.Certificate(nil), certs...)
	take := func(i int) {
		chain = append(chain, rest[i])
		rest = append(rest[:i], rest[i+1:]...)
	}
	for i, c := range rest {
		if key.Equal(c.PublicKey) {
			take(i)
			break
		}
	}
	if chain == nil {
		return nil, certs
	}
	for {
		last := chain[len(chain)-1]
		if selfIssued(last) {
			return chain, rest
		}
		i := findIssuer(last, rest)
		if i < 0 {
			return chain, rest
		}
		take(i)
	}
}

// findIssuer prefers the authority whose key signed c to one that merely has the right name, as
// an authority that was given a new key does.
func findIssuer(c *x509.Certificate, among []*x509.Certificate) int {
	named := -1
	for i, up := range among {
		if !bytes.Equal(c.RawIssuer, up.RawSubject) {
			continue
		}
		if c.CheckSignatureFrom(up) == nil {
			return i
		}
		if named < 0 && (len(c.AuthorityKeyId) == 0 || len(up.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, up.SubjectKeyId)) {
			named = i
		}
	}
	return named
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// chainWarnings are about what the file holds, not about time.
func (m *Material) chainWarnings(chain, unused []*x509.Certificate) []string {
	var out []string
	leaf := chain[0]
	where := m.certFile.where()
	if m.missingIssuer() {
		out = append(out, fmt.Sprintf("%s: the issuer of the certificate, %s, is not in the file; unless it is a root that servers know, append its certificate",
			where, sanitize.Quote(leaf.Issuer.String())))
	}
	if len(unused) > 0 {
		out = append(out, fmt.Sprintf("%s: %d of its certificates do not lead from the client certificate to its root and are not sent, the first is %s",
			where, len(unused), sanitize.Quote(unused[0].Subject.String())))
	}
	return out
}

// missingIssuer reports a certificate without its intermediate, as far as can be known here: not
// when its issuer is a root of the entry's own bundle.
func (m *Material) missingIssuer() bool {
	leaf := m.cert.Leaf
	if len(m.cert.Certificate) > 1 || selfIssued(leaf) {
		return false
	}
	i := findIssuer(leaf, m.bundle)
	return i < 0 || !selfIssued(m.bundle[i])
}

// mismatch says that no certificate has this key. While a rotation is half written, the files'
// times tell.
func mismatch(certFile, keyFile *file, leaf *x509.Certificate, key crypto.Signer) *LoadError {
	reason := fmt.Sprintf("does not belong to the certificate %s in %s: the key's SPKI sha256 is %s, the certificate's %s",
		sanitize.Quote(leaf.Subject.String()), sanitize.Line(certFile.path, 1000), spkiOf(key.Public()), spki(leaf))
	if algorithmName(leaf.PublicKey) != algorithmName(key.Public()) {
		reason += fmt.Sprintf(" (%s key, %s certificate)", algorithmName(key.Public()), algorithmName(leaf.PublicKey))
	}
	if keyFile.modified.Sub(certFile.modified).Abs() >= time.Second {
		reason += fmt.Sprintf("; the key was written at %s, the certificate at %s: a renewal may be half done", day(keyFile.modified), day(certFile.modified))
	}
	fail := keyFile.fail(nil, "set "+configKey(certFile.entry, "cert")+" and "+configKey(certFile.entry, "key")+" to files that were issued together", "%s", reason)
	fail.code = "tls.key_mismatch"
	return fail
}

func spki(c *x509.Certificate) string {
	return fmt.Sprintf("%x", sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

func spkiOf(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil { // no key that was parsed lacks a DER form
		return "unknown"
	}
	return fmt.Sprintf("%x", sha256.Sum256(der))
}
