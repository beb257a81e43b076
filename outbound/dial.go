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
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	headerTimeout    = 30 * time.Second
	maxHeaderBytes   = 64 << 10
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

// dialTLS connects to an https origin. The handshake is made here and not by http.Transport, for
// three reasons: each connection gets a record of its own, what a session was begun with is known
// when it is resumed, and no configuration with a client certificate is ever near the connection
// to a proxy.
func (t *Transport) dialTLS(ctx context.Context, e *entry) (net.Conn, error) {
	raw, err := t.reach(ctx, e)
	if err != nil {
		return nil, err
	}
	c := dialed(ctx, &conn{Conn: raw, seen: new(tlsmat.Seen)})
	return inTime(ctx, authority(e.key.to), func(ctx context.Context) (*tls.Conn, error) {
		return e.origin.handshake(ctx, c, c.seen)
	})
}

// inTime makes a handshake with somebody within the time for one.
func inTime(ctx context.Context, whom string, handshake func(context.Context) (*tls.Conn, error)) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c, err := handshake(limited)
	switch {
	case err == nil:
		return c, nil
	case limited.Err() != nil && ctx.Err() == nil:
		err = &Error{code: codeTimeout, message: "the TLS handshake with " + whom + " took longer than " + handshakeTimeout.String(), Err: err}
	}
	return nil, err
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
