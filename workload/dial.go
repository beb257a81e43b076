//go:build spiffe

package workload

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/grpclog"
)

// The pauses between attempts. The other side is on this host: asking costs little, and waiting may
// cost the identity its last minutes.
const (
	shortestPause = 250 * time.Millisecond
	longestPause  = 10 * time.Second
)

// connectParams replace those that let a connection rest for two minutes.
var connectParams = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: shortestPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestPause},
	MinConnectTimeout: 5 * time.Second,
}

// quiet keeps gRPC from writing errors to stderr, which it does unless told otherwise for the whole
// process. Nothing else here uses gRPC.
var quiet = sync.OnceFunc(func() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
})

// dialer connects to one address and nowhere else. With a dialer of our own gRPC uses no proxy from
// the environment, which could read the key.
type dialer struct {
	network, address string
	last             atomic.Pointer[error] // what the last attempt met
}

// newDialer accepts what the SPIFFE Workload Endpoint §4 does. No address is none, never that of the
// environment.
func newDialer(address string) (*dialer, error) {
	if err := workloadapi.ValidateAddress(address); err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	switch {
	case u.Scheme == "tcp":
		return &dialer{network: "tcp", address: u.Host}, nil
	case u.Scheme == "unix" && u.Host == "":
		return &dialer{network: "unix", address: u.Path}, nil
	}
	return nil, errors.New("a unix address has no authority")
}

func (d *dialer) dial(ctx context.Context, _ string) (net.Conn, error) {
	var direct net.Dialer
	conn, err := direct.DialContext(ctx, d.network, d.address)
	d.last.Store(&err)
	return conn, err
}

// failure is what the last attempt to connect met, nil when it succeeded.
func (d *dialer) failure() error {
	if err := d.last.Load(); err != nil {
		return *err
	}
	return nil
}

// pace implements [workloadapi.BackoffStrategy]: each pause is twice the one before.
type pace struct{}

// NewBackoff implements [workloadapi.BackoffStrategy].
func (pace) NewBackoff() workloadapi.Backoff { return &pauses{shortestPause} }

type pauses struct{ next time.Duration }

// Next implements [workloadapi.Backoff].
func (p *pauses) Next() time.Duration {
	pause := p.next
	p.next = min(2*pause, longestPause)
	return pause
}

// Reset implements [workloadapi.Backoff].
func (p *pauses) Reset() { p.next = shortestPause }
