package tlsfault

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// produced are the causes that tests have seen in a failure.
var produced sync.Map

// TestMain fails when a cause of the catalogue occurs in no test, or one occurs that it lacks.
func TestMain(m *testing.M) {
	if certificate := os.Getenv(signerVariable); certificate != "" {
		refuseToSign(certificate)
		return
	}
	code := m.Run()
	if code == 0 && wholeSuite() {
		known := map[string]bool{}
		for _, c := range Causes() {
			known[c.ID] = true
			if _, ok := produced.Load(c.ID); !ok {
				fmt.Printf("no test produces the cause %s\n", c.ID)
				code = 1
			}
		}
		produced.Range(func(id, _ any) bool {
			if !known[id.(string)] {
				fmt.Printf("the cause %s is not in Causes\n", id)
				code = 1
			}
			return true
		})
	}
	os.Exit(code)
}

func wholeSuite() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// check compares a failure with what is wanted of it. id is the cause; its first part is the code.
func check(t *testing.T, f *Failure, id, message, hint string) {
	t.Helper()
	if f == nil {
		t.Fatalf("not explained, want %s", id)
	}
	t.Logf("%s\n%s\n→ %s", f.Code(), f, f.Hint())
	produced.Store(f.id, true)
	if f.id != id {
		t.Errorf("cause %s, want %s", f.id, id)
	}
	wholesome(t, f)
	if code, _, _ := strings.Cut(id, "."); f.Code() != "tls."+code {
		t.Errorf("code %s, want tls.%s", f.Code(), code)
	}
	if !strings.Contains(f.Error(), message) {
		t.Errorf("message %q, want %q", f, message)
	}
	if !strings.Contains(f.Hint(), hint) {
		t.Errorf("hint %q, want %q", f.Hint(), hint)
	}
}

// wholesome: no gap is left open, and nothing unprintable gets through.
func wholesome(t *testing.T, f *Failure) {
	t.Helper()
	printable(t, f)
	for _, s := range []string{f.Error(), f.Hint()} {
		if placeholder.MatchString(s) || strings.HasSuffix(s, ".") || strings.Contains(s, "%!") {
			t.Errorf("%s says %q", f.id, s)
		}
	}
}

func printable(t *testing.T, f *Failure) {
	t.Helper()
	for _, s := range []string{f.Error(), f.Hint()} {
		if s == "" || s != sanitize.Line(s, 4000) {
			t.Errorf("%s says %q, which is not fit to print", f.id, s)
		}
	}
}

// need is a program that CI must have.
func need(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI must not skip this", program)
	}
	t.Skipf("%s is not installed", program)
	return ""
}

// write puts a file into a directory of its own, readable by its owner only.
func write(t *testing.T, name string, data ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes.Join(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads the pair, which may be nil, as the entry "corp", with these roots alone if there are any.
func load(t *testing.T, p *tlstest.Pair, roots ...[]byte) *tlsmat.Material {
	t.Helper()
	e := tlsmat.Entry{Name: "corp"}
	if p != nil {
		var err error
		if e.Cert, e.Key, err = p.Write(t.TempDir(), "client"); err != nil {
			t.Fatal(err)
		}
	}
	if roots != nil {
		e.CA, e.CAOnly = []string{write(t, "ca.pem", roots...)}, true
	}
	return loadEntry(t, e)
}

func loadEntry(t *testing.T, e tlsmat.Entry) *tlsmat.Material {
	t.Helper()
	m, err := tlsmat.Load(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// identity is a certificate of the tests' own making, for what tlstest does not issue.
type identity struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// sign issues a certificate; a nil issuer signs itself. A nil key is a fresh one.
func sign(t *testing.T, template *x509.Certificate, key crypto.Signer, issuer *identity) *identity {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent := &identity{template, key}
	if issuer != nil {
		parent = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{cert, key}
}

func commonName(cn string) pkix.Name { return pkix.Name{CommonName: cn} }

func (id *identity) pem() []byte { return encode("CERTIFICATE", id.cert.Raw) }

// pair is the identity with others in its chain.
func (id *identity) pair(t *testing.T, above ...*identity) *tlstest.Pair {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		t.Fatal(err)
	}
	p := &tlstest.Pair{Cert: tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key, Leaf: id.cert}, CertPEM: id.pem(), KeyPEM: encode("PRIVATE KEY", der)}
	for _, up := range above {
		p.Cert.Certificate = append(p.Cert.Certificate, up.cert.Raw)
		p.CertPEM = append(p.CertPEM, up.pem()...)
	}
	return p
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// leafOnly drops the rest of the chain.
func leafOnly(p *tlstest.Pair) *tlstest.Pair {
	block, _ := pem.Decode(p.CertPEM)
	p.CertPEM = pem.EncodeToMemory(block)
	p.Cert.Certificate = p.Cert.Certificate[:1]
	return p
}

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// serve accepts one connection after another and reports how each handshake ended.
func serve(t *testing.T, config *tls.Config) (addr string, got <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	results := make(chan error, 16)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			tc := tls.Server(conn, config)
			err = tc.Handshake()
			results <- err
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

// dial does a handshake and, because TLS 1.3 tells a client of its rejection only afterwards, reads
// once. Nil: the server did not object.
func dial(t *testing.T, network, addr string, config *tls.Config, seen *tlsmat.Seen) error {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(conn, config)
	if err := tc.HandshakeContext(tlsmat.WithSeen(t.Context(), seen)); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, err = tc.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// asked is what a handshake records in which a server asks for certificates of these authorities.
func asked(t testing.TB, m *tlsmat.Material, authorities ...*tlstest.CA) *tlsmat.Seen {
	t.Helper()
	config := tlstest.NewCA("Servers").ServerConfig("site.test")
	config.ClientAuth = tls.RequestClientCert
	if authorities != nil {
		config.ClientCAs = x509.NewCertPool()
		for _, ca := range authorities {
			config.ClientCAs.AddCert(ca.Cert())
		}
	}
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	go func() { _ = tls.Server(theirs, config).Handshake() }()
	seen := &tlsmat.Seen{}
	client := m.TLSConfig("site.test")
	client.InsecureSkipVerify = true // only what it records is of interest
	if err := tls.Client(ours, client).HandshakeContext(tlsmat.WithSeen(t.Context(), seen)); err != nil {
		t.Fatal(err)
	}
	if !seen.Asked() || seen.Sent() != (m.Leaf() != nil) {
		t.Fatalf("asked %v, sent %v", seen.Asked(), seen.Sent())
	}
	return seen
}

// answer starts a server that writes these bytes to whoever has said something.
func answer(t *testing.T, reply []byte) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = conn.Read(make([]byte, 16<<10))
			_, _ = conn.Write(reply)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	return ln.Addr().String()
}

func get(t *testing.T, address string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
