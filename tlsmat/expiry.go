package tlsmat

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

const oneDay = 24 * time.Hour

// points are when to warn, as time before the end, the earliest first: 30 days, 7 days and a tenth of
// a certificate's life. What is more than half of its life does not count, as one of 24 hours would
// always be about to end; nor does a tenth that is more than 30 days.
func points(lifetime time.Duration) []time.Duration {
	all := []time.Duration{min(lifetime/10, 30*oneDay)}
	for _, p := range []time.Duration{30 * oneDay, 7 * oneDay} {
		if p <= lifetime/2 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	return slices.Compact(all)
}

// stage is how far the end of the material has come.
type stage struct {
	name    string // tells it from the other stages of the same material; "": not soon
	finding        // what to say then
}

// Expiry is when the certificate, or the first of the intermediates that are sent with it, ends.
// It is false without a certificate.
func (m *Material) Expiry() (notAfter time.Time, ok bool) {
	c := m.firstToEnd()
	if c == nil {
		return time.Time{}, false
	}
	return c.NotAfter, true
}

// expiryStage is the stage that has been reached and what is to be said of it.
func (m *Material) expiryStage(now time.Time) stage {
	c := m.firstToEnd()
	if c == nil {
		return stage{}
	}
	values := append(m.aboutCert(c), "date", day(c.NotAfter), "left", remaining(c.NotAfter.Sub(now)))
	if now.After(c.NotAfter) {
		return stage{"expired", failing("dates", causeExpired, values...).at(m.certWhere())}
	}
	left := c.NotAfter.Sub(now)
	all := points(c.NotAfter.Sub(c.NotBefore))
	passed := 0
	for passed < len(all) && left <= all[passed] {
		passed++
	}
	if passed == 0 {
		return stage{}
	}
	return stage{fmt.Sprint(all[passed-1]), found("dates", causeExpires, values...).at(m.certWhere())}
}

// firstToEnd is what ends first of what is sent, nil without a certificate. A root that is sent does
// not count: servers have their own.
func (m *Material) firstToEnd() *x509.Certificate {
	first := m.Leaf()
	if first == nil {
		return nil
	}
	for _, c := range m.intermediates() {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	return first
}

// intermediates are the authorities sent with the certificate, without the root.
func (m *Material) intermediates() []*x509.Certificate {
	var out []*x509.Certificate
	for _, der := range m.cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil && !selfIssued(c) {
			out = append(out, c)
		}
	}
	return out
}

// aboutCert are the values of causes about one of the certificates that are sent.
func (m *Material) aboutCert(c *x509.Certificate) []string {
	what := "certificate"
	if !c.Equal(m.Leaf()) {
		what = "intermediate certificate"
	}
	return []string{"setting", m.Setting(m.certFrom.field), "what", what, "subject", sanitize.Quote(c.Subject.String())}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func remaining(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d/oneDay))
}
