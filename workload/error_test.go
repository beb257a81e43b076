//go:build spiffe

package workload

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
)

func TestErrors(t *testing.T) {
	ca := newAuthority(t, "Corp")
	refusing := func(err error) func(*testing.T) string {
		return func(t *testing.T) string {
			a := newAgent()
			a.refuse(err)
			return a.start(t)
		}
	}
	giving := func(change func(*workload.X509SVID)) func(*testing.T) string {
		return func(t *testing.T) string {
			svid := ca.issue(t, bot)
			change(svid)
			return newAgent(svid).start(t)
		}
	}
	tests := []struct {
		name   string
		serve  func(*testing.T) (address string)
		want   catalogue.Cause
		code   string
		says   string
		atOnce bool
	}{
		{name: "no socket", serve: func(t *testing.T) string { return "unix://" + socketPath(t) }, want: noSocket, code: "tls.spiffe_unavailable"},
		{name: "a socket without an agent", serve: stale, want: nobodyListens, code: "tls.spiffe_unavailable"},
		{name: "a port without an agent", serve: closedPort, want: nobodyListens, code: "tls.spiffe_unavailable"},
		{name: "a directory in between is a file", serve: func(t *testing.T) string { return stale(t) + "/api.sock" }, want: unreachable, code: "tls.spiffe_unavailable", says: "not a directory"},
		{name: "an agent that says nothing", serve: func(t *testing.T) string { a := newAgent(); a.answer = nil; return a.start(t) }, want: silent, code: "tls.spiffe_unavailable", says: "within 1s"},
		{name: "a server that says nothing", serve: mute, want: silent, code: "tls.spiffe_unavailable"},
		{name: "an agent that starts", serve: refusing(status.Error(codes.Unavailable, "not\x1b[31m ready")), want: failing, code: "tls.spiffe_unavailable", says: `says "not[31m ready"`},
		{name: "not registered", serve: refusing(status.Error(codes.PermissionDenied, "no identity issued")), want: denied, code: "tls.spiffe_denied", says: `says "no identity issued"`},
		{name: "no Workload API", serve: otherService, want: foreign, code: "tls.spiffe_answer", says: "spiffe", atOnce: true},
		{name: "header refused", serve: refusing(status.Error(codes.InvalidArgument, "security header missing from request")), want: foreign, code: "tls.spiffe_answer", atOnce: true},
		{name: "a web server", serve: web, want: failing, code: "tls.spiffe_unavailable"},
		{name: "no identity", serve: func(t *testing.T) string { return newAgent().start(t) }, want: unusable, code: "tls.spiffe_answer"},
		{name: "no bundle", serve: giving(func(s *workload.X509SVID) { s.Bundle = nil }), want: unusable, code: "tls.spiffe_answer"},
		{name: "a foreign key", serve: giving(func(s *workload.X509SVID) { s.X509SvidKey = ca.issue(t, bot).X509SvidKey }), want: unusable, code: "tls.spiffe_answer"},
		{name: "a damaged key", serve: giving(func(s *workload.X509SVID) { s.X509SvidKey = []byte("CANARY-CANARY") }), want: unusable, code: "tls.spiffe_answer"},
		{name: "a damaged certificate", serve: giving(func(s *workload.X509SVID) { s.X509Svid = s.X509Svid[:100] }), want: unusable, code: "tls.spiffe_answer"},
		{name: "the certificate of an authority", serve: giving(func(s *workload.X509SVID) { s.X509Svid = ca.root.Raw }), want: unusable, code: "tls.spiffe_answer"},
	}
	type outcome struct {
		address string
		client  *Client
		err     error
		took    time.Duration
	}
	outcomes := make([]outcome, len(tests))
	var all sync.WaitGroup
	for i, tt := range tests { // at the same time, because most of them wait
		o, wait := &outcomes[i], time.Second
		if o.address = tt.serve(t); tt.atOnce {
			wait = 10 * time.Second
		}
		ctx := within(t, wait)
		all.Go(func() {
			begun := time.Now()
			o.client, o.err = Open(ctx, o.address)
			o.took = time.Since(begun)
		})
	}
	all.Wait()
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, c, err := outcomes[i].address, outcomes[i].client, outcomes[i].err
			var e *Error
			if !errors.As(err, &e) || c != nil {
				t.Fatalf("got %v, %v", c, err)
			}
			if e.Cause != tt.want || e.Code() != tt.code {
				t.Errorf("cause %s, code %s: %v", e.Cause.ID, e.Code(), err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), address) {
				t.Errorf("%q does not say %q and %s", err, tt.says, address)
			}
			if e.Hint() == "" || strings.ContainsAny(err.Error()+e.Hint(), "{}\x1b\n") {
				t.Errorf("%q, hint %q", err, e.Hint())
			}
			// "length:65" is the A of the key, as the decoder tells it.
			for _, form := range []string{"CANARY", "length:65", hex.EncodeToString([]byte("CANARY")), base64.StdEncoding.EncodeToString([]byte("CANARY"))} {
				for told := err; told != nil; told = errors.Unwrap(told) {
					if strings.Contains(told.Error(), form) {
						t.Errorf("%q tells bytes of the key", told)
					}
				}
			}
			if took := outcomes[i].took; took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A user who may open everything cannot meet this one.
func TestSocketPermission(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want catalogue.Cause
	}{
		{&net.OpError{Op: "dial", Err: fs.ErrPermission}, socketClosed},
		{&net.OpError{Op: "dial", Err: syscall.EACCES}, socketClosed},
		{&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, unreachable},
	} {
		c := &Client{address: "unix:///s", dialer: &dialer{}}
		c.dialer.last.Store(&tt.err)
		if got := c.cause(status.Error(codes.Unavailable, "connection error")); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got.ID, tt.want.ID)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string][2]string{
		"unix:///run/spire/sockets/agent.sock": {"unix", "/run/spire/sockets/agent.sock"},
		"unix:/run/agent.sock":                 {"unix", "/run/agent.sock"},
		"unix:///run/with%20space":             {"unix", "/run/with space"},
		"tcp://127.0.0.1:8081":                 {"tcp", "127.0.0.1:8081"},
		"tcp://[::1]:8081":                     {"tcp", "[::1]:8081"},
	} {
		got, err := newDialer(address)
		if err != nil || [2]string{got.network, got.address} != want {
			t.Errorf("%s: %v %v", address, got, err)
		}
	}
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", newAgent(newAuthority(t, "Corp").issue(t, bot)).start(t))
	for _, address := range []string{"", "agent.sock", "/run/agent.sock", "unix:agent.sock", "unix://run/agent.sock", "unix://", "unix:///s?x=1", "unix:///s#x",
		"tcp://127.0.0.1", "tcp://localhost:80", "tcp://127.0.0.1:80/x", "tcp://SECRET:SECRET@127.0.0.1:80", "http://127.0.0.1:80", "dns:///corp.example:80", "%"} {
		if d, err := newDialer(address); err == nil {
			t.Errorf("%q: would dial %s %s", address, d.network, d.address)
		}
		c, err := Open(within(t, 5*time.Second), address)
		var e *Error
		if c != nil || !errors.As(err, &e) || e.Cause != badAddress || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v, %v", address, c, err)
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

func TestPauses(t *testing.T) {
	p := pace{}.NewBackoff()
	var got []time.Duration
	for range 8 {
		got = append(got, p.Next())
	}
	if got[0] != shortestPause || got[1] != 2*shortestPause || got[7] != longestPause {
		t.Errorf("pauses %v", got)
	}
	p.Reset()
	if again := p.Next(); again != shortestPause {
		t.Errorf("after an answer: %v", again)
	}
}

// stale leaves a socket that nobody listens at.
func stale(t *testing.T) string {
	path := socketPath(t)
	ln := listen(t, path)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	return "unix://" + path
}

func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return "tcp://" + ln.Addr().String()
}

// mute accepts and waits.
func mute(t *testing.T) string {
	path := socketPath(t)
	ln := listen(t, path)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return "unix://" + path
}

func otherService(t *testing.T) string {
	path := socketPath(t)
	ln, server := listen(t, path), grpc.NewServer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return "unix://" + path
}

func web(t *testing.T) string {
	path := socketPath(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	_ = server.Listener.Close()
	server.Listener = listen(t, path)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(server.Close)
	return "unix://" + path
}
