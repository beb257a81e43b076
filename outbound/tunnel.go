package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// dialProxy connects to the proxy of an entry, by TLS where it is an https one.
func (t *Transport) dialProxy(ctx context.Context, e *entry) (net.Conn, error) {
	raw, err := t.dialProxyTCP(ctx, e.key.proxy)
	if err != nil || e.proxy == nil {
		return raw, err
	}
	seen := new(tlsmat.Seen)
	var secured *tls.Conn
	err = t.limits.keep(ctx, e.key.proxy.String(), seen, func(ctx context.Context) (err error) {
		secured, err = e.proxy.handshake(ctx, raw, seen)
		return err
	})
	if err != nil {
		return nil, t.proxyFailed(ctx, e, err)
	}
	return &proxyConn{Conn: secured}, nil
}

// dialProxyTCP connects to a proxy. Whoever configured it vouches for its address, wherever it is.
func (t *Transport) dialProxyTCP(ctx context.Context, p *Proxy) (net.Conn, error) {
	c, err := t.dialTCP(ctx, p.At.Host(), p.At.HostPort(), netguard.Rules{Loopback: true, Private: true})
	if err != nil {
		return nil, p.failed(ctx, err)
	}
	return c, nil
}

// tunnel connects to an https origin through the proxy (RFC 9110 §9.3.6).
func (t *Transport) tunnel(ctx context.Context, e *entry) (net.Conn, error) {
	c, err := t.dialProxy(ctx, e)
	if err != nil {
		return nil, err
	}
	if err := t.connect(ctx, c, e.key); err != nil {
		c.Close()
		return nil, t.proxyFailed(ctx, e, err)
	}
	return c, nil
}

func (t *Transport) connect(ctx context.Context, c net.Conn, k key) error {
	_ = c.SetDeadline(time.Now().Add(headerTimeout))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	to := k.to.HostPort()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: make(http.Header)}
	req.Header.Set("User-Agent", t.userAgent)
	if a := k.proxy.authorization(); a != "" {
		req.Header.Set("Proxy-Authorization", a)
	}
	if err := req.Write(c); err != nil {
		return err
	}
	r := bufio.NewReader(io.LimitReader(c, maxHeaderBytes))
	resp, err := http.ReadResponse(r, req)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return k.proxy.refused(k.to, resp) // its body is not read; the connection is closed
	case r.Buffered() > 0: // in TLS the client speaks first
		return errors.New("data before the tunnel was used")
	case !stop():
		return ctx.Err()
	}
	return c.SetDeadline(time.Time{})
}

// proxyConn is a TLS connection to a proxy. Its failures are told apart from those of the origin
// whose connection goes through it. It is no *tls.Conn, which [http.Transport] would take for one
// to the origin.
type proxyConn struct{ net.Conn }

// proxyTLSError is a TLS failure of the connection to the proxy.
type proxyTLSError struct{ error }

func (e *proxyTLSError) Unwrap() error { return e.error }

// Read implements [net.Conn].
func (c *proxyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, ofProxy(err)
}

// Write implements [net.Conn].
func (c *proxyConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, ofProxy(err)
}

// ofProxy marks an alert, sent or received.
func ofProxy(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") {
		return &proxyTLSError{err}
	}
	return err
}

// proxyFailed says that err happened between us and the proxy. One that asked for a certificate
// and then hung up may have refused it.
func (t *Transport) proxyFailed(ctx context.Context, e *entry, err error) error {
	if e.proxy != nil && !stopped(err) {
		seen := e.proxy.last.Load()
		if !closedEarly(err) {
			if f := explainProxy(err, e, seen); f != nil {
				return f
			}
		} else if f := t.askProxy(ctx, e, seen, err); f != nil {
			return f
		}
	}
	return e.key.proxy.failed(ctx, err)
}

// askProxy has the proxy say why it hung up, which is err, nil where it was not for our certificate.
func (t *Transport) askProxy(ctx context.Context, e *entry, seen *tlsmat.Seen, err error) *tlsfault.Failure {
	switch {
	case ctx.Err() != nil || !seen.Asked():
		return nil
	case e.key.proxyMaterial.KeyElsewhere():
		return explainProxy(unasked(err), e, seen)
	}
	return t.probes.of(probed{proxy: e.key.proxy, material: e.key.proxyMaterial}).ask(ctx, func(ctx context.Context) *tlsfault.Failure { return t.probeProxy(ctx, e) })
}

func explainProxy(err error, e *entry, seen *tlsmat.Seen) *tlsfault.Failure {
	return tlsfault.ExplainProxy(err, e.key.proxy.At.HostPort(), e.key.proxyMaterial, seen)
}

// failed says that err, which is not of TLS, happened between us and the proxy.
func (p *Proxy) failed(ctx context.Context, err error) error {
	known := own(err)
	e, ok := known.(*Error)
	switch {
	case known == nil:
		e = describe(ctx, p.String(), err)
	case !ok:
		return known
	}
	if e.code != codeCanceled && e.code != codeProxy {
		e.code, e.retryable = codeProxy, e.Retryable()
		e.hint = "check " + p.setting() + " and that the proxy is running"
	}
	return e
}
