//go:build pkcs11

package pkcs11key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

func newRSA(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEC(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The server gets the leaf and its intermediate, in this order and without the root, though the
// token has all of them and others.
func TestHandshake(t *testing.T) {
	h := newHSM(t)
	root := tlstest.NewCA("root")
	middle := root.Intermediate("middle")
	h.token("one")
	h.cert("one", "f0", "root", root.Cert().Raw)
	h.cert("one", "f1", "another", tlstest.NewCA("another").Cert().Raw)
	h.cert("one", "f2", "middle", middle.Cert().Raw)
	for i, tt := range []struct {
		name string
		key  crypto.Signer
	}{
		{"rsa", newRSA(t)}, {"p256", newEC(t, elliptic.P256())}, {"p384", newEC(t, elliptic.P384())}, {"ed25519", newEd25519(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.t = t
			p := middle.Issue(tlstest.Leaf{CN: tt.name, Client: true, Key: tt.key})
			id := string('1' + rune(i))
			h.key("one", "0"+id, tt.name, p)
			h.cert("one", "0"+id, tt.name, p.Cert.Certificate[0])
			chain, key := identity(t, h.open("token=one;id=%0"+id))
			for _, version := range versions {
				wantServed(t, version, root.Pool(), raw(chain), key, p.Cert.Certificate...)
			}
		})
	}
}

// What pkcs11-tool generates never was outside the token.
func TestHandshakeGenerated(t *testing.T) {
	for _, kind := range []string{"rsa:2048", "EC:prime256v1", "EC:edwards25519"} {
		t.Run(kind, func(t *testing.T) {
			h := newHSM(t)
			h.token("one")
			h.tool("one", "--keypairgen", "--key-type", kind, "--id", "07", "--label", "made here")
			token := h.open("token=one;object=made%20here;type=private")
			_, key := identity(t, token)
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "made here"},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
				ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			h.cert("one", "07", "made here", der)
			chain, key := identity(t, token)
			clients := x509.NewCertPool()
			for _, c := range chain {
				clients.AddCert(c)
			}
			for _, version := range versions {
				wantServed(t, version, clients, raw(chain), key, der)
			}
		})
	}
}

// A token that holds the key alone gives no chain: it comes from a file.
func TestKeyAlone(t *testing.T) {
	h := newHSM(t)
	root := tlstest.NewCA("root")
	h.token("one")
	p := root.Issue(tlstest.Leaf{CN: "from a file", Client: true, Key: newRSA(t)})
	h.key("one", "01", "web", p)
	h.cert("one", "01", "old", root.Issue(tlstest.Leaf{CN: "of another key", Client: true}).Cert.Certificate[0])
	chain, key := identity(t, h.open("object=web"))
	if len(chain) > 0 {
		t.Fatalf("got %d certificates, the first of %s", len(chain), chain[0].Subject)
	}
	for _, version := range versions {
		wantServed(t, version, root.Pool(), p.Cert.Certificate, key, p.Cert.Certificate...)
	}
}

// Without a public key in the token, its certificate has it.
func TestPublicKeyFromCertificate(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  crypto.Signer
	}{{"rsa", newRSA(t)}, {"p256", newEC(t, elliptic.P256())}, {"ed25519", newEd25519(t)}} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHSM(t)
			root := tlstest.NewCA("root")
			h.token("one")
			p := root.Issue(tlstest.Leaf{CN: "web", Client: true, Key: tt.key})
			h.key("one", "01", "web", p)
			h.tool("one", "--delete-object", "--type", "pubkey", "--id", "01")
			got := h.fails(h.uri("object=web"), pin, keyPublic)
			if got.Code() != "tls.pkcs11_key" {
				t.Errorf("code %q", got.Code())
			}
			h.cert("one", "01", "web", p.Cert.Certificate[0])
			chain, key := identity(t, h.open("object=web"))
			wantServed(t, tls.VersionTLS13, root.Pool(), raw(chain), key, p.Cert.Certificate...)
		})
	}
}

func TestSign(t *testing.T) {
	h := newHSM(t)
	root := tlstest.NewCA("root")
	h.token("one")
	for name, key := range map[string]crypto.Signer{"rsa": newRSA(t), "p256": newEC(t, elliptic.P256()), "p384": newEC(t, elliptic.P384())} {
		h.key("one", map[string]string{"rsa": "01", "p256": "02", "p384": "03"}[name], name, root.Issue(tlstest.Leaf{CN: name, Key: key}))
	}
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
	for _, name := range []string{"rsa", "p256", "p384"} {
		_, key := identity(t, h.open("object="+name))
		for _, hash := range hashes { // of any length, also of more bits than the curve
			sum := hash.New()
			sum.Write([]byte("a handshake"))
			digest := sum.Sum(nil)
			options := []crypto.SignerOpts{hash}
			if name == "rsa" {
				options = append(options, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
			}
			for _, o := range options {
				signature, err := key.Sign(rand.Reader, digest, o)
				if err != nil {
					t.Fatalf("%s, %v: %v", name, o, err)
				}
				switch public := key.Public().(type) {
				case *ecdsa.PublicKey:
					if !ecdsa.VerifyASN1(public, digest, signature) {
						t.Errorf("%s, %v: wrong signature", name, o)
					}
				case *rsa.PublicKey:
					err := rsa.VerifyPKCS1v15(public, hash, digest, signature)
					if pss, ok := o.(*rsa.PSSOptions); ok {
						err = rsa.VerifyPSS(public, hash, digest, signature, pss)
					}
					if err != nil {
						t.Errorf("%s, %v: %v", name, o, err)
					}
				}
			}
		}
	}
}

// Modules need not cut a hash that is longer than the key; SoftHSM does.
func TestHashIsCut(t *testing.T) {
	h := withKey(t)
	calls := h.spy()
	_, key := identity(t, h.open("object=web"))
	digest := sha512.Sum512([]byte("a handshake"))
	if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA512); err != nil {
		t.Fatal(err)
	}
	if calls("C_Sign") == 0 {
		t.Fatalf("the spy saw no signature:\n%s", h.spied())
	}
	if log := h.spied(); !strings.Contains(log, fmt.Sprintf("%02X %02X", digest[30], digest[31])) || strings.Contains(log, fmt.Sprintf("%02X %02X", digest[62], digest[63])) {
		t.Errorf("the module did not get the first 32 bytes of %X:\n%s", digest, log)
	}
}

// The server's alert would only say that something cannot be decrypted.
func TestKeyMismatch(t *testing.T) {
	h := newHSM(t)
	root := tlstest.NewCA("root")
	h.token("one")
	mine, other := root.Issue(tlstest.Leaf{CN: "mine", Client: true}), root.Issue(tlstest.Leaf{CN: "other", Client: true})
	h.key("one", "01", "web", mine)
	h.tool("one", "--delete-object", "--type", "pubkey", "--id", "01")
	h.cert("one", "01", "web", other.Cert.Certificate[0])
	chain, key := identity(t, h.open("object=web"))
	digest := sha256.Sum256([]byte("a handshake"))
	_, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	told := wantCause(t, err, keyMismatch)
	if told.Code() != "tls.key_mismatch" {
		t.Errorf("code %q", told.Code())
	}
	// crypto/tls keeps the text of it.
	if _, _, err := handshake(t, tls.VersionTLS13, root.Pool(), raw(chain), key); err == nil || !strings.Contains(err.Error(), told.Error()) {
		t.Errorf("got %v", err)
	}
}
