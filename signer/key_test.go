package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// TestSignRequests asks for every kind of signature, looks at what the signer received, and verifies
// with the standard library.
func TestSignRequests(t *testing.T) {
	sum256, sum384, sum512 := sha256.Sum256([]byte("m")), sha512.Sum384([]byte("m")), sha512.Sum512([]byte("m"))
	pss := func(hash crypto.Hash, salt int) crypto.SignerOpts {
		return &rsa.PSSOptions{Hash: hash, SaltLength: salt}
	}
	type wire = map[string]any
	b64 := base64.StdEncoding.EncodeToString
	ca := tlstest.NewCA("CA")
	for _, tt := range []struct {
		name  string
		key   crypto.Signer
		input []byte
		opts  crypto.SignerOpts
		want  wire
	}{
		{"RSA PKCS #1", rsaKey(), sum256[:], crypto.SHA256, wire{"hash": "SHA-256", "digest": b64(sum256[:]), "padding": "pkcs1"}},
		{"RSA PKCS #1 SHA-384", rsaKey(), sum384[:], crypto.SHA384, wire{"hash": "SHA-384", "digest": b64(sum384[:]), "padding": "pkcs1"}},
		{"RSA-PSS", rsaKey(), sum256[:], pss(crypto.SHA256, rsa.PSSSaltLengthEqualsHash), wire{"hash": "SHA-256", "digest": b64(sum256[:]), "padding": "pss", "salt_length": 32.0}},
		{"RSA-PSS SHA-512", rsaKey(), sum512[:], pss(crypto.SHA512, rsa.PSSSaltLengthEqualsHash), wire{"hash": "SHA-512", "digest": b64(sum512[:]), "padding": "pss", "salt_length": 64.0}},
		{"RSA-PSS, salt of our choice", rsaKey(), sum384[:], pss(crypto.SHA384, rsa.PSSSaltLengthAuto), wire{"hash": "SHA-384", "digest": b64(sum384[:]), "padding": "pss", "salt_length": 48.0}},
		{"RSA-PSS, salt of 20", rsaKey(), sum256[:], pss(crypto.SHA256, 20), wire{"hash": "SHA-256", "digest": b64(sum256[:]), "padding": "pss", "salt_length": 20.0}},
		{"ECDSA P-256", ecKey(elliptic.P256()), sum256[:], crypto.SHA256, wire{"hash": "SHA-256", "digest": b64(sum256[:])}},
		{"ECDSA P-384", ecKey(elliptic.P384()), sum384[:], crypto.SHA384, wire{"hash": "SHA-384", "digest": b64(sum384[:])}},
		{"ECDSA P-521", ecKey(elliptic.P521()), sum512[:], crypto.SHA512, wire{"hash": "SHA-512", "digest": b64(sum512[:])}},
		{"Ed25519", edKey(), []byte("message"), crypto.Hash(0), wire{"hash": "none", "message": b64([]byte("message"))}},
		{"Ed25519, its options", edKey(), []byte("message"), &ed25519.Options{}, wire{"hash": "none", "message": b64([]byte("message"))}},
		{"Ed25519, nothing", edKey(), []byte{}, crypto.Hash(0), wire{"hash": "none", "message": ""}},
		{"Ed25519, no options", edKey(), make([]byte, 500_000), nil, wire{"hash": "none", "message": b64(make([]byte, 500_000))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, _ := home(t, ca, tt.key)
			key := keyOf(t, started(t, "good", dir, usual))
			signature, err := key.Sign(rand.Reader, tt.input, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			requests := noted(t, dir, "requests")
			var got wire
			if err := json.Unmarshal([]byte(requests[len(requests)-1]), &got); err != nil {
				t.Fatal(err)
			}
			id := sha256.Sum256(must(x509.MarshalPKIXPublicKey(tt.key.Public())))
			tt.want["id"], tt.want["method"], tt.want["key_sha256"] = 4.0, "sign", b64(id[:])
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("the signer received (-want +got):\n%s", diff)
			}
			if !verifies(tt.key.Public(), tt.input, signature, tt.opts) {
				t.Error("the signature does not verify")
			}
		})
	}
}

func verifies(public crypto.PublicKey, input, signature []byte, opts crypto.SignerOpts) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if o, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(k, o.Hash, input, signature, o) == nil
		}
		return rsa.VerifyPKCS1v15(k, opts.HashFunc(), input, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, input, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, input, signature)
	}
	return false
}

// What cannot be asked for is not asked for.
func TestCannotSign(t *testing.T) {
	ca := tlstest.NewCA("CA")
	for _, tt := range []struct {
		name  string
		key   crypto.Signer
		input []byte
		opts  crypto.SignerOpts
		says  string
	}{
		{"SHA-1", rsaKey(), make([]byte, 20), crypto.SHA1, "a signature with SHA-1"},
		{"MD5 and SHA-1", rsaKey(), make([]byte, 36), crypto.MD5SHA1, "a signature with MD5+SHA1"},
		{"PSS with SHA-1", rsaKey(), make([]byte, 20), &rsa.PSSOptions{Hash: crypto.SHA1}, "a signature with SHA-1"},
		{"no hash", rsaKey(), make([]byte, 32), crypto.Hash(0), "a signature without a hash"},
		{"no options", ecKey(elliptic.P256()), make([]byte, 32), nil, "a signature without a hash"},
		{"no digest", ecKey(elliptic.P256()), make([]byte, 31), crypto.SHA256, "a signature of what is not a digest"},
		{"Ed25519ph", edKey(), make([]byte, 64), crypto.SHA512, "a variant of Ed25519"},
		{"Ed25519ctx", edKey(), nil, &ed25519.Options{Context: "c"}, "a variant of Ed25519"},
		{"a long message", edKey(), make([]byte, maxLine), crypto.Hash(0), "a signature of more than a line can hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, _ := home(t, ca, tt.key)
			_, err := keyOf(t, started(t, "good", dir, usual)).Sign(nil, tt.input, tt.opts)
			if e := fault(t, err); e.ID != "signer.unsupported" || !strings.HasSuffix(e.Error(), "cannot be asked for "+tt.says) {
				t.Errorf("%s: %v", e.ID, e)
			}
			if got := len(noted(t, dir, "requests")); got != 3 {
				t.Errorf("the signer got %d requests, want 3", got)
			}
		})
	}
}

func TestUnsupportedKey(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), ecKey(elliptic.P224()))
	_, err := Start(t.Context(), argv("good", dir))
	if e := fault(t, err); e.ID != "signer.unsupported" {
		t.Errorf("%s: %v", e.ID, e)
	}
}

// A signature of another kind, made with the right key, is not taken either.
func TestVerifyIsOfWhatWasAsked(t *testing.T) {
	digest := sha256.Sum256([]byte("m"))
	pss := &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}
	long := &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 100}
	for _, tt := range []struct {
		name        string
		asked, made crypto.SignerOpts
		ok          bool
	}{
		{"PSS", pss, pss, true},
		{"PKCS #1", crypto.SHA256, crypto.SHA256, true},
		{"PKCS #1 for PSS", pss, crypto.SHA256, false},
		{"PSS for PKCS #1", crypto.SHA256, pss, false},
		{"another salt", pss, long, false},
	} {
		q, _ := signRequest(rsaKey().Public(), digest[:], tt.asked)
		signature := must(rsaKey().Sign(rand.Reader, digest[:], tt.made))
		if err := q.verify(rsaKey().Public(), signature, tt.asked); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}
