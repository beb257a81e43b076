package tlsmat

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
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

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
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

// file is a file of the entry "corp" with that content.
func file(t testing.TB, field string, data []byte) *keyfile.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), field)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := keyfile.Read(keyfile.Names{Entry: "corp"}, field, path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// makePKCS12 puts the authorities before the leaf's own issuer, as no tool promises an order.
func makePKCS12(t testing.TB, with *pkcs12.Encoder, p *tlstest.Pair, passphrase string) []byte {
	t.Helper()
	var authorities []*x509.Certificate
	for _, der := range p.Cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		authorities = append([]*x509.Certificate{c}, authorities...)
	}
	data, err := with.Encode(p.Cert.PrivateKey, p.Cert.Leaf, authorities, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// encryptedKey is a key under the passphrase "right": PBES2 with PBKDF2 and AES-128 (RFC 8018 §6.2).
func encryptedKey(t testing.TB, plain []byte) []byte {
	t.Helper()
	salt, iv := []byte("saltsalt"), make([]byte, aes.BlockSize)
	key, err := pbkdf2.Key(sha1.New, "right", salt, 100, 16)
	if err != nil {
		t.Fatal(err)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	data := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(data, data)
	algorithm := func(id asn1.ObjectIdentifier, params any) pkix.AlgorithmIdentifier {
		der, err := asn1.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.AlgorithmIdentifier{Algorithm: id, Parameters: asn1.RawValue{FullBytes: der}}
	}
	der, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{algorithm(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, struct{ KDF, Cipher pkix.AlgorithmIdentifier }{
		algorithm(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, struct {
			Salt       []byte
			Iterations int
		}{salt, 100}),
		algorithm(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, iv),
	}), data})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// checkSigner has got sign something that the public half of want verifies.
func checkSigner(t *testing.T, got, want crypto.Signer) {
	t.Helper()
	digest := sha256.Sum256([]byte("message"))
	sig, err := got.Sign(rand.Reader, digest[:], crypto.SHA256)
	public, ok := want.Public().(*ecdsa.PublicKey)
	if err != nil || !ok || !ecdsa.VerifyASN1(public, digest[:], sig) || !public.Equal(got.Public()) {
		t.Errorf("the signer is not that of the %T: %v", want, err)
	}
}
