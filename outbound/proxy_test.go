package outbound

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

func TestThroughProxy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		secure bool
		h2     bool
		user   *url.Userinfo
		want   []string // what the proxy received, $ for host:port of the site
	}{
		{name: "https", secure: true, want: []string{"CONNECT $ "}},
		{name: "https, HTTP/2", secure: true, h2: true, want: []string{"CONNECT $ "}},
		{name: "https with credentials", secure: true, user: url.UserPassword("u", "p@s"), want: []string{"CONNECT $ Basic dTpwQHM="}},
		{name: "http", want: []string{"GET http://$/x?y ", "GET http://$/x?y "}},
		{name: "http with credentials", user: url.User("u"), want: []string{"GET http://$/x?y Basic dTo=", "GET http://$/x?y Basic dTo="}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var config *tls.Config
			if tt.secure {
				config = askForCertificate()
			}
			site := newSite(t, tt.h2, config)
			host := mustURL(t, site.URL).Host
			p := newTestProxy(t)
			m := clientMaterial(t, "client")
			tr := newTransport(t, Options{Rules: loopback, Proxy: p.proxy(t, tt.user), Material: func(origin.Origin) *tlsmat.Material { return m }})
			for range 2 {
				resp, err := tr.RoundTrip(newRequest(t, "alice", http.MethodGet, site.URL+"/x?y", ""))
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := io.ReadAll(resp.Body); string(b) != "ok" {
					t.Errorf("body %q", b)
				}
				resp.Body.Close()
				if got := Certificate(resp); got != tt.secure {
					t.Errorf("Certificate() = %v, want %v", got, tt.secure)
				}
			}
			for i := range tt.want {
				tt.want[i] = strings.ReplaceAll(tt.want[i], "$", host)
			}
			if d := cmp.Diff(tt.want, p.received()); d != "" {
				t.Errorf("the proxy received (-want +got):\n%s", d)
			}
			for _, r := range site.all() {
				if want := map[bool]string{true: "client"}[tt.secure]; r.cn != want {
					t.Errorf("the site saw certificate %q, want %q", r.cn, want)
				}
				if _, ok := r.Header["Proxy-Authorization"]; ok {
					t.Error("the site received the credentials of the proxy")
				}
			}
		})
	}
}

// TestProxyInTheMiddle: a proxy that plays the site, and asks for a certificate, gets none: it is
// sent only after the site has shown its own.
func TestProxyInTheMiddle(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var mu sync.Mutex
		var seen []string
		evil := tlstest.NewCA("evil").ServerConfig("127.0.0.1")
		evil.MaxVersion, evil.ClientAuth = version, tls.RequestClientCert
		l := listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
			server := tls.Server(c, evil)
			_ = server.Handshake()
			mu.Lock()
			defer mu.Unlock()
			for _, cert := range server.ConnectionState().PeerCertificates {
				seen = append(seen, cert.Subject.CommonName)
			}
		})
		m := clientMaterial(t, "client")
		tr := newTransport(t, Options{Rules: loopback, Proxy: via(t, "http://"+l.Addr().String(), nil), Material: func(origin.Origin) *tlsmat.Material { return m }})
		err := fetch(tr, newRequest(t, "alice", http.MethodGet, "https://127.0.0.1:9/", ""))
		if !isA[*tlsfault.Failure](err) {
			t.Errorf("error %T %v, want a Failure", err, err)
		}
		mu.Lock()
		if len(seen) > 0 {
			t.Errorf("the proxy saw the certificates %q", seen)
		}
		mu.Unlock()
	}
}

func TestProxyErrors(t *testing.T) {
	free := listen(t, func(net.Conn) {})
	free.Close()
	for _, tt := range []struct {
		name      string
		target    string
		user      *url.Userinfo
		serve     func(net.Conn) // nil: nobody listens
		message   string         // with $ for host:port of the proxy
		retryable bool
	}{
		{"credentials wanted", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 407 s3cret\r\nProxy-Authenticate: basic realm=s3cret\r\n\r\n"), "the proxy $ wants credentials by Basic", false},
		{"other credentials wanted", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate, s3cret\r\n\r\n"), "the proxy $ wants credentials by Negotiate or another scheme, which is not supported", false},
		{"NTLM wanted, http", "http://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"), "the proxy $ wants credentials by NTLM, which is not supported", false},
		{"Digest wanted, credentials set", "https://127.0.0.1:9/", url.UserPassword("u", "s3cret"), answerRaw("HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm=x\r\n\r\n"), "the proxy $ wants credentials by Digest, which is not supported", false},
		{"credentials wanted by one of many", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"), "the proxy $ wants credentials by NTLM or Basic", false},
		{"credentials wanted, http", "http://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 407 s3cret\r\nContent-Length: 0\r\n\r\n"), "the proxy $ wants credentials", false},
		{"wrong credentials", "https://127.0.0.1:9/", url.UserPassword("u", "s3cret"), answerRaw("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"),
			"the proxy $ does not accept the configured credentials", false},
		{"wrong credentials, 401", "https://127.0.0.1:9/", url.UserPassword("u", "s3cret"), answerRaw("HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"),
			"the proxy $ does not accept the configured credentials", false},
		{"forbidden", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 403 s3cret\r\n\r\ns3cret"),
			"the proxy $ does not let requests through to 127.0.0.1:9: it answered with status 403", false},
		{"redirect", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 302 x\r\nLocation: http://127.0.0.1/\r\n\r\n"),
			"the proxy $ does not let requests through to 127.0.0.1:9: it answered with status 302", false},
		{"bad gateway", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 502 x\r\n\r\n"), "the proxy $ could not reach 127.0.0.1:9: it answered with status 502", true},
		{"garbage", "https://127.0.0.1:9/", nil, answerRaw("s3cret\r\n\r\n"), "the proxy $ did not answer with valid HTTP", false},
		{"talks before its turn", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 200 x\r\n\r\ns3cret"), "the proxy $ did not answer with valid HTTP", false},
		{"closes", "https://127.0.0.1:9/", nil, answerRaw(""), "the proxy $ closed the connection before the answer was complete", true},
		{"endless header", "https://127.0.0.1:9/", nil, answerRaw("HTTP/1.1 200 x\r\n" + strings.Repeat("X: y\r\n", 20<<10)),
			"the proxy $ closed the connection before the answer was complete", true},
		{"not running", "https://127.0.0.1:9/", nil, nil, "the proxy $ refused the connection", true},
		{"not running, http", "http://127.0.0.1:9/", nil, nil, "the proxy $ refused the connection", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := free.Addr().String()
			if tt.serve != nil {
				at = listen(t, tt.serve).Addr().String()
			}
			tr := newTransport(t, Options{Rules: loopback, Proxy: via(t, "http://"+at, tt.user)})
			err := fetch(tr, newRequest(t, "alice", http.MethodGet, tt.target+"s3cret", ""))
			e, ok := err.(*Error)
			if !ok {
				t.Fatalf("error %T %v, want an Error", err, err)
			}
			if want := strings.ReplaceAll(tt.message, "$", at); e.Error() != want || e.Code() != codeProxy {
				t.Errorf("%s: %q, want %s: %q", e.Code(), e, codeProxy, want)
			}
			byBasic := strings.Contains(tt.message, "credentials") && !strings.Contains(tt.message, "not supported")
			if byBasic != strings.Contains(e.Hint(), "network.proxy.username and network.proxy.password") {
				t.Errorf("hint %q", e.Hint())
			}
			if e.Retryable() != tt.retryable || !strings.Contains(e.Hint(), "network.proxy") {
				t.Errorf("Retryable() = %v, want %v; hint %q", e.Retryable(), tt.retryable, e.Hint())
			}
		})
	}
}

func TestProxyCanceled(t *testing.T) {
	l := listen(t, silent)
	req := newRequest(t, "alice", http.MethodGet, "https://127.0.0.1:9/", "")
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	tr := newTransport(t, Options{Rules: loopback, Proxy: via(t, "http://"+l.Addr().String(), nil)})
	time.AfterFunc(50*time.Millisecond, cancel)
	if e, ok := fetch(tr, req.WithContext(ctx)).(*Error); !ok || e.Code() != codeCanceled {
		t.Errorf("error %v, want %s", e, codeCanceled)
	}
}

// TestProxyTargets: the target is judged here, before the proxy hears of it.
func TestProxyTargets(t *testing.T) {
	useResolver(t, map[string][]string{
		"inside.example.":   {"10.98.76.54"},
		"mixed.example.":    {"93.184.215.14", "10.98.76.54"},
		"metadata.example.": {"169.254.169.254"},
	})
	p := newTestProxy(t)
	for _, target := range []string{
		"http://10.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/", "https://[::ffff:10.0.0.1]/", "http://0.0.0.0/", "https://localhost/",
		"https://inside.example/", "http://mixed.example/", "http://metadata.example/",
	} {
		tr := newTransport(t, Options{Proxy: p.proxy(t, nil)})
		err := fetch(tr, newRequest(t, "alice", http.MethodGet, target, ""))
		if _, ok := err.(*netguard.DeniedError); !ok {
			t.Errorf("%s: error %T %v, want a DeniedError", target, err, err)
		}
	}
	err := fetch(newTransport(t, Options{Proxy: p.proxy(t, nil)}), newRequest(t, "alice", http.MethodGet, "https://absent.example/", ""))
	if e, ok := err.(*Error); !ok || e.Code() != codeDNS {
		t.Errorf("unknown name: error %v, want %s", err, codeDNS)
	}
	if got := p.received(); len(got) > 0 {
		t.Errorf("the proxy received %q", got)
	}
}

// TestProxyIsOurs: a listener of this process is not its proxy.
func TestProxyIsOurs(t *testing.T) {
	p := newTestProxy(t)
	var guard netguard.Guard
	guard.Own(netip.MustParseAddrPort(mustURL(t, p.server.URL).Host))
	err := fetch(newTransport(t, Options{Guard: &guard, Proxy: p.proxy(t, nil)}), newRequest(t, "alice", http.MethodGet, "https://93.184.215.14/", ""))
	if !isA[*netguard.DeniedError](err) || len(p.received()) > 0 {
		t.Errorf("error %v, proxy received %q", err, p.received())
	}
}

// testProxy is a forward proxy that notes what it was asked, and by whom.
type testProxy struct {
	server *httptest.Server

	mu      sync.Mutex
	log     []string // method, target and Proxy-Authorization
	headers []http.Header
	conns   map[string]string // the certificate of each connection, by its remote address
	order   []string          // the remote addresses
	resumed []bool            // whether it was on a resumed session, by request
}

func newTestProxy(t *testing.T) *testProxy {
	t.Helper()
	p := &testProxy{conns: map[string]string{}}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

// newSecureProxy is reached by TLS. Nil: it asks for a certificate and takes any, or none.
func newSecureProxy(t *testing.T, config *tls.Config) *testProxy {
	t.Helper()
	p := &testProxy{conns: map[string]string{}}
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if config == nil {
		config = testCA().ServerConfig("127.0.0.1")
		config.ClientAuth, config.ClientCAs = tls.RequestClientCert, testCA().Pool()
	}
	p.server.TLS = config
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	return p
}

// certificates are the common names of what the connections showed, in the order of the connections.
func (p *testProxy) certificates() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, remote := range p.order {
		names = append(names, p.conns[remote])
	}
	return names
}

func (p *testProxy) proxy(t *testing.T, user *url.Userinfo) func(origin.Origin) *Proxy {
	return via(t, p.server.URL, user)
}

// via has everything go through the proxy at that address.
func via(t *testing.T, at string, user *url.Userinfo) func(origin.Origin) *Proxy {
	t.Helper()
	m := rootsMaterial(t)
	p := &Proxy{At: mustOrigin(t, at), Setting: "network.proxy", Material: func() *tlsmat.Material { return m }}
	if user != nil {
		password, _ := user.Password()
		p.Username, p.Password = user.Username(), secret.New(password)
	}
	return func(origin.Origin) *Proxy { return p }
}

func (p *testProxy) received() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.log = append(p.log, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
	p.headers = append(p.headers, r.Header)
	p.resumed = append(p.resumed, r.TLS != nil && r.TLS.DidResume)
	if _, ok := p.conns[r.RemoteAddr]; !ok {
		p.order = append(p.order, r.RemoteAddr)
		p.conns[r.RemoteAddr] = ""
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			p.conns[r.RemoteAddr] = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	}
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		out := r.Clone(r.Context())
		out.RequestURI = ""
		out.Header.Del("Proxy-Authorization")
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := tr.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	upstream, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer upstream.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = io.Copy(upstream, client)
		upstream.Close()
	})
	_, _ = io.Copy(client, upstream)
	client.Close()
	done.Wait()
}

// What goes to this computer in clear must not pass a proxy elsewhere.
func TestLoopbackIsNotProxied(t *testing.T) {
	site := newSite(t, false, nil)
	p := newTestProxy(t)
	tr := New(Options{Rules: loopback, Proxy: p.proxy(t, nil)}) // as it is outside these tests
	t.Cleanup(tr.CloseIdleConnections)
	req := newRequest(t, "alice", http.MethodGet, site.URL+"/x", "")
	req.Header.Set("Authorization", "Bearer canary")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := p.received(); len(got) > 0 {
		t.Errorf("the proxy received %q", got)
	}
}
