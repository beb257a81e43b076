// Package fetch gets one URL within bounds: redirects, sizes, times, decoding.
package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const (
	defaultMaxBody = 10 << 20
	defaultTimeout = 30 * time.Second
	defaultAccept  = "text/markdown, text/html;q=0.9, application/json;q=0.8, text/*;q=0.7, */*;q=0.5"

	// maxRetryAfter keeps a server's number of seconds within a time.Duration and within reason.
	maxRetryAfter = 365 * 24 * time.Hour
)

// Options says how a [Client] gets pages.
type Options struct {
	// Transport sends every request; required. It decides itself which credential a request
	// carries, and is never used through an http.Client, whose redirects would carry it further.
	Transport http.RoundTripper
	// Credentialed reports whether the request that got this response carried a credential: a
	// token, a client certificate, a header of the site. Nil: none ever does.
	Credentialed func(*http.Response) bool
	// Secrets are what the request that got this response carried. Where the answer repeats them
	// they are replaced. Nil: nothing is.
	Secrets func(*http.Response) []secret.Text
	// MaxBody is the most decoded bytes of a page; 0 means 10 MiB.
	MaxBody int64
	// UserAgent is sent with every request; "" leaves it to the transport.
	UserAgent string
}

// Client gets pages. It holds no state between calls and may be used concurrently.
type Client struct {
	transport    http.RoundTripper
	credentialed func(*http.Response) bool
	secrets      func(*http.Response) []secret.Text
	maxBody      int64
	userAgent    string
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{transport: o.Transport, credentialed: o.Credentialed, secrets: o.Secrets, maxBody: o.MaxBody, userAgent: o.UserAgent}
	if c.credentialed == nil {
		c.credentialed = func(*http.Response) bool { return false }
	}
	if c.secrets == nil {
		c.secrets = func(*http.Response) []secret.Text { return nil }
	}
	if c.maxBody <= 0 {
		c.maxBody = defaultMaxBody
	}
	return c
}

// Request is what to get.
type Request struct {
	URL     string        // see [ParseURL]
	Accept  string        // "" prefers Markdown, then HTML, JSON, other text, anything
	Timeout time.Duration // of the whole call, from connecting to the last byte; 0 means 30 s
}

// Page is an answer, whatever its status.
type Page struct {
	URL         *url.URL       // as requested, canonical, without the fragment
	FinalURL    *url.URL       // where the body came from
	Fragment    string         // of the requested URL; never sent
	Redirects   []string       // the targets followed, in order
	Status      int            //
	ContentType string         // the header as the server sent it
	RetryAfter  time.Duration  // from Retry-After in seconds or as a date; 0: none, at most a year
	Body        []byte         // decoded
	Response    *http.Response // its body is closed; for its TLS state and headers
}

// Get gets one page, following at most five redirects. An answer of any status is a page.
//
// Errors: [*origin.Error] for a URL that is not acceptable, [*RedirectError], [*TooLargeError],
// [*EncodingError], [*TimeoutError], the context's error when it ended first, and what the
// transport returned, within reach of errors.As.
func (c *Client) Get(ctx context.Context, r Request) (*Page, error) {
	at, err := ParseURL(r.URL)
	if err != nil {
		return nil, err
	}
	if r.Accept == "" {
		r.Accept = defaultAccept
	}
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	page := &Page{Fragment: at.Fragment}
	at = withoutFragment(at)
	page.URL = at

	call := &call{caller: ctx, start: time.Now()}
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(ctx, call.trace()), r.Timeout)
	defer cancel()
	for {
		resp, next, err := c.hop(ctx, call, at, r.Accept, page)
		if err != nil {
			return nil, err
		}
		if next == nil {
			page.FinalURL, page.Response, page.Status = call.echoes.clearURL(at), resp, resp.StatusCode
			page.ContentType = resp.Header.Get("Content-Type")
			page.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
			return page, nil
		}
		page.Redirects = append(page.Redirects, call.echoes.clearURL(next).String())
		at = next
	}
}

// hop sends one request. Where the answer leads on it returns the next URL, otherwise it has read
// the body into page. The response's body is closed either way.
func (c *Client) hop(ctx context.Context, call *call, at *url.URL, accept string, page *Page) (*http.Response, *url.URL, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A new request for each hop: nothing of the one before travels along.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, nil, call.explain(ctx, at, err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip, deflate")
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	call.phase.Store(connecting)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, call.explain(ctx, at, err)
	}
	defer discard(resp.Body, cancel)
	call.echoes = append(call.echoes, newEchoes(c.secrets(resp))...)
	if isRedirect(resp) {
		next, err := redirectTarget(at, resp.StatusCode, resp.Header.Values("Location"), c.credentialed(resp), len(page.Redirects))
		var refused *RedirectError
		if errors.As(err, &refused) {
			refused.To = call.echoes.clearURL(refused.To)
		}
		return resp, next, err
	}
	call.echoes.clearHeader(resp)
	call.phase.Store(reading)
	if page.Body, err = readBody(resp, c.maxBody); err != nil {
		return nil, nil, call.explain(ctx, at, err)
	}
	page.Body = call.echoes.clear(page.Body)
	return resp, nil, nil
}

// retryAfter reads RFC 9110 §10.2.3.
func retryAfter(value string) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	var d time.Duration
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		d = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		d = time.Until(date)
	}
	return min(max(d, 0), maxRetryAfter)
}
