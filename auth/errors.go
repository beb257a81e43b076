package auth

import (
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// ActionRequired is returned where a person must do something first. The action lives on: waiting
// for it, or the same request later, goes on with its outcome.
type ActionRequired struct {
	*action.Action
}

func (e *ActionRequired) Error() string {
	p := e.Prompt()
	if p.Kind == action.AllowAddress {
		return "a person must allow " + p.Origin.String() + " first"
	}
	return "a person must sign in at " + action.ShowIssuer(p.Issuer) + " first"
}

// Code is the stable machine code of this error.
func (e *ActionRequired) Code() string {
	if e.Prompt().Kind == action.AllowAddress {
		return "approval_required"
	}
	return "login_required"
}

// Hint says what to do, to somebody at a terminal.
func (e *ActionRequired) Hint() string { return "run `mcp-authfetch login` with the URL" }

// RefusedError: the resource did not accept a token that its issuer has only just given.
type RefusedError struct {
	Origin origin.Origin
	Issuer string
	Err    error // why there is no other token, if it is known
}

func (e *RefusedError) Unwrap() error { return e.Err }

func (e *RefusedError) Error() string {
	return e.Origin.String() + " does not accept the token that " + action.ShowIssuer(e.Issuer) + " has just issued for it"
}

// Code is the stable machine code of this error.
func (e *RefusedError) Code() string { return "oauth.token_refused" }

// Hint says what to do.
func (e *RefusedError) Hint() string {
	return "this login may lack the rights; `mcp-authfetch logout` and sign in as someone else, or ask the site's operator"
}

// NoIssuerError: a resource wants a token and does not say from whom.
type NoIssuerError struct {
	Origin origin.Origin
	Err    error // why discovery found nothing; may be nil
}

func (e *NoIssuerError) Error() string {
	return e.Origin.String() + " wants an access token but does not say which authorization server issues it"
}
func (e *NoIssuerError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *NoIssuerError) Code() string { return "oauth.no_issuer" }

// Hint says what to do.
func (e *NoIssuerError) Hint() string {
	hint := `name it in the config: sites."` + e.Origin.String() + `".oauth.issuer`
	if e.Origin.IsLoopback() {
		hint += "; a plain http authorization server on this computer must stand under sites itself"
	}
	return hint
}

// IssuerAddressError: the authorization server is at an address that nobody allowed.
type IssuerAddressError struct {
	Origin origin.Origin
	Issuer string
	Err    *netguard.DeniedError
}

func (e *IssuerAddressError) Error() string {
	return e.Origin.String() + " sends people to sign in at " + action.ShowIssuer(e.Issuer) + ", and " + e.Err.Error()
}
func (e *IssuerAddressError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *IssuerAddressError) Code() string { return e.Err.Code() }

// Hint says what to do.
func (e *IssuerAddressError) Hint() string {
	if e.Err.Zone == netguard.Never {
		return e.Err.Hint()
	}
	return `if you trust it, add "` + action.ShowIssuer(e.Issuer) + `" under sites in the config, or name it in the site's oauth.issuer`
}

// PlaintextError: OAuth over plain http was asked for outside the configured loopback origins.
type PlaintextError struct {
	Origin origin.Origin
	Issuer string // "" where the resource itself is the plain one
}

func (e *PlaintextError) Error() string {
	if e.Issuer != "" {
		return e.Origin.String() + " sends people to sign in at " + action.ShowIssuer(e.Issuer) + ", which is plain http"
	}
	return e.Origin.String() + " asks for a sign-in over plain http, where anyone on the way could take the token"
}

// Code is the stable machine code of this error.
func (e *PlaintextError) Code() string { return "oauth.plaintext" }

// Hint says what to do.
func (e *PlaintextError) Hint() string {
	return "use the https address; plain http works only between loopback origins that are both named under sites in the config"
}

// BindingError: a token is bound to something that we do not have, or that its site is not shown.
type BindingError struct {
	Origin origin.Origin
	Issuer string
	To     string // "key" or "client certificate"
}

func (e *BindingError) Error() string {
	return "the token of " + action.ShowIssuer(e.Issuer) + " for " + e.Origin.String() + " is bound to another " + e.To + " than the one in use there"
}

// Code is the stable machine code of this error.
func (e *BindingError) Code() string { return "oauth.token_binding" }

// Hint says what to do.
func (e *BindingError) Hint() string {
	if e.To == "key" {
		return "sign out with `mcp-authfetch logout` and sign in again"
	}
	return "let the site and its authorization server name the same mtls entry in the config, then sign in again"
}

// AuthenticationError: a resource is not content with how, or how long ago, the person signed in,
// although that was done as it asked (RFC 9470).
type AuthenticationError struct {
	Origin    origin.Origin
	Issuer    string
	ACRValues []string       // what it asks for, remote text
	MaxAge    *time.Duration // nil: not asked for
}

func (e *AuthenticationError) Error() string {
	var asks []string
	if len(e.ACRValues) > 0 {
		asks = append(asks, "of the class "+sanitize.Quote(strings.Join(e.ACRValues, " ")))
	}
	if e.MaxAge != nil {
		asks = append(asks, "not older than "+e.MaxAge.String())
	}
	if len(asks) == 0 {
		asks = append(asks, "of another kind")
	}
	return e.Origin.String() + " asks for a sign-in " + strings.Join(asks, " and ") + ", which " + action.ShowIssuer(e.Issuer) + " does not give"
}

// Code is the stable machine code of this error.
func (e *AuthenticationError) Code() string { return "oauth.insufficient_user_authentication" }

// Hint says what to do.
func (e *AuthenticationError) Hint() string {
	return "ask the operator of the site which accounts and second factors it accepts; signing in again in the same way will not help"
}

// ScopesError: the issuer is not told which resource a token is for, so that the scopes alone say
// it, and those came from the site. It could have a token for somebody else's resource.
type ScopesError struct {
	Origin origin.Origin
	Issuer string
	Scopes []string // what the site asks for
}

func (e *ScopesError) Error() string {
	return e.Origin.String() + " chooses its scopes itself, and at " + action.ShowIssuer(e.Issuer) + " the scopes decide whom a token is for"
}

// Code is the stable machine code of this error.
func (e *ScopesError) Code() string { return "oauth.scopes_required" }

// Hint says what to do.
func (e *ScopesError) Hint() string {
	return "name the scopes of this site's own API in sites." + sanitize.Quote(e.Origin.String()) + ".oauth.scopes; the site asks for " + sanitize.Quote(sanitize.Line(strings.Join(e.Scopes, " "), 150)) + ", which must be its own"
}
