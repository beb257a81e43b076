package tlsfault

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// scripted is a connection whose other side says what it always says.
type scripted struct {
	net.Conn
	says io.Reader
}

func (c scripted) Read(p []byte) (int, error)       { return c.says.Read(p) }
func (c scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (c scripted) Close() error                     { return nil }
func (c scripted) SetDeadline(time.Time) error      { return nil }
func (c scripted) SetReadDeadline(time.Time) error  { return nil }
func (c scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer: whatever comes in place of a handshake, what we say of it is fit to print.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"", "HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-x\r\n", "\x15\x03\x03\x00\x02\x02\x28", "\x15\x03\x03\x00\x02\x02\x74",
		"\x15\x03\x03\x00\x02\x01\x00", "\x16\x03\x03\x00\x04\x0e\x00\x00\x00", "\x16\x03\x01\xff\xff", "\x15\x03\x03\x00\x02\x02\xff", "\x17\x03\x03\x00\x01\x00"} {
		f.Add([]byte(seed))
	}
	clients := tlstest.NewCA("Clients")
	dir := f.TempDir()
	e := tlsmat.Entry{Name: "corp"}
	var err error
	if e.Cert, e.Key, err = clients.Issue(tlstest.Leaf{CN: "alice", Client: true}).Write(dir, "client"); err != nil {
		f.Fatal(err)
	}
	m, err := tlsmat.Load(f.Context(), e)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, m := range []*tlsmat.Material{nil, m} {
			seen := &tlsmat.Seen{}
			conn := tls.Client(scripted{says: bytes.NewReader(said)}, m.TLSConfig("site.test"))
			err := conn.HandshakeContext(tlsmat.WithSeen(t.Context(), seen))
			if err == nil {
				t.Fatal("a handshake with nobody")
			}
			for _, f := range []*Failure{Explain(err, "site.test", m, seen), Explain(err, string(said), m, nil), ExplainProxy(err, string(said), m, seen)} {
				if f == nil {
					continue
				}
				if f.Code() == "" {
					t.Error("no code")
				}
				printable(t, f)
			}
		}
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return scripted{says: bytes.NewReader(said)}, nil
		}}
		if resp, err := transport.RoundTrip(get(t, "http://site.test/")); err == nil {
			_ = resp.Body.Close()
		} else if f := Explain(err, "site.test", nil, nil); f != nil {
			printable(t, f)
		}
	})
}

// FuzzStatus: the same for answers.
func FuzzStatus(f *testing.F) {
	f.Add(400, []byte(nginxPage("The SSL certificate error")), "site.test", true)
	f.Add(496, []byte(nil), "site\x1b{facts}", false)
	known := map[bool]*tlsmat.Seen{true: asked(f, nil)}
	f.Fuzz(func(t *testing.T, status int, body []byte, host string, ask bool) {
		seen := known[ask]
		if f := ExplainStatus(&http.Response{StatusCode: status}, body, host, nil, seen); f != nil {
			printable(t, f)
		}
	})
}
