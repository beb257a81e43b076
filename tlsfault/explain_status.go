package tlsfault

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// ExplainStatus recognises answers by which servers report TLS trouble in HTTP: nginx completes
// the handshake with whatever certificate and answers 400, or its private statuses 495 to 497;
// others answer 401 or 403 to whoever has no certificate, or not the right one; Apache httpd answers
// 403 to whom it cannot ask for one any more. It returns nil for any other answer, and for one that
// says by a challenge what it wants (RFC 9110 §11.6.1). body may be cut off.
func ExplainStatus(resp *http.Response, body []byte, host string, m *tlsmat.Material, seen *tlsmat.Seen) *Failure {
	if resp == nil {
		return nil
	}
	x := newExchange(host, m, seen)
	switch { // What a page says of certificates counts only where the handshake was about one.
	case resp.TLS == nil && seen == nil && (resp.StatusCode == 497 || resp.StatusCode == http.StatusBadRequest && saysPlain(body)):
		return x.fail(notTLSPlain)
	case resp.StatusCode == http.StatusForbidden && (resp.TLS != nil || seen != nil) && saysPostHandshake(body):
		return x.fail(requiredAfter)
	case !seen.Asked():
		return nil
	case resp.StatusCode == 496, resp.StatusCode == http.StatusBadRequest && nginxSays(body, "No required SSL certificate was sent"):
		return x.required()
	case resp.StatusCode == 495, resp.StatusCode == http.StatusBadRequest && nginxSays(body, "The SSL certificate error"):
		return x.rejected(0)
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return x.forbidden(resp)
	}
	return nil
}

// forbidden: all that can be said is that it may be about the certificate.
func (x exchange) forbidden(resp *http.Response) *Failure {
	if len(challenge.Parse(resp.Header.Values("WWW-Authenticate"))) > 0 {
		return nil
	}
	status := fmt.Sprint(resp.StatusCode)
	if !x.seen.Sent() {
		return x.fail(requiredStatus, "status", status)
	}
	which := "a client certificate"
	if leaf := x.m.Leaf(); leaf != nil {
		which = "the client certificate " + sanitize.Quote(leaf.Subject.String())
	}
	return x.fail(deniedStatus, "status", status, "which", which)
}

// shortPage bounds the pages that a server makes up by itself; whoever writes about them needs more.
const shortPage = 2 << 10

// nginxSays recognises nginx's own page, which has its reason as title and as text.
func nginxSays(body []byte, reason string) bool {
	return len(body) <= shortPage && bytes.Contains(body, []byte("<title>400 "+reason+"</title>")) &&
		bytes.Contains(body, []byte("<center>"+reason+"</center>"))
}

// saysPostHandshake recognises what Apache httpd adds to its page where a client offers no
// post-handshake authentication (RFC 8446 §4.6.2), as with SSLVerifyClient in a Location.
func saysPostHandshake(body []byte) bool {
	return len(body) <= shortPage && bytes.Contains(body, []byte("<title>403 Forbidden</title>")) &&
		bytes.Contains(body, []byte("Reason: Cannot perform Post-Handshake Authentication.<br />"))
}

// saysPlain recognises what TLS ports answer to plain HTTP: Go, nginx, Apache httpd and Tomcat, in this order.
func saysPlain(body []byte) bool {
	if len(body) > shortPage {
		return false
	}
	text := string(body)
	return strings.HasPrefix(text, "Client sent an HTTP request to an HTTPS server.") ||
		nginxSays(body, "The plain HTTP request was sent to HTTPS port") ||
		strings.Contains(text, "Reason: You're speaking plain HTTP to an SSL-enabled server port.") ||
		strings.HasPrefix(text, "Bad Request\r\nThis combination of host and port requires TLS.")
}
