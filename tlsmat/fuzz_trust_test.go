package tlsmat

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
)

// FuzzTrust: whatever the files of roots and lists hold, the outcome is a LoadError or material
// that answers for a server.
func FuzzTrust(f *testing.F) {
	root := newAuthority(f, "Root")
	server := root.server(f)
	list := root.list(f, nil, server.Leaf)
	scoped := root.list(f, func(l *x509.RevocationList) { l.ExtraExtensions = scopeOf(point("http://crl.test/1")) })
	f.Add(root.pem(), crlPEM(list))
	f.Add(root.cert.Raw, list)
	f.Add(root.pem(), scoped)
	f.Add(slices.Concat(root.pem(), root.pem()), slices.Concat(crlPEM(list), crlPEM(scoped)))
	f.Fuzz(func(t *testing.T, ca, crl []byte) {
		in := &inputs{ca: []rootFile{{File: file(t, "ca", ca)}}, crl: []*keyfile.File{file(t, "crl", crl)}}
		m := &Material{name: "corp"}
		if err := m.loadTrust(Entry{Name: "corp", CAOnly: true}, in); err != nil {
			var fault *LoadError
			if !errors.As(err, &fault) || fault.Code() == "" || fault.Hint() == "" {
				t.Errorf("error %T %v", err, err)
			}
			return
		}
		if len(m.bundle) == 0 || len(m.lists) == 0 {
			t.Error("loaded without roots or lists")
		}
		_ = m.Checks()
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{server.Leaf}, VerifiedChains: [][]*x509.Certificate{{server.Leaf, root.cert}}}
		_ = m.verifier("site.test")(state)
	})
}
