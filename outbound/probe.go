package outbound

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

const (
	probeTimeout = 2 * time.Second
	// probeMemory is how long the answer of a probe counts for those who ask again.
	probeMemory = time.Second
	// afterTicket is how long a peer that has let us in may still change its mind.
	afterTicket = 100 * time.Millisecond
)

// prober makes one probe at a time, and lets all who ask meanwhile and shortly after have its
// answer: a hundred requests that fail together cost the peer one handshake more.
type prober struct {
	mu   sync.Mutex // guards last
	last *inquiry
}

// probed is who is asked, and with what: whoever's request it was, one answer is for all.
type probed struct {
	to       origin.Origin // zero: the proxy itself
	proxy    *Proxy
	material *tlsmat.Material
}

// probers are the probes of late.
type probers struct {
	mu  sync.Mutex // guards all
	all map[probed]*prober
}

// maxProbers bounds how many are kept.
const maxProbers = 256

func (p *probers) of(whom probed) *prober {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one, ok := p.all[whom]; ok {
		return one
	}
	if len(p.all) >= maxProbers {
		maps.DeleteFunc(p.all, func(_ probed, one *prober) bool { return one.idle() })
	}
	if p.all == nil {
		p.all = make(map[probed]*prober)
	}
	one := &prober{}
	p.all[whom] = one
	return one
}

// idle reports whether nobody would get the last answer.
func (p *prober) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last == nil || p.last.stale()
}

// inquiry is one probe.
type inquiry struct {
	done    chan struct{} // closed at the end, which the rest is written before
	ended   time.Time
	failure *tlsfault.Failure // nil: the peer had nothing to say
}

// ask returns what probe finds, or has just found.
func (p *prober) ask(ctx context.Context, probe func(context.Context) *tlsfault.Failure) *tlsfault.Failure {
	p.mu.Lock()
	q := p.last
	if q == nil || q.stale() {
		q = &inquiry{done: make(chan struct{})}
		p.last = q
		// The answer is for all who wait, so it does not end with the request that asked first.
		go q.run(context.WithoutCancel(ctx), probe)
	}
	p.mu.Unlock()
	select {
	case <-q.done:
		return q.failure
	case <-ctx.Done():
		return nil
	}
}

func (q *inquiry) run(ctx context.Context, probe func(context.Context) *tlsfault.Failure) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	q.failure = probe(ctx)
	q.ended = time.Now()
	close(q.done)
}

func (q *inquiry) stale() bool {
	select {
	case <-q.done:
		return time.Since(q.ended) > probeMemory
	default:
		return false
	}
}

// probeOrigin makes the origin say again why it hung up.
func (t *Transport) probeOrigin(ctx context.Context, e *entry) *tlsfault.Failure {
	seen := new(tlsmat.Seen)
	raw, err := t.reach(ctx, e)
	if err == nil {
		_, err = e.origin.listen(ctx, raw, seen, probeTimeout)
	}
	if err == nil || stopped(err) || own(err) != nil {
		return nil
	}
	return explainOrigin(err, e, seen)
}

// probeProxy makes the proxy say again why it hung up.
func (t *Transport) probeProxy(ctx context.Context, e *entry) *tlsfault.Failure {
	seen := new(tlsmat.Seen)
	raw, err := t.dialProxyTCP(ctx, e.key.proxy)
	if err == nil {
		_, err = e.proxy.listen(ctx, raw, seen, probeTimeout)
	}
	if err == nil || stopped(err) {
		return nil
	}
	return explainProxy(err, e, seen)
}

// listen makes a full handshake on raw, and waits for what the peer has to say about it. In TLS 1.3
// the alert that refuses a client certificate comes after the handshake (RFC 8446 §4.4.2.4), and
// the reset that our own request provokes may overtake it; where nothing is written there is
// nothing to reset. A nil error: the peer speaks as if it had let us in.
func (p *peer) listen(ctx context.Context, raw net.Conn, seen *tlsmat.Seen, wait time.Duration) (tls.ConnectionState, error) {
	defer raw.Close()
	config := p.config.Clone()
	config.ClientSessionCache = onTicket(func() {
		// Who is to be refused gets no ticket. In TLS 1.2 there is nothing left to read by then.
		_ = raw.SetReadDeadline(time.Now().Add(afterTicket))
	})
	c := tls.Client(raw, config)
	err := c.HandshakeContext(tlsmat.WithSeen(ctx, seen))
	if err == nil && c.ConnectionState().Version == tls.VersionTLS13 {
		until := time.Now().Add(wait)
		if d, ok := ctx.Deadline(); ok && d.Before(until) {
			until = d
		}
		_ = raw.SetReadDeadline(until)
		// A peer that says nothing has nothing to say: it waits for a request.
		if _, err = c.Read(make([]byte, 1)); stopped(err) {
			err = nil
		}
	}
	return c.ConnectionState(), err
}
