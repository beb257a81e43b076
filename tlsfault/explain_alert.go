package tlsfault

import (
	"crypto/tls"
	"fmt"
)

// alert explains what one side told the other before it gave up.
func (x exchange) alert() *Failure {
	a, remote, ok := findAlert(x.err)
	switch {
	case !ok:
		return nil
	case a == alertProtocolVersion, a == alertInappropriateFallback:
		return x.version()
	case a == alertNoRenegotiation && !remote:
		return x.fail(requiredLater)
	case !remote:
		return x.told(handshakeRefused, a)
	}
	switch a {
	case alertCertificateRequired:
		return x.required()
	case alertUnrecognizedName:
		return x.told(unrecognizedName, a)
	case alertNoApplicationProtocol:
		return x.told(noALPN, a)
	case alertHandshakeFailure, alertInsufficientSecurity:
		return x.nothingShared(a)
	}
	if aboutCertificates[a] {
		if x.offered() {
			return x.rejected(a)
		}
		if x.seen.Asked() {
			return x.required()
		}
	}
	return x.told(handshakeAlert, a)
}

func (x exchange) told(c cause, a alert) *Failure { return x.fail(c, "alert", a.said()) }

// aboutCertificates are the alerts by which servers refuse a certificate, or its signature.
var aboutCertificates = map[alert]bool{
	alertBadCertificate: true, alertUnsupportedCertificate: true, alertCertificateRevoked: true,
	alertCertificateExpired: true, alertCertificateUnknown: true, alertUnknownCA: true,
	alertAccessDenied: true, alertDecryptError: true,
}

// nothingShared: in TLS 1.2 one alert means "no certificate" as well as "nothing in common"
// (RFC 5246 §7.2.2). A server asks for a certificate only after it has chosen a cipher suite.
func (x exchange) nothingShared(a alert) *Failure {
	switch {
	case x.seen == nil:
		return x.told(handshakeUnclear, a)
	case !x.seen.Asked():
		return x.told(noCipher, a)
	case x.seen.Sent():
		return x.rejected(a)
	}
	return x.required()
}

func (x exchange) version() *Failure {
	if x.m.TLSConfig("").MinVersion >= tls.VersionTLS13 {
		return x.fail(versionMin)
	}
	return x.fail(versionOld)
}

// said is how an alert stands in a sentence.
func (a alert) said() string { return fmt.Sprintf(" (%v)", a) }
