package tlsmat

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// RevokedError says that a certificate of a server's chain is revoked.
type RevokedError struct {
	refusal
	Subject string // fit to print
	Serial  string // hexadecimal
	Revoked time.Time
	Path    string // of the list, fit to print
}

// CRLError says that a revocation list cannot answer for a server: it is out of date, or its
// signature is not that of the issuer whose name it has. Certificates of issuers without a list are
// not checked, and no list is fetched from anywhere.
type CRLError struct {
	refusal
	Issuer string // fit to print
	Path   string // of the list, fit to print
}

// checkRevocation asks the lists about every certificate below the root. A certificate for whose
// issuer there is no list is not checked. Where there is one it must be good: an old list cannot
// vouch, and the certificate is refused.
func (m *Material) checkRevocation(host string, chain []*x509.Certificate) error {
	if m.lists == nil {
		return nil
	}
	now := time.Now()
	for i, c := range chain[:len(chain)-1] {
		whose := "the certificate of " + sanitize.Line(host, 300)
		if i > 0 {
			whose = fmt.Sprintf("the authority %s in the chain of %s", sanitize.Quote(c.Subject.String()), sanitize.Line(host, 300))
		}
		if err := m.askLists(c, chain[i+1], whose, now); err != nil {
			return err
		}
	}
	return nil
}

// askLists asks the lists of one issuer about one certificate. Authorities that have changed their
// key share a name: only the lists that issuer's own key has signed count.
func (m *Material) askLists(c, issuer *x509.Certificate, whose string, now time.Time) error {
	named := m.lists[string(issuer.RawSubject)]
	var signed []*revocationList
	var bad error
	for _, l := range named {
		if err := l.verify(issuer); err != nil {
			bad = err
			continue
		}
		signed = append(signed, l)
	}
	if len(signed) == 0 && bad != nil {
		return m.badList(named[0], causeListSignature, "whose", whose, "detail", sanitize.Line(bad.Error(), 300))
	}
	// That a certificate was revoked stays true, however old the list is.
	for _, l := range signed {
		if at, ok := l.revoked[string(c.SerialNumber.Bytes())]; ok {
			return m.revoked(c, l, whose, at)
		}
	}
	var outdated *revocationList
	for _, l := range signed {
		switch {
		case !l.scope.covers(c):
		case l.stale(now) || l.early(now):
			outdated = l
		default:
			return nil
		}
	}
	switch {
	case outdated == nil:
		return nil
	case outdated.early(now):
		return m.badList(outdated, causeListEarly, "whose", whose, "date", day(outdated.list.ThisUpdate))
	}
	return m.badList(outdated, causeListStale, "whose", whose, "date", day(outdated.list.NextUpdate))
}

func (m *Material) revoked(c *x509.Certificate, l *revocationList, whose string, at time.Time) *RevokedError {
	e := &RevokedError{
		Subject: sanitize.Line(c.Subject.String(), 300), Serial: c.SerialNumber.Text(16),
		Revoked: at, Path: sanitize.Line(l.path, 1000),
	}
	e.fill(causeRevoked, "whose", whose, "subject", sanitize.Quote(c.Subject.String()), "serial", e.Serial, "date", day(at), "list", l.where)
	return e
}

func (m *Material) badList(l *revocationList, c catalogue.Cause, values ...string) *CRLError {
	e := &CRLError{Issuer: sanitize.Line(l.list.Issuer.String(), 300), Path: sanitize.Line(l.path, 1000)}
	e.fill(c, append(values, "issuer", l.issuer(), "list", l.where, "file", e.Path, "setting", m.Setting("crl"))...)
	return e
}
