package tlsmat

import (
	"crypto"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
)

// A home has the key; the certificate is its own or that of a file.
func TestKeyOfAHome(t *testing.T) {
	ca := tlstest.NewCA("CA").Intermediate("Issuing")
	p, other := ca.Issue(tlstest.Leaf{CN: "alice", Client: true}), ca.Issue(tlstest.Leaf{CN: "bob", Client: true})
	key := p.Cert.PrivateKey.(crypto.Signer)
	chain := func(p *tlstest.Pair) (all []*x509.Certificate) {
		for _, der := range p.Cert.Certificate {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		return all
	}
	certFile := func(p *tlstest.Pair) *keyfile.File { return file(t, "cert", p.CertPEM) }
	keyCause := cause(t, "certificate.is_key")
	for _, tt := range []struct {
		name  string
		entry Entry
		in    inputs
		cause catalogue.Cause
		text  string
	}{
		{"its chain", Entry{}, inputs{chain: chain(p), signer: key}, catalogue.Cause{}, ""},
		{"a file", Entry{Cert: "/c"}, inputs{cert: certFile(p), signer: key}, catalogue.Cause{}, ""},
		{"no chain", Entry{}, inputs{signer: key}, causeNoChain, "mtls.corp.cert: is not set"},
		{"another's chain", Entry{}, inputs{chain: chain(other), signer: key}, causeMismatchHome, "mtls.corp.signer: has a key that does not belong"},
		{"another's file", Entry{Cert: "/c"}, inputs{cert: certFile(other), signer: key}, causeMismatchHome, `"CN=bob"`},
		{"a file without certificate", Entry{Cert: "/c"}, inputs{cert: file(t, "cert", p.KeyPEM), signer: key}, keyCause, "no certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := tt.entry
			e.Name, e.Signer = "corp", []string{"signer"}
			m, err := build(t.Context(), e, &tt.in)
			if tt.cause.ID != "" {
				le, ok := err.(*LoadError)
				if !ok || !produced(tt.cause, le.Field, le.Code(), le.Cause.Says, le.Hint()) || !strings.Contains(le.Error(), tt.text) {
					t.Errorf("%v, want %s %q", err, tt.cause.ID, tt.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.ChainLength() != 2 || m.Leaf().Subject.CommonName != "alice" || len(m.doubts) != 0 {
				t.Errorf("%d certificates, %v", m.ChainLength(), m.doubts)
			}
			checkSigner(t, m.Certificate().PrivateKey.(crypto.Signer), key)
		})
	}
}
