package tlsmat

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
	"github.com/mcp-authfetch/mcp-authfetch/pkcs11key"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// certPlace is where a certificate comes from.
type certPlace struct {
	field string // of the entry
	text  string // fit to print
}

// certFrom is where the entry has its certificate from. A pkcs11: URI may say where the PIN is, or
// the PIN itself (RFC 7512 §2.4); what is shown tells which key is meant.
func (e Entry) certFrom() certPlace {
	switch {
	case isURI(e.Cert):
		return certPlace{"cert", "the token of " + pkcs11key.Redact(e.Cert)}
	case e.Cert != "":
		return certPlace{"cert", sanitize.Line(e.Cert, 1000)}
	case isURI(e.Key):
		return certPlace{"key", "the token of " + pkcs11key.Redact(e.Key)}
	case len(e.Signer) > 0:
		return certPlace{"signer", "the signer " + sanitize.Line(filepath.Base(e.Signer[0]), 100)}
	case e.SPIFFE != "":
		return certPlace{"spiffe", "the Workload API " + sanitize.Line(e.SPIFFE, 300)}
	}
	return certPlace{}
}

// certWhere names the setting and the place of the certificate.
func (m *Material) certWhere() string { return m.Setting(m.certFrom.field) + " " + m.certFrom.text }

// Describe is one clause about the certificate, fit to print.
func (m *Material) Describe() string {
	leaf := m.Leaf()
	if leaf == nil {
		return "no client certificate"
	}
	return fmt.Sprintf("%s issued by %s, valid until %s, extended key usage %s, %d in the chain, from %s",
		sanitize.Quote(leaf.Subject.String()), sanitize.Quote(leaf.Issuer.String()), day(leaf.NotAfter), KeyUsages(leaf),
		m.ChainLength(), m.CertSource())
}

// Facts are lines about the material for a person who looks for a fault. They never hold a secret.
func (m *Material) Facts() []string {
	if m == nil {
		return []string{"roots: the system's"}
	}
	var out []string
	add := func(name, format string, args ...any) { out = append(out, name+": "+fmt.Sprintf(format, args...)) }
	if leaf := m.Leaf(); leaf != nil {
		if m.certFile != nil {
			add("certificate file", "%s, written %s", sanitize.Line(m.certFile.Path, 1000), day(m.certFile.Modified))
		} else {
			add("certificate", "from %s", m.CertSource())
		}
		if m.keyFile != nil && (m.certFile == nil || m.keyFile.Path != m.certFile.Path) {
			add("key file", "%s, written %s", sanitize.Line(m.keyFile.Path, 1000), day(m.keyFile.Modified))
		}
		add("subject", "%s", sanitize.Line(leaf.Subject.String(), 400))
		add("issuer", "%s", sanitize.Line(leaf.Issuer.String(), 400))
		add("serial", "%x", leaf.SerialNumber)
		add("valid from", "%s", day(leaf.NotBefore))
		add("valid until", "%s", day(leaf.NotAfter))
		add("key", "%s", KeyAlgorithm(leaf.PublicKey))
		add("extended key usage", "%s", KeyUsages(leaf))
		add("chain", "%d sent", len(m.cert.Certificate))
		add("certificate sha256", "%x", sha256.Sum256(leaf.Raw))
		add("SPKI sha256", "%s", spki(leaf))
	}
	add("roots", "%s", m.rootsText())
	if m.spiffeID != "" || m.serverName != "" {
		add("server name", "%s", sanitize.Line(m.spiffeID+m.serverName, 400))
	}
	if m.lists != nil {
		add("revocation lists", "%s", m.listsText())
	}
	if len(m.pins) > 0 {
		add("pins", "%s", strings.Join(m.pins, ", "))
	}
	return out
}

func (m *Material) rootsText() string {
	switch {
	case m.caFrom == nil:
		return "the system's"
	case m.caOnly:
		return fmt.Sprintf("only the %d in %s", len(m.bundle), m.RootsSource())
	}
	return fmt.Sprintf("the system's and the %d in %s", len(m.bundle), m.RootsSource())
}

// Thumbprint names a certificate in what is bound to it: x5t#S256 (RFC 8705 §3.1). It is "" for nil.
func Thumbprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// KeyAlgorithm describes a public key as people write it.
func KeyAlgorithm(public any) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}

// ForClients reports whether a certificate is meant for clients: RFC 5280 §4.2.1.12, no extension means any use.
func ForClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// KeyUsages names the extended key usages of a certificate.
func KeyUsages(c *x509.Certificate) string {
	var names []string
	for _, u := range c.ExtKeyUsage {
		names = append(names, u.String())
	}
	for _, oid := range c.UnknownExtKeyUsage {
		names = append(names, oid.String())
	}
	if len(names) == 0 {
		return "not restricted"
	}
	return strings.Join(names, ", ")
}

// Setting is how the configuration calls a field of the entry, such as mtls.corp.cert.
func (m *Material) Setting(field string) string {
	return keyfile.Names{Entry: m.name, Settings: m.settings}.Setting(field)
}

// CertSetting is the setting that the certificate comes from, such as mtls.corp.cert or
// mtls.corp.signer; mtls.corp.cert without one.
func (m *Material) CertSetting() string { return m.Setting(cmp.Or(m.certFrom.field, "cert")) }

// CertSource is where the certificate comes from, fit to print; "" without one.
func (m *Material) CertSource() string {
	if m == nil {
		return ""
	}
	return m.certFrom.text
}

// ChainLength is how many certificates are sent.
func (m *Material) ChainLength() int {
	if m == nil || m.cert == nil {
		return 0
	}
	return len(m.cert.Certificate)
}

// KeyElsewhere reports whether each signature is made by a signer or a token: it may take long, and
// a person may have to touch something for it.
func (m *Material) KeyElsewhere() bool {
	return m.Leaf() != nil && m.keyFile == nil && m.certFrom.field != "spiffe"
}

// RootsSource is where roots beside the system's come from, such as "/etc/corp.pem and 2 more", fit
// to print; "" without any.
func (m *Material) RootsSource() string {
	if m == nil || m.caFrom == nil {
		return ""
	}
	if more := len(m.caFrom) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", m.caFrom[0], more)
	}
	return m.caFrom[0]
}

// OnlyRoots reports that the system's roots are not trusted.
func (m *Material) OnlyRoots() bool { return m != nil && m.caOnly }
