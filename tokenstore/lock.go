package tokenstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// nameLocks are locks by name among the goroutines of one process. The zero value is ready.
type nameLocks struct {
	mu    sync.Mutex // guards slots and the count in each
	slots map[string]*slot
}

type slot struct {
	held  chan struct{} // full while somebody has the lock
	users int           // who have it or wait for it
}

// lock waits for the lock called name; shown stands for it in the error.
func (n *nameLocks) lock(ctx context.Context, name, shown string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, &LockError{Name: shown, Err: err}
	}
	start := time.Now()
	n.mu.Lock()
	if n.slots == nil {
		n.slots = map[string]*slot{}
	}
	s := n.slots[name]
	if s == nil {
		s = &slot{held: make(chan struct{}, 1)}
		n.slots[name] = s
	}
	s.users++
	n.mu.Unlock()

	select {
	case s.held <- struct{}{}:
		return sync.OnceFunc(func() {
			<-s.held
			n.leave(name, s)
		}), nil
	case <-ctx.Done():
		n.leave(name, s)
		return nil, &LockError{Name: shown, Holder: "this process", Waited: time.Since(start), Err: ctx.Err()}
	}
}

func (n *nameLocks) leave(name string, s *slot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(n.slots, name)
	}
}

// lockFile waits for the exclusive lock on the file at path, which is created and never removed:
// removing it would let a second process lock a file of the same name. shown stands for the lock
// in errors, which are all [*LockError].
//
// The goroutines of this process queue among themselves first, because what two handles of one
// process on one file do to each other differs between platforms.
func (f *File) lockFile(ctx context.Context, path, shown string) (unlock func(), err error) {
	start := time.Now()
	leave, err := f.locks.lock(ctx, path, shown)
	if err != nil {
		return nil, err
	}
	l := flock.New(path)
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		ok, err := l.TryLock()
		if err != nil {
			leave()
			return nil, &LockError{Name: shown, Waited: time.Since(start), Err: err}
		}
		if ok {
			signHolder(path)
			return sync.OnceFunc(func() {
				if err := l.Unlock(); err != nil {
					f.log.Warn("unlocking the token store", "path", path, "err", err)
				}
				leave()
			}), nil
		}
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-ctx.Done():
			leave()
			return nil, &LockError{Name: shown, Holder: holder(path), Waited: time.Since(start), Err: ctx.Err()}
		}
	}
}

// signHolder leaves in a held lock file who holds it. It is only for people: where it cannot be
// written (a full disk, a platform whose locks forbid it) the lock is as good.
func signHolder(path string) {
	_ = os.WriteFile(path, fmt.Appendf(nil, "process %d since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339)), 0o600)
}

func holder(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return "another process"
	}
	return sanitize.Line(string(b), 80)
}
