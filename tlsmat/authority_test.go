package tlsmat

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// authority issues what tlstest does not: servers with a SPIFFE ID, and revocation lists.
type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above []*authority // its issuer first, the root last
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority makes a root; change may alter its certificate.
func newAuthority(t testing.TB, name string, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert = sign(t, authorityTemplate(name, change), nil, a)
	return a
}

func (a *authority) intermediate(t testing.TB, name string, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	key := newKey(t)
	return &authority{cert: sign(t, authorityTemplate(name, change), key.Public(), a), key: key, above: append([]*authority{a}, a.above...)}
}

func authorityTemplate(name string, change []func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, c := range change {
		c(template)
	}
	return template
}

// server is a certificate for 127.0.0.1 and site.test, sent with its intermediates.
func (a *authority) server(t testing.TB, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"site.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range change {
		c(template)
	}
	key := newKey(t)
	leaf := sign(t, template, key.Public(), a)
	out := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for up := append([]*authority{a}, a.above...); len(up) > 1; up = up[1:] {
		out.Certificate = append(out.Certificate, up[0].cert.Raw)
	}
	return out
}

func sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey, by *authority) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	parent := by.cert
	if parent == nil {
		parent, public = template, by.key.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// list is a revocation list in DER that was made an hour ago and is good for a month; change may be nil.
func (a *authority) list(t testing.TB, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(30 * 24 * time.Hour)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *authority) pem() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// uris gives a certificate URIs.
func uris(t testing.TB, texts ...string) func(*x509.Certificate) {
	t.Helper()
	var all []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return func(c *x509.Certificate) { c.URIs = all }
}

// loadEntry loads an entry called corp.
func loadEntry(t *testing.T, e Entry) *Material {
	t.Helper()
	e.Name = "corp"
	m, err := Load(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// present serves a certificate.
func present(t *testing.T, version uint16, c tls.Certificate) (addr string, got <-chan served) {
	t.Helper()
	return serve(t, &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: version, MaxVersion: version})
}
