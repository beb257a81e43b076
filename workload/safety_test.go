//go:build spiffe

package workload

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childAddress makes this program open the Workload API there, print the outcome and end.
const childAddress = "WORKLOAD_TEST_ADDRESS"

func TestMain(m *testing.M) {
	if address := os.Getenv(childAddress); address != "" {
		os.Exit(child(address))
	}
	// Before servers run: gRPC wants its logger to be set first of all.
	quiet()
	goleak.VerifyTestMain(m)
}

func child(address string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := Open(ctx, address)
	if err != nil {
		fmt.Println("error", err.(*Error).Cause.ID)
		return 0
	}
	chain, _, err := c.Identity(ctx)
	fmt.Println("identity", chain[0].URIs[0], err, c.Close())
	return 0
}

// run opens address in a process of its own and returns what that wrote.
func run(t *testing.T, address string, env ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(within(t, 30*time.Second), os.Args[0])
	cmd.Env = append(append(os.Environ(), childAddress+"="+address), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}

func TestQuiet(t *testing.T) {
	loud := []string{"GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99"}
	for _, tt := range []struct{ name, address, want string }{
		{"an identity", newAgent(newAuthority(t, "Corp").issue(t, bot)).start(t), "identity " + bot + " <nil> <nil>\n"},
		{"no agent", "unix://" + socketPath(t), "error spiffe.no_socket\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if stdout, stderr := run(t, tt.address, loud...); stdout != tt.want || stderr != "" {
				t.Errorf("stdout %q, stderr %q", stdout, stderr)
			}
		})
	}
}

// Proxies of the environment are for what leaves this host. (They never get connections to loopback
// addresses, so this one is the unspecified address, which leads here all the same.)
func TestNoProxy(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	newAgent(newAuthority(t, "Corp").issue(t, bot)).serve(t, ln)
	address := fmt.Sprintf("tcp://0.0.0.0:%d", ln.Addr().(*net.TCPAddr).Port)
	closed := strings.TrimPrefix(closedPort(t), "tcp://")
	stdout, _ := run(t, address, "HTTPS_PROXY=http://"+closed, "HTTP_PROXY=http://"+closed, "NO_PROXY=", "no_proxy=")
	if want := "identity " + bot + " <nil> <nil>\n"; stdout != want {
		t.Errorf("got %q, want %q", stdout, want)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	ca := newAuthority(t, "Corp")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	svid := ca.issue(t, bot)
	parsed, err := x509.ParseCertificates(svid.X509Svid)
	if err != nil {
		t.Fatal(err)
	}
	cert := sign(t, &x509.Certificate{URIs: parsed[0].URIs, KeyUsage: x509.KeyUsageDigitalSignature}, private, ca.issuing, ca.key)
	svid.X509Svid = append(cert.Raw, ca.issuing.Raw...)
	if svid.X509SvidKey, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		t.Fatal(err)
	}
	c := open(t, newAgent(svid).start(t))
	_, key, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if signature, err := key.Sign(rand.Reader, []byte("text"), &ed25519.Options{}); err != nil || !ed25519.Verify(public, []byte("text"), signature) {
		t.Fatalf("the key does not sign: %v", err)
	}

	var said bytes.Buffer
	inside := struct {
		key     any
		Client  *Client
		current *state
	}{key, c, c.current.Load()}
	for _, v := range []any{key, c, *c.current.Load(), inside, &inside, []any{key}, tls.Certificate{PrivateKey: key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%p", "%e"} {
			fmt.Fprintf(&said, verb+"\n", v)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&said, nil), slog.NewJSONHandler(&said, nil)} {
		slog.New(h).Info("key", "key", key, "inside", slog.AnyValue(key))
	}
	if err := json.NewEncoder(&said).Encode(key); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "[redacted]") {
		t.Error("nothing was printed")
	}
	seed := private.Seed()[:8]
	decimal := strings.Trim(fmt.Sprint(seed), "[]")
	for _, form := range []string{string(seed), hex.EncodeToString(seed), strings.ToUpper(hex.EncodeToString(seed)), base64.StdEncoding.EncodeToString(seed[:6]),
		decimal, strings.ReplaceAll(decimal, " ", ","), strings.Trim(fmt.Sprintf("%#v", seed), "[]byte{}"), strings.Trim(fmt.Sprintf("%o", seed), "[]"), strings.Trim(fmt.Sprintf("%b", seed), "[]")} {
		if strings.Contains(said.String(), form) {
			t.Errorf("the key is printed as %q", form)
		}
	}
}

func TestMutualTLS(t *testing.T) {
	ca := newAuthority(t, "Corp")
	one, two := ca.issue(t, bot), ca.issue(t, bot)
	a := newAgent(one)
	c := open(t, a.start(t))

	server := open(t, newAgent(ca.issue(t, wiki)).start(t))
	pool := x509.NewCertPool()
	for _, root := range server.Bundle() {
		pool.AddCert(root)
	}
	seen := handshakes(t, &tls.Config{Certificates: []tls.Certificate{certificate(t, server)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})

	for _, sent := range [][]byte{one.X509Svid, two.X509Svid} {
		if !bytes.HasPrefix(sent, leaf(t, c).Raw) {
			a.give(two)
			await(t, c)
		}
		got, err := seen(clientConfig(t, c))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw(got.PeerCertificates), sent) || got.PeerCertificates[0].URIs[0].String() != bot {
			t.Errorf("the server received %v", subjects(got.PeerCertificates))
		}
	}

	// The same with authorities of another domain of the same name.
	stranger := open(t, newAgent(newAuthority(t, "Corp").issue(t, bot)).start(t))
	config := clientConfig(t, stranger)
	config.VerifyConnection = nil
	if _, err := seen(config); err == nil {
		t.Error("the server let a stranger in")
	}
}

func certificate(t *testing.T, c *Client) tls.Certificate {
	t.Helper()
	chain, key, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{PrivateKey: key}
	for _, each := range chain {
		cert.Certificate = append(cert.Certificate, each.Raw)
	}
	return cert
}

// clientConfig asks for the identity at each handshake and wants the server to be the wiki.
func clientConfig(t *testing.T, c *Client) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // a SPIFFE ID is no host name: VerifyConnection decides
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert := certificate(t, c)
			return &cert, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			pool, between := x509.NewCertPool(), x509.NewCertPool()
			for _, root := range c.Bundle() {
				pool.AddCert(root)
			}
			for _, cert := range state.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between}); err != nil {
				return err
			}
			if got := state.PeerCertificates[0].URIs[0].String(); got != wiki {
				return fmt.Errorf("the server is %s", got)
			}
			return nil
		},
	}
}

// handshakes runs a server. The result connects once and returns what the server saw.
func handshakes(t *testing.T, config *tls.Config) func(*tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return func(client *tls.Config) (tls.ConnectionState, error) {
		failed := make(chan error, 1)
		go func() {
			conn, err := tls.Dial("tcp", ln.Addr().String(), client)
			if err == nil {
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err = conn.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
					err = nil
				}
				_ = conn.Close()
			}
			failed <- err
		}()
		conn, err := ln.Accept()
		if err != nil {
			return tls.ConnectionState{}, err
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		served := tls.Server(conn, config)
		err = served.HandshakeContext(t.Context())
		state := served.ConnectionState()
		_ = served.Close()
		return state, errors.Join(err, <-failed)
	}
}
