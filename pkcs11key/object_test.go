//go:build pkcs11

package pkcs11key

import (
	"crypto/elliptic"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/miekg/pkcs11"
)

func TestKeys(t *testing.T) {
	h := withKey(t)
	root := tlstest.NewCA("root")
	for _, id := range []string{"02", "03"} {
		h.key("one", id, "twin", root.Issue(tlstest.Leaf{CN: "twin"}))
	}
	h.tool("one", "--keypairgen", "--key-type", "EC:prime256v1", "--id", "04", "--label", "asks", "--always-auth")
	h.tool("one", "--keypairgen", "--key-type", "RSA:2048", "--id", "05", "--label", "decrypts")
	h.open("object=decrypts").mayNotSign(t, "05")

	got := h.fails(h.uri("object=other"), pin, keyNone)
	for _, part := range []string{"pkcs11:object=other", `"web" (EC, id=%01)`, `"twin" (EC, id=%02)`, `"decrypts" (RSA, id=%05) that does not sign`} {
		if !strings.Contains(got.Error(), part) {
			t.Errorf("%q does not say %q", got, part)
		}
	}
	if got.Code() != "tls.pkcs11_key" {
		t.Errorf("code %q", got.Code())
	}
	several := h.fails(h.uri("object=twin"), pin, keyMany)
	if strings.Contains(several.Error(), "web") || !strings.Contains(several.Error(), `"twin" (EC, id=%02), "twin" (EC, id=%03)`) {
		t.Errorf("%q does not list the twins alone", several)
	}
	h.fails(h.uri(""), pin, keyMany)
	h.fails(h.uri("object=web;id=%02"), pin, keyNone)
	h.fails(h.uri("object=decrypts"), pin, keyNone)
	if got := h.fails(h.uri("object=asks"), pin, keyUnusable); !strings.Contains(got.Error(), "PIN at each") {
		t.Errorf("got %q", got)
	}
	h.open("object=twin;id=%03")
	h.open("id=%02")
}

// mayNotSign takes the right to sign from a private key.
func (token *Token) mayNotSign(t *testing.T, id string) {
	t.Helper()
	handle, err := token.lib.OpenSession(token.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = token.lib.CloseSession(handle) }()
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	found, err := session{token.lib, handle}.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, raw))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d keys, %v", len(found), err)
	}
	if err := token.lib.SetAttributeValue(handle, found[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SIGN, false)}); err != nil {
		t.Fatal(err)
	}
}

// Replacing key and certificate under the same label changes the identity of an open token.
func TestRotation(t *testing.T) {
	h := newHSM(t)
	root := tlstest.NewCA("root")
	h.token("one")
	issue := func(id string) *tlstest.Pair {
		p := root.Issue(tlstest.Leaf{CN: id, Client: true})
		h.key("one", id, "web", p)
		h.cert("one", id, "web", p.Cert.Certificate[0])
		return p
	}
	first := issue("01")
	byLabel, byID := h.open("object=web"), h.open("id=%01")
	chain, old := identity(t, byLabel)
	wantServed(t, tls.VersionTLS13, root.Pool(), raw(chain), old, first.Cert.Certificate...)

	second := issue("02")
	_, _, err := byLabel.Identity(t.Context())
	wantCause(t, err, keyMany)
	chain, key := identity(t, byID)
	wantServed(t, tls.VersionTLS13, root.Pool(), raw(chain), key, first.Cert.Certificate...)

	h.delete("one", "01")
	chain, key = identity(t, byLabel)
	wantServed(t, tls.VersionTLS13, root.Pool(), raw(chain), key, second.Cert.Certificate...)
	_, _, err = byID.Identity(t.Context())
	wantCause(t, err, keyNone)
	if err := sign(old); !errors.Is(err, ErrGone) {
		t.Errorf("the deleted key: %v", err)
	}
}

// A renewed certificate of the same key is the identity from then on.
func TestRenewal(t *testing.T) {
	h := newHSM(t)
	root := tlstest.NewCA("root")
	h.token("one")
	key := newRSA(t)
	first := root.Issue(tlstest.Leaf{CN: "first", Client: true, Key: key})
	h.key("one", "01", "web", first)
	h.cert("one", "01", "web", first.Cert.Certificate[0])
	token := h.open("object=web")
	if chain, _ := identity(t, token); len(chain) != 1 || chain[0].Subject.CommonName != "first" {
		t.Fatalf("got %v", chain)
	}
	second := root.Issue(tlstest.Leaf{CN: "second", Client: true, Key: key, NotBefore: time.Now().Add(-time.Minute)})
	h.cert("one", "01", "web", second.Cert.Certificate[0])
	chain, signer := identity(t, token)
	wantServed(t, tls.VersionTLS12, root.Pool(), raw(chain), signer, second.Cert.Certificate...)
}

func TestChainOf(t *testing.T) {
	root := tlstest.NewCA("root")
	middle := root.Intermediate("middle")
	lower := middle.Intermediate("lower")
	namesake := root.Intermediate("lower") // another key
	key, now := newEC(t, elliptic.P256()), time.Now()
	leaf := func(cn string, from, until time.Duration) stored {
		return stored{"1", lower.Issue(tlstest.Leaf{CN: cn, Key: key, NotBefore: now.Add(from), NotAfter: now.Add(until)}).Cert.Leaf}
	}
	elsewhere := func(s stored) stored { return stored{"2", s.cert} }
	current, expired, coming := leaf("current", -time.Hour, time.Hour), leaf("expired", -2*time.Hour, -time.Hour), leaf("coming", time.Hour, 2*time.Hour)
	newer := leaf("newer", -time.Minute, time.Hour)
	other := stored{"1", lower.Issue(tlstest.Leaf{CN: "other"}).Cert.Leaf}
	up := []stored{{"", root.Cert()}, {"", middle.Cert()}, {"", namesake.Cert()}, {"", lower.Cert()}}
	self := stored{"1", tlstest.NewCA("self").Cert()}
	for _, tt := range []struct {
		name string
		all  []stored
		want []string
	}{
		{"none", nil, nil},
		{"of another key", append(up, other), nil},
		{"alone", []stored{current}, []string{"current"}},
		{"chain", append(up, other, current), []string{"current", "lower", "middle"}},
		{"gap", []stored{current, {"", middle.Cert()}}, []string{"current"}},
		{"namesake of the issuer", []stored{{"", namesake.Cert()}, current}, []string{"current"}},
		{"another id", []stored{elsewhere(current)}, []string{"current"}},
		{"newest", []stored{current, newer}, []string{"newer"}},
		{"newest, the other way round", []stored{newer, current}, []string{"newer"}},
		{"valid", []stored{expired, current, coming}, []string{"current"}},
		{"the key's id before all", []stored{elsewhere(newer), expired}, []string{"expired"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range chainOf(key.Public(), "1", tt.all, now) {
				got = append(got, c.Subject.CommonName)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := chainOf(self.cert.PublicKey, "1", []stored{self}, now); len(got) != 1 {
		t.Errorf("a certificate that its own key signed: got %d", len(got))
	}
}
