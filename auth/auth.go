// Package auth decides which credential a request carries, and what happens when it is challenged.
package auth

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Site is what the configuration says of an origin. The zero Site is an origin nobody configured.
type Site struct {
	Configured bool     // the configuration names this origin
	Issuer     string   // the authorization server that this origin may send people to; "" as discovered
	Scopes     []string // what is asked for, and no more; nil: as the resource says
	Grant      string   // see [login.Request]
	Subject    login.Subject
	// Legacy: the origin follows MCP's authorization of 2025-03-26, which knows no protected
	// resource metadata: it is its own authorization server, at default endpoints if need be.
	Legacy  bool
	Headers []Header // sent to this origin only
}

// Header is one configured header of a site.
type Header struct {
	Name  string
	Value secret.Text
}

// Options configure a [Transport]. Base, Discovery, Login, Store and Zones are required.
type Options struct {
	Base      http.RoundTripper // sends; decides client certificates and addresses
	Discovery *discovery.Client
	Login     *login.Flows
	Store     tokenstore.Store
	Zones     *Zones
	Site      func(origin.Origin) Site              // nil: no sites
	Client    func(issuer string) login.Credentials // clients registered beforehand; nil or zero: none
	// Certificate is our client certificate at an origin, nil where there is none; nil: nowhere.
	Certificate func(origin.Origin) *x509.Certificate
	Issuer      func(issuer string) bool // whether the configuration names it as an issuer; nil: none is
	Logger      *slog.Logger             // nil: silent
}

// Transport is an [http.RoundTripper] that attaches the credential an origin is owed and answers
// at most one challenge per request. It never talks to a person: where one is needed it returns
// [*ActionRequired]. The request's context must carry a principal.
type Transport struct {
	opts    Options
	nonces  dpop.Nonces // of resources
	flights singleflight.Group
	steps   sync.Map // tokenstore.Key to the *action.Action that last asked for more scopes than that token has
	rounds  rounds   // of logins that resources asked for although the token was good
}

// New returns a Transport.
func New(opts Options) *Transport {
	if opts.Site == nil {
		opts.Site = func(origin.Origin) Site { return Site{} }
	}
	if opts.Client == nil {
		opts.Client = func(string) login.Credentials { return login.Credentials{} }
	}
	if opts.Certificate == nil {
		opts.Certificate = func(origin.Origin) *x509.Certificate { return nil }
	}
	if opts.Issuer == nil {
		opts.Issuer = func(string) bool { return false }
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Transport{opts: opts}
}

// RoundTrip implements [http.RoundTripper]. A request whose body cannot be had again
// (Request.GetBody) is not sent a second time: where a new token was to be had at once, the
// challenge is returned as it came.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	w, tok, err := t.prepare(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := t.send(w, tok, req.Body)
	if err != nil {
		return nil, err
	}
	q := t.question(w, resp, tok)
	if q.want == nothing {
		t.met(w, resp, tok)
		return resp, nil
	}
	release(resp)
	next, err := t.answer(req.Context(), w, q, tok)
	switch {
	case err != nil:
		_ = resp.Body.Close()
		return nil, err
	case next == nil || !repeatable(req):
		return resp, nil // it cannot be answered here: the caller sees it as it is
	}
	_ = resp.Body.Close()
	return t.sendAgain(w, next)
}

// work is one request's share of facts.
type work struct {
	principal principal.ID
	origin    origin.Origin
	site      Site
	req       *http.Request
}

// mayBePlain reports whether OAuth may run over plain http: between loopback origins that the
// configuration names.
func (w *work) mayBePlain() bool { return w.origin.IsLoopback() && w.site.Configured }

// prepare finds out what is known about req, and the token it is owed.
func (t *Transport) prepare(req *http.Request) (*work, *tokenstore.Token, error) {
	w, err := t.work(req)
	if err != nil {
		return nil, nil, err
	}
	tok, err := t.stored(req.Context(), w)
	return w, tok, err
}

func (t *Transport) work(req *http.Request) (*work, error) {
	if req.URL == nil {
		return nil, &origin.Error{Reason: "it is missing"}
	}
	o, err := origin.Of(req.URL)
	if err != nil {
		return nil, err
	}
	p := principal.From(req.Context())
	if p == "" {
		return nil, errors.New("auth: the request's context has no principal")
	}
	return &work{principal: p, origin: o, site: t.opts.Site(o), req: req}, nil
}

// sendAgain sends the request with the token that answers the challenge. When that is refused too
// there is no third time.
func (t *Transport) sendAgain(w *work, tok *tokenstore.Token) (*http.Response, error) {
	body, err := bodyAgain(w.req)
	if err != nil {
		return nil, err
	}
	resp, err := t.send(w, tok, body)
	if err != nil {
		return nil, err
	}
	q := t.question(w, resp, tok)
	if q.want == nothing || q.want == wantsScope {
		t.met(w, resp, tok)
		return resp, nil
	}
	release(resp)
	_ = resp.Body.Close()
	return nil, t.refused(w.req.Context(), w, q, tok)
}

// met notes that the page was content with tok: what it wanted before does not count any more.
func (t *Transport) met(w *work, resp *http.Response, tok *tokenstore.Token) {
	if tok != nil && resp.StatusCode < 400 {
		t.rounds.forget(w)
	}
}
