// Package outbound sends requests: one guarded http.Transport per principal, origin and certificate.
package outbound

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// Options configures a [Transport]. Its zero value reaches public addresses, directly and without
// a client certificate.
type Options struct {
	// Guard knows the listeners of this process. Nil: a fresh one, which knows none.
	Guard *netguard.Guard
	// Material is the client certificate and the roots for an origin. Nil, or a nil result: no
	// client certificate and the system's roots.
	Material func(origin.Origin) *tlsmat.Material
	// Rules says which addresses an origin may have; its errors are returned as they are. Nil:
	// public ones only.
	Rules func(context.Context, origin.Origin) (netguard.Rules, error)
	// Proxy is http://[user:password@]host[:port]; whoever reads the configuration has checked
	// it, any other kind fails each request. Nil: direct. The environment is never asked.
	Proxy *url.URL
	// UserAgent is set where a request has none. Empty: "mcp-authfetch".
	UserAgent string
	// Logger gets debug messages. Nil: none.
	Logger *slog.Logger
}

// Transport is an [http.RoundTripper] that shares nothing between principals, origins or client
// certificates: no connection, no TLS session. It never asks the environment, never follows a
// redirect and never decodes a body. Create it with [New].
type Transport struct {
	guard     *netguard.Guard
	material  func(origin.Origin) *tlsmat.Material
	rules     func(context.Context, origin.Origin) (netguard.Rules, error)
	proxy     *proxy                   // nil: direct
	proxyErr  error                    // why Options.Proxy cannot be used
	direct    func(origin.Origin) bool // what the proxy is not used for
	userAgent string
	log       *slog.Logger
	pool      *pool
}

// New returns a Transport.
func New(o Options) *Transport {
	t := &Transport{guard: o.Guard, material: o.Material, rules: o.Rules, userAgent: o.UserAgent, log: o.Logger}
	if t.guard == nil {
		t.guard = new(netguard.Guard)
	}
	if t.material == nil {
		t.material = func(origin.Origin) *tlsmat.Material { return nil }
	}
	if t.rules == nil {
		t.rules = func(context.Context, origin.Origin) (netguard.Rules, error) { return netguard.Rules{}, nil }
	}
	if t.userAgent == "" {
		t.userAgent = "mcp-authfetch"
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if o.Proxy != nil {
		t.proxy, t.proxyErr = newProxy(o.Proxy)
	}
	// This computer's loopback is not the proxy's, and what goes there in clear must not leave it.
	t.direct = origin.Origin.IsLoopback
	t.pool = newPool(t.newHTTP)
	return t
}

// RoundTrip sends req to the canonical origin of its URL for the principal of its context. The
// body of the response must be closed. Errors are [*Error], [*netguard.DeniedError],
// [*origin.Error], [*tlsmat.Failure], or what [Options.Rules] returned; none of them, and none of
// those that reading the body returns, prints more of the URL than its host.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	k, err := t.admit(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	e := t.pool.take(k)
	rec := &record{key: k}
	resp, err := e.http.RoundTrip(t.prepare(req, k, rec))
	if err == nil && resp.StatusCode == http.StatusProxyAuthRequired && t.proxied(k.to) && k.to.Scheme() == "http" {
		resp.Body.Close()
		err = t.proxy.refused(k.to, resp)
	}
	if err != nil {
		t.pool.release(e)
		return nil, t.explain(req.Context(), rec, err)
	}
	resp.Body = &body{
		ReadCloser: resp.Body,
		explain:    func(err error) error { return classify(req.Context(), rec, err) },
		release:    func() { t.pool.release(e) },
	}
	return resp, nil
}

// CloseIdleConnections closes the connections that carry no request.
func (t *Transport) CloseIdleConnections() { t.pool.closeIdle() }

// Certificate reports whether our client certificate was sent on the connection that carried
// resp, that is, whether the server could know us by it.
func Certificate(resp *http.Response) bool {
	seen := Seen(resp)
	return seen != nil && seen.Sent()
}

// Seen returns what was recorded in the TLS handshake of the connection that carried resp. Nil:
// there was none, or resp is not of a [Transport].
func Seen(resp *http.Response) *tlsmat.Seen {
	if resp == nil || resp.Request == nil {
		return nil
	}
	if rec := recordOf(resp.Request.Context()); rec != nil {
		return rec.carrier()
	}
	return nil
}

// admit decides whether and on whose transport req may be sent.
func (t *Transport) admit(req *http.Request) (key, error) {
	ctx := req.Context()
	who := principal.From(ctx)
	if who == "" {
		return key{}, errors.New("outbound: the request has no principal in its context")
	}
	if req.URL == nil {
		return key{}, &origin.Error{Reason: "it is missing"}
	}
	if req.URL.User != nil {
		return key{}, &origin.Error{Input: req.URL.Redacted(), Reason: "it holds a user name or password"}
	}
	to, err := origin.Of(req.URL)
	if err != nil {
		return key{}, err
	}
	rules, err := t.rules(ctx, to)
	if err != nil {
		return key{}, err
	}
	k := key{who: who, to: to, material: t.material(to), rules: rules}
	if t.proxyErr != nil {
		return key{}, t.proxyErr
	}
	if t.proxied(to) {
		// The proxy resolves the name itself; what it finds is hidden from us, what we find decides.
		if err := t.guard.Check(ctx, nil, to.Host(), to.Port(), rules); err != nil {
			return key{}, t.explain(ctx, &record{key: k}, err)
		}
	}
	return k, nil
}

// proxied reports whether requests to an origin go through the proxy.
func (t *Transport) proxied(to origin.Origin) bool { return t.proxy != nil && !t.direct(to) }

// prepare returns req as it is sent: to the origin that was admitted, whatever its spelling was.
func (t *Transport) prepare(req *http.Request, k key, rec *record) *http.Request {
	out := req.Clone(rec.attach(req.Context()))
	out.URL.Scheme = k.to.Scheme()
	out.URL.Host = authority(k.to)
	out.Host = out.URL.Host
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	out.Header.Del("Referer")
	out.Header.Del("Expect")
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", t.userAgent)
	}
	return out
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
