package keyfile

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

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

func TestPKCS12(t *testing.T) {
	issuing := tlstest.NewCA("Root").Intermediate("Policy").Intermediate("Issuing")
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	pairs := map[string]*tlstest.Pair{}
	for kind, key := range map[string]crypto.Signer{"EC": nil, "RSA": rsaKey, "Ed25519": edKey} {
		pairs[kind] = issuing.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: key})
	}
	for _, tt := range []struct {
		name, kind string
		with       *pkcs12.Encoder
		passphrase string
	}{
		{"modern", "EC", pkcs12.Modern2023, "right"},
		{"modern RSA", "RSA", pkcs12.Modern2023, "right"},
		{"modern Ed25519", "Ed25519", pkcs12.Modern2023, "right"},
		{"PBMAC1", "EC", pkcs12.Modern2026, "right"},
		{"triple DES", "EC", pkcs12.LegacyDES, "right"},
		{"RC2", "RSA", pkcs12.LegacyRC2, "right"},
		{"empty passphrase", "EC", pkcs12.Modern2023, ""},
		{"legacy with an empty passphrase", "EC", pkcs12.LegacyRC2, ""},
		{"without encryption", "EC", pkcs12.Passwordless, ""},
		{"a passphrase of another script", "EC", pkcs12.Modern2023, "пароль ß"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pairs[tt.kind]
			data := makePKCS12(t, tt.with, p, tt.passphrase)
			file := write(t, "identity.pem", data)
			certFile := write(t, "chain.p12", p.CertPEM)
			for place, e := range map[string]entry{
				"cert": {Cert: file}, "both": {Cert: file, Key: file}, "key": {Cert: certFile, Key: file}, "key in PEM": {Cert: file, Key: write(t, "k", p.KeyPEM)},
			} {
				e.Name = "corp"
				if tt.passphrase != "" {
					e.Passphrase = pass(tt.passphrase)
				}
				l, err := load(t.Context(), e)
				if err != nil {
					t.Fatalf("%s: %v", place, err)
				}
				if len(l.certs) != 3 || !bytes.Equal(l.certs[0].Raw, p.Cert.Certificate[0]) {
					t.Errorf("%s: %d certificates, the first is %s", place, len(l.certs), l.certs[0].Subject)
				}
				checkSigner(t, l.key, p.Cert.PrivateKey.(crypto.Signer))
				for _, w := range l.warnings {
					t.Errorf("%s: %s", place, w.Says)
				}
				if tt.passphrase == "" {
					e.Passphrase = pass("needless")
					l, err := load(t.Context(), e)
					if err != nil || len(l.warnings) != 1 || l.warnings[0].Code != causePassphraseNeedless.Code {
						t.Errorf("%s: with a needless passphrase %v", place, err)
					}
					continue
				}
				for wrong, want := range map[string]catalogue.Cause{
					"wrong": causePassphraseWrong, tt.passphrase + "\n": causePassphraseWrong, "": causePassphraseEmpty, "\U0001f511": causePKCS12Foreign,
				} {
					e.Passphrase = pass(wrong)
					if err := loadErr(t, e); err == nil || !produced(want, err.Field, err.Code(), err.Cause.Says, err.Hint()) || strings.Contains(err.Error(), tt.passphrase) {
						t.Errorf("%s: with %q: %v, want %s", place, wrong, err, want.ID)
					}
				}
				e.Passphrase = nil
				if err := loadErr(t, e); err == nil || err.Code() != "tls.passphrase_required" || !strings.Contains(err.Hint(), "mtls.corp.passphrase") {
					t.Errorf("%s: without passphrase: %v", place, err)
				}
			}
			key, _, err := LoadKey(file, secret.New(tt.passphrase), "k", "p")
			if err != nil {
				t.Fatal(err)
			}
			checkSigner(t, key, p.Cert.PrivateKey.(crypto.Signer))
		})
	}
}

// spoil changes the structure of a PKCS#12.
func spoil(t testing.TB, data []byte, change func(*pfx)) []byte {
	t.Helper()
	var p pfx
	if _, err := asn1.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	change(&p)
	return marshal(t, p)
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	out, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type pfx struct {
	Version  int
	AuthSafe contentInfo
	MAC      macData `asn1:"optional"`
}

type macData struct {
	Digest     algorithmAndData
	Salt       []byte
	Iterations int `asn1:"optional,default:1"`
}

// contents are the parts of what the PKCS#12 protects.
func (p *pfx) contents(t testing.TB, change func([]contentInfo) []contentInfo) {
	t.Helper()
	var octets []byte
	var all []contentInfo
	if _, err := asn1.Unmarshal(p.AuthSafe.Content.Bytes, &octets); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(octets, &all); err != nil {
		t.Fatal(err)
	}
	p.AuthSafe.Content = explicit(marshal(t, marshal(t, change(all))))
}

func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: der}
}

// withEncryption replaces the algorithm of the certificates' part.
func withEncryption(t testing.TB, a pkix.AlgorithmIdentifier) func(*pfx) {
	return func(p *pfx) {
		p.contents(t, func(all []contentInfo) []contentInfo {
			var data encryptedData
			if _, err := asn1.Unmarshal(all[0].Content.Bytes, &data); err != nil {
				t.Fatal(err)
			}
			data.Content.Algorithm = a
			all[0].Content = explicit(marshal(t, data))
			return all
		})
	}
}

func algorithm(t testing.TB, id asn1.ObjectIdentifier, params any) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: id, Parameters: asn1.RawValue{FullBytes: marshal(t, params)}}
}

func TestPKCS12IsInspected(t *testing.T) {
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	sound := makePKCS12(t, pkcs12.Modern2023, p, "right")
	salt := []byte("saltsalt")
	type twoAlgorithms struct{ A, B pkix.AlgorithmIdentifier }
	sha384 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}}
	aes256 := algorithm(t, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, make([]byte, 16))
	kdf := func(iterations int, prf pkix.AlgorithmIdentifier) pkix.AlgorithmIdentifier {
		return algorithm(t, oidPBKDF2, pbkdf2Params{salt, iterations, 0, prf})
	}
	type pbe struct {
		Salt       []byte
		Iterations int
	}
	for _, tt := range []struct {
		name   string
		data   []byte
		cause  catalogue.Cause
		reason string
	}{
		{"MAC of many iterations", spoil(t, sound, func(p *pfx) { p.MAC.Iterations = 1 << 40 }), causeCostly, "1099511627776 iterations, of which at most 2000000"},
		{"MAC of negative iterations", spoil(t, sound, func(p *pfx) { p.MAC.Iterations = -1 }), causeCostly, "-1 iterations"},
		{"PBMAC1 of many iterations", spoil(t, sound, func(p *pfx) {
			p.MAC.Digest.Algorithm = algorithm(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}, twoAlgorithms{kdf(1<<40, pkix.AlgorithmIdentifier{}), sha384})
		}), causeCostly, "1099511627776 iterations"},
		{"certificates of many iterations", spoil(t, sound, withEncryption(t, algorithm(t, oidPBES2, twoAlgorithms{kdf(1<<40, pkix.AlgorithmIdentifier{}), aes256}))), causeCostly, "1099511627776 iterations"},
		{"legacy certificates of many iterations", spoil(t, sound, withEncryption(t, algorithm(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 6}, pbe{salt, 1 << 40}))), causeCostly, "1099511627776 iterations"},
		{"key of many iterations", spoil(t, sound, func(p *pfx) {
			p.contents(t, func(all []contentInfo) []contentInfo {
				key := algorithmAndData{algorithm(t, oidPBES2, twoAlgorithms{kdf(1<<40, pkix.AlgorithmIdentifier{}), aes256}), make([]byte, 16)}
				bags := marshal(t, []keyBag{{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}, explicit(marshal(t, key))}})
				all[1].Content = explicit(marshal(t, bags))
				return all
			})
		}), causeCostly, "1099511627776 iterations"},
		{"other PRF", spoil(t, sound, withEncryption(t, algorithm(t, oidPBES2, twoAlgorithms{kdf(1, sha384), aes256}))), causePKCS12Foreign, "PBKDF2 with HMAC-SHA-384"},
		{"scrypt", spoil(t, sound, withEncryption(t, algorithm(t, oidPBES2, twoAlgorithms{algorithm(t, oidScrypt, 1), aes256}))), causePKCS12Foreign, "the key derivation scrypt"},
		{"Camellia", spoil(t, sound, withEncryption(t, algorithm(t, oidPBES2, twoAlgorithms{kdf(1, pkix.AlgorithmIdentifier{}), algorithm(t, asn1.ObjectIdentifier{1, 2, 392, 200011, 61, 1, 1, 1, 4}, salt)}))), causePKCS12Foreign, "the encryption Camellia"},
		{"RC4", spoil(t, sound, withEncryption(t, algorithm(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 1}, pbe{salt, 1}))), causePKCS12Foreign, "the encryption PBES1 (PKCS#12)"},
		{"other digest", spoil(t, sound, func(p *pfx) { p.MAC.Digest.Algorithm.Algorithm = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2} }), causePKCS12Foreign, "a MAC with SHA-384"},
		{"signed", spoil(t, sound, func(p *pfx) { p.AuthSafe.sign() }), causePKCS12Foreign, "protection by a public key"},
		{"a part for a public key", spoil(t, sound, func(p *pfx) {
			p.contents(t, func(all []contentInfo) []contentInfo { all[0].sign(); return all })
		}), causePKCS12Foreign, "protection by a public key"},
		{"three parts", spoil(t, sound, func(p *pfx) {
			p.contents(t, func(all []contentInfo) []contentInfo { return append(all, all[1]) })
		}), causePKCS12Foreign, "a PKCS#12 of 3 parts"},
		{"no parts to read", spoil(t, sound, func(p *pfx) { p.AuthSafe.Content = explicit(marshal(t, 1)) }), causePKCS12Damaged, "its structure is damaged"},
		{"nothing inside", spoil(t, sound, func(p *pfx) { p.AuthSafe.Content = asn1.RawValue{} }), causePKCS12Damaged, "its structure is damaged"},
		{"no MAC", spoil(t, sound, func(p *pfx) { p.MAC = macData{} }), causeNoMAC, "has no MAC"},
		{"certificates only", trustStore(t, p.Cert.Leaf), causePKCS12Damaged, "private key missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			err := loadErr(t, entry{Name: "corp", Cert: write(t, "c.p12", tt.data), Passphrase: pass("right")})
			if err == nil || !produced(tt.cause, err.Field, err.Code(), err.Cause.Says, err.Hint()) || !strings.Contains(err.Cause.Says, tt.reason) {
				t.Errorf("%v, want %s %q", err, tt.cause.ID, tt.reason)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

type keyBag struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue `asn1:"tag:0,explicit"`
}

// sign makes it signed or enveloped data.
func (c *contentInfo) sign() { c.Type = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2} }

func trustStore(t testing.TB, c *x509.Certificate) []byte {
	t.Helper()
	data, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{c}, "right")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What only shows when the file is open is bounded by time, and does not hold up the caller.
func TestPKCS12IsBoundedByTime(t *testing.T) {
	data := makePKCS12(t, pkcs12.Modern2023.WithIterations(400_000), tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice"}), "")
	start := time.Now()
	if _, err := decodePKCS12(t.Context(), data, "", time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	for stacks := make([]byte, 1<<20); bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("pkcs12Blocks(")); { // the work goes on
		time.Sleep(20 * time.Millisecond)
	}
	f := New(Names{Entry: "corp"}, "cert", "/c")
	if fail := f.pkcs12Fault(Block{Block: block1(t, tlstest.NewCA("CA").PEM())}, context.DeadlineExceeded); !produced(causeCostly, "cert", fail.Code(), fail.Cause.Says, fail.Hint()) {
		t.Errorf("%v", fail)
	}
}

func TestPKCS12IsNoBundle(t *testing.T) {
	ca := tlstest.NewCA("CA")
	data := makePKCS12(t, pkcs12.Passwordless, ca.Issue(tlstest.Leaf{CN: "alice"}), "")
	err := loadErr(t, entry{Name: "corp", CA: []string{write(t, "ca.p12", data)}})
	if err == nil || err.Code() != "tls.ca_file" || !produced(causePKCS12AsRoots, "ca", err.Code(), err.Cause.Says, err.Hint()) {
		t.Errorf("%v", err)
	}
}
