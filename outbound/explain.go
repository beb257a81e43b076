package outbound

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// explain turns an error of net/http into one of ours. A server that asked for a client
// certificate and then hung up may have refused it: it is asked why.
func (t *Transport) explain(ctx context.Context, rec *record, err error) error {
	out := classify(ctx, rec, err)
	if e, ok := out.(*Error); ok && e.code == codeReset && rec.entry != nil && ctx.Err() == nil {
		if f := t.askWhy(ctx, rec, err); f != nil {
			out = f
		}
	}
	t.report(ctx, rec, out, err)
	return out
}

// askWhy has whoever hung up, which is err, say why, nil where it was not for our certificate. Asking
// takes a signature, and with a key that lives elsewhere perhaps a person: there, what is known is
// said instead.
func (t *Transport) askWhy(ctx context.Context, rec *record, err error) *tlsfault.Failure {
	e := rec.entry
	elsewhere := e.key.keyElsewhere()
	switch {
	case elsewhere && !rec.unanswered():
		return nil
	case e.origin == nil && e.proxy != nil:
		return t.askProxy(ctx, e, e.proxy.last.Load(), err)
	case e.origin == nil || !rec.seen().Asked():
		return nil
	case elsewhere:
		return explainOrigin(unasked(err), e, rec.seen())
	}
	return t.probes.of(probed{to: e.key.to, proxy: e.key.proxy, material: e.key.material}).ask(ctx, func(ctx context.Context) *tlsfault.Failure { return t.probeOrigin(ctx, e) })
}

func unasked(err error) error { return fmt.Errorf("%w: %w", tlsfault.ErrUnasked, err) }

// classify says what err is by itself.
func classify(ctx context.Context, rec *record, err error) error {
	if e := own(err); e != nil {
		return e
	}
	if f := slowKey(rec, err); f != nil {
		return f
	}
	// Why a connection was closed without a word is asked of the server, not guessed.
	if !stopped(err) && !closedEarly(err) {
		if f := explainTLS(rec, err); f != nil {
			return f
		}
	}
	host := authority(rec.to)
	e := describe(ctx, host, err)
	if e.code == codeProtocol && !rec.connected() {
		e.message = "the request to " + host + " could not be sent"
		e.hint = "it holds something that HTTP does not allow, or this machine cannot open a connection"
	}
	return e
}

// explainTLS explains err by the handshake with the one it is about.
func explainTLS(rec *record, err error) *tlsfault.Failure {
	e := rec.entry
	if e == nil {
		return nil
	}
	var proxy *proxyTLSError
	if e.proxy != nil && (e.origin == nil || errors.As(err, &proxy)) {
		return explainProxy(err, e, e.proxy.last.Load())
	}
	return explainOrigin(err, e, rec.seen())
}

func explainOrigin(err error, e *entry, seen *tlsmat.Seen) *tlsfault.Failure {
	return tlsfault.Explain(err, e.key.to.Host(), e.key.material, seen)
}

// slowKey explains a deadline that passed while our own key signed. The handshake goes on, for the
// next request.
func slowKey(rec *record, err error) *tlsfault.Failure {
	e := rec.entry
	if e == nil || !errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if now, _ := rec.seen().Signing(); now {
		return explainOrigin(tlsfault.ErrUnsigned, e, rec.seen())
	}
	if e.proxy == nil || rec.connected() {
		return nil
	}
	if now, _ := e.proxy.last.Load().Signing(); now {
		return explainProxy(tlsfault.ErrUnsigned, e, e.proxy.last.Load())
	}
	return nil
}

// own finds an error that says everything already.
func own(err error) error {
	var denied *netguard.DeniedError
	if errors.As(err, &denied) {
		return denied
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var failure *tlsfault.Failure
	if errors.As(err, &failure) {
		return failure
	}
	return nil
}
