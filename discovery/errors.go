package discovery

import (
	"fmt"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// NotFoundError is a document that is at none of its addresses.
type NotFoundError struct {
	Subject string   // "protected resource metadata of …" or "authorization server metadata of …"
	Tried   []string // URLs, in order
	Reasons []string // why each of Tried was not it
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no %s", sanitize.Line(e.Subject, 300))
	sep := ": "
	for i, u := range e.Tried {
		b.WriteString(sep + "not at " + sanitize.Quote(u))
		if i < len(e.Reasons) {
			fmt.Fprintf(&b, " (%s)", e.Reasons[i])
		}
		sep = ", "
	}
	return b.String()
}

// Code is the stable machine code of this error.
func (e *NotFoundError) Code() string { return "oauth.discovery_not_found" }

// Hint says what to do.
func (e *NotFoundError) Hint() string {
	return "check the URL and the issuer in the configuration, or ask whoever runs the server to publish its OAuth metadata"
}

// MismatchError is a document that speaks of something other than what it was read for. It must
// not be used: it may have been put there to obtain tokens meant for another (RFC 9728 §7.3).
type MismatchError struct {
	URL       string // where it was read
	Member    string // "resource" or "issuer"
	Got, Want string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("metadata at %s has %s %s, want %s", sanitize.Quote(e.URL), e.Member, sanitize.Quote(e.Got), sanitize.Quote(e.Want))
}

// Code is the stable machine code of this error.
func (e *MismatchError) Code() string { return "oauth.metadata_mismatch" }

// Hint says what to do.
func (e *MismatchError) Hint() string {
	if e.Member == "issuer" {
		return "write the issuer exactly as the authorization server does, if you trust it; otherwise do not sign in there"
	}
	return "ask whoever runs the site to publish metadata that names this site; until then its login cannot be trusted"
}

// InvalidError is a document, or the URL it was to be found by, that breaks a rule.
type InvalidError struct {
	URL    string
	Reason string // may quote remote text, made safe
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("metadata at %s cannot be used: %s", sanitize.Quote(e.URL), e.Reason)
}

// Code is the stable machine code of this error.
func (e *InvalidError) Code() string { return "oauth.metadata_invalid" }

// Hint says what to do.
func (e *InvalidError) Hint() string {
	return "ask whoever runs the server to correct its OAuth metadata, or correct the URL in the configuration"
}

// UnavailableError is an address whose server does not say now whether it has the document. What
// other addresses have, or that they have nothing, proves nothing as long as that is so.
type UnavailableError struct {
	URL    string
	Status int // 429, 408 or one of a server in trouble
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("metadata at %s cannot be read now: the server answered with status %d", sanitize.Quote(e.URL), e.Status)
}

// Code is the stable machine code of this error.
func (e *UnavailableError) Code() string { return "oauth.metadata_unavailable" }

// Hint says what to do.
func (e *UnavailableError) Hint() string {
	return "try again later; if it stays so, ask whoever runs the server to answer there with its OAuth metadata, or with status 404 if it has none there"
}

// Retryable reports that the same request may succeed later.
func (e *UnavailableError) Retryable() bool { return true }

// requestError is a request that got no whole answer. It has no code of its own, so that the code
// of its cause (a certificate, an address that may not be dialled) is the one that is found.
type requestError struct {
	url   string
	cause error
}

func (e *requestError) Error() string {
	return fmt.Sprintf("reading metadata at %s: %s", sanitize.Quote(e.url), sanitize.Line(e.cause.Error(), 300))
}

func (e *requestError) Unwrap() error { return e.cause }
