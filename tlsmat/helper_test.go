package tlsmat

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// write puts a file into a directory of its own, readable by its owner only.
func write(t *testing.T, name string, data ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes.Join(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads the pair, with roots when there are any, as the entry "corp".
func load(t *testing.T, p *tlstest.Pair, roots ...[]byte) *Material {
	t.Helper()
	e := Entry{Name: "corp"}
	if p != nil {
		var err error
		if e.Cert, e.Key, err = p.Write(t.TempDir(), "client"); err != nil {
			t.Fatal(err)
		}
	}
	if roots != nil {
		e.CA, e.CAOnly = []string{write(t, "ca.pem", roots...)}, true
	}
	m, err := Load(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func block1(t testing.TB, text []byte) *pem.Block {
	t.Helper()
	b, _ := pem.Decode(text)
	if b == nil {
		t.Fatal("no PEM block")
	}
	return b
}

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// openssl runs the tool, which CI must have.
func openssl(t *testing.T, args ...string) {
	t.Helper()
	needOpenSSL(t)
	if out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func needOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is not installed, and CI must not skip this")
		}
		t.Skip("openssl is not installed")
	}
}

// served is what a server made of one connection.
type served struct {
	state tls.ConnectionState
	err   error
}

// serve accepts one connection after another and reports each handshake.
func serve(t *testing.T, config *tls.Config) (addr string, got <-chan served) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	results := make(chan served, 16)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			tc := tls.Server(conn, config)
			err = tc.Handshake()
			results <- served{tc.ConnectionState(), err}
			if err == nil {
				_ = tc.Close()
				continue
			}
			// Closing with unread bytes would reset the connection, and the alert might be lost.
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	return ln.Addr().String(), results
}

// dial does a handshake and, because TLS 1.3 tells a client of its rejection only afterwards,
// reads once.
func dial(t *testing.T, addr string, config *tls.Config, seen ...*Seen) error {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(conn, config)
	ctx := t.Context()
	for _, s := range seen {
		ctx = WithSeen(ctx, s)
	}
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	if _, err := tc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func loadErr(t *testing.T, e Entry) *LoadError {
	t.Helper()
	m, err := Load(t.Context(), e)
	if m != nil && err != nil {
		t.Error("Load returned material and an error")
	}
	var le *LoadError
	if err != nil && !errors.As(err, &le) {
		t.Fatalf("error is %T, want *LoadError", err)
	}
	return le
}

func pass(s string) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return secret.New(s), nil }
}
