package tlsmat

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// revocationList is a list of revoked certificates (RFC 5280 §5), ready to be asked.
type revocationList struct {
	list    *x509.RevocationList // without its entries
	path    string
	where   string               // file and block, fit to print
	revoked map[string]time.Time // by serial number, its bytes
	scope   scope

	signedBy atomic.Pointer[x509.Certificate] // the issuer whose signature was found good last
}

// loadLists reads the revocation lists.
func (m *Material) loadLists(files []*keyfile.File) error {
	for _, f := range files {
		lists, err := revocationLists(f)
		if err != nil {
			return err
		}
		if m.lists == nil {
			m.lists = make(map[string][]*revocationList)
		}
		for _, l := range lists {
			name := string(l.list.RawIssuer)
			m.lists[name] = append(m.lists[name], l)
		}
	}
	return nil
}

// revocationLists parses every list of the file, at least one.
func revocationLists(f *keyfile.File) ([]*revocationList, error) {
	blocks, err := f.Blocks()
	if err != nil {
		return nil, err
	}
	var lists []*revocationList
	for _, b := range blocks {
		if b.Type != "X509 CRL" && !damagedDER(b) {
			continue // bundles of an authority's certificate and its list are common
		}
		l, err := parseList(f, b)
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
	}
	if lists == nil {
		return nil, f.Fault(causeNoList, nil, "block", blocks[0].String())
	}
	return lists, nil
}

// damagedDER reports a block that could be a damaged certificate as well as a damaged list.
func damagedDER(b keyfile.Block) bool {
	_, err := x509.ParseCertificate(b.Bytes)
	return !b.IsPEM() && b.IsCertificate() && err != nil
}

// parseList parses one list and refuses what cannot be understood in full: RFC 5280 §5.2, a
// list with an unknown critical extension must not be used.
func parseList(f *keyfile.File, b keyfile.Block) (*revocationList, error) {
	block := b.String()
	list, err := x509.ParseRevocationList(b.Bytes)
	if err != nil {
		return nil, f.Fault(causeListDamaged, err, "block", block, "detail", sanitize.Line(err.Error(), 300))
	}
	l := &revocationList{list: list, path: f.Path, where: f.Where() + " " + block, revoked: make(map[string]time.Time, len(list.RevokedCertificateEntries))}
	unknown := func(of []pkix.Extension, known ...asn1.ObjectIdentifier) error {
		for _, x := range of {
			if x.Critical && !slices.ContainsFunc(known, x.Id.Equal) {
				return f.Fault(causeListExtension, nil, "block", block, "oid", x.Id.String())
			}
		}
		return nil
	}
	for _, x := range list.Extensions {
		switch {
		case x.Id.Equal(oidDeltaList):
			return nil, f.Fault(causeListDelta, nil, "block", block)
		case x.Id.Equal(oidScope):
			if l.scope, err = parseScope(x.Value); err != nil {
				return nil, f.Fault(causeListScope, err, "block", block, "detail", err.Error())
			}
		}
	}
	if err := unknown(list.Extensions, oidScope); err != nil {
		return nil, err
	}
	for _, entry := range list.RevokedCertificateEntries {
		if err := unknown(entry.Extensions); err != nil {
			return nil, err
		}
		l.revoked[string(entry.SerialNumber.Bytes())] = entry.RevocationTime
	}
	list.RevokedCertificateEntries = nil
	return l, nil
}

// issuer is whose list it is, fit to print.
func (l *revocationList) issuer() string { return sanitize.Quote(l.list.Issuer.String()) }

// stale reports that the list has no say any more. A list need not say when its successor comes.
func (l *revocationList) stale(now time.Time) bool {
	return !l.list.NextUpdate.IsZero() && now.After(l.list.NextUpdate)
}

func (l *revocationList) early(now time.Time) bool { return now.Before(l.list.ThisUpdate) }

// verify checks the signature, once for each issuer that comes along.
func (l *revocationList) verify(issuer *x509.Certificate) error {
	if last := l.signedBy.Load(); last != nil && last.Equal(issuer) {
		return nil
	}
	if err := l.list.CheckSignatureFrom(issuer); err != nil {
		return err
	}
	l.signedBy.Store(issuer)
	return nil
}
