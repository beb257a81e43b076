package tlsmat

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// soon is how long before its end a certificate is worth a warning.
const soon = 30 * 24 * time.Hour

// Warnings are sentences about what may go wrong, as of now.
func (m *Material) Warnings() []string {
	if m == nil {
		return nil
	}
	out := slices.Clone(m.warnings)
	now := time.Now()
	for _, c := range m.bundle {
		if now.After(c.NotAfter) {
			out = append(out, fmt.Sprintf("%s: the root %s expired on %s", m.caFile.where(), sanitize.Quote(c.Subject.String()), day(c.NotAfter)))
		}
	}
	leaf := m.Leaf()
	if leaf == nil {
		return out
	}
	warn := func(format string, args ...any) {
		out = append(out, m.certFile.where()+": the certificate "+sanitize.Quote(leaf.Subject.String())+" "+fmt.Sprintf(format, args...))
	}
	switch {
	case now.After(leaf.NotAfter):
		warn("expired on %s", day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		warn("is not valid before %s", day(leaf.NotBefore))
	case leaf.NotAfter.Sub(now) < soon:
		warn("expires on %s, in %s", day(leaf.NotAfter), remaining(leaf.NotAfter.Sub(now)))
	}
	if !forClients(leaf) {
		warn("is not meant for clients: its extended key usage is %s, without clientAuth", usages(leaf))
	}
	if k, ok := leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		warn("has an RSA key of %d bits; many servers refuse less than 2048", k.N.BitLen())
	}
	return out
}

// Facts are lines about the material for a person who looks for a fault. They never hold a secret.
func (m *Material) Facts() []string {
	if m == nil {
		return []string{"roots: the system's"}
	}
	var out []string
	add := func(name, format string, args ...any) { out = append(out, name+": "+fmt.Sprintf(format, args...)) }
	if leaf := m.Leaf(); leaf != nil {
		add("certificate file", "%s, written %s", sanitize.Line(m.certFile.path, 1000), day(m.certFile.modified))
		if m.keyFile.path != m.certFile.path {
			add("key file", "%s, written %s", sanitize.Line(m.keyFile.path, 1000), day(m.keyFile.modified))
		}
		add("subject", "%s", sanitize.Line(leaf.Subject.String(), 400))
		add("issuer", "%s", sanitize.Line(leaf.Issuer.String(), 400))
		add("serial", "%x", leaf.SerialNumber)
		add("valid from", "%s", day(leaf.NotBefore))
		add("valid until", "%s", day(leaf.NotAfter))
		add("key", "%s", algorithmName(leaf.PublicKey))
		add("extended key usage", "%s", usages(leaf))
		add("chain", "%d sent", len(m.cert.Certificate))
		add("certificate sha256", "%x", sha256.Sum256(leaf.Raw))
		add("SPKI sha256", "%s", spki(leaf))
	}
	switch {
	case m.caFile == nil:
		add("roots", "the system's")
	case m.caOnly:
		add("roots", "only the %d in %s", len(m.bundle), sanitize.Line(m.caFile.path, 1000))
	default:
		add("roots", "the system's and the %d in %s", len(m.bundle), sanitize.Line(m.caFile.path, 1000))
	}
	return out
}

// Thumbprint names a certificate in what is bound to it: x5t#S256 (RFC 8705 §3.1). It is "" for nil.
func Thumbprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// forClients: RFC 5280 §4.2.1.12, no extension means any use.
func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func usages(c *x509.Certificate) string {
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

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func remaining(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
