package tlsmat

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Check is the outcome of looking at one side of material, for a person.
type Check struct {
	Name   string // pair, chain, dates, usage, permissions, roots, server name, revocation lists or pins
	OK     bool   // false: servers will refuse us, or we them
	Warn   bool   // OK, but worth a look; Code and Remedy are set
	Result string // one line, fit to print
	Code   string // the stable machine code, such as tls.client_cert_expired; "" when nothing is wrong
	Remedy string // what to do; "" when nothing is wrong
}

// finding is something wrong, or about to be.
type finding struct {
	check        string // the name of the [Check] it belongs to
	fails        bool   // the check fails
	says, remedy string
	code         string
}

// found is something to warn of.
func found(check string, c catalogue.Cause, values ...string) finding {
	return told(check, c.Fill(values...))
}

// told is a cause with nothing left to fill in.
func told(check string, c catalogue.Cause) finding {
	return finding{check: check, says: c.Says, remedy: c.Remedy, code: c.Code}
}

// at puts the place in front: setting and file.
func (f finding) at(where string) finding {
	f.says = where + ": " + f.says
	return f
}

// failing is something that cannot work.
func failing(check string, c catalogue.Cause, values ...string) finding {
	f := found(check, c, values...)
	f.fails = true
	return f
}

// Warnings are sentences about what may go wrong, as of now.
func (m *Material) Warnings() []string {
	if m == nil {
		return nil
	}
	var out []string
	for _, f := range m.findings(time.Now()) {
		out = append(out, f.says)
	}
	return out
}

// Checks look at everything that can be judged without a server, as of now.
func (m *Material) Checks() []Check {
	if m == nil {
		return []Check{{Name: "roots", OK: true, Result: "the system's"}}
	}
	now := time.Now()
	var all []Check
	add := func(name, format string, args ...any) {
		all = append(all, Check{Name: name, OK: true, Result: fmt.Sprintf(format, args...)})
	}
	if leaf := m.Leaf(); leaf != nil {
		last := m.lastSent()
		add("pair", "certificate and key belong together (%s)", KeyAlgorithm(leaf.PublicKey))
		add("chain", "%d sent, up to %s issued by %s", m.ChainLength(), sanitize.Quote(last.Subject.String()), sanitize.Quote(last.Issuer.String()))
		add("dates", "valid from %s until %s, %s left", day(leaf.NotBefore), day(leaf.NotAfter), remaining(leaf.NotAfter.Sub(now)))
		add("usage", "extended key usage %s", KeyUsages(leaf))
		if m.keyFile != nil {
			add("permissions", "the key file has mode %04o", m.keyFile.Mode)
		}
	}
	add("roots", "%s", m.rootsText())
	if m.spiffeID != "" || m.serverName != "" {
		add("server name", "servers must be %s", sanitize.Quote(m.spiffeID+m.serverName))
	}
	if m.lists != nil {
		add("revocation lists", "%s", m.listsText())
	}
	if len(m.pins) > 0 {
		add("pins", "servers must have one of %d keys", len(m.pins))
	}
	found := m.findings(now)
	for i := range all {
		all[i].judge(found)
	}
	return all
}

// judge takes in what was found about it.
func (c *Check) judge(all []finding) {
	var says, remedies []string
	for _, f := range all {
		if f.check != c.Name {
			continue
		}
		says = append(says, f.says)
		if f.remedy != "" && !slices.Contains(remedies, f.remedy) {
			remedies = append(remedies, f.remedy)
		}
		if c.Code == "" || f.fails && c.OK {
			c.Code = f.code
		}
		c.OK = c.OK && !f.fails
		c.Warn = true
	}
	c.Warn = c.Warn && c.OK
	if says != nil {
		c.Result, c.Remedy = strings.Join(says, "; "), strings.Join(remedies, "; ")
	}
}

// findings are all that is wrong, or about to be.
func (m *Material) findings(now time.Time) []finding {
	all := slices.Clone(m.doubts)
	if m.withdrawn != nil {
		all = append(all, finding{check: "pair", fails: true, says: sanitize.Line(m.withdrawn.Error(), 1000), code: m.withdrawn.Code(), remedy: m.withdrawn.Hint()})
	}
	for i, c := range m.bundle {
		if now.After(c.NotAfter) {
			all = append(all, found("roots", causeRootExpired, "subject", sanitize.Quote(c.Subject.String()), "date", day(c.NotAfter)).at(m.at[i]))
		}
	}
	all = append(all, m.listFindings(now)...)
	if m.Leaf() != nil {
		all = append(all, m.certFindings(now)...)
	}
	return all
}

// certFindings are about the client certificate and what is sent with it.
func (m *Material) certFindings(now time.Time) []finding {
	var all []finding
	leaf := m.Leaf()
	if s := m.expiryStage(now); s.name != "" {
		all = append(all, s.finding)
	}
	for _, c := range append([]*x509.Certificate{leaf}, m.intermediates()...) {
		if now.Before(c.NotBefore) {
			all = append(all, failing("dates", causeNotYetValid, append(m.aboutCert(c), "date", day(c.NotBefore))...).at(m.certWhere()))
		}
	}
	if !ForClients(leaf) {
		all = append(all, failing("usage", causeNotForClients, append(m.aboutCert(leaf), "usage", KeyUsages(leaf))...).at(m.certWhere()))
	}
	if k, ok := leaf.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		all = append(all, found("pair", causeWeakKey, append(m.aboutCert(leaf), "bits", fmt.Sprint(k.N.BitLen()))...).at(m.certWhere()))
	}
	return all
}

// listFindings are about the age of the revocation lists. The warning comes 7 days before the end,
// or in the last tenth of lists that are replaced every two weeks or more often.
func (m *Material) listFindings(now time.Time) []finding {
	var all []finding
	for _, l := range m.sortedLists() {
		about := []string{"issuer", l.issuer(), "date", day(l.list.NextUpdate), "left", remaining(l.list.NextUpdate.Sub(now))}
		warn := 7 * oneDay
		if life := l.list.NextUpdate.Sub(l.list.ThisUpdate); warn > life/2 {
			warn = life / 10
		}
		switch {
		case l.list.NextUpdate.IsZero():
			all = append(all, found("revocation lists", causeListOpenEnded, about...).at(l.where))
		case l.stale(now):
			all = append(all, failing("revocation lists", causeListOld, about...).at(l.where))
		case l.list.NextUpdate.Sub(now) <= warn:
			all = append(all, found("revocation lists", causeListAge, about...).at(l.where))
		}
	}
	return all
}

func (m *Material) sortedLists() []*revocationList {
	var all []*revocationList
	for _, lists := range m.lists {
		all = append(all, lists...)
	}
	slices.SortFunc(all, func(a, b *revocationList) int { return strings.Compare(a.where, b.where) })
	return all
}

func (m *Material) listsText() string {
	var parts []string
	for _, l := range m.sortedLists() {
		until := "without end"
		if !l.list.NextUpdate.IsZero() {
			until = "until " + day(l.list.NextUpdate)
		}
		parts = append(parts, fmt.Sprintf("%d revoked by %s, %s", len(l.revoked), l.issuer(), until))
	}
	return strings.Join(parts, "; ")
}

// lastSent is the end of the chain that is sent.
func (m *Material) lastSent() *x509.Certificate {
	last := m.cert.Certificate[len(m.cert.Certificate)-1]
	if c, err := x509.ParseCertificate(last); err == nil && !bytes.Equal(last, m.cert.Leaf.Raw) {
		return c
	}
	return m.cert.Leaf
}
