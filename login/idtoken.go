package login

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const maxSubject = 200 // runes

// subjectOf returns who signed in, as an ID token names them, "" where it does not. The signature is
// not checked: it came straight from the token endpoint over TLS (OpenID Connect Core §3.1.3.7),
// and the name is only shown.
func subjectOf(idToken secret.Text, issuer, clientID string) string {
	parts := strings.Split(idToken.Reveal(), ".")
	if len(parts) != 3 || clientID == "" {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer   string         `json:"iss"`
		Audience jsontext.Value `json:"aud"`
		Username string         `json:"preferred_username"`
		Email    string         `json:"email"`
		Subject  string         `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Issuer != issuer || !slices.Contains(audiences(claims.Audience), clientID) {
		return ""
	}
	for _, name := range []string{claims.Username, claims.Email, claims.Subject} {
		if name = sanitize.Line(name, maxSubject); name != "" {
			return name
		}
	}
	return ""
}

// audiences: one name or a list (RFC 7519 §4.1.3).
func audiences(v jsontext.Value) []string {
	var one string
	if json.Unmarshal(v, &one) == nil {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(v, &many) != nil {
		return nil
	}
	return many
}
