package tlsmat

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
)

var (
	oidDeltaList = asn1.ObjectIdentifier{2, 5, 29, 27} // RFC 5280 §5.2.4
	oidScope     = asn1.ObjectIdentifier{2, 5, 29, 28} // RFC 5280 §5.2.5
)

// scope is which certificates a list speaks of. The zero scope is all of its issuer's.
type scope struct {
	users, authorities bool     // only those
	points             []string // only those that name one of these addresses
}

// parseScope decodes an IssuingDistributionPoint. Scopes that need other lists are errors.
func parseScope(der []byte) (scope, error) {
	var x struct {
		Point struct {
			FullName []asn1.RawValue `asn1:"optional,tag:0"`
			Relative asn1.RawValue   `asn1:"optional,tag:1"`
		} `asn1:"optional,tag:0"`
		Users       bool           `asn1:"optional,tag:1"`
		Authorities bool           `asn1:"optional,tag:2"`
		Reasons     asn1.BitString `asn1:"optional,tag:3"`
		Indirect    bool           `asn1:"optional,tag:4"`
		Attributes  bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(der, &x)
	switch {
	case err != nil || len(rest) > 0:
		return scope{}, errors.New("its scope is not readable")
	case x.Reasons.BitLength > 0:
		return scope{}, errors.New("it has some reasons of revocation only")
	case x.Indirect:
		return scope{}, errors.New("it is indirect, with certificates of several issuers")
	case x.Attributes:
		return scope{}, errors.New("it is about attribute certificates")
	}
	s := scope{users: x.Users, authorities: x.Authorities}
	for _, name := range x.Point.FullName {
		if name.Class == asn1.ClassContextSpecific && name.Tag == 6 { // uniformResourceIdentifier
			s.points = append(s.points, string(name.Bytes))
		}
	}
	if s.points == nil && (x.Point.FullName != nil || x.Point.Relative.FullBytes != nil) {
		return scope{}, errors.New("its place is not named by a URL")
	}
	return s, nil
}

// covers reports whether a list with this scope that does not have c says that c is good. A
// certificate that names no list may be in any.
func (s scope) covers(c *x509.Certificate) bool {
	if s.users && c.IsCA || s.authorities && !c.IsCA {
		return false
	}
	return s.points == nil || len(c.CRLDistributionPoints) == 0 ||
		slices.ContainsFunc(c.CRLDistributionPoints, func(p string) bool { return slices.Contains(s.points, p) })
}
