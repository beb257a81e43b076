package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// gateway is Debian's nginx with a handbook for holders of a client certificate.
type gateway struct {
	t   *testing.T
	url string // its origin
	log string // of requests: serial, subject, status and request line
}

// visit is a line of the log.
type visit struct{ serial, subject, status, request string }

// startNginx starts it at host:0. clients issue what is accepted; verify is its ssl_verify_client.
func startNginx(t *testing.T, servers, clients *tlstest.CA, host, verify string) *gateway {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		missing(t, "nginx is not installed")
	}
	dir := t.TempDir()
	cert, key, err := servers.Issue(tlstest.Leaf{CN: "gateway", Hosts: []string{host}}).Write(dir, "server")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "clients.pem"), clients.PEM(), 0o600))
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	must(t, err)
	at := l.Addr().String()
	must(t, l.Close())
	g := &gateway{t: t, url: "https://" + at, log: filepath.Join(dir, "access.log")}
	conf := fmt.Sprintf(`
daemon off; pid %[1]s/pid; error_log stderr warn; worker_processes 1;
events { worker_connections 64; }
http {
  log_format seen '$ssl_client_serial|$ssl_client_s_dn|$status|$request';
  access_log %[1]s/access.log seen;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen %[2]s ssl http2;
    ssl_certificate %[3]s; ssl_certificate_key %[4]s; ssl_client_certificate %[1]s/clients.pem; ssl_verify_client %[5]s; ssl_verify_depth 3;
    default_type text/html;
    location / { return 200 "<html><body><h1>Harbour handbook</h1><p>The gate opens at 07:30.</p></body></html>"; }
    location /members { if ($ssl_client_verify != SUCCESS) { return 403; } return 200 "<h1>Harbour handbook</h1>"; }
    location /away { return 302 $arg_to; }
  }
}
`, dir, at, cert, key, verify)
	if os.Getuid() == 0 {
		conf = "user root;" + conf
	}
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600))
	cmd := exec.Command("nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	said := &output{}
	cmd.Stderr, cmd.Stdout = said, said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", said)
		}
	})
	waitFor(t, "nginx to listen", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return g
}

// visits are the requests it had, in order.
func (g *gateway) visits() []visit {
	g.t.Helper()
	data, err := os.ReadFile(g.log)
	must(g.t, err)
	var all []visit
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), "|", 4)
		if len(f) != 4 {
			g.t.Fatalf("a line of the log is %q", line)
		}
		all = append(all, visit{f[0], f[1], f[2], f[3]})
	}
	return all
}

// serial is that of a certificate as nginx writes it.
func serial(p *tlstest.Pair) string {
	s := fmt.Sprintf("%X", p.Cert.Leaf.SerialNumber)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

// missing skips the test, or fails it in CI.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason + ", and CI must not skip this")
	}
	t.Skip(reason)
}

func waitFor(t *testing.T, what string, limit time.Duration, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}
