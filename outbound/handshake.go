package outbound

import (
	"crypto/x509"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Handshake is a full TLS handshake; what it did not get to is zero.
type Handshake struct {
	Version string // such as "TLS 1.3"
	Cipher  string // such as "TLS_AES_128_GCM_SHA256"
	ALPN    string // "h2", "http/1.1", or "": the server chose none
	Chain   []ServerCertificate
	// Asked: the server asked for a client certificate; the rest is about that.
	Asked       bool
	Authorities []string // whose certificates it accepts; many servers name none
	Configured  bool     // there is a certificate for it
	Fits        bool     // the configured certificate is of one of Authorities, or these are empty
	Sent        bool     // the certificate was sent, with a signature of its key
}

// ServerCertificate is one that a server sent, the leaf first.
type ServerCertificate struct {
	Subject, Issuer string
	NotBefore       time.Time
	NotAfter        time.Time
	Names           []string // host names, addresses and URIs it is for
}

func (c ServerCertificate) String() string {
	s := c.Subject + ", issued by " + c.Issuer + ", valid until " + c.NotAfter.UTC().Format(time.DateOnly)
	if len(c.Names) > 0 {
		s += ", for " + strings.Join(c.Names, ", ")
	}
	return s
}

// Facts are lines for people.
func (h *Handshake) Facts() []string {
	var lines []string
	if h.Cipher != "" {
		agreed := "cipher: " + h.Cipher
		if h.ALPN != "" {
			agreed += ", protocol: " + h.ALPN
		}
		lines = append(lines, agreed)
	}
	for i, c := range h.Chain {
		what := "server certificate: "
		if i > 0 {
			what = "sent with it: "
		}
		lines = append(lines, what+c.String())
	}
	switch {
	case len(h.Chain) == 0 && !h.Asked:
	case !h.Asked:
		lines = append(lines, "client certificate: not asked for")
	case h.Sent:
		lines = append(lines, "client certificate: asked for, and sent")
	case h.Configured:
		lines = append(lines, "client certificate: asked for, but not sent")
	default:
		lines = append(lines, "client certificate: asked for, and none is configured")
	}
	if len(h.Authorities) > 0 {
		lines = append(lines, "the server accepts certificates of: "+strings.Join(h.Authorities, "; "))
		if h.Configured && !h.Fits {
			lines = append(lines, "the configured certificate is of none of these")
		}
	}
	return lines
}

func describeCertificate(c *x509.Certificate) ServerCertificate {
	d := ServerCertificate{Subject: sanitize.Line(c.Subject.String(), 200), Issuer: sanitize.Line(c.Issuer.String(), 200), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
	for _, n := range c.DNSNames {
		d.Names = append(d.Names, sanitize.Line(n, 253))
	}
	for _, ip := range c.IPAddresses {
		d.Names = append(d.Names, ip.String())
	}
	for _, u := range c.URIs {
		d.Names = append(d.Names, sanitize.Line(u.String(), 300))
	}
	return d
}
