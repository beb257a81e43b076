package challenge

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// OAuth returns the first challenge that asks for an OAuth token: Bearer (RFC 6750 §3) or DPoP
// (RFC 9449 §7.1). Both have error and scope parameters; DPoP has algs too.
func OAuth(cs []Challenge) (Challenge, bool) {
	for _, c := range cs {
		if c.Is("Bearer") || c.Is("DPoP") {
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

// Scopes returns the scope parameter as a list without duplicates (RFC 6749 §3.3). What is no
// scope token is left out, as is what exceeds MaxScopes or MaxScopeBytes.
func (c Challenge) Scopes() []string { return tokens(c.Params["scope"], MaxScopes) }

// ACRValues returns the acr_values parameter, the most wanted first, of a challenge whose error is
// insufficient_user_authentication (RFC 9470 §3). What cannot stand in a scope is left out, as is
// what exceeds MaxACRValues.
func (c Challenge) ACRValues() []string { return tokens(c.Params["acr_values"], MaxACRValues) }

// MaxAge returns the max_age parameter, how long ago the person may have signed in at most
// (RFC 9470 §3), if it is there and a number of seconds. More than MaxAuthenticationAge is that.
func (c Challenge) MaxAge() (time.Duration, bool) {
	text := c.Params["max_age"]
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	seconds, _ := strconv.ParseUint(text, 10, 64) // the greatest there is, where it is greater
	return time.Duration(min(seconds, uint64(MaxAuthenticationAge/time.Second))) * time.Second, true
}

// tokens are the valid ones of a list separated by spaces, once each, limit at most.
func tokens(list string, limit int) []string {
	var kept []string
	for s := range strings.SplitSeq(list, " ") {
		if len(kept) == limit {
			break
		}
		if IsScope(s) && !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
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
