//go:build spiffe

package workload

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// watcher receives what the stream brings, in one goroutine, and publishes it.
type watcher struct {
	ctx context.Context // of the stream
	c   *Client
}

// OnX509ContextUpdate implements [workloadapi.X509ContextWatcher].
func (w *watcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	svid := x.DefaultSVID()
	bundle, ok := x.Bundles.Get(svid.ID.TrustDomain())
	if !ok || len(bundle.X509Authorities()) == 0 { // mandatory (SPIFFE Workload API §5.2.1), and so to be discarded (§4.5)
		w.OnX509ContextWatchError(fmt.Errorf("no bundle of the trust domain %s", svid.ID.TrustDomain()))
		return
	}
	w.c.publish(&state{chain: svid.Certificates, key: hide(svid.PrivateKey), bundle: bundle.X509Authorities()})
}

// OnX509ContextWatchError implements [workloadapi.X509ContextWatcher].
func (w *watcher) OnX509ContextWatchError(err error) {
	if w.ctx.Err() != nil {
		return // it is Close
	}
	last := *w.c.current.Load()
	code := status.Code(err)
	if code == codes.PermissionDenied && (last.chain != nil || isWithdrawn(last.failure)) {
		// What is withdrawn should no longer be used (SPIFFE Workload API §5.2.1).
		w.c.publish(&state{failure: w.c.explain(withdrawn, err)})
		return
	}
	last.failure = w.c.explain(w.c.cause(err), err)
	w.c.publish(&last)
	// Neither gets better by asking again (SPIFFE Workload Endpoint, appendix A).
	if code == codes.InvalidArgument || code == codes.Unimplemented {
		closeOnce(w.c.refused)
	}
}

// publish makes s current and tells whoever waits for that. Only the stream's goroutine calls it.
func (c *Client) publish(s *state) {
	old := c.current.Swap(s)
	select {
	case <-c.ready:
	default:
		if s.chain != nil {
			close(c.ready)
		}
		return
	}
	if slices.EqualFunc(old.chain, s.chain, (*x509.Certificate).Equal) && slices.EqualFunc(old.bundle, s.bundle, (*x509.Certificate).Equal) {
		return
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

func isWithdrawn(e *Error) bool { return e != nil && e.Cause == withdrawn }

// cause finds out what err means.
func (c *Client) cause(err error) catalogue.Cause {
	if _, ok := status.FromError(err); !ok {
		return unusable // the library's word on a message
	}
	switch status.Code(err) {
	case codes.PermissionDenied:
		return denied
	case codes.InvalidArgument, codes.Unimplemented:
		return foreign
	}
	dialed := c.dialer.failure()
	switch {
	case dialed == nil:
		return failing
	case errors.Is(dialed, fs.ErrNotExist):
		return noSocket
	case errors.Is(dialed, fs.ErrPermission):
		return socketClosed
	case errors.Is(dialed, syscall.ECONNREFUSED):
		return nobodyListens
	}
	return unreachable
}

func (c *Client) explain(cause catalogue.Cause, err error) *Error {
	if cause == unusable {
		return c.fault(cause, nil) // the text of err repeats the first bytes of a damaged key
	}
	answer := sanitize.Quote(status.Convert(err).Message())
	if dialed := c.dialer.failure(); cause == unreachable && dialed != nil {
		answer = sanitize.Line(dialed.Error(), 200)
	}
	return c.fault(cause, err, "answer", answer)
}

func (c *Client) fault(cause catalogue.Cause, err error, values ...string) *Error {
	return fault(cause, err, append(values, "address", sanitize.Line(c.address, 200), "uid", strconv.Itoa(os.Getuid()))...)
}

// signer hides the key from every verb of fmt: formatted where methods are not called, as within
// unexported fields, a function is an address, while an Ed25519 key would be its bytes.
type signer struct {
	public crypto.PublicKey
	sign   func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func hide(key crypto.Signer) *signer { return &signer{key.Public(), key.Sign} }

// Public implements [crypto.Signer].
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer].
func (s *signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(rand, digest, opts)
}

// Format implements [fmt.Formatter].
func (s *signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }
