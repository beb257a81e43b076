package tlsmat

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestLoadFormats(t *testing.T) {
	root := tlstest.NewCA("Root")
	issuing := root.Intermediate("Policy").Intermediate("Issuing")
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ec := issuing.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: ecKey})
	rsaPair := root.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true, Key: rsaKey})
	ed := root.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true, Key: edKey})
	marked := root.Issue(tlstest.Leaf{CN: "alice", Client: true, Organization: "-----BEGIN CERTIFICATE-----"})
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))
	params := encode("EC PARAMETERS", []byte{6, 5, 0x2b, 0x81, 4, 0, 0x22})

	shuffled := func() []byte { // root first, leaf in the middle
		var blocks [][]byte
		for rest := ec.CertPEM; ; {
			b, r := pem.Decode(rest)
			if b == nil {
				break
			}
			blocks, rest = append(blocks, pem.EncodeToMemory(b)), r
		}
		return slices.Concat(root.PEM(), blocks[2], blocks[0], blocks[1])
	}()

	der := func(text []byte) []byte {
		var all []byte
		for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
			all = append(all, b.Bytes...)
		}
		return all
	}

	for _, tt := range []struct {
		name      string
		cert, key []byte // key nil: combined
		chain     string // common names in the order sent
		warn      string
	}{
		{name: "DER", cert: block1(t, ec.CertPEM).Bytes, key: der(ec.KeyPEM), chain: "alice", warn: `"CN=Issuing", is not in the file`},
		{name: "DER with PEM marks inside", cert: marked.Cert.Certificate[0], key: der(marked.KeyPEM), chain: "alice", warn: `"CN=Root", is not in the file`},
		{name: "DER certificates in a row", cert: der(shuffled), key: der(ec.KeyPEM), chain: "alice Issuing Policy Root"},
		{name: "DER and a line end", cert: append(der(ec.CertPEM), '\n'), key: append(der(ec.KeyPEM), '\r', '\n'), chain: "alice Issuing Policy"},
		{name: "DER certificates and key in a row", cert: slices.Concat(der(ec.KeyPEM), der(ec.CertPEM)), chain: "alice Issuing Policy"},
		{name: "DER PKCS#1", cert: der(rsaPair.CertPEM), key: x509.MarshalPKCS1PrivateKey(rsaKey), chain: "alice Issuing"},
		{name: "DER PKCS#8 RSA", cert: rsaPair.CertPEM, key: der(rsaPair.KeyPEM), chain: "alice Issuing"},
		{name: "DER SEC 1", cert: ec.CertPEM, key: sec1, chain: "alice Issuing Policy"},
		{name: "DER Ed25519", cert: der(ed.CertPEM), key: der(ed.KeyPEM), chain: "alice Issuing"},
		{name: "PKCS#8", cert: ec.CertPEM, key: ec.KeyPEM, chain: "alice Issuing Policy"},
		{name: "PKCS#8 RSA", cert: rsaPair.CertPEM, key: rsaPair.KeyPEM, chain: "alice Issuing"},
		{name: "Ed25519", cert: ed.CertPEM, key: ed.KeyPEM, chain: "alice Issuing"},
		{name: "PKCS#1", cert: rsaPair.CertPEM, key: pkcs1, chain: "alice Issuing"},
		{name: "PKCS#1 labelled as PKCS#8", cert: rsaPair.CertPEM, key: encode("PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), chain: "alice Issuing"},
		{name: "SEC 1 after its parameters", cert: ec.CertPEM, key: slices.Concat(params, encode("EC PRIVATE KEY", sec1)), chain: "alice Issuing Policy"},
		{name: "combined", cert: slices.Concat(ec.CertPEM, ec.KeyPEM), chain: "alice Issuing Policy"},
		{name: "combined, key first, CA last", cert: slices.Concat(ec.KeyPEM, ec.CertPEM, root.PEM()), chain: "alice Issuing Policy Root"},
		{name: "authorities first", cert: shuffled, key: ec.KeyPEM, chain: "alice Issuing Policy Root"},
		{name: "key also in the certificate file", cert: slices.Concat(rsaPair.KeyPEM, ec.CertPEM), key: ec.KeyPEM, chain: "alice Issuing Policy"},
		{name: "a stranger in the file", cert: slices.Concat(ec.CertPEM, tlstest.NewCA("Stranger").PEM()), key: ec.KeyPEM, chain: "alice Issuing Policy", warn: `"CN=Stranger"`},
		{name: "same-named authority with another key", cert: slices.Concat(rsaPair.CertPEM, tlstest.NewCA("Root").PEM(), root.PEM()), key: rsaPair.KeyPEM, chain: "alice Issuing Root", warn: `"CN=Root"`},
		{name: "intermediate missing", cert: block0(ec.CertPEM), key: ec.KeyPEM, chain: "alice", warn: `the issuer of the certificate, "CN=Issuing", is not in the file; unless it is a root`},
		{name: "PKCS#12", cert: makePKCS12(t, pkcs12.Passwordless, ec, ""), chain: "alice Issuing Policy"},
		{name: "UTF-8 byte order mark", cert: append([]byte("\ufeff"), ec.CertPEM...), key: append([]byte("\ufeff"), ec.KeyPEM...), chain: "alice Issuing Policy"},
		{name: "CRLF", cert: bytes.ReplaceAll(ec.CertPEM, []byte("\n"), []byte("\r\n")), key: bytes.ReplaceAll(ec.KeyPEM, []byte("\n"), []byte("\r\n")), chain: "alice Issuing Policy"},
		{name: "CR", cert: bytes.ReplaceAll(ec.CertPEM, []byte("\n"), []byte("\r")), key: ec.KeyPEM, chain: "alice Issuing Policy"},
		{name: "indented", cert: bytes.ReplaceAll(ec.CertPEM, []byte("\n"), []byte("\n    ")), key: ec.KeyPEM, chain: "alice Issuing Policy"},
		{name: "concatenated without a line end", cert: bytes.ReplaceAll(ec.CertPEM, []byte("-----\n-----"), []byte("----------")), key: ec.KeyPEM, chain: "alice Issuing Policy"},
		{name: "spaces for line ends", cert: bytes.ReplaceAll(ec.CertPEM, []byte("\n"), []byte(" ")), key: bytes.ReplaceAll(ec.KeyPEM, []byte("\n"), []byte(" ")), chain: "alice Issuing Policy"},
		{name: "text around the blocks", cert: slices.Concat([]byte("Bag Attributes\n  friendlyName: x\n"), ec.CertPEM, []byte("bye")), key: ec.KeyPEM, chain: "alice Issuing Policy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Entry{Name: "corp", Cert: write(t, "cert.pem", tt.cert)}
			if tt.key != nil {
				e.Key = write(t, "key.pem", tt.key)
			}
			m, err := Load(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			var last *x509.Certificate
			for _, der := range m.Certificate().Certificate {
				c, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				if last != nil {
					if err := last.CheckSignatureFrom(c); err != nil {
						t.Errorf("%s is followed by a stranger: %v", last.Subject, err)
					}
				}
				names, last = append(names, c.Subject.CommonName), c
			}
			if got := strings.Join(names, " "); got != tt.chain {
				t.Errorf("chain %q, want %q", got, tt.chain)
			}
			if m.Leaf().Subject.CommonName != "alice" || m.Name() != "corp" {
				t.Errorf("leaf %s of %q", m.Leaf().Subject, m.Name())
			}
			var warnings []string
			for _, w := range m.Warnings() {
				if !strings.Contains(w, "expires on") { // all of them live for a day
					warnings = append(warnings, w)
				}
			}
			got := strings.Join(warnings, "\n")
			if tt.warn == "" && got != "" || !strings.Contains(got, tt.warn) {
				t.Errorf("warnings %q, want %q", got, tt.warn)
			}
		})
	}
}

func block0(text []byte) []byte {
	b, _ := pem.Decode(text)
	return pem.EncodeToMemory(b)
}

func TestLoadErrors(t *testing.T) {
	ca := tlstest.NewCA("Corp CA")
	pair := ca.Issue(tlstest.Leaf{CN: "alice", Client: true})
	other := ca.Issue(tlstest.Leaf{CN: "bob", Client: true})
	cert, key := pair.CertPEM, pair.KeyPEM
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p224DER, _ := x509.MarshalPKCS8PrivateKey(p224)
	x25519, _ := ecdh.X25519().GenerateKey(rand.Reader)
	x25519DER, _ := x509.MarshalPKCS8PrivateKey(x25519)
	public, _ := x509.MarshalPKIXPublicKey(pair.Cert.Leaf.PublicKey)
	truncated := func(text []byte) []byte { return text[:len(text)/2] }
	escaped := func(text []byte) []byte {
		return bytes.ReplaceAll(bytes.TrimSpace(text), []byte("\n"), []byte(`\n`))
	}
	utf16le := func(text []byte) []byte {
		out := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(string(text))) {
			out = append(out, byte(u), byte(u>>8))
		}
		return out
	}
	corrupt := encode("CERTIFICATE", append([]byte{0x30, 0x82}, make([]byte, 40)...))
	notBase64 := []byte("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n")
	leaf, keyDER := pair.Cert.Certificate[0], block1(t, key).Bytes
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, pair.Cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(leaf)
	spoilt[bytes.Index(spoilt, []byte("Corp CA"))-1] = 0x7f // the length of the issuer's name
	dsa, _ := asn1.Marshal([]int{0, 1, 2, 3, 4, 5})
	pkcs7, _ := asn1.Marshal(struct { // RFC 2315 §7
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: []byte{4, 0}}})

	for _, tt := range []struct {
		name          string
		cert, key, ca []byte // nil: not in the entry
		code          string
		reason, hint  string // parts
	}{
		{name: "empty cert", cert: []byte{}, key: key, code: "tls.cert_file", reason: "is empty (0 bytes)"},
		{name: "empty key", cert: cert, key: []byte{}, code: "tls.key_file", reason: "is empty (0 bytes)"},
		{name: "empty CA", ca: []byte{}, code: "tls.ca_file", reason: "is empty (0 bytes)"},
		{name: "white space", cert: []byte(" \n\n"), key: key, code: "tls.cert_file", reason: "only white space"},
		{name: "not PEM", cert: []byte("hello"), key: key, code: "tls.cert_file", reason: "no BEGIN line"},
		{name: "nothing but a mark", cert: []byte("-----BEGIN "), key: key, code: "tls.cert_file", reason: "no BEGIN line"},
		{name: "DER cut off", cert: truncated(leaf), key: key, code: "tls.cert_file", reason: fmt.Sprintf("block 1 (at byte 0) needs %d bytes, of which the file has %d", len(leaf), len(leaf)/2), hint: "copied as binary"},
		{name: "second DER cut off", cert: slices.Concat(ca.Cert().Raw, truncated(leaf)), key: key, code: "tls.cert_file", reason: fmt.Sprintf("block 2 (at byte %d) needs", len(ca.Cert().Raw))},
		{name: "DER and then something", cert: slices.Concat(leaf, []byte("more")), key: key, code: "tls.cert_file", reason: fmt.Sprintf("block 2 (at byte %d) is not", len(leaf))},
		{name: "DER key in the certificate's place", cert: keyDER, key: key, code: "tls.cert_file", reason: "holds a private key, but no certificate"},
		{name: "DER swapped", cert: keyDER, key: leaf, code: "tls.cert_file", reason: "holds the private key, and mtls.corp.key holds the certificate"},
		{name: "DER cert in the key's place", cert: cert, key: leaf, code: "tls.key_file", reason: "a certificate, but no private key"},
		{name: "DER public key", cert: cert, key: public, code: "tls.key_file", reason: "public key"},
		{name: "DER request", cert: request, key: key, code: "tls.cert_file", reason: "not signed yet"},
		{name: "DER of something else", cert: []byte{0x30, 3, 2, 1, 7}, key: key, code: "tls.cert_file", reason: "only block 1 (DATA, at byte 0)"},
		{name: "DER damaged", cert: spoilt, key: key, code: "tls.cert_file", reason: "block 1 (CERTIFICATE, at byte 0) is not a valid certificate"},
		{name: "DER DSA key", cert: cert, key: dsa, code: "tls.key_file", reason: "a DSA key is not supported"},
		{name: "DER PKCS#7", cert: pkcs7, key: key, code: "tls.cert_file", reason: "PKCS#7", hint: "openssl pkcs7 -print_certs -inform der -in"},
		{name: "BER", cert: []byte{0x30, 0x80, 2, 1, 3, 0, 0}, code: "tls.cert_file", reason: "BER with indefinite lengths", hint: "openssl pkcs12 -in"},
		{name: "UTF-16", cert: utf16le(cert), key: key, code: "tls.cert_file", reason: "UTF-16"},
		{name: "UTF-16 without a mark", cert: utf16le(cert)[2:], key: key, code: "tls.cert_file", reason: "UTF-16"},
		{name: "escaped line ends", cert: cert, key: escaped(key), code: "tls.key_file", reason: `the characters \n`},
		{name: "truncated cert", cert: truncated(cert), key: key, code: "tls.cert_file", reason: "block 1 (line 1) has no END line"},
		{name: "truncated key", cert: cert, key: truncated(key), code: "tls.key_file", reason: "block 1 (line 1) has no END line"},
		{name: "truncated before another block", cert: slices.Concat(truncated(cert), cert), key: key, code: "tls.cert_file", reason: "block 1 (line 1) has no END line"},
		{name: "not base64", cert: notBase64, key: key, code: "tls.cert_file", reason: "not valid base64"},
		{name: "BEGIN and END differ", cert: bytes.Replace(cert, []byte("END CERTIFICATE"), []byte("END KEY"), 1), key: key, code: "tls.cert_file", reason: "ends as another"},
		{name: "BEGIN line damaged", cert: []byte("-----BEGIN CERTIFICATE\nAAAA"), key: key, code: "tls.cert_file", reason: "damaged BEGIN line"},
		{name: "END line damaged", cert: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE"), key: key, code: "tls.cert_file", reason: "damaged END line"},
		{name: "cert and key swapped", cert: key, key: cert, code: "tls.cert_file", reason: "holds the private key, and mtls.corp.key holds the certificate", hint: "swap mtls.corp.cert and mtls.corp.key"},
		{name: "key without cert", cert: key, code: "tls.cert_file", reason: "private key, but no certificate"},
		{name: "cert in the key's place", cert: cert, key: cert, code: "tls.key_file", reason: "a certificate, but no private key", hint: "mtls.corp.key"},
		{name: "combined without key", cert: cert, code: "tls.key_file", reason: "no private key", hint: "mtls.corp.key"},
		{name: "public key", cert: cert, key: encode("PUBLIC KEY", public), code: "tls.key_file", reason: "public key"},
		{name: "no key at all", cert: cert, key: encode("X509 CRL", []byte{0x30, 0}), code: "tls.key_file", reason: "holds no private key"},
		{name: "key of another cert", cert: cert, key: other.KeyPEM, code: "tls.key_mismatch", reason: spki(pair.Cert.Leaf)},
		{name: "key of another kind", cert: cert, key: encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), code: "tls.key_mismatch", reason: "RSA 2048 key, ECDSA P-256 certificate"},
		{name: "corrupt cert", cert: slices.Concat(cert, corrupt), key: key, code: "tls.cert_file", reason: "block 2 (CERTIFICATE, line "},
		{name: "corrupt key", cert: cert, key: encode("PRIVATE KEY", []byte{0x30, 3, 2, 1, 0}), code: "tls.key_file", reason: "not a valid private key"},
		{name: "corrupt SEC 1 key", cert: cert, key: encode("EC PRIVATE KEY", []byte{0x30, 3, 2, 1, 0}), code: "tls.key_file", reason: "not a valid private key"},
		{name: "OpenSSH key", cert: cert, key: encode("OPENSSH PRIVATE KEY", []byte("openssh-key-v1")), code: "tls.key_file", reason: "an OpenSSH key is not supported", hint: "ssh-keygen"},
		{name: "TPM key", cert: cert, key: encode("TSS2 PRIVATE KEY", []byte{0x30, 0}), code: "tls.key_file", reason: "inside a TPM"},
		{name: "P-224 key", cert: cert, key: encode("PRIVATE KEY", p224DER), code: "tls.key_file", reason: "P-224"},
		{name: "X25519 key", cert: cert, key: encode("PRIVATE KEY", x25519DER), code: "tls.key_file", reason: "cannot sign"},
		{name: "encrypted block damaged", cert: cert, key: encode("ENCRYPTED PRIVATE KEY", []byte{0x30, 0}), code: "tls.passphrase_required", reason: "no passphrase is set"},
		{name: "request", cert: encode("CERTIFICATE REQUEST", []byte{0x30, 0}), key: key, code: "tls.cert_file", reason: "not signed yet"},
		{name: "PKCS#7", cert: encode("PKCS7", []byte{0x30, 0}), key: key, code: "tls.cert_file", reason: "PKCS#7", hint: "openssl pkcs7"},
		{name: "trusted certificate", cert: encode("TRUSTED CERTIFICATE", []byte{0x30, 0}), key: key, code: "tls.cert_file", reason: "OpenSSL's own trusted form"},
		{name: "something else", cert: encode("X509 CRL", []byte{0x30, 0}), key: key, code: "tls.cert_file", reason: "only block 1 (X509 CRL, line 1)"},
		{name: "CA is a key", ca: key, code: "tls.ca_file", reason: "private key, but no certificate"},
		{name: "CA bundle with one corrupt", ca: slices.Concat(ca.PEM(), corrupt, ca.PEM()), code: "tls.ca_file", reason: "block 2 (CERTIFICATE, line "},
		{name: "CA bundle cut off", ca: slices.Concat(ca.PEM(), truncated(ca.PEM())), code: "tls.ca_file", reason: "block 2 (line "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, ca := Entry{Name: "corp"}, ""
			paths := map[string]string{}
			for _, f := range []struct {
				field string
				to    *string
				data  []byte
			}{{"cert", &e.Cert, tt.cert}, {"key", &e.Key, tt.key}, {"ca", &ca, tt.ca}} {
				if f.data != nil {
					*f.to = write(t, f.field+".pem", f.data)
					paths[*f.to] = f.field
				}
			}
			if ca != "" {
				e.CA = []string{ca}
			}
			err := loadErr(t, e)
			if err == nil {
				t.Fatal("loaded")
			}
			if err.Code() != tt.code {
				t.Errorf("code %s, want %s (%v)", err.Code(), tt.code, err)
			}
			if !strings.Contains(err.Cause.Says, tt.reason) {
				t.Errorf("reason %q, want %q", err.Cause.Says, tt.reason)
			}
			if err.Hint() == "" || !strings.Contains(err.Hint(), tt.hint) {
				t.Errorf("hint %q, want %q", err.Hint(), tt.hint)
			}
			if err.Entry != "corp" || paths[err.Path] == "" || !strings.Contains(err.Error(), err.Path) || !strings.HasPrefix(err.Error(), "mtls.corp.") {
				t.Errorf("entry %q, path %q in %q", err.Entry, err.Path, err)
			}
		})
	}
}

func TestLoadPaths(t *testing.T) {
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	dir := t.TempDir()
	cert, key, err := pair.Write(dir, "client")
	if err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 8<<20+1); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "link.key")
	if err := os.Symlink("nowhere.key", dangling); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		entry Entry
		code  string
		text  string
		cause error
	}{
		{"cert missing", Entry{Cert: dir + "/none", Key: key}, "tls.cert_file", "does not exist", fs.ErrNotExist},
		{"key missing", Entry{Cert: cert, Key: dir + "/none"}, "tls.key_file", "does not exist", fs.ErrNotExist},
		{"CA missing", Entry{CA: []string{dir + "/none"}}, "tls.ca_file", "does not exist", fs.ErrNotExist},
		{"a directory", Entry{Cert: dir, Key: key}, "tls.cert_file", "is a directory", nil},
		{"a device", Entry{Cert: cert, Key: os.DevNull}, "tls.key_file", "not a regular file", nil},
		{"below a file", Entry{Cert: cert + "/x", Key: key}, "tls.cert_file", "not a directory", nil},
		{"too large", Entry{CA: []string{huge}}, "tls.ca_file", "larger than", nil},
		{"key alone", Entry{Key: key}, "tls.cert_file", "is not set, but a key is", nil},
		{"nothing", Entry{}, "tls.cert_file", "neither", nil},
		{"a link to nowhere", Entry{Cert: cert, Key: dangling}, "tls.key_file", "is a symbolic link to nowhere.key, which does not exist", fs.ErrNotExist},
		{"key and signer", Entry{Cert: cert, Key: key, Signer: []string{"x"}}, "tls.key_file", "names more than one place where the key is", nil},
		{"token and key", Entry{Cert: "pkcs11:object=x", Key: key}, "tls.key_file", "names more than one place where the key is", nil},
		{"token and token", Entry{Cert: "pkcs11:object=x", Key: "pkcs11:object=y"}, "tls.key_file", "only files can be used here", nil},
		{"signer here", Entry{Cert: cert, Signer: []string{"x"}}, "tls.key_file", "only files can be used here", nil},
		{"token here", Entry{Cert: cert, Key: "pkcs11:object=x"}, "tls.key_file", "only files can be used here", nil},
		{"passphrase twice", Entry{Cert: cert, Key: key, Passphrase: pass("x"), PassphraseCommand: []string{"x"}}, "tls.passphrase_unavailable", "mtls.corp.passphrase: is set, and mtls.corp.passphrase_command too", nil},
		{"only, without CA", Entry{Cert: cert, Key: key, CAOnly: true}, "tls.ca_file", "mtls.corp.ca, which is not set", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.entry.Name = "corp"
			err := loadErr(t, tt.entry)
			if err == nil {
				t.Fatal("loaded")
			}
			if err.Code() != tt.code || !strings.Contains(err.Error(), tt.text) || err.Hint() == "" {
				t.Errorf("%s %q, want %s %q", err.Code(), err, tt.code, tt.text)
			}
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("cause %v, want %v", err.Err, tt.cause)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	a, b := tlstest.NewCA("A"), tlstest.NewCA("B")
	bundle := write(t, "ca.pem", []byte("# our roots\n"), a.PEM(), []byte("# the second\n"), b.PEM())
	only, err := Load(t.Context(), Entry{Name: "corp", CA: []string{bundle}, CAOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	want := a.Pool()
	want.AddCert(b.Cert())
	if got := only.TLSConfig("host").RootCAs; !got.Equal(want) {
		t.Error("only: the pool is not the bundle")
	}
	added, err := Load(t.Context(), Entry{Name: "corp", CA: []string{bundle}})
	if err != nil {
		t.Fatal(err)
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	system.AddCert(a.Cert())
	system.AddCert(b.Cert())
	if got := added.TLSConfig("host").RootCAs; !got.Equal(system) {
		t.Error("add: the pool is not the system's and the bundle")
	}
	if added.Leaf() != nil || added.Certificate() != nil {
		t.Error("roots have a certificate")
	}
}

// A renewal writes two files, and for a moment they do not belong together.
func TestHalfRenewed(t *testing.T) {
	ca := tlstest.NewCA("CA")
	e := Entry{
		Name: "corp",
		Cert: write(t, "cert.pem", ca.Issue(tlstest.Leaf{CN: "alice", Client: true}).CertPEM),
		Key:  write(t, "key.pem", ca.Issue(tlstest.Leaf{CN: "alice", Client: true}).KeyPEM),
	}
	const text = "a renewal may be half done"
	now := time.Now()
	for _, tt := range []struct {
		age  time.Duration
		want bool
	}{{0, false}, {24 * time.Hour, true}} {
		for path, when := range map[string]time.Time{e.Key: now, e.Cert: now.Add(-tt.age)} {
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		err := loadErr(t, e)
		if err == nil || err.Code() != "tls.key_mismatch" || strings.Contains(err.Cause.Says, text) != tt.want {
			t.Errorf("key newer by %v: %v", tt.age, err)
		}
	}
}

// An entry may ask more of servers without naming roots or a certificate.
func TestEntryOfDemandsAlone(t *testing.T) {
	for name, e := range map[string]Entry{
		"pins": {Pins: []string{"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}}, "server name": {ServerName: "wiki.corp.example"}, "version": {MinVersion: tls.VersionTLS13},
	} {
		e.Name = "corp"
		if m, err := Load(t.Context(), e); err != nil || m.Leaf() != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, err := Load(t.Context(), Entry{Name: "corp", MinVersion: tls.VersionTLS12}); err == nil {
		t.Error("an entry of nothing loads")
	}
}
