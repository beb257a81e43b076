package login

import (
	"context"
	"sync"
)

// Wait returns when the work that the end of the process must not cut off is done: answers that are
// being stored, registrations that are being removed; or when ctx ends. Call it after
// [action.Desk.Close], which ends the logins that wait for a person.
func (f *Flows) Wait(ctx context.Context) { f.tasks.wait(ctx) }

// tasks are counted from before they start, also while somebody waits for them. (A sync.WaitGroup
// takes no first task during a Wait.)
type tasks struct {
	mu   sync.Mutex // guards what follows
	n    int
	idle chan struct{} // closed when n becomes 0
}

// begin counts one; end is called when it is done.
func (t *tasks) begin() (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		t.idle = make(chan struct{})
	}
	t.n++
	return sync.OnceFunc(t.end)
}

func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 {
		close(t.idle)
	}
}

// start runs one on a goroutine of its own.
func (t *tasks) start(task func()) {
	end := t.begin()
	go func() {
		defer end()
		task()
	}()
}

func (t *tasks) wait(ctx context.Context) {
	t.mu.Lock()
	n, idle := t.n, t.idle
	t.mu.Unlock()
	if n == 0 {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
