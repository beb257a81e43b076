package signer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// key is the [crypto.Signer] of one public key. It consists of functions, because fmt shows those as
// addresses where it calls no methods, as within unexported fields.
type key struct {
	public func() crypto.PublicKey
	sign   func(input []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (p *Process) newKey(public crypto.PublicKey) (*key, error) {
	if describe(public) == "" {
		return nil, p.name.fault("signer.unsupported", "what", "signatures of such a key")
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(spki)
	return &key{
		public: func() crypto.PublicKey { return public },
		sign: func(input []byte, opts crypto.SignerOpts) ([]byte, error) {
			return p.sign(public, id[:], input, opts)
		},
	}, nil
}

// Public implements [crypto.Signer].
func (k *key) Public() crypto.PublicKey { return k.public() }

// Sign implements [crypto.Signer]. The chance that it needs is the signer's.
func (k *key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.sign(digest, opts)
}

// Format implements [fmt.Formatter].
func (k *key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// LogValue implements [slog.LogValuer].
func (k *key) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// sign asks for a signature and verifies it: what is wrong with it would else be told by a server,
// as something else.
func (p *Process) sign(public crypto.PublicKey, id, input []byte, opts crypto.SignerOpts) ([]byte, error) {
	q, what := signRequest(public, input, opts)
	if what != "" {
		return nil, p.name.fault("signer.unsupported", "what", what)
	}
	q.Key = id
	ctx := context.Background() // crypto.Signer has none; the limit of the request bounds it
	c, err := p.running(ctx)
	if err != nil {
		return nil, err
	}
	r, err := p.request(ctx, c, p.limits.sign, q)
	if err != nil {
		return nil, err
	}
	signature, err := base64.StdEncoding.DecodeString(r.Signature)
	if err != nil || len(signature) == 0 {
		return nil, p.name.fault("signer.answer", "method", "sign", "reason", "no signature in base64")
	}
	if err := q.verify(public, signature, opts); err != nil {
		fault := p.name.fault("signer.wrong_key", "key", describe(public))
		fault.Err = err
		return nil, fault
	}
	return signature, nil
}

// signRequest says in the protocol what opts says in Go, or what cannot be said.
func signRequest(public crypto.PublicKey, input []byte, opts crypto.SignerOpts) (q request, cannot string) {
	hash := crypto.Hash(0)
	if opts != nil {
		hash = opts.HashFunc()
	}
	if _, ok := public.(ed25519.PublicKey); ok {
		o, special := opts.(*ed25519.Options)
		switch {
		case hash != 0 || special && o.Context != "":
			return q, "a variant of Ed25519"
		case base64.StdEncoding.EncodedLen(len(input)) > maxLine-1024:
			return q, "a signature of more than a line can hold"
		}
		return request{Method: "sign", Hash: "none", Message: input}, ""
	}
	switch hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	case 0:
		return q, "a signature without a hash"
	default:
		return q, "a signature with " + hash.String()
	}
	if len(input) != hash.Size() {
		return q, "a signature of what is not a digest"
	}
	q = request{Method: "sign", Hash: hash.String(), Digest: input}
	if _, ok := public.(*rsa.PublicKey); ok {
		q.Padding = "pkcs1"
		if o, ok := opts.(*rsa.PSSOptions); ok {
			q.Padding, q.SaltLength = "pss", o.SaltLength
			if q.SaltLength <= 0 { // as long as the hash, which TLS demands (RFC 8446 §4.2.3), or of our choice
				q.SaltLength = hash.Size()
			}
		}
	}
	return q, ""
}

var errSignature = errors.New("the signature does not verify")

func (q request) verify(public crypto.PublicKey, signature []byte, opts crypto.SignerOpts) error {
	ok := false
	switch k := public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, q.Message, signature)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, q.Digest, signature)
	case *rsa.PublicKey:
		if q.Padding == "pss" {
			return rsa.VerifyPSS(k, opts.HashFunc(), q.Digest, signature, &rsa.PSSOptions{SaltLength: q.SaltLength})
		}
		return rsa.VerifyPKCS1v15(k, opts.HashFunc(), q.Digest, signature)
	}
	if !ok {
		return errSignature
	}
	return nil
}
