package tlsmat

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// FuzzLoad gives any bytes to what reads certificates, keys and bundles: it answers with material
// whose certificate and key belong together or with a LoadError, and never panics.
func FuzzLoad(f *testing.F) {
	root := tlstest.NewCA("Root")
	pair := root.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	//lint:ignore SA1019 reading this format is what is tested
	legacy, err := x509.EncryptPEMBlock(zeros{}, "EC PRIVATE KEY", []byte{0x30, 3, 2, 1, 1}, []byte("right"), x509.PEMCipherAES128)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pair.CertPEM, pair.KeyPEM, root.PEM())
	f.Add(append(bytes.Clone(pair.KeyPEM), pair.CertPEM...), []byte{}, []byte{})
	f.Add(pair.KeyPEM, pair.CertPEM, []byte("\xff\xfe"))
	f.Add(pair.Cert.Certificate[0], []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"), []byte("\ufeff"))
	f.Add(pair.CertPEM, pem.EncodeToMemory(legacy), []byte("-----BEGIN X-----"))
	f.Fuzz(func(t *testing.T, cert, key, ca []byte) {
		in := files{cert: &file{entry: "corp", field: "cert", path: "/c", data: cert}}
		if len(key) > 0 {
			in.key = &file{entry: "corp", field: "key", path: "/k", data: key}
		}
		if len(ca) > 0 {
			in.ca = &file{entry: "corp", field: "ca", path: "/a", data: ca}
		}
		m, err := build(Entry{Name: "corp", Passphrase: pass("right"), CAOnly: true}, in)
		if err != nil {
			var le *LoadError
			if m != nil || !errors.As(err, &le) || le.Code() == "" || le.Hint() == "" || le.Error() == "" {
				t.Fatalf("%v, %T %v", m, err, err)
			}
			return
		}
		if m.Leaf() == nil || len(m.Certificate().Certificate) == 0 || len(m.Facts()) == 0 {
			t.Fatal("material without a certificate")
		}
		if pub, ok := m.Leaf().PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(m.cert.PrivateKey.(*signer).Public()) {
			t.Fatal("certificate and key do not belong together")
		}
		_ = m.Warnings()
	})
}

// FuzzKey gives any DER to the key parsers, which behind base64 few inputs reach.
func FuzzKey(f *testing.F) {
	labels := []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"}
	plain, _ := pem.Decode(tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice"}).KeyPEM)
	f.Add(byte(0), plain.Bytes)
	f.Add(byte(3), encryptedKey(f, plain.Bytes).marshal(f))
	scrypted := encryptedKey(f, plain.Bytes)
	scrypted.kdf, scrypted.params = oidScrypt, scryptParams{[]byte("saltsalt"), 16, 1, 1, 0}
	f.Add(byte(3), scrypted.marshal(f))
	f.Fuzz(func(t *testing.T, label byte, der []byte) {
		in := &file{entry: "corp", field: "key", path: "/k"}
		key, _, err := in.decodeKey(block{Block: &pem.Block{Type: labels[int(label)%len(labels)], Bytes: der}, number: 1, line: 1}, pass("right"))
		var le *LoadError
		if err == nil && (key == nil || algorithmName(key.Public()) == "unknown") || err != nil && !errors.As(err, &le) {
			t.Fatalf("%T, %v", key, err)
		}
	})
}

// zeros is a source of chance for reproducible seeds.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
