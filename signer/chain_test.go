package signer

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestChainAnswer(t *testing.T) {
	root := tlstest.NewCA("Root")
	issuing := root.Intermediate("Issuing")
	leafKey := ecKey(elliptic.P256())
	b64 := base64.StdEncoding.EncodeToString
	leaf := b64(issuing.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: leafKey}).Cert.Certificate[0])
	up, top := b64(issuing.Cert().Raw), b64(root.Cert().Raw)
	spki := func(k crypto.Signer) string { return b64(must(x509.MarshalPKIXPublicKey(k.Public()))) }
	private := b64(must(x509.MarshalPKCS8PrivateKey(leafKey)))
	for _, tt := range []struct {
		name   string
		chain  []string
		public string
		certs  int
		id     string // "": fine
		says   string
	}{
		{"leaf", []string{leaf}, "", 1, "", ""},
		{"whole chain", []string{leaf, up, top}, "", 3, "", ""},
		{"order of the rest", []string{leaf, top, up}, "", 3, "", ""},
		{"lines as in PEM", []string{leaf[:64] + "\n" + leaf[64:] + "\n"}, "", 1, "", ""},
		{"with its key", []string{leaf}, spki(leafKey), 1, "", ""},
		{"key alone", []string{}, spki(leafKey), 0, "", ""},
		{"self-signed", []string{top}, "", 1, "", ""},
		{"the same twice", []string{leaf, leaf}, "", 2, "", ""},
		{"no chain", nil, "", 0, "signer.answer", "answered chain with no member chain"},
		{"nothing", []string{}, "", 0, "signer.no_key", ""},
		{"another key", []string{leaf}, spki(ecKey(elliptic.P256())), 0, "signer.chain", "public_key is not that of chain[0]"},
		{"another kind of key", []string{leaf}, spki(edKey()), 0, "signer.chain", "public_key is not that of chain[0]"},
		{"issuer first", []string{up, leaf}, "", 0, "signer.chain", "chain[0] is the authority that issued chain[1], and the leaf must be first"},
		{"root first", []string{top, leaf, up}, "", 0, "signer.chain", "chain[0] is the authority that issued chain[2], and the leaf must be first"},
		{"not base64", []string{leaf, "-----BEGIN CERTIFICATE-----" + leaf}, "", 0, "signer.chain", "chain[1] is not base64"},
		{"not a certificate", []string{leaf, up, "AAAA"}, "", 0, "signer.chain", "chain[2] is not a certificate: x509: "},
		{"a private key", []string{private}, "", 0, "signer.chain", "chain[0] is not a certificate: x509: "},
		{"empty text", []string{""}, "", 0, "signer.chain", "chain[0] is not a certificate: x509: "},
		{"two in one", []string{b64(append(issuing.Cert().Raw, root.Cert().Raw...))}, "", 0, "signer.chain", "chain[0] is not a certificate: x509: trailing data"},
		{"key of no sort", []string{}, "AAAA", 0, "signer.chain", "public_key is not the base64 of a SubjectPublicKeyInfo"},
		{"key not base64", []string{leaf}, "!", 0, "signer.chain", "public_key is not the base64 of a SubjectPublicKeyInfo"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &response{Chain: tt.chain, PublicKey: tt.public}
			chain, public, err := r.identity(`"test"`)
			if tt.id != "" {
				if e := fault(t, err); e.ID != tt.id || !strings.Contains(e.Error(), tt.says) || strings.Contains(e.Error(), private) {
					t.Errorf("%s: %v", e.ID, e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(chain) != tt.certs || public == nil {
				t.Errorf("%d certificates, key %T", len(chain), public)
			}
			if len(chain) > 0 && !equal(public, chain[0].PublicKey) {
				t.Error("the key is not the leaf's")
			}
		})
	}
}
