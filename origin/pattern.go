package origin

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Pattern names the origins a rule is for: one exact origin, or, written https://*.corp.example,
// every origin whose host is exactly one label longer than the rest.
type Pattern struct {
	origin   Origin // of a wildcard: the part behind "*."
	wildcard bool
}

// ParsePattern reads a pattern. A wildcard stands only for the whole first label, and never
// directly before a public suffix such as com or github.io.
func ParsePattern(s string) (Pattern, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !strings.HasPrefix(rest, "*.") {
		if strings.Contains(s, "*") {
			return Pattern{}, &Error{Input: s, Reason: "a wildcard stands for the first label only, as in https://*.corp.example"}
		}
		o, err := Parse(s)
		return Pattern{origin: o}, err
	}
	o, err := Parse(scheme + "://" + strings.TrimPrefix(rest, "*."))
	if err != nil {
		return Pattern{}, err
	}
	if err := checkWildcard(o); err != nil {
		return Pattern{}, &Error{Input: s, Reason: err.Error()}
	}
	return Pattern{origin: o, wildcard: true}, nil
}

func checkWildcard(o Origin) error {
	if _, err := netip.ParseAddr(o.host); err == nil {
		return errors.New("a wildcard cannot stand before an IP address")
	}
	suffix, icann := publicsuffix.PublicSuffix(o.host)
	if suffix == o.host && (icann || strings.Contains(suffix, ".") || !strings.Contains(o.host, ".")) {
		return errors.New("*." + o.host + " would cover hosts of different owners")
	}
	return nil
}

// Match reports whether o is covered.
func (p Pattern) Match(o Origin) bool {
	if !p.wildcard {
		return p.origin == o
	}
	if p.origin.scheme != o.scheme || p.origin.port != o.port {
		return false
	}
	label, rest, ok := strings.Cut(o.host, ".")
	return ok && label != "" && rest == p.origin.host
}

// Exact returns the one origin of a pattern without a wildcard.
func (p Pattern) Exact() (Origin, bool) { return p.origin, !p.wildcard }

// String is the canonical spelling; two patterns are the same when their strings are.
func (p Pattern) String() string {
	if !p.wildcard {
		return p.origin.String()
	}
	scheme, rest, _ := strings.Cut(p.origin.String(), "://")
	return scheme + "://*." + rest
}
