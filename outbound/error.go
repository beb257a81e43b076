package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
)

const (
	codeDNS         = "network.dns"
	codeRefused     = "network.refused"
	codeTimeout     = "network.timeout"
	codeReset       = "network.reset"
	codeUnreachable = "network.unreachable"
	codeProxy       = "network.proxy"
	codeProtocol    = "network.protocol"
	codeCanceled    = "network.canceled"
)

// Error is a request that got no complete response, for another reason than TLS or policy.
type Error struct {
	Err error // what the network or net/http said; nil: nothing; not printed

	code, message, hint string
	retryable           bool
}

func (e *Error) Error() string { return e.message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code is the stable machine code: network.dns, network.refused, network.timeout, network.reset,
// network.unreachable, network.proxy, network.protocol or network.canceled.
func (e *Error) Code() string { return e.code }

// Hint says what to do.
func (e *Error) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return hints[e.code]
}

// Retryable reports whether the same request may succeed later, nothing else being changed.
func (e *Error) Retryable() bool { return e.retryable || e.code == codeTimeout || e.code == codeReset }

var hints = map[string]string{
	codeDNS:         "check the spelling of the host; a name inside an organisation may need its VPN",
	codeRefused:     "check the port and that the server is running",
	codeTimeout:     "try again later; if it stays so, a firewall or a missing VPN may be in the way",
	codeReset:       "try again; if it stays so, the server or something on the way to it refuses the request",
	codeUnreachable: "check the network connection, the VPN and the firewall of this machine",
	codeProtocol:    "check the scheme and the port of the URL; another service may be listening there",
	codeCanceled:    "call again if the result is still wanted",
}

// explain turns an error of net/http into one of ours. A server that asked for a client
// certificate and then hung up may have refused it: it is asked why.
func (t *Transport) explain(ctx context.Context, rec *record, err error) error {
	out := classify(ctx, rec, err)
	if e, ok := out.(*Error); ok && e.code == codeReset && rec.entry != nil && ctx.Err() == nil {
		if f := t.askWhy(ctx, rec); f != nil {
			out = f
		}
	}
	t.report(ctx, rec, out, err)
	return out
}

// askWhy has whoever hung up say why, nil where it was not for our certificate.
func (t *Transport) askWhy(ctx context.Context, rec *record) *tlsfault.Failure {
	e := rec.entry
	switch {
	case e.origin != nil && rec.seen().Asked():
		return e.originProbe.ask(ctx, func(ctx context.Context) *tlsfault.Failure { return t.probeOrigin(ctx, e) })
	case e.origin == nil && e.proxy != nil:
		return t.askProxy(ctx, e, e.proxy.last.Load())
	}
	return nil
}

// root is the innermost error. Its type says what happened; its text may repeat what a server sent,
// and with it what we had sent.
func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func classify(ctx context.Context, rec *record, err error) error {
	if e := own(err); e != nil {
		return e
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
	return tlsfault.Explain(err, e.key.to.Host(), e.key.material, rec.seen())
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

// stopped reports whether it was time or the caller that ended things.
func stopped(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// describe names what happened between us and whom, a host or the proxy.
func describe(ctx context.Context, whom string, err error) *Error {
	e := &Error{Err: err}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(ctx.Err(), context.Canceled):
		e.code, e.message = codeCanceled, "the request to "+whom+" was cancelled"
	case errors.As(err, &dns) && dns.IsNotFound:
		e.code, e.message = codeDNS, whom+" was not found in the DNS"
	case errors.As(err, &dns):
		e.code, e.message, e.retryable = codeDNS, "the DNS did not answer for "+whom, true
	case stopped(err) || is(err, timedOut):
		e.code, e.message = codeTimeout, whom+" did not answer in time"
	case is(err, refused):
		e.code, e.message, e.retryable = codeRefused, whom+" refused the connection", true
	case is(err, unreachable):
		e.code, e.message, e.retryable = codeUnreachable, whom+" cannot be reached from this machine", true
	case closedEarly(err):
		e.code, e.message = codeReset, whom+" closed the connection before the answer was complete"
	case headersTooLarge(err):
		e.code, e.message = codeProtocol, whom+" sent response headers larger than 64 KiB"
		e.hint = "such a response is not accepted; a proxy or the application behind the URL may be at fault"
	default:
		e.code, e.message = codeProtocol, whom+" did not answer with valid HTTP"
	}
	return e
}

// The numbers above 10000 are those of Windows sockets, which syscall has no names for.
var (
	refused     = []syscall.Errno{syscall.ECONNREFUSED, 10061}
	timedOut    = []syscall.Errno{syscall.ETIMEDOUT, 10060}
	unreachable = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
		syscall.EAFNOSUPPORT, syscall.EACCES, syscall.EPERM, 10065, 10051, 10050, 10049, 10047, 10013}
	closed = []syscall.Errno{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, 10054, 10053}
)

func is(err error, numbers []syscall.Errno) bool {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return false
	}
	for _, n := range numbers {
		if no == n {
			return true
		}
	}
	return false
}

// closedEarly also knows the sentences of net/http for a connection that went away; they have no
// type, and a wrong guess costs the message only.
func closedEarly(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || is(err, closed) {
		return true
	}
	for _, sentence := range []string{
		"server closed idle connection", "CloseIdleConnections called", "readLoop exiting", "after connection loss", // HTTP/1.1
		"client connection lost", "client connection force closed", "client conn is closed", "client conn not usable",
		"client conn could not be established", "server sent GOAWAY", "graceful shutdown GOAWAY", "received from peer",
	} {
		if strings.Contains(err.Error(), sentence) {
			return true
		}
	}
	return false
}

func headersTooLarge(err error) bool {
	return strings.Contains(err.Error(), "response headers exceeded") || strings.Contains(err.Error(), "response header list larger")
}
