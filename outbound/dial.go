package outbound

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

const (
	dialTimeout    = 10 * time.Second
	headerTimeout  = 30 * time.Second
	maxHeaderBytes = 64 << 10
)

// newEntry returns the transport of one key. All its connections go to the origin of the key, by
// whatever address it is asked to dial.
func (t *Transport) newEntry(k key) *entry {
	e := &entry{key: k, authority: authority(k.to)}
	e.http = &http.Transport{
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    4,
		MaxConnsPerHost:        16,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// Without pings a dead HTTP/2 connection keeps taking requests until TCP gives up.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	e.http.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx, e) }
	if k.proxy != nil && k.proxy.At.Scheme() == "https" {
		e.proxy = newPeer(k.proxy.At.Host(), k.proxyMaterial, "http/1.1")
	}
	switch {
	case k.to.Scheme() == "https":
		e.origin = newPeer(k.to.Host(), k.material, "h2", "http/1.1")
		e.http.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dialTLS(ctx, e) }
	case k.proxy != nil:
		e.http.Proxy = http.ProxyURL(k.proxy.url())
	}
	return e
}

// dial connects for an http origin: to the origin, or to the proxy that takes the whole request.
func (t *Transport) dial(ctx context.Context, e *entry) (net.Conn, error) {
	if err := t.mayDial(ctx, e); err != nil {
		return nil, err
	}
	var raw net.Conn
	var err error
	if e.key.proxy != nil {
		raw, err = t.dialProxy(ctx, e)
	} else {
		raw, err = t.dialOrigin(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	return dialed(ctx, &conn{Conn: raw}), nil
}

// maxDials bounds the connections made for one request. net/http makes another whenever an HTTP/2
// server says that it has not begun with the request, which a server can say for ever.
const maxDials = 5

// errRenewed: a request waited for a connection while the material was renewed. Nothing was sent.
var errRenewed = &Error{code: codeReset, message: "the TLS material was renewed while the request waited for a connection"}

// mayDial refuses a connection with material that is not the current one, and one too many.
func (t *Transport) mayDial(ctx context.Context, e *entry) error {
	if m, proxy := t.materials(e.key.to, e.key.proxy); m != e.key.material || proxy != e.key.proxyMaterial {
		return errRenewed
	}
	if r := recordOf(ctx); r != nil && r.dials.Add(1) > maxDials {
		return &Error{code: codeReset, message: authority(e.key.to) + " took none of the connections that were made to it for one request"}
	}
	return nil
}

// dialTLS connects to an https origin. The handshake is made here and not by http.Transport, for
// three reasons: each connection gets a record of its own, what a session was begun with is known
// when it is resumed, and no configuration with a client certificate is ever near the connection
// to a proxy.
func (t *Transport) dialTLS(ctx context.Context, e *entry) (net.Conn, error) {
	if err := t.mayDial(ctx, e); err != nil {
		return nil, err
	}
	raw, err := t.reach(ctx, e)
	if err != nil {
		return nil, err
	}
	c := dialed(ctx, &conn{Conn: raw, seen: new(tlsmat.Seen)})
	var secured *tls.Conn
	err = t.limits.keep(ctx, authority(e.key.to), c.seen, func(ctx context.Context) (err error) {
		secured, err = e.origin.handshake(ctx, c, c.seen)
		return err
	})
	if err != nil {
		return nil, err
	}
	return secured, nil
}

// reach connects to an https origin as far as the handshake.
func (t *Transport) reach(ctx context.Context, e *entry) (net.Conn, error) {
	if e.key.proxy != nil {
		return t.tunnel(ctx, e)
	}
	return t.dialOrigin(ctx, e)
}

func (t *Transport) dialOrigin(ctx context.Context, e *entry) (net.Conn, error) {
	return t.dialTCP(ctx, e.key.to.Host(), e.key.to.HostPort(), e.key.rules)
}

func (t *Transport) dialTCP(ctx context.Context, host, address string, rules netguard.Rules) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, ControlContext: t.guard.Control(host, rules)}
	return d.DialContext(ctx, "tcp", address)
}
