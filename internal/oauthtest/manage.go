package oauthtest

import (
	"net/http"
	"strings"
)

const managePath = "/register/"

// manage is the client configuration endpoint (RFC 7592 §2), for reading and deleting.
func (i *Issuer) manage(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodDelete) {
		return
	}
	id := strings.TrimPrefix(r.URL.Path, i.options.Path+managePath)
	credentials := r.Header.Values("Authorization")
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.clients[id]
	if c == nil || c.management == "" || len(credentials) != 1 || credentials[0] != "Bearer "+c.management {
		note(w, "refused: the registration access token is not that of the client")
		w.Header().Set("WWW-Authenticate", `Bearer realm="registrations", error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodGet {
		note(w, "registration of %s shown", c.name)
		writeJSON(w, http.StatusOK, c.registered)
		return
	}
	i.forget(c)
	note(w, "client %s deleted, and its tokens", c.name)
	w.WriteHeader(http.StatusNoContent)
}

// forget removes c and what it was granted (RFC 7592 §2.3); i.mu is held.
func (i *Issuer) forget(c *client) {
	delete(i.clients, c.id)
	for _, t := range i.access {
		t.grant.revoked = t.grant.revoked || t.grant.client == c
	}
	for _, t := range i.refresh {
		t.grant.revoked = t.grant.revoked || t.grant.client == c
	}
	for value, k := range i.codes {
		if k.client == c {
			delete(i.codes, value)
		}
	}
}
