package discovery

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// get reads one candidate, following at most one redirect.
func (c *Client) get(ctx context.Context, from candidate) error {
	next, err := c.request(ctx, from)
	if next == "" {
		return err
	}
	next, err = c.request(ctx, candidate{next, from.read})
	if next != "" {
		return absent("it redirects more than once")
	}
	return err
}

// request makes one request, in its own time, and tells the observer. If the answer is a redirect
// within the origin, next is where it leads.
func (c *Client) request(whole context.Context, from candidate) (next string, err error) {
	ctx, cancel := context.WithTimeout(whole, RequestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.url, nil)
	if err != nil {
		return "", &InvalidError{URL: from.url, Reason: "it is no URL"}
	}
	req.Header.Set("Accept", "application/json")

	step := Step{URL: from.url}
	var later []Step // those that reading the document took
	defer func() {
		step.Err, step.Outcome = err, outcome(err)
		if f, ok := err.(failure); ok {
			step.Err = f.error
		}
		c.observe(step)
		for _, s := range later {
			c.observe(s)
		}
	}()
	// Not through an http.Client, which would follow redirects on its own.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return "", failure{&requestError{from.url, err}}
	}
	defer func() { _ = resp.Body.Close() }()
	step.Status = resp.StatusCode

	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return redirect(req.URL, resp.Header.Get("Location"))
	default:
		if isUnavailable(resp.StatusCode) {
			return "", &UnavailableError{URL: from.url, Status: resp.StatusCode}
		}
		return "", absent(fmt.Sprintf("the server answered with status %d", resp.StatusCode))
	}
	if !isJSON(resp.Header.Get("Content-Type")) {
		return "", absent("the answer is not JSON")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBodyBytes+1))
	if err != nil {
		return "", failure{&requestError{from.url, err}}
	}
	if len(body) > MaxBodyBytes {
		return "", failure{&InvalidError{URL: from.url, Reason: fmt.Sprintf("it is larger than %d KiB", MaxBodyBytes>>10)}}
	}
	inner := *c
	inner.observe = func(s Step) { later = append(later, s) }
	return "", from.read(whole, &inner, from.url, body)
}

// isUnavailable reports whether a status says nothing about the document. Nothing but the document
// at the first address says what the server demands (proofs, bound tokens, pushed requests), so an
// answer that anybody can bring about, by asking until a rate limiter steps in, must not lead to
// another address or to doing without. Not among them are 501, which is lasting (RFC 9110 §15.6.2),
// and 500: it is what applications answer at paths that they do not know and trip over.
func isUnavailable(status int) bool {
	return status > http.StatusNotImplemented || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// redirect returns where a redirect leads, if that is within the origin, and in any case why the
// document is not at the URL asked.
func redirect(asked *url.URL, location string) (next string, err error) {
	u, err := asked.Parse(location)
	if location == "" || err != nil {
		return "", absent("it redirects to nowhere")
	}
	from, _ := origin.Of(asked) // it was checked; were it no origin, no other would be equal to it
	to, err := origin.Of(u)
	switch {
	case err != nil || u.User != nil:
		return "", absent("it redirects to what is no plain http or https URL")
	case to != from:
		return "", absent("it redirects to another origin, " + to.String())
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String(), absent("it redirects to " + sanitize.Quote(u.EscapedPath()))
}

func isJSON(contentType string) bool {
	// A parameter that cannot be parsed does not make it another type.
	mediaType, _, _ := mime.ParseMediaType(contentType)
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

func outcome(err error) string {
	switch err := err.(type) {
	case nil:
		return OutcomeFound
	case absent:
		return OutcomeNotHere
	case *UnavailableError:
		return OutcomeUnavailable
	case failure:
		if _, ok := err.error.(*requestError); ok {
			return OutcomeNotReached
		}
	}
	return OutcomeRejected
}
