package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// What a call can be busy with.
const (
	connecting int32 = iota
	handshaking
	waiting
	reading
)

var phaseNames = [...]string{"connecting", "TLS handshake", "waiting for the response", "reading the body"}

// call is what must be known of a running Get to explain its end.
type call struct {
	echoes echoes          // of what the call has sent so far
	caller context.Context // the one Get was given, without our timeout
	start  time.Time
	phase  atomic.Int32
}

// trace keeps phase. Its hooks may run late and concurrently, for a connection that lost a race.
func (c *call) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:           func(string) { c.phase.Store(connecting) },
		TLSHandshakeStart: func() { c.phase.CompareAndSwap(connecting, handshaking) },
		GotConn:           func(httptrace.GotConnInfo) { c.phase.Store(waiting) },
	}
}

// explain returns what Get returns for err, which came up at the URL u. An error that has a code
// of its own knows more than we do and stays as it is, unless our time was up.
func (c *call) explain(ctx context.Context, u *url.URL, err error) error {
	var coded interface{ Code() string }
	hasCode := errors.As(err, &coded)
	if ended := c.caller.Err(); ended != nil && (!hasCode || errors.Is(err, ended)) {
		return ended
	}
	var timeout interface{ Timeout() bool }
	timedOut := errors.As(err, &timeout) && timeout.Timeout()
	ours := ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded)
	switch {
	case ours || timedOut && !hasCode:
		return &TimeoutError{Origin: nameOf(u), Phase: phaseNames[c.phase.Load()], After: time.Since(c.start).Round(time.Millisecond), Err: err}
	case hasCode:
		return err
	}
	return &transportError{origin: nameOf(u), err: err}
}

// transportError is an error of the network. The text of the error below can quote what a server
// sent, so it is shown sanitised.
type transportError struct {
	origin string
	err    error
}

func (e *transportError) Error() string {
	return fmt.Sprintf("getting %s: %s", e.origin, sanitize.Line(e.err.Error(), 400))
}

func (e *transportError) Unwrap() error { return e.err }
