package outbound

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// proxy is the HTTP proxy that all requests take.
type proxy struct {
	at  origin.Origin
	url *url.URL // canonical, with the credentials
}

func newProxy(u *url.URL) (*proxy, error) {
	at, err := origin.Of(u)
	if err != nil || at.Scheme() != "http" {
		return nil, &Error{code: codeProxy, Err: err,
			message: "the configured proxy is not of the form http://host:port",
			hint:    "set network.proxy to http://host:port; proxies of other kinds are not supported"}
	}
	return &proxy{at: at, url: &url.URL{Scheme: "http", User: u.User, Host: at.HostPort()}}, nil
}

func (p *proxy) String() string { return "the proxy " + p.at.HostPort() }

// authorization is the value of Proxy-Authorization (RFC 7617 §2), "" without credentials.
func (p *proxy) authorization() string {
	if p.url.User == nil {
		return ""
	}
	password, _ := p.url.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.url.User.Username()+":"+password))
}

// refused says what an answer of the proxy's own means.
func (p *proxy) refused(to origin.Origin, resp *http.Response) *Error {
	e := &Error{code: codeProxy}
	status := resp.StatusCode
	switch {
	case status == http.StatusProxyAuthRequired && p.url.User == nil:
		e.message = p.String() + " wants credentials"
		if names := challenge.Names(challenge.Parse(resp.Header.Values("Proxy-Authenticate"))); len(names) > 0 {
			e.message += " by " + strings.Join(names, " or ")
		}
		e.hint = "use a proxy that lets this computer in without a login: network.proxy takes no user name and password"
	case status == http.StatusProxyAuthRequired:
		e.message = p.String() + " does not accept the configured credentials"
		e.hint = "correct the user name and password for the proxy; only the Basic scheme is supported"
	case status >= 500:
		e.message = fmt.Sprintf("%v could not reach %s: it answered with status %d", p, authority(to), status)
		e.hint = "check the host name and port; the proxy may not be able to reach them"
		e.retryable = true
	default:
		e.message = fmt.Sprintf("%v does not let requests through to %s: it answered with status %d", p, authority(to), status)
		e.hint = "ask whoever runs the proxy to allow this host and port"
	}
	return e
}

// dialProxy connects to the proxy. Whoever configured it vouches for its address, wherever it is.
func (t *Transport) dialProxy(ctx context.Context) (net.Conn, error) {
	c, err := t.dialTCP(ctx, t.proxy.at.Host(), t.proxy.at.HostPort(), netguard.Rules{Loopback: true, Private: true})
	if err != nil {
		return nil, t.proxy.failed(ctx, err)
	}
	return c, nil
}

// tunnel connects to an https origin through the proxy (RFC 9110 §9.3.6).
func (t *Transport) tunnel(ctx context.Context, to origin.Origin) (net.Conn, error) {
	c, err := t.dialProxy(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.connect(ctx, c, to); err != nil {
		c.Close()
		return nil, t.proxy.failed(ctx, err)
	}
	return c, nil
}

func (t *Transport) connect(ctx context.Context, c net.Conn, to origin.Origin) error {
	_ = c.SetDeadline(time.Now().Add(headerTimeout))
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to.HostPort()}, Host: to.HostPort(), Header: make(http.Header)}
	req.Header.Set("User-Agent", t.userAgent)
	if a := t.proxy.authorization(); a != "" {
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
		return t.proxy.refused(to, resp) // its body is not read; the connection is closed
	case r.Buffered() > 0: // in TLS the client speaks first
		return errors.New("data before the tunnel was used")
	case !stop():
		return ctx.Err()
	}
	return c.SetDeadline(time.Time{})
}

// failed says that err happened between us and the proxy.
func (p *proxy) failed(ctx context.Context, err error) error {
	if e := own(err); e != nil {
		return e
	}
	e := describe(ctx, p.String(), err)
	if e.code != codeCanceled {
		e.code, e.retryable = codeProxy, e.Retryable()
		e.hint = "check network.proxy and that the proxy is running"
	}
	return e
}
