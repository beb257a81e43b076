// Package discovery finds and validates protected resource metadata (RFC 9728) and authorization server metadata (RFC 8414).
package discovery

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// Strangers choose where metadata lies and what it says, hence these limits. A call tries at most
// three addresses and follows one redirect from each, so it makes at most six requests, and as many
// again where each document is signed and has its keys read.
const (
	MaxBodyBytes            = 64 << 10
	MaxJSONDepth            = 32
	MaxURLBytes             = 2048 // of one URL in a document
	MaxAuthorizationServers = 16   // read of one resource; its user tries fewer
	MaxResourceScopes       = 32   // of one resource
	RequestTimeout          = 5 * time.Second
	CallTimeout             = 20 * time.Second
)

// Options configures a Client.
type Options struct {
	// Transport sends every request; it adds no tokens, a client certificate only where the config names the origin. Required.
	Transport http.RoundTripper
	// AllowHTTP reports whether plain http may be used for this origin. Nil: never.
	AllowHTTP func(origin.Origin) bool
	// Observe is called for every request made, in order, before the call that made it returns; an
	// answer that is known already takes none. Nil: nobody.
	Observe func(Step)
}

// The outcomes of a Step.
const (
	OutcomeFound       = "found"
	OutcomeNotReached  = "not reached" // there was no answer
	OutcomeNotHere     = "not here"    // no document: another address may have it, or a redirect leads to it
	OutcomeUnavailable = "unavailable" // whether there is a document is not known: nothing else is asked
	OutcomeRejected    = "rejected"    // a document that must not be used
)

// Step is one request that discovery made.
type Step struct {
	URL     string // remote text where a server chose it
	Status  int    // 0 if there was no answer
	Err     error  // why the outcome is not "found", in one line
	Outcome string // one of the constants above
}

// Client reads metadata, and remembers it for each principal apart: for FoundLife, and for
// RefusalLife that it is missing or must not be used. That a request failed is not remembered. It
// may be used by several goroutines at once.
type Client struct {
	transport http.RoundTripper
	allowHTTP func(origin.Origin) bool
	observe   func(Step)
	cache     *cache
	fresh     bool // the cache is only written
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{transport: o.Transport, allowHTTP: o.AllowHTTP, observe: o.Observe, cache: newCache()}
	if c.allowHTTP == nil {
		c.allowHTTP = func(origin.Origin) bool { return false }
	}
	if c.observe == nil {
		c.observe = func(Step) {}
	}
	return c
}

// Fresh returns a client that reads everything anew, and fills c's cache with what it finds: for
// whoever was just refused on the strength of what c knew.
func (c *Client) Fresh() *Client {
	f := *c
	f.fresh = true
	return &f
}

// candidate is an address that may have the document, and what reads the body of a JSON answer
// from there; at is the address that answered in the end, c makes what requests that takes. The
// error of read is absent, or stops.
type candidate struct {
	url  string
	read func(ctx context.Context, c *Client, at string, body []byte) error
}

// absent is why an address does not have the document; the next one may.
type absent string

func (a absent) Error() string { return string(a) }

// failure is why an address could not be read. The next one may have the document; if none does,
// the failure is told rather than that nothing was found.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// isPassing reports whether the same request may have another end soon.
func isPassing(err error) bool {
	var u *UnavailableError
	var r *requestError
	return errors.As(err, &u) || errors.As(err, &r)
}

// first reads the first candidate that has the document; one that is unavailable ends the search.
// passing: something failed on the way that may be over soon.
func (c *Client) first(ctx context.Context, subject string, candidates []candidate) (passing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	missing := &NotFoundError{Subject: subject}
	var failed error
	for _, candidate := range candidates {
		if err := ctx.Err(); err != nil {
			passing = true
			if failed == nil {
				failed = &requestError{candidate.url, err}
			}
			break
		}
		err := c.get(ctx, candidate)
		passing = passing || isPassing(err)
		var a absent
		var f failure
		switch {
		case err == nil:
			return passing, nil
		case errors.As(err, &a):
			missing.Tried = append(missing.Tried, candidate.url)
			missing.Reasons = append(missing.Reasons, a.Error())
		case errors.As(err, &f):
			if failed == nil {
				failed = f.error
			}
		default:
			return passing, err
		}
	}
	if failed != nil {
		return passing, failed
	}
	return passing, missing
}
