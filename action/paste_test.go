package action

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestContinueIsTheButton(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	l := newLogin(t, d)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if next, err := d.Continue(t.Context(), l.Action); err != nil || next != toIssuer {
				t.Errorf("goes on to %q, %v", next, err)
			}
		})
		wg.Go(func() {
			if got := press(t, l.Action, "continue"); got.header.Get("Location") != toIssuer {
				t.Errorf("the button: %d to %q", got.status, got.header.Get("Location"))
			}
		})
	}
	wg.Wait()
	mustWait(t, l.Action, "Continue")
	if l.continued.Load() != 1 {
		t.Errorf("Continue ran %d times", l.continued.Load())
	}
	press(t, l.Action, "cancel")
	if next, err := d.Continue(t.Context(), l.Action); err != ErrDenied || next != "" {
		t.Errorf("after the no: %q, %v", next, err)
	}
}

func TestContinueEnds(t *testing.T) {
	broken := errors.New("registration was refused")
	d := newDesk(t, DeskOptions{})
	for _, tc := range []struct {
		name string
		err  error
	}{{"yes was all that was needed", nil}, {"it fails", broken}} {
		t.Run(tc.name, func(t *testing.T) {
			ran := 0
			a := placeForm(t, d, Form{Continue: func(context.Context, string) (Next, error) { ran++; return Next{}, tc.err }})
			for range 2 {
				if next, err := d.Continue(t.Context(), a); err != tc.err || next != "" {
					t.Errorf("%q, %v", next, err)
				}
			}
			if err := wait(t, a); err != tc.err || ran != 1 {
				t.Errorf("ended with %v, ran %d times", err, ran)
			}
		})
	}
}

// Who leaves while Continue runs leaves no half of it behind: it goes on, and the next one joins.
func TestContinueOutlivesItsCaller(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	d := newDesk(t, DeskOptions{})
	a := placeForm(t, d, Form{Continue: func(ctx context.Context, _ string) (Next, error) {
		close(started)
		<-finish
		return Next{URL: toIssuer, State: "right"}, ctx.Err()
	}})
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-started; leave() }()
	if next, err := d.Continue(ctx, a); err != context.Canceled || next != "" {
		t.Errorf("%q, %v", next, err)
	}
	mustWait(t, a, "the caller left")
	close(finish)
	if next, err := d.Continue(t.Context(), a); err != nil || next != toIssuer {
		t.Errorf("again: %q, %v", next, err)
	}
}

func TestActionsOfOthers(t *testing.T) {
	d, other := newDesk(t, DeskOptions{}), newDesk(t, DeskOptions{})
	mine := newLogin(t, other)
	for _, a := range []*Action{New("code", Prompt{UserCode: "ABCD"}), New(mine.ID(), Prompt{}), mine.Action} {
		if next, err := d.Continue(t.Context(), a); err == nil || next != "" {
			t.Errorf("Continue: %q, %v", next, err)
		}
		if err := d.Answer(t.Context(), a, "http://127.0.0.1/callback?state=right&code=C"); err == nil {
			t.Error("an answer was taken")
		}
	}
	if _, err := other.Continue(t.Context(), New(mine.ID(), Prompt{})); err == nil {
		t.Error("an action that only bears the name was taken for the page's")
	}
	if mine.continued.Load() != 0 {
		t.Error("somebody else's page was answered")
	}
}

// pasted is a login whose page was agreed to, and the address that its answer must come in.
func pasted(t *testing.T, d *Desk) (l *login, address string) {
	t.Helper()
	l = newLogin(t, d)
	if _, err := d.Continue(t.Context(), l.Action); err != nil {
		t.Fatal(err)
	}
	return l, l.redirect
}

func TestAnswerIsTheCallback(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	for _, tc := range []struct{ name, before, query, after string }{
		{"as it is", "", "?code=C&state=right&iss=https%3A%2F%2Flogin.example", ""},
		{"white space", " \t\r\n\u00a0", "?code=C&state=right", "\u00a0 \r\n"},
		{"double quotes", `"`, "?code=C&state=right", `"`},
		{"single quotes", `'`, "?code=C&state=right", `'`},
		{"typographic quotes", "“", "?code=C&state=right", "”"},
		{"angle brackets in quotes", ` "<`, "?code=C&state=right", `>" `},
		{"backquotes", "`", "?code=C&state=right", "`"},
		{"byte order mark", "\ufeff", "?code=C&state=right", ""},
		{"fragment", "", "?state=right&code=C", "#_=_"},
		{"other parameters", "", "?session_state=x&code=C&state=right&x=1&x=2", ""},
		{"a no at the issuer", "", "?error=access_denied&state=right&code=C", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, address := pasted(t, d)
			if err := d.Answer(t.Context(), l.Action, tc.before+address+tc.query+tc.after); err != nil {
				t.Fatalf("%v", err)
			}
			if err := wait(t, l.Action); err != nil || l.called.Load() != 1 {
				t.Errorf("ended with %v, the callback ran %d times", err, l.called.Load())
			}
			if v := <-l.answers; v.Get("code") != "C" || v.Get("state") != "right" {
				t.Errorf("answer %v", v)
			}
		})
	}
}

func TestAnswerThatIsNotTheOne(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	l, address := pasted(t, d)
	host := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/callback")
	const (
		whole   = "not a whole address"
		begin   = "the page that begins the sign-in"
		signIn  = "the address of the sign-in page"
		other   = "belongs to another sign-in"
		missing = "is missing"
		twice   = "twice"
		read    = "could not be read"
	)
	for _, tc := range []struct{ name, paste, want string }{
		{"nothing", "", whole},
		{"white space", " \n", whole},
		{"words", "what do you mean?", whole},
		{"the code alone", "CANARY", whole},
		{"the query alone", "?code=CANARY&state=right", whole},
		{"the query alone, without a mark", "code=CANARY&state=right", whole},
		{"no scheme", host + "/callback?code=CANARY&state=right", read},
		{"no scheme, by name", strings.Replace(host, "127.0.0.1", "localhost", 1) + "/callback?code=CANARY&state=right", whole},
		{"another scheme", "javascript:alert(1)", whole},
		{"a file", "file:///callback?code=CANARY&state=right", whole},
		{"broken", "http://127.0.0.1:%zz/", read},
		{"control characters", address + "?code=CANARY\x1b[31m&state=right", read},
		{"our page", l.Prompt().URL, begin},
		{"the sign-in page", toIssuer, signIn},
		{"a page on the way", "https://accounts.example/consent?x", signIn},
		{"https", "https://" + host + "/callback?code=CANARY&state=right", other},
		{"a user name", "http://x@" + host + "/callback?code=CANARY&state=right", other},
		{"another name", "http://localhost" + host[strings.LastIndex(host, ":"):] + "/callback?code=CANARY&state=right", other},
		{"another port", "http://127.0.0.1:1/callback?code=CANARY&state=right", other},
		{"another issuer's place", address + "/0123456789abcdef?code=CANARY&state=right", other},
		{"another host", "http://evil.example/callback?code=CANARY&state=right", signIn},
		{"no query", address, missing},
		{"no state", address + "?code=CANARY", missing},
		{"empty state", address + "?code=CANARY&state=", missing},
		{"no code", address + "?state=right", missing},
		{"cut off", address + "?state=right&cod", missing},
		{"in the fragment", address + "#state=right&code=CANARY", missing},
		{"wrong state", address + "?state=wrong&code=CANARY", other},
		{"state in another case", address + "?state=RIGHT&code=CANARY", other},
		{"state that goes on", address + "?state=right1&code=CANARY", other},
		{"the page's id for a state", address + "?code=CANARY&state=" + l.ID(), other},
		{"state twice", address + "?state=right&state=right&code=CANARY", twice},
		{"two codes", address + "?state=right&code=CANARY&code=D", twice},
		{"two issuers", address + "?state=right&code=CANARY&iss=a&iss=b", twice},
		{"broken query", address + "?state=right&code=CANARY%zz", read},
		{"semicolon", address + "?state=right;code=CANARY", read},
		{"two addresses", address + "?state=right&code=CANARY " + address + "?state=right&code=CANARY", twice},
		{"too long", address + "?state=right&code=CANARY&x=" + strings.Repeat("x", maxPaste), "too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := d.Answer(t.Context(), l.Action, tc.paste)
			var again *PasteError
			if !errors.As(err, &again) || !strings.Contains(again.Error(), tc.want) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
			if again.Code() != "login_paste" || !strings.Contains(again.Hint(), address+"?") {
				t.Errorf("code %q, hint %q", again.Code(), again.Hint())
			}
			if said := again.Error() + again.Hint(); strings.Contains(said, "CANARY") || strings.Contains(said, "right") {
				t.Errorf("it repeats what was pasted: %s", said)
			}
			mustWait(t, l.Action, tc.name)
		})
	}
	if l.called.Load() != 0 {
		t.Fatalf("the callback ran %d times", l.called.Load())
	}
	// None of it used up the flow.
	if err := d.Answer(t.Context(), l.Action, address+"?state=right&code=C"); err != nil || l.called.Load() != 1 {
		t.Errorf("the right one: %v, ran %d times", err, l.called.Load())
	}
}

func TestAnswerBeforeContinue(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	l := newLogin(t, d)
	var again *PasteError
	if err := d.Answer(t.Context(), l.Action, base(t, l.Action)+"/callback?state=&code=C"); !errors.As(err, &again) || again.Want != "" || again.Hint() == "" {
		t.Errorf("%v", err)
	}
	mustWait(t, l.Action, "nobody has agreed yet")
}

// The answer is taken once, whichever way it comes.
func TestAnswerIsTakenOnce(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	var called atomic.Int32
	finish := make(chan struct{})
	a := place(t, d, Next{URL: toIssuer, State: "right", Callback: func(context.Context, url.Values) error {
		called.Add(1)
		<-finish
		return nil
	}})
	if _, err := d.Continue(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	address := base(t, a) + "/callback?state=right&code=C"
	taken := make(chan bool, 20)
	for range 10 {
		go func() {
			err := d.Answer(t.Context(), a, address)
			if again, ok := errors.AsType[*PasteError](err); err != nil && (!ok || !strings.Contains(again.Reason, "already used")) {
				t.Errorf("a replay: %v", err)
			}
			taken <- err == nil
		}()
		go func() { taken <- callback(t, a, "state=right&code=C").status == http.StatusOK }()
	}
	for range 19 {
		if <-taken {
			t.Error("a replay during the exchange was taken")
		}
	}
	close(finish)
	if !<-taken {
		t.Error("the first one was not taken")
	}
	var again *PasteError
	if err := d.Answer(t.Context(), a, address); !errors.As(err, &again) {
		t.Errorf("a replay afterwards: %v", err)
	}
	if got := callback(t, a, "state=right&code=C"); got.status != http.StatusBadRequest || called.Load() != 1 {
		t.Errorf("a callback afterwards: %d; it ran %d times", got.status, called.Load())
	}
}

func TestAnswerTellsHowItEnded(t *testing.T) {
	broken := errors.New("invalid_grant")
	for _, tc := range []struct {
		name  string
		err   error
		ended bool // before the address was pasted
	}{{"the exchange fails", broken, false}, {"cancelled before", ErrDenied, true}, {"expired before", ErrExpired, true}} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDesk(t, DeskOptions{})
			called := 0
			a := place(t, d, Next{URL: toIssuer, State: "right", Callback: func(context.Context, url.Values) error { called++; return tc.err }})
			if _, err := d.Continue(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if tc.ended {
				a.End(tc.err)
			}
			if err := d.Answer(t.Context(), a, base(t, a)+"/callback?state=right&code=C"); err != tc.err {
				t.Errorf("%v, want %v", err, tc.err)
			}
			if err := wait(t, a); err != tc.err || tc.ended != (called == 0) {
				t.Errorf("ended with %v, the callback ran %d times", err, called)
			}
		})
	}
}

// Who leaves during the exchange does not lose the token.
func TestAnswerOutlivesItsCaller(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	d := newDesk(t, DeskOptions{})
	a := place(t, d, Next{URL: toIssuer, State: "right", Callback: func(ctx context.Context, _ url.Values) error {
		close(started)
		<-finish
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
		return ctx.Err()
	}})
	if _, err := d.Continue(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-started; leave() }()
	if err := d.Answer(ctx, a, base(t, a)+"/callback?state=right&code=C"); err != context.Canceled {
		t.Errorf("%v", err)
	}
	close(finish)
	if err := wait(t, a); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestPasteIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	d := newDesk(t, DeskOptions{Logger: debugLog(&log)})
	l, address := pasted(t, d)
	_ = d.Answer(t.Context(), l.Action, address+"?state=wrong&code=CANARY")
	if err := d.Answer(t.Context(), l.Action, address+"?state=right&code=CANARY"); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if got := log.String(); strings.Contains(got, "CANARY") || strings.Contains(got, "state=") {
		t.Errorf("log:\n%s", got)
	}
}

// What is taken has exactly the redirect URI, the state and one code, whatever it was wrapped in.
func FuzzAnswer(f *testing.F) {
	const at = "http://localhost:4711/callback/abc"
	for _, s := range []string{
		at + "?code=C&state=right", " <" + at + "?state=right&error=x> ", at + "?code=C&state=right#x", at + "?code=C&code=D&state=right",
		at + "?code=C", "?code=C&state=right", "http://localhost:4711/l/x", at, "", "https://login.example/", at + "?state=right;code=C", "http://[::1%25x]/",
	} {
		f.Add(s)
	}
	redirect, err := url.Parse(at)
	if err != nil {
		f.Fatal(err)
	}
	d := NewDesk(DeskOptions{})
	p := &pending{Action: New("id", Prompt{URL: "http://127.0.0.1:4711/l/id", Issuer: "https://login.example"}), state: "right", authorize: toIssuer, redirect: redirect}
	f.Fuzz(func(t *testing.T, s string) {
		answer, err := d.readPaste(p, s)
		if err != nil {
			if again, ok := errors.AsType[*PasteError](err); !ok || again.Reason == "" || answer != nil {
				t.Errorf("%v, %v", answer, err)
			}
			return
		}
		if u, err := url.Parse(unwrap(s)); err != nil || u.Host != redirect.Host || len(s) > maxPaste {
			t.Errorf("taken: %q", s)
		}
		if len(answer["state"]) != 1 || answer.Get("state") != "right" || len(answer["code"]) > 1 || !answer.Has("code") && !answer.Has("error") {
			t.Errorf("taken: %v of %q", answer, s)
		}
	})
}
