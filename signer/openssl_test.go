package signer

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// TestOpenSSL shows signatures to another implementation, which also can demand PKCS #1 padding.
func TestOpenSSL(t *testing.T) {
	_, err := exec.LookPath("openssl")
	need(t, "openssl", err)
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	ec := ecKey(elliptic.P256())
	for _, tt := range []struct {
		name    string
		key     crypto.Signer
		version uint16
		accepts string // signature algorithms, as openssl names them
		padding any    // that the signer was asked for
	}{
		{"RSA PKCS #1 TLS 1.2", rsaKey(), tls.VersionTLS12, "RSA+SHA256", "pkcs1"},
		{"RSA PKCS #1 SHA-512 TLS 1.2", rsaKey(), tls.VersionTLS12, "RSA+SHA512", "pkcs1"},
		{"RSA-PSS TLS 1.2", rsaKey(), tls.VersionTLS12, "rsa_pss_rsae_sha384", "pss"},
		{"RSA-PSS TLS 1.3", rsaKey(), tls.VersionTLS13, "rsa_pss_rsae_sha512", "pss"},
		{"ECDSA TLS 1.2", ec, tls.VersionTLS12, "ECDSA+SHA256", nil},
		{"ECDSA SHA-512 TLS 1.2", ec, tls.VersionTLS12, "ECDSA+SHA512", nil},
		{"ECDSA TLS 1.3", ec, tls.VersionTLS13, "ECDSA+SHA256", nil},
		{"Ed25519 TLS 1.2", edKey(), tls.VersionTLS12, "ed25519", nil},
		{"Ed25519 TLS 1.3", edKey(), tls.VersionTLS13, "ed25519", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, pair := home(t, clients, tt.key)
			p := started(t, "good", dir, usual)
			addr := sServer(t, servers, clients, "-client_sigalgs", tt.accepts)
			page := statusPage(t, addr, clientConfig(servers, certificate(t, p), tt.version))
			block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Cert.Certificate[0]})
			if !bytes.Contains(page, bytes.TrimSpace(block)) {
				t.Errorf("the server did not see the certificate:\n%s", page)
			}
			requests := noted(t, dir, "requests")
			var asked map[string]any
			if err := json.Unmarshal([]byte(requests[len(requests)-1]), &asked); err != nil {
				t.Fatal(err)
			}
			if asked["method"] != "sign" || asked["padding"] != tt.padding {
				t.Errorf("the signer was asked %v", asked)
			}
		})
	}
}

// sServer starts openssl s_server, which demands a certificate and shows who came.
func sServer(t *testing.T, servers, clients *tlstest.CA, more ...string) (addr string) {
	t.Helper()
	dir := t.TempDir()
	cert, key, err := servers.Issue(tlstest.Leaf{CN: "site.test", Hosts: []string{"site.test"}}).Write(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "clients.pem")
	if err := os.WriteFile(ca, clients.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key", key, "-CAfile", ca,
		"-Verify", "2", "-verify_return_error", "-www", "-naccept", "1"}, more...)
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems bytes.Buffer
	cmd.Stderr = &problems
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("openssl: %s", problems.Bytes())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			addr = at
			break
		}
	}
	go func() {
		for lines.Scan() {
		}
		close(drained)
	}()
	if addr == "" {
		t.Fatal("openssl s_server does not listen")
	}
	return addr
}

func statusPage(t *testing.T, addr string, config *tls.Config) []byte {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(conn)
	if err != nil && len(page) == 0 {
		t.Fatal(err)
	}
	return page
}
