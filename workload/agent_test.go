//go:build spiffe

package workload

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// agent is a Workload API that gives every caller the same answer, and a new one when it changes.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	mu      sync.Mutex
	answer  *workload.X509SVIDResponse
	refusal error
	changed chan struct{} // closed when the answer changes
	streams int           // begun with the header
}

// FetchX509SVID implements the streaming call of the SPIFFE Workload API §5.2.1.
func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	// SPIFFE Workload Endpoint §3
	md, _ := metadata.FromIncomingContext(stream.Context())
	if header := md.Get("workload.spiffe.io"); len(header) != 1 || header[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	a.mu.Lock()
	a.streams++
	a.mu.Unlock()
	for {
		a.mu.Lock()
		answer, refusal, changed := a.answer, a.refusal, a.changed
		a.mu.Unlock()
		if refusal != nil {
			return refusal
		}
		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// give sends svids to everybody from now on.
func (a *agent) give(svids ...*workload.X509SVID) {
	a.set(&workload.X509SVIDResponse{Svids: svids}, nil)
}

// refuse ends every stream with err.
func (a *agent) refuse(err error) { a.set(nil, err) }

func (a *agent) set(answer *workload.X509SVIDResponse, refusal error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.changed)
	a.answer, a.refusal, a.changed = answer, refusal, make(chan struct{})
}

func (a *agent) begun() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.streams
}

func newAgent(svids ...*workload.X509SVID) *agent {
	return &agent{answer: &workload.X509SVIDResponse{Svids: svids}, changed: make(chan struct{})}
}

// serve runs a on ln until the test ends or the result is called.
func (a *agent) serve(t *testing.T, ln net.Listener) (stop func()) {
	t.Helper()
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	stop = func() {
		server.Stop()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// start runs a on a socket and returns its address.
func (a *agent) start(t *testing.T) string {
	t.Helper()
	path := socketPath(t)
	a.serve(t, listen(t, path))
	return "unix://" + path
}

// socketPath is short: the name of a socket has about 100 bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spiffe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "api.sock")
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// open opens a client for the time of the test.
func open(t *testing.T, address string) *Client {
	t.Helper()
	c, err := Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// within is a context with a deadline.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// authority issues the SVIDs of a trust domain, through an intermediate.
type authority struct {
	root, issuing *x509.Certificate
	key           crypto.Signer // of issuing
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	template := func(cn string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: cn}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	rootKey, key := newKey(t), newKey(t)
	root := sign(t, template(name), rootKey, nil, rootKey)
	return &authority{root, sign(t, template(name+" issuing"), key, root, rootKey), key}
}

// issue makes an SVID whose bundle is the root of ca.
func (ca *authority) issue(t *testing.T, id string) *workload.X509SVID {
	t.Helper()
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	leaf := sign(t, &x509.Certificate{
		URIs:        []*url.URL{u},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key, ca.issuing, ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &workload.X509SVID{SpiffeId: id, X509Svid: append(leaf.Raw, ca.issuing.Raw...), X509SvidKey: der, Bundle: ca.root.Raw}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign completes the template and has parent sign it; nil: it signs itself.
func sign(t *testing.T, template *x509.Certificate, key crypto.Signer, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
