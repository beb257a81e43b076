package tlsfault

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// required: the server wants a certificate and saw none.
func (x exchange) required() *Failure {
	if x.m.Leaf() != nil {
		return x.fail(requiredLost)
	}
	return x.fail(requiredNone)
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
		said = a.said()
	}
	for _, ask := range []func(*x509.Certificate, alert, string) *Failure{x.badTime, x.plainAlert, x.badUsage, x.badAuthority, x.badStrength} {
		if f := ask(leaf, a, said); f != nil {
			return f
		}
	}
	if a == 0 && x.m.MissingIssuer() {
		return x.unknownCA(leaf, said)
	}
	return x.fail(rejectedOther, "alert", said)
}

// badTime looks at every certificate sent: an intermediate's end is the end of those below it.
func (x exchange) badTime(leaf *x509.Certificate, a alert, said string) *Failure {
	now := time.Now()
	for i, c := range x.chain() {
		which := "the client certificate"
		if i > 0 {
			which = fmt.Sprintf("the client certificate for its intermediate %s", sanitize.Quote(c.Subject.String()))
		}
		switch {
		case now.After(c.NotAfter):
			return x.fail(expiredOver, "which", which, "date", day(c.NotAfter), "alert", said)
		case now.Before(c.NotBefore):
			return x.fail(expiredNotYet, "which", which, "date", day(c.NotBefore), "now", day(now), "alert", said)
		}
	}
	if a == alertCertificateExpired {
		return x.fail(expiredClock, "now", day(now), "alert", said)
	}
	return nil
}

// plainAlert: alerts with one meaning.
func (x exchange) plainAlert(_ *x509.Certificate, a alert, said string) *Failure {
	switch a {
	case alertDecryptError:
		return x.fail(keyMismatch, "alert", said)
	case alertCertificateRevoked:
		return x.fail(rejectedRevoked, "alert", said)
	case alertAccessDenied:
		return x.fail(deniedAlert, "alert", said)
	}
	return nil
}

// badUsage: the certificate is not meant for this (RFC 5280 §4.2.1.3 and §4.2.1.12).
func (x exchange) badUsage(leaf *x509.Certificate, _ alert, said string) *Failure {
	switch {
	case !tlsmat.ForClients(leaf):
		return x.fail(rejectedUsage, "usage", tlsmat.KeyUsages(leaf), "alert", said)
	case leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement) == 0:
		return x.fail(rejectedKeyUsage, "alert", said)
	}
	return nil
}

// vague are the alerts, and the absence of one, by which servers refuse for any reason.
var vague = []alert{0, alertHandshakeFailure, alertBadCertificate, alertCertificateUnknown}

// badAuthority: the server says so, or its list of authorities does.
func (x exchange) badAuthority(leaf *x509.Certificate, a alert, said string) *Failure {
	if a == alertUnknownCA || slices.Contains(vague, a) && !x.seen.Fits() {
		return x.unknownCA(leaf, said)
	}
	return nil
}

func (x exchange) unknownCA(leaf *x509.Certificate, said string) *Failure {
	values := []string{"issuer", sanitize.Quote(leaf.Issuer.String()), "subject", sanitize.Quote(leaf.Subject.String()), "alert", said}
	switch {
	case bytes.Equal(leaf.RawSubject, leaf.RawIssuer):
		return x.fail(clientCASelfSigned, values...)
	case x.m.MissingIssuer():
		return x.fail(clientCAIntermediate, values...)
	}
	return x.fail(clientCAIssuer, values...)
}

// badStrength: OpenSSL's security level and its like refuse what was once usual.
func (x exchange) badStrength(leaf *x509.Certificate, a alert, said string) *Failure {
	if !slices.Contains(vague, a) && a != alertUnsupportedCertificate {
		return nil
	}
	weakness := ""
	for _, c := range x.chain() {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			weakness = fmt.Sprintf("RSA key of %d bits", k.N.BitLen())
			break
		}
		switch c.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA:
			weakness = "signature " + c.SignatureAlgorithm.String()
		}
	}
	if weakness == "" {
		return nil
	}
	return x.fail(rejectedWeak, "weakness", weakness, "alert", said)
}

// signatures: the server named the signatures it accepts, and our key makes none of them
// (RFC 8446 §4.4.2.3). Nothing was sent.
func (x exchange) signatures() *Failure {
	algorithm, makes, wants := "unknown", "", ""
	if leaf := x.m.Leaf(); leaf != nil {
		algorithm = tlsmat.KeyAlgorithm(leaf.PublicKey)
		makes = " (" + schemesOf(leaf.PublicKey) + ")"
	}
	if accepted := x.seen.SignatureSchemes(); len(accepted) > 0 {
		wants = ", only " + strings.Join(accepted, ", ")
	}
	return x.fail(rejectedAlgorithms, "algorithm", algorithm, "makes", makes, "wants", wants)
}

// chain are the certificates that are sent, leaf first.
func (x exchange) chain() []*x509.Certificate {
	pair := x.m.Certificate()
	if pair == nil {
		return nil
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	return chain
}

// schemesOf are the usual kinds of signature that a key makes (RFC 8446 §4.2.3).
func schemesOf(public any) string {
	var schemes []tls.SignatureScheme
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			schemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
		case 384:
			schemes = []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}
		case 521:
			schemes = []tls.SignatureScheme{tls.ECDSAWithP521AndSHA512}
		}
	case ed25519.PublicKey:
		schemes = []tls.SignatureScheme{tls.Ed25519}
	case *rsa.PublicKey:
		schemes = []tls.SignatureScheme{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
			tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512}
	}
	var names []string
	for _, s := range schemes {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}
