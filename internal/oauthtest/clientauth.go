package oauthtest

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// clientRequest reads a form that a client posts and authenticates the client as it registered
// (RFC 6749 §2.3). A nil form without refusal means that the answer was given.
func (i *Issuer) clientRequest(w http.ResponseWriter, r *http.Request) (url.Values, *client, *refusal) {
	if !allow(w, r, http.MethodPost) {
		return nil, nil, nil
	}
	if !isForm(r) {
		return nil, nil, refuse("invalid_request", "the body must be application/x-www-form-urlencoded")
	}
	// RFC 6749 §2.3.1: never in the URI, where it would be logged.
	if r.URL.RawQuery != "" {
		return nil, nil, refuse("invalid_request", "parameters belong into the body")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRecorded)
	if err := r.ParseForm(); err != nil {
		return nil, nil, refuse("invalid_request", "the body cannot be read")
	}
	form := r.PostForm
	if f := single(form); f != nil {
		return nil, nil, f
	}
	c, f := i.authenticate(form, r.Header.Values("Authorization"))
	if f != nil && f.code == "invalid_client" {
		f.status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="clients"`)
	}
	return form, c, f
}

func (i *Issuer) authenticate(form url.Values, authorization []string) (*client, *refusal) {
	id, secret, method := form.Get("client_id"), form.Get("client_secret"), "none"
	if form.Has("client_secret") {
		method = "client_secret_post"
	}
	if len(authorization) > 0 {
		if method != "none" {
			return nil, refuse("invalid_request", "the client authenticates in two ways")
		}
		user, password, ok := basicAuth(authorization)
		if !ok {
			return nil, refuse("invalid_client", "the Authorization header is not one of form-encoded Basic credentials")
		}
		if id != "" && id != user {
			return nil, refuse("invalid_request", "client_id differs from the authenticated client")
		}
		id, secret, method = user, password, "client_secret_basic"
	}
	if id == "" {
		return nil, refuse("invalid_client", "the client does not say who it is")
	}
	i.mu.Lock()
	c := i.clients[id]
	i.mu.Unlock()
	if c == nil {
		return nil, refuse("invalid_client", "the client is unknown")
	}
	if !slices.Contains(c.methods, method) {
		return nil, refuse("invalid_client", "the client is registered for %s and used %s", strings.Join(c.methods, " or "), method)
	}
	if method != "none" && subtle.ConstantTimeCompare([]byte(secret), []byte(c.secret)) != 1 {
		return nil, refuse("invalid_client", "the client secret is wrong")
	}
	return c, nil
}

// basicAuth decodes user and password, each form-encoded (RFC 6749 §2.3.1).
func basicAuth(authorization []string) (user, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": authorization}}
	rawUser, rawPassword, ok := r.BasicAuth()
	if !ok || len(authorization) > 1 {
		return "", "", false
	}
	user, err := url.QueryUnescape(rawUser)
	if err != nil {
		return "", "", false
	}
	password, err = url.QueryUnescape(rawPassword)
	return user, password, err == nil
}
