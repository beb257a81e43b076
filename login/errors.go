package login

import (
	"fmt"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// TokenError is an error answer of a token, registration or device authorization endpoint
// (RFC 6749 §5.2, RFC 7591 §3.2.2). Its text never holds the answer's raw bytes.
type TokenError struct {
	Endpoint    string // origin only
	Status      int
	ErrorCode   string // "" where the answer was no OAuth error
	Description string // sanitized
	Reason      string // ours, where the answer was unusable
}

func (e *TokenError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d", e.Endpoint, e.Status)
	if e.ErrorCode != "" {
		fmt.Fprintf(&b, " with the error %s", sanitize.Quote(e.ErrorCode))
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", sanitize.Quote(e.Description))
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	return b.String()
}

// Code is the stable machine code of this error.
func (e *TokenError) Code() string {
	switch e.ErrorCode {
	case "access_denied":
		return "login_denied"
	case "expired_token":
		return "login_expired"
	case "invalid_client", "unauthorized_client", "invalid_grant", "invalid_scope", "invalid_request", "invalid_target", "unsupported_grant_type":
		return "oauth." + e.ErrorCode
	}
	return "oauth.token_endpoint"
}

// Hint says what to do.
func (e *TokenError) Hint() string {
	switch e.ErrorCode {
	case "invalid_client", "unauthorized_client":
		return "check client_id, client_secret and token_endpoint_auth_method under issuers in the config"
	case "invalid_scope":
		return "check the scopes of the site in the config"
	case "invalid_target":
		return "the authorization server does not know this resource; ask its operator"
	}
	return "try again; if it stays, ask the operator of the authorization server"
}

// AnswerError says that an authorization server's answer in the browser must not be used
// (RFC 9207 §2.4, RFC 6749 §4.1.2). It shows nothing of the answer.
type AnswerError struct {
	Issuer string
	Reason string
}

func (e *AnswerError) Error() string {
	return "the sign-in answer for " + action.ShowIssuer(e.Issuer) + " was refused: " + e.Reason
}

// Code is the stable machine code of this error.
func (e *AnswerError) Code() string { return "oauth.answer_refused" }

// Hint says what to do.
func (e *AnswerError) Hint() string {
	return "someone may be tampering with the sign-in; start again, and tell the operator of the issuer if it stays"
}

// UnsupportedError says what an authorization server lacks.
type UnsupportedError struct {
	Issuer, What, Remedy string
}

func (e *UnsupportedError) Error() string {
	return action.ShowIssuer(e.Issuer) + " does not offer " + e.What
}

// Code is the stable machine code of this error.
func (e *UnsupportedError) Code() string { return "oauth.unsupported" }

// Hint says what to do.
func (e *UnsupportedError) Hint() string { return e.Remedy }

// ClientError says that there is no client to sign in with.
type ClientError struct {
	Issuer string
	Reason string
}

func (e *ClientError) Error() string {
	return "no client for " + action.ShowIssuer(e.Issuer) + ": " + e.Reason
}

// Code is the stable machine code of this error.
func (e *ClientError) Code() string { return "oauth.no_client" }

// Hint says what to do.
func (e *ClientError) Hint() string {
	return "register a native client there with the redirect URI http://127.0.0.1/callback (any port), then put its client_id under issuers." +
		sanitize.Quote(e.Issuer) + " in the config and name the issuer in the site's oauth.issuer"
}
