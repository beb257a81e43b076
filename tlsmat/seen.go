package tlsmat

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Seen records what a server asked for in handshakes. The zero Seen is ready; its methods may be
// called at any time, also on nil.
type Seen struct {
	mu      sync.Mutex // guards all below
	asked   bool
	sent    bool
	fits    bool     // the last list of authorities was empty or has one of our chain
	names   []string // the last list
	schemes []string // the signatures that the last server to ask accepts

	signers int           // how many signatures of our key are under way
	since   time.Time     // when the last one began
	signed  time.Duration // how long the last one took
	signErr error         // why it was not made
}

type seenKey struct{}

// WithSeen returns a context for [tls.Conn.HandshakeContext]: the handshake is recorded in seen.
func WithSeen(ctx context.Context, seen *Seen) context.Context {
	return context.WithValue(ctx, seenKey{}, seen)
}

func seenIn(ctx context.Context) *Seen {
	if ctx == nil { // in a request that no handshake made
		return nil
	}
	seen, _ := ctx.Value(seenKey{}).(*Seen)
	return seen
}

// maxNames bounds [Seen.AcceptableCAs] and [Seen.SignatureSchemes].
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

// SignatureSchemes are the first 20 kinds of signature that the last server to ask accepts.
func (s *Seen) SignatureSchemes() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.schemes)
}

// Sent reports whether the last server to ask was given a certificate, which takes a signature of
// the key.
func (s *Seen) Sent() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// Fits reports whether the last list of authorities allows our certificate.
func (s *Seen) Fits() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.asked || s.fits
}

// SignError is why the key of the certificate could not sign the handshake: crypto/tls passes on
// its text alone.
func (s *Seen) SignError() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signErr
}

// Inherit takes over what from recorded: a resumed session has the identity of the handshake that
// began it, and nobody asks again (RFC 8446 §4.3.2).
func (s *Seen) Inherit(from *Seen) {
	if s == nil || from == nil || s == from {
		return
	}
	from.mu.Lock()
	asked, sent, fits, names, schemes := from.asked, from.sent, from.fits, from.names, from.schemes
	from.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.sent, s.fits, s.names, s.schemes = asked, sent, fits, names, schemes
}

func (s *Seen) note(info *tls.CertificateRequestInfo, cert *tls.Certificate) {
	if s == nil {
		return
	}
	var names []string
	for _, raw := range info.AcceptableCAs[:min(len(info.AcceptableCAs), maxNames)] {
		names = append(names, readableName(raw))
	}
	var schemes []string
	for _, scheme := range info.SignatureSchemes[:min(len(info.SignatureSchemes), maxNames)] {
		schemes = append(schemes, scheme.String())
	}
	fits := len(info.AcceptableCAs) == 0 || cert != nil && issuedByOneOf(cert, info.AcceptableCAs)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.sent, s.fits, s.names, s.schemes = true, false, fits, names, schemes
}

// Signing reports whether the key was asked for a signature and has not answered yet, and how long
// it has been, or was, about it: a person may have to touch a token.
func (s *Seen) Signing() (now bool, took time.Duration) {
	if s == nil {
		return false, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signers == 0 {
		return false, s.signed
	}
	return true, time.Since(s.since)
}

func (s *Seen) beginSigning() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signers++
	s.since = time.Now()
}

func (s *Seen) endSigning(err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signers--
	s.signed = time.Since(s.since)
	s.sent, s.signErr = err == nil, err
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
