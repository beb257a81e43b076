package tlsfault

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// nginx is a running nginx whose servers listen on sockets in its directory.
type nginx struct{ dir string }

func (n *nginx) socket(server string) string { return filepath.Join(n.dir, server+".sock") }

// startNginx runs servers, by name, which are the lines in their blocks besides listen.
func startNginx(t *testing.T, tlsServers map[string]string, more string) *nginx {
	t.Helper()
	program := need(t, "nginx")
	dir, err := os.MkdirTemp("", "nginx") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	n := &nginx{dir}
	var b strings.Builder
	fmt.Fprintf(&b, "daemon off; master_process off; pid %s/pid; error_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n", dir)
	for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/%s;\n", temp, dir, temp)
	}
	for name, lines := range tlsServers {
		fmt.Fprintf(&b, "server {\nlisten unix:%s ssl http2;\n%s\n}\n", n.socket(name), lines)
	}
	b.WriteString(more + "\n}\n")
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", conf)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = os.RemoveAll(dir)
	})
	for name := range tlsServers {
		n.await(t, n.socket(name), ended, &stderr)
	}
	return n
}

func (n *nginx) await(t *testing.T, socket string, ended <-chan struct{}, stderr *bytes.Buffer) {
	t.Helper()
	for range 500 {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("nginx ended before it listened: %s", stderr)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("nginx does not listen on %s", socket)
}

// nginxPair writes a certificate into a server block.
func nginxPair(t *testing.T, p *tlstest.Pair) string {
	t.Helper()
	cert, key, err := p.Write(t.TempDir(), "server")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", cert, key)
}

// fetch gets a page of a server as outbound does, and explains what went wrong.
func (n *nginx) fetch(t *testing.T, server, path string, m *tlsmat.Material, config *tls.Config) (*Failure, *tlsmat.Seen) {
	t.Helper()
	seen := &tlsmat.Seen{}
	transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		raw, err := net.Dial("unix", n.socket(server))
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, config)
		return conn, conn.HandshakeContext(tlsmat.WithSeen(ctx, seen))
	}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(get(t, "https://127.0.0.1"+path))
	if err != nil {
		// What we had written may have provoked a reset that overtook the alert: outbound asks again
		// and writes nothing, and so do we.
		err = dial(t, "unix", n.socket(server), config, seen)
		return Explain(err, "site.test", m, seen), seen
	}
	defer func() { _ = resp.Body.Close() }()
	if want := config.NextProtos[0] == "h2"; (resp.ProtoMajor == 2) != want {
		t.Errorf("HTTP/%d was spoken", resp.ProtoMajor)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return ExplainStatus(resp, body.Bytes(), "site.test", m, seen), seen
}

var protocols = map[string][]string{"h1": {"http/1.1"}, "h2": {"h2", "http/1.1"}}

func TestClientCertificateNginx(t *testing.T) {
	need(t, "nginx")
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	own := nginxPair(t, servers.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}}))
	trust := "ssl_client_certificate " + write(t, "clients.pem", clients.PEM()) + "; ssl_verify_depth 3; location / { return 200 hello; }"
	blocks := map[string]string{}
	for _, verify := range []string{"on", "optional", "optional_no_ca"} {
		for name, version := range map[string]string{"1.2": "TLSv1.2", "1.3": "TLSv1.3"} {
			blocks[verify+"-"+name] = fmt.Sprintf("%s %s ssl_protocols %s; ssl_verify_client %s;", own, trust, version, verify)
		}
	}
	n := startNginx(t, blocks, "")
	for _, tt := range clientCases(t, clients) {
		for server := range blocks {
			for protocol, offer := range protocols {
				t.Run(tt.name+" "+server+" "+protocol, func(t *testing.T) {
					m, config := tt.client(t, servers)
					config.NextProtos = offer
					f, seen := n.fetch(t, server, "/", m, config)
					if !seen.Asked() {
						t.Error("nginx did not ask for a certificate")
					}
					tolerant := strings.HasPrefix(server, "optional-") && tt.pair == nil ||
						strings.HasPrefix(server, "optional_no_ca-") && (tt.pair == nil || tt.id == "client_ca_unknown.issuer" || tt.id == "client_ca_unknown.intermediate" || tt.id == "client_ca_unknown.self_signed")
					if tolerant {
						if f != nil {
							t.Errorf("not accepted: %v", f)
						}
						return
					}
					tt.check(t, nginxServer, f, m)
				})
			}
		}
	}
}

// Sites that ask everybody and answer 401 or 403 to those without the right certificate.
func TestDeniedNginx(t *testing.T) {
	need(t, "nginx")
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	own := nginxPair(t, servers.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}}))
	n := startNginx(t, map[string]string{
		"optional": own + " ssl_client_certificate " + write(t, "clients.pem", clients.PEM()) + `; ssl_verify_client optional;
			location / { if ($ssl_client_s_dn != "CN=bob") { return 403; } return 200 hello; }
			location /challenge { add_header WWW-Authenticate 'Bearer realm="x"' always; return 401; }`,
		"silent": own + " location / { return 403; }",
	}, "")
	alice, bob := clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), clients.Issue(tlstest.Leaf{CN: "bob", Client: true})
	for _, tt := range []struct {
		name, server, path string
		pair               *tlstest.Pair
		id, message        string
	}{
		{"nobody", "optional", "/", nil, "client_cert_required.status", "may require one"},
		{"alice", "optional", "/", alice, "client_cert_denied.status", `"CN=alice", so it may not allow it`},
		{"bob", "optional", "/", bob, "", ""},
		{"a challenge", "optional", "/challenge", alice, "", ""},
		{"not asked", "silent", "/", alice, "", ""},
	} {
		for protocol, offer := range protocols {
			t.Run(tt.name+" "+protocol, func(t *testing.T) {
				m := load(t, tt.pair, servers.PEM())
				config := m.TLSConfig("127.0.0.1")
				config.NextProtos = offer
				f, _ := n.fetch(t, tt.server, tt.path, m, config)
				if tt.id == "" {
					if f != nil {
						t.Errorf("explained as %v", f)
					}
					return
				}
				check(t, f, tt.id, tt.message, "")
			})
		}
	}
}

func TestServerCertificateNginx(t *testing.T) {
	need(t, "nginx")
	cases := serverCases(t)
	blocks := map[string]string{}
	for i, tt := range cases {
		blocks[fmt.Sprint(i)] = nginxPair(t, tt.pair) + " ssl_ciphers DEFAULT:@SECLEVEL=0;"
	}
	n := startNginx(t, blocks, "")
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			m := loadEntry(t, tt.entry)
			err := dial(t, "unix", n.socket(fmt.Sprint(i)), m.TLSConfig(tt.wants()), nil)
			check(t, Explain(err, "site.test", m, nil), tt.id, tt.message, tt.hint)
		})
	}
}

func TestNothingSharedNginx(t *testing.T) {
	need(t, "nginx")
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	own := nginxPair(t, servers.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}}))
	n := startNginx(t, map[string]string{
		"old":      own + " ssl_protocols TLSv1.1; ssl_ciphers DEFAULT:@SECLEVEL=0;",
		"1.2":      own + " ssl_protocols TLSv1.2;",
		"1.3":      own + " ssl_protocols TLSv1.3;",
		"cipher":   own + " ssl_protocols TLSv1.2; ssl_ciphers AES128-GCM-SHA256;",
		"verifies": own + " ssl_protocols TLSv1.2; ssl_ciphers AES128-GCM-SHA256; ssl_verify_client on; ssl_client_certificate " + write(t, "clients.pem", clients.PEM()) + ";",
		"reject":   "ssl_reject_handshake on;",
		"secured":  own,
	}, "")
	trust := tlsmat.Entry{Name: "corp", CA: []string{write(t, "ca.pem", servers.PEM())}, CAOnly: true}
	strict := trust
	strict.MinVersion = tls.VersionTLS13
	for _, tt := range []struct {
		name   string
		server string
		entry  tlsmat.Entry
		change func(*tls.Config)
		id     string
		hint   string
	}{
		{"TLS 1.1 only", "old", trust, nil, "version.old", "TLS 1.2"},
		{"TLS 1.2 only, 1.3 wanted", "1.2", strict, nil, "version.min_version", `set mtls.corp.min_version to "1.2"`},
		{"TLS 1.3 only, 1.2 offered", "1.3", trust, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "version.old", "TLS 1.2"},
		{"no cipher", "cipher", trust, nil, "no_cipher.refused", "ECDHE"},
		{"no cipher, certificate wanted", "verifies", trust, nil, "no_cipher.refused", "ECDHE"},
		{"no such name", "reject", trust, func(c *tls.Config) { c.ServerName = "unknown.test" }, "unrecognized_name.refused", "mtls.corp.server_name"},
		{"no protocol", "secured", trust, func(c *tls.Config) { c.NextProtos = []string{"strange"} }, "no_alpn.refused", "port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, seen := loadEntry(t, tt.entry), &tlsmat.Seen{}
			config := m.TLSConfig("127.0.0.1")
			if tt.change != nil {
				tt.change(config)
			}
			check(t, Explain(dial(t, "unix", n.socket(tt.server), config, seen), "site.test", m, seen), tt.id, "site.test", tt.hint)
		})
	}
}

// HTTP on the port of TLS, and TLS on that of HTTP.
func TestNotTLSNginx(t *testing.T) {
	need(t, "nginx")
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain.sock")
	own := nginxPair(t, tlstest.NewCA("Servers").Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}}))
	n := startNginx(t, map[string]string{"secured": own}, "server { listen unix:"+plain+"; }")
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", n.socket("secured")) }}
	defer transport.CloseIdleConnections()
	resp, body := read(t, transport, "http://127.0.0.1/")
	check(t, ExplainStatus(resp, body, "site.test", nil, nil), "not_tls.plain", "over plain HTTP", "https://")
	check(t, Explain(dial(t, "unix", plain, &tls.Config{ServerName: "x"}, nil), "site.test", nil, nil), "not_tls.http", "plain HTTP", "http://")
}
