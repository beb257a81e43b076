package tlstest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// handshake connects a client to a server and returns what each of them made of it.
func handshake(t *testing.T, server, client *tls.Config) (seen tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		tc := conn.(*tls.Conn)
		err = tc.Handshake()
		seen = tc.ConnectionState()
		done <- err
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(conn, client)
	if clientErr = tc.Handshake(); clientErr == nil {
		if _, clientErr = tc.Read(make([]byte, 1)); errors.Is(clientErr, io.EOF) {
			clientErr = nil
		}
	}
	return seen, <-done, clientErr
}

func TestMutualHandshake(t *testing.T) {
	servers, clients := NewCA("Servers"), NewCA("Clients")
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		issuer *CA
		leaf   Leaf
		chain  int
		fails  bool
	}{
		{name: "issued by the root", issuer: clients, leaf: Leaf{CN: "alice", Client: true}, chain: 1},
		{name: "issued by an intermediate of an intermediate", issuer: clients.Intermediate("A").Intermediate("B"), leaf: Leaf{CN: "alice", Client: true}, chain: 3},
		{name: "own key", issuer: clients, leaf: Leaf{CN: "alice", Client: true, Key: edKey}, chain: 1},
		{name: "expired", issuer: clients, leaf: Leaf{CN: "alice", Client: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, fails: true},
		{name: "a server certificate", issuer: clients, leaf: Leaf{CN: "alice"}, fails: true},
		{name: "another authority of the same name", issuer: NewCA("Clients"), leaf: Leaf{CN: "alice", Client: true}, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pair := tt.issuer.Issue(tt.leaf)
			seen, serverErr, clientErr := handshake(t, servers.MutualConfig(clients, "127.0.0.1", "::1", "site.test"),
				&tls.Config{RootCAs: servers.Pool(), ServerName: "site.test", Certificates: []tls.Certificate{pair.Cert}})
			if failed := serverErr != nil; failed != tt.fails {
				t.Fatalf("server: %v, want failure %v (client: %v)", serverErr, tt.fails, clientErr)
			}
			if tt.fails {
				return
			}
			if got := len(seen.PeerCertificates); got != tt.chain {
				t.Errorf("server received %d certificates, want %d", got, tt.chain)
			}
			if got := seen.PeerCertificates[0].Subject.CommonName; got != tt.leaf.CN {
				t.Errorf("server saw %q, want %q", got, tt.leaf.CN)
			}
		})
	}
}

func TestServerNames(t *testing.T) {
	ca := NewCA("Servers")
	for _, name := range []string{"site.test", "127.0.0.1", "::1"} {
		if _, _, err := handshake(t, ca.ServerConfig("site.test", "127.0.0.1", "::1"), &tls.Config{RootCAs: ca.Pool(), ServerName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var mismatch x509.HostnameError
	if _, _, err := handshake(t, ca.ServerConfig("site.test"), &tls.Config{RootCAs: ca.Pool(), ServerName: "other.test"}); !errors.As(err, &mismatch) {
		t.Errorf("other.test: %v, want a hostname error", err)
	}
}

func TestWrite(t *testing.T) {
	pair := NewCA("Clients").Intermediate("Issuing").Issue(Leaf{CN: "alice", Client: true, Organization: "Corp"})
	certPath, keyPath, err := pair.Write(t.TempDir(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{certPath: pair.CertPEM, keyPath: pair.KeyPEM} {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from the pair", path)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", path, got)
		}
	}
	loaded, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	if got := loaded.Leaf.Subject.String(); got != "CN=alice,O=Corp" {
		t.Errorf("subject %s", got)
	}
	if _, _, err := pair.Write(t.TempDir()+"/missing", "alice"); err == nil {
		t.Error("writing into a missing directory succeeded")
	}
}

func TestPEM(t *testing.T) {
	ca := NewCA("Root")
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca.PEM()) || !pool.Equal(ca.Pool()) {
		t.Error("PEM and Pool differ")
	}
	if !ca.Cert().IsCA || ca.Cert().Subject.CommonName != "Root" {
		t.Errorf("unexpected certificate %s", ca.Cert().Subject)
	}
}
