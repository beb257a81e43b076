// Package auth decides which credential a request carries, and what happens when it is challenged.
package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
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
	flights singleflight.Group
	steps   sync.Map // tokenstore.Key to the *action.Action that last asked for more scopes than that token has
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
	q, cs := t.question(w, resp, tok)
	if q == nothing {
		return resp, nil
	}
	release(resp)
	next, err := t.answer(req.Context(), w, q, cs, tok)
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
	if req.URL == nil {
		return nil, nil, &origin.Error{Reason: "it is missing"}
	}
	o, err := origin.Of(req.URL)
	if err != nil {
		return nil, nil, err
	}
	p := principal.From(req.Context())
	if p == "" {
		return nil, nil, errors.New("auth: the request's context has no principal")
	}
	w := &work{principal: p, origin: o, site: t.opts.Site(o), req: req}
	tok, err := t.stored(req.Context(), w)
	return w, tok, err
}

// sentKey leads to what a request carried, [carried].
type sentKey struct{}

type carried []secret.Text

// send sends a copy of the request with what its origin is owed.
func (t *Transport) send(w *work, tok *tokenstore.Token, body io.ReadCloser) (*http.Response, error) {
	ctx := w.req.Context()
	var secrets carried
	out := w.req.Clone(ctx)
	out.Body = body
	if out.Header == nil {
		out.Header = http.Header{}
	}
	for _, h := range w.site.Headers {
		out.Header.Set(h.Name, h.Value.Reveal())
		if !public(h.Name) {
			secrets = append(secrets, h.Value)
		}
	}
	if tok != nil {
		out.Header.Set("Authorization", "Bearer "+tok.AccessToken.Reveal())
		secrets = append(secrets, tok.AccessToken)
	}
	resp, err := t.opts.Base.RoundTrip(out.WithContext(context.WithValue(ctx, sentKey{}, secrets)))
	if err != nil {
		return nil, t.explain(ctx, w, err)
	}
	return resp, nil
}

// public reports whether a header says nothing that a site must not repeat.
func public(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return strings.HasPrefix(name, "Accept") || slices.Contains([]string{"User-Agent", "X-Requested-With", "Cache-Control", "Pragma", "Content-Type", "Dnt"}, name)
}

// sendAgain sends the request with the token that answers the challenge. When that is refused too
// there is no third time.
func (t *Transport) sendAgain(w *work, tok *tokenstore.Token) (*http.Response, error) {
	body := w.req.Body
	if w.req.GetBody != nil {
		var err error
		if body, err = w.req.GetBody(); err != nil {
			return nil, err
		}
	}
	resp, err := t.send(w, tok, body)
	if err != nil {
		return nil, err
	}
	q, cs := t.question(w, resp, tok)
	if q != wantsToken && resp.StatusCode != http.StatusUnauthorized {
		return resp, nil
	}
	release(resp)
	_ = resp.Body.Close()
	return nil, t.refused(w.req.Context(), w, cs, tok)
}

// repeatable reports whether the request can be sent a second time.
func repeatable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// maxKept is how much of a challenge's body is kept in memory while the challenge is answered.
const maxKept = 64 << 10

// release gives the connection of resp back, keeping its body to be read later: the connections
// to an origin are few, and to answer the challenge we need one too.
func release(resp *http.Response) {
	kept, err := io.ReadAll(io.LimitReader(resp.Body, maxKept))
	if err == nil && len(kept) < maxKept {
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(kept))
		return
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(kept), resp.Body), resp.Body}
}

// Credentialed reports whether the request that got resp carried a token, a configured header or
// a client certificate.
func Credentialed(resp *http.Response) bool {
	return len(Secrets(resp)) > 0 || outbound.Certificate(resp)
}

// Secrets are the token and the configured headers that the request carried which got resp.
func Secrets(resp *http.Response) []secret.Text {
	if resp.Request == nil {
		return nil
	}
	secrets, _ := resp.Request.Context().Value(sentKey{}).(carried)
	return secrets
}

// explain turns a refused address into the action that would allow it, where one would.
func (t *Transport) explain(ctx context.Context, w *work, err error) error {
	var denied *netguard.DeniedError
	if !errors.As(err, &denied) {
		return err
	}
	return t.opts.Zones.ask(ctx, w.principal, w.origin, denied)
}
