package signer

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// limits are the times of a [Process].
type limits struct {
	ask   time.Duration // for hello and chain, which need no person
	sign  time.Duration // somebody may have to touch something
	grace time.Duration // from the end of its standard input until it is killed
}

var usual = limits{ask: 10 * time.Second, sign: 30 * time.Second, grace: 2 * time.Second}

const (
	firstPause = 100 * time.Millisecond
	longest    = 10 * time.Second // pause; and who lived as long is started anew without one
)

// pause is how long to wait before the next start after so many short lives in a row.
func pause(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	return min(firstPause<<min(failures-1, 10), longest)
}

// attempt is a start that everybody waits for who needs the signer.
type attempt struct {
	done  chan struct{}
	child *child
	err   error
}

// running returns the child, started anew if it has ended.
func (p *Process) running(ctx context.Context) (*child, error) {
	a, c, err := p.join(ctx)
	if a == nil {
		return c, err
	}
	select {
	case <-a.done:
		return a.child, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("starting the signer %s: %w", p.name, context.Cause(ctx))
	}
}

// join returns the child, or the start to wait for. Who could not wait for the end of a pause
// learns at once what the pause is for.
func (p *Process) join(ctx context.Context) (*attempt, *child, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, p.name.fault("signer.closed")
	}
	if c := p.child; c != nil {
		if c.failure() == nil {
			return nil, c, nil
		}
		p.bury(c)
	}
	if p.starting == nil {
		if deadline, ok := ctx.Deadline(); ok && deadline.Before(p.notBefore) && time.Now().Before(p.notBefore) {
			return nil, nil, p.failure
		}
		a := &attempt{done: make(chan struct{})}
		p.starting = a
		notBefore := p.notBefore
		p.work.Go(func() { p.start(a, notBefore) })
	}
	return p.starting, nil, nil
}

// bury counts a child that has ended. The caller holds mu.
func (p *Process) bury(c *child) {
	p.child = nil
	c.mu.Lock()
	err, ended := c.err, c.ended
	c.mu.Unlock()
	if ended.Sub(c.began) >= longest {
		p.failures, p.notBefore, p.failure = 0, time.Time{}, nil
		return
	}
	p.failed(err, ended)
}

// failed notes a failure. The caller holds mu.
func (p *Process) failed(err error, at time.Time) {
	p.failures++
	p.notBefore, p.failure = at.Add(pause(p.failures)), err
}

// start starts a child and greets it. It belongs to no request: others wait for it too.
func (p *Process) start(a *attempt, notBefore time.Time) {
	select {
	case <-time.After(time.Until(notBefore)):
	case <-p.life.Done():
	}
	var c *child
	err := context.Cause(p.life)
	if err == nil {
		if c, err = p.launch(); err == nil {
			err = p.greet(c)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(a.done)
	p.starting = nil
	if p.closed {
		err = p.name.fault("signer.closed")
	}
	if err != nil {
		if a.err = err; c != nil {
			c.fail(err)
		}
		p.failed(err, time.Now())
		return
	}
	a.child, p.child = c, c
}

// greet agrees on the version.
func (p *Process) greet(c *child) error {
	r, err := p.request(p.life, c, p.limits.ask, request{Method: "hello", Protocol: version})
	if err != nil {
		return err
	}
	if r.Protocol != version {
		return p.name.fault("signer.version", "version", strconv.Itoa(r.Protocol))
	}
	return nil
}
