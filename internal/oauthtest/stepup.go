package oauthtest

import (
	"fmt"
	"slices"
	"strings"
)

// stepUp returns why the sign-in behind the token is not good enough, and the parameters of the
// challenge that says so (RFC 9470 §3).
func (s *Resource) stepUp(t *accessToken) (why string, params []string) {
	if wanted := strings.Fields(s.options.ACR); len(wanted) > 0 {
		if !slices.ContainsFunc(wanted, func(class string) bool { return slices.Contains(t.grant.acr, class) }) {
			why = "the sign-in was not of the class that is needed"
		}
		params = append(params, fmt.Sprintf(`acr_values="%s"`, s.options.ACR))
	}
	if limit := s.options.MaxAge; limit > 0 {
		if t.grant.maxAge == nil || *t.grant.maxAge > limit {
			why = "the sign-in is too old"
		}
		params = append(params, fmt.Sprintf(`max_age="%d"`, limit))
	}
	return why, params
}
