package tlsmat

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// IDError says that a server is not the one that server_name names by its SPIFFE ID.
type IDError struct {
	refusal
	Want string
	Got  []string // the URIs in the server's certificate, fit to print
}

// SPIFFE-ID §2: a trust domain and a path of segments, and nothing else that URIs may have.
var (
	spiffeID = regexp.MustCompile(`^spiffe://[a-z0-9._-]{1,255}(/[a-zA-Z0-9._-]+)+$`)
	hostName = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?$`)
)

const maxSPIFFEID = 2048 // bytes, SPIFFE-ID §2.3

// loadServerName takes a DNS name, an address or a SPIFFE ID.
func (m *Material) loadServerName(e Entry) error {
	name := e.ServerName
	switch {
	case name == "":
	case strings.HasPrefix(name, "spiffe:"):
		dots := strings.Contains(name+"/", "/./") || strings.Contains(name+"/", "/../")
		if !spiffeID.MatchString(name) || dots || len(name) > maxSPIFFEID {
			return e.fault(causeSPIFFEID, "server_name", nil, "name", sanitize.Quote(name))
		}
		m.spiffeID = name
	default:
		_, err := netip.ParseAddr(name)
		if err != nil && (!hostName.MatchString(name) || len(name) > 253) {
			return e.fault(causeServerName, "server_name", nil, "name", sanitize.Quote(name))
		}
		m.serverName = name
	}
	return nil
}

// vouchesFor reports whether the roots that came with our own identity may vouch for servers: those
// of our trust domain know nothing of another's (SPIFFE-Federation §2).
func (m *Material) vouchesFor(in *inputs) bool {
	if len(in.roots) == 0 {
		return false
	}
	return m.spiffeID == "" || len(in.chain) > 0 && inTrustDomain(in.chain[0], m.spiffeID)
}

// inTrustDomain reports whether the SVID c is of the trust domain of id.
func inTrustDomain(c *x509.Certificate, id string) bool {
	for _, u := range c.URIs {
		if u.Scheme == "spiffe" && strings.HasPrefix(id, "spiffe://"+u.Host+"/") {
			return true
		}
	}
	return false
}

// verifyID is what crypto/tls does for names, for a SPIFFE ID. It returns the verified chains.
func (m *Material) verifyID(host string, sent []*x509.Certificate) ([][]*x509.Certificate, error) {
	leaf := sent[0]
	options := x509.VerifyOptions{
		Roots: m.roots, Intermediates: x509.NewCertPool(), CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range sent[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: sent, Err: err}
	}
	// X509-SVID §2 and §5.2: exactly one URI, and no certificate that could issue others.
	issues := leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0
	if ids := namedURIs(leaf); len(ids) == 1 && ids[0] == m.spiffeID && !issues {
		return chains, nil
	}
	e := &IDError{Want: m.spiffeID}
	for _, u := range namedURIs(leaf) {
		e.Got = append(e.Got, sanitize.Line(u, 300))
	}
	got := "it names no SPIFFE ID"
	switch {
	case issues:
		got = "it is that of an authority, which must not be a server's"
	case len(e.Got) == 1:
		got = "it is for " + sanitize.Quote(e.Got[0])
	case len(e.Got) > 1:
		got = fmt.Sprintf("it has %d URIs, where there must be one", len(e.Got))
	}
	e.fill(causeIDMismatch, "host", sanitize.Line(host, 300), "id", m.spiffeID, "got", got, "setting", m.Setting("server_name"))
	return nil, e
}

// namedURIs are the URIs of a certificate as they stand in it (RFC 5280 §4.2.1.6): where they are parsed,
// another spelling can become that of the ID.
func namedURIs(c *x509.Certificate) []string {
	const uniformResourceIdentifier = 6
	var all []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var names []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &names); err != nil {
			return nil
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == uniformResourceIdentifier {
				all = append(all, string(n.Bytes))
			}
		}
	}
	return all
}
