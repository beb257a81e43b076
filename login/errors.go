package login

import (
	"fmt"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// TokenError is an error answer of an authorization server: of its authorization, token, registration
// or another endpoint (RFC 6749 §4.1.2.1, §5.2, RFC 7591 §3.2.2). Its text never holds the answer's raw bytes.
type TokenError struct {
	Endpoint    string // origin only
	Status      int    // 0: it said so through the browser, or was not asked
	ErrorCode   string // "" where the answer was no OAuth error
	Description string // sanitized
	Reason      string // ours, where the answer was unusable

	retryAfter time.Duration // what the server asked for; 0: nothing
	wrongType  bool          // the token is of another type than was asked for
}

func (e *TokenError) Error() string {
	var b strings.Builder
	switch {
	case e.Status != 0:
		fmt.Fprintf(&b, "%s answered %d", e.Endpoint, e.Status)
		if e.ErrorCode != "" {
			fmt.Fprintf(&b, " with the error %s", sanitize.Quote(e.ErrorCode))
		}
	case e.ErrorCode != "":
		fmt.Fprintf(&b, "the sign-in at %s ended with the error %s", e.Endpoint, sanitize.Quote(e.ErrorCode))
	default:
		fmt.Fprintf(&b, "%s was not asked", e.Endpoint)
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
	case "unmet_authentication_requirements": // RFC 9470 §5
		return "sign in again the way the resource demands, such as with a second factor"
	case "invalid_target":
		return "the authorization server does not know this resource; ask its operator"
	case "invalid_request", "unsupported_grant_type":
		return "check whether the client is registered for the site's oauth.grant, or ask the operator of the authorization server"
	}
	return "try again; if it stays, ask the operator of the authorization server"
}

// DeniedError: a sign-in ended with access_denied. Who refused, the person at the issuer or the issuer
// itself, it does not say; it counts as a no like [action.ErrDenied].
type DeniedError struct {
	Issuer      string
	Description string // sanitized
}

func (e *DeniedError) Error() string {
	text := "the sign-in was refused at " + action.ShowIssuer(e.Issuer)
	if e.Description != "" {
		text += ": " + sanitize.Quote(e.Description)
	}
	return text
}

// Is makes it an [action.ErrDenied].
func (e *DeniedError) Is(target error) bool { return target == action.ErrDenied }

// Code is the stable machine code of this error.
func (e *DeniedError) Code() string { return "login_denied" }

// Hint says what to do.
func (e *DeniedError) Hint() string {
	return "do not ask again unless the user says so; if the user agreed there, the issuer does not grant what is asked for: check the account, and oauth.scopes of the site in the config"
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

// ClientError says that there is no client to sign in with, or that it cannot authenticate.
type ClientError struct {
	Issuer string
	Reason string
	Remedy string // "": register a client
}

func (e *ClientError) Error() string {
	return "no client for " + action.ShowIssuer(e.Issuer) + ": " + e.Reason
}

// Code is the stable machine code of this error.
func (e *ClientError) Code() string { return "oauth.no_client" }

// Hint says what to do.
func (e *ClientError) Hint() string {
	if e.Remedy != "" {
		return e.Remedy
	}
	return "register a native client there with the redirect URI http://127.0.0.1/callback (any port), then put its client_id under issuers." +
		sanitize.Quote(e.Issuer) + " in the config and name the issuer in the site's oauth.issuer"
}

// ClientRefusedError says that an authorization server refuses the client that the configuration
// has for it. The login itself may be good: it goes on when the configuration is right.
type ClientRefusedError struct {
	Issuer string
	Err    error // the server's answer
}

func (e *ClientRefusedError) Error() string {
	return action.ShowIssuer(e.Issuer) + " does not accept the configured client: " + e.Err.Error()
}

func (e *ClientRefusedError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *ClientRefusedError) Code() string { return "oauth.invalid_client" }

// Hint says what to do.
func (e *ClientRefusedError) Hint() string {
	return "check client_id, client_secret, private_key and token_endpoint_auth_method under " + issuerKey(e.Issuer, "") + " in the config"
}

// CertificateError says that tokens for an origin must be bound to a client certificate, and that
// it is not shown both there and at the token endpoint (RFC 8705 §3).
type CertificateError struct {
	Origin      origin.Origin // of the resource
	TokenOrigin string        // of the token endpoint
	Reason      string
	Remedy      string
}

func (e *CertificateError) Error() string {
	return e.Origin.String() + " demands tokens that are bound to a client certificate: " + e.Reason
}

// Code is the stable machine code of this error.
func (e *CertificateError) Code() string { return "oauth.certificate" }

// Hint says what to do.
func (e *CertificateError) Hint() string { return e.Remedy }

// BindingError says that a login is of no use any more: what its tokens are bound to is gone.
type BindingError struct {
	Issuer string
	To     string // what the tokens are bound to
}

func (e *BindingError) Error() string {
	return "the login at " + action.ShowIssuer(e.Issuer) + " is bound to " + e.To + ", which is not in use any more"
}

// Code is the stable machine code of this error.
func (e *BindingError) Code() string { return "oauth.binding_lost" }

// Hint says what to do.
func (e *BindingError) Hint() string { return "sign in again" }
