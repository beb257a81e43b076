package action

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

func TestActionEndsOnce(t *testing.T) {
	a := New("id", Prompt{Kind: SignIn, UserCode: "ABCD-EFGH"})
	if a.ID() != "id" || a.Prompt().UserCode != "ABCD-EFGH" || a.Err() != nil || !a.EndedAt().IsZero() {
		t.Fatalf("a new action is %+v", a.Prompt())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with a dead context = %v", err)
	}
	var first atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a.End(ErrDenied) {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 || a.End(nil) {
		t.Errorf("%d calls of End counted, want 1", first.Load())
	}
	// What has ended is told even if the caller's context has, too.
	if err := a.Wait(ctx); err != ErrDenied {
		t.Errorf("Wait = %v, want ErrDenied", err)
	}
	if a.EndedAt().IsZero() || time.Since(a.EndedAt()) > soon {
		t.Errorf("EndedAt = %v", a.EndedAt())
	}
}

func TestMarkShown(t *testing.T) {
	a := New("id", Prompt{})
	if !a.MarkShown() || a.MarkShown() {
		t.Error("MarkShown must be true exactly the first time")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	wiki, err := origin.Parse("https://wiki.example")
	if err != nil {
		t.Fatal(err)
	}
	until := time.Date(2026, 5, 1, 14, 30, 0, 0, time.UTC)
	for _, tc := range []struct {
		name             string
		err              error
		code, text, hint string
	}{
		{"denied", ErrDenied, "login_denied", "refused", "unless the user"},
		{"expired", ErrExpired, "login_expired", "in time", "new link"},
		{"fixed port", &PortError{Port: 4711, Err: errors.New("in use")}, "login.port", "127.0.0.1:4711: in use", "login.port"},
		{"any port", &PortError{Err: errors.New("denied")}, "login.port", "denied", "loopback"},
		{"declined", &DeclinedError{Prompt{Kind: SignIn, Origin: wiki, Issuer: "https://login.example"}, until}, "login_denied", "sign in at https://login.example for https://wiki.example", "14:30 UTC"},
		{"declined address", &DeclinedError{Prompt{Kind: AllowAddress, Origin: wiki}, until}, "login_denied", "did not allow https://wiki.example", "14:30 UTC"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, ok := tc.err.(interface {
				error
				Code() string
				Hint() string
			})
			if !ok {
				t.Fatal("no code or hint")
			}
			if e.Code() != tc.code || !strings.Contains(e.Error(), tc.text) || !strings.Contains(e.Hint(), tc.hint) {
				t.Errorf("got %q, %q, %q", e.Code(), e.Error(), e.Hint())
			}
		})
	}
}
