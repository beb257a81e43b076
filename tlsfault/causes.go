package tlsfault

import "github.com/mcp-authfetch/mcp-authfetch/tlsmat"

// Causes are all that this package can say, in the order of the documentation.
func Causes() []tlsmat.Cause {
	return []tlsmat.Cause{
		requiredNone, requiredClosed, requiredStatus, requiredLost, requiredLater,
		expiredOver, expiredNotYet, expiredClock,
		rejectedUsage, rejectedKeyUsage, rejectedWeak, rejectedRevoked, rejectedAlgorithms, rejectedOther,
		deniedAlert, deniedStatus,
		clientCAIssuer, clientCAIntermediate, clientCASelfSigned,
		keyMismatch, signerTold, signerFailed,
		serverCAUnknown, serverCAIntermediate, serverCASelfSigned, serverCARekeyed, serverCASystem,
		serverExpired, serverNotYet, serverTime,
		serverCertUsage, serverCertWeak, serverCertOther,
		hostnameOther, hostnameNone, hostnameServerName,
		versionOld, versionMin, noCipher, noALPN, unrecognizedName,
		notTLSHTTP, notTLSOther, notTLSPlain,
		handshakeUnclear, handshakeAlert, handshakeRefused, handshakeLocal, handshakeTimeout, handshakeClosed,
	}
}
