package action

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func asks(id string) func() (*Action, error) {
	return func() (*Action, error) { return New(id, Prompt{Kind: SignIn, Issuer: "https://login.example"}), nil }
}

func never(t *testing.T) func() (*Action, error) {
	return func() (*Action, error) {
		t.Error("asked although it must not be")
		return New("", Prompt{}), nil
	}
}

func TestBookAsksOnceAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book[string]
		var mu sync.Mutex
		starts, fresh, got := 0, 0, map[*Action]int{}
		for range 50 {
			go func() {
				a, isFresh, err := b.Join(t.Context(), "k", func() (*Action, error) {
					time.Sleep(time.Second) // others come while the page is being put up
					mu.Lock()
					defer mu.Unlock()
					starts++
					return New("one", Prompt{}), nil
				})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if isFresh {
					fresh++
				}
				got[a]++
			}()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if starts != 1 || fresh != 1 || len(got) != 1 {
			t.Fatalf("%d starts, %d fresh, %d different actions; want one of each", starts, fresh, len(got))
		}
		if a, isFresh, err := b.Join(t.Context(), "other", asks("two")); err != nil || !isFresh || a.ID() != "two" {
			t.Errorf("another key joined: %v, %v, %v", a, isFresh, err)
		}
	})
}

func TestBookAsksAgain(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  error
	}{
		{"after success", nil}, {"after expiry", ErrExpired}, {"after closing", ErrClosed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b Book[string]
			first, _, err := b.Join(t.Context(), "k", asks("first"))
			if err != nil {
				t.Fatal(err)
			}
			if a, fresh, err := b.Join(t.Context(), "k", never(t)); a != first || fresh || err != nil {
				t.Fatalf("did not join what waits: %v, %v", fresh, err)
			}
			first.End(tc.end)
			if a, fresh, err := b.Join(t.Context(), "k", asks("second")); err != nil || !fresh || a.ID() != "second" {
				t.Errorf("fresh %v, error %v; want a new action", fresh, err)
			}
		})
	}
}

// A failure that nobody waited for is told once: else everybody is only ever given the next link.
func TestBookTellsAFailureOnce(t *testing.T) {
	broken := errors.New("broken")
	var b Book[string]
	fail := func() {
		a, _, err := b.Join(t.Context(), "k", asks("first"))
		if err != nil {
			t.Fatal(err)
		}
		a.End(broken)
	}
	fail()
	if _, fresh, err := b.Join(t.Context(), "k", never(t)); err != broken || fresh {
		t.Errorf("got fresh %v, error %v; want the failure", fresh, err)
	}
	a, fresh, err := b.Join(t.Context(), "k", asks("second"))
	if err != nil || !fresh {
		t.Fatalf("fresh %v, error %v; want a new action", fresh, err)
	}
	a.End(broken)
	if err := a.Wait(t.Context()); err != broken {
		t.Fatal(err)
	}
	if _, fresh, err := b.Join(t.Context(), "k", asks("third")); err != nil || !fresh {
		t.Errorf("fresh %v, error %v; want a new action, the failure was told", fresh, err)
	}
}

func TestBookForgetsAFailedStart(t *testing.T) {
	broken := errors.New("no port")
	var b Book[string]
	if a, fresh, err := b.Join(t.Context(), "k", func() (*Action, error) { return nil, broken }); a != nil || !fresh || err != broken {
		t.Fatalf("got %v, %v, %v", a, fresh, err)
	}
	if a, _, err := b.Join(t.Context(), "k", asks("x")); err != nil || a.ID() != "x" {
		t.Errorf("the failure stayed: %v", err)
	}
}

func TestBookSurvivesAPanic(t *testing.T) {
	var b Book[string]
	if _, _, err := b.Join(t.Context(), "k", func() (*Action, error) { panic("broken") }); err == nil {
		t.Error("no error after a panic")
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if a, _, err := b.Join(ctx, "k", asks("x")); err != nil || a.ID() != "x" {
		t.Errorf("after a panic: %v", err)
	}
}

func TestBookJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book[string]
		go func() {
			_, _, _ = b.Join(t.Context(), "k", func() (*Action, error) {
				time.Sleep(time.Minute)
				return New("slow", Prompt{}), nil
			})
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := b.Join(ctx, "k", never(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		time.Sleep(time.Minute)
	})
}

func TestBookRestsAfterNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book[string]
		a, _, err := b.Join(t.Context(), "k", asks("first"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		a.End(fmt.Errorf("at the issuer: %w", ErrDenied))
		want := time.Now().Add(15 * time.Minute)
		for _, after := range []time.Duration{0, time.Minute, 14*time.Minute - time.Nanosecond} {
			time.Sleep(after)
			_, fresh, err := b.Join(t.Context(), "k", never(t))
			var declined *DeclinedError
			if !errors.As(err, &declined) || fresh {
				t.Fatalf("%v after the no: error %v", after, err)
			}
			if !declined.Until.Equal(want) || declined.Prompt.Issuer != "https://login.example" {
				t.Errorf("declined %+v, want until %v", declined, want)
			}
			if _, _, err := b.Join(t.Context(), fmt.Sprint("other", after), asks("x")); err != nil {
				t.Errorf("a no to one question closed another: %v", err)
			}
		}
		time.Sleep(time.Nanosecond)
		if _, fresh, err := b.Join(t.Context(), "k", asks("second")); err != nil || !fresh {
			t.Errorf("15 minutes after the no: fresh %v, error %v", fresh, err)
		}
	})
}

func TestBookStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Book[int]
		for i := range 1000 {
			a, _, err := b.Join(t.Context(), i, asks("x"))
			if err != nil {
				t.Fatal(err)
			}
			a.End(map[bool]error{true: ErrDenied}[i%100 == 0])
		}
		waits, _, _ := b.Join(t.Context(), -1, asks("waits"))
		if got, want := len(b.entries), 10+1; got != want {
			t.Errorf("%d entries, want %d: those declined lately and the one that waits", got, want)
		}
		time.Sleep(CoolDown)
		if _, _, err := b.Join(t.Context(), -2, asks("x")); err != nil {
			t.Fatal(err)
		}
		if got := len(b.entries); got != 2 {
			t.Errorf("%d entries after the cool-down, want 2", got)
		}
		if a, _, _ := b.Join(t.Context(), -1, never(t)); a != waits {
			t.Error("sweeping dropped an action that waits")
		}
	})
}
