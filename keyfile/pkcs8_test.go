package keyfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// pbes2 is an encrypted key to be spoiled.
type pbes2 struct {
	scheme, kdf, cipher asn1.ObjectIdentifier
	params              any // of the kdf
	iv                  any
	data                []byte
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt      []byte
	N, R, P   int
	KeyLength int `asn1:"optional"`
}

func (p pbes2) marshal(t testing.TB) []byte {
	t.Helper()
	der := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	algorithm := func(id asn1.ObjectIdentifier, params any) pkix.AlgorithmIdentifier {
		return pkix.AlgorithmIdentifier{Algorithm: id, Parameters: asn1.RawValue{FullBytes: der(params)}}
	}
	inner := struct{ KDF, Cipher pkix.AlgorithmIdentifier }{algorithm(p.kdf, p.params), algorithm(p.cipher, p.iv)}
	return der(struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{algorithm(p.scheme, inner), p.data})
}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidAES128 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
)

// encryptedKey is a key under the passphrase "right", with the PRF left out: it is HMAC-SHA1 then.
func encryptedKey(t testing.TB, plain []byte) pbes2 {
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
	padded := append([]byte{}, plain...)
	for range pad {
		padded = append(padded, byte(pad))
	}
	data := make([]byte, len(padded))
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(data, padded)
	return pbes2{oidPBES2, oidPBKDF2, oidAES128, pbkdf2Params{Salt: salt, Iterations: 100}, iv, data}
}

func TestDecryptPKCS8(t *testing.T) {
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	plain := block1(t, pair.KeyPEM).Bytes
	salt := []byte("saltsalt")
	prf := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3}}
	for _, tt := range []struct {
		name  string
		spoil func(*pbes2)
		want  string // "": decrypted
	}{
		{"sound", func(*pbes2) {}, ""},
		{"key length given", func(p *pbes2) { p.params = pbkdf2Params{salt, 100, 16, pkix.AlgorithmIdentifier{}} }, ""},
		{"another key length", func(p *pbes2) { p.params = pbkdf2Params{salt, 100, 32, pkix.AlgorithmIdentifier{}} }, "damaged"},
		{"no iteration", func(p *pbes2) { p.params = pbkdf2Params{Salt: salt, Iterations: 0} }, "damaged"},
		{"too many iterations", func(p *pbes2) { p.params = pbkdf2Params{Salt: salt, Iterations: maxIterations + 1} }, "more than 5000000 iterations"},
		{"unknown PRF", func(p *pbes2) { p.params = pbkdf2Params{salt, 100, 0, prf} }, "function 1.2.3"},
		{"KDF parameters of another kind", func(p *pbes2) { p.params = "x" }, "damaged"},
		{"unknown KDF", func(p *pbes2) { p.kdf = prf.Algorithm }, "key derivation 1.2.3"},
		{"scrypt, other costs", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 16, 1, 1, 0} }, "wrong passphrase"},
		{"scrypt, too much memory", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 1 << 22, 1, 1, 0} }, "cost N=4194304, r=1, p=1"},
		{"scrypt, huge r", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 2, 1 << 60, 1, 0} }, "cost N=2"},
		{"scrypt, too much work", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 1 << 18, 8, 4, 0} }, "cost N=262144, r=8, p=4"},
		{"scrypt, huge p", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 2, 1, 1 << 60, 0} }, "cost N=2"},
		{"scrypt, N no power of two", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 3, 1, 1, 0} }, "damaged"},
		{"scrypt, r zero", func(p *pbes2) { p.kdf, p.params = oidScrypt, scryptParams{salt, 2, 0, 1, 0} }, "damaged"},
		{"unknown cipher", func(p *pbes2) { p.cipher = prf.Algorithm }, "encryption 1.2.3"},
		{"RC2", func(p *pbes2) { p.cipher = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 2} }, "encryption RC2"},
		{"RC4", func(p *pbes2) { p.cipher = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 4} }, "encryption RC4"},
		{"DES in OFB mode", func(p *pbes2) { p.cipher = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 8} }, "DES in another mode than CBC"},
		{"AES in CFB mode", func(p *pbes2) { p.cipher = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 44} }, "AES in another mode than CBC"},
		{"SM4", func(p *pbes2) { p.cipher = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2} }, "encryption SM4"},
		{"HMAC-SHA3", func(p *pbes2) {
			p.params = pbkdf2Params{salt, 100, 0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 14}}}
		}, "function HMAC-SHA3-256"},
		{"PKCS#5 v1.5", func(p *pbes2) { p.scheme = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 3} }, "PBES1 (PKCS#5 v1.5)"},
		{"short IV", func(p *pbes2) { p.iv = []byte{1} }, "damaged"},
		{"IV of another kind", func(p *pbes2) { p.iv = 1 }, "damaged"},
		{"no data", func(p *pbes2) { p.data = nil }, "damaged"},
		{"cut off", func(p *pbes2) { p.data = p.data[:len(p.data)-1] }, "damaged"},
		{"last block lost", func(p *pbes2) { p.data = p.data[:len(p.data)-16] }, "wrong passphrase"},
		{"another salt", func(p *pbes2) { p.params = pbkdf2Params{Salt: []byte("pepper"), Iterations: 100} }, "wrong passphrase"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := encryptedKey(t, plain)
			tt.spoil(&p)
			key := write(t, "key.pem", encode("ENCRYPTED PRIVATE KEY", p.marshal(t)))
			err := loadErr(t, entry{Name: "corp", Cert: write(t, "cert.pem", pair.CertPEM), Key: key, Passphrase: pass("right")})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Cause.Says, tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if got, want := err.Code() == "tls.passphrase_wrong", tt.want == "wrong passphrase"; got != want {
				t.Errorf("code %s", err.Code())
			}
		})
	}
}

// What decrypts to a key of an unknown kind was decrypted with the right passphrase.
func TestRightPassphraseOfUnsupportedKey(t *testing.T) {
	ed448, err := asn1.Marshal(privateKeyInfo{Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 101, 113}}, PrivateKey: make([]byte, 59)})
	if err != nil {
		t.Fatal(err)
	}
	key := write(t, "key.pem", encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, ed448).marshal(t)))
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	e := loadErr(t, entry{Name: "corp", Cert: write(t, "cert.pem", pair.CertPEM), Key: key, Passphrase: pass("right")})
	if e == nil || e.Code() != "tls.key_file" || !strings.Contains(e.Cause.Says, "an Ed448 key is not supported") {
		t.Errorf("%v", e)
	}
}

func TestUnsupportedLegacyEncryption(t *testing.T) {
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "CAMELLIA-256-CBC,00"}, Bytes: make([]byte, 32)})
	e := loadErr(t, entry{Name: "corp", Cert: write(t, "cert.pem", pair.CertPEM), Key: write(t, "key.pem", key), Passphrase: pass("right")})
	if e == nil || e.Code() != "tls.key_file" || !strings.Contains(e.Cause.Says, "the encryption CAMELLIA-256-CBC is not supported") || !strings.Contains(e.Hint(), "openssl pkcs8 -topk8") {
		t.Errorf("%v", e)
	}
}

func TestDamagedLegacyEncryption(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers map[string]string
		size    int
	}{
		{"no DEK-Info", map[string]string{"Proc-Type": "4,ENCRYPTED"}, 32},
		{"IV not hex", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,xyz"}, 32},
		{"cut off", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00000000000000000000000000000000"}, 31},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := Block{Block: &pem.Block{Type: "RSA PRIVATE KEY", Headers: tt.headers, Bytes: make([]byte, tt.size)}}
			if !b.encrypted() {
				t.Error("not seen as encrypted")
			}
			if _, err := b.decrypt([]byte("x")); !errors.Is(err, errDamaged) {
				t.Errorf("%v, want %v", err, errDamaged)
			}
		})
	}
}
