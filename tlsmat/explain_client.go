package tlsmat

import (
	"crypto/rsa"
	"fmt"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// offered reports whether the server got a client certificate, as far as is known.
func (x exchange) offered() bool {
	if x.seen == nil {
		return x.m.Leaf() != nil
	}
	return x.seen.Sent()
}

// key is a key of the entry in use, as it stands in the configuration.
func (x exchange) key(field string) string {
	if x.m == nil {
		return field + " of an mtls entry"
	}
	return configKey(x.m.name, field)
}

// howToSet continues a sentence.
func (x exchange) howToSet() string {
	switch {
	case x.proxy:
		return "use a proxy that needs none"
	case x.m == nil:
		return `add an entry with cert and key to "mtls" and name it in the site for ` + x.host
	case x.m.Leaf() == nil:
		return "set " + x.key("cert") + " and " + x.key("key")
	}
	return "check " + x.key("cert")
}

// facts ends a sentence with our certificate.
func (x exchange) facts() string {
	leaf := x.m.Leaf()
	if leaf == nil {
		return ""
	}
	return fmt.Sprintf("; it was sent %s issued by %s, valid until %s, %d in the chain, from %s", sanitize.Quote(leaf.Subject.String()),
		sanitize.Quote(leaf.Issuer.String()), day(leaf.NotAfter), len(x.m.cert.Certificate), sanitize.Line(x.m.certFile.path, 1000))
}

// accepted ends a sentence with the authorities the server named.
func (x exchange) accepted() string {
	names := x.seen.AcceptableCAs()
	if len(names) == 0 {
		return ""
	}
	const shown = 5
	var quoted []string
	for _, n := range names[:min(len(names), shown)] {
		quoted = append(quoted, sanitize.Quote(n))
	}
	more := ""
	if len(names) > shown {
		more = ", …"
	}
	return "; it accepts certificates of " + strings.Join(quoted, ", ") + more
}

// required: the server wants a certificate and saw none.
func (x exchange) required() *Failure {
	if x.m.Leaf() != nil {
		return x.fail("tls.client_cert_required", "see the server's log; a proxy in front of it may not pass the certificate on, or the site may not name this entry",
			"%s requires a client certificate and says that it got none, though one is configured%s", x.host, x.facts())
	}
	return x.fail("tls.client_cert_required", x.howToSet(), "%s requires a client certificate, and none is configured for it%s", x.host, x.accepted())
}

// rejected: the server saw our certificate and refused it with a, 0 when it said so otherwise.
// Servers differ in the alert they choose, so what is plainly wrong with the certificate goes first.
func (x exchange) rejected(a alert) *Failure {
	leaf := x.m.Leaf()
	if leaf == nil {
		return x.required()
	}
	said := ""
	if a != 0 {
		said = fmt.Sprintf(" (%v)", a)
	}
	issuer := sanitize.Quote(leaf.Issuer.String())
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		return x.fail("tls.client_cert_expired", "renew the certificate in "+x.key("cert")+" and its key",
			"%s rejected the client certificate, which expired on %s%s%s", x.host, day(leaf.NotAfter), said, x.facts())
	case now.Before(leaf.NotBefore):
		return x.fail("tls.client_cert_expired", "check the clock of this machine, or wait",
			"%s rejected the client certificate, which is not valid before %s%s%s", x.host, day(leaf.NotBefore), said, x.facts())
	case a == alertCertificateExpired:
		return x.fail("tls.client_cert_expired", "compare the clocks of both machines, and check the intermediate certificates in "+x.key("cert"),
			"%s says that the client certificate has expired or is not valid yet%s, but by this machine's clock it is valid%s", x.host, said, x.facts())
	case a == alertDecryptError:
		return x.fail("tls.key_mismatch", "check that "+x.key("key")+" belongs to "+x.key("cert"),
			"%s could not verify the signature made with the client key%s%s", x.host, said, x.facts())
	case a == alertCertificateRevoked:
		return x.fail("tls.client_cert_rejected", "have a new certificate issued and set it in "+x.key("cert"),
			"%s says that the client certificate is revoked%s%s", x.host, said, x.facts())
	case a == alertAccessDenied:
		return x.fail("tls.client_cert_rejected", "have the server's administrator allow this subject, or set "+x.key("cert")+" to a certificate that is allowed",
			"%s accepts the client certificate, but denies it access%s%s", x.host, said, x.facts())
	case !forClients(leaf):
		return x.fail("tls.client_cert_rejected", "set "+x.key("cert")+" to a certificate whose extended key usage includes clientAuth",
			"%s rejected the client certificate, which is not meant for clients: its extended key usage is %s%s%s", x.host, usages(leaf), said, x.facts())
	case a == alertUnknownCA || a == 0 && (!x.seen.issuerFits() || x.m.missingIssuer()):
		return x.unknownCA(issuer, said)
	}
	weak := ""
	if k, ok := leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		weak = fmt.Sprintf("; its RSA key of %d bits may be too short for it", k.N.BitLen())
	}
	return x.fail("tls.client_cert_rejected", "set "+x.key("cert")+" to a certificate the server accepts, or see its log for the reason",
		"%s rejected the client certificate%s%s%s%s", x.host, said, weak, x.accepted(), x.facts())
}

func (x exchange) unknownCA(issuer, said string) *Failure {
	remedy := "have the server trust " + issuer + ", or set " + x.key("cert") + " to a certificate of an authority it trusts"
	if x.m.missingIssuer() {
		remedy = "if " + issuer + " is an intermediate CA, append its certificate to " + x.key("cert") + "; otherwise " + remedy
	}
	return x.fail("tls.client_ca_unknown", remedy, "%s does not know the authority %s that issued the client certificate%s%s%s",
		x.host, issuer, said, x.accepted(), x.facts())
}
