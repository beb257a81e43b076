package tlsmat

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Failure is a TLS failure in one sentence, with what to do about it.
type Failure struct {
	Message string
	Err     error // the cause; nil when it was an HTTP answer

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

// Explain says what err, from a request to host, means. It returns nil when err has nothing to do
// with TLS. m and seen are what the request was made with; both may be nil.
func Explain(err error, host string, m *Material, seen *Seen) *Failure {
	if err == nil {
		return nil
	}
	var done *Failure
	if errors.As(err, &done) {
		return done
	}
	var load *LoadError
	if errors.As(err, &load) {
		return &Failure{Message: load.Error(), Err: err, code: load.code, remedy: load.hint}
	}
	x := newExchange(host, m, seen)
	x.err = err
	if throughProxy(err) {
		// The proxy is another party: what is known of the host's handshake says nothing of it.
		x.host, x.m, x.seen, x.proxy = "the proxy on the way to "+x.host, nil, nil, true
	}
	if f := x.serverCertificate(); f != nil {
		return f
	}
	if a, remote, ok := findAlert(err); ok {
		return x.alert(a, remote)
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch) {
		return x.fail("tls.not_tls", "use http:// if the server is meant to be plain, or the port where it speaks TLS",
			"%s does not speak TLS on this port", x.host)
	}
	if f := x.local(); f != nil {
		return f
	}
	return x.closed()
}

// ExplainStatus recognises answers by which servers report TLS trouble in HTTP: nginx completes
// the handshake with whatever certificate and answers 400, or its private statuses 495 to 497. It
// returns nil for any other answer. body may be cut off.
func ExplainStatus(status int, body []byte, host string, m *Material, seen *Seen) *Failure {
	says := func(text string) bool { return bytes.Contains(body[:min(len(body), 16<<10)], []byte(text)) }
	bad := status == http.StatusBadRequest
	x := newExchange(host, m, seen)
	switch {
	case status == 496, bad && says("No required SSL certificate was sent"):
		return x.required()
	case status == 495, bad && says("The SSL certificate error"):
		return x.rejected(0)
	case status == 497, bad && says("The plain HTTP request was sent to HTTPS port"),
		bad && says("Client sent an HTTP request to an HTTPS server"):
		return x.fail("tls.not_tls", "use https:// in the URL", "%s speaks TLS on this port, but was asked over plain HTTP", x.host)
	}
	return nil
}

// exchange is one request that failed.
type exchange struct {
	err   error
	host  string // fit to print
	m     *Material
	seen  *Seen
	proxy bool
}

func newExchange(host string, m *Material, seen *Seen) exchange {
	return exchange{host: sanitize.Line(host, 300), m: m, seen: seen}
}

func (x exchange) fail(code, remedy, format string, args ...any) *Failure {
	return &Failure{Message: fmt.Sprintf(format, args...), Err: x.err, code: code, remedy: remedy}
}

// alert explains what one side told the other before it gave up.
func (x exchange) alert(a alert, remote bool) *Failure {
	switch {
	case a == alertProtocolVersion, a == alertInappropriateFallback:
		return x.version()
	case a == alertNoRenegotiation && !remote:
		return x.fail("tls.client_cert_required", "have the server ask for the certificate when the connection starts, or use TLS 1.3 with it for the whole site",
			"%s asks for a client certificate in the middle of a TLS 1.2 connection (renegotiation), which is refused here", x.host)
	case !remote:
		return x.fail("tls.handshake", "check that nothing on the way interferes with the connection, and see the server's log",
			"the connection with %s was refused on this side (%v)", x.host, a)
	}
	switch a {
	case alertUnrecognizedName:
		return x.fail("tls.unrecognized_name", "check the host name in the URL", "the server reached as %s serves no site of that name (%v)", x.host, a)
	case alertCertificateRequired:
		return x.required()
	case alertHandshakeFailure:
		// The same alert means "no certificate" and "nothing in common" in TLS 1.2.
		if x.seen.Asked() {
			if !x.seen.Sent() {
				return x.required()
			}
			return x.rejected(a)
		}
	case alertBadCertificate, alertUnsupportedCertificate, alertCertificateRevoked, alertCertificateExpired,
		alertCertificateUnknown, alertUnknownCA, alertAccessDenied, alertDecryptError:
		if x.offered() {
			return x.rejected(a)
		}
		if x.seen.Asked() {
			return x.required()
		}
	}
	if a == alertHandshakeFailure && x.seen == nil && !x.proxy {
		return x.fail("tls.handshake", "if the site needs a client certificate, "+x.howToSet()+"; otherwise see the server's log",
			"%s ended the TLS handshake (%v): it needs a client certificate, or shares no cipher with this program", x.host, a)
	}
	return x.fail("tls.handshake", "see the server's log for the reason", "%s ended the TLS handshake (%v)", x.host, a)
}

func (x exchange) version() *Failure {
	return x.fail("tls.version", "enable TLS 1.2 or 1.3 on the server; older versions are not used",
		"%s and this program share no TLS version: TLS 1.2 and 1.3 are offered", x.host)
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
		return x.fail("tls.handshake", "check that the port speaks TLS and that no firewall is in between", "%s did not finish the TLS handshake in time", x.host)
	case strings.Contains(found, "unsupported protocol version"):
		return x.version()
	case strings.Contains(found, "any of the certificate's signature algorithms"):
		key := "unknown"
		if leaf := x.m.Leaf(); leaf != nil {
			key = algorithmName(leaf.PublicKey)
		}
		return x.fail("tls.client_cert_rejected", "set "+x.key("cert")+" to a certificate with a key the server accepts, usually RSA 2048 or ECDSA P-256",
			"%s accepts no signature that the client certificate's key (%s) can make%s", x.host, key, x.facts())
	}
	return x.fail("tls.handshake", "see the server's log for the reason", "the TLS handshake with %s failed: %s", x.host, sanitize.Line(strings.TrimPrefix(found, "tls: "), 300))
}

// closed explains a connection that ended without an alert. With TLS 1.3 the alert about a client
// certificate comes after the handshake, and a reset may overtake it.
func (x exchange) closed() *Failure {
	if !x.seen.Asked() {
		return nil
	}
	ended := errors.Is(x.err, io.EOF) || errors.Is(x.err, net.ErrClosed) ||
		errors.Is(x.err, syscall.ECONNRESET) || errors.Is(x.err, syscall.EPIPE) ||
		strings.Contains(x.err.Error(), "http2: client conn could not be established")
	if !ended {
		return nil
	}
	if !x.seen.Sent() {
		f := x.required()
		f.Message = fmt.Sprintf("%s closed the connection after it had asked for a client certificate and got none", x.host)
		return f
	}
	return x.fail("tls.handshake", "see the server's log for whether it refused the certificate, and try again",
		"%s closed the connection without a reason; it had asked for a client certificate and may have refused it%s", x.host, x.facts())
}

// throughProxy reports a failure of the connection to an https proxy.
func throughProxy(err error) bool {
	return walk(err, func(err error) bool {
		op, ok := err.(*net.OpError)
		return ok && op.Op == "proxyconnect"
	})
}
