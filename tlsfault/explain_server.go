package tlsfault

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// serverCertificate explains why we did not accept the server, nil when we did.
func (x exchange) serverCertificate() *Failure {
	var (
		verification *tls.CertificateVerificationError
		unknown      x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		system       x509.SystemRootsError
	)
	var chain []*x509.Certificate
	if errors.As(x.err, &verification) {
		chain = verification.UnverifiedCertificates
	}
	switch {
	case errors.As(x.err, &hostname):
		return x.wrongName(hostname)
	case errors.As(x.err, &invalid):
		return x.invalid(invalid)
	case errors.As(x.err, &system):
		return x.fail(serverCASystem)
	case errors.As(x.err, &unknown):
		if len(chain) == 0 && unknown.Cert != nil {
			chain = []*x509.Certificate{unknown.Cert}
		}
		return x.untrusted(unknown, chain)
	case verification != nil:
		return x.fail(serverCertOther, "server_cert", "the certificate of "+x.host, "reason", sanitize.Line(fmt.Sprint(verification.Err), 300))
	}
	return nil
}

func (x exchange) untrusted(unknown x509.UnknownAuthorityError, chain []*x509.Certificate) *Failure {
	if len(chain) == 0 {
		return x.fail(serverCAUnknown, "chain", "")
	}
	leaf, top := chain[0], chain[len(chain)-1]
	values := []string{
		"issuer", sanitize.Quote(leaf.Issuer.String()),
		"chain", fmt.Sprintf(": the last certificate it sent is issued by %s and has the sha256 %x",
			sanitize.Quote(top.Issuer.String()), sha256.Sum256(top.Raw)),
	}
	switch {
	case strings.Contains(unknown.Error(), "insecure algorithm"):
		return x.fail(serverCertWeak, values...)
	case strings.Contains(unknown.Error(), "possibly because of"): // a root of that name failed to verify it
		return x.fail(serverCARekeyed, values...)
	case bytes.Equal(leaf.RawSubject, leaf.RawIssuer):
		return x.fail(serverCASelfSigned, values...)
	case !sent(leaf, chain[1:]):
		return x.fail(serverCAIntermediate, values...)
	}
	return x.fail(serverCAUnknown, values...)
}

// sent reports whether the issuer of c is among the others.
func sent(c *x509.Certificate, others []*x509.Certificate) bool {
	for _, up := range others {
		if bytes.Equal(c.RawIssuer, up.RawSubject) {
			return true
		}
	}
	return false
}

func (x exchange) wrongName(e x509.HostnameError) *Failure {
	wanted := sanitize.Quote(e.Host)
	names := namesOf(e.Certificate)
	switch {
	case x.ownServerName() != "" && x.ownServerName() == e.Host:
		if names == "" {
			names = "no name"
		}
		return x.fail(hostnameServerName, "wanted", wanted, "names", names)
	case names == "":
		common := ""
		if e.Certificate != nil && e.Certificate.Subject.CommonName != "" {
			common = ": its common name " + sanitize.Quote(e.Certificate.Subject.CommonName) + " no longer counts"
		}
		return x.fail(hostnameNone, "wanted", wanted, "common_name", common)
	}
	return x.fail(hostnameOther, "wanted", wanted, "names", names)
}

// namesOf are the subject alternative names of a certificate, the only ones that count (RFC 9525 §4.1).
func namesOf(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	return listed(names, 10)
}

func (x exchange) invalid(e x509.CertificateInvalidError) *Failure {
	which := "the certificate of " + x.host
	if e.Cert != nil && e.Cert.IsCA {
		which = fmt.Sprintf("the authority %s in the chain of %s", sanitize.Quote(e.Cert.Subject.String()), x.host)
	}
	now := time.Now()
	switch {
	case e.Reason == x509.Expired && e.Cert != nil && now.Before(e.Cert.NotBefore):
		return x.fail(serverNotYet, "server_cert", which, "date", day(e.Cert.NotBefore), "now", day(now))
	case e.Reason == x509.Expired && e.Cert != nil:
		return x.fail(serverExpired, "server_cert", which, "date", day(e.Cert.NotAfter))
	case e.Reason == x509.Expired:
		return x.fail(serverTime, "server_cert", which, "now", day(now))
	case e.Reason == x509.IncompatibleUsage && e.Cert != nil:
		return x.fail(serverCertUsage, "server_cert", which, "usage", tlsmat.KeyUsages(e.Cert))
	}
	return x.fail(serverCertOther, "server_cert", which, "reason", sanitize.Line(e.Error(), 300))
}
