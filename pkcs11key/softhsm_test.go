//go:build pkcs11

package pkcs11key

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"go.uber.org/goleak"
)

const pin, soPIN = "4711-CANARY", "so-0815"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hsm is SoftHSM with a directory of its own. It reads its configuration when it is initialized,
// which is when the first Token of a test is opened.
type hsm struct {
	t      *testing.T
	module string
	dir    string // of the tokens
	log    string // of the spy
}

func newHSM(t *testing.T) *hsm {
	t.Helper()
	h := &hsm{t: t, module: find(t, "softhsm2", "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib*/pkcs11/libsofthsm2.so")}
	h.dir = filepath.Join(t.TempDir(), "tokens")
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "softhsm2.conf")
	if err := os.WriteFile(conf, []byte(h.conf()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	return h
}

func (h *hsm) conf() string {
	return "directories.tokendir = " + h.dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
}

// spy makes the module of h one that writes down each call, and returns how often one was made.
func (h *hsm) spy() (calls func(name string) int) {
	h.t.Helper()
	h.log = filepath.Join(h.t.TempDir(), "spy.log")
	spy := find(h.t, "opensc-pkcs11", "/usr/lib/*/pkcs11-spy.so", "/usr/lib*/pkcs11-spy.so", "/usr/lib*/pkcs11/pkcs11-spy.so")
	h.t.Setenv("PKCS11SPY", h.module)
	h.t.Setenv("PKCS11SPY_OUTPUT", h.log)
	h.module = spy
	return func(name string) int {
		h.t.Helper()
		return strings.Count(h.spied(), ": "+name+"\n")
	}
}

// spied is what the spy wrote down.
func (h *hsm) spied() string {
	h.t.Helper()
	text, err := os.ReadFile(h.log)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// find returns the first file that fits, which CI must have.
func find(t *testing.T, debian string, patterns ...string) string {
	t.Helper()
	for _, p := range patterns {
		if found, _ := filepath.Glob(p); len(found) > 0 {
			return found[0]
		}
	}
	missing(t, debian)
	return ""
}

func missing(t *testing.T, debian string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI must not skip this", debian)
	}
	t.Skipf("%s is not installed", debian)
}

// run runs a tool of Debian's.
func (h *hsm) run(debian, name string, args ...string) string {
	h.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(h.t, debian)
	}
	out, err := exec.CommandContext(h.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (h *hsm) util(args ...string) string {
	h.t.Helper()
	return h.run("softhsm2", "softhsm2-util", args...)
}

// tool works in the token, logged in.
func (h *hsm) tool(token string, args ...string) string {
	h.t.Helper()
	return h.run("opensc", "pkcs11-tool", append([]string{"--module", h.module, "--token-label", token, "--login", "--pin", pin}, args...)...)
}

// token makes a token.
func (h *hsm) token(label string) {
	h.t.Helper()
	h.util("--init-token", "--free", "--label", label, "--so-pin", soPIN, "--pin", pin)
}

// key puts the key of the pair into the token.
func (h *hsm) key(token, id, label string, p *tlstest.Pair) {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "key.pem")
	if err := os.WriteFile(path, p.KeyPEM, 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.util("--import", path, "--token", token, "--id", id, "--label", label, "--pin", pin)
}

// cert puts a certificate into the token.
func (h *hsm) cert(token, id, label string, der []byte) {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "cert.der")
	if err := os.WriteFile(path, der, 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.tool(token, "--write-object", path, "--type", "cert", "--id", id, "--label", label)
}

// delete deletes a key and its certificate.
func (h *hsm) delete(token, id string) {
	h.t.Helper()
	for _, kind := range []string{"privkey", "pubkey", "cert"} {
		h.tool(token, "--delete-object", "--type", kind, "--id", id)
	}
}

// uri is a URI with the module of h and this path.
func (h *hsm) uri(path string, query ...string) string {
	all := append([]string{"module-path=" + (&url.URL{Path: h.module}).EscapedPath()}, query...)
	return "pkcs11:" + path + "?" + strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), "&")
}

// open opens what must open.
func (h *hsm) open(path string) *Token {
	h.t.Helper()
	token, err := Open(h.t.Context(), h.uri(path), secret.New(pin))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := token.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return token
}

// fails opens what must not open.
func (h *hsm) fails(uri, pin string, want catalogue.Cause) *Error {
	h.t.Helper()
	token, err := Open(h.t.Context(), uri, secret.New(pin))
	if err == nil {
		_ = token.Close()
	}
	return wantCause(h.t, err, want)
}

func wantCause(t *testing.T, err error, want catalogue.Cause) *Error {
	t.Helper()
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("got %T (%v), want %s", err, err, want.ID)
	}
	if got.Cause != want {
		t.Fatalf("got %s (%v), want %s", got.Cause.ID, err, want.ID)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", err, err, err, got.Hint()); strings.Contains(text, "CANARY") || strings.Contains(text, "{") && strings.Contains(got.Error()+got.Hint(), "{") {
		t.Errorf("a PIN or a placeholder is in %q", text)
	}
	return got
}

func identity(t *testing.T, token *Token) ([]*x509.Certificate, crypto.Signer) {
	t.Helper()
	chain, key, err := token.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return chain, key
}

// handshake shows chain and key to a server that demands a certificate of clients, and returns what
// the server saw. The client's error is of its first read, which is when TLS 1.3 tells of a refusal.
func handshake(t *testing.T, version uint16, clients *x509.CertPool, chain [][]byte, key crypto.Signer) (seen tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	authority := tlstest.NewCA("server")
	server := authority.ServerConfig("localhost")
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, clients
	server.MinVersion, server.MaxVersion = version, version
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		tc := tls.Server(conn, server)
		serverErr = tc.Handshake()
		seen = tc.ConnectionState()
		if serverErr == nil {
			_ = tc.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, conn)
	}()
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{
		ServerName: "localhost", RootCAs: authority.Pool(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: chain, PrivateKey: key}, nil
		},
	})
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err = conn.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			err = nil
		}
		_ = conn.Close()
	}
	<-done
	return seen, serverErr, err
}

// wantServed does a handshake that must succeed, and compares the certificates that the server got.
func wantServed(t *testing.T, version uint16, clients *x509.CertPool, chain [][]byte, key crypto.Signer, want ...[]byte) {
	t.Helper()
	seen, serverErr, clientErr := handshake(t, version, clients, chain, key)
	if serverErr != nil || clientErr != nil {
		t.Fatalf("server: %v; client: %v", serverErr, clientErr)
	}
	if seen.Version != version || len(seen.PeerCertificates) != len(want) {
		t.Fatalf("the server saw %s and %d certificates, want %s and %d", tls.VersionName(seen.Version), len(seen.PeerCertificates), tls.VersionName(version), len(want))
	}
	for i, c := range seen.PeerCertificates {
		if !bytes.Equal(c.Raw, want[i]) {
			t.Errorf("the server saw %s as certificate %d", c.Subject, i)
		}
	}
}

func raw(chain []*x509.Certificate) (all [][]byte) {
	for _, c := range chain {
		all = append(all, c.Raw)
	}
	return all
}
