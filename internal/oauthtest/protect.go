package oauthtest

import (
	"fmt"
	"net/http"
	"strings"
)

// admit checks the token (RFC 6750 §2.1, §3.1); where it returns false the answer was given.
func (s *Resource) admit(w http.ResponseWriter, r *http.Request) bool {
	if s.options.Issuer == nil {
		return true
	}
	credentials := r.Header.Values("Authorization")
	if len(credentials) > 1 || r.URL.Query().Has("access_token") {
		s.challenge(w, r, http.StatusBadRequest, "invalid_request", "one token, in one header, and not in the URL")
		return false
	}
	scheme, token, _ := strings.Cut(strings.Join(credentials, ""), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		s.challenge(w, r, s.options.ChallengeStatus, "", "no token")
		return false
	}
	subject, why := s.options.Issuer.check(token, s.audience(), s.options.Scopes)
	switch why {
	case "":
		note(w, "token of %s accepted", subject)
		return true
	case insufficientScope:
		s.challenge(w, r, http.StatusForbidden, "insufficient_scope", why)
	default:
		s.challenge(w, r, s.options.ChallengeStatus, "invalid_token", why)
	}
	return false
}

func (s *Resource) challenge(w http.ResponseWriter, r *http.Request, status int, code, why string) {
	if status == 0 {
		status = http.StatusUnauthorized
	}
	params, with := []string{`realm="docs"`}, ""
	if code != "" {
		params = append(params, fmt.Sprintf(`error="%s", error_description="%s"`, code, why))
	}
	if len(s.options.Scopes) > 0 {
		params = append(params, fmt.Sprintf(`scope="%s"`, strings.Join(s.options.Scopes, " ")))
	}
	if s.options.Metadata == "header" {
		params = append(params, fmt.Sprintf(`resource_metadata="%s"`, s.URL+wellKnown+s.idPath))
		with = " with resource_metadata"
	}
	lines := []string{"Bearer " + strings.Join(params, ", ")}
	if s.options.Challenge != nil {
		lines, with = s.options.Challenge(r), ""
	}
	note(w, "%d (%s): challenge%s", status, why, with)
	for _, line := range lines {
		w.Header().Add("WWW-Authenticate", line)
	}
	if status == http.StatusFound {
		w.Header().Set("Location", s.URL+signInPath)
	}
	writeMessage(w, status, "Sign in", "This page needs a login.")
}

func signIn(w http.ResponseWriter, _ *http.Request) {
	note(w, "sign-in page of the site shown")
	writeMessage(w, http.StatusOK, "Sign in", "This is the login page of the site, not the page that was asked for.")
}
