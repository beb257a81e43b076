package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// badMaterials are client certificates that a server of the test root refuses, by the code of the reason.
func badMaterials(t *testing.T) map[string]*tlsmat.Material {
	of := func(ca *tlstest.CA, l tlstest.Leaf) *tlsmat.Material {
		cert, key, err := ca.Issue(l).Write(t.TempDir(), "client")
		if err != nil {
			t.Fatal(err)
		}
		return load(t, tlsmat.Entry{Name: "bad", Cert: cert, Key: key, CA: []string{rootFile(t)}, CAOnly: true})
	}
	return map[string]*tlsmat.Material{
		"tls.client_cert_required": rootsMaterial(t),
		"tls.client_ca_unknown":    of(tlstest.NewCA("another root"), tlstest.Leaf{CN: "stranger", Client: true}),
		"tls.client_cert_expired":  of(testCA(), tlstest.Leaf{CN: "late", Client: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
	}
}

// attempt sends one request for somebody who has never sent one.
type attempt func(tr http.RoundTripper, who principal.ID, url string) error

var fresh atomic.Int64

func newPrincipal() principal.ID { return principal.ID(fmt.Sprint("principal-", fresh.Add(1))) }

func attemptOf(method string, size int, chunked bool) attempt {
	return func(tr http.RoundTripper, who principal.ID, url string) error {
		var body io.Reader = bytes.NewReader(bytes.Repeat([]byte("x"), size))
		if size == 0 {
			body = nil
		}
		if chunked {
			body = io.MultiReader(body) // of unknown length, and not to be sent again
		}
		req, err := http.NewRequestWithContext(principal.With(context.Background(), who), method, url, body)
		if err != nil {
			return err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil {
			err = fmt.Errorf("status %d: %s", resp.StatusCode, b)
		}
		return err
	}
}

// forwarded sends the attempt through a server of ours that passes it on with the transport, and
// returns the error that this server was given.
func forwarded(t *testing.T, inner attempt) attempt {
	var errs sync.Map // by principal
	var target atomic.Pointer[http.RoundTripper]
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := principal.ID(r.Header.Get("X-Who"))
		proxy := httputil.ReverseProxy{
			Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(mustURL(t, r.Header.Get("X-Target"))) },
			Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				return (*target.Load()).RoundTrip(req.WithContext(principal.With(req.Context(), who)))
			}),
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				errs.Store(who, err)
				w.WriteHeader(http.StatusBadGateway)
			},
			ErrorLog: log.New(io.Discard, "", 0),
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	client := &http.Transport{}
	t.Cleanup(client.CloseIdleConnections)
	return func(tr http.RoundTripper, who principal.ID, url string) error {
		target.CompareAndSwap(nil, &tr)
		err := inner(roundTripper(func(req *http.Request) (*http.Response, error) {
			req = req.Clone(req.Context())
			req.Header.Set("X-Who", string(who))
			req.Header.Set("X-Target", url)
			return client.RoundTrip(req)
		}), who, front.URL)
		if inside, ok := errs.Load(who); ok {
			return inside.(error)
		}
		return err
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestRefusalIsTold: whatever is sent, and however the refusal of the certificate shows, the reason
// that the server gave comes out.
func TestRefusalIsTold(t *testing.T) {
	bad := badMaterials(t)
	for _, tt := range []struct {
		name    string
		h2      bool
		proxied bool
		attempt attempt
	}{
		{"h1 GET", false, false, attemptOf("GET", 0, false)},
		{"h1 POST 300 B", false, false, attemptOf("POST", 300, false)},
		{"h1 POST 100 KiB", false, false, attemptOf("POST", 100<<10, false)},
		{"h1 chunked", false, false, attemptOf("POST", 300, true)},
		{"h2 GET", true, false, attemptOf("GET", 0, false)},
		{"h2 POST 100 KiB", true, false, attemptOf("POST", 100<<10, false)},
		{"h2 stream", true, false, attemptOf("POST", 100<<10, true)},
		{"forwarded, h1 4 KiB", false, false, forwarded(t, attemptOf("POST", 4<<10, false))},
		{"forwarded, h2 4 KiB", true, false, forwarded(t, attemptOf("POST", 4<<10, true))},
		{"through a proxy, h1 POST 100 KiB", false, true, attemptOf("POST", 100<<10, false)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			site := newSite(t, tt.h2, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: testCA().Pool()})
			var way func(origin.Origin) *Proxy
			if tt.proxied {
				way = newTestProxy(t).proxy(t, nil)
			}
			var current atomic.Pointer[tlsmat.Material]
			tr := newTransport(t, Options{Rules: loopback, Proxy: way, Material: func(origin.Origin) *tlsmat.Material { return current.Load() }})
			missed := 0
			for code, m := range bad {
				current.Store(m)
				missed += misses(t, tr, tt.attempt, site.URL, code, 100)
			}
			if missed > 3 {
				t.Errorf("the reason was missed %d times in 300", missed)
			}
			if n := len(site.all()); n != 0 {
				t.Errorf("the server received %d requests", n)
			}
		})
	}
}

// misses counts the attempts that were not told the code.
func misses(t *testing.T, tr *Transport, try attempt, url, code string, times int) (missed int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for range times {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := try(tr, newPrincipal(), url)
			f, ok := errors.AsType[*tlsfault.Failure](err)
			if ok && f.Code() == code {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			missed++
			t.Logf("want %s: %T %v", code, err, err)
		})
	}
	wg.Wait()
	return missed
}

// TestRefusalOfMany: who waited for the connection of another is told the same.
func TestRefusalOfMany(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		site := newSite(t, h2, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: testCA().Pool()})
		m := rootsMaterial(t)
		tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
		for _, a := range []attempt{attemptOf("GET", 0, false), attemptOf("POST", 100<<10, true)} {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					err := a(tr, "alice", site.URL)
					if f, ok := err.(*tlsfault.Failure); !ok || f.Code() != "tls.client_cert_required" {
						t.Errorf("HTTP/2 %v: error %T %v (%v)", h2, err, err, errors.Unwrap(err))
					}
				})
			}
			wg.Wait()
		}
	}
}

// TestRefusalByOpenSSL is the same against another implementation.
func TestRefusalByOpenSSL(t *testing.T) {
	openssl := needProgram(t, "openssl")
	dir := t.TempDir()
	cert, key, err := testCA().Issue(tlstest.Leaf{CN: "server", Hosts: []string{"127.0.0.1"}}).Write(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, testCA().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	start(t, exec.Command(openssl, "s_server", "-accept", "127.0.0.1:"+port, "-cert", cert, "-key", key, "-CAfile", ca,
		"-Verify", "3", "-verify_return_error", "-quiet", "-www", "-alpn", "http/1.1"), port)
	var current atomic.Pointer[tlsmat.Material]
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return current.Load() }})
	missed, tries := 0, 0
	for code, m := range badMaterials(t) {
		current.Store(m)
		for _, a := range []attempt{attemptOf("GET", 0, false), attemptOf("POST", 100<<10, false), attemptOf("POST", 300, true)} {
			for range 12 {
				tries++
				if f, ok := errors.AsType[*tlsfault.Failure](a(tr, newPrincipal(), "https://127.0.0.1:"+port+"/")); !ok || f.Code() != code {
					missed++
					t.Logf("want %s: %v", code, f)
				}
			}
		}
	}
	if missed > 1 {
		t.Errorf("the reason was missed %d times in %d", missed, tries)
	}
}

// TestProbeIsShared: a burst of failures is one handshake more for the server, not one for each.
func TestProbeIsShared(t *testing.T) {
	var handshakes atomic.Int64
	config := testCA().MutualConfig(testCA(), "127.0.0.1")
	l := listen(t, func(c net.Conn) {
		handshakes.Add(1)
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			return
		}
		// Nothing of the refusal is to arrive but by a probe, which does not write.
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, _ := c.Read(make([]byte, 1)); n > 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
	})
	m := rootsMaterial(t)
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	const burst = 100
	var wg sync.WaitGroup
	var told atomic.Int64
	for range burst {
		wg.Go(func() {
			err := fetch(tr, newRequest(t, "alice", http.MethodPost, "https://"+l.Addr().String(), strings.Repeat("x", 100<<10)))
			if f, ok := err.(*tlsfault.Failure); ok && f.Code() == "tls.client_cert_required" {
				told.Add(1)
			} else {
				t.Errorf("error %T %v", err, err)
			}
		})
	}
	wg.Wait()
	if told.Load() != burst {
		t.Errorf("%d of %d were told the reason", told.Load(), burst)
	}
	if n := handshakes.Load(); n > burst+5 { // each request has a connection; more than one probe only if it all takes seconds
		t.Errorf("%d handshakes for %d requests", n, burst)
	}
}

// TestProber: one probe at a time, whose answer counts for a second.
func TestProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p prober
		var made atomic.Int64
		want := &tlsfault.Failure{Message: "refused"}
		probe := func(context.Context) *tlsfault.Failure {
			made.Add(1)
			time.Sleep(500 * time.Millisecond)
			return want
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got := p.ask(t.Context(), probe); got != want {
					t.Errorf("got %v", got)
				}
			})
		}
		wg.Wait()
		time.Sleep(900 * time.Millisecond)
		p.ask(t.Context(), probe)
		if n := made.Load(); n != 1 {
			t.Errorf("%d probes, want 1", n)
		}
		time.Sleep(200 * time.Millisecond)
		p.ask(t.Context(), probe)
		if n := made.Load(); n != 2 {
			t.Errorf("%d probes, want 2", n)
		}
	})
}

// TestProberOutlivesTheFirst: who goes away takes the answer from nobody, and need not wait for it.
func TestProberOutlivesTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p prober
		want := &tlsfault.Failure{Message: "refused"}
		ctx, cancel := context.WithCancel(t.Context())
		probe := func(ctx context.Context) *tlsfault.Failure {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
				return want
			}
		}
		var wg sync.WaitGroup
		begun := time.Now()
		wg.Go(func() {
			if got := p.ask(ctx, probe); got != nil || time.Since(begun) > 0 {
				t.Errorf("the first got %v after %v", got, time.Since(begun))
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if got := p.ask(t.Context(), probe); got != want {
				t.Errorf("the second got %v", got)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		never := func(ctx context.Context) *tlsfault.Failure { <-ctx.Done(); return nil }
		time.Sleep(2 * probeMemory)
		begun = time.Now()
		if p.ask(t.Context(), never); time.Since(begun) != probeTimeout {
			t.Errorf("a probe took %v, want %v", time.Since(begun), probeTimeout)
		}
	})
}

// TestQuietPeer: a server that lets us in and waits is asked for no longer than it takes to know.
func TestQuietPeer(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := testCA().MutualConfig(testCA(), "127.0.0.1")
			config.MaxVersion = version
			l := listen(t, func(c net.Conn) {
				_ = tls.Server(c, config).Handshake()
				silent(c)
			})
			raw, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if _, err := newPeer("127.0.0.1", clientMaterial(t, "client")).listen(t.Context(), raw, new(tlsmat.Seen), 10*time.Second); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestRefusalInTheBody: an answer that breaks off on a connection where a certificate was asked for
// is looked into like one that never came.
func TestRefusalInTheBody(t *testing.T) {
	required := testCA().MutualConfig(testCA(), "127.0.0.1")
	optional := testCA().ServerConfig("127.0.0.1")
	optional.ClientAuth = tls.RequestClientCert
	var first atomic.Bool
	l := listen(t, func(c net.Conn) {
		if !first.CompareAndSwap(false, true) {
			_ = tls.Server(c, required).Handshake()
			return
		}
		s := tls.Server(c, optional)
		_, _ = s.Read(make([]byte, 4096))
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	m := rootsMaterial(t)
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	resp, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, "https://"+l.Addr().String(), ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	if f, ok := err.(*tlsfault.Failure); !ok || f.Code() != "tls.client_cert_required" {
		t.Errorf("error %T %v", err, err)
	}
	if _, again := resp.Body.Read(make([]byte, 1)); again != err {
		t.Errorf("read again: %v, want the same error", again)
	}
}

// needProgram finds a program that a Debian package brings.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", name)
	}
	if err != nil {
		t.Skipf("%s is missing", name)
	}
	return path
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// start runs a server until the end of the test, and waits for its port.
func start(t *testing.T, cmd *exec.Cmd, port string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			t.Logf("%s: %s", cmd.Path, &out)
		}
	})
	for range 300 {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-done:
			t.Fatalf("%s ended: %s", cmd.Path, &out)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen on port %s", cmd.Path, port)
}
