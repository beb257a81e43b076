package tlsmat

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// sessions is how many TLS sessions a config keeps; it serves one origin or a few.
const sessions = 8

// Name is the entry's name, "" for a nil Material.
func (m *Material) Name() string {
	if m == nil {
		return ""
	}
	return m.name
}

// Leaf is the client certificate, nil when there are only roots.
func (m *Material) Leaf() *x509.Certificate {
	if m == nil || m.cert == nil {
		return nil
	}
	return m.cert.Leaf
}

// Certificate is the chain and the key to use it with, nil when there are only roots. The key is a
// [crypto.Signer] that prints no secret.
func (m *Material) Certificate() *tls.Certificate {
	if m == nil || m.cert == nil {
		return nil
	}
	c := *m.cert
	c.Certificate = slices.Clone(c.Certificate)
	return &c
}

// TLSConfig is a new client configuration with this material. It notes in seen, which may be nil,
// what servers ask for. Every server that asks gets the certificate, so use the configuration only
// for origins that are meant to; [http.Transport] hands it to an https proxy too, unless it has its
// own DialTLSContext.
//
// Each call has its own session cache: a session resumed under another material would bring its
// identity with it.
func (m *Material) TLSConfig(seen *Seen) *tls.Config {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if m != nil {
		config.RootCAs = m.roots
	}
	cert := m.Certificate()
	// Not Config.Certificates: those are withheld from a server whose list of acceptable CAs does
	// not match, and the server then complains of no certificate at all.
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		seen.note(info, cert)
		if cert == nil {
			return &tls.Certificate{}, nil // nil would panic in crypto/tls
		}
		return cert, nil
	}
	return config
}

// Seen records what servers asked for in handshakes. The zero Seen is ready; its methods may be
// called at any time, also on nil.
type Seen struct {
	mu    sync.Mutex // guards all below
	asked bool
	sent  bool
	fits  bool     // the last list of authorities was empty or has one of our chain
	names []string // the last list
}

// maxNames bounds [Seen.AcceptableCAs].
const maxNames = 20

// Asked reports whether a server sent a CertificateRequest.
func (s *Seen) Asked() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// AcceptableCAs are the first 20 names of the authorities that the last server to ask accepts, in
// the manner of RFC 2253, fit to print. Many servers name none.
func (s *Seen) AcceptableCAs() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// Sent reports whether the last server to ask was given a certificate.
func (s *Seen) Sent() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// issuerFits reports whether the last list of authorities allows our certificate.
func (s *Seen) issuerFits() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.asked || s.fits
}

func (s *Seen) note(info *tls.CertificateRequestInfo, cert *tls.Certificate) {
	if s == nil {
		return
	}
	var names []string
	for _, raw := range info.AcceptableCAs[:min(len(info.AcceptableCAs), maxNames)] {
		names = append(names, readableName(raw))
	}
	fits := len(info.AcceptableCAs) == 0 || cert != nil && issuedByOneOf(cert, info.AcceptableCAs)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.sent, s.fits, s.names = true, cert != nil, fits, names
}

func issuedByOneOf(cert *tls.Certificate, authorities [][]byte) bool {
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err == nil && slices.ContainsFunc(authorities, func(raw []byte) bool { return bytes.Equal(raw, c.RawIssuer) }) {
			return true
		}
	}
	return false
}

func readableName(raw []byte) string {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &name); err != nil {
		return fmt.Sprintf("(unreadable name of %d bytes)", len(raw))
	}
	return sanitize.Line(name.String(), 200)
}
