package oauthtest

import "net/http"

// revoke is RFC 7009.
func (i *Issuer) revoke(w http.ResponseWriter, r *http.Request) {
	form, c, f := i.clientRequest(w, r)
	if f != nil {
		f.write(w)
		return
	}
	if form == nil {
		return
	}
	value := form.Get("token")
	if value == "" {
		refuse("invalid_request", "token is missing").write(w)
		return
	}
	what, f := i.revokeToken(c, value)
	if f != nil {
		f.write(w)
		return
	}
	note(w, "%s", what)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (i *Issuer) revokeToken(c *client, value string) (what string, f *refusal) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.refresh[value]; t != nil {
		if t.grant.client != c {
			return "", refuse("unauthorized_client", "the token was issued to another client")
		}
		t.grant.revoked = true // RFC 7009 §2.1: and the access tokens of the same grant
		return "refresh token revoked, and the access tokens of its grant", nil
	}
	if t := i.access[value]; t != nil {
		if t.grant.client != c {
			return "", refuse("unauthorized_client", "the token was issued to another client")
		}
		delete(i.access, value)
		return "access token revoked", nil
	}
	return "revocation of an unknown token", nil // RFC 7009 §2.2: not an error
}
