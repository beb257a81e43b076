package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
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
	case strings.Contains(err.Error(), http11Required): // RFC 9113 §7
		e.code, e.message = codeProtocol, whom+" wants HTTP/1.1 for this request and not HTTP/2"
		e.hint = "servers say so where they ask for a client certificate, or for Windows authentication, only after the request: " +
			"have the server ask for the certificate at the start of the connection, for the whole site or under a host name of its own"
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
	for _, sentence := range closings {
		if strings.Contains(err.Error(), sentence) {
			return true
		}
	}
	return false
}

var closings = []string{
	"server closed idle connection", "CloseIdleConnections called", "readLoop exiting", "after connection loss", // HTTP/1.1
	"client connection lost", "client connection force closed", "client conn is closed", "client conn not usable",
	"client conn could not be established", "server sent GOAWAY", "graceful shutdown GOAWAY", "received from peer",
}

// http11Required is the name of an HTTP/2 error code.
const http11Required = "HTTP_1_1_REQUIRED"

func headersTooLarge(err error) bool {
	return strings.Contains(err.Error(), "response headers exceeded") || strings.Contains(err.Error(), "response header list larger")
}
