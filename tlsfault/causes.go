package tlsfault

import "github.com/mcp-authfetch/mcp-authfetch/catalogue"

// Causes are all that this package can say, in the order of the documentation.
func Causes() []catalogue.Cause {
	return []catalogue.Cause{
		requiredNone, requiredClosed, requiredStatus, requiredLost, requiredLater, requiredAfter,
		expiredOver, expiredNotYet, expiredClock,
		rejectedUsage, rejectedKeyUsage, rejectedWeak, rejectedRevoked, rejectedAlgorithms, rejectedOther,
		deniedAlert, deniedStatus,
		clientCAIssuer, clientCAIntermediate, clientCASelfSigned,
		keyMismatch, signerTold, signerFailed, signerSlow, signerLate,
		serverCAUnknown, serverCAIntermediate, serverCASelfSigned, serverCARekeyed, serverCASystem,
		serverExpired, serverNotYet, serverTime,
		serverCertUsage, serverCertWeak, serverCertOther,
		hostnameOther, hostnameNone, hostnameServerName,
		versionOld, versionMin, noCipher, noALPN, unrecognizedName,
		notTLSHTTP, notTLSOther, notTLSPlain,
		handshakeUnclear, handshakeAlert, handshakeRefused, handshakeLocal, handshakeTimeout, handshakeClosed, handshakeUnasked,
	}
}
