package tlsmat

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
)

// refusal is why a server is refused for which crypto/tls found nothing wrong.
type refusal struct{ told catalogue.Cause }

func (r *refusal) fill(c catalogue.Cause, values ...string) {
	r.told = c.Fill(values...)
}

func (r *refusal) Error() string { return r.told.Says }

// Code is the stable machine code, such as tls.pin_mismatch.
func (r *refusal) Code() string { return r.told.Code }

// Hint says what to do.
func (r *refusal) Hint() string { return r.told.Remedy }

// verifier checks what crypto/tls does not know of. It is made for VerifyConnection, which is called
// for resumed sessions too, unlike VerifyPeerCertificate: a list may have been loaded or an ID
// changed since. Its errors are [*PinError], [*RevokedError], [*CRLError], [*IDError] and
// [*tls.CertificateVerificationError]. Nil: nothing to check.
func (m *Material) verifier(host string) func(tls.ConnectionState) error {
	if m.spiffeID == "" && len(m.pins) == 0 && m.lists == nil {
		return nil
	}
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errNoChain
		}
		chains := state.VerifiedChains
		if m.spiffeID != "" {
			var err error
			if chains, err = m.verifyID(host, state.PeerCertificates); err != nil {
				return err
			}
		}
		return m.acceptOne(host, chains)
	}
}

var errNoChain = errors.New("tls: the server's certificate was not verified")

// acceptOne wants one chain in which everything is right, as authorities that certify each other
// make several. Its error is that of the first.
func (m *Material) acceptOne(host string, chains [][]*x509.Certificate) error {
	first := errNoChain
	for i, chain := range chains {
		err := m.checkPins(host, chain)
		if err == nil {
			err = m.checkRevocation(host, chain)
		}
		if err == nil {
			return nil
		}
		if i == 0 {
			first = err
		}
	}
	return first
}
