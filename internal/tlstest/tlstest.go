// Package tlstest is a throw-away certificate authority for tests and the demo.
package tlstest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is a certificate authority: a root from [NewCA], or below one from [CA.Intermediate]. Its
// methods panic where only a broken system could fail, as an exhausted source of chance.
type CA struct {
	cert   *x509.Certificate
	key    crypto.Signer
	issuer *CA // nil: a root
}

// Leaf says what an issued certificate contains.
type Leaf struct {
	CN           string
	Hosts        []string      // names and IP addresses; none for a client
	Client       bool          // extended key usage clientAuth instead of serverAuth
	NotBefore    time.Time     // zero: an hour ago
	NotAfter     time.Time     // zero: in 24 hours
	Key          crypto.Signer // nil: a fresh ECDSA P-256 key
	Organization string
}

// Pair is an issued certificate with its key.
type Pair struct {
	Cert    tls.Certificate
	CertPEM []byte // the leaf, then its intermediates
	KeyPEM  []byte // PKCS#8
}

// NewCA makes a root that has been valid for an hour and is for 24 more.
func NewCA(name string) *CA { return newCA(name, nil) }

// Intermediate makes an authority issued by ca. The chains it issues include it.
func (ca *CA) Intermediate(name string) *CA { return newCA(name, ca) }

// Cert is the authority's own certificate.
func (ca *CA) Cert() *x509.Certificate { return ca.cert }

// PEM is [CA.Cert] as a PEM file.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.cert.Raw) }

// Pool trusts this authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Issue signs a certificate.
func (ca *CA) Issue(l Leaf) *Pair {
	key := l.Key
	if key == nil {
		key = newKey()
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: l.CN},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   l.NotBefore,
		NotAfter:    l.NotAfter,
	}
	if l.Organization != "" {
		template.Subject.Organization = []string{l.Organization}
	}
	if l.Client {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	leaf := sign(template, key, ca.cert, ca.key)

	p := &Pair{Cert: tls.Certificate{PrivateKey: key, Leaf: leaf}}
	chain := []*x509.Certificate{leaf}
	for up := ca; up.issuer != nil; up = up.issuer {
		chain = append(chain, up.cert)
	}
	for _, c := range chain {
		p.Cert.Certificate = append(p.Cert.Certificate, c.Raw)
		p.CertPEM = append(p.CertPEM, encode("CERTIFICATE", c.Raw)...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	p.KeyPEM = encode("PRIVATE KEY", der)
	return p
}

// ServerConfig serves a new certificate for these hosts.
func (ca *CA) ServerConfig(hosts ...string) *tls.Config {
	cn := "server"
	if len(hosts) > 0 {
		cn = hosts[0]
	}
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue(Leaf{CN: cn, Hosts: hosts}).Cert}}
}

// MutualConfig is [CA.ServerConfig] that demands a client certificate issued under clients.
func (ca *CA) MutualConfig(clients *CA, hosts ...string) *tls.Config {
	config := ca.ServerConfig(hosts...)
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = clients.Pool()
	return config
}

// Write puts the pair into dir as name.pem and name.key, both readable by their owner only.
func (p *Pair) Write(dir, name string) (certPath, keyPath string, err error) {
	certPath = filepath.Join(dir, name+".pem")
	keyPath = filepath.Join(dir, name+".key")
	if err := os.WriteFile(certPath, p.CertPEM, 0o600); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(keyPath, p.KeyPEM, 0o600); err != nil {
		return "", "", err
	}
	return certPath, keyPath, nil
}

func newCA(name string, issuer *CA) *CA {
	ca := &CA{key: newKey(), issuer: issuer}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	if issuer == nil {
		ca.cert = sign(template, ca.key, template, ca.key)
	} else {
		ca.cert = sign(template, ca.key, issuer.cert, issuer.key)
	}
	return ca
}

// sign completes the template and has parent sign it.
func sign(template *x509.Certificate, key crypto.Signer, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	must(err)
	template.SerialNumber = serial
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	must(err)
	cert, err := x509.ParseCertificate(der)
	must(err)
	return cert
}

func newKey() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func encode(blockType string, der []byte) []byte {
	var b bytes.Buffer
	must(pem.Encode(&b, &pem.Block{Type: blockType, Bytes: der}))
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("tlstest: %v", err))
	}
}
