package action

import (
	"context"
	"errors"
	"sync"
	"time"
)

// CoolDown is how long a person's no keeps the same question away.
const CoolDown = 15 * time.Minute

// Book makes sure that a question is asked once: while its action waits everybody joins it, and
// after a no it rests for [CoolDown]. The zero Book works.
type Book[K comparable] struct {
	mu      sync.Mutex // guards entries
	entries map[K]*entry
}

type entry struct {
	ready  chan struct{} // closed when action and err are set
	action *Action
	err    error
}

// DeclinedError: the person said no a short while ago and is not asked again yet.
type DeclinedError struct {
	Prompt Prompt // what was refused
	Until  time.Time
}

func (e *DeclinedError) Error() string {
	if e.Prompt.Kind == AllowAddress {
		return "the person did not allow " + e.Prompt.Origin.String()
	}
	return "the person refused to sign in at " + ShowIssuer(e.Prompt.Issuer) + " for " + e.Prompt.Origin.String()
}

// Code is the stable machine code of this error.
func (e *DeclinedError) Code() string { return "login_denied" }

// Hint says what to do.
func (e *DeclinedError) Hint() string {
	hint := "do not try again unless the user asks for it; the question rests until " + e.Until.UTC().Format("15:04 MST")
	if e.Prompt.Kind == AllowAddress {
		return hint + "; an entry under sites or network.allow in the config answers it for good"
	}
	return hint + ", and `mcp-authfetch login URL` in a terminal asks at once"
}

// Join returns the action of key: the one that waits, or the one that start makes. It returns
// [*DeclinedError] while a no is fresh, and once the error that ended the last action, if nobody
// who waited was told. fresh reports that start was called; start goes on when ctx ends.
func (b *Book[K]) Join(ctx context.Context, key K, start func() (*Action, error)) (a *Action, fresh bool, err error) {
	b.mu.Lock()
	e, ok := b.entries[key]
	if ok && e.over() {
		if d := e.declined(); d != nil {
			b.mu.Unlock()
			return nil, false, d
		}
		delete(b.entries, key)
		if err := e.untold(); err != nil {
			b.mu.Unlock()
			return nil, false, err
		}
		ok = false
	}
	if !ok {
		if b.entries == nil {
			b.entries = map[K]*entry{}
		}
		b.sweep()
		e = &entry{ready: make(chan struct{})}
		b.entries[key] = e
	}
	b.mu.Unlock()
	if !ok {
		go func() {
			defer close(e.ready)
			defer func() { // a panic costs this question, not the process
				if recover() != nil {
					e.action, e.err = nil, errNotStarted
				}
			}()
			e.action, e.err = start()
		}()
	}
	select {
	case <-e.ready:
		return e.action, !ok, e.err
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}

var errNotStarted = errors.New("the question could not be asked")

// over reports whether the entry is of the past: its start failed, or its action has ended.
func (e *entry) over() bool {
	select {
	case <-e.ready:
	default:
		return false
	}
	if e.err != nil {
		return true
	}
	select {
	case <-e.action.Done():
		return true
	default:
		return false
	}
}

func (e *entry) declined() *DeclinedError {
	if e.err != nil || !errors.Is(e.action.Err(), ErrDenied) {
		return nil
	}
	until := e.action.EndedAt().Add(CoolDown)
	if !time.Now().Before(until) {
		return nil
	}
	return &DeclinedError{Prompt: e.action.Prompt(), Until: until}
}

// untold is the error that the action failed with, unless someone heard of it by waiting.
func (e *entry) untold() error {
	if e.err != nil {
		return nil
	}
	err := e.action.Err()
	if err == nil || errors.Is(err, ErrDenied) || errors.Is(err, ErrExpired) || errors.Is(err, ErrClosed) || e.action.wasTold() {
		return nil
	}
	return err
}

// sweep drops what is over and says nothing any more. The caller holds mu.
func (b *Book[K]) sweep() {
	for k, e := range b.entries {
		if e.over() && e.declined() == nil && (e.untold() == nil || time.Since(e.action.EndedAt()) > CoolDown) {
			delete(b.entries, k)
		}
	}
}
