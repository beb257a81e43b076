// Package action is what a person must do before work can go on: shown as a link or a code, and waited for.
package action

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// Kind says what a person is asked for.
type Kind string

// The kinds of action.
const (
	SignIn       Kind = "sign_in"       // sign in at an issuer, for a resource
	AllowAddress Kind = "allow_address" // let an origin be reached although it is private or loopback
)

// Prompt is what a person is shown. It holds nothing that authorises by itself.
type Prompt struct {
	Kind   Kind
	Origin origin.Origin // what the action is for
	Issuer string        // who signs the person in; "" where nobody does

	Resource string   // RFC 8707 identifier of what the token will be for; not shown
	Scopes   []string // what is asked for; nil: the issuer's default

	URL                     string // our short page; "" where the person uses a code
	VerificationURI         string // where the code is entered (RFC 8628 §3.2)
	VerificationURIComplete string // the same with the code in it; may be ""
	UserCode                string

	Opened    bool // a browser window with the page was opened
	ExpiresAt time.Time
}

// Action is one thing a person must do. It lives on, independent of the call that caused it,
// until it is answered, fails or expires.
type Action struct {
	id   string
	done chan struct{}

	mu     sync.Mutex // guards what follows
	prompt Prompt
	ended  time.Time // zero: waiting
	err    error
	shown  bool
	told   bool // somebody who waited got err
}

// New returns a waiting action whose page is elsewhere (a device code, another process).
// The caller ends it with [Action.End].
func New(id string, p Prompt) *Action {
	return &Action{id: id, done: make(chan struct{}), prompt: p}
}

// ID is the unguessable name of the action.
func (a *Action) ID() string { return a.id }

// Prompt returns what to show.
func (a *Action) Prompt() Prompt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.prompt
}

// Done is closed when the action has ended.
func (a *Action) Done() <-chan struct{} { return a.done }

// Err is nil while the action waits and after it succeeded; otherwise why it ended:
// [ErrDenied], [ErrExpired], or the error that stopped it.
func (a *Action) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// EndedAt is when the action ended; zero while it waits.
func (a *Action) EndedAt() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// Wait returns when the action has ended, with [Action.Err], or with the error of ctx.
func (a *Action) Wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.tell()
	default:
	}
	select {
	case <-a.done:
		return a.tell()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Action) tell() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = true
	return a.err
}

func (a *Action) wasTold() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told
}

// End ends the action: nil is success. Only the first call counts; it reports whether this was it.
func (a *Action) End(err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended.IsZero() {
		return false
	}
	a.ended, a.err = time.Now(), err
	close(a.done)
	return true
}

// MarkShown notes that the prompt was shown, and reports whether that was the first time.
func (a *Action) MarkShown() (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first = !a.shown
	a.shown = true
	return first
}

// Shown reports whether the prompt was shown before.
func (a *Action) Shown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shown
}

func (a *Action) setOpened() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prompt.Opened = true
}

// ErrDenied: the person said no, here or at the issuer.
var ErrDenied error = &endError{"login_denied", "the person refused", "do not ask again unless the user says so"}

// ErrExpired: nobody answered in time.
var ErrExpired error = &endError{"login_expired", "nobody answered in time", "call again to get a new link"}

// ErrClosed: the process that waited for the answer is shutting down.
var ErrClosed = errors.New("the page was closed before it was answered")

type endError struct{ code, message, hint string }

func (e *endError) Error() string { return e.message }
func (e *endError) Code() string  { return e.code }
func (e *endError) Hint() string  { return e.hint }
