//go:build pkcs11

package pkcs11key

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/miekg/pkcs11"
)

const (
	// maxCalls is how many calls are in the module at a time, per token.
	maxCalls = 8
	// signTime includes the time that a person takes to touch a token.
	signTime = 30 * time.Second
	// closeTime is how long [Token.Close] waits for calls that have not returned.
	closeTime = 10 * time.Second
)

// Token is an open session with a token. Its methods may be called at any time from any goroutine.
//
// A process is logged in to a token or not, whatever its sessions: while one Token is open, another
// [Open] of the same token is not asked for its PIN by the module, and a wrong one goes unnoticed.
type Token struct {
	wanted   *uri
	module   string // path, without symbolic links
	lib      *pkcs11.Ctx
	slot     uint
	name     string            // for messages
	login    bool              // needed one
	sessions *crypto11.Context // keeps the process logged in, and signs

	calls  chan struct{} // holds a value for each call that is in the module
	closed chan struct{}
	once   sync.Once
	end    error // of the first Close
}

// Open loads the module, logs in to the token and finds the private key that uri (RFC 7512) names.
// A PIN that the token refused is not offered to it again by this process.
// Its errors are of type [*Error].
func Open(ctx context.Context, uri string, pin secret.Text) (*Token, error) {
	u, err := parse(uri)
	if err != nil {
		return nil, err
	}
	module, err := u.module()
	if err != nil {
		return nil, err
	}
	if pin, err = u.pin(pin); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, module)
	if err != nil {
		return nil, err
	}
	type result struct {
		token *Token
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer unlock()
		t, err := open(ctx, u, module, pin)
		done <- result{t, err}
	}()
	select {
	case r := <-done:
		return r.token, r.err
	case <-ctx.Done():
		// The call cannot be ended from outside. When it returns, nobody wants its result.
		go func() {
			if r := <-done; r.token != nil {
				_ = r.token.Close()
			}
		}()
		return nil, silent(module, ctx.Err())
	}
}

// open is [Open] with the module locked.
func open(ctx context.Context, u *uri, module string, pin secret.Text) (*Token, error) {
	t := &Token{wanted: u, module: module, closed: make(chan struct{})}
	found, err := t.start()
	if err == nil && ctx.Err() != nil {
		err = silent(module, ctx.Err()) // nobody waits any more: the token is not asked for a PIN
	}
	if err == nil {
		err = t.logIn(found, pin)
	}
	if err == nil {
		_, _, err = t.find()
	}
	if err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

// Identity returns the certificates in the token that belong to the key, leaf first, without a root
// and none where the token holds the key alone, and the key: both as the token has them now. The
// key prints no secret and works until Close, or until it is deleted in the token.
func (t *Token) Identity(ctx context.Context) (chain []*x509.Certificate, key crypto.Signer, err error) {
	type identity struct {
		chain []*x509.Certificate
		key   *signer
	}
	got, err := call(ctx, t, func() (identity, error) {
		chain, key, err := t.find()
		return identity{chain, key}, err
	})
	if err != nil {
		return nil, nil, err
	}
	return got.chain, got.key, nil
}

// find looks at what is in the token now.
func (t *Token) find() (chain []*x509.Certificate, key *signer, err error) {
	err = t.withSession(func(s session) error {
		found, err := t.choose(s)
		if err != nil {
			return err
		}
		stored, err := s.certificates()
		if err != nil {
			return t.over(err)
		}
		if key, err = t.signer(s, found, stored); err == nil {
			chain = chainOf(key.public, found.id, stored, time.Now())
		}
		return err
	})
	return chain, key, err
}

// call runs f, which may block in the module for as long as it likes, for as long as ctx lasts.
func call[T any](ctx context.Context, t *Token, f func() (T, error)) (T, error) {
	var none T
	select {
	case <-t.closed:
		return none, t.over(errClosed)
	default:
	}
	if err := ctx.Err(); err != nil {
		return none, silent(t.module, err)
	}
	select {
	case t.calls <- struct{}{}:
	case <-t.closed:
		return none, t.over(errClosed)
	case <-ctx.Done():
		return none, silent(t.module, ctx.Err())
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-t.calls }()
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, silent(t.module, ctx.Err())
	}
}

// Close ends the session, after calls that have not returned. The keys of the token do not sign any more.
func (t *Token) Close() error {
	t.once.Do(func() {
		close(t.closed)
		ctx, cancel := context.WithTimeout(context.Background(), closeTime) // a Close has no caller's time
		defer cancel()
		t.end = t.close(ctx)
	})
	return t.end
}

func (t *Token) close(ctx context.Context) error {
	// Whoever has all places is alone in the module, and nobody gets one again. Where a call never
	// returns the module stays loaded: taking it away from under the call would crash the process.
	for range cap(t.calls) {
		select {
		case t.calls <- struct{}{}:
		case <-ctx.Done():
			return silent(t.module, ctx.Err())
		}
	}
	unlock, err := lock(ctx, t.module)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer unlock()
		defer close(done)
		t.release()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return silent(t.module, ctx.Err())
	}
}

// release ends what [Token.start] began. The module must be locked.
func (t *Token) release() {
	if t.sessions != nil {
		_ = t.sessions.Close() // with the last of a module's sessions, its login and the module end
		t.sessions = nil
	}
	if t.lib != nil {
		t.lib.Destroy()
		t.lib = nil
	}
}

// Format implements [fmt.Formatter].
func (t *Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "PKCS #11 token "+t.name) }
