// Package signer uses a private key that lives in another process, such as a keychain, a TPM or a smart card.
package signer

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Process is a running signer, which speaks the protocol in docs/signer.md. One that ends is
// started again when it is needed, with pauses that grow. Methods may be called at any time from
// any goroutine. Errors are an [*Error], or that of the context.
type Process struct {
	name   command
	launch func() (*child, error) // hides the arguments, which may be secret, from every verb of fmt
	limits limits

	life context.Context // until Close: a child outlives the request that it was started for
	end  context.CancelFunc
	work sync.WaitGroup // all goroutines

	mu        sync.Mutex // guards what follows
	closed    bool
	child     *child    // nil: none was started, or it has ended
	starting  *attempt  // nil: none is
	failures  int       // starts and short lives in a row
	notBefore time.Time // of the next start
	failure   error     // what the pause until then is for
}

// Start runs the signer argv, without a shell, and asks for its chain. The context is for that
// alone.
func Start(ctx context.Context, argv []string) (*Process, error) {
	return start(ctx, argv, usual)
}

func start(ctx context.Context, argv []string, l limits) (*Process, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, command(`""`).fault("signer.start", "reason", "no program is named")
	}
	argv = slices.Clone(argv)
	p := &Process{name: nameOf(argv), limits: l}
	p.launch = func() (*child, error) { return launch(p.name, argv, l.grace, &p.work) }
	p.life, p.end = context.WithCancel(context.Background())
	if _, _, err := p.Identity(ctx); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Identity asks for the certificates that the signer has now and returns them, leaf first, and the
// key that signs for the first of them. A signer may have no certificates, and a key alone.
//
// The key prints no secret, makes signatures of that one key only, each of them verified, and works
// until Close.
func (p *Process) Identity(ctx context.Context) ([]*x509.Certificate, crypto.Signer, error) {
	c, err := p.running(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := p.request(ctx, c, p.limits.ask, request{Method: "chain"})
	if err != nil {
		return nil, nil, err
	}
	chain, public, err := r.identity(p.name)
	if err != nil {
		return nil, nil, err
	}
	key, err := p.newKey(public)
	if err != nil {
		return nil, nil, err
	}
	return chain, key, nil
}

// Close ends the process: it closes its standard input and kills it after two seconds. Who waits
// for an answer gets an error at once.
func (p *Process) Close() error {
	p.mu.Lock()
	p.closed = true
	c := p.child
	p.mu.Unlock()
	p.end()
	if c != nil {
		c.fail(p.name.fault("signer.closed"))
	}
	over := make(chan struct{})
	go func() { p.work.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(p.limits.grace + time.Second): // what the system cannot kill is not waited for
	}
	return nil
}

// request calls and tells a refusal as an error.
func (p *Process) request(ctx context.Context, c *child, limit time.Duration, q request) (*response, error) {
	r, err := c.call(ctx, limit, q)
	if err != nil || r.Error == nil {
		return r, err
	}
	id := "signer.refused"
	if r.Retryable {
		id = "signer.refused_for_now"
	}
	fault := p.name.fault(id, "method", q.Method, "text", sanitize.Quote(cmp.Or(*r.Error, "no reason given")))
	fault.Retryable = r.Retryable
	return nil, fault
}

// Format implements [fmt.Formatter].
func (p *Process) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// LogValue implements [slog.LogValuer].
func (p *Process) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }
