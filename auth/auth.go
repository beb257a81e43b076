// Package auth decides which credential a request carries, and what happens when it is challenged.
package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

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
	Headers    []Header // sent to this origin only
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
	Logger    *slog.Logger                          // nil: silent
}

// Transport is an [http.RoundTripper] that attaches the credential an origin is owed and answers
// at most one challenge per request. It never talks to a person: where one is needed it returns
// [*ActionRequired]. The request's context must carry a principal.
type Transport struct {
	opts    Options
	refresh singleflight.Group
}

// New returns a Transport.
func New(opts Options) *Transport {
	if opts.Site == nil {
		opts.Site = func(origin.Origin) Site { return Site{} }
	}
	if opts.Client == nil {
		opts.Client = func(string) login.Credentials { return login.Credentials{} }
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Transport{opts: opts}
}

// RoundTrip implements [http.RoundTripper]. A request whose body cannot be had again
// (Request.GetBody) is not sent a second time.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	w, err := t.work(req)
	if err != nil {
		return nil, err
	}
	tok, err := t.stored(req.Context(), w)
	if err != nil {
		return nil, err
	}
	resp, err := t.send(req, w, tok)
	if err != nil {
		return nil, t.explain(req.Context(), w, err)
	}
	cs, ok := challenged(resp, w, tok)
	if !ok {
		return resp, nil
	}
	next, err := t.answer(req.Context(), w, cs, resp.StatusCode, tok)
	if err != nil || next == nil {
		if err == nil {
			return resp, nil // nobody here can answer it: the caller sees it as it is
		}
		discard(resp)
		return nil, err
	}
	if req.Body != nil && req.GetBody == nil {
		return resp, nil
	}
	discard(resp)
	resp, err = t.send(req, w, next)
	if err != nil {
		return nil, t.explain(req.Context(), w, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		discard(resp)
		return nil, &RefusedError{Origin: w.origin, Issuer: next.Issuer}
	}
	return resp, nil
}

// work is one request's share of facts.
type work struct {
	principal principal.ID
	origin    origin.Origin
	site      Site
	req       *http.Request
}

func (t *Transport) work(req *http.Request) (*work, error) {
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

type credentialedKey struct{}

// send sends a copy of req with what this origin is owed.
func (t *Transport) send(req *http.Request, w *work, tok *tokenstore.Token) (*http.Response, error) {
	credentialed := tok != nil || len(w.site.Headers) > 0
	out := req.Clone(context.WithValue(req.Context(), credentialedKey{}, credentialed))
	if req.Body != nil && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	for _, h := range w.site.Headers {
		out.Header.Set(h.Name, h.Value.Reveal())
	}
	if tok != nil {
		out.Header.Set("Authorization", "Bearer "+tok.AccessToken.Reveal())
	}
	return t.opts.Base.RoundTrip(out)
}

// Credentialed reports whether the request that got resp carried a token, a configured header or
// a client certificate.
func Credentialed(resp *http.Response) bool {
	if resp.Request == nil {
		return false
	}
	sent, _ := resp.Request.Context().Value(credentialedKey{}).(bool)
	return sent || outbound.Certificate(resp)
}

// explain turns a refused address into the action that would allow it, where one would.
func (t *Transport) explain(ctx context.Context, w *work, err error) error {
	var denied *netguard.DeniedError
	if !errors.As(err, &denied) {
		return err
	}
	return t.opts.Zones.ask(ctx, w.principal, w.origin, denied)
}
