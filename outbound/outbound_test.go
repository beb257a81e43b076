package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "signer" {
		sign(os.Args[2:])
		return
	}
	goleak.VerifyTestMain(m)
}

var testCA = sync.OnceValue(func() *tlstest.CA { return tlstest.NewCA("test root") })

func TestRequestAsSent(t *testing.T) {
	site := newSite(t, false, nil)
	tr := newTransport(t, Options{Rules: loopback})
	port := mustURL(t, site.URL).Port()
	req := newRequest(t, "alice", http.MethodPost, "HTTP://LOCALHOST.:"+port+"/a%2Fb?q=1#f", "the body")
	req.Host = "other.example"
	req.Header.Set("Referer", "http://localhost/secret")
	req.Header.Set("Expect", "100-continue")
	req.Header.Set("Authorization", "Bearer t")
	req.Header["X-Odd"] = []string{"1", "2"}
	before := req.Header.Clone()
	if got, want := do(t, tr, req), "ok"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	got := site.only(t)
	want := sent{Method: "POST", URI: "/a%2Fb?q=1", Host: "localhost:" + port, Body: "the body", Header: http.Header{
		"Authorization":  {"Bearer t"},
		"Content-Length": {"8"},
		"User-Agent":     {"mcp-authfetch"},
		"X-Odd":          {"1", "2"},
	}}
	if d := cmp.Diff(want, got.sent); d != "" {
		t.Errorf("the server received (-want +got):\n%s", d)
	}
	if d := cmp.Diff(before, req.Header); d != "" {
		t.Errorf("the caller's request was changed:\n%s", d)
	}
}

func TestUserAgent(t *testing.T) {
	for _, tt := range []struct{ name, option, request, want string }{
		{"default", "", "", "mcp-authfetch"},
		{"option", "x/1", "", "x/1"},
		{"request", "x/1", "y/2", "y/2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site := newSite(t, false, nil)
			req := newRequest(t, "alice", http.MethodGet, site.URL, "")
			if tt.request != "" {
				req.Header.Set("User-Agent", tt.request)
			}
			do(t, newTransport(t, Options{Rules: loopback, UserAgent: tt.option}), req)
			if got := site.only(t).Header.Get("User-Agent"); got != tt.want {
				t.Errorf("User-Agent %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	site := newSite(t, false, nil)
	host := mustURL(t, site.URL).Host
	approval := errors.New("a person must approve")
	for _, tt := range []struct {
		name, url string
		who       principal.ID
		rules     func(context.Context, origin.Origin) (netguard.Rules, error)
		check     func(error) bool
	}{
		{"no principal", site.URL, "", loopback, func(err error) bool { return strings.Contains(err.Error(), "no principal") }},
		{"userinfo", "http://user:pw@" + host + "/", "alice", loopback, isA[*origin.Error]},
		{"scheme", "ftp://" + host + "/", "alice", loopback, isA[*origin.Error]},
		{"opaque", "http:" + host, "alice", loopback, isA[*origin.Error]},
		{"no host", "http:///x", "alice", loopback, isA[*origin.Error]},
		{"zone", "http://[::1%25lo]:80/", "alice", loopback, isA[*origin.Error]},
		{"rules fail", site.URL, "alice", func(context.Context, origin.Origin) (netguard.Rules, error) { return netguard.Rules{}, approval },
			func(err error) bool { return err == approval }},
		{"public only by default", site.URL, "alice", nil, isA[*netguard.DeniedError]},
		{"private rule, loopback address", site.URL, "alice",
			func(context.Context, origin.Origin) (netguard.Rules, error) {
				return netguard.Rules{Private: true}, nil
			}, isA[*netguard.DeniedError]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := newRequest(t, tt.who, http.MethodPost, tt.url, "body")
			body := &closeRecorder{Reader: strings.NewReader("body")}
			req.Body, req.GetBody = body, nil
			_, err := newTransport(t, Options{Rules: tt.rules}).RoundTrip(req)
			if err == nil || !tt.check(err) {
				t.Errorf("error %T %v", err, err)
			}
			if !body.closed() {
				t.Error("the request body was not closed")
			}
			if strings.Contains(err.Error(), "pw") {
				t.Errorf("%q shows the password", err)
			}
			if n := site.connections(); n != 0 {
				t.Errorf("the server saw %d connections, want 0", n)
			}
		})
	}
}

// TestNothingShared: connections belong to a principal and an origin, over HTTP/1.1 and HTTP/2.
func TestNothingShared(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			site := newSite(t, proto == "HTTP/2.0", askForCertificate())
			m := clientMaterial(t, "client")
			tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
			for _, who := range []principal.ID{"alice", "bob", "alice", "bob", "alice"} {
				req := newRequest(t, who, http.MethodGet, site.URL+"/"+string(who), "")
				do(t, tr, req)
			}
			conns := map[string][]string{}
			for _, r := range site.all() {
				if r.proto != proto {
					t.Errorf("it was %s, want %s", r.proto, proto)
				}
				if !slices.Contains(conns[r.URI], r.remote) {
					conns[r.URI] = append(conns[r.URI], r.remote)
				}
			}
			if len(conns["/alice"]) != 1 || len(conns["/bob"]) != 1 || conns["/alice"][0] == conns["/bob"][0] {
				t.Errorf("connections by principal %v, want one each, not the same", conns)
			}
		})
	}
}

func TestCertificateGoesToItsOriginOnly(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		named := newSite(t, h2, askForCertificate())
		other := newSite(t, h2, askForCertificate())
		silent := newSite(t, h2, nil, true)
		m, roots := clientMaterial(t, "client"), rootsMaterial(t)
		certified := []origin.Origin{mustOrigin(t, named.URL), mustOrigin(t, silent.URL)}
		tr := newTransport(t, Options{Rules: loopback, Material: func(o origin.Origin) *tlsmat.Material {
			if slices.Contains(certified, o) {
				return m
			}
			return roots
		}})
		for _, tt := range []struct {
			name  string
			site  *site
			cn    string
			asked bool
		}{
			{"named origin", named, "client", true},
			{"other port", other, "", true},
			{"named, but the server does not ask", silent, "", false},
		} {
			for range 2 { // the second request uses the first one's connection
				resp, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, tt.site.URL, ""))
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if got, want := Certificate(resp), tt.cn != ""; got != want {
					t.Errorf("%s: Certificate() = %v, want %v", tt.name, got, want)
				}
				if got := Seen(resp).Asked(); got != tt.asked {
					t.Errorf("%s: Seen().Asked() = %v, want %v", tt.name, got, tt.asked)
				}
			}
			for _, r := range tt.site.all() {
				if r.cn != tt.cn {
					t.Errorf("%s: the server saw certificate %q, want %q", tt.name, r.cn, tt.cn)
				}
			}
			if n := tt.site.connections(); n != 1 {
				t.Errorf("%s: %d connections, want 1", tt.name, n)
			}
		}
	}
	for _, resp := range []*http.Response{nil, {}, {Request: httptest.NewRequest("GET", "/", nil)}} {
		if Certificate(resp) || Seen(resp) != nil {
			t.Errorf("a response that is not ours has a certificate")
		}
	}
}

// TestPlainHTTP: there is no handshake to have seen.
func TestPlainHTTP(t *testing.T) {
	site := newSite(t, false, nil)
	resp, err := newTransport(t, Options{Rules: loopback}).RoundTrip(newRequest(t, "alice", http.MethodGet, site.URL, ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if Certificate(resp) || Seen(resp) != nil {
		t.Error("a certificate on a connection without TLS")
	}
}

// TestNewMaterial: after a renewal requests carry the new certificate, also while a response to
// the former one is still open, and the former connections end.
func TestNewMaterial(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		hold := make(chan struct{})
		site := newSite(t, h2, askForCertificate())
		site.handle = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" {
				w.WriteHeader(200)
				_ = http.NewResponseController(w).Flush()
				<-hold
			}
			_, _ = io.WriteString(w, "ok")
		}
		m := clientMaterial(t, "first")
		tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
		stream, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, site.URL+"/stream", ""))
		if err != nil {
			t.Fatal(err)
		}
		do(t, tr, newRequest(t, "bob", http.MethodGet, site.URL, ""))
		m = clientMaterial(t, "second")
		do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
		do(t, tr, newRequest(t, "bob", http.MethodGet, site.URL, ""))
		var got []string
		for _, r := range site.all() {
			got = append(got, r.cn)
		}
		if d := cmp.Diff([]string{"first", "first", "second", "second"}, got); d != "" {
			t.Errorf("HTTP/2 %v: certificates the server saw (-want +got):\n%s", h2, d)
		}
		close(hold)
		if b, err := io.ReadAll(stream.Body); string(b) != "ok" {
			t.Errorf("HTTP/2 %v: the open response ended with %q, %v", h2, b, err)
		}
		stream.Body.Close()
		waitFor(t, "only the new connections to be open", func() bool { return site.open() == 2 })
	}
}

// TestConcurrent: no connection ever carries two principals or two certificates, while the
// certificate is renewed all the time.
func TestConcurrent(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		site := newSite(t, h2, askForCertificate())
		materials := []*tlsmat.Material{clientMaterial(t, "first"), clientMaterial(t, "second"), clientMaterial(t, "third")}
		var turn atomic.Int64
		tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material {
			return materials[int(turn.Add(1)/20)%len(materials)]
		}})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 20 {
					who := principal.ID(rune('a' + i%4))
					req := newRequest(t, who, http.MethodPost, site.URL+"/"+string(who), "x")
					resp, err := tr.RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		wg.Wait()
		owner := map[string]string{}
		for _, r := range site.all() {
			is := r.URI + " " + r.cn
			if was, ok := owner[r.remote]; ok && was != is {
				t.Errorf("HTTP/2 %v: one connection carried %q and %q", h2, was, is)
			}
			owner[r.remote] = is
		}
		if got := len(site.all()); got != 160 {
			t.Errorf("HTTP/2 %v: the server received %d requests, want 160", h2, got)
		}
		tr.CloseIdleConnections()
		waitFor(t, "all connections to close", func() bool { return site.open() == 0 })
	}
}

// TestBound uses more transports than may be kept.
func TestBound(t *testing.T) {
	var sites []*site
	for range 10 {
		sites = append(sites, newSite(t, false, nil))
	}
	tr := newTransport(t, Options{Rules: loopback})
	kept, err := tr.RoundTrip(newRequest(t, "keeper", http.MethodGet, sites[0].URL, ""))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		who := principal.ID(string(rune('a'+i/10%26)) + string(rune('a'+i/260)))
		do(t, tr, newRequest(t, who, http.MethodGet, sites[i%10].URL, ""))
	}
	if got := len(tr.pool.entries); got != maxTransports || tr.pool.order.Len() != got {
		t.Errorf("%d transports in the map, %d in order, want %d", got, tr.pool.order.Len(), maxTransports)
	}
	open := func() (n int) {
		for _, s := range sites {
			n += s.open()
		}
		return n
	}
	waitFor(t, "the connections of evicted transports to close", func() bool { return open() <= maxTransports+1 })
	if b, err := io.ReadAll(kept.Body); string(b) != "ok" {
		t.Errorf("the response of an evicted transport: %q, %v", b, err)
	}
	kept.Body.Close()
	waitFor(t, "the connection that was in use to close", func() bool { return open() <= maxTransports })
	total := 0
	for _, s := range sites {
		total += s.connections()
	}
	if total != 1001 {
		t.Errorf("%d connections in all, want 1001", total)
	}
	tr.CloseIdleConnections()
	waitFor(t, "all connections to close", func() bool { return open() == 0 })
}

// TestEvictionKeepsTheRecentlyUsed: a transport in use all the time keeps its connection.
func TestEvictionKeepsTheRecentlyUsed(t *testing.T) {
	site := newSite(t, false, nil)
	tr := newTransport(t, Options{Rules: loopback})
	for i := range maxTransports + 10 {
		do(t, tr, newRequest(t, "regular", http.MethodGet, site.URL+"/regular", ""))
		do(t, tr, newRequest(t, principal.ID(rune('\u4e00'+i)), http.MethodGet, site.URL, ""))
	}
	var conns []string
	for _, r := range site.all() {
		if r.URI == "/regular" && !slices.Contains(conns, r.remote) {
			conns = append(conns, r.remote)
		}
	}
	if len(conns) != 1 {
		t.Errorf("the regular used %d connections, want 1", len(conns))
	}
}

func TestTransportSettings(t *testing.T) {
	tr := New(Options{})
	k := key{who: "alice", to: mustOrigin(t, "https://a.example")}
	a, b := tr.newEntry(k).http, tr.newEntry(k).http
	if a == b || a.Proxy != nil {
		t.Error("transports are shared or take a proxy from the environment")
	}
	if !a.ForceAttemptHTTP2 || !a.DisableCompression || a.ExpectContinueTimeout != 0 || a.MaxResponseHeaderBytes != 64<<10 ||
		a.ResponseHeaderTimeout != 30*time.Second || a.IdleConnTimeout != 90*time.Second {
		t.Error("a limit is missing")
	}
}

// sent is what a server received.
type sent struct {
	Method, URI, Host, Body string
	Header                  http.Header
}

type received struct {
	sent
	proto, remote, cn string
	resumed           bool
}

// site is a server that records what it received.
type site struct {
	*httptest.Server
	handle http.HandlerFunc // nil: answers "ok"

	mu    sync.Mutex
	log   []received
	conns map[net.Conn]http.ConnState
}

// newSite serves plain HTTP without a config, unless a last argument says TLS.
func newSite(t *testing.T, h2 bool, config *tls.Config, secure ...bool) *site {
	t.Helper()
	s := &site{conns: map[net.Conn]http.ConnState{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns[c] = state
	}
	if config == nil && len(secure) == 0 {
		s.Start()
	} else {
		s.TLS = testCA().ServerConfig("127.0.0.1", "localhost")
		if config != nil {
			s.TLS.ClientAuth, s.TLS.ClientCAs, s.TLS.MaxVersion = config.ClientAuth, config.ClientCAs, config.MaxVersion
		}
		if config != nil && config.Certificates != nil {
			s.TLS.Certificates = config.Certificates
		}
		// All sites would resume each other's sessions, if they were offered one.
		s.TLS.SetSessionTicketKeys([][32]byte{{1}})
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	in := received{sent: sent{r.Method, r.RequestURI, r.Host, string(b), r.Header}, proto: r.Proto, remote: r.RemoteAddr}
	if r.TLS != nil {
		in.resumed = r.TLS.DidResume
		if len(r.TLS.PeerCertificates) > 0 {
			in.cn = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	}
	s.mu.Lock()
	s.log = append(s.log, in)
	s.mu.Unlock()
	if s.handle != nil {
		s.handle(w, r)
		return
	}
	_, _ = io.WriteString(w, "ok")
}

func (s *site) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

func (s *site) only(t *testing.T) received {
	t.Helper()
	all := s.all()
	if len(all) != 1 {
		t.Fatalf("the server received %d requests, want 1", len(all))
	}
	return all[0]
}

// connections counts all there ever were.
func (s *site) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *site) open() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.conns {
		if state != http.StateClosed {
			n++
		}
	}
	return n
}

func askForCertificate() *tls.Config {
	return &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: testCA().Pool()}
}

func loopback(context.Context, origin.Origin) (netguard.Rules, error) {
	return netguard.Rules{Loopback: true}, nil
}

func newTransport(t *testing.T, o Options) *Transport {
	t.Helper()
	tr := New(o)
	if o.Proxy != nil {
		tr.proxy = o.Proxy // every site of these tests is on loopback
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func newRequest(t *testing.T, who principal.ID, method, rawURL, body string) *http.Request {
	t.Helper()
	ctx := t.Context()
	if who != "" {
		ctx = principal.With(ctx, who)
	}
	req, err := http.NewRequestWithContext(ctx, method, rawURL, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		req.Body, req.GetBody = nil, nil
	}
	return req
}

// do sends req and returns the body of the response.
func do(t *testing.T, tr *Transport, req *http.Request) string {
	t.Helper()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func clientMaterial(t *testing.T, cn string) *tlsmat.Material {
	t.Helper()
	dir := t.TempDir()
	cert, key, err := testCA().Issue(tlstest.Leaf{CN: cn, Client: true}).Write(dir, "client")
	if err != nil {
		t.Fatal(err)
	}
	return load(t, tlsmat.Entry{Name: cn, Cert: cert, Key: key, CA: []string{rootFile(t)}, CAOnly: true})
}

func rootsMaterial(t *testing.T) *tlsmat.Material {
	return load(t, tlsmat.Entry{Name: "roots", CA: []string{rootFile(t)}, CAOnly: true})
}

func load(t *testing.T, e tlsmat.Entry) *tlsmat.Material {
	t.Helper()
	m, err := tlsmat.Load(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustOrigin(t *testing.T, s string) origin.Origin {
	t.Helper()
	o, err := origin.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// rootFile holds the root that signs all certificates of these tests.
func rootFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, testCA().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("waited in vain for %s", what)
}

type closeRecorder struct {
	io.Reader
	mu   sync.Mutex
	done bool
}

func (c *closeRecorder) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	return nil
}

func (c *closeRecorder) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}
