// Package challenge parses WWW-Authenticate (RFC 9110 §11.6.1).
package challenge

import (
	"slices"
	"strings"
)

// What lies beyond these limits is ignored.
const (
	MaxHeaderBytes = 64 << 10 // all header lines together
	MaxChallenges  = 16
	MaxScopes      = 32  // of one challenge
	MaxScopeBytes  = 128 // of one scope
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

// Scopes returns the scope parameter as a list without duplicates (RFC 6749 §3.3). What is no
// scope token is left out, as is what exceeds MaxScopes or MaxScopeBytes.
func (c Challenge) Scopes() []string {
	var scopes []string
	for scope := range strings.SplitSeq(c.Params["scope"], " ") {
		if len(scopes) == MaxScopes {
			break
		}
		if IsScope(scope) && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// IsScope reports whether s is one scope token (RFC 6749 §3.3) of at most MaxScopeBytes.
func IsScope(s string) bool {
	if s == "" || len(s) > MaxScopeBytes {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Find returns the first challenge of a scheme.
func Find(cs []Challenge, scheme string) (Challenge, bool) {
	for _, c := range cs {
		if c.Is(scheme) {
			return c, true
		}
	}
	return Challenge{}, false
}

// ResourceMetadata returns the first resource_metadata (RFC 9728 §5.1) of any scheme, or "".
func ResourceMetadata(cs []Challenge) string {
	for _, c := range cs {
		if u := c.Params["resource_metadata"]; u != "" {
			return u
		}
	}
	return ""
}
