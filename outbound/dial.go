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
	probeTimeout     = 2 * time.Second
	maxHeaderBytes   = 64 << 10
)

// newHTTP returns the transport of one key. All its connections go to the origin of the key, by
// whatever address it is asked to dial.
func (t *Transport) newHTTP(k key) *http.Transport {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return t.dial(ctx, k)
		},
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return t.dialTLS(ctx, k)
		},
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
	if t.proxied(k.to) && k.to.Scheme() == "http" {
		tr.Proxy = http.ProxyURL(t.proxy.url)
	}
	return tr
}

// dial connects for an http origin: to the origin, or to the proxy that takes the whole request.
func (t *Transport) dial(ctx context.Context, k key) (net.Conn, error) {
	var raw net.Conn
	var err error
	if t.proxied(k.to) {
		raw, err = t.dialProxy(ctx)
	} else {
		raw, err = t.dialTCP(ctx, k.to.Host(), k.to.HostPort(), k.rules)
	}
	if err != nil {
		return nil, err
	}
	return dialed(ctx, &conn{Conn: raw}), nil
}

// dialTLS connects to an https origin. The handshake is made here and not by http.Transport, for
// two reasons: each connection gets a record of its own, and no configuration with a client
// certificate is ever near the connection to a proxy.
func (t *Transport) dialTLS(ctx context.Context, k key) (net.Conn, error) {
	var raw net.Conn
	var err error
	if t.proxied(k.to) {
		raw, err = t.tunnel(ctx, k.to)
	} else {
		raw, err = t.dialTCP(ctx, k.to.Host(), k.to.HostPort(), k.rules)
	}
	if err != nil {
		return nil, err
	}
	c := dialed(ctx, &conn{Conn: raw, seen: new(tlsmat.Seen)})
	config := k.material.TLSConfig(c.seen)
	config.ServerName = k.to.Host()
	config.NextProtos = []string{"h2", "http/1.1"}
	config.ClientSessionCache = nil // a resumed session would carry the identity that began it
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(limited); err != nil {
		raw.Close()
		if limited.Err() != nil && ctx.Err() == nil {
			err = &Error{code: codeTimeout, message: "the TLS handshake with " + authority(k.to) + " took longer than " + handshakeTimeout.String(), Err: err}
		}
		return nil, err
	}
	return secured, nil
}

func (t *Transport) dialTCP(ctx context.Context, host, address string, rules netguard.Rules) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, ControlContext: t.guard.Control(host, rules)}
	return d.DialContext(ctx, "tcp", address)
}

// probe makes the server say again why it hung up. In TLS 1.3 the alert that refuses a client
// certificate comes after the handshake (RFC 8446 §4.4.2.4), and the reset that our own request
// provokes may overtake it; where nothing is written there is nothing to reset. Nil: the server
// had nothing to say.
func (t *Transport) probe(ctx context.Context, k key) *tlsmat.Failure {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	rec := &record{key: k}
	c, err := t.dialTLS(rec.attach(ctx), k)
	if err == nil {
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(probeTimeout))
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || stopped(err) {
		return nil
	}
	return tlsmat.Explain(err, k.to.Host(), k.material, rec.seen())
}
