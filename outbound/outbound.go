// Package outbound sends requests: one guarded http.Transport per principal, origin and certificate.
package outbound

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"

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
	// Material is the client certificate and the roots for an origin as of now: another pointer is
	// another material, for which the connections with the former one are not used again. It is
	// called for every request, with a lock held. Nil, or a nil result: no client certificate and
	// the system's roots.
	Material func(origin.Origin) *tlsmat.Material
	// Rules says which addresses an origin may have; its errors are returned as they are. Nil:
	// public ones only.
	Rules func(context.Context, origin.Origin) (netguard.Rules, error)
	// Proxy is the proxy on the way to an origin; a nil result, or nil: there is none. Loopback
	// origins are reached without. Like Material it is called with a lock held. The environment is
	// never asked.
	Proxy func(origin.Origin) *Proxy
	// UserAgent is set where a request has none. Empty: "mcp-authfetch".
	UserAgent string
	// Logger gets TLS failures at origins with material as warnings, each once a minute, and debug
	// messages. Nil: none.
	Logger *slog.Logger
}

// Transport is an [http.RoundTripper] that shares nothing between principals, origins, client
// certificates or proxies: no connection, no TLS session. Within what these have in common TLS
// sessions are resumed; new material begins anew. It never asks the environment, never follows a
// redirect and never decodes a body. Create it with [New].
type Transport struct {
	guard     *netguard.Guard
	material  func(origin.Origin) *tlsmat.Material
	rules     func(context.Context, origin.Origin) (netguard.Rules, error)
	proxy     func(origin.Origin) *Proxy
	userAgent string
	// userAgents is userAgent as the value of a header; it is not changed.
	userAgents []string
	log        *slog.Logger
	pool       *pool
	probes     probers
	warned     warned
	limits     limits
}

// New returns a Transport.
func New(o Options) *Transport {
	t := &Transport{guard: o.Guard, material: o.Material, rules: o.Rules, userAgent: o.UserAgent, log: o.Logger, limits: usual}
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
	t.userAgents = []string{t.userAgent}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if o.Proxy != nil {
		// This computer's loopback is not the proxy's, and what goes there in clear must not leave it.
		t.proxy = func(to origin.Origin) *Proxy {
			if to.IsLoopback() {
				return nil
			}
			return o.Proxy(to)
		}
	} else {
		t.proxy = func(origin.Origin) *Proxy { return nil }
	}
	t.pool = &pool{build: t.newEntry, materials: t.materials, proxy: func(to origin.Origin) *Proxy { return t.proxy(to) },
		entries: make(map[key]*list.Element)}
	return t
}

// materials are the current ones for an origin and for the proxy on the way there.
func (t *Transport) materials(to origin.Origin, proxy *Proxy) (material, proxyMaterial *tlsmat.Material) {
	return t.material(to), proxy.current()
}

// RoundTrip sends req to the canonical origin of its URL for the principal of its context. The
// body of the response must be closed. Errors are [*Error], [*netguard.DeniedError],
// [*origin.Error], [*tlsfault.Failure], or what [Options.Rules] returned; none of them, and none of
// those that reading the body returns, prints more of the URL than its host.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	k, err := t.admit(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	e := t.pool.take(k)
	rec := &record{Context: req.Context(), to: k.to, entry: e}
	resp, err := e.http.RoundTrip(t.prepare(req, rec))
	for errors.Is(err, errRenewed) && rewind(&req) {
		t.pool.release(e)
		e = t.pool.take(k)
		rec = &record{Context: req.Context(), to: k.to, entry: e}
		resp, err = e.http.RoundTrip(t.prepare(req, rec))
	}
	if err == nil && resp.StatusCode == http.StatusProxyAuthRequired && k.proxy != nil && e.origin == nil {
		resp.Body.Close()
		err = k.proxy.refused(k.to, resp)
	}
	if err != nil {
		err = t.explain(req.Context(), rec, err)
		t.pool.release(e)
		return nil, err
	}
	rec.answered()
	resp.Body = &body{ReadCloser: resp.Body, transport: t, record: rec}
	return resp, nil
}

// rewind makes req fit to be sent again; where that cannot be done it reports false.
func rewind(req **http.Request) bool {
	r := *req
	if r.Body == nil || r.Body == http.NoBody {
		return r.Context().Err() == nil
	}
	if r.GetBody == nil || r.Context().Err() != nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return false
	}
	again := *r
	again.Body = body
	*req = &again
	return true
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
	k := key{who: who, to: to, proxy: t.proxy(to), rules: rules}
	if k.proxy != nil {
		// The proxy resolves the name itself; what it finds is hidden from us, what we find decides.
		if err := t.guard.Check(ctx, nil, to.Host(), to.Port(), rules); err != nil {
			return key{}, t.explain(ctx, &record{to: to}, err)
		}
	}
	return k, nil
}

// prepare returns req as it is sent: to the origin that was admitted, whatever its spelling was. It
// copies what it changes and no more, as this is done for every request.
func (t *Transport) prepare(req *http.Request, rec *record) *http.Request {
	out := req.WithContext(rec.context())
	out.Host = rec.entry.authority
	if scheme := rec.to.Scheme(); req.URL.Scheme != scheme || req.URL.Host != out.Host {
		u := *req.URL
		u.Scheme, u.Host = scheme, out.Host
		out.URL = &u
	}
	if t.headerAsIs(req.Header) {
		return out
	}
	if out.Header = maps.Clone(req.Header); out.Header == nil {
		out.Header = make(http.Header)
	}
	for _, name := range neverSent {
		delete(out.Header, name)
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = t.userAgents
	}
	return out
}

// neverSent: Referer would tell one site of another, and nothing here waits for 100 (Continue).
// Proxy-Authorization is only ever for the proxy, and only from its own settings.
var neverSent = []string{"Referer", "Expect", "Proxy-Authorization"}

func (t *Transport) headerAsIs(h http.Header) bool {
	for _, name := range neverSent {
		if _, ok := h[name]; ok {
			return false
		}
	}
	_, ok := h["User-Agent"]
	return ok
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
