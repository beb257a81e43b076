// Package challenge parses WWW-Authenticate (RFC 9110 §11.6.1).
package challenge

import (
	"strings"
	"time"
)

// What lies beyond these limits is ignored.
const (
	MaxHeaderBytes       = 64 << 10 // all header lines together
	MaxChallenges        = 16
	MaxScopes            = 32  // of one challenge
	MaxScopeBytes        = 128 // of one scope
	MaxACRValues         = 16  // of one challenge
	MaxAuthenticationAge = 365 * 24 * time.Hour
)

// Challenge is one scheme that a server accepts, with what it says about it.
type Challenge struct {
	Scheme  string            // as sent; compare with Is
	Token68 string            // "" unless the challenge carried one
	Params  map[string]string // names in lower case, values unquoted and unescaped; nil if there are none
}

// Parse reads the values of all WWW-Authenticate lines of one response. It never fails: a
// challenge that breaks the grammar or names a parameter twice is skipped, the others are kept.
// White space around "=", tabs and empty list elements are accepted (RFC 9110 §5.6.1, §11.2), and
// so is a value that should have been quoted, such as a bare URL. Values are valid UTF-8 without
// control characters, which become spaces (RFC 9110 §5.5).
func Parse(values []string) []Challenge {
	var p parser
	room := MaxHeaderBytes
	for _, line := range values {
		cut := len(line) > room
		if cut {
			line = line[:room]
		}
		room -= len(line)
		p.line(line, cut)
	}
	return p.kept
}

// Is reports whether the challenge is of this scheme; case does not matter.
func (c Challenge) Is(scheme string) bool { return strings.EqualFold(c.Scheme, scheme) }

// Find returns the first challenge of a scheme.
func Find(cs []Challenge, scheme string) (Challenge, bool) {
	for _, c := range cs {
		if c.Is(scheme) {
			return c, true
		}
	}
	return Challenge{}, false
}
