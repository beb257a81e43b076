package tlsmat

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strconv"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
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

// chainFindings are about what the file holds, not about time.
func (m *Material) chainFindings(chain, unused []*x509.Certificate) []finding {
	var out []finding
	add := func(c catalogue.Cause, values ...string) {
		f := found("chain", c, append(values, "cert", m.Setting(m.certFrom.field), "append", m.HowToAppend())...)
		f.says = m.certWhere() + ": " + f.says
		out = append(out, f)
	}
	if m.MissingIssuer() {
		place := "the file"
		if m.certFile == nil {
			place = "the chain that comes from there"
		}
		add(causeIncomplete, "place", place, "issuer", sanitize.Quote(chain[0].Issuer.String()))
	}
	if len(unused) > 0 {
		add(causeStranger, "count", strconv.Itoa(len(unused)), "subject", sanitize.Quote(unused[0].Subject.String()))
	}
	return out
}

// HowToAppend says how another certificate gets into the chain: "append its certificate to …".
func (m *Material) HowToAppend() string {
	setting := m.Setting(m.certFrom.field)
	switch {
	case m.certFile == nil:
		return "add its certificate to the chain that comes from " + setting
	case m.certFile.Binary():
		return "convert " + m.CertSource() + " to PEM (openssl pkcs12 -in FILE -out FILE.pem, with -legacy for old ciphers, or openssl x509 -inform der -in FILE -out FILE.pem), append its certificate and name that in " + setting
	}
	return "append its certificate to " + setting
}

// MissingIssuer reports a certificate without its intermediate, as far as can be known here: not
// when its issuer is a root of the entry's own bundle.
func (m *Material) MissingIssuer() bool {
	leaf := m.Leaf()
	if leaf == nil || len(m.cert.Certificate) > 1 || selfIssued(leaf) {
		return false
	}
	i := findIssuer(leaf, m.bundle)
	return i < 0 || !selfIssued(m.bundle[i])
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
