package signer

import (
	"bytes"
	"crypto/tls"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// TestExample runs docs/examples/signer.py with every kind of key; TestExamplePKCS1 with the padding
// that Go servers do not prefer.
func TestExample(t *testing.T) {
	python, err := exec.LookPath("python3")
	need(t, "python3", err)
	_, err = exec.LookPath("openssl")
	need(t, "openssl", err)
	program := must(filepath.Abs("../docs/examples/signer.py"))
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	server := servers.MutualConfig(clients, "site.test")
	for _, kind := range keyKinds {
		t.Run(kind.name, func(t *testing.T) {
			dir, pair := home(t, clients.Intermediate("Issuing"), kind.key())
			p, err := Start(t.Context(), []string{python, program, filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			cert := certificate(t, p)
			for name, v := range tlsVersions {
				seen, serverErr, clientErr := handshake(t, server, clientConfig(servers, cert, v))
				if serverErr != nil || clientErr != nil {
					t.Fatalf("%s: server: %v, client: %v", name, serverErr, clientErr)
				}
				if len(seen) != 2 || !seen[0].Equal(pair.Cert.Leaf) {
					t.Errorf("%s: the server saw %d certificates", name, len(seen))
				}
			}
			// A renewed pair is seen, and the key of before is told apart.
			if _, _, err := clients.Issue(tlstest.Leaf{CN: "bob", Client: true}).Write(dir, "client"); err != nil {
				t.Fatal(err)
			}
			_, _, err = handshake(t, server, clientConfig(servers, cert, tls.VersionTLS12))
			if e := fault(t, err); e.ID != "signer.refused_for_now" {
				t.Errorf("the key of before: %s: %v", e.ID, e)
			}
			seen, serverErr, clientErr := handshake(t, server, clientConfig(servers, certificate(t, p), tls.VersionTLS13))
			if serverErr != nil || clientErr != nil || seen[0].Subject.CommonName != "bob" {
				t.Errorf("renewed: server: %v, client: %v", serverErr, clientErr)
			}
		})
	}
}

func TestExamplePKCS1(t *testing.T) {
	python, err := exec.LookPath("python3")
	need(t, "python3", err)
	_, err = exec.LookPath("openssl")
	need(t, "openssl", err)
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	dir, pair := home(t, clients, rsaKey())
	p, err := Start(t.Context(), []string{python, "../docs/examples/signer.py", filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	addr := sServer(t, servers, clients, "-client_sigalgs", "RSA+SHA256")
	page := statusPage(t, addr, clientConfig(servers, certificate(t, p), tls.VersionTLS12))
	if !bytes.Contains(page, bytes.TrimSpace(pair.CertPEM)) {
		t.Errorf("the server did not see the certificate:\n%s", page)
	}
}
