package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const (
	signingKey        = `issuers."https://as.example".private_key`
	signingPassphrase = `issuers."https://as.example".private_key_passphrase`
)

func TestLoadKey(t *testing.T) {
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	ecBytes, err := ecKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secrets := forms("Ed25519 seed", edKey.Seed())
	maps.Copy(secrets, forms("ECDSA scalar", ecBytes))
	maps.Copy(secrets, forms("RSA prime", rsaKey.Primes[0].Bytes()[:32]))
	const passphrase = "passphrase of the key"
	for _, tt := range []struct {
		name       string
		pem        []byte
		key        crypto.Signer
		passphrase string
		mode       os.FileMode
		warn       string
	}{
		{name: "PKCS#8 RSA", pem: encode("PRIVATE KEY", pkcs8(rsaKey)), key: rsaKey},
		{name: "PKCS#8 ECDSA", pem: encode("PRIVATE KEY", pkcs8(ecKey)), key: ecKey},
		{name: "PKCS#8 Ed25519", pem: encode("PRIVATE KEY", pkcs8(edKey)), key: edKey},
		{name: "PKCS#1", pem: encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), key: rsaKey},
		{name: "DER", pem: pkcs8(edKey), key: edKey},
		{name: "SEC 1", pem: encode("EC PRIVATE KEY", sec1), key: ecKey},
		{name: "after a certificate", pem: slices.Concat(tlstest.NewCA("CA").PEM(), encode("PRIVATE KEY", pkcs8(ecKey))), key: ecKey},
		{name: "needless passphrase", pem: encode("PRIVATE KEY", pkcs8(ecKey)), key: ecKey, passphrase: "x", warn: signingPassphrase + " is set, but the key is not encrypted"},
		{name: "others may read it", pem: encode("PRIVATE KEY", pkcs8(ecKey)), key: ecKey, mode: 0o644, warn: "is open to every user of this machine (mode 0644); run chmod 600"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.mode != 0 && runtime.GOOS == "windows" {
				t.Skip("no such permissions here")
			}
			path := write(t, "signing.pem", tt.pem)
			if tt.mode != 0 {
				if err := os.Chmod(path, tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			key, warnings, err := LoadKey(path, secret.New(tt.passphrase), signingKey, signingPassphrase)
			if err != nil {
				t.Fatal(err)
			}
			checkSigner(t, key, tt.key)
			got := strings.Join(warnings, "\n")
			if tt.warn == "" && got != "" || !strings.Contains(got, tt.warn) || strings.Contains(got, "mtls") {
				t.Errorf("warnings %q, want %q", got, tt.warn)
			}
			printed := output(t, key)
			for name, form := range secrets {
				if strings.Contains(printed, form) {
					t.Errorf("printing the signer shows the %s", name)
				}
			}
		})
	}
	t.Run("encrypted", func(t *testing.T) {
		needOpenSSL(t)
		in, out := write(t, "plain.pem", encode("PRIVATE KEY", pkcs8(ecKey))), filepath.Join(t.TempDir(), "encrypted.pem")
		cmd := exec.CommandContext(t.Context(), "openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", in, "-out", out, "-passout", "stdin")
		cmd.Stdin = strings.NewReader(passphrase + "\n")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if err := os.Chmod(out, 0o600); err != nil {
			t.Fatal(err)
		}
		key, warnings, err := LoadKey(out, secret.New(passphrase), signingKey, signingPassphrase)
		if err != nil || len(warnings) != 0 {
			t.Fatalf("%v, warnings %q", err, warnings)
		}
		checkSigner(t, key, ecKey)
	})
}

// checkSigner has got sign something that the public half of want verifies.
func checkSigner(t *testing.T, got, want crypto.Signer) {
	t.Helper()
	message := []byte("message")
	digest := sha256.Sum256(message)
	var ok bool
	switch public := want.Public().(type) {
	case *rsa.PublicKey:
		sig, err := got.Sign(rand.Reader, digest[:], crypto.SHA256)
		ok = err == nil && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], sig) == nil && public.Equal(got.Public())
	case *ecdsa.PublicKey:
		sig, err := got.Sign(rand.Reader, digest[:], crypto.SHA256)
		ok = err == nil && ecdsa.VerifyASN1(public, digest[:], sig) && public.Equal(got.Public())
	case ed25519.PublicKey:
		sig, err := got.Sign(rand.Reader, message, crypto.Hash(0))
		ok = err == nil && ed25519.Verify(public, message, sig) && public.Equal(got.Public())
	}
	if !ok {
		t.Errorf("the signer is not that of the %T", want)
	}
}

func TestLoadKeyErrors(t *testing.T) {
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	public, err := x509.MarshalPKIXPublicKey(pair.Cert.Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, block1(t, pair.KeyPEM).Bytes).marshal(t))
	for _, tt := range []struct {
		name, code   string
		path         string // "": a file with pem
		pem          []byte
		passphrase   string
		reason, hint string
	}{
		{name: "no file", code: "tls.key_file", path: filepath.Join(t.TempDir(), "absent"), reason: "does not exist", hint: "check the path in " + signingKey},
		{name: "directory", code: "tls.key_file", path: t.TempDir(), reason: "is a directory"},
		{name: "empty", code: "tls.key_file", pem: []byte{}, reason: "is empty"},
		{name: "not PEM", code: "tls.key_file", pem: []byte("hello"), reason: "no BEGIN line"},
		{name: "cut", code: "tls.key_file", pem: pair.KeyPEM[:60], reason: "has no END line"},
		{name: "certificate", code: "tls.key_file", pem: pair.CertPEM, reason: "holds a certificate, but no private key", hint: "set " + signingKey + " to the file"},
		{name: "public key", code: "tls.key_file", pem: encode("PUBLIC KEY", public), reason: "holds a public key", hint: "set " + signingKey},
		{name: "spoilt", code: "tls.key_file", pem: encode("PRIVATE KEY", []byte{0x30, 1, 0}), reason: "is not a valid private key"},
		{name: "no passphrase", code: "tls.passphrase_required", pem: encrypted, reason: "no passphrase is set", hint: "set " + signingPassphrase + ";"},
		{name: "wrong passphrase", code: "tls.passphrase_wrong", pem: encrypted, passphrase: canaryPassphrase, reason: "wrong passphrase", hint: "correct " + signingPassphrase},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if path == "" {
				path = write(t, "signing.pem", tt.pem)
			}
			key, warnings, err := LoadKey(path, secret.New(tt.passphrase), signingKey, signingPassphrase)
			failed, ok := errors.AsType[*Error](err)
			if !ok || key != nil || warnings != nil {
				t.Fatalf("LoadKey = %v, %v, %v, want a Error", key, warnings, err)
			}
			if failed.Code() != tt.code || failed.Path != path || !strings.HasPrefix(err.Error(), signingKey+" "+path+": ") || !strings.Contains(err.Error(), tt.reason) || !strings.Contains(failed.Hint(), tt.hint) {
				t.Errorf("error %q, code %s, hint %q; want %s, %q, %q", err, failed.Code(), failed.Hint(), tt.code, tt.reason, tt.hint)
			}
			if all := err.Error() + failed.Hint(); strings.Contains(all, "mtls") || strings.Contains(all, canaryPassphrase) {
				t.Errorf("the error speaks of mtls, or shows the passphrase: %s", all)
			}
		})
	}
}

const canaryPassphrase = "canary-passphrase-44e1"
