package tlsfault

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// A signer, token or agent that does not sign has its own words.
func TestSigning(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	m := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: rsaKey(t, 2048)}), servers.PEM())
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, _ := serve(t, config)
			client, seen := m.TLSConfig("127.0.0.1"), &tlsmat.Seen{}
			certificate := client.GetClientCertificate
			client.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				cert, err := certificate(info)
				cert.PrivateKey = shortDigests{cert.PrivateKey.(crypto.Signer)}
				return cert, err
			}
			err := dial(t, "tcp", addr, client, seen)
			f := Explain(err, "site.test", m, seen)
			check(t, f, "signer.failed", "did not sign the handshake with site.test", "mtls.corp.cert is running and unlocked")
			wantFacts(t, f, m)
		})
	}
}

// A signer has its own words, in whichever version crypto/tls passes its error on.
func TestExternalSigner(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	pair := clients.Issue(tlstest.Leaf{CN: "alice", Client: true})
	t.Setenv(signerVariable, base64.StdEncoding.EncodeToString(pair.Cert.Certificate[0]))
	e := tlsmat.Entry{Name: "corp", Signer: []string{os.Args[0]}, CA: []string{write(t, "ca.pem", servers.PEM())}, CAOnly: true}
	source, err := tlsmat.Open(t.Context(), e, tlsmat.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	m := source.Current()
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, _ := serve(t, config)
			seen := &tlsmat.Seen{}
			err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen)
			f := Explain(err, "site.test", m, seen)
			check(t, f, "signer.told", "the client key did not sign the handshake with site.test: ", "do what its text asks for")
			if !strings.Contains(f.Error(), "nobody touched the card") {
				t.Errorf("%q lacks the signer's own text", f)
			}
		})
	}
	t.Run("with another key", func(t *testing.T) {
		t.Setenv(signatureVariable, "AAAA")
		source, err := tlsmat.Open(t.Context(), e, tlsmat.SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = source.Close() }()
		addr, _ := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
		seen := &tlsmat.Seen{}
		err = dial(t, "tcp", addr, source.Current().TLSConfig("127.0.0.1"), seen)
		if f := Explain(err, "site.test", m, seen); f == nil || f.Code() != "tls.key_mismatch" || f.id != "signer.told" {
			t.Errorf("%v", f)
		}
	})
	t.Run("too slowly", func(t *testing.T) {
		_, key, err := pair.Write(t.TempDir(), "client")
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(signerKeyVariable, key)
		slowlySigned(t, servers, e)
	})
	// The entry has no cert.
	x := newExchange("site.test", m, asked(t, nil))
	if f := x.rejected(alertUnknownCA); !strings.Contains(f.Hint(), "add its certificate to the chain that comes from mtls.corp.signer") {
		t.Errorf("hint %q", f.Hint())
	}
}

// slowlySigned: neither we nor the server wait for ever.
func slowlySigned(t *testing.T, servers *tlstest.CA, e tlsmat.Entry) {
	config := servers.ServerConfig("127.0.0.1")
	config.ClientAuth = tls.RequestClientCert
	for _, tt := range []struct {
		name  string
		limit time.Duration // of our patience
		id    string
		says  string
		hint  string
	}{
		{"not in our time", 200 * time.Millisecond, "signer.slow", "had not signed the handshake with site.test when the time was up; the client certificate is", "touched"},
		{"not in the server's time", time.Minute, "signer.late", "site.test closed the connection after the client key had taken 2s to sign", "at once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source, err := tlsmat.Open(t.Context(), e, tlsmat.SourceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = source.Close() }()
			m := source.Current()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(time.Second))
				_ = tls.Server(conn, config).Handshake()
				_ = conn.Close()
			}()
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = raw.Close() }()
			ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
			defer cancel()
			seen := &tlsmat.Seen{}
			conn := tls.Client(raw, m.TLSConfig("127.0.0.1"))
			if err = conn.HandshakeContext(tlsmat.WithSeen(ctx, seen)); err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
			check(t, Explain(err, "site.test", m, seen), tt.id, tt.says, tt.hint)
		})
	}
}

// What the one who makes the handshakes knows stands in the error.
func TestErrorsOfOthers(t *testing.T) {
	ca := tlstest.NewCA("CA")
	m := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}), ca.PEM())
	check(t, Explain(ErrUnsigned, "site.test", m, asked(t, m, ca)), "signer.slow", "had not signed the handshake with site.test", "mtls.corp.cert")
	check(t, Explain(fmt.Errorf("%w: %w", ErrUnasked, io.EOF), "site.test", m, asked(t, m, ca)), "handshake.unasked", "asking it why takes another signature", "run doctor for the URL")
	if f := Explain(fmt.Errorf("%w: %w", ErrUnasked, errors.New("something else")), "site.test", m, asked(t, m, ca)); f != nil {
		t.Errorf("something else is explained as %v", f)
	}
}

const (
	signerVariable    = "TLSFAULT_TEST_SIGNER"
	signatureVariable = "TLSFAULT_TEST_SIGNATURE"
	signerKeyVariable = "TLSFAULT_TEST_SIGNER_KEY" // the file of a key that signs after two seconds
)

// refuseToSign is a signer (docs/signer.md) of this certificate that signs nothing, or badly.
func refuseToSign(certificate string) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var request struct {
			ID     int
			Method string
			Digest []byte
		}
		_ = json.Unmarshal(lines.Bytes(), &request)
		answer := map[string]any{"id": request.ID}
		switch request.Method {
		case "hello":
			answer["protocol"] = 1
		case "chain":
			answer["chain"] = []string{certificate}
		default:
			answer["error"] = "nobody touched the card"
			if path := os.Getenv(signerKeyVariable); path != "" {
				time.Sleep(longSignature)
				answer = map[string]any{"id": request.ID, "signature": signWith(path, request.Digest)}
			}
			if signature := os.Getenv(signatureVariable); signature != "" {
				answer = map[string]any{"id": request.ID, "signature": signature}
			}
		}
		_ = json.NewEncoder(os.Stdout).Encode(answer)
	}
}

func signWith(path string, digest []byte) (signature []byte) {
	text, _ := os.ReadFile(path)
	block, _ := pem.Decode(text)
	key, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
	signature, _ = key.(crypto.Signer).Sign(rand.Reader, digest, crypto.SHA256)
	return signature
}

// shortDigests signs what is no digest, which no RSA key does.
type shortDigests struct{ crypto.Signer }

func (s shortDigests) Sign(_ io.Reader, _ []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(rand.Reader, []byte("short"), opts)
}
