package keyfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// TestOpenSSLKeys decrypts what the tool writes, with the right passphrase, a wrong one and none.
func TestOpenSSLKeys(t *testing.T) {
	needOpenSSL(t)
	const right = "correct horse 4 battery"
	dir := t.TempDir()
	cert := map[string]string{}
	plain := map[string]string{}
	for kind, args := range map[string][]string{
		"rsa": {"-newkey", "rsa:2048"},
		"ec":  {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"ed":  {"-newkey", "ed25519"},
	} {
		cert[kind], plain[kind] = filepath.Join(dir, kind+".pem"), filepath.Join(dir, kind+".key")
		openssl(t, append([]string{"req", "-x509", "-nodes", "-subj", "/CN=" + kind, "-days", "60", "-keyout", plain[kind], "-out", cert[kind]}, args...)...)
	}
	pkcs8 := []string{"pkcs8", "-topk8"}
	for _, tt := range []struct {
		name, kind string
		args       []string
		slow       bool
		code       string // "": it loads with the right passphrase
		reason     string
	}{
		{name: "default", kind: "rsa", args: pkcs8},
		{name: "default EC", kind: "ec", args: pkcs8},
		{name: "default Ed25519", kind: "ed", args: pkcs8},
		{name: "AES-128", kind: "ec", args: append(pkcs8, "-v2", "aes-128-cbc")},
		{name: "AES-192", kind: "ec", args: append(pkcs8, "-v2", "aes-192-cbc")},
		{name: "AES-256 SHA-1", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1")},
		{name: "AES-256 SHA-224", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA224")},
		{name: "AES-256 SHA-256", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256")},
		{name: "AES-256 SHA-384", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384")},
		{name: "AES-256 SHA-512", kind: "rsa", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512")},
		{name: "triple DES", kind: "ec", args: append(pkcs8, "-v2", "des3")},
		{name: "many iterations", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-iter", "100000"), slow: true},
		{name: "scrypt", kind: "ec", args: append(pkcs8, "-v2", "aes-128-cbc", "-scrypt"), slow: true},
		{name: "legacy AES-128 RSA", kind: "rsa", args: []string{"rsa", "-aes128", "-traditional"}},
		{name: "legacy AES-256 RSA", kind: "rsa", args: []string{"rsa", "-aes256", "-traditional"}},
		{name: "legacy triple DES EC", kind: "ec", args: []string{"ec", "-des3"}},
		{name: "PBES1 triple DES", kind: "ec", args: append(pkcs8, "-v1", "PBE-SHA1-3DES"), code: "tls.key_file", reason: "the encryption PBES1 (PKCS#12) is not supported"},
		{name: "PBES1 DES", kind: "ec", args: append(pkcs8, "-v1", "PBE-MD5-DES", "-provider", "default", "-provider", "legacy"), code: "tls.key_file", reason: "the encryption PBES1 (PKCS#5 v1.5) is not supported"},
		{name: "Camellia", kind: "ec", args: append(pkcs8, "-v2", "camellia-256-cbc"), code: "tls.key_file", reason: "the encryption Camellia is not supported"},
		{name: "ARIA", kind: "ec", args: append(pkcs8, "-v2", "aria-256-cbc"), code: "tls.key_file", reason: "the encryption ARIA is not supported"},
		{name: "SM4", kind: "ec", args: append(pkcs8, "-v2", "sm4-cbc"), code: "tls.key_file", reason: "the encryption SM4 is not supported"},
		{name: "SEED", kind: "ec", args: append(pkcs8, "-v2", "seed-cbc", "-provider", "default", "-provider", "legacy"), code: "tls.key_file", reason: "the encryption SEED is not supported"},
		{name: "RC2", kind: "ec", args: append(pkcs8, "-v2", "rc2-cbc", "-provider", "default", "-provider", "legacy"), code: "tls.key_file", reason: "the encryption RC2 is not supported"},
		{name: "Blowfish", kind: "ec", args: append(pkcs8, "-v2", "bf-cbc", "-provider", "default", "-provider", "legacy"), code: "tls.key_file", reason: "the encryption Blowfish is not supported"},
		{name: "CAST5", kind: "ec", args: append(pkcs8, "-v2", "cast5-cbc", "-provider", "default", "-provider", "legacy"), code: "tls.key_file", reason: "the encryption CAST5 is not supported"},
		{name: "AES in OFB mode", kind: "ec", args: append(pkcs8, "-v2", "aes-256-ofb"), code: "tls.key_file", reason: "the encryption AES in another mode than CBC is not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "enc.key")
			args := slices.Concat(tt.args, []string{"-in", plain[tt.kind], "-out", key})
			if tt.args[0] == "ec" || tt.args[0] == "rsa" {
				args = append(args, "-passout", "pass:"+right)
			} else {
				args = append(args, "-passout", "pass:"+right, "-passin", "pass:")
			}
			openssl(t, args...)
			e := entry{Name: "corp", Cert: cert[tt.kind], Key: key}

			if err := loadErr(t, e); err == nil || err.Code() != "tls.passphrase_required" || !strings.Contains(err.Hint(), "mtls.corp.passphrase") {
				t.Errorf("without a passphrase: %v", err)
			}
			e.Passphrase = pass(right)
			err := loadErr(t, e)
			switch {
			case tt.code == "" && err != nil:
				t.Fatalf("with the right passphrase: %v", err)
			case tt.code != "" && (err == nil || err.Code() != tt.code || !strings.Contains(err.Cause.Says, tt.reason) || !strings.Contains(err.Hint(), "openssl pkcs8 -topk8")):
				t.Fatalf("%v, want %s %q", err, tt.code, tt.reason)
			case tt.code != "":
				return
			}
			wrongs := []string{"wrong", right + "\n", " " + right}
			if tt.slow {
				wrongs = wrongs[:1]
			}
			for _, wrong := range wrongs {
				e.Passphrase = pass(wrong)
				err := loadErr(t, e)
				if err == nil || err.Code() != "tls.passphrase_wrong" || !strings.Contains(err.Hint(), "mtls.corp.passphrase") {
					t.Fatalf("with %q: %v", wrong, err)
				}
				if got, want := strings.Contains(err.Cause.Says, "white space"), strings.TrimSpace(wrong) != wrong; got != want {
					t.Errorf("with %q: %q", wrong, err.Cause.Says)
				}
			}
		})
	}
}

// A wrong passphrase sometimes leaves a right padding; it must still be called wrong.
func TestManyWrongPassphrases(t *testing.T) {
	dir := t.TempDir()
	plain, key := filepath.Join(dir, "plain.key"), filepath.Join(dir, "enc.key")
	openssl(t, "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", plain)
	openssl(t, "rsa", "-in", plain, "-aes128", "-traditional", "-passout", "pass:right", "-out", key)
	data, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	f := &File{Field: "key", Path: key, data: data}
	blocks, err := f.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if _, err := blocks[0].decrypt([]byte{byte(i), byte(i >> 8)}); err != errPassphrase {
			t.Fatalf("passphrase %d: %v", i, err)
		}
	}
}

func TestOpenSSLUnsupportedKeys(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"Ed448", []string{"-newkey", "ed448"}, "an Ed448 key is not supported"},
		{"RSA-PSS", []string{"-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"}, "a key restricted to RSA-PSS is not supported"},
		{"secp256k1", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"}, "on the curve secp256k1 is not supported"},
		{"brainpool", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"}, "on the curve 1.3.36.3.3.2.8.1.1.7 is not supported"},
		{"explicit parameters", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"}, "without a named curve is not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := filepath.Join(dir, tt.name+".pem"), filepath.Join(dir, tt.name+".key")
			openssl(t, append([]string{"req", "-x509", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", cert}, tt.args...)...)
			good, _, err := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "x", Client: true}).Write(t.TempDir(), "good")
			if err != nil {
				t.Fatal(err)
			}
			check := func(key string) {
				t.Helper()
				e := loadErr(t, entry{Name: "corp", Cert: good, Key: key})
				if e == nil || e.Code() != "tls.key_file" || !strings.Contains(e.Cause.Says, tt.want) || !strings.Contains(e.Hint(), "ECDSA") {
					t.Errorf("%v, want %q", e, tt.want)
				}
			}
			check(key)
			if tt.name == "secp256k1" {
				sec1 := filepath.Join(dir, "sec1.key")
				openssl(t, "ec", "-in", key, "-out", sec1)
				check(sec1)
			}
		})
	}
}

func TestOpenSSLFiles(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	openssl(t, "req", "-x509", "-nodes", "-subj", "/CN=x", "-newkey", "rsa:2048", "-keyout", key, "-out", cert)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"request in DER", []string{"req", "-new", "-key", key, "-subj", "/CN=x", "-outform", "der"}, "not signed yet"},
		{"PKCS#7 in DER", []string{"crl2pkcs7", "-nocrl", "-certfile", cert, "-outform", "der"}, "PKCS#7"},
		{"request", []string{"req", "-new", "-key", key, "-subj", "/CN=x"}, "not signed yet"},
		{"trusted certificate", []string{"x509", "-in", cert, "-trustout", "-addtrust", "clientAuth"}, "OpenSSL's own trusted form"},
		{"PKCS#7", []string{"crl2pkcs7", "-nocrl", "-certfile", cert}, "PKCS#7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			openssl(t, append(tt.args, "-out", out)...)
			for field, e := range map[string]entry{"cert": {Name: "corp", Cert: out, Key: key}, "ca": {Name: "corp", CA: []string{out}}} {
				err := loadErr(t, e)
				if err == nil || err.Code() != "tls."+field+"_file" || !strings.Contains(err.Cause.Says, tt.want) || !strings.Contains(err.Error(), out) {
					t.Errorf("%s: %v, want %q", field, err, tt.want)
				}
			}
		})
	}
}

// TestOpenSSLMatrix opens each combination of cipher and function that the tool writes, in PEM and
// in DER, and calls each wrong passphrase wrong.
func TestOpenSSLMatrix(t *testing.T) {
	needOpenSSL(t)
	const right = "correct horse 4 battery"
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	cert, plain := write(t, "cert.pem", p.CertPEM), write(t, "plain.pem", p.KeyPEM)
	for _, cipher := range []string{"aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3", "des-cbc"} {
		for _, prf := range []string{"hmacWithMD5", "hmacWithSHA1", "hmacWithSHA224", "hmacWithSHA256", "hmacWithSHA384", "hmacWithSHA512", "hmacWithSHA512-224", "hmacWithSHA512-256", "scrypt"} {
			t.Run(cipher+" "+prf, func(t *testing.T) {
				derive := []string{"-v2prf", prf}
				if prf == "scrypt" {
					derive = []string{"-scrypt", "-scrypt_N", "1024"}
				}
				forms := []string{"pem"}
				if prf == "hmacWithSHA256" {
					forms = append(forms, "der")
				}
				for _, form := range forms {
					key := filepath.Join(t.TempDir(), "key")
					openssl(t, slices.Concat([]string{"pkcs8", "-topk8", "-in", plain, "-v2", cipher}, derive,
						[]string{"-passout", "pass:" + right, "-outform", form, "-out", key, "-provider", "default", "-provider", "legacy"})...)
					e := entry{Name: "corp", Cert: cert, Key: key, Passphrase: pass(right)}
					if err := loadErr(t, e); err != nil {
						t.Fatalf("%s: %v", form, err)
					}
					for i := range 5 {
						e.Passphrase = pass(fmt.Sprint("wrong ", i))
						if err := loadErr(t, e); err == nil || !produced(causePassphraseWrong, "key", err.Code(), err.Cause.Says, err.Hint()) {
							t.Fatalf("%s: with a wrong passphrase: %v", form, err)
						}
					}
				}
			})
		}
	}
}

func TestOpenSSLPKCS12(t *testing.T) {
	needOpenSSL(t)
	const right = "correct horse 4 battery"
	p := tlstest.NewCA("Root").Intermediate("Policy").Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	certs, key := write(t, "certs.pem", p.CertPEM), write(t, "key.pem", p.KeyPEM)
	legacy := []string{"-provider", "default", "-provider", "legacy"}
	for _, tt := range []struct {
		name       string
		args       []string
		passphrase string
		cause      catalogue.Cause // zero: it loads
		text       string
	}{
		{name: "default", passphrase: right},
		{name: "-legacy", args: []string{"-legacy"}, passphrase: right},
		{name: "empty passphrase"},
		{name: "-legacy with an empty passphrase", args: []string{"-legacy"}},
		{name: "nothing encrypted", args: []string{"-keypbe", "NONE", "-certpbe", "NONE"}, passphrase: right},
		{name: "key not encrypted", args: []string{"-keypbe", "NONE"}, passphrase: right},
		{name: "certificates not encrypted", args: []string{"-certpbe", "NONE"}, passphrase: right},
		{name: "AES-128, SHA-1", args: []string{"-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha1"}, passphrase: right},
		{name: "SHA-512", args: []string{"-macalg", "sha512"}, passphrase: right},
		{name: "triple DES", args: []string{"-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"}, passphrase: right},
		{name: "many iterations", args: []string{"-iter", "200000"}, passphrase: right},
		{name: "-nomaciter", args: []string{"-nomaciter"}, passphrase: right},
		{name: "nothing encrypted, no MAC", args: []string{"-keypbe", "NONE", "-certpbe", "NONE", "-nomac"}},
		{name: "-nomac", args: []string{"-nomac"}, passphrase: right, cause: causeNoMAC, text: "has no MAC"},
		{name: "SHA-384", args: []string{"-macalg", "sha384"}, passphrase: right, cause: causePKCS12Foreign, text: "a MAC with SHA-384"},
		{name: "RC4", args: append([]string{"-keypbe", "PBE-SHA1-RC4-128"}, legacy...), passphrase: right, cause: causePKCS12Foreign, text: "PBES1 (PKCS#12)"},
		{name: "Camellia", args: []string{"-certpbe", "camellia-256-cbc"}, passphrase: right, cause: causePKCS12Foreign, text: "the encryption Camellia"},
		{name: "too many iterations", args: []string{"-iter", "2000001"}, passphrase: right, cause: causeCostly, text: "2000001 iterations"},
		{name: "no key", args: []string{"-nokeys"}, passphrase: right, cause: causePKCS12Damaged, text: "private key missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "identity.pem") // whatever it is called
			args := slices.Concat([]string{"pkcs12", "-export", "-in", certs, "-out", out, "-passout", "pass:" + tt.passphrase}, tt.args)
			if tt.name != "no key" {
				args = append(args, "-inkey", key)
			}
			openssl(t, args...)
			e := entry{Name: "corp", Cert: out}
			if tt.passphrase != "" {
				e.Passphrase = pass(tt.passphrase)
			}
			l, err := load(t.Context(), e)
			if tt.cause.ID != "" {
				le, ok := err.(*Error)
				if !ok || !produced(tt.cause, le.Field, le.Code(), le.Cause.Says, le.Hint()) || !strings.Contains(le.Cause.Says, tt.text) {
					t.Errorf("%v, want %s %q", err, tt.cause.ID, tt.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, c := range l.certs {
				names = append(names, c.Subject.CommonName)
			}
			if got := strings.Join(names, " "); got != "alice Issuing Policy" || len(l.warnings) != 0 {
				t.Errorf("certificates %q, %v", got, l.warnings)
			}
			if tt.passphrase == "" {
				return
			}
			wrong := 60
			if tt.name == "many iterations" {
				wrong = 1
			}
			for i := range wrong {
				e.Passphrase = pass(fmt.Sprint("wrong ", i))
				if err := loadErr(t, e); err == nil || !produced(causePassphraseWrong, "cert", err.Code(), err.Cause.Says, err.Hint()) {
					t.Fatalf("with a wrong passphrase: %v", err)
				}
			}
		})
	}
}

// TestOpenSSLDER loads what the tool writes in DER, the keys in each of their forms.
func TestOpenSSLDER(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name      string
		new, form []string
	}{
		{"RSA in PKCS#8", []string{"-newkey", "rsa:2048"}, []string{"pkcs8", "-topk8", "-nocrypt"}},
		{"RSA in PKCS#1", []string{"-newkey", "rsa:2048"}, []string{"rsa", "-traditional"}},
		{"ECDSA in PKCS#8", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"}, []string{"pkcs8", "-topk8", "-nocrypt"}},
		{"ECDSA in SEC 1", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"}, []string{"ec"}},
		{"Ed25519", []string{"-newkey", "ed25519"}, []string{"pkey"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := filepath.Join(dir, tt.name+" cert"), filepath.Join(dir, tt.name+" key")
			openssl(t, slices.Concat([]string{"req", "-x509", "-nodes", "-subj", "/CN=x", "-outform", "der", "-out", cert, "-keyout", key + " pem"}, tt.new)...)
			openssl(t, slices.Concat(tt.form, []string{"-in", key + " pem", "-outform", "der", "-out", key})...)
			for name, e := range map[string]entry{"pair": {Cert: cert, Key: key}, "roots": {CA: []string{cert}}} {
				e.Name = "corp"
				if err := loadErr(t, e); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
