package signer

import (
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// certificate is the identity as crypto/tls takes it.
func certificate(t *testing.T, p *Process) *tls.Certificate {
	t.Helper()
	chain, key, err := p.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

func clientConfig(roots *tlstest.CA, cert *tls.Certificate, tlsVersion uint16) *tls.Config {
	return &tls.Config{
		RootCAs: roots.Pool(), ServerName: "site.test", MinVersion: tlsVersion, MaxVersion: tlsVersion,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
	}
}

var keyKinds = []struct {
	name string
	key  func() crypto.Signer
}{
	{"RSA", rsaKey},
	{"ECDSA P-256", func() crypto.Signer { return ecKey(elliptic.P256()) }},
	{"ECDSA P-384", func() crypto.Signer { return ecKey(elliptic.P384()) }},
	{"ECDSA P-521", func() crypto.Signer { return ecKey(elliptic.P521()) }},
	{"Ed25519", edKey},
}

var tlsVersions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// handshake connects to a Go server, reads once, and returns what both made of it.
func handshake(t *testing.T, server, client *tls.Config) (seen []*x509.Certificate, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		tc := tls.Server(conn, server)
		if err = tc.Handshake(); err == nil {
			seen = tc.ConnectionState().PeerCertificates
			_ = tc.Close()
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(conn, client)
	if clientErr = tc.Handshake(); clientErr == nil {
		if _, clientErr = tc.Read(make([]byte, 1)); errors.Is(clientErr, io.EOF) {
			clientErr = nil
		}
	}
	_ = conn.Close()
	return seen, <-done, clientErr
}

func TestHandshake(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	server := servers.MutualConfig(clients, "site.test")
	for _, kind := range keyKinds {
		dir, pair := home(t, clients.Intermediate("Issuing"), kind.key())
		p := started(t, "good", dir, usual)
		for name, v := range tlsVersions {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				seen, serverErr, clientErr := handshake(t, server, clientConfig(servers, certificate(t, p), v))
				if serverErr != nil || clientErr != nil {
					t.Fatalf("server: %v, client: %v", serverErr, clientErr)
				}
				if len(seen) != 2 || !seen[0].Equal(pair.Cert.Leaf) {
					t.Errorf("the server saw %d certificates", len(seen))
				}
			})
		}
	}
}

// What a signer does wrong is told by us, in these words; the server only sees us go.
func TestHandshakeFails(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	server := servers.MutualConfig(clients, "site.test")
	for how, says := range map[string]string{
		"dies": "ended (exit status 3) before it answered", "wrong key": "is not one of the ECDSA P-256 key of the certificate",
		"refuses for now": `could not sign this time: "nobody touched it"`, "hangs": "did not answer sign within 2s",
	} {
		for name, v := range tlsVersions {
			t.Run(how+" "+name, func(t *testing.T) {
				dir, _ := home(t, clients, nil)
				seen, serverErr, clientErr := handshake(t, server, clientConfig(servers, certificate(t, started(t, how, dir, impatient)), v))
				if serverErr == nil || seen != nil {
					t.Error("the server is content")
				}
				if clientErr == nil || !strings.Contains(clientErr.Error(), says) {
					t.Errorf("client: %v, want %q", clientErr, says)
				}
			})
		}
	}
}
