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
	withProof := strings.EqualFold(scheme, "DPoP") && (s.options.DPoP || s.options.Issuer.options.DPoP)
	if !withProof && !strings.EqualFold(scheme, "Bearer") {
		s.challenge(w, r, s.options.ChallengeStatus, "", "no token")
		return false
	}
	t, why := s.options.Issuer.check(token, s.audience(), s.options.Scopes)
	if t != nil {
		if f := s.checkHolder(w, r, t, token, withProof); f != nil {
			s.challenge(w, r, http.StatusUnauthorized, f.code, f.description)
			return false
		}
	}
	switch why {
	case "":
		if why, params := s.stepUp(t); why != "" {
			s.challenge(w, r, http.StatusUnauthorized, "insufficient_user_authentication", why, params...)
			return false
		}
		note(w, "token of %s accepted", t.grant.subject)
		return true
	case insufficientScope:
		s.challenge(w, r, http.StatusForbidden, "insufficient_scope", why)
	default:
		s.challenge(w, r, s.options.ChallengeStatus, "invalid_token", why)
	}
	return false
}

// checkHolder refuses a token in hands that it is not bound to.
func (s *Resource) checkHolder(w http.ResponseWriter, r *http.Request, t *accessToken, token string, withProof bool) *refusal {
	switch bound := t.bound.jkt != ""; {
	case s.options.DPoP && !bound:
		return refuse("invalid_token", "the token is not bound to a key")
	case bound && !withProof:
		return refuse("invalid_token", "the token is bound to a key and came as Bearer") // RFC 9449 §7.2
	case !bound && withProof:
		return refuse("invalid_token", "the token came with a proof and is not bound to a key")
	}
	if withProof {
		thumbprint, f := s.proofs.check(w, r, token)
		if f != nil {
			return f
		}
		if thumbprint != t.bound.jkt {
			return refuse("invalid_token", "the proof is not of the key that the token is bound to")
		}
	}
	if s.options.CertificateBound && (t.bound.x5t == "" || t.bound.x5t != certificateThumbprint(r)) {
		return refuse("invalid_token", "the token is not bound to the certificate of the connection") // RFC 8705 §3
	}
	return nil
}

// challenge asks for a token (RFC 6750 §3), or a better one.
func (s *Resource) challenge(w http.ResponseWriter, r *http.Request, status int, code, why string, more ...string) {
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
	scheme := "Bearer "
	if s.options.DPoP {
		scheme, params = "DPoP ", append(params, `algs="ES256"`) // RFC 9449 §7.1
	}
	params = append(params, more...)
	if s.options.Metadata == "header" {
		params = append(params, fmt.Sprintf(`resource_metadata="%s"`, s.URL+wellKnown+s.idPath))
		with = " with resource_metadata"
	}
	lines := []string{scheme + strings.Join(params, ", ")}
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
