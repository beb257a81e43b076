package fetch

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

const maxRedirects = 5

// RedirectReason says why a redirect was not followed.
type RedirectReason string

const (
	CrossOrigin RedirectReason = "cross_origin" // a request that carried a credential would leave its origin
	TooMany     RedirectReason = "too_many"     // more than five, a loop perhaps
	Downgrade   RedirectReason = "insecure"     // from https to http
	Invalid     RedirectReason = "invalid"      // to something that is not an acceptable URL
)

// RedirectError is a redirect that was not followed.
type RedirectError struct {
	From   *url.URL
	To     *url.URL // nil where Reason is Invalid; remote text, see Target
	Status int
	Reason RedirectReason
}

// Error names origins only: path and query of the target are the server's to choose.
func (e *RedirectError) Error() string {
	from := nameOf(e.From)
	switch e.Reason {
	case CrossOrigin:
		return fmt.Sprintf("%s redirects (%d) to %s, which is not followed because the request carried a credential", from, e.Status, nameOf(e.To))
	case TooMany:
		return fmt.Sprintf("%s redirects (%d) to %s after %d redirects", from, e.Status, nameOf(e.To), maxRedirects)
	case Downgrade:
		return fmt.Sprintf("%s redirects (%d) to %s, which is not encrypted", from, e.Status, nameOf(e.To))
	}
	return fmt.Sprintf("%s redirects (%d) to something that is not an acceptable http or https URL", from, e.Status)
}

// Code is the stable machine code of this error.
func (e *RedirectError) Code() string { return "redirect." + string(e.Reason) }

// Hint says what to do.
func (e *RedirectError) Hint() string {
	switch {
	case e.SignIn():
		return "the target is a page to sign in at: what the request carried is not what the site wants; check the site's mtls, oauth and headers in the config, and whether the login is still good"
	case e.Reason == CrossOrigin && e.Target() == "":
		return "the target is too long to be fetched by its URL; ask the user for another address of the page"
	case e.Reason == CrossOrigin:
		return "if the user wants the page at the target, call webfetch with the target as the url"
	case e.Reason == TooMany:
		return "the site is likely to redirect in a loop; try the address it should end at"
	case e.Reason == Downgrade:
		return "ask the user for an https address of the page"
	}
	return "report it to the owner of the site; nothing was sent to the target"
}

// Target is the whole URL the redirect leads to, as webfetch would take it, or "" where there is
// none or it is longer than webfetch takes.
func (e *RedirectError) Target() string {
	if e.To == nil {
		return ""
	}
	s := e.To.String()
	if len(s) > maxURL {
		return ""
	}
	return sanitize.Line(s, maxURL)
}

// isRedirect: a redirect without a Location is an answer like any other.
func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return resp.Header.Get("Location") != ""
	}
	return false
}

// redirectTarget decides where a redirect leads, or that it must not be followed. It is given
// every Location header there was and the number of redirects followed so far.
func redirectTarget(from *url.URL, status int, locations []string, credentialed bool, followed int) (*url.URL, error) {
	refuse := func(to *url.URL, reason RedirectReason) (*url.URL, error) {
		return nil, &RedirectError{From: from, To: to, Status: status, Reason: reason}
	}
	// Of several different targets each reader would take another one.
	if len(slices.Compact(slices.Clone(locations))) != 1 || len(locations[0]) > maxLocation {
		return refuse(nil, Invalid)
	}
	ref, err := parseReference(locations[0])
	if err != nil {
		return refuse(nil, Invalid)
	}
	to, err := canonical(from, ref)
	if err != nil {
		return refuse(nil, Invalid)
	}
	to = withoutFragment(to)
	switch {
	case from.Scheme == "https" && to.Scheme == "http":
		return refuse(to, Downgrade)
	case credentialed && !sameOrigin(from, to):
		return refuse(to, CrossOrigin)
	case followed >= maxRedirects:
		return refuse(to, TooMany)
	}
	return to, nil
}

func sameOrigin(a, b *url.URL) bool {
	oa, errA := origin.Of(a)
	ob, errB := origin.Of(b)
	return errA == nil && errB == nil && oa == ob
}

// nameOf is the origin of u as it may stand in a message.
func nameOf(u *url.URL) string {
	o, err := origin.Of(u)
	if err != nil {
		return "an unknown origin"
	}
	return o.String()
}
