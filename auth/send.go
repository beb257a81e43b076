package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Credentialed reports whether the request that got resp carried a token, a configured header or
// a client certificate.
func Credentialed(resp *http.Response) bool {
	return len(Secrets(resp)) > 0 || outbound.Certificate(resp)
}

// Secrets are the token, the proof and the configured headers that the request carried which got resp.
func Secrets(resp *http.Response) []secret.Text {
	if resp.Request == nil {
		return nil
	}
	secrets, _ := resp.Request.Context().Value(sentKey{}).(carried)
	return secrets
}

// sentKey leads to what a request carried, [carried].
type sentKey struct{}

type carried []secret.Text

// send sends the request with what its origin is owed. Where the server only wants its new nonce in
// the proof, the request is sent once more with it (RFC 9449 §9).
func (t *Transport) send(w *work, tok *tokenstore.Token, body io.ReadCloser) (*http.Response, error) {
	resp, renewed, err := t.sendOnce(w, tok, body)
	if err != nil || !renewed || !isDPoP(tok) || !asksForNonce(resp, tok) || !repeatable(w.req) {
		return resp, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxKept) // or else the connection is lost
	_ = resp.Body.Close()
	if body, err = bodyAgain(w.req); err != nil {
		return nil, err
	}
	resp, _, err = t.sendOnce(w, tok, body)
	return resp, err
}

// sendOnce sends a copy of the request. renewed reports that the answer carries a nonce which the
// request did not have.
func (t *Transport) sendOnce(w *work, tok *tokenstore.Token, body io.ReadCloser) (resp *http.Response, renewed bool, err error) {
	ctx := w.req.Context()
	out := w.req.Clone(ctx)
	out.Body = body
	if out.Header == nil {
		out.Header = http.Header{}
	}
	secrets := w.addHeaders(out, tok != nil)
	var nonce string
	if tok != nil {
		nonce = t.nonces.Get(w.principal, w.origin)
		proof, err := t.authorize(w, out, tok, nonce)
		if err != nil {
			if body != nil {
				_ = body.Close()
			}
			return nil, false, err
		}
		secrets = append(secrets, tok.AccessToken)
		if !proof.IsZero() {
			secrets = append(secrets, proof)
		}
	}
	resp, err = t.opts.Base.RoundTrip(out.WithContext(context.WithValue(ctx, sentKey{}, secrets)))
	if err != nil {
		return nil, false, t.explain(ctx, w, err)
	}
	return resp, t.nonces.Note(w.principal, w.origin, resp.Header, nonce), nil
}

// addHeaders adds the configured headers, and returns those that are secret. Beside a token there is
// no other credential in its headers.
func (w *work) addHeaders(out *http.Request, withToken bool) (secrets carried) {
	if withToken {
		out.Header.Del("DPoP")
	}
	for _, h := range w.site.Headers {
		if withToken && (strings.EqualFold(h.Name, "Authorization") || strings.EqualFold(h.Name, "DPoP")) {
			continue
		}
		out.Header.Set(h.Name, h.Value.Reveal())
		if !public(h.Name) {
			secrets = append(secrets, h.Value)
		}
	}
	return secrets
}

// public reports whether a header says nothing that a site must not repeat.
func public(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return strings.HasPrefix(name, "Accept") || slices.Contains([]string{"User-Agent", "X-Requested-With", "Cache-Control", "Pragma", "Content-Type", "Dnt"}, name)
}

// repeatable reports whether the request can be sent a second time.
func repeatable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// bodyAgain returns the body of a repeatable request to send it another time.
func bodyAgain(req *http.Request) (io.ReadCloser, error) {
	if req.GetBody == nil {
		return req.Body, nil
	}
	return req.GetBody()
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

// explain turns a refused address into the action that would allow it, where one would.
func (t *Transport) explain(ctx context.Context, w *work, err error) error {
	var denied *netguard.DeniedError
	if !errors.As(err, &denied) {
		return err
	}
	return t.opts.Zones.ask(ctx, w.principal, w.origin, denied)
}
