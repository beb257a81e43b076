package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// coded is what every error that a person can do something about has.
type coded interface {
	error
	Code() string
	Hint() string
}

func TestErrors(t *testing.T) {
	useResolver(t, map[string][]string{"inside.example.": {"10.98.76.54"}, "broken.example.": nil})
	free := listen(t, func(net.Conn) {})
	free.Close()
	for _, tt := range []struct {
		name      string
		url       string         // "": the address of serve
		serve     func(net.Conn) // a server of raw bytes
		secure    bool           // https
		timeout   time.Duration  // of the request, 0: none
		code      string
		message   string // with $ for host:port
		retryable bool
		cause     error
	}{
		{name: "name not found", url: "https://absent.example/s3cret?s3cret", code: codeDNS, message: "absent.example was not found in the DNS"},
		{name: "DNS fails", url: "https://broken.example/s3cret?s3cret", code: codeDNS, message: "the DNS did not answer for broken.example", retryable: true},
		{name: "denied", url: "https://inside.example/s3cret?s3cret", code: "network.address_denied", message: "connecting to inside.example is not allowed: it is a private address"},
		{name: "refused", url: "http://" + free.Addr().String() + "/s3cret", code: codeRefused,
			message: free.Addr().String() + " refused the connection", retryable: true, cause: syscall.ECONNREFUSED},
		{name: "closed at once", serve: answerRaw(""), code: codeReset, message: "$ closed the connection before the answer was complete", retryable: true},
		{name: "closed in the header", serve: answerRaw("HTTP/1.1 200 OK\r\nX-A: b\r\n"), code: codeReset,
			message: "$ closed the connection before the answer was complete", retryable: true, cause: io.ErrUnexpectedEOF},
		{name: "reset", serve: reset, code: codeReset, message: "$ closed the connection before the answer was complete", retryable: true},
		{name: "closed in the body", serve: answerRaw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), code: codeReset,
			message: "$ closed the connection before the answer was complete", retryable: true, cause: io.ErrUnexpectedEOF},
		{name: "no HTTP", serve: answerRaw("SSH-2.0-s3cret\r\n"), code: codeProtocol, message: "$ did not answer with valid HTTP"},
		{name: "malformed header", serve: answerRaw("HTTP/1.1 200 OK\r\nno colon s3cret\r\n\r\n"), code: codeProtocol, message: "$ did not answer with valid HTTP"},
		{name: "header too large", serve: answerRaw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n"), code: codeProtocol,
			message: "$ sent response headers larger than 64 KiB"},
		{name: "silence", serve: silent, timeout: 50 * time.Millisecond, code: codeTimeout, message: "$ did not answer in time", retryable: true,
			cause: context.DeadlineExceeded},
		{name: "silence in the handshake", serve: silent, secure: true, timeout: 50 * time.Millisecond, code: codeTimeout, message: "$ did not answer in time",
			retryable: true, cause: context.DeadlineExceeded},
		{name: "silence in the body", serve: func(c net.Conn) {
			answerRaw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")(c)
			silent(c)
		}, timeout: 200 * time.Millisecond, code: codeTimeout, message: "$ did not answer in time", retryable: true, cause: context.DeadlineExceeded},
		{name: "plain HTTP on an https port", serve: answerRaw("HTTP/1.1 400 s3cret\r\n\r\n"), secure: true, code: "tls.not_tls", message: "127.0.0.1 does not speak TLS on this port, but plain HTTP"},
		{name: "closed in the handshake", serve: answerRaw(""), secure: true, code: codeReset,
			message: "$ closed the connection before the answer was complete", retryable: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, target := "", tt.url
			if tt.serve != nil {
				l := listen(t, tt.serve)
				host = l.Addr().String()
				target = "http://" + host + "/s3cret?s3cret"
				if tt.secure {
					target = "https" + strings.TrimPrefix(target, "http")
				}
			}
			var log bytes.Buffer
			tr := newTransport(t, Options{Rules: loopback, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			req := newRequest(t, "alice", http.MethodGet, target, "")
			if tt.timeout != 0 {
				ctx, cancel := context.WithTimeout(req.Context(), tt.timeout)
				defer cancel()
				req = req.WithContext(ctx)
			}
			err := fetch(tr, req)
			var got coded
			if !errors.As(err, &got) || err != error(got) {
				t.Fatalf("error %T %v, want one with a code", err, err)
			}
			if want := strings.ReplaceAll(tt.message, "$", host); got.Code() != tt.code || got.Error() != want {
				t.Errorf("%s: %q, want %s: %q", got.Code(), got, tt.code, want)
			}
			if got.Hint() == "" {
				t.Error("no hint")
			}
			if e, ok := err.(*Error); ok && e.Retryable() != tt.retryable {
				t.Errorf("Retryable() = %v, want %v", e.Retryable(), tt.retryable)
			}
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("errors.Is(%v, %v) = false", errors.Unwrap(err), tt.cause)
			}
			for _, text := range []string{err.Error(), got.Hint()} {
				if strings.Contains(text, "s3cret") || strings.Contains(text, "10.98.76.54") {
					t.Errorf("%q shows what it must not", text)
				}
			}
			if strings.Contains(log.String(), "/s3cret") {
				t.Errorf("the log shows the URL: %s", &log)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	l := listen(t, silent)
	ctx, cancel := context.WithCancel(t.Context())
	req := newRequest(t, "alice", http.MethodGet, "http://"+l.Addr().String(), "")
	time.AfterFunc(50*time.Millisecond, cancel)
	err := fetch(newTransport(t, Options{Rules: loopback}), req.WithContext(principal.With(ctx, "alice")))
	e, ok := err.(*Error)
	if !ok || e.Code() != codeCanceled || e.Retryable() || !errors.Is(err, context.Canceled) {
		t.Errorf("error %#v, want %s", err, codeCanceled)
	}
}

// TestUnsendable: the fault is in the request, not with the host.
func TestUnsendable(t *testing.T) {
	site := newSite(t, false, nil)
	req := newRequest(t, "alice", http.MethodGet, site.URL, "")
	req.Header["X-Bad"] = []string{"s3cret\r\nX-Injected: 1"}
	err := fetch(newTransport(t, Options{Rules: loopback}), req)
	if want := "the request to " + mustURL(t, site.URL).Host + " could not be sent"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if n := site.connections(); n != 0 {
		t.Errorf("%d connections, want 0", n)
	}
}

func TestTLSFailures(t *testing.T) {
	for _, tt := range []struct {
		name     string
		material func(t *testing.T) *tlsmat.Material
		max      uint16
		auth     tls.ClientAuthType
		code     string
	}{
		{"unknown server CA", func(*testing.T) *tlsmat.Material { return nil }, 0, tls.NoClientCert, "tls.server_ca_unknown"},
		{"no certificate, TLS 1.2", rootsMaterial, tls.VersionTLS12, tls.RequireAndVerifyClientCert, "tls.client_cert_required"},
		{"no certificate, TLS 1.3", rootsMaterial, 0, tls.RequireAndVerifyClientCert, "tls.client_cert_required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := askForCertificate()
			config.ClientAuth = tt.auth
			site := newSite(t, false, config)
			site.TLS.MaxVersion = tt.max
			m := tt.material(t)
			err := fetch(newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }}),
				newRequest(t, "alice", http.MethodGet, site.URL+"/s3cret", ""))
			failure, ok := err.(*tlsfault.Failure)
			if !ok || failure.Code() != tt.code || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %T %v, want a Failure %s", err, err, tt.code)
			}
			if n := len(site.all()); n != 0 {
				t.Errorf("the server received %d requests, want 0", n)
			}
		})
	}
}

// TestRefusalOvertaken sends bodies so large that the server's reset overtakes its alert: the
// reason must come out all the same.
func TestRefusalOvertaken(t *testing.T) {
	config := askForCertificate()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	for _, h2 := range []bool{false, true} {
		site := newSite(t, h2, config)
		m := rootsMaterial(t)
		tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
		const want = "requires a client certificate, and none is configured"
		for range 20 {
			err := fetch(tr, newRequest(t, "alice", http.MethodPost, site.URL, strings.Repeat("x", 1<<20)))
			if !isA[*tlsfault.Failure](err) || !strings.Contains(err.Error(), want) {
				t.Fatalf("HTTP/2 %v: error %T %v, want %q", h2, err, err, want)
			}
		}
	}
}

// TestHangUpIsNotARefusal: a server that asks for a certificate, and would take anybody, may close
// a connection for a reason of its own.
func TestHangUpIsNotARefusal(t *testing.T) {
	site := newSite(t, false, askForCertificate())
	site.handle = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	m := rootsMaterial(t)
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	err := fetch(tr, newRequest(t, "alice", http.MethodPost, site.URL, "x"))
	if e, ok := err.(*Error); !ok || e.Code() != codeReset {
		t.Errorf("error %T %v, want %s", err, err, codeReset)
	}
}

func TestHeaderTooLargeHTTP2(t *testing.T) {
	site := newSite(t, true, askForCertificate())
	site.handle = func(w http.ResponseWriter, _ *http.Request) {
		for range 65 {
			w.Header().Add("X", strings.Repeat("x", 1<<10))
		}
	}
	m := rootsMaterial(t)
	err := fetch(newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }}),
		newRequest(t, "alice", http.MethodGet, site.URL, ""))
	if err == nil || !strings.HasSuffix(err.Error(), "sent response headers larger than 64 KiB") {
		t.Errorf("error %v (%v)", err, errors.Unwrap(err))
	}
}

// TestDenialReachesNoServer: whatever name or rule leads there, no byte arrives.
func TestDenialReachesNoServer(t *testing.T) {
	site := newSite(t, false, nil)
	port := mustURL(t, site.URL).Port()
	useResolver(t, map[string][]string{"rebound.example.": {"127.0.0.1"}})
	var guard netguard.Guard
	guard.Own(netip.MustParseAddrPort("127.0.0.1:" + port))
	closedRules := func(context.Context, origin.Origin) (netguard.Rules, error) { return netguard.Rules{}, nil }
	for _, tt := range []struct {
		name  string
		host  string
		guard *netguard.Guard
		rules func(context.Context, origin.Origin) (netguard.Rules, error)
	}{
		{"literal", "127.0.0.1", nil, closedRules},
		{"mapped literal", "[::ffff:127.0.0.1]", nil, closedRules},
		{"name", "rebound.example", nil, closedRules},
		{"unspecified", "0.0.0.0", nil, loopback},
		{"our own listener", "127.0.0.1", &guard, loopback},
		{"our own listener by name", "rebound.example", &guard, loopback},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := fetch(newTransport(t, Options{Guard: tt.guard, Rules: tt.rules}), newRequest(t, "alice", http.MethodGet, "http://"+tt.host+":"+port+"/", ""))
			if _, ok := err.(*netguard.DeniedError); !ok {
				t.Errorf("error %T %v, want a DeniedError", err, err)
			}
			if n := site.connections(); n != 0 {
				t.Errorf("the server saw %d connections, want 0", n)
			}
		})
	}
}

// fetch returns the error of the exchange or of reading its body.
func fetch(tr *Transport, req *http.Request) error {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// listen serves raw connections, each closed when serve returns.
func listen(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l
}

// answerRaw waits for a request and sends text.
func answerRaw(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 64<<10))
		_, _ = io.WriteString(c, text)
	}
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func reset(c net.Conn) {
	_, _ = c.Read(make([]byte, 1))
	_ = c.(*net.TCPConn).SetLinger(0)
}

// useResolver answers all names from a table while the test runs: nil addresses are a server
// failure, an absent name does not exist.
func useResolver(t *testing.T, table map[string][]string) {
	t.Helper()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			query := make([]byte, 2+512)
			n, err := server.Read(query)
			if err == nil && n <= 2 {
				_, err = server.Read(query[2:])
			}
			if err == nil {
				_, _ = server.Write(answerDNS(query[2:], table))
			}
		}()
		return client, nil
	}}
}

func answerDNS(query []byte, table map[string][]string) []byte {
	var p dnsmessage.Parser
	header, _ := p.Start(query)
	question, _ := p.Question()
	header.Response = true
	m := dnsmessage.Message{Header: header, Questions: []dnsmessage.Question{question}}
	addrs, ok := table[question.Name.String()]
	switch {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case addrs == nil:
		m.RCode = dnsmessage.RCodeServerFailure
	}
	for _, s := range addrs {
		if question.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(s).As4()},
			})
		}
	}
	b, err := m.Pack()
	if err != nil {
		panic(fmt.Sprintf("DNS answer: %v", err))
	}
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}
