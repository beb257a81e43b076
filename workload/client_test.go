//go:build spiffe

package workload

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const wiki, bot = "spiffe://corp.example/wiki", "spiffe://corp.example/bot"

func TestIdentity(t *testing.T) {
	ca, other := newAuthority(t, "Corp"), newAuthority(t, "Other")
	first := ca.issue(t, bot)
	first.Bundle = append(append([]byte{}, ca.root.Raw...), other.root.Raw...)
	second := other.issue(t, "spiffe://other.example/bot")
	c := open(t, newAgent(first, second).start(t))
	chain, key, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.X509Svid, raw(chain)); diff != "" || len(chain) != 2 {
		t.Errorf("chain of %d (-sent +got):\n%s", len(chain), diff)
	}
	if !chain[0].PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) {
		t.Error("the key is another certificate's")
	}
	if !bytes.Equal(first.Bundle, raw(c.Bundle())) {
		t.Errorf("bundle %v", subjects(c.Bundle()))
	}
	select {
	case <-c.Changed():
		t.Error("the first identity is told as a change")
	default:
	}
}

func TestChanges(t *testing.T) {
	ca, next := newAuthority(t, "Corp"), newAuthority(t, "Corp next")
	one, two := ca.issue(t, bot), ca.issue(t, bot)
	a := newAgent(one)
	c := open(t, a.start(t))

	a.give(two)
	await(t, c)
	if got := leaf(t, c); !bytes.HasPrefix(two.X509Svid, got.Raw) {
		t.Error("not the identity that was pushed")
	}

	rotating := &workload.X509SVID{SpiffeId: bot, X509Svid: two.X509Svid, X509SvidKey: two.X509SvidKey, Bundle: append(ca.root.Raw, next.root.Raw...)}
	a.give(rotating)
	await(t, c)
	if diff := cmp.Diff([]string{"CN=Corp", "CN=Corp next"}, subjects(c.Bundle())); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}

	// The same again is no change. What follows it is, once, whatever the number of pushes.
	a.give(rotating)
	a.give(rotating)
	select {
	case <-c.Changed():
		t.Error("the same identity is told as a change")
	case <-time.After(200 * time.Millisecond):
	}
	for range 3 {
		last := ca.issue(t, bot)
		a.give(last)
		waitFor(t, "the pushed identity", func() bool { return bytes.HasPrefix(last.X509Svid, leaf(t, c).Raw) })
	}
	await(t, c)
	select {
	case <-c.Changed():
		t.Error("changes that nobody took in between are told one by one")
	case <-time.After(100 * time.Millisecond):
	}
}

func TestRestartedAgent(t *testing.T) {
	ca := newAuthority(t, "Corp")
	one, two := ca.issue(t, bot), ca.issue(t, bot)
	path := socketPath(t)
	stop := newAgent(one).serve(t, listen(t, path))
	c := open(t, "unix://"+path)
	stop()
	time.Sleep(300 * time.Millisecond)
	if got := leaf(t, c); !bytes.HasPrefix(one.X509Svid, got.Raw) {
		t.Error("the identity is gone with the agent")
	}
	newAgent(two).serve(t, listen(t, path))
	await(t, c)
	if got := leaf(t, c); !bytes.HasPrefix(two.X509Svid, got.Raw) {
		t.Error("not the identity of the new agent")
	}
}

// The library stops for good when a stream ends like this.
func TestEndedStream(t *testing.T) {
	ca := newAuthority(t, "Corp")
	for _, code := range []codes.Code{codes.InvalidArgument, codes.Canceled, codes.Unavailable} {
		t.Run(code.String(), func(t *testing.T) {
			a := newAgent(ca.issue(t, bot))
			c := open(t, a.start(t))
			a.refuse(status.Error(code, "going away"))
			waitFor(t, "a second stream", func() bool { return a.begun() > 1 })
			leaf(t, c)
			a.give(ca.issue(t, wiki))
			await(t, c)
			if got := leaf(t, c).URIs[0].String(); got != wiki {
				t.Errorf("identity %s", got)
			}
		})
	}
}

func TestRegisteredLate(t *testing.T) {
	a := newAgent()
	a.refuse(status.Error(codes.PermissionDenied, "no identity issued"))
	address := a.start(t)
	go func() {
		time.Sleep(400 * time.Millisecond)
		a.give(newAuthority(t, "Corp").issue(t, bot))
	}()
	leaf(t, open(t, address))
	if a.begun() < 2 {
		t.Error("the agent refused nothing")
	}
}

// SPIFFE Workload API §5.2.1
func TestWithdrawn(t *testing.T) {
	ca := newAuthority(t, "Corp")
	a := newAgent(ca.issue(t, bot))
	c := open(t, a.start(t))

	a.refuse(status.Error(codes.PermissionDenied, "no identity issued"))
	await(t, c)
	waitFor(t, "a further refusal", func() bool { return a.begun() > 2 })
	chain, key, err := c.Identity(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Cause != withdrawn || e.Code() != "tls.spiffe_denied" || chain != nil || key != nil || c.Bundle() != nil {
		t.Fatalf("Identity: %v, %v, %v; bundle %v", chain, key, err, c.Bundle())
	}

	a.give(ca.issue(t, bot))
	await(t, c)
	leaf(t, c)
}

// A message without what is mandatory is discarded (SPIFFE Workload API §4.5).
func TestUnusableUpdate(t *testing.T) {
	ca := newAuthority(t, "Corp")
	a := newAgent(ca.issue(t, bot))
	c := open(t, a.start(t))
	before := leaf(t, c)
	bad := ca.issue(t, wiki)
	bad.Bundle = nil
	a.give(bad)
	waitFor(t, "the failure", func() bool { f := c.current.Load().failure; return f != nil && f.Cause == unusable })
	if !leaf(t, c).Equal(before) || len(c.Bundle()) != 1 {
		t.Error("the update is in use")
	}
	a.give(ca.issue(t, wiki))
	await(t, c)
	if got := leaf(t, c).URIs[0].String(); got != wiki {
		t.Errorf("identity %s", got)
	}
}

func TestClose(t *testing.T) {
	ca := newAuthority(t, "Corp")
	address := newAgent(ca.issue(t, bot)).start(t)
	before := goleak.IgnoreCurrent()
	c := open(t, address)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("the second time: %v", err)
	}
	leaf(t, c)
	ours := goleak.IgnoreAnyFunction("google.golang.org/grpc.(*Server).handleRawConn") // of the agent above
	goleak.VerifyNone(t, before, ours)
}

func TestCancelled(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := Open(ctx, "unix://"+socketPath(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	goleak.VerifyNone(t, before)
}

// No socket is connected here, so the time of the bubble is all that passes.
func TestPatience(t *testing.T) {
	for _, tt := range []struct{ deadline, want time.Duration }{{0, 10 * time.Second}, {time.Minute, time.Minute}, {time.Second, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if tt.deadline > 0 {
				ctx = within(t, tt.deadline)
			}
			begun := time.Now()
			_, err := Open(ctx, "unix:///missing/api.sock")
			var e *Error
			if took := time.Since(begun); took != tt.want || !errors.As(err, &e) || e.Cause != noSocket {
				t.Errorf("deadline %v: %v after %v", tt.deadline, err, took)
			}
		})
	}
}

// The agent of these tests refuses what a real one must refuse.
func TestAgentWantsHeader(t *testing.T) {
	address := newAgent(newAuthority(t, "Corp").issue(t, bot)).start(t)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, tt := range []struct {
		name   string
		header metadata.MD
		want   codes.Code
	}{
		{"none", nil, codes.InvalidArgument},
		{"another value", metadata.Pairs("workload.spiffe.io", "TRUE"), codes.InvalidArgument},
		{"as specified", metadata.Pairs("workload.spiffe.io", "true"), codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := metadata.NewOutgoingContext(within(t, 10*time.Second), tt.header)
			stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// await waits for a change.
func await(t *testing.T, c *Client) {
	t.Helper()
	select {
	case <-c.Changed():
	case <-time.After(10 * time.Second):
		t.Fatal("no change is told")
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func leaf(t *testing.T, c *Client) *x509.Certificate {
	t.Helper()
	chain, _, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return chain[0]
}

func raw(certs []*x509.Certificate) (all []byte) {
	for _, cert := range certs {
		all = append(all, cert.Raw...)
	}
	return all
}

func subjects(certs []*x509.Certificate) (all []string) {
	for _, cert := range certs {
		all = append(all, cert.Subject.String())
	}
	return all
}
