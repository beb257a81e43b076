//go:build pkcs11

package pkcs11key

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/miekg/pkcs11"
)

// maxObjects of one class are looked at.
const maxObjects = 1000

// Of PKCS #11 3.0, which the binding does not know.
const (
	keyEdwards = 0x40   // CKK_EC_EDWARDS
	signEdDSA  = 0x1057 // CKM_EDDSA
)

var (
	errClosed    = errors.New("it was closed")
	errLoggedOut = errors.New("it has logged us out")
)

// session is a session of one goroutine.
type session struct {
	lib    *pkcs11.Ctx
	handle pkcs11.SessionHandle
}

// withSession opens a session for f. Reading needs no session that may write.
func (t *Token) withSession(f func(session) error) error {
	handle, err := t.lib.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return t.over(err)
	}
	defer func() { _ = t.lib.CloseSession(handle) }()
	return f(session{t.lib, handle})
}

// over is a failure of a session that worked before.
func (t *Token) over(err error) *Error {
	var told *Error
	if errors.As(err, &told) {
		return told
	}
	return fault(sessionOver, nil, "token", t.name, "why", reason(err))
}

// find returns the objects with these attributes.
func (s session) find(template ...*pkcs11.Attribute) (found []pkcs11.ObjectHandle, err error) {
	if err := s.lib.FindObjectsInit(s.handle, template); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.lib.FindObjectsFinal(s.handle)) }()
	for len(found) < maxObjects {
		some, _, err := s.lib.FindObjects(s.handle, 50)
		if err != nil || len(some) == 0 {
			return found, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// value is an attribute, nil where the object has none: modules refuse a list of attributes for the
// sake of one that they do not know, so each is asked for alone.
func (s session) value(object pkcs11.ObjectHandle, attribute uint) []byte {
	got, err := s.lib.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil || len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// number is an attribute that is a CK_ULONG.
func (s session) number(object pkcs11.ObjectHandle, attribute uint) (uint, bool) {
	switch b := s.value(object, attribute); len(b) {
	case 4:
		return uint(binary.NativeEndian.Uint32(b)), true
	case 8:
		return uint(binary.NativeEndian.Uint64(b)), true
	}
	return 0, false
}

// key is a private key in the token.
type key struct {
	handle    pkcs11.ObjectHandle
	id, label string
	kind      uint // CKA_KEY_TYPE
	signs     bool
	asks      bool // for the PIN at every signature
}

func (k key) String() string {
	kind := map[uint]string{pkcs11.CKK_RSA: "RSA", pkcs11.CKK_EC: "EC", keyEdwards: "EdDSA"}[k.kind]
	if kind == "" {
		kind = fmt.Sprintf("type 0x%x", k.kind)
	}
	text := fmt.Sprintf("%s (%s, id=%s)", sanitize.Quote(k.label), kind, sanitize.Line(encode("id", k.id), 200))
	if !k.signs {
		text += " that does not sign"
	}
	return text
}

// choose finds the one private key that the URI names.
func (t *Token) choose(s session) (key, error) {
	handles, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY))
	if err != nil {
		return key{}, t.over(err)
	}
	var all, fitting []key
	for _, h := range handles {
		kind, ok := s.number(h, pkcs11.CKA_KEY_TYPE)
		if !ok {
			continue // deleted meanwhile
		}
		k := key{
			handle: h, id: string(s.value(h, pkcs11.CKA_ID)), label: string(s.value(h, pkcs11.CKA_LABEL)), kind: kind,
			signs: !bytes.Equal(s.value(h, pkcs11.CKA_SIGN), []byte{0}),
			asks:  bytes.Equal(s.value(h, pkcs11.CKA_ALWAYS_AUTHENTICATE), []byte{1}),
		}
		all = append(all, k)
		if k.signs && t.wanted.fitsKey(k.label, k.id) {
			fitting = append(fitting, k)
		}
	}
	switch {
	case len(fitting) == 0 && t.loggedOut(s):
		return key{}, t.over(errLoggedOut)
	case len(fitting) == 0:
		return key{}, fault(keyNone, nil, "token", t.name, "wanted", t.wanted.String(), "keys", list(all))
	case len(fitting) > 1:
		return key{}, fault(keyMany, nil, "token", t.name, "wanted", t.wanted.String(), "keys", list(fitting))
	case fitting[0].asks:
		return key{}, fault(keyUnusable, nil, "key", fitting[0].String(), "why", "the token asks for the PIN at each of its signatures")
	}
	return fitting[0], nil
}

// loggedOut tells a token that was pulled and plugged in again: it opens sessions, and shows no private key in them.
func (t *Token) loggedOut(s session) bool {
	if !t.login {
		return false
	}
	info, err := s.lib.GetSessionInfo(s.handle)
	return err != nil || info.State != pkcs11.CKS_RO_USER_FUNCTIONS && info.State != pkcs11.CKS_RW_USER_FUNCTIONS
}

// stored is a certificate in the token.
type stored struct {
	id   string
	cert *x509.Certificate
}

// certificates are those that can be read.
func (s session) certificates() (all []stored, err error) {
	handles, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE))
	if err != nil {
		return nil, err
	}
	for _, h := range handles {
		if cert, err := x509.ParseCertificate(s.value(h, pkcs11.CKA_VALUE)); err == nil {
			all = append(all, stored{string(s.value(h, pkcs11.CKA_ID)), cert})
		}
	}
	return all, nil
}

// chainOf is the certificate of the key and its issuers, as RFC 8446 §4.4.2 wants them sent, without
// the root. Of several certificates, as after a renewal, it takes one that has the key's id, is valid
// now and is the newest, in this order.
func chainOf(public crypto.PublicKey, id string, all []stored, now time.Time) []*x509.Certificate {
	comparable, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil
	}
	better := func(a, b stored) bool {
		if x, y := a.id == id, b.id == id; x != y {
			return x
		}
		valid := func(c *x509.Certificate) bool { return !now.Before(c.NotBefore) && !now.After(c.NotAfter) }
		if x, y := valid(a.cert), valid(b.cert); x != y {
			return x
		}
		return a.cert.NotBefore.After(b.cert.NotBefore)
	}
	var leaf *stored
	for _, c := range all {
		if comparable.Equal(c.cert.PublicKey) && (leaf == nil || better(c, *leaf)) {
			leaf = &c
		}
	}
	if leaf == nil {
		return nil
	}
	chain := []*x509.Certificate{leaf.cert}
	for {
		last := chain[len(chain)-1]
		i := slices.IndexFunc(all, func(up stored) bool {
			return !selfIssued(up.cert) && bytes.Equal(last.RawIssuer, up.cert.RawSubject) &&
				!slices.Contains(chain, up.cert) && last.CheckSignatureFrom(up.cert) == nil
		})
		if i < 0 || selfIssued(last) {
			return chain
		}
		chain = append(chain, all[i].cert)
	}
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }
