package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// FuzzKey gives any DER to the key parsers, which behind base64 few inputs reach.
func FuzzKey(f *testing.F) {
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice"})
	labels := []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"}
	plain := block1(f, pair.KeyPEM)
	f.Add(byte(0), plain.Bytes)
	f.Add(byte(3), encryptedKey(f, plain.Bytes).marshal(f))
	scrypted := encryptedKey(f, plain.Bytes)
	scrypted.kdf, scrypted.params = oidScrypt, scryptParams{[]byte("saltsalt"), 16, 1, 1, 0}
	f.Add(byte(3), scrypted.marshal(f))
	for _, seed := range pkcs12Seeds(f, pair) {
		f.Add(byte(4), seed)
	}
	f.Fuzz(func(t *testing.T, label byte, der []byte) {
		in := &File{Names: Names{Entry: "corp"}, Field: "key", Path: "/k", data: der}
		if int(label)%5 == 4 {
			wholeKeyFile(t, in)
			return
		}
		key, err := in.decodeKey(t.Context(), Block{Block: &pem.Block{Type: labels[int(label)%len(labels)], Bytes: der}, number: 1, line: 1}, fixed(secret.New("right"), "mtls.corp.passphrase"))
		var le *Error
		if err == nil && (!signs(key)) || err != nil && !errors.As(err, &le) {
			t.Fatalf("%T, %v", key, err)
		}
	})
}

// pkcs12Seeds are of each kind of encryption and MAC, none too costly to try often.
func pkcs12Seeds(t testing.TB, p *tlstest.Pair) [][]byte {
	var all [][]byte
	for with, passphrase := range map[*pkcs12.Encoder]string{
		pkcs12.Passwordless: "", pkcs12.Modern2023.WithIterations(1): "right", pkcs12.Modern2026.WithIterations(1): "",
		pkcs12.LegacyRC2.WithIterations(1): "", pkcs12.LegacyDES.WithIterations(1): "right",
	} {
		all = append(all, makePKCS12(t, with, p, passphrase))
	}
	return all
}

// wholeKeyFile takes the bytes for those of a file, in whatever format.
func wholeKeyFile(t *testing.T, in *File) {
	p := fixed(secret.New("right"), "mtls.corp.passphrase")
	blocks, err := in.Blocks()
	if err == nil {
		blocks, err = in.unpack(t.Context(), blocks, p)
	}
	var key crypto.Signer
	if err == nil {
		key, err = in.privateKey(t.Context(), blocks, p)
	}
	var le *Error
	if err == nil && (!signs(key)) || err != nil && (!errors.As(err, &le) || placeholder.MatchString(le.Hint())) {
		t.Fatalf("%T, %v", key, err)
	}
}

func signs(key crypto.Signer) bool {
	if key == nil {
		return false
	}
	switch key.Public().(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
