package signer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// conn asks a signer through its standard input and output. Requests may overlap, and answers come
// in any order. It ends once, with an error that all who wait and all who come get.
type conn struct {
	name command
	send chan []byte   // to the one who writes
	done chan struct{} // closed at the end

	mu      sync.Mutex // guards what follows
	last    uint64     // the highest id asked
	heard   uint64     // how many lines came
	waiting map[uint64]chan *response
	err     error     // why it ended
	ended   time.Time // when
}

func newConn(name command) *conn {
	return &conn{name: name, send: make(chan []byte), done: make(chan struct{}), waiting: map[uint64]chan *response{}}
}

// errLimit tells our own limit from that of a caller.
var errLimit = errors.New("no answer in time")

// call sends a request and waits for the answer to it.
//
// A signer from which nothing at all came while it had the whole limit is stuck: conn ends, so that
// the next use finds another one.
func (c *conn) call(ctx context.Context, limit time.Duration, q request) (*response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	answer := make(chan *response, 1)
	c.mu.Lock()
	c.last++
	q.ID = c.last
	c.waiting[q.ID] = answer
	heard := c.heard
	c.mu.Unlock()
	defer c.forget(q.ID)

	line, err := q.line()
	if err != nil {
		return nil, err
	}
	select {
	case c.send <- line:
	case <-ctx.Done():
		return nil, c.late(ctx, limit, q, heard)
	case <-c.done:
		return nil, c.failure()
	}
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return nil, c.late(ctx, limit, q, heard)
	case <-c.done:
	}
	select { // it may have come before the end
	case r := <-answer:
		return r, nil
	default:
		return nil, c.failure()
	}
}

// late is the error of a request whose time is over. heard is how many lines had come before it.
func (c *conn) late(ctx context.Context, limit time.Duration, q request, heard uint64) error {
	if err := context.Cause(ctx); err != errLimit {
		return fmt.Errorf("asking the signer %s to %s: %w", c.name, q.Method, err)
	}
	err := c.name.fault("signer.timeout", "method", q.Method, "limit", limit.String())
	err.Err, err.Retryable = context.DeadlineExceeded, true
	c.mu.Lock()
	stuck := c.heard == heard
	c.mu.Unlock()
	if stuck {
		c.fail(err)
	}
	return err
}

func (c *conn) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// fail ends the connection.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err, c.ended = err, time.Now()
		close(c.done)
	}
}

// failure is why the connection ended, nil while it has not.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// write writes the requests until the connection ends or w takes no more.
func (c *conn) write(w io.Writer) error {
	for {
		select {
		case line := <-c.send:
			if _, err := w.Write(line); err != nil {
				return err
			}
		case <-c.done:
			return nil
		}
	}
}

// read delivers answers until the output ends, which is nil, or makes no sense.
func (c *conn) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine+1)
	lines.Split(wholeLines)
	n := 0
	for lines.Scan() {
		n++
		if len(lines.Bytes()) == 0 {
			continue
		}
		answer, wrong := parse(lines.Bytes())
		if wrong == "" {
			wrong = c.deliver(answer)
		}
		if wrong != "" {
			return c.name.badLine(n, wrong)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return c.name.badLine(n+1, "is longer than 1 MiB")
	}
	return nil
}

// deliver hands an answer to the one who asked, if that one still waits.
func (c *conn) deliver(r *response) (wrong string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ID == 0 || r.ID > c.last {
		return "has no id of a request"
	}
	c.heard++
	if answer := c.waiting[r.ID]; answer != nil {
		answer <- r
		delete(c.waiting, r.ID)
	}
	return ""
}
