package outbound

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// limits bound a TLS handshake. The time that our own key takes is not the peer's: a person may have
// to touch a token.
type limits struct {
	handshake time.Duration // for the peer
	signing   time.Duration // for the key
}

// usual leaves a signer the 30 seconds that docs/signer.md promises, and time to start again.
var usual = limits{handshake: 10 * time.Second, signing: 40 * time.Second}

// keep makes a handshake with whom within the limits. Its error is an [*Error] where the peer was
// too slow and [tlsfault.ErrUnsigned] where the key was, by these limits or by the deadline of ctx.
func (l limits) keep(ctx context.Context, whom string, seen *tlsmat.Seen, handshake func(context.Context) error) error {
	limited, end := context.WithCancelCause(ctx)
	defer end(nil)
	slow := &Error{code: codeTimeout, message: "the TLS handshake with " + whom + " took longer than " + l.handshake.String()}
	go func() {
		if err := l.watch(limited, seen.Signing); err == nil {
			end(slow)
		} else {
			end(err)
		}
	}()
	err := handshake(limited)
	switch signing, _ := seen.Signing(); {
	case err == nil:
		return nil
	case signing && errors.Is(err, context.DeadlineExceeded), context.Cause(limited) == tlsfault.ErrUnsigned:
		return tlsfault.ErrUnsigned
	case context.Cause(limited) == slow:
		slow.Err = err
		return slow
	}
	return err
}

// watch returns when a handshake has had its time: nil because of the peer, [tlsfault.ErrUnsigned] because of
// the key, or the error of ctx, which ends when nobody waits. signing is [tlsmat.Seen.Signing].
func (l limits) watch(ctx context.Context, signing func() (bool, time.Duration)) error {
	begun := time.Now()
	for left := l.handshake; ; {
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
		now, took := signing()
		left = l.handshake - (time.Since(begun) - took)
		switch {
		case now && took >= l.signing:
			return tlsfault.ErrUnsigned
		case now: // and nobody tells when it is done
			left = max(min(left, l.signing-took), l.handshake/100)
		case left <= 0:
			return nil
		}
	}
}
