package oauthtest

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"time"
)

// redeemCode is RFC 6749 §4.1.3 with RFC 7636 §4.6.
func (i *Issuer) redeemCode(q *tokenRequest) (map[string]any, *refusal) {
	k := i.codes[q.form.Get("code")]
	if k == nil || k.client != q.client {
		return nil, refuse("invalid_grant", "the code is unknown or was issued to another client")
	}
	if k.used {
		k.grant.revoked = true // RFC 6749 §4.1.2: it may have been stolen
		return nil, refuse("invalid_grant", "the code was used before; its tokens are revoked")
	}
	k.used = true
	if !time.Now().Before(k.expires) {
		return nil, refuse("invalid_grant", "the code has expired")
	}
	if q.form.Get("redirect_uri") != k.redirectURI {
		return nil, refuse("invalid_grant", "redirect_uri differs from that of the authorization request")
	}
	if f := verify(q.form.Get("code_verifier"), k.challenge); f != nil {
		return nil, f
	}
	if i.options.DPoP && k.jkt != "" && k.jkt != q.bound.jkt {
		return nil, refuse("invalid_grant", "the proof is not of the key that the code is bound to") // RFC 9449 §10
	}
	if !subset(q.audience, k.resources) {
		return nil, refuse("invalid_target", "resource was not part of the authorization request")
	}
	return i.issue(q, k.grant, k.scopes, true), nil
}

var verifierSyntax = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636 §4.1

func verify(verifier, challenge string) *refusal {
	if verifier == "" {
		return refuse("invalid_grant", "code_verifier is missing")
	}
	if !verifierSyntax.MatchString(verifier) {
		return refuse("invalid_grant", "code_verifier is not 43 to 128 unreserved characters")
	}
	sum := sha256.Sum256([]byte(verifier))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
		return refuse("invalid_grant", "code_verifier does not match code_challenge")
	}
	return nil
}

// redeemRefresh is RFC 6749 §6.
func (i *Issuer) redeemRefresh(q *tokenRequest) (map[string]any, *refusal) {
	value := q.form.Get("refresh_token")
	t := i.refresh[value]
	if t == nil || t.grant.client != q.client {
		return nil, refuse("invalid_grant", "the refresh token is unknown, revoked or was issued to another client")
	}
	if t.used {
		i.reuses++
		t.grant.revoked = true // RFC 9700 §4.14.2
		return nil, refuse("invalid_grant", "the refresh token was used before; its family is revoked")
	}
	if t.grant.revoked {
		return nil, refuse("invalid_grant", "the refresh token is revoked")
	}
	if t.bound.jkt != "" && t.bound.jkt != q.bound.jkt {
		return nil, refuse("invalid_grant", "the proof is not of the key that the refresh token is bound to") // RFC 9449 §5
	}
	if t.bound.x5t != "" && t.bound.x5t != q.bound.x5t {
		return nil, refuse("invalid_grant", "the certificate is not the one that the refresh token is bound to") // RFC 8705 §4
	}
	if !subset(q.audience, t.grant.resources) {
		return nil, refuse("invalid_target", "resource was not granted")
	}
	wanted, f := scopes(q.form)
	if f != nil {
		return nil, f
	}
	if wanted == nil {
		wanted = t.grant.scopes
	}
	if !subset(wanted, t.grant.scopes) {
		return nil, refuse("invalid_scope", "scope exceeds what was granted")
	}
	t.used = i.options.RotateRefresh
	return i.issue(q, t.grant, wanted, i.options.RotateRefresh), nil
}

// redeemClient is RFC 6749 §4.4; it yields no refresh token.
func (i *Issuer) redeemClient(q *tokenRequest) (map[string]any, *refusal) {
	if q.client.isPublic() {
		return nil, refuse("unauthorized_client", "a public client cannot act for itself")
	}
	return i.issueFor(q, q.client.id)
}
