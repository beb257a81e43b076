//go:build unix

package signer

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// A renewed certificate is seen without a restart; the key of before stays that of before.
func TestIdentityIsAskedAnew(t *testing.T) {
	ca := tlstest.NewCA("CA")
	dir, _ := home(t, ca, nil)
	p := started(t, "good", dir, impatient)
	old := keyOf(t, p)
	keyOf(t, p)
	asked := 0
	for _, line := range noted(t, dir, "requests") {
		if strings.Contains(line, `"chain"`) {
			asked++
		}
	}
	if asked != 3 {
		t.Errorf("chain was asked %d times, want 3", asked)
	}

	// Kill it; the next one has another pair.
	if _, _, err := ca.Issue(tlstest.Leaf{CN: "bob", Client: true}).Write(dir, "client"); err != nil {
		t.Fatal(err)
	}
	kill(t, dir)
	waitDead(t, p)
	chain, key, err := p.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := chain[0].Subject.CommonName; got != "bob" {
		t.Errorf("the leaf is %s", got)
	}
	if err := signs(key); err != nil {
		t.Error(err)
	}
	if e := fault(t, signs(old)); e.ID != "signer.wrong_key" || e.Code() != "tls.key_mismatch" {
		t.Errorf("the key of before: %s %s: %v", e.ID, e.Code(), e)
	}
	if got := len(noted(t, dir, "starts")); got != 2 {
		t.Errorf("%d starts, want 2", got)
	}
}

// All who wait learn of a death at once, long before their time is over.
func TestDeathFailsAllAtOnce(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	p := started(t, "hangs", dir, usual)
	key := keyOf(t, p)
	errs := make(chan error, 5)
	for range cap(errs) {
		go func() { errs <- signs(key) }()
	}
	for len(noted(t, dir, "requests")) < 3+cap(errs) {
		time.Sleep(5 * time.Millisecond)
	}
	began := time.Now()
	kill(t, dir)
	for range cap(errs) {
		if e := fault(t, <-errs); e.ID != "signer.ended" || e.Status != "signal: killed" {
			t.Errorf("%s, status %q", e.ID, e.Status)
		}
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// What a signer wrote before it went counts.
func TestLastWords(t *testing.T) {
	ca := tlstest.NewCA("CA")
	for range 10 {
		dir, _ := home(t, ca, nil)
		if err := signs(keyOf(t, started(t, "answers and goes", dir, usual))); err != nil {
			t.Error(err)
		}
	}
}

// A death is noticed even if the other end of the pipe lives on in a process of another group.
func TestDeathBehindAnOpenPipe(t *testing.T) {
	_, err := exec.LookPath("setsid")
	need(t, "setsid", err)
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	key := keyOf(t, started(t, "leaves somebody", dir, usual))
	began := time.Now()
	if e := fault(t, signs(key)); e.Status != "exit status 3" || time.Since(began) > 3*time.Second {
		t.Errorf("after %v: status %q: %v", time.Since(began), e.Status, e)
	}
	_ = syscall.Kill(must(strconv.Atoi(noted(t, dir, "child")[0])), syscall.SIGKILL)
}

// A signer that has died is started by the next use, after pauses that grow.
func TestRestart(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	p := started(t, "dies", dir, impatient)
	key := keyOf(t, p)
	for range 4 {
		if e := fault(t, signs(key)); e.ID != "signer.ended" {
			t.Fatalf("%s: %v", e.ID, e)
		}
	}
	starts := noted(t, dir, "starts")
	if len(starts) != 4 {
		t.Fatalf("%d starts, want 4", len(starts))
	}
	var last int64
	for i, line := range starts {
		_, at, _ := strings.Cut(line, " ")
		now := must(strconv.ParseInt(at, 10, 64))
		if between := time.Duration(now - last); i > 0 && between < pause(i) {
			t.Errorf("start %d came %v after the one before, want %v at least", i+1, between, pause(i))
		}
		last = now
	}

	// Who cannot wait for the pause of 800 ms learns at once what it is for.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, _, err := p.Identity(ctx)
	if e := fault(t, err); e.ID != "signer.ended" || time.Since(began) > 200*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if got := len(noted(t, dir, "starts")); got != 4 {
		t.Errorf("%d starts, want still 4", got)
	}
	if _, _, err := p.Identity(t.Context()); err != nil { // who can wait does
		t.Error(err)
	}
}

// Many who need a dead signer start one.
func TestOneStartForAll(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	p := started(t, "good", dir, usual)
	key := keyOf(t, p)
	kill(t, dir)
	waitDead(t, p)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := signs(key); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(noted(t, dir, "starts")); got != 2 {
		t.Errorf("%d starts, want 2", got)
	}
}

// A failing restart is told as such, and ends when the reason does.
func TestRestartFails(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	p := started(t, "dies if told to", dir, impatient)
	die := filepath.Join(dir, "die")
	if err := os.WriteFile(die, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, dir)
	waitDead(t, p)
	_, _, err := p.Identity(t.Context())
	if e := fault(t, err); e.Status != "exit status 4" {
		t.Errorf("%v", err)
	}
	if err := os.Remove(die); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Identity(t.Context()); err != nil {
		t.Error(err)
	}
}

// One that is stuck is replaced; one that is only slow for somebody is not.
func TestStuckIsReplaced(t *testing.T) {
	ca := tlstest.NewCA("CA")
	l := limits{ask: 2 * time.Second, sign: time.Second, grace: 100 * time.Millisecond}
	for _, tt := range []struct {
		how    string
		starts int
	}{{"hangs", 2}, {"hangs at the first", 1}} {
		t.Run(tt.how, func(t *testing.T) {
			dir, _ := home(t, ca, nil)
			p := started(t, tt.how, dir, l)
			key := keyOf(t, p)
			first := make(chan error, 1)
			go func() { first <- signs(key) }()
			for len(noted(t, dir, "requests")) < 4 {
				time.Sleep(time.Millisecond)
			}
			if tt.starts == 1 {
				if err := signs(key); err != nil {
					t.Error(err)
				}
			}
			if e := fault(t, <-first); e.ID != "signer.timeout" || !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("%s: %v", e.ID, e)
			}
			keyOf(t, p)
			if got := len(noted(t, dir, "starts")); got != tt.starts {
				t.Errorf("%d starts, want %d", got, tt.starts)
			}
		})
	}
}

func TestClose(t *testing.T) {
	ca := tlstest.NewCA("CA")
	for _, tt := range []struct {
		how      string
		min, max time.Duration
		inOrder  bool
	}{
		{"good", 0, 300 * time.Millisecond, true},
		{"deaf", 300 * time.Millisecond, 2 * time.Second, false},
		{"parent", 0, 300 * time.Millisecond, true},
	} {
		t.Run(tt.how, func(t *testing.T) {
			dir, _ := home(t, ca, nil)
			p := started(t, tt.how, dir, impatient)
			key := keyOf(t, p)
			began := time.Now()
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < tt.min || took > tt.max+time.Second {
				t.Errorf("took %v, want %v to %v", took, tt.min, tt.max)
			}
			if got := noted(t, dir, "ends") != nil; got != tt.inOrder {
				t.Errorf("ended in order: %v, want %v", got, tt.inOrder)
			}
			for _, name := range []string{"starts", "child"} { // nothing is left
				for _, line := range noted(t, dir, name) {
					number, _, _ := strings.Cut(line, " ")
					gone(t, must(strconv.Atoi(number)))
				}
			}
			if err := signs(key); fault(t, err).ID != "signer.closed" {
				t.Errorf("sign after Close: %v", err)
			}
			if _, _, err := p.Identity(t.Context()); fault(t, err).ID != "signer.closed" {
				t.Errorf("Identity after Close: %v", err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if got := len(noted(t, dir, "starts")); got != 1 {
				t.Errorf("%d starts, want 1", got)
			}
		})
	}
}

// Close fails who waits, at once.
func TestCloseWhileAsked(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	p := started(t, "hangs", dir, usual)
	key := keyOf(t, p)
	result := make(chan error, 1)
	go func() { result <- signs(key) }()
	for len(noted(t, dir, "requests")) < 4 {
		time.Sleep(5 * time.Millisecond)
	}
	began := time.Now()
	_ = p.Close()
	if e := fault(t, <-result); e.ID != "signer.closed" || time.Since(began) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(began), e)
	}
}

// kill kills the signer that started last.
func kill(t *testing.T, dir string) {
	t.Helper()
	starts := noted(t, dir, "starts")
	number, _, _ := strings.Cut(starts[len(starts)-1], " ")
	if err := syscall.Kill(must(strconv.Atoi(number)), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// waitDead waits until the death was noticed.
func waitDead(t *testing.T, p *Process) {
	t.Helper()
	p.mu.Lock()
	c := p.child
	p.mu.Unlock()
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody notices")
	}
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for range 200 {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the process %d lives on", pid)
}

// zombie reports whether a process is dead, and nobody has asked for its status: one whose parent
// has gone is left to whoever is process 1 here.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}
