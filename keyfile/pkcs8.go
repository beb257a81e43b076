package keyfile

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Bounds on what a key file may make us compute: some seconds and 256 MiB at most.
const (
	maxIterations  = 5_000_000
	maxScryptBlock = 2 << 20 // N·r; memory is 128 bytes each
	maxScryptP     = 8
	maxScryptWork  = 2 * maxScryptBlock // N·r·p
)

// privateKeyInfo is RFC 5208 §5; encoding/asn1 ignores what follows the last field.
type privateKeyInfo struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
}

// encrypted covers PKCS#8 and the older encryption of the PEM text itself (RFC 1421 §4.6.1.1).
func (b Block) encrypted() bool {
	return b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED")
}

// decrypt returns the DER of the key, errPassphrase, errDamaged or an unsupportedError.
func (b Block) decrypt(passphrase []byte) ([]byte, error) {
	if b.Type == "ENCRYPTED PRIVATE KEY" {
		return decryptPKCS8(b.Bytes, passphrase)
	}
	if name, _, _ := strings.Cut(b.Headers["DEK-Info"], ","); name != "" && !legacyCiphers[name] {
		return nil, unsupportedEncryption("the encryption " + sanitize.Line(name, 40))
	}
	//lint:ignore SA1019 the encryption is weak, but people have such keys and only read them here
	der, err := x509.DecryptPEMBlock(b.Block, passphrase)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, errPassphrase
	case err != nil:
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	return checkPlain(der)
}

// legacyCiphers are those of [x509.DecryptPEMBlock].
var legacyCiphers = map[string]bool{"DES-CBC": true, "DES-EDE3-CBC": true, "AES-128-CBC": true, "AES-192-CBC": true, "AES-256-CBC": true}

// checkPlain tells a wrong passphrase whose padding happened to be right from a key: what a key
// begins with is a sequence that spans everything and starts with a small number.
func checkPlain(der []byte) ([]byte, error) {
	var outer asn1.RawValue
	var version int
	rest, err := asn1.Unmarshal(der, &outer)
	if err == nil && len(rest) == 0 && outer.Tag == asn1.TagSequence {
		_, err = asn1.Unmarshal(outer.Bytes, &version)
		if err == nil {
			return der, nil
		}
	}
	clear(der)
	return nil, errPassphrase
}

// decryptPKCS8 is RFC 5958 §3 with PBES2, RFC 8018 §6.2.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errDamaged
	}
	if id := info.Algorithm.Algorithm.String(); id != "1.2.840.113549.1.5.13" {
		return nil, unsupportedEncryption("the encryption " + schemeName(id))
	}
	var params struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, errDamaged
	}
	scheme, ok := ciphers[params.Cipher.Algorithm.String()]
	if !ok {
		return nil, unsupportedEncryption("the encryption " + schemeName(params.Cipher.Algorithm.String()))
	}
	var iv []byte
	if _, err := asn1.Unmarshal(params.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, errDamaged
	}
	key, err := deriveKey(params.KDF, passphrase, scheme.keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	c, err := scheme.cipher(key)
	if err != nil {
		return nil, errDamaged
	}
	if len(iv) != c.BlockSize() || len(info.Data) == 0 || len(info.Data)%c.BlockSize() != 0 {
		return nil, errDamaged
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[len(plain)-1]) // RFC 8018 §6.1.1, step 4
	if pad == 0 || pad > c.BlockSize() {
		clear(plain)
		return nil, errPassphrase
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			clear(plain)
			return nil, errPassphrase
		}
	}
	return checkPlain(plain[:len(plain)-pad])
}

var ciphers = map[string]struct {
	keySize int
	cipher  func([]byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
	"1.3.14.3.2.7":            {8, des.NewCipher},
}

var prfs = map[string]func() hash.Hash{
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
	"1.2.840.113549.2.12": sha512.New512_224,
	"1.2.840.113549.2.13": sha512.New512_256,
	"1.2.840.113549.2.6":  md5.New,
}

func deriveKey(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int) ([]byte, error) {
	switch id := kdf.Algorithm.String(); id {
	case "1.2.840.113549.1.5.12":
		return derivePBKDF2(kdf.Parameters.FullBytes, passphrase, size)
	case "1.3.6.1.4.1.11591.4.11":
		return deriveScrypt(kdf.Parameters.FullBytes, passphrase, size)
	default:
		return nil, unsupportedEncryption("the key derivation " + algorithmName(id))
	}
}

func derivePBKDF2(der, passphrase []byte, size int) ([]byte, error) {
	var p struct { // RFC 8018 appendix A.2
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.Iterations < 1 || p.KeyLength != 0 && p.KeyLength != size {
		return nil, errDamaged
	}
	if p.Iterations > maxIterations {
		return nil, unsupportedEncryption(fmt.Sprintf("PBKDF2 with more than %d iterations", maxIterations))
	}
	prf := sha1.New // the default
	if len(p.PRF.Algorithm) > 0 {
		var ok bool
		if prf, ok = prfs[p.PRF.Algorithm.String()]; !ok {
			return nil, unsupportedEncryption("PBKDF2 with the function " + algorithmName(p.PRF.Algorithm.String()))
		}
	}
	return pbkdf2.Key(prf, string(passphrase), p.Salt, p.Iterations, size)
}

func deriveScrypt(der, passphrase []byte, size int) ([]byte, error) {
	var p struct { // RFC 7914 §7.1
		Salt      []byte
		N, R, P   int
		KeyLength int `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.N < 2 || p.N&(p.N-1) != 0 || p.R < 1 || p.P < 1 || p.KeyLength != 0 && p.KeyLength != size {
		return nil, errDamaged
	}
	if p.R > maxScryptBlock || p.N > maxScryptBlock/p.R || p.P > maxScryptP || p.N*p.R > maxScryptWork/p.P {
		return nil, unsupportedEncryption(fmt.Sprintf("scrypt with the cost N=%d, r=%d, p=%d", p.N, p.R, p.P))
	}
	return scrypt.Key(passphrase, p.Salt, p.N, p.R, p.P, size)
}

func unsupportedEncryption(what string) error { return &unsupportedError{what: what, encryption: true} }

// schemeName names the encryptions that tools write and nobody reads here.
func schemeName(id string) string {
	if name, ok := schemes[id]; ok {
		return name
	}
	for _, family := range families {
		if strings.HasPrefix(id, family.prefix) {
			return family.name
		}
	}
	return id
}

// schemes are those of RFC 8018 and RFC 7292 appendix C, and what OpenSSL has beside.
var schemes = map[string]string{
	"1.2.840.113549.1.5.1": "PBES1 (PKCS#5 v1.5)", "1.2.840.113549.1.5.3": "PBES1 (PKCS#5 v1.5)", "1.2.840.113549.1.5.4": "PBES1 (PKCS#5 v1.5)",
	"1.2.840.113549.1.5.6": "PBES1 (PKCS#5 v1.5)", "1.2.840.113549.1.5.10": "PBES1 (PKCS#5 v1.5)", "1.2.840.113549.1.5.11": "PBES1 (PKCS#5 v1.5)",
	"1.2.840.113549.3.2": "RC2", "1.2.840.113549.3.4": "RC4", "1.3.6.1.4.1.3029.1.2": "Blowfish", "1.2.840.113533.7.66.10": "CAST5",
}

var families = []struct{ prefix, name string }{
	{"1.2.840.113549.1.12.1.", "PBES1 (PKCS#12)"},
	{"1.2.392.200011.61.1.1.1.", "Camellia"}, {"0.3.4401.5.3.1.9.", "Camellia"},
	{"1.2.410.200046.1.1.", "ARIA"},
	{"1.2.410.200004.1.", "SEED"},
	{"1.2.156.10197.1.104", "SM4"},
	{"2.16.840.1.101.3.4.1.", "AES in another mode than CBC"},
	{"1.3.14.3.2.", "DES in another mode than CBC"},
}

// algorithmNames are those that are told apart nowhere else.
var algorithmNames = map[string]string{
	"1.2.840.113549.2.6": "HMAC-MD5", "1.2.840.113549.2.8": "HMAC-SHA-224", "1.2.840.113549.2.10": "HMAC-SHA-384",
	"1.2.840.113549.2.12": "HMAC-SHA-512/224", "1.2.840.113549.2.13": "HMAC-SHA-512/256",
	"2.16.840.1.101.3.4.2.13": "HMAC-SHA3-224", "2.16.840.1.101.3.4.2.14": "HMAC-SHA3-256",
	"2.16.840.1.101.3.4.2.15": "HMAC-SHA3-384", "2.16.840.1.101.3.4.2.16": "HMAC-SHA3-512",
	"1.2.156.10197.1.401.3.1": "HMAC-SM3", "1.2.156.10197.1.401": "SM3",
	"1.2.840.113549.2.5": "MD5", "2.16.840.1.101.3.4.2.4": "SHA-224", "2.16.840.1.101.3.4.2.2": "SHA-384",
	"2.16.840.1.101.3.4.2.6": "SHA-512/256", "2.16.840.1.101.3.4.2.5": "SHA-512/224",
	"1.3.6.1.4.1.11591.4.11": "scrypt", "1.2.840.113549.1.5.12": "PBKDF2",
}

func algorithmName(id string) string { return cmp.Or(algorithmNames[id], id) }
