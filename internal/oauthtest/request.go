package oauthtest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// reply sends a JSON reply that may carry a secret (RFC 6749 §5.1).
func (i *Issuer) reply(w http.ResponseWriter, r *http.Request, status int, m map[string]any) {
	if i.options.EditReply != nil {
		i.options.EditReply(r.URL.Path, m)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, m)
}

// refusal is an error response of RFC 6749 §5.2 and its extensions.
type refusal struct {
	status      int // 0: 400
	code        string
	description string
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code: code, description: fmt.Sprintf(format, args...)}
}

func (f *refusal) write(w http.ResponseWriter) {
	if f.status == 0 {
		f.status = http.StatusBadRequest
	}
	note(w, "refused, %s: %s", f.code, f.description)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, f.status, map[string]any{"error": f.code, "error_description": f.description})
}

// single refuses parameters that occur more than once (RFC 6749 §3.1, §3.2); resource may
// (RFC 8707 §2).
func single(v url.Values) *refusal {
	for name, values := range v {
		if len(values) > 1 && name != "resource" {
			return refuse("invalid_request", "parameter %q occurs more than once", name)
		}
	}
	return nil
}

// resources reads the resource parameters: absolute URIs without a fragment (RFC 8707 §2).
func resources(v url.Values) ([]string, *refusal) {
	for _, s := range v["resource"] {
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || u.Host == "" || strings.Contains(s, "#") {
			return nil, refuse("invalid_target", "resource %q is not an absolute URI without a fragment", s)
		}
	}
	return v["resource"], nil
}

// scopes reads the scope parameter (RFC 6749 §3.3).
func scopes(v url.Values) ([]string, *refusal) {
	s := v.Get("scope")
	if s == "" {
		return nil, nil
	}
	list := strings.Split(s, " ")
	for _, token := range list {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r < 0x21 || r > 0x7e || r == '"' || r == '\\' }) {
			return nil, refuse("invalid_scope", "scope is not a list of scope tokens with one space between")
		}
	}
	return list, nil
}

func subset(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

func random() string { return rand.Text() }
