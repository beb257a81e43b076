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
	c, f := i.authenticate(r, form)
	if f != nil && f.code == "invalid_client" {
		f.status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="clients"`)
	}
	return form, c, f
}

func (i *Issuer) authenticate(r *http.Request, form url.Values) (*client, *refusal) {
	id, secret, method, f := presented(form, r.Header.Values("Authorization"))
	if f != nil {
		return nil, f
	}
	if id == "" {
		return nil, refuse("invalid_client", "the client does not say who it is")
	}
	c, why := i.findClient(r.Context(), id)
	if c == nil {
		return nil, refuse("invalid_client", "%s", why)
	}
	if method == "none" && c.certificate != "" { // RFC 8705 §2: the form has only the client_id
		return c, c.checkCertificate(r)
	}
	if !slices.Contains(c.methods, method) {
		return nil, refuse("invalid_client", "the client is registered for %s and used %s", strings.Join(c.methods, " or "), method)
	}
	switch method {
	case "private_key_jwt":
		return c, i.checkAssertion(c, form)
	case "client_secret_basic", "client_secret_post":
		if subtle.ConstantTimeCompare([]byte(secret), []byte(c.secret)) != 1 {
			return nil, refuse("invalid_client", "the client secret is wrong")
		}
	}
	return c, nil
}

// presented returns who the client says it is, and how it would prove that.
func presented(form url.Values, authorization []string) (id, secret, method string, f *refusal) {
	id, secret, method = form.Get("client_id"), form.Get("client_secret"), "none"
	if form.Has("client_secret") {
		method = "client_secret_post"
	}
	twoWays := refuse("invalid_request", "the client authenticates in two ways")
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		if method != "none" {
			return "", "", "", twoWays
		}
		_, claims, f := parseAssertion(form)
		if f != nil {
			return "", "", "", f
		}
		if id != "" && id != claims.Subject {
			return "", "", "", refuse("invalid_client", "client_id differs from the subject of client_assertion") // RFC 7521 §4.2
		}
		id, method = claims.Subject, "private_key_jwt"
	}
	if len(authorization) > 0 {
		if method != "none" {
			return "", "", "", twoWays
		}
		user, password, ok := basicAuth(authorization)
		if !ok {
			return "", "", "", refuse("invalid_client", "the Authorization header is not one of form-encoded Basic credentials")
		}
		if id != "" && id != user {
			return "", "", "", refuse("invalid_request", "client_id differs from the authenticated client")
		}
		id, secret, method = user, password, "client_secret_basic"
	}
	return id, secret, method, nil
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
