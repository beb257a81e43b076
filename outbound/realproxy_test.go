package outbound

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// TestRealProxies: squid and tinyproxy as Debian has them, both with a password.
func TestRealProxies(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(*testing.T) (at string, certificates func() []string)
	}{
		{"squid", func(t *testing.T) (string, func() []string) { at, _ := startSquid(t); return at, nil }},
		{"squid by TLS", func(t *testing.T) (string, func() []string) { _, at := startSquid(t); return at, nil }},
		{"tinyproxy", func(t *testing.T) (string, func() []string) { return "http://" + startTinyproxy(t), nil }},
		{"tinyproxy behind TLS that asks for a certificate", func(t *testing.T) (string, func() []string) {
			return startTLS(t, startTinyproxy(t))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, certificates := tt.start(t)
			m, proxyMaterial := clientMaterial(t, "client"), clientMaterial(t, "proxy client")
			through := func(user *url.Userinfo) *Transport {
				way := via(t, at, user)
				way(origin.Origin{}).Material = func() *tlsmat.Material { return proxyMaterial }
				return newTransport(t, Options{Rules: loopback, Proxy: way, Material: func(origin.Origin) *tlsmat.Material { return m }})
			}
			for _, kind := range []string{"http", "https", "h2"} {
				var config *tls.Config
				if kind != "http" {
					config = askForCertificate()
				}
				site := newSite(t, kind == "h2", config)
				tr := through(url.UserPassword("u", "s3cretpw"))
				method, body := http.MethodPost, "body"
				if kind == "http" {
					method, body = http.MethodGet, ""
				}
				for range 2 {
					if got := do(t, tr, newRequest(t, "alice", method, site.URL+"/x?y", body)); got != "ok" {
						t.Errorf("%s: body %q", kind, got)
					}
				}
				for _, r := range site.all() {
					if want := map[bool]string{true: "client"}[kind != "http"]; r.cn != want || r.Body != body || r.URI != "/x?y" || r.Header["Proxy-Authorization"] != nil {
						t.Errorf("%s: the site received %+v", kind, r)
					}
				}
				for _, user := range []*url.Userinfo{nil, url.UserPassword("u", "wrong")} {
					if user != nil && kind == "http" && strings.HasPrefix(tt.name, "tinyproxy") {
						continue // it answers 401, which could be the site's
					}
					err := fetch(through(user), newRequest(t, "alice", http.MethodGet, site.URL, ""))
					want := " wants credentials by Basic"
					if user != nil {
						want = " does not accept the configured credentials"
					}
					if e, ok := err.(*Error); !ok || e.Code() != codeProxy || !strings.HasSuffix(e.Error(), want) || !strings.Contains(e.Hint(), "network.proxy.password") {
						t.Errorf("%s: error %v, want%s", kind, err, want)
					}
				}
				if n := len(site.all()); n != 2 {
					t.Errorf("%s: the site received %d requests, want 2", kind, n)
				}
			}
			err := fetch(through(url.UserPassword("u", "s3cretpw")), newRequest(t, "alice", http.MethodGet, "https://127.0.0.1:"+freePort(t)+"/", ""))
			if e, ok := err.(*Error); !ok || e.Code() != codeProxy || !e.Retryable() || !strings.Contains(e.Error(), "could not reach 127.0.0.1:") {
				t.Errorf("nobody behind the proxy: error %v", err)
			}
			if certificates != nil {
				for _, cn := range certificates() {
					if cn != "proxy client" {
						t.Errorf("the proxy saw the certificate %q", cn)
					}
				}
			}
		})
	}
}

// startSquid returns squid's addresses for HTTP and for HTTPS.
func startSquid(t *testing.T) (plain, secure string) {
	squid := needProgram(t, "squid")
	dir := readableDir(t)
	cert, key := serverPair(t, dir)
	plain, secure = freePort(t), freePort(t)
	hash, err := exec.Command(needProgram(t, "openssl"), "passwd", "-apr1", "s3cretpw").Output()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "passwd"), "u:"+string(hash))
	config := filepath.Join(dir, "squid.conf")
	writeFile(t, config, `http_port 127.0.0.1:`+plain+`
https_port 127.0.0.1:`+secure+` tls-cert=`+cert+` tls-key=`+key+`
auth_param basic program /usr/lib/squid/basic_ncsa_auth `+filepath.Join(dir, "passwd")+`
auth_param basic realm proxy
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
visible_hostname proxy.example
pid_filename none
cache deny all
cache_log stdio:/dev/null
access_log none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
coredump_dir `+dir+`
`)
	start(t, exec.Command(squid, "-N", "-f", config), secure)
	return "http://127.0.0.1:" + plain, "https://127.0.0.1:" + secure
}

// startTinyproxy returns its host:port.
func startTinyproxy(t *testing.T) string {
	tinyproxy := needProgram(t, "tinyproxy")
	port := freePort(t)
	config := filepath.Join(readableDir(t), "tinyproxy.conf")
	writeFile(t, config, "Listen 127.0.0.1\nPort "+port+"\nAllow 127.0.0.1\nBasicAuth u s3cretpw\nMaxClients 20\nTimeout 60\n")
	start(t, exec.Command(tinyproxy, "-d", "-c", config), port)
	return "127.0.0.1:" + port
}

// startTLS puts TLS that asks for certificates in front of a proxy. It tells what certificates it
// was shown.
func startTLS(t *testing.T, proxy string) (at string, certificates func() []string) {
	config := testCA().MutualConfig(testCA(), "127.0.0.1")
	var mu sync.Mutex
	var seen []string
	l := listen(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() != nil {
			return
		}
		mu.Lock()
		seen = append(seen, s.ConnectionState().PeerCertificates[0].Subject.CommonName)
		mu.Unlock()
		upstream, err := net.Dial("tcp", proxy)
		if err != nil {
			return
		}
		defer upstream.Close()
		var done sync.WaitGroup
		done.Go(func() {
			_, _ = io.Copy(upstream, s)
			upstream.Close()
		})
		_, _ = io.Copy(s, upstream)
		c.Close()
		done.Wait()
	})
	return "https://" + l.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) == 0 {
			t.Error("nobody came")
		}
		return append([]string(nil), seen...)
	}
}

// readableDir is a directory for programs that give up being root.
func readableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "outbound")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func serverPair(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	pair := testCA().Issue(tlstest.Leaf{CN: "proxy", Hosts: []string{"127.0.0.1"}})
	cert, key = filepath.Join(dir, "proxy.pem"), filepath.Join(dir, "proxy.key")
	writeFile(t, cert, string(pair.CertPEM))
	writeFile(t, key, string(pair.KeyPEM))
	return cert, key
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestProxySettingInHints: a proxy of the environment is set there.
func TestProxySettingInHints(t *testing.T) {
	for setting, want := range map[string]string{
		"":              "set network.proxy.username and network.proxy.password",
		"network.proxy": "set network.proxy.username and network.proxy.password",
		"HTTPS_PROXY":   "set the user name and password in HTTPS_PROXY (http://user:password@host:port, special characters percent-encoded)",
	} {
		p := &Proxy{At: mustOrigin(t, "http://127.0.0.1:3128"), Setting: setting}
		resp := &http.Response{StatusCode: http.StatusProxyAuthRequired, Header: http.Header{"Proxy-Authenticate": {"Basic realm=x"}}}
		if d := cmp.Diff(want, p.refused(mustOrigin(t, "https://a.example"), resp).Hint()); d != "" {
			t.Errorf("hint (-want +got):\n%s", d)
		}
	}
}
