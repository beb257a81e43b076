package outbound

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// conn is a connection to an origin, or to the proxy on the way there.
type conn struct {
	net.Conn
	seen     *tlsmat.Seen // what the TLS handshake on it showed; nil: no TLS
	answered atomic.Bool  // whether a response came by it, as from nobody who refuses our certificate
}

// record belongs to one request. It is the context of the request as sent, so that it can be found
// again from the response.
type record struct {
	context.Context // of the request as the caller made it
	to              origin.Origin
	entry           *entry                // nil: the request was not admitted
	trace           httptrace.ClientTrace // has gotConn called
	dialed          atomic.Pointer[conn]  // the last connection made on behalf of the request
	carried         atomic.Pointer[conn]  // the connection it was last sent on, perhaps made for another
	dials           atomic.Int32          // how often a connection was asked for on behalf of the request
}

type recordKey struct{}

// Value implements [context.Context].
func (r *record) Value(key any) any {
	if key == (recordKey{}) {
		return r
	}
	return r.Context.Value(key)
}

// context returns what to send the request with.
func (r *record) context() context.Context {
	r.trace.GotConn = r.gotConn
	return httptrace.WithClientTrace(r, &r.trace)
}

func recordOf(ctx context.Context) *record {
	r, _ := ctx.Value(recordKey{}).(*record)
	return r
}

// dialed notes c in the record of the request it was made for.
func dialed(ctx context.Context, c *conn) *conn {
	if r := recordOf(ctx); r != nil {
		r.dialed.Store(c)
	}
	return c
}

func (r *record) gotConn(info httptrace.GotConnInfo) {
	c := info.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if c, ok := c.(*conn); ok {
		r.carried.Store(c)
	}
}

// carrier is what was seen on the connection that the request was sent on.
func (r *record) carrier() *tlsmat.Seen {
	if c := r.carried.Load(); c != nil {
		return c.seen
	}
	return nil
}

// seen is the same, for a request that may have failed before it was sent on any.
func (r *record) seen() *tlsmat.Seen {
	if c := cmp.Or(r.carried.Load(), r.dialed.Load()); c != nil {
		return c.seen
	}
	return nil
}

// answered notes that there is a response.
func (r *record) answered() {
	if c := r.carried.Load(); c != nil {
		c.answered.Store(true)
	}
}

// unanswered reports whether the connection of the request never brought a response.
func (r *record) unanswered() bool {
	c := cmp.Or(r.carried.Load(), r.dialed.Load())
	return c != nil && !c.answered.Load()
}

// connected reports whether there was any connection for the request.
func (r *record) connected() bool { return cmp.Or(r.carried.Load(), r.dialed.Load()) != nil }

// body explains read errors and tells when a response is done with.
type body struct {
	io.ReadCloser
	transport *Transport
	record    *record
	released  atomic.Bool
	err       error // what the first error was explained as
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && err != http.ErrBodyReadAfterClose {
		b.err = b.transport.explain(b.record.Context, b.record, err)
		err = b.err
	}
	return n, err
}

// Close implements [io.Closer].
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	if !b.released.Swap(true) {
		b.transport.pool.release(b.record.entry)
	}
	return err
}

// authority is host[:port] as it stands in a URL and in the Host header.
func authority(o origin.Origin) string { return strings.TrimPrefix(o.String(), o.Scheme()+"://") }
