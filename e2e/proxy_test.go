package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// builtBinary is the variable that names the binary to a test in a network namespace.
const builtBinary = "AUTHFETCH_E2E_BINARY"

// office is an address that is private and not loopback: those are reached without a proxy.
const office = "10.77.0.1"

// inNamespace runs the calling test again in a network namespace where office is this machine, and
// reports whether this is that run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(builtBinary) != "" {
		return true
	}
	t.Parallel()
	if _, err := exec.LookPath("unshare"); err != nil {
		missing(t, "unshare is not there")
	}
	setup := "ip link set lo up && ip addr add " + office + "/32 dev lo"
	if out, err := exec.Command("unshare", "-rn", "sh", "-c", setup).CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("network namespaces cannot be made: %v %s", err, out))
	}
	cmd := exec.Command("unshare", "-rn", "sh", "-c", setup+` && exec "$@"`, "sh", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m")
	cmd.Env = append(os.Environ(), builtBinary+"="+binary)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a network namespace: %v\n%s", err, out)
	}
	return false
}

// startTinyproxy starts Debian's tinyproxy with a login.
func startTinyproxy(t *testing.T, user, password string) (at, log string) {
	t.Helper()
	if _, err := exec.LookPath("tinyproxy"); err != nil {
		missing(t, "tinyproxy is not installed")
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", office+":0")
	must(t, err)
	at, log = l.Addr().String(), filepath.Join(dir, "log")
	must(t, l.Close())
	_, port, _ := net.SplitHostPort(at)
	conf := filepath.Join(dir, "conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "Port %s\nListen %s\nTimeout 30\nLogFile \"%s\"\nLogLevel Connect\nMaxClients 20\nBasicAuth %s %s\n", port, office, log, user, password), 0o600))
	cmd := exec.Command("tinyproxy", "-d", "-c", conf)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	waitFor(t, "tinyproxy to listen", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", at)
		return err == nil && c.Close() == nil
	})
	return at, log
}

func TestProxies(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	const password = "canary-proxy-password"
	servers, clients, proxies := tlstest.NewCA("Harbour Root"), tlstest.NewCA("Harbour Staff"), tlstest.NewCA("Proxy Root")
	g := startNginx(t, servers, clients, office, "on")
	at, log := startTinyproxy(t, "me", password)

	// The same proxy behind TLS, for holders of its own certificates.
	var atProxy atomic.Value
	atProxy.Store("")
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atProxy.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
		forward(t, w, r, at)
	}))
	must(t, front.Listener.Close())
	var err error
	front.Listener, err = net.Listen("tcp", office+":0")
	must(t, err)
	front.TLS = proxies.MutualConfig(proxies, office)
	front.TLS.NextProtos = []string{"http/1.1"}
	front.StartTLS()
	defer front.Close()

	alice := clients.Issue(tlstest.Leaf{CN: "alice", Client: true})
	used := func() int {
		data, _ := os.ReadFile(log)
		return strings.Count(string(data), "CONNECT "+strings.TrimPrefix(g.url, "https://"))
	}
	for _, tt := range []struct {
		name    string
		env     []string
		network object
		through bool // the proxy
		code    string
		remedy  string
	}{
		{name: "of the environment", env: []string{"HTTPS_PROXY=http://me:" + password + "@" + at}, through: true},
		{name: "excepted by the environment", env: []string{"HTTPS_PROXY=http://me:" + password + "@" + at, "NO_PROXY=10.0.0.0/8"}},
		{name: "of the config", network: object{"proxy": object{"url": "http://" + at, "username": "me", "password": "{env:PASSWORD}"}}, env: []string{"PASSWORD=" + password, "HTTPS_PROXY=http://127.0.0.1:1"}, through: true},
		{name: "none by the config", network: object{"proxy": ""}, env: []string{"HTTPS_PROXY=http://127.0.0.1:1"}},
		{name: "without a login", env: []string{"HTTPS_PROXY=http://" + at}, code: "network.proxy", remedy: "HTTPS_PROXY"},
		{name: "with a wrong login", network: object{"proxy": object{"url": "http://" + at, "username": "me", "password": "{env:PASSWORD}"}}, env: []string{"PASSWORD=wrong"}, code: "network.proxy", remedy: "network.proxy"},
		{name: "over TLS with a certificate", network: object{"proxy": object{"url": front.URL, "username": "me", "password": "{env:PASSWORD}", "mtls": "proxy"}}, env: []string{"PASSWORD=" + password}, through: true},
		{name: "over TLS, unknown here", network: object{"proxy": object{"url": front.URL, "username": "me", "password": "{env:PASSWORD}"}}, env: []string{"PASSWORD=" + password}, code: "tls.server_ca_unknown", remedy: "proxy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newOffice(t, servers, g.url)
			w.useCertificate(alice, g.url)
			must(t, os.WriteFile(filepath.Join(w.dir, "proxy-ca.pem"), proxies.PEM(), 0o600))
			_, _, err := proxies.Issue(tlstest.Leaf{CN: "desk", Client: true}).Write(w.dir, "proxy")
			must(t, err)
			w.config["mtls"].(object)["proxy"] = object{"cert": "proxy.pem", "key": "proxy.key", "ca": "proxy-ca.pem", "ca_mode": "only"}
			w.env = tt.env
			if tt.network != nil {
				w.config["network"] = tt.network
			}
			before := used()
			r := w.try("fetch", g.url+"/", "--verbose")
			if strings.Contains(r.stderr+r.stdout, password) {
				t.Errorf("the password is shown: %s", r.stderr)
			}
			if tt.code != "" {
				checks, code := w.doctor(g.url + "/")
				last := checks[len(checks)-1]
				if r.code != 3 || code != 3 || last.Code != tt.code || !strings.Contains(last.Remedy, tt.remedy) || !strings.Contains(r.stderr, last.Remedy) {
					t.Errorf("fetch ended with %d, doctor with %d: %+v\n%s", r.code, code, last, r.stderr)
				}
				return
			}
			if r.code != 0 || !strings.Contains(r.stdout, "# Harbour handbook") {
				t.Fatalf("ended with %d: %s", r.code, r.stderr)
			}
			if through := used() > before; through != tt.through {
				t.Errorf("through the proxy: %v, want %v", through, tt.through)
			}
			all := g.visits()
			if last := all[len(all)-1]; last.serial != serial(alice) {
				t.Errorf("nginx saw %+v", last)
			}
		})
	}
	if got := atProxy.Load(); got != "desk" {
		t.Errorf("the proxy was shown the certificate of %q, want its own", got)
	}
}

// forward passes a CONNECT request on to the proxy at an address, with the login it came with.
func forward(t *testing.T, w http.ResponseWriter, r *http.Request, at string) {
	back, err := net.Dial("tcp", at)
	if err != nil {
		t.Error(err)
		return
	}
	defer back.Close()
	_, err = fmt.Fprintf(back, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n", r.Host, r.Host, r.Header.Get("Proxy-Authorization"))
	if err != nil {
		t.Error(err)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	pipe(conn, rw, back)
}

// pipe copies both ways until one side ends.
func pipe(conn net.Conn, buffered io.Reader, back net.Conn) {
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(back, buffered); done <- struct{}{} }()
	go func() { _, _ = io.Copy(conn, back); done <- struct{}{} }()
	<-done
}
