package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// renewed is a client certificate that is renewed in its files, as a certificate manager does it.
type renewed struct {
	t      *testing.T
	source *tlsmat.Source
	dir    string

	mu      sync.Mutex // guards serials
	serials []*big.Int // of all there were, the oldest first
}

func newRenewed(t *testing.T) *renewed {
	t.Helper()
	r := &renewed{t: t, dir: t.TempDir()}
	r.write()
	entry := tlsmat.Entry{
		Name: "corp", Cert: filepath.Join(r.dir, "client.pem"), Key: filepath.Join(r.dir, "client.key"),
		CA: []string{rootFile(t)}, CAOnly: true,
	}
	var err error
	if r.source, err = tlsmat.Open(t.Context(), entry, tlsmat.SourceOptions{Interval: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.source.Watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := r.source.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// write puts another pair into the files.
func (r *renewed) write() {
	r.t.Helper()
	pair := testCA().Issue(tlstest.Leaf{CN: "client", Client: true})
	r.mu.Lock()
	r.serials = append(r.serials, pair.Cert.Leaf.SerialNumber)
	r.mu.Unlock()
	for name, data := range map[string][]byte{"client.pem": pair.CertPEM, "client.key": pair.KeyPEM} {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			r.t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			r.t.Fatal(err)
		}
	}
}

// renew writes another pair and returns when it is current.
func (r *renewed) renew() {
	r.t.Helper()
	r.write()
	r.mu.Lock()
	want := len(r.serials) - 1
	r.mu.Unlock()
	for begun := time.Now(); r.current() != want; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			r.t.Fatalf("the renewal was not noticed: %+v", r.source.Status())
		}
	}
}

// number tells which of the certificates has the serial number, -1: none.
func (r *renewed) number(serial *big.Int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.serials {
		if s.Cmp(serial) == 0 {
			return i
		}
	}
	return -1
}

// current is the number of the certificate that is current.
func (r *renewed) current() int { return r.number(r.source.Current().Leaf().SerialNumber) }

// witness is a server that notes which client certificate each request came with.
type witness struct {
	*httptest.Server
	renewed *renewed
	mu      sync.Mutex          // guards what follows
	shown   map[string]int      // by the path of the request: the number of its certificate, -1: none
	open    map[string]net.Conn // by the address of the client
	holds   map[string]int      // by the same: the number of the certificate
	events  chan struct{}       // closed to end the streams
	h2      bool
}

func newWitness(t *testing.T, r *renewed, h2, demands bool) *witness {
	t.Helper()
	w := &witness{renewed: r, h2: h2, shown: map[string]int{}, open: map[string]net.Conn{}, holds: map[string]int{}, events: make(chan struct{})}
	w.Server = httptest.NewUnstartedServer(w)
	w.EnableHTTP2 = h2
	w.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that were begun in vain
	w.TLS = testCA().MutualConfig(testCA(), "127.0.0.1")
	if !demands {
		w.TLS.ClientAuth = askForCertificate().ClientAuth
	}
	w.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config := w.TLS.Clone()
		config.VerifyConnection = func(state tls.ConnectionState) error { // a connection may never carry a request
			w.mu.Lock()
			defer w.mu.Unlock()
			w.holds[hello.Conn.RemoteAddr().String()] = w.number(state)
			return nil
		}
		return config, nil
	}
	w.Config.ConnState = func(c net.Conn, state http.ConnState) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch state {
		case http.StateNew:
			w.open[c.RemoteAddr().String()] = c
		case http.StateClosed, http.StateHijacked:
			delete(w.open, c.RemoteAddr().String())
		}
	}
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	number := w.number(*req.TLS)
	_, _ = io.Copy(io.Discard, req.Body)
	w.mu.Lock()
	w.shown[req.URL.Path] = number
	w.mu.Unlock()
	if w.h2 != (req.ProtoMajor == 2) {
		http.Error(rw, req.Proto, http.StatusHTTPVersionNotSupported)
		return
	}
	if filepath.Dir(req.URL.Path) != "/events" {
		_, _ = io.WriteString(rw, "ok")
		return
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	for i := 0; ; i++ {
		_, _ = fmt.Fprintf(rw, "data: %d\n\n", i)
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-w.events:
			return
		case <-req.Context().Done():
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// number is that of the certificate that was shown, -1: none.
func (w *witness) number(state tls.ConnectionState) int {
	if len(state.PeerCertificates) == 0 {
		return -1
	}
	return w.renewed.number(state.PeerCertificates[0].SerialNumber)
}

func (w *witness) saw(path string) (number int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	number, ok = w.shown[path]
	return number, ok
}

// openWithout counts the open connections that were made with another certificate.
func (w *witness) openWithout(number int) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for addr := range w.open {
		if held, ok := w.holds[addr]; ok && held != number {
			n++
		}
	}
	return n
}

// load sends requests one after the other and checks who the server took each for: whoever was
// current when the request began, or who has become so since.
func (w *witness) load(t *testing.T, tr *Transport, worker int, stop <-chan struct{}, sent *atomic.Int64) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		path := fmt.Sprintf("/%d/%d", worker, i)
		method, body := http.MethodGet, ""
		if i%3 == 0 {
			method, body = http.MethodPost, "a body"
		}
		begun := w.renewed.current()
		resp, err := tr.RoundTrip(newRequest(t, "alice", method, w.URL+path, body))
		if err != nil {
			t.Errorf("request %s: %v", path, err)
			return
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		ended := w.renewed.current()
		if err != nil || resp.StatusCode != http.StatusOK || string(text) != "ok" {
			t.Errorf("request %s: %s, %q, %v", path, resp.Status, text, err)
			return
		}
		if number, _ := w.saw(path); number < begun || number > ended {
			t.Errorf("request %s was sent with certificate %d; %d was current when it began, %d when it ended", path, number, begun, ended)
		}
		sent.Add(1)
	}
}

// A renewal is not noticed by whoever makes requests, but by the server: from then on every request
// comes with the new certificate.
func TestRotationUnderLoad(t *testing.T) {
	const workers, renewals = 8, 10
	for _, tt := range []struct {
		name string
		h2   bool
	}{{"HTTP/1.1", false}, {"HTTP/2", true}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRenewed(t)
			site, other := newWitness(t, r, tt.h2, true), newWitness(t, r, tt.h2, false)
			roots, ours := rootsMaterial(t), mustOrigin(t, site.URL)
			tr := newTransport(t, Options{Rules: loopback, Material: func(o origin.Origin) *tlsmat.Material {
				if o == ours {
					return r.source.Current()
				}
				return roots
			}})
			var group sync.WaitGroup
			var sent atomic.Int64
			stop := make(chan struct{})
			for worker := range workers {
				group.Go(func() { site.load(t, tr, worker, stop, &sent) })
			}
			group.Go(func() { // another origin, which asks for a certificate, all the while
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					path := "/" + strconv.Itoa(i)
					if i%10 == 0 {
						tr.CloseIdleConnections() // a handshake now and then
					}
					if err := fetch(tr, newRequest(t, "alice", http.MethodGet, other.URL+path, "")); err != nil {
						t.Errorf("the other origin: %v", err)
						return
					}
					if number, ok := other.saw(path); !ok || number != -1 {
						t.Errorf("the other origin was shown certificate %d", number)
					}
				}
			})
			for range renewals {
				before := sent.Load()
				waitFor(t, "requests between renewals", func() bool { return sent.Load() > before+workers })
				r.renew()
			}
			before := sent.Load()
			waitFor(t, "requests after the last renewal", func() bool { return sent.Load() > before+workers })
			close(stop)
			group.Wait()
			waitFor(t, "the end of former connections", func() bool { return site.openWithout(renewals) == 0 })
			t.Logf("%d requests, %d renewals", sent.Load(), renewals)
		})
	}
}

// A stream goes on under the certificate that it began with, on a connection that takes no new
// request and that ends with it.
func TestRotationUnderAStream(t *testing.T) {
	r := newRenewed(t)
	site := newWitness(t, r, true, true)
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return r.source.Current() }})
	end := sync.OnceFunc(func() { close(site.events) })
	t.Cleanup(end)

	// Each generation has a stream, and all flow at the same time.
	const streams = 3
	var events [streams]atomic.Int64
	var group sync.WaitGroup
	for i := range streams {
		if i > 0 {
			r.renew()
		}
		path := fmt.Sprint("/events/", i)
		resp, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, site.URL+path, ""))
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				events[i].Add(1)
			}
			if err := lines.Err(); err != nil {
				t.Errorf("stream %d ended with %v", i, err)
			}
		})
		if number, _ := site.saw(path); number != i {
			t.Errorf("stream %d began with certificate %d", i, number)
		}
		stop := make(chan struct{})
		var load sync.WaitGroup
		var sent atomic.Int64
		for worker := range 4 {
			load.Go(func() { site.load(t, tr, 10*i+worker, stop, &sent) })
		}
		waitFor(t, "requests beside the streams", func() bool { return sent.Load() > 50 })
		close(stop)
		load.Wait()
		for j := range i + 1 {
			before := events[j].Load()
			waitFor(t, fmt.Sprintf("more events of stream %d", j), func() bool { return events[j].Load() > before+5 })
		}
	}
	if n := site.openWithout(streams - 1); n != streams-1 {
		t.Errorf("%d connections of former certificates are open, want one for each of %d streams", n, streams-1)
	}
	end()
	group.Wait()
	waitFor(t, "the end of former connections", func() bool { return site.openWithout(streams-1) == 0 })
}
