package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var rsaKey = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func ecKey(curve elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(curve, rand.Reader)) }

func edKey() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

// newKey makes another key of the same kind.
func newKey(like crypto.PublicKey) crypto.Signer {
	switch k := like.(type) {
	case *rsa.PublicKey:
		return must(rsa.GenerateKey(rand.Reader, 2048))
	case *ecdsa.PublicKey:
		return ecKey(k.Curve)
	}
	return edKey()
}

func decode(s string) []byte { return must(base64.StdEncoding.DecodeString(s)) }

func readKey(path string) crypto.Signer {
	b, _ := pem.Decode(must(os.ReadFile(path)))
	return must(x509.ParsePKCS8PrivateKey(b.Bytes)).(crypto.Signer)
}

func readChain(path string) (chain [][]byte) {
	rest := must(os.ReadFile(path))
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return chain
		}
		chain = append(chain, b.Bytes)
	}
}

// home is a directory with the files of a client with this key, nil for any.
func home(t *testing.T, ca *tlstest.CA, key crypto.Signer) (dir string, pair *tlstest.Pair) {
	t.Helper()
	dir = t.TempDir()
	pair = ca.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: key})
	if _, _, err := pair.Write(dir, "client"); err != nil {
		t.Fatal(err)
	}
	return dir, pair
}

// impatient are limits for tests of real processes that misbehave.
var impatient = limits{ask: 2 * time.Second, sign: 2 * time.Second, grace: 300 * time.Millisecond}

// started runs the test signer, which behaves like that, and ends it with the test.
func started(t *testing.T, how, dir string, l limits) *Process {
	t.Helper()
	p, err := start(t.Context(), argv(how, dir), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func argv(how, dir string) []string { return []string{os.Args[0], asSigner, how, dir} }

// keyOf is the identity's key.
func keyOf(t *testing.T, p *Process) crypto.Signer {
	t.Helper()
	_, key, err := p.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signs asks for one signature of an ECDSA key.
func signs(key crypto.Signer) error {
	_, err := key.Sign(nil, make([]byte, 32), crypto.SHA256)
	return err
}

func fault(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *Error", err, err)
	}
	return e
}

// need skips a test without a program, which CI must have.
func need(t *testing.T, program string, found error) {
	t.Helper()
	switch {
	case found == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is not installed, and CI must not skip this", program)
	default:
		t.Skipf("%s is not installed", program)
	}
}
