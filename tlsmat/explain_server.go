package tlsmat

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// serverCertificate explains why we did not accept the server, nil when we did.
func (x exchange) serverCertificate() *Failure {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		system   x509.SystemRootsError
	)
	var verification *tls.CertificateVerificationError
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
		return x.fail("tls.server_ca_unknown", "install the system's CA certificates (the package ca-certificates), or set ca in an mtls entry",
			"the certificate of %s cannot be verified: the system's roots are unreadable", x.host)
	case errors.As(x.err, &unknown):
		if len(chain) == 0 && unknown.Cert != nil {
			chain = []*x509.Certificate{unknown.Cert}
		}
		return x.untrusted(unknown, chain)
	case verification != nil:
		return x.fail("tls.server_cert_invalid", "have the server's certificate replaced", "the certificate of %s cannot be verified: %s",
			x.host, sanitize.Line(verification.Err.Error(), 300))
	}
	return nil
}

func (x exchange) untrusted(unknown x509.UnknownAuthorityError, chain []*x509.Certificate) *Failure {
	code := "tls.server_ca_unknown"
	if len(chain) == 0 {
		return x.fail(code, x.howToTrust(), "the certificate of %s is not issued by an authority trusted here%s", x.host, x.trusted())
	}
	leaf, top := chain[0], chain[len(chain)-1]
	about := fmt.Sprintf("its issuer is %s, sha256 of the last certificate sent %x%s", sanitize.Quote(top.Issuer.String()), sha256.Sum256(top.Raw), x.trusted())
	switch {
	case strings.Contains(unknown.Error(), "insecure algorithm"):
		return x.fail("tls.server_cert_invalid", "have the server's certificate replaced by one signed with SHA-256 or better",
			"the certificate chain of %s is signed with an algorithm that is no longer safe: %s", x.host, about)
	case strings.Contains(unknown.Error(), "possibly because of"): // a root of that name failed to verify it
		return x.fail(code, x.howToTrust()+"; the authority has a new key, and the root known here is the old one",
			"the certificate of %s is issued under an authority whose name is trusted here, but not its key: %s", x.host, about)
	case selfIssued(leaf):
		return x.fail(code, x.howToTrust(), "the certificate of %s is self-signed and not trusted here: %s", x.host, about)
	case len(chain) == 1:
		return x.fail(code, x.howToTrust()+"; the server sends no intermediate certificate, which is its mistake if there is one",
			"the certificate of %s is not issued by an authority trusted here: %s", x.host, about)
	}
	return x.fail(code, x.howToTrust(), "the certificate of %s is not issued under an authority trusted here: %s", x.host, about)
}

// howToTrust continues a sentence.
func (x exchange) howToTrust() string {
	switch {
	case x.proxy:
		return "have the system trust the authority that issued the proxy's certificate"
	case x.m == nil:
		return `add the authority's certificate as ca of an entry in "mtls" and name it in the site for ` + x.host
	case x.m.caFile == nil:
		return "set " + x.key("ca") + " to the authority's certificate"
	}
	return "add the authority's certificate to " + x.key("ca")
}

// trusted says which roots were consulted.
func (x exchange) trusted() string {
	switch {
	case x.m == nil || x.m.caFile == nil:
		return "; trusted are the system's roots"
	case x.m.caOnly:
		return "; trusted are only those in " + sanitize.Line(x.m.caFile.path, 1000)
	}
	return "; trusted are the system's roots and those in " + sanitize.Line(x.m.caFile.path, 1000)
}

func (x exchange) wrongName(e x509.HostnameError) *Failure {
	const shown = 10
	var names []string
	for _, n := range e.Certificate.DNSNames {
		names = append(names, sanitize.Quote(n))
	}
	for _, ip := range e.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	valid := "no name"
	if cn := e.Certificate.Subject.CommonName; cn != "" {
		valid += " (the common name " + sanitize.Quote(cn) + " no longer counts)"
	}
	if len(names) > shown {
		valid = strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", len(names)-shown)
	} else if len(names) > 0 {
		valid = strings.Join(names, ", ")
	}
	return x.fail("tls.hostname_mismatch", "use a name the certificate has in the URL, or have the certificate issued for this one",
		"the certificate of %s is not for %s but for %s", x.host, sanitize.Quote(e.Host), valid)
}

func (x exchange) invalid(e x509.CertificateInvalidError) *Failure {
	which := "the certificate of " + x.host
	if e.Cert != nil && e.Cert.IsCA {
		which = fmt.Sprintf("the authority %s in the chain of %s", sanitize.Quote(e.Cert.Subject.String()), x.host)
	}
	switch {
	case e.Reason == x509.Expired && e.Cert != nil && time.Now().Before(e.Cert.NotBefore):
		return x.fail("tls.server_cert_expired", "check the clock of this machine", "%s is not valid before %s", which, day(e.Cert.NotBefore))
	case e.Reason == x509.Expired && e.Cert != nil:
		return x.fail("tls.server_cert_expired", "have the server's certificate renewed; if it is new, check the clock of this machine",
			"%s expired on %s", which, day(e.Cert.NotAfter))
	case e.Reason == x509.Expired:
		return x.fail("tls.server_cert_expired", "have the server's certificate renewed", "%s has expired or is not valid yet", which)
	case e.Reason == x509.IncompatibleUsage && e.Cert != nil:
		return x.fail("tls.server_cert_invalid", "have the server use a certificate whose extended key usage includes serverAuth",
			"%s is not meant for servers: its extended key usage is %s", which, usages(e.Cert))
	}
	return x.fail("tls.server_cert_invalid", "have the server's certificate replaced", "%s is not acceptable: %s", which, sanitize.Line(e.Error(), 300))
}
