//go:build spiffe

package workload

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
)

// patience is how long Open waits for the first identity. An entry that was made with the workload,
// as in Kubernetes, reaches a SPIRE agent when it next asks its server, every 5 seconds.
const patience = 10 * time.Second

// Client is a connection to the Workload API, which sends identities whenever they change.
type Client struct {
	address string
	dialer  *dialer
	api     *workloadapi.Client
	changed chan struct{}
	ready   chan struct{} // closed with the first identity
	refused chan struct{} // closed by an answer that waiting cannot change
	current atomic.Pointer[state]

	stop    context.CancelFunc
	stopped chan struct{}
	close   func() error
}

// state is what the Workload API has sent last. It never changes.
type state struct {
	chain   []*x509.Certificate // leaf first; nil: no identity
	key     crypto.Signer
	bundle  []*x509.Certificate
	failure *Error // of the last attempt; nil: it went well
}

// Open connects to address (unix:///path/to/socket or tcp://IP:PORT) and waits for the first
// identity until the deadline of ctx, or for 10 seconds where it has none. An agent that is not there yet or does not
// know this process yet is asked again. Its error is an [*Error], or that of a cancelled ctx.
func Open(ctx context.Context, address string) (*Client, error) {
	quiet()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	d, err := newDialer(address)
	if err != nil {
		return nil, fault(badAddress, err)
	}
	api, err := workloadapi.New(ctx, workloadapi.WithAddr(address), workloadapi.WithBackoffStrategy(pace{}),
		workloadapi.WithDialOptions(grpc.WithContextDialer(d.dial), grpc.WithConnectParams(connectParams)))
	if err != nil {
		return nil, fault(badAddress, err)
	}
	c := &Client{
		address: address, dialer: d, api: api,
		changed: make(chan struct{}, 1), ready: make(chan struct{}), refused: make(chan struct{}), stopped: make(chan struct{}),
	}
	c.current.Store(&state{})
	c.close = sync.OnceValue(c.end)
	// The stream outlives the call: Close ends it.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	begun := time.Now()
	go c.watch(watching)

	select {
	case <-c.ready:
		return c, nil
	case <-c.refused:
	case <-ctx.Done():
	}
	_ = c.Close()
	failure := c.current.Load().failure
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err()
	case failure == nil:
		return nil, c.fault(silent, ctx.Err(), "time", time.Since(begun).Round(time.Second/10).String())
	}
	return nil, failure
}

// Identity returns the current X509-SVID, leaf first, and its key, which prints no secret. Where
// the workload has several, it is the first, its default (SPIFFE Workload API §5.3). The error is
// an [*Error] when the Workload API has withdrawn the identity; while the API is away, the last
// identity stays.
func (c *Client) Identity(context.Context) ([]*x509.Certificate, crypto.Signer, error) {
	s := c.current.Load()
	if s.chain == nil {
		return nil, nil, s.failure
	}
	return slices.Clone(s.chain), s.key, nil
}

// Bundle are the authorities of the identity's own trust domain, none when it was withdrawn.
func (c *Client) Bundle() []*x509.Certificate { return slices.Clone(c.current.Load().bundle) }

// Changed receives a value when the identity or the bundle has changed, once for what happened
// since the last receive.
func (c *Client) Changed() <-chan struct{} { return c.changed }

// Close ends the connection. The last identity stays usable.
func (c *Client) Close() error { return c.close() }

func (c *Client) end() error {
	c.stop()
	<-c.stopped
	return c.api.Close()
}

// watch keeps a stream open until ctx ends.
func (c *Client) watch(ctx context.Context) {
	defer close(c.stopped)
	pause := pace{}.NewBackoff()
	for {
		// The library reconnects, but gives up when a stream ends with InvalidArgument or Canceled.
		// The first is reported, and neither may leave us with a certificate that soon expires.
		_ = c.api.WatchX509Context(ctx, &watcher{ctx: ctx, c: c})
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause.Next()):
		}
	}
}
