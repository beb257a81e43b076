package outbound

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// TestClosings: the sentences we look for are those of this Go's net/http. A sentence that it
// rewords must be reworded here.
func TestClosings(t *testing.T) {
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("no go command")
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", "net", "http", "*.go"))
	if err != nil || len(files) == 0 {
		t.Skip("no sources of net/http")
	}
	var source strings.Builder
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			source.Write(b)
		}
	}
	for _, sentence := range append([]string{http11Required, "response headers exceeded", "response header list larger"}, closings...) {
		if !strings.Contains(source.String(), sentence) {
			t.Errorf("net/http says %q no more", sentence)
		}
	}
	for _, sentence := range closings {
		if e := describe(t.Context(), "site.test", errors.New("http2: "+sentence+" …")); e.Code() != codeReset || !e.Retryable() {
			t.Errorf("%q is told as %s", sentence, e.Code())
		}
	}
}

// TestEndOfAStream: how a server of HTTP/2 ends a request without an answer.
func TestEndOfAStream(t *testing.T) {
	for _, tt := range []struct {
		name    string
		end     func(*http2.Framer) error
		code    string
		message string
		hint    string
	}{
		{"HTTP/1.1 required", func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeHTTP11Required) },
			codeProtocol, "$ wants HTTP/1.1 for this request and not HTTP/2", "client certificate"},
		{"internal error", func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeInternal) },
			codeReset, "$ closed the connection before the answer was complete", "try again"},
		{"going away", func(f *http2.Framer) error { return f.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, []byte("s3cret")) },
			codeReset, "$ closed the connection before the answer was complete", "try again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := testCA().ServerConfig("127.0.0.1")
			config.NextProtos = []string{"h2"}
			l := listen(t, func(c net.Conn) {
				s := tls.Server(c, config)
				_, _ = io.ReadFull(s, make([]byte, len(http2.ClientPreface)))
				f := http2.NewFramer(s, s)
				_ = f.WriteSettings()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if frame.Header().Type == http2.FrameHeaders {
						_ = tt.end(f)
						if tt.code == codeReset {
							return
						}
					}
				}
			})
			m := rootsMaterial(t)
			tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
			err := fetch(tr, newRequest(t, "alice", http.MethodPost, "https://"+l.Addr().String(), "x"))
			e, ok := err.(*Error)
			if want := strings.ReplaceAll(tt.message, "$", l.Addr().String()); !ok || e.Code() != tt.code || e.Error() != want || !strings.Contains(e.Hint(), tt.hint) {
				t.Errorf("error %T %v, want %s: %s", err, err, tt.code, want)
			}
		})
	}
}

// TestFailedOnARetiredWay: also a request that failed leaves nothing open behind it.
func TestFailedOnARetiredWay(t *testing.T) {
	open := make(chan int, 100)
	former := listen(t, func(c net.Conn) {
		open <- 1
		defer func() { open <- -1 }()
		for {
			if n, err := c.Read(make([]byte, 4096)); n == 0 || err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		}
	})
	answers := []*Proxy{via(t, "http://"+former.Addr().String(), nil)(origin.Origin{}), via(t, "http://127.0.0.1:9", nil)(origin.Origin{})}
	tr := newTransport(t, Options{Rules: loopback, Proxy: func(origin.Origin) *Proxy {
		p := answers[0]
		answers = answers[1:]
		return p
	}})
	err := fetch(tr, newRequest(t, "alice", http.MethodGet, "http://127.0.0.1:9/", ""))
	if e, ok := err.(*Error); !ok || e.Code() != codeProxy {
		t.Fatalf("error %T %v", err, err)
	}
	n := 0
	waitFor(t, "the connection to close", func() bool {
		for {
			select {
			case d := <-open:
				if n += d; n == 0 {
					return true
				}
			default:
				return false
			}
		}
	})
}

// TestClientHello: TLS 1.3's authentication after the handshake (RFC 8446 §4.6.2) is not offered, so
// nobody may ask for it (§4.2.6) and wait.
func TestClientHello(t *testing.T) {
	for _, name := range []string{"with a certificate", "without"} {
		t.Run(name, func(t *testing.T) {
			hello := make(chan []byte, 1)
			l := listen(t, func(c net.Conn) {
				b := make([]byte, 16<<10)
				n, _ := io.ReadAtLeast(c, b, 5)
				for n < 5+int(b[3])<<8+int(b[4]) { // RFC 8446 §5.1
					more, err := c.Read(b[n:])
					if err != nil {
						break
					}
					n += more
				}
				hello <- b[:n]
			})
			m := rootsMaterial(t)
			if name == "with a certificate" {
				m = clientMaterial(t, "client")
			}
			tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
			_ = fetch(tr, newRequest(t, "alice", http.MethodGet, "https://"+l.Addr().String(), ""))
			got := extensions(t, <-hello)
			if !got[43] || !got[13] { // supported_versions, signature_algorithms: it is a ClientHello of TLS 1.3, and well read
				t.Fatalf("extensions %v", got)
			}
			if got[49] {
				t.Error("post_handshake_auth is offered")
			}
		})
	}
}

// extensions of a ClientHello that is one record, RFC 8446 §4.1.2.
func extensions(t *testing.T, record []byte) map[int]bool {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("no ClientHello: %x", record)
		}
	}()
	b := record[5+4+2+32:]           // headers, version, random
	b = b[1+int(b[0]):]              // session id
	b = b[2+int(b[0])<<8+int(b[1]):] // cipher suites
	b = b[1+int(b[0]):]              // compression methods
	found := map[int]bool{}
	for b = b[2 : 2+int(b[0])<<8+int(b[1])]; len(b) > 0; b = b[4+int(b[2])<<8+int(b[3]):] {
		found[int(b[0])<<8+int(b[1])] = true
	}
	return found
}
