package tlsfault

import (
	"bufio"
	"crypto/tls"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// sServer starts openssl s_server with a certificate for 127.0.0.1; it verifies client certificates
// of clients where args say so.
func sServer(t *testing.T, servers, clients *tlstest.CA, args ...string) (addr string) {
	t.Helper()
	pair := servers.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}})
	return sServerPair(t, pair, append([]string{"-CAfile", write(t, "clients.pem", clients.PEM()), "-verify_return_error"}, args...)...)
}

func sServerPair(t *testing.T, pair *tlstest.Pair, args ...string) (addr string) {
	t.Helper()
	openssl := need(t, "openssl")
	cert, key, err := pair.Write(t.TempDir(), "server")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(openssl, append([]string{"s_server", "-accept", "127.0.0.1:0", "-www", "-cert", cert, "-key", key, "-cert_chain", cert}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended; _ = cmd.Wait() })
	found := make(chan string, 1)
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if addr, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
				found <- addr
			}
		}
	}()
	select {
	case addr := <-found:
		return addr
	case <-ended:
		_ = cmd.Wait()
		t.Fatalf("openssl s_server ended before it listened: %s", &stderr)
	case <-time.After(20 * time.Second):
		t.Fatal("openssl s_server does not listen")
	}
	return ""
}

var opensslVersions = map[string]string{"TLS 1.2": "-tls1_2", "TLS 1.3": "-tls1_3"}

func TestClientCertificateOpenSSL(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	addrs := map[string]string{}
	for name, flag := range opensslVersions {
		addrs[name] = sServer(t, servers, clients, "-Verify", "5", flag)
	}
	for _, tt := range clientCases(t, clients) {
		for name, addr := range addrs {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				m, client := tt.client(t, servers)
				seen := &tlsmat.Seen{}
				err := dial(t, "tcp", addr, client, seen)
				tt.check(t, opensslServer, Explain(err, "site.test", m, seen), m)
			})
		}
	}
}

func TestServerCertificateOpenSSL(t *testing.T) {
	for _, tt := range serverCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			addr := sServerPair(t, tt.pair, "-cipher", "DEFAULT@SECLEVEL=0")
			m := loadEntry(t, tt.entry)
			check(t, Explain(dial(t, "tcp", addr, m.TLSConfig(tt.wants()), nil), "site.test", m, nil), tt.id, tt.message, tt.hint)
		})
	}
}

// What a server and we may lack in common, and what else it may object to before certificates matter.
func TestNothingSharedOpenSSL(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	trust := tlsmat.Entry{Name: "corp", CA: []string{write(t, "ca.pem", servers.PEM())}, CAOnly: true}
	strict := trust
	strict.MinVersion = tls.VersionTLS13
	other, otherKey, err := servers.Issue(tlstest.Leaf{CN: "o", Hosts: []string{"other.test"}}).Write(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		entry  tlsmat.Entry
		args   []string
		change func(*tls.Config)
		id     string
		hint   string
	}{
		{"TLS 1.1 only", trust, []string{"-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"}, nil, "version.old", "TLS 1.2"},
		{"TLS 1.2 only, 1.3 wanted", strict, []string{"-tls1_2"}, nil, "version.min_version", `set mtls.corp.min_version to "1.2"`},
		{"TLS 1.3 only, 1.2 offered", trust, []string{"-tls1_3"}, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "version.old", "TLS 1.2"},
		{"no cipher, TLS 1.2", trust, []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, nil, "no_cipher.refused", "ECDHE"},
		{"no cipher, TLS 1.2, certificate wanted", trust, []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256", "-Verify", "5"}, nil, "no_cipher.refused", "ECDHE"},
		{"no curve, TLS 1.3", trust, []string{"-tls1_3", "-groups", "X448"}, nil, "no_cipher.refused", "ECDHE"},
		{"no protocol", trust, []string{"-alpn", "strange"}, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, "no_alpn.refused", "check the port in the URL"},
		{"no such name", trust, []string{"-servername", "other.test", "-servername_fatal", "-cert2", other, "-key2", otherKey},
			func(c *tls.Config) { c.ServerName = "unknown.test" }, "unrecognized_name.refused", "mtls.corp.server_name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := sServer(t, servers, clients, tt.args...)
			m, seen := loadEntry(t, tt.entry), &tlsmat.Seen{}
			client := m.TLSConfig("127.0.0.1")
			if tt.change != nil {
				tt.change(client)
			}
			check(t, Explain(dial(t, "tcp", addr, client, seen), "site.test", m, seen), tt.id, "site.test", tt.hint)
		})
	}
}

func TestRenegotiationIsNotAskedForByAccident(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	addr := sServer(t, servers, clients, "-tls1_2")
	m, seen := load(t, nil, servers.PEM()), &tlsmat.Seen{}
	if err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen); err != nil || seen.Asked() {
		t.Errorf("%v, asked %v", err, seen.Asked())
	}
}
