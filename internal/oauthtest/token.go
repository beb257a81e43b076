package oauthtest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

type accessToken struct {
	grant    *grant
	audience []string
	scopes   []string
	expires  time.Time // zero: never
}

type refreshToken struct {
	grant *grant
	used  bool // rotated away
}

// token is the token endpoint (RFC 6749 §3.2).
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	form, c, f := i.clientRequest(w, r)
	if f != nil {
		f.write(w)
		return
	}
	if form == nil {
		return
	}
	kind := form.Get("grant_type")
	if kind == "" {
		refuse("invalid_request", "grant_type is missing").write(w)
		return
	}
	if !slices.Contains(i.grantTypes(), kind) {
		refuse("unsupported_grant_type", "grant_type is not offered").write(w)
		return
	}
	if !c.mayUse(kind) {
		refuse("unauthorized_client", "the client is not registered for this grant").write(w)
		return
	}
	audience, f := resources(form)
	if f == nil && len(audience) == 0 {
		// RFC 8707 §2 lets a server refuse a request that does not say whom the token is for.
		f = refuse("invalid_target", "resource is missing")
	}
	if f != nil {
		f.write(w)
		return
	}
	redeem := map[string]func(*client, url.Values, []string) (map[string]any, *refusal){
		"authorization_code": i.redeemCode, "refresh_token": i.redeemRefresh, deviceGrant: i.redeemDevice, "client_credentials": i.redeemClient,
	}[kind]
	i.mu.Lock()
	reply, f := redeem(c, form, audience)
	i.mu.Unlock()
	if f != nil {
		f.write(w)
		return
	}
	with := ""
	if reply["refresh_token"] != nil {
		with = " with a refresh token"
	}
	note(w, "access token issued for %s%s (%s)", strings.Join(audience, ", "), with, kind)
	i.reply(w, r, http.StatusOK, reply)
}

// redeemCode is RFC 6749 §4.1.3 with RFC 7636 §4.6. The redeem functions run with i.mu held.
func (i *Issuer) redeemCode(c *client, form url.Values, audience []string) (map[string]any, *refusal) {
	k := i.codes[form.Get("code")]
	if k == nil || k.client != c {
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
	if form.Get("redirect_uri") != k.redirectURI {
		return nil, refuse("invalid_grant", "redirect_uri differs from that of the authorization request")
	}
	if f := verify(form.Get("code_verifier"), k.challenge); f != nil {
		return nil, f
	}
	if !subset(audience, k.resources) {
		return nil, refuse("invalid_target", "resource was not part of the authorization request")
	}
	return i.issue(k.grant, audience, k.scopes, true), nil
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
func (i *Issuer) redeemRefresh(c *client, form url.Values, audience []string) (map[string]any, *refusal) {
	value := form.Get("refresh_token")
	t := i.refresh[value]
	if t == nil || t.grant.client != c {
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
	if !subset(audience, t.grant.resources) {
		return nil, refuse("invalid_target", "resource was not granted")
	}
	wanted, f := scopes(form)
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
	return i.issue(t.grant, audience, wanted, i.options.RotateRefresh), nil
}

// redeemClient is RFC 6749 §4.4; it yields no refresh token.
func (i *Issuer) redeemClient(c *client, form url.Values, audience []string) (map[string]any, *refusal) {
	if c.secret == "" {
		return nil, refuse("unauthorized_client", "a public client cannot act for itself")
	}
	wanted, f := scopes(form)
	if f != nil {
		return nil, f
	}
	return i.issue(&grant{client: c, subject: c.id, scopes: wanted, resources: audience}, audience, wanted, false), nil
}

// issue makes tokens of g; i.mu is held.
func (i *Issuer) issue(g *grant, audience, granted []string, refreshable bool) map[string]any {
	lifetime := i.options.TokenLifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	t := &accessToken{grant: g, audience: audience, scopes: granted}
	value := random()
	reply := map[string]any{"access_token": value, "token_type": "Bearer"}
	if lifetime > 0 {
		t.expires = time.Now().Add(lifetime)
		reply["expires_in"] = int(lifetime.Seconds())
	}
	if len(granted) > 0 {
		reply["scope"] = strings.Join(granted, " ")
	}
	i.access[value] = t
	if refreshable && !i.options.NoRefresh && g.client.mayUse("refresh_token") {
		value := random()
		i.refresh[value] = &refreshToken{grant: g}
		reply["refresh_token"] = value
	}
	return reply
}

const insufficientScope = "the token lacks a scope"

// check returns the subject of an acceptable token, or why it is not; audience lists the
// identifiers that the resource goes by.
func (i *Issuer) check(token string, audience, needed []string) (subject, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.access[token]
	switch {
	case t == nil:
		return "", "the token is unknown or revoked"
	case t.grant.revoked:
		return "", "the token is revoked"
	case !t.expires.IsZero() && !time.Now().Before(t.expires):
		return "", "the token has expired"
	case !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(t.audience, a) }):
		return "", "the token is for another resource"
	case !subset(needed, t.scopes):
		return "", insufficientScope
	}
	return t.grant.subject, ""
}
