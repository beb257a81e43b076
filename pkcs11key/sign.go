//go:build pkcs11

package pkcs11key

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"io"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// signer is a key in an open token. What it is made of is behind functions, which every verb of fmt
// prints as addresses where it does not call methods.
type signer struct {
	public crypto.PublicKey
	sign   func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
	name   func() string
}

// Public implements [crypto.Signer].
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer]. Tokens have chance of their own.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest, opts)
}

// Format implements [fmt.Formatter].
func (s *signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "PKCS #11 key "+s.name()) }

// signer makes the key usable.
func (t *Token) signer(s session, k key, certificates []stored) (*signer, error) {
	var public crypto.PublicKey
	var sign func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
	var err error
	switch k.kind {
	case pkcs11.CKK_RSA, pkcs11.CKK_EC:
		public, sign, err = t.pair(k)
	case keyEdwards:
		public, sign, err = t.edwards(s, k, certificates)
	default:
		return nil, fault(keyUnusable, nil, "key", k.String(), "why", "TLS has no use for its type")
	}
	if err != nil {
		return nil, err
	}
	bounded := func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		// crypto.Signer has no ctx, and the handshake that waits has its own time.
		ctx, cancel := context.WithTimeout(context.Background(), signTime)
		defer cancel()
		return call(ctx, t, func() ([]byte, error) {
			signature, err := sign(digest, opts)
			if err != nil {
				return nil, t.unsigned(err)
			}
			// A key beside another one's public half is common, and the server's alert would not tell.
			if !verifies(public, digest, opts, signature) {
				return nil, fault(keyMismatch, nil, "key", k.String())
			}
			return signature, nil
		})
	}
	return &signer{public, bounded, k.String}, nil
}

// pair finds an RSA or EC key with its public half.
func (t *Token) pair(k key) (crypto.PublicKey, func([]byte, crypto.SignerOpts) ([]byte, error), error) {
	attributes := crypto11.NewAttributeSet()
	for attribute, value := range map[crypto11.AttributeType]string{crypto11.CkaId: k.id, crypto11.CkaLabel: k.label} {
		if value == "" {
			continue
		}
		if err := attributes.Set(attribute, []byte(value)); err != nil {
			return nil, nil, t.over(err)
		}
	}
	if len(attributes) == 0 {
		return nil, nil, fault(keyUnusable, nil, "key", k.String(), "why", "it has neither an id nor a label")
	}
	found, err := t.sessions.FindKeyPairsWithAttributes(attributes)
	if err != nil {
		return nil, nil, t.over(err)
	}
	if len(found) == 0 {
		return nil, nil, fault(keyPublic, nil, "token", t.name, "key", k.String())
	}
	public := found[0].Public()
	return public, func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		if ec, ok := public.(*ecdsa.PublicKey); ok {
			// FIPS 186-5 §6.4.1 cuts the hash to the length of the order; for a module, the caller does.
			digest = digest[:min(len(digest), (ec.Params().N.BitLen()+7)/8)]
		}
		return found[0].Sign(nil, digest, opts)
	}, nil
}

// edwards finds an Ed25519 key, which crypto11 does not know.
func (t *Token) edwards(s session, k key, certificates []stored) (crypto.PublicKey, func([]byte, crypto.SignerOpts) ([]byte, error), error) {
	public, err := s.edwardsPublic(k, certificates)
	if err != nil {
		return nil, nil, t.over(err)
	}
	if public == nil {
		return nil, nil, fault(keyPublic, nil, "token", t.name, "key", k.String())
	}
	return public, func(message []byte, opts crypto.SignerOpts) (signature []byte, err error) {
		err = t.withSession(func(s session) error {
			if err := s.lib.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(signEdDSA, nil)}, k.handle); err != nil {
				return err
			}
			signature, err = s.lib.Sign(s.handle, message)
			return err
		})
		return signature, err
	}, nil
}

// edwardsPublic is the public half: an object, or in a certificate with the same id.
func (s session) edwardsPublic(k key, certificates []stored) (ed25519.PublicKey, error) {
	which := pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(k.id))
	if k.id == "" {
		which = pkcs11.NewAttribute(pkcs11.CKA_LABEL, []byte(k.label))
	}
	handles, err := s.find(which, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyEdwards))
	if err != nil {
		return nil, err
	}
	for _, h := range handles {
		point := s.value(h, pkcs11.CKA_EC_POINT)
		if len(point) != ed25519.PublicKeySize { // the bare key in PKCS #11 3.0, an OCTET STRING before
			var bare []byte
			if rest, err := asn1.Unmarshal(point, &bare); err != nil || len(rest) > 0 {
				continue
			}
			point = bare
		}
		if len(point) == ed25519.PublicKeySize {
			return ed25519.PublicKey(point), nil
		}
	}
	for _, c := range certificates {
		if public, ok := c.cert.PublicKey.(ed25519.PublicKey); ok && k.id != "" && c.id == k.id {
			return public, nil
		}
	}
	return nil, nil
}

// unsigned tells a token that cannot sign this from one that is gone.
func (t *Token) unsigned(err error) error {
	if is(err, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_DATA_INVALID, pkcs11.CKR_DATA_LEN_RANGE,
		pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, pkcs11.CKR_FUNCTION_CANCELED) {
		return fault(signFails, nil, "token", t.name, "why", reason(err))
	}
	return t.over(err)
}

// verifies checks a signature before anybody sees it.
func verifies(public crypto.PublicKey, digest []byte, opts crypto.SignerOpts, signature []byte) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(public, pss.HashFunc(), digest, signature, pss) == nil
		}
		return rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(public, digest, signature)
	}
	return false
}
