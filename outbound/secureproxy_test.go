package outbound

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// TestWhoSeesWhat: with a proxy that asks for certificates on the way to a site that does, each
// sees its own and what is for it.
func TestWhoSeesWhat(t *testing.T) {
	for _, tt := range []struct {
		name         string
		proxy, site  bool   // by TLS
		h2           bool   // of the site
		siteCert     string // "": roots only
		proxyCert    string
		seenByProxy  string
		seenBySite   string
		method       string // that the proxy received
		passesHeader bool   // the request's header passes the proxy in clear
	}{
		{"http proxy, https site", false, true, false, "client", "", "", "client", "CONNECT", false},
		{"https proxy, https site", true, true, false, "client", "", "", "client", "CONNECT", false},
		{"https proxy, https site, h2", true, true, true, "client", "", "", "client", "CONNECT", false},
		{"https proxy with a certificate, https site with another", true, true, true, "client", "proxy client", "proxy client", "client", "CONNECT", false},
		{"https proxy with a certificate, https site without", true, true, true, "", "proxy client", "proxy client", "", "CONNECT", false},
		{"https proxy, http site with material", true, false, false, "client", "", "", "", "GET", true},
		{"https proxy with a certificate, http site", true, false, false, "client", "proxy client", "proxy client", "", "GET", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var config *tls.Config
			if tt.site {
				config = askForCertificate()
			}
			site := newSite(t, tt.h2, config)
			p := newTestProxy(t)
			if tt.proxy {
				p = newSecureProxy(t, nil)
			}
			of := func(cn string) *tlsmat.Material {
				if cn == "" {
					return rootsMaterial(t)
				}
				return clientMaterial(t, cn)
			}
			forSite, forProxy := of(tt.siteCert), of(tt.proxyCert)
			way := p.proxy(t, url.UserPassword("u", "p@s"))
			way(origin.Origin{}).Material = func() *tlsmat.Material { return forProxy }
			tr := newTransport(t, Options{Rules: loopback, Proxy: way, Material: func(origin.Origin) *tlsmat.Material { return forSite }})
			for i := range 3 {
				req := newRequest(t, "alice", http.MethodGet, site.URL+"/x", "")
				req.Header.Set("Authorization", "Bearer t")
				req.Header.Set("Proxy-Authorization", "Basic of-the-caller")
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if got := Certificate(resp); got != (tt.seenBySite != "") {
					t.Errorf("Certificate() = %v", got)
				}
				if (resp.TLS != nil) != tt.site {
					t.Errorf("resp.TLS = %v for %s", resp.TLS, site.URL)
				}
				if i > 0 {
					tr.CloseIdleConnections() // the third resumes
				}
			}
			for _, cn := range p.certificates() {
				if cn != tt.seenByProxy {
					t.Errorf("the proxy saw the certificate %q, want %q", cn, tt.seenByProxy)
				}
			}
			for i, line := range p.received() {
				if !strings.HasPrefix(line, tt.method+" ") || !strings.HasSuffix(line, " Basic dTpwQHM=") {
					t.Errorf("the proxy received %q", line)
				}
				if got := slices.Contains(headerNames(p.headers[i]), "Authorization"); got != tt.passesHeader {
					t.Errorf("the proxy received %v", headerNames(p.headers[i]))
				}
			}
			for _, r := range site.all() {
				if r.cn != tt.seenBySite {
					t.Errorf("the site saw the certificate %q, want %q", r.cn, tt.seenBySite)
				}
				if d := cmp.Diff([]string{"Bearer t"}, r.Header["Authorization"]); d != "" || r.Header["Proxy-Authorization"] != nil {
					t.Errorf("the site received %v", r.Header)
				}
			}
			if n := len(site.all()); n != 3 {
				t.Errorf("the site received %d requests, want 3", n)
			}
		})
	}
}

func headerNames(h http.Header) (names []string) {
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestTunnelHeader: in CONNECT stands nothing of the request's.
func TestTunnelHeader(t *testing.T) {
	site, p := newSite(t, false, askForCertificate()), newSecureProxy(t, nil)
	m := clientMaterial(t, "client")
	tr := newTransport(t, Options{Rules: loopback, Proxy: p.proxy(t, url.UserPassword("u", "p")), Material: func(origin.Origin) *tlsmat.Material { return m }})
	req := newRequest(t, "alice", http.MethodGet, site.URL, "")
	req.Header.Set("Cookie", "c")
	req.Header.Set("User-Agent", "of the caller")
	do(t, tr, req)
	want := http.Header{"User-Agent": {"mcp-authfetch"}, "Proxy-Authorization": {"Basic dTpw"}}
	if d := cmp.Diff(want, p.headers[0]); d != "" {
		t.Errorf("the proxy received (-want +got):\n%s", d)
	}
}

// TestProxySessions: the sessions with a proxy belong to a principal, too.
func TestProxySessions(t *testing.T) {
	site, p := newSite(t, false, nil), newSecureProxy(t, nil)
	tr := newTransport(t, Options{Rules: loopback, Proxy: p.proxy(t, nil)})
	resumed := func() bool { return p.resumed[len(p.resumed)-1] }
	onNewConnection(t, tr, "alice", site.URL)
	if onNewConnection(t, tr, "alice", site.URL); !resumed() {
		t.Error("the session was not resumed")
	}
	if onNewConnection(t, tr, "bob", site.URL); resumed() {
		t.Error("bob resumed the session of alice")
	}
}

// TestSecureProxyFailures: trouble with the certificate of, or for, the proxy is told as the
// proxy's, whether it makes a tunnel or takes the request.
func TestSecureProxyFailures(t *testing.T) {
	other := tlstest.NewCA("another root")
	pairOf := func(t *testing.T, ca *tlstest.CA, l tlstest.Leaf) *tlsmat.Material {
		cert, key, err := ca.Issue(l).Write(t.TempDir(), "client")
		if err != nil {
			t.Fatal(err)
		}
		return load(t, tlsmat.Entry{Name: "for-proxy", Cert: cert, Key: key, CA: []string{rootFile(t)}, CAOnly: true})
	}
	for _, tt := range []struct {
		name     string
		server   *tls.Config
		material func(*testing.T) *tlsmat.Material
		code     string
	}{
		{"unknown authority", other.ServerConfig("127.0.0.1"), rootsMaterial, "tls.server_ca_unknown"},
		{"another name", testCA().ServerConfig("proxy.example"), rootsMaterial, "tls.hostname_mismatch"},
		{"certificate required", testCA().MutualConfig(testCA(), "127.0.0.1"), rootsMaterial, "tls.client_cert_required"},
		{"certificate of an unknown authority", testCA().MutualConfig(testCA(), "127.0.0.1"), func(t *testing.T) *tlsmat.Material {
			return pairOf(t, other, tlstest.Leaf{CN: "stranger", Client: true})
		}, "tls.client_ca_unknown"},
		{"expired certificate", testCA().MutualConfig(testCA(), "127.0.0.1"), func(t *testing.T) *tlsmat.Material {
			return pairOf(t, testCA(), tlstest.Leaf{CN: "late", Client: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
		}, "tls.client_cert_expired"},
	} {
		for name, version := range versions {
			for _, target := range []string{"https://127.0.0.1:9/", "http://127.0.0.1:9/"} {
				t.Run(tt.name+" "+name+" "+target, func(t *testing.T) {
					config := tt.server.Clone()
					config.MaxVersion = version
					p := newSecureProxy(t, config)
					m := tt.material(t)
					way := p.proxy(t, url.UserPassword("u", "s3cret"))
					way(origin.Origin{}).Material = func() *tlsmat.Material { return m }
					site := clientMaterial(t, "client of the site")
					tr := newTransport(t, Options{Rules: loopback, Proxy: way, Material: func(origin.Origin) *tlsmat.Material { return site }})
					err := fetch(tr, newRequest(t, "alice", http.MethodPost, target, strings.Repeat("x", 100<<10)))
					f, ok := err.(*tlsfault.Failure)
					if !ok || f.Code() != tt.code || !strings.Contains(f.Error(), "proxy") || !strings.Contains(f.Error(), p.server.Listener.Addr().String()) {
						t.Fatalf("error %T %v, want %s of the proxy", err, err, tt.code)
					}
					if strings.Contains(f.Error()+f.Hint(), "client of the site") {
						t.Errorf("%q tells of the certificate for the site", f)
					}
					if got := p.received(); len(got) > 0 {
						t.Errorf("the proxy received %q", got)
					}
				})
			}
		}
	}
}

// TestBrokenProxyConnection: what goes wrong on the connection to the proxy while the origin's
// handshake passes through it is not the origin's.
func TestBrokenProxyConnection(t *testing.T) {
	config := testCA().ServerConfig("127.0.0.1")
	l := listen(t, func(c net.Conn) {
		s := tls.Server(c, config)
		_, _ = s.Read(make([]byte, 4096))
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = s.Read(make([]byte, 4096)) // the origin's ClientHello
		_, _ = c.Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...))
		silent(c)
	})
	at := l.Addr().String()
	tr := newTransport(t, Options{Rules: loopback, Proxy: via(t, "https://"+at, nil)})
	err := fetch(tr, newRequest(t, "alice", http.MethodGet, "https://127.0.0.1:9/", ""))
	if f, ok := err.(*tlsfault.Failure); !ok || !strings.Contains(f.Error(), "the proxy "+at) {
		t.Errorf("error %T %v, want one of the proxy", err, err)
	}
}
