// Package tlsfault explains TLS failures: what happened, to which file or setting, and what to do.
package tlsfault

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// Failure is a TLS failure in one sentence, with what to do about it.
type Failure struct {
	Message string
	Err     error // the cause; nil when it was an HTTP answer

	id     string // of the [catalogue.Cause]; "" for an error that came with its own words
	code   string
	remedy string
}

func (f *Failure) Error() string { return f.Message }

// Code is the stable machine code, such as tls.client_cert_required.
func (f *Failure) Code() string { return f.code }

// Hint says what to do.
func (f *Failure) Hint() string { return f.remedy }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Errors for [Explain] from whoever makes handshakes.
var (
	// ErrUnsigned: time was up, and the key of the client certificate had not signed.
	ErrUnsigned = errors.New("the client key has not signed")
	// ErrUnasked is wrapped together with what happened: the server hung up and was not asked again
	// why, as that takes another signature of a key that lives elsewhere.
	ErrUnasked = errors.New("the server was not asked why")
)

// Explain says what err, from a request to host, means. It returns nil when err has nothing to do
// with TLS. m and seen are what the request was made with; both may be nil.
func Explain(err error, host string, m *tlsmat.Material, seen *tlsmat.Seen) *Failure {
	x := newExchange(host, m, seen)
	x.err = err
	if throughProxy(err) {
		// The proxy is another party: what is known of the host's handshake says nothing of it.
		x = exchange{err: err, host: "the proxy on the way to " + x.host, proxy: true}
	}
	return x.explain()
}

// ExplainProxy is [Explain] for the connection to the https proxy of that name itself; m and seen
// are those of that connection.
func ExplainProxy(err error, name string, m *tlsmat.Material, seen *tlsmat.Seen) *Failure {
	x := newExchange("the proxy "+name, m, seen)
	x.err, x.proxy = err, true
	return x.explain()
}

// throughProxy reports a failure of the connection to an https proxy, where net/http made it.
func throughProxy(err error) bool {
	return walk(err, func(err error) bool {
		op, ok := err.(*net.OpError)
		return ok && op.Op == "proxyconnect"
	})
}

// exchange is one request that failed.
type exchange struct {
	err   error
	host  string // fit to print
	m     *tlsmat.Material
	seen  *tlsmat.Seen
	proxy bool
}

func newExchange(host string, m *tlsmat.Material, seen *tlsmat.Seen) exchange {
	return exchange{host: cmp.Or(sanitize.Line(host, 300), "the server"), m: m, seen: seen}
}

// explain asks one question after another: what we know for sure comes before what the server
// said, and that before guesses.
func (x exchange) explain() *Failure {
	if x.err == nil {
		return nil
	}
	for _, ask := range []func() *Failure{x.explained, x.signing, x.own, x.serverCertificate, x.alert, x.notTLS, x.local, x.closed} {
		if f := ask(); f != nil {
			return f
		}
	}
	return nil
}

// told is an error with words of its own.
type told interface {
	error
	Code() string
	Hint() string
}

// explained finds what this package said before.
func (x exchange) explained() *Failure {
	var done *Failure
	if errors.As(x.err, &done) {
		return done
	}
	return nil
}

// signing: our own key did not work. crypto/tls passes on the text of such an error alone.
func (x exchange) signing() *Failure {
	if now, _ := x.seen.Signing(); now || errors.Is(x.err, ErrUnsigned) {
		return x.fail(signerSlow)
	}
	err := x.seen.SignError()
	if err == nil {
		return nil
	}
	var why told
	if !errors.As(err, &why) {
		return x.fail(signerFailed)
	}
	f := x.fail(signerTold, "reason", sanitize.Line(why.Error(), 500), "advice", sanitize.Line(why.Hint(), 500))
	if strings.HasPrefix(why.Code(), "tls.") {
		f.code = why.Code()
	}
	return f
}

// own passes on the errors of tlsmat about files, pins, revocation and names.
func (x exchange) own() *Failure {
	var why told
	if !errors.As(x.err, &why) || !strings.HasPrefix(why.Code(), "tls.") {
		return nil
	}
	f := &Failure{Message: why.Error(), Err: x.err, code: why.Code(), remedy: why.Hint()}
	if x.proxy {
		f.Message = x.host + ": " + f.Message
	}
	return f
}

// notTLS: the other side speaks something else. In a DialTLSContext of one's own the first bytes
// are all there is to see; net/http says it in words.
func (x exchange) notTLS() *Failure {
	var record tls.RecordHeaderError
	isRecord := errors.As(x.err, &record)
	switch {
	case errors.Is(x.err, http.ErrSchemeMismatch), isRecord && string(record.RecordHeader[:]) == "HTTP/":
		return x.fail(notTLSHTTP)
	case isRecord:
		return x.fail(notTLSOther)
	case strings.Contains(x.err.Error(), `malformed HTTP response "\x15\x03`): // a TLS alert, RFC 8446 §5.1
		return x.fail(notTLSPlain)
	}
	return nil
}

// local recognises what crypto/tls and net/http found wrong by themselves. They have no types for
// it, so it goes by text.
func (x exchange) local() *Failure {
	var found string
	walk(x.err, func(err error) bool {
		if s := err.Error(); strings.HasPrefix(s, "tls: ") || s == "net/http: TLS handshake timeout" {
			found = s
		}
		return found != ""
	})
	switch {
	case found == "":
		return nil
	case strings.Contains(found, "TLS handshake timeout"):
		return x.fail(handshakeTimeout)
	case strings.Contains(found, "unsupported protocol version"):
		return x.version()
	case strings.Contains(found, "any of the certificate's signature algorithms"):
		return x.signatures()
	}
	return x.fail(handshakeLocal, "reason", sanitize.Line(strings.TrimPrefix(found, "tls: "), 300))
}

// closed explains a connection that ended without an alert. With TLS 1.3 the alert about a client
// certificate comes after the handshake, and a reset may overtake it.
func (x exchange) closed() *Failure {
	ended := errors.Is(x.err, io.EOF) || errors.Is(x.err, net.ErrClosed) ||
		errors.Is(x.err, syscall.ECONNRESET) || errors.Is(x.err, syscall.EPIPE) ||
		strings.Contains(x.err.Error(), "http2: client conn could not be established")
	switch {
	case !ended, !x.seen.Asked():
		return nil
	case !x.seen.Sent():
		return x.fail(requiredClosed)
	}
	_, took := x.seen.Signing()
	switch {
	case took >= longSignature:
		return x.fail(signerLate, "took", took.Round(time.Second).String())
	case errors.Is(x.err, ErrUnasked):
		return x.fail(handshakeUnasked)
	}
	return x.fail(handshakeClosed)
}

// longSignature is how long a server may not want to wait for one.
const longSignature = 2 * time.Second
