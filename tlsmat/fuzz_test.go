package tlsmat

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

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
	keyDER, chainDER := block1(f, pair.KeyPEM).Bytes, bytes.Join(pair.Cert.Certificate, nil)
	f.Add(chainDER, keyDER, root.Cert().Raw)
	f.Add(append(bytes.Clone(keyDER), chainDER...), []byte{}, chainDER)
	f.Add(chainDER, encryptedKey(f, keyDER), []byte{0x30, 0x80})
	for _, seed := range pkcs12Seeds(f, pair) {
		f.Add(seed, []byte{}, seed)
		f.Add(pair.CertPEM, seed, []byte{})
	}
	f.Fuzz(func(t *testing.T, cert, key, ca []byte) {
		in := &inputs{cert: file(t, "cert", cert)}
		if len(key) > 0 {
			in.key = file(t, "key", key)
		}
		if len(ca) > 0 {
			in.ca = []rootFile{{File: file(t, "ca", ca)}}
		}
		m, err := build(t.Context(), Entry{Name: "corp", Passphrase: pass("right"), CAOnly: true}, in)
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
		if pub, ok := m.Leaf().PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(m.cert.PrivateKey.(crypto.Signer).Public()) {
			t.Fatal("certificate and key do not belong together")
		}
		_ = m.Warnings()
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

// zeros is a source of chance for reproducible seeds.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
