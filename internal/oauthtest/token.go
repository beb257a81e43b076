package oauthtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type accessToken struct {
	grant    *grant
	audience []string
	scopes   []string
	expires  time.Time // zero: never
	bound    binding
}

type refreshToken struct {
	grant *grant
	used  bool    // rotated away
	bound binding // of a public client
}

// binding is what a token is bound to; "" is nothing.
type binding struct {
	jkt string // thumbprint of a DPoP key (RFC 9449 §6)
	x5t string // thumbprint of a certificate (RFC 8705 §3)
}

// tokenRequest is a request of an authenticated client to the token endpoint.
type tokenRequest struct {
	client   *client
	form     url.Values
	audience []string
	bound    binding
}

type redeemer func(*tokenRequest) (map[string]any, *refusal)

// locked runs redeem with i.mu held. The grants that the options answer do without, because those
// functions may ask the issuer.
func (i *Issuer) locked(redeem redeemer) redeemer {
	return func(q *tokenRequest) (map[string]any, *refusal) {
		i.mu.Lock()
		defer i.mu.Unlock()
		return redeem(q)
	}
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
	// An exchange may name its audience in another way.
	if f == nil && len(audience) == 0 && kind != exchangeGrant {
		// RFC 8707 §2 lets a server refuse a request that does not say whom the token is for.
		f = refuse("invalid_target", "resource is missing")
	}
	if f != nil {
		f.write(w)
		return
	}
	bound, f := i.binding(w, r)
	if f != nil {
		f.write(w)
		return
	}
	redeem := map[string]redeemer{
		"authorization_code": i.locked(i.redeemCode), "refresh_token": i.locked(i.redeemRefresh), deviceGrant: i.locked(i.redeemDevice),
		"client_credentials": i.redeemClient, jwtBearerGrant: i.redeemAssertion, exchangeGrant: i.redeemExchange,
	}[kind]
	reply, f := redeem(&tokenRequest{c, form, audience, bound})
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

// binding is what the tokens of a request are to be bound to.
func (i *Issuer) binding(w http.ResponseWriter, r *http.Request) (b binding, f *refusal) {
	if i.options.CertificateBound {
		b.x5t = certificateThumbprint(r)
	}
	if i.options.RequireDPoP || i.options.DPoP && len(r.Header.Values("DPoP")) > 0 {
		b.jkt, f = i.proofs.check(w, r, "")
	}
	return b, f
}

// issue makes tokens of g; i.mu is held.
func (i *Issuer) issue(q *tokenRequest, g *grant, granted []string, refreshable bool) map[string]any {
	lifetime := i.options.TokenLifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	t := &accessToken{grant: g, audience: q.audience, scopes: granted, bound: q.bound}
	value := random()
	reply := map[string]any{"access_token": value, "token_type": "Bearer"}
	if q.bound.jkt != "" {
		reply["token_type"] = "DPoP"
	}
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
		t := &refreshToken{grant: g}
		if g.client.isPublic() {
			t.bound = q.bound
		}
		i.refresh[value] = t
		reply["refresh_token"] = value
	}
	if i.options.IDToken && g.signedIn {
		if signed, err := i.idToken(g); err == nil {
			reply["id_token"] = signed
		}
	}
	return reply
}

const insufficientScope = "the token lacks a scope"

// check returns the token, nil where it is unknown, and why it is not acceptable; audience lists
// the identifiers that the resource goes by.
func (i *Issuer) check(token string, audience, needed []string) (t *accessToken, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t = i.access[token]
	switch {
	case t == nil:
		return nil, "the token is unknown or revoked"
	case t.grant.revoked:
		return t, "the token is revoked"
	case !t.expires.IsZero() && !time.Now().Before(t.expires):
		return t, "the token has expired"
	case !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(t.audience, a) }):
		return t, "the token is for another resource"
	case !subset(needed, t.scopes):
		return t, insufficientScope
	}
	return t, ""
}
