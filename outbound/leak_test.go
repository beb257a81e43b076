package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// asker is a server that asks for a certificate in every full handshake and notes what it got.
type asker struct {
	at  string // host:port
	mu  sync.Mutex
	got []string // "asked, got none", "asked, got CN", "resumed CN"; or the first bytes of what is not TLS
}

func newAsker(t *testing.T, version uint16, hosts ...string) *asker {
	a := &asker{}
	config := &tls.Config{Certificates: []tls.Certificate{testCA().Issue(tlstest.Leaf{CN: "server", Hosts: hosts}).Cert},
		ClientAuth: tls.RequestClientCert, MaxVersion: version}
	config.SetSessionTicketKeys([][32]byte{{2}})
	l := listen(t, func(c net.Conn) {
		first := make([]byte, 1)
		if _, err := c.Read(first); err != nil {
			return
		}
		if first[0] != 22 { // a TLS handshake record
			a.note("plain " + string(first))
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"))
			return
		}
		s := tls.Server(&unread{Conn: c, first: first}, config)
		if s.Handshake() != nil {
			return
		}
		state := s.ConnectionState()
		says := "asked, got none"
		if len(state.PeerCertificates) > 0 {
			says = "asked, got " + state.PeerCertificates[0].Subject.CommonName
		}
		if state.DidResume {
			says = strings.Replace(says, "asked, got", "resumed", 1)
		}
		a.note(says)
		_, _ = s.Read(make([]byte, 4096))
		_, _ = s.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"))
	})
	a.at = l.Addr().String()
	return a
}

func (a *asker) note(s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, s)
}

func (a *asker) port() string {
	_, port, _ := net.SplitHostPort(a.at)
	return port
}

// unread gives back the first byte.
type unread struct {
	net.Conn
	first []byte
}

// Read implements [net.Conn].
func (c *unread) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// TestNobodyElseGetsTheCertificate: after a visit to the site that is to have it, others who look
// like it, or whom it names, ask for it in vain.
func TestNobodyElseGetsTheCertificate(t *testing.T) {
	useResolver(t, map[string][]string{"a.corp.example.": {"127.0.0.1"}, "b.corp.example.": {"127.0.0.1"}, "evil.example.": {"127.0.0.1"}})
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			ours := newAsker(t, version, "a.corp.example", "*.corp.example", "127.0.0.1", "evil.example")
			other := newAsker(t, version, "a.corp.example", "evil.example")
			named := mustOrigin(t, "https://a.corp.example:"+ours.port())
			m, roots := clientMaterial(t, "client"), rootsMaterial(t)
			tr := newTransport(t, Options{Rules: loopback, Material: func(o origin.Origin) *tlsmat.Material {
				if o == named {
					return m
				}
				return roots
			}})
			for _, tt := range []struct {
				name, url string
				at        *asker
				want      string
			}{
				{"the site", named.String(), ours, "asked, got client"},
				{"again", named.String() + "/x", ours, "resumed client"},
				{"in capitals, with a dot", "HTTPS://A.CORP.EXAMPLE.:" + ours.port(), ours, "resumed client"},
				{"another name of a wildcard certificate", "https://b.corp.example:" + ours.port(), ours, "asked, got none"},
				{"its address", "https://127.0.0.1:" + ours.port(), ours, "asked, got none"},
				{"where a redirect leads", "https://evil.example:" + other.port(), other, "asked, got none"},
				{"another port", "https://a.corp.example:" + other.port(), other, "asked, got none"},
				{"http", "http://a.corp.example:" + ours.port(), ours, "plain G"},
				{"the site at last", named.String() + "/y", ours, "resumed client"},
			} {
				before := len(tt.at.got)
				if got := do(t, tr, newRequest(t, "alice", http.MethodGet, tt.url, "")); got != "ok" {
					t.Errorf("%s: %q", tt.name, got)
				}
				tt.at.mu.Lock()
				if d := cmp.Diff([]string{tt.want}, tt.at.got[before:]); d != "" {
					t.Errorf("%s: the server (-want +got):\n%s", tt.name, d)
				}
				tt.at.mu.Unlock()
			}
		})
	}
}

// TestRedirectIsTheCallers: the transport does not go where a redirect leads.
func TestRedirectIsTheCallers(t *testing.T) {
	other := newAsker(t, 0, "127.0.0.1")
	site := newSite(t, false, askForCertificate())
	site.handle = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+other.at, http.StatusTemporaryRedirect)
	}
	m := clientMaterial(t, "client")
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	resp, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, site.URL, ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(other.got) != 0 || resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("status %d, the other server: %q", resp.StatusCode, other.got)
	}
}

// records are what a logger was given.
type records struct {
	slog.Handler
	mu  sync.Mutex
	all []slog.Record
}

func newRecords() *records { return &records{Handler: slog.DiscardHandler} }

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler].
func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return nil
}

// lines are level, message and attributes.
func (r *records) lines() (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.all {
		line := rec.Level.String() + " " + rec.Message
		rec.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
		lines = append(lines, line)
	}
	return lines
}

// TestTLSFailureIsWarnedOf: where somebody has configured TLS, the log says what the caller was told.
func TestTLSFailureIsWarnedOf(t *testing.T) {
	for _, tt := range []struct {
		name     string
		material func(*testing.T) *tlsmat.Material
		warnings int
	}{
		{"with material", rootsMaterial, 1},
		{"without", func(*testing.T) *tlsmat.Material { return nil }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site := newSite(t, false, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: testCA().Pool()})
			m, log := tt.material(t), newRecords()
			tr := newTransport(t, Options{Rules: loopback, Logger: slog.New(log), Material: func(origin.Origin) *tlsmat.Material { return m }})
			var f *tlsfault.Failure
			for range 3 {
				err := fetch(tr, newRequest(t, "alice", http.MethodGet, site.URL+"/path?query", ""))
				f, _ = err.(*tlsfault.Failure)
				if f == nil {
					t.Fatalf("error %T %v", err, err)
				}
			}
			warnings := 0
			for _, line := range log.lines() {
				if strings.HasPrefix(line, "WARN TLS failure host="+mustURL(t, site.URL).Host) {
					warnings++
					if !strings.Contains(line, "code="+f.Code()+" error="+f.Error()+" hint="+f.Hint()) {
						t.Errorf("the log says %s, the caller was told %s: %s (%s)", line, f.Code(), f, f.Hint())
					}
				} else if !strings.HasPrefix(line, "DEBUG ") {
					t.Errorf("the log says %s", line)
				}
			}
			if warnings != tt.warnings || len(log.lines()) != 3 {
				t.Errorf("%d warnings, want %d: %q", warnings, tt.warnings, log.lines())
			}
		})
	}
}

func TestWarningsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w warned
		a, b := mustOrigin(t, "https://a.example"), mustOrigin(t, "https://b.example")
		for _, tt := range []struct {
			after time.Duration
			of    failureOf
			due   bool
		}{
			{0, failureOf{a, "x"}, true}, {0, failureOf{a, "x"}, false}, {0, failureOf{a, "y"}, true}, {0, failureOf{b, "x"}, true},
			{59 * time.Second, failureOf{a, "x"}, false}, {time.Second, failureOf{a, "x"}, true}, {0, failureOf{a, "x"}, false},
		} {
			time.Sleep(tt.after)
			if got := w.due(tt.of); got != tt.due {
				t.Errorf("%v: due %v, want %v", tt.of, got, tt.due)
			}
		}
		if len(w.at) != 1 {
			t.Errorf("%d kept, want 1", len(w.at))
		}
	})
}

// TestCanary: whatever goes wrong, no secret is in an error or the log, in whatever form.
func TestCanary(t *testing.T) {
	const password, token = "pr0xy-p&ss/w+rd=", "t0k3n-c&nary/+="
	log := newRecords()
	var texts []string
	note := func(err error) {
		texts = append(texts, fmt.Sprintf("%v %+v %#v", err, err, err))
		if c, ok := err.(coded); ok {
			texts = append(texts, c.Hint())
		}
	}
	m := clientMaterial(t, "client")
	key := m.Certificate().PrivateKey
	dead := "http://127.0.0.1:" + freePort(t)
	repeats := listen(t, func(c net.Conn) { // says back what it was sent
		b := make([]byte, 8192)
		n, _ := c.Read(b)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 407 %s\r\nProxy-Authenticate: %s realm=%s\r\n\r\n", b[:n], b[:n], password)
	})
	garbled := listen(t, func(c net.Conn) {
		b := make([]byte, 8192)
		n, _ := c.Read(b)
		_, _ = c.Write(b[:n])
	})
	strict := newSite(t, false, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: tlstest.NewCA("another").Pool()})
	for _, at := range []string{"", dead, newTestProxy(t).server.URL, newSecureProxy(t, testCA().MutualConfig(tlstest.NewCA("another"), "127.0.0.1")).server.URL,
		"http://" + repeats.Addr().String(), "http://" + garbled.Addr().String(), "https://" + garbled.Addr().String()} {
		o := Options{Rules: loopback, Logger: slog.New(log), Material: func(origin.Origin) *tlsmat.Material { return m }}
		if at != "" {
			o.Proxy = via(t, at, url.UserPassword("u", password))
			p := o.Proxy(origin.Origin{})
			p.Material = func() *tlsmat.Material { return m }
			texts = append(texts, fmt.Sprintf("%v %+v %#v", p, *p, *p))
		}
		tr := newTransport(t, o)
		for _, target := range []string{strict.URL, dead, "https://127.0.0.1:" + freePort(t), "https://" + garbled.Addr().String()} {
			req := newRequest(t, "alice", http.MethodPost, target+"/x?token="+url.QueryEscape(token), token)
			req.Header.Set("Authorization", "Bearer "+token)
			if err := fetch(tr, req); err != nil {
				note(err)
			}
			for _, s := range tr.Diagnose(req.Context(), mustOrigin(t, target)).Steps {
				texts = append(texts, s.Says, fmt.Sprint(s.Err))
				texts = append(texts, s.Facts()...)
			}
		}
	}
	texts = append(texts, log.lines()...)
	if len(texts) < 100 {
		t.Fatalf("only %d texts", len(texts))
	}
	all := strings.Join(append(texts, fmt.Sprintf("%v %+v %#v", key, key, key)), "\n")
	for _, secret := range []string{password, token, "u:" + password} {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
			hex.EncodeToString([]byte(secret)), url.QueryEscape(secret), url.PathEscape(secret)} {
			if i := strings.Index(all, form); i >= 0 {
				t.Errorf("%q shows in %q", form, all[max(0, i-100):min(len(all), i+100)])
			}
		}
	}
	if !slices.ContainsFunc(log.lines(), func(s string) bool { return strings.HasPrefix(s, "WARN ") }) || !bytes.Contains([]byte(all), []byte("407")) && !strings.Contains(all, "credentials") {
		t.Error("nothing went wrong that could show a secret")
	}
}
