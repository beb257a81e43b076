package action

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The clocks of a desk, in a bubble whose network is made of pipes.
func TestTimeoutAndLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sockets
		var released atomic.Int32
		d := NewDesk(DeskOptions{Own: func(netip.AddrPort) func() { return func() { released.Add(1) } }})
		defer d.Close()
		d.listen = s.listen
		client := s.client()
		get := func(u string) int {
			resp, err := client.Get(u)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode
		}

		l := newLogin(t, d)
		start := time.Now()
		if got := l.Prompt().ExpiresAt; !got.Equal(start.Add(10 * time.Minute)) {
			t.Errorf("expires %v after it was placed", got.Sub(start))
		}
		if _, err := d.Continue(t.Context(), l.Action); err != nil {
			t.Fatal(err)
		}
		late := l.redirect + "?state=right&code=C"

		time.Sleep(10*time.Minute - 1)
		synctest.Wait()
		mustWait(t, l.Action, "just before the timeout")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err := l.Wait(t.Context()); err != ErrExpired || !l.EndedAt().Equal(start.Add(10*time.Minute)) {
			t.Fatalf("ended with %v after %v", err, l.EndedAt().Sub(start))
		}
		for range 2 {
			if got := get(late); got != http.StatusGone {
				t.Errorf("an answer after the timeout: %d", got)
			}
		}
		if l.called.Load() != 0 {
			t.Errorf("the callback ran %d times", l.called.Load())
		}

		// Half of the time that the last page stays is over when another action ends.
		time.Sleep(15 * time.Second)
		second := place(t, d, Next{})
		second.End(nil)
		synctest.Wait()
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		if base(t, l.Action) != base(t, second) {
			t.Error("the second action has another listener")
		}
		if got := get(second.Prompt().URL); got != http.StatusOK || len(s.open()) != 2 || released.Load() != 0 {
			t.Errorf("just before it goes: the last page is %d, open are %v, %d were given back", got, s.open(), released.Load())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if open := s.open(); len(open) != 0 {
			t.Errorf("still open: %v", open)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := released.Load(); got != 2 {
			t.Errorf("%d addresses were given back, want 2", got)
		}
		if _, err := client.Get(late); err == nil {
			t.Error("somebody still listens")
		}

		// The next action has a listener of its own, which knows nothing of those before.
		third := place(t, d, Next{})
		if got := get(third.Prompt().URL); got != http.StatusOK {
			t.Errorf("a page on a new listener: %d", got)
		}
		if got := get(base(t, third) + "/l/" + second.ID()); got != http.StatusNotFound {
			t.Errorf("a page of the old listener: %d", got)
		}
	})
}

// Talking to the issuer has a bound of its own: a step that hangs does not hold the action for ever.
func TestStepIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDesk(DeskOptions{})
		defer d.Close()
		d.listen = (&sockets{}).listen
		a := placeForm(t, d, Form{Continue: func(ctx context.Context, _ string) (Next, error) {
			<-ctx.Done()
			return Next{}, ctx.Err()
		}})
		start := time.Now()
		if _, err := d.Continue(t.Context(), a); err != context.DeadlineExceeded || time.Since(start) != stepTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// An agent led astray must not bury the person under windows.
func TestWindowsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		d := NewDesk(DeskOptions{Open: func(context.Context, string) error { opened++; return nil }})
		defer d.Close()
		d.listen = (&sockets{}).listen
		for i, step := range []struct {
			after time.Duration
			want  bool
		}{
			{0, true}, {10 * time.Second, true}, {10 * time.Second, true}, {0, false},
			{40*time.Second - 1, false}, {2, true}, // the first one is a minute ago
			{9 * time.Second, false}, {time.Second, true}, {time.Minute + 1, true},
		} {
			time.Sleep(step.after)
			a := place(t, d, Next{})
			if got := d.OpenBrowser(t.Context(), a); got != step.want || a.Prompt().Opened != step.want {
				t.Errorf("step %d: opened %v and %v, want %v", i, got, a.Prompt().Opened, step.want)
			}
		}
		if opened != 6 {
			t.Errorf("%d windows, want 6", opened)
		}
	})
}
