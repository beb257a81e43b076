package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// terminal is a person at a terminal whose browser is on another computer.
type terminal struct {
	*program
	t      *testing.T
	world  *world
	app    *app
	typed  *typed
	screen *lockedBuffer
	keys   *io.PipeWriter
	seen   int // how much of the screen was awaited
}

func newTerminal(t *testing.T, kind func(*world) error) *terminal {
	t.Helper()
	w := newWorld(t.TempDir())
	t.Cleanup(w.close)
	if err := kind(w); err != nil {
		t.Fatal(err)
	}
	if err := w.write(); err != nil {
		t.Fatal(err)
	}
	in, keys := io.Pipe()
	t.Cleanup(func() { in.Close() })
	tt := &terminal{t: t, world: w, screen: new(lockedBuffer), keys: keys, typed: typedLines(t.Context(), in)}
	env := map[string]string{"AUTHFETCH_CONFIG": filepath.Join(w.dir, "config.jsonc"), "HOME": w.dir}
	tt.program = &program{log: slog.New(slog.NewTextHandler(tt.screen, &slog.HandlerOptions{Level: slog.LevelDebug})),
		surroundings: surroundings{stdin: in, stdout: io.Discard, stderr: tt.screen, env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}}
	var err error
	if tt.app, err = tt.build(t.Context(), atHome); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tt.app.close)
	return tt
}

// ask fetches, and returns what a person must do first.
func (tt *terminal) ask(path string) *action.Action {
	tt.t.Helper()
	_, err := tt.app.fetch.Get(principal.With(tt.t.Context(), principal.Local), fetch.Request{URL: tt.world.site.URL + path})
	need, ok := errors.AsType[*auth.ActionRequired](err)
	if !ok {
		tt.t.Fatalf("nobody is asked: %v", err)
	}
	return need.Action
}

// start pastes in the background.
func (tt *terminal) start(ctx context.Context, a *action.Action) <-chan error {
	done := make(chan error, 1)
	go func() { done <- tt.paste(ctx, tt.typed, tt.app.desk, a) }()
	return done
}

func (tt *terminal) types(line string) {
	tt.t.Helper()
	if _, err := io.WriteString(tt.keys, line+"\n"); err != nil {
		tt.t.Fatal(err)
	}
}

// sees waits for what comes on the screen after what was seen before, and returns the last group.
func (tt *terminal) sees(pattern string) string {
	tt.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if text := tt.screen.String()[tt.seen:]; re.MatchString(text) {
			at := re.FindStringSubmatchIndex(text)
			tt.seen += at[1]
			return text[at[len(at)-2]:at[len(at)-1]]
		}
	}
	tt.t.Fatalf("nothing matches %s:\n%s", pattern, tt.screen)
	return ""
}

func (tt *terminal) ends(done <-chan error) error {
	tt.t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		tt.t.Fatalf("still asking:\n%s", tt.screen)
		return nil
	}
}

// elsewhere signs in with a browser that cannot reach this computer: it stays where it is sent to.
func elsewhere(t *testing.T, address string) string {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Location") == "" {
		t.Fatalf("the issuer answered %d", resp.StatusCode)
	}
	return resp.Header.Get("Location")
}

// An issuer that signs in whoever comes.
func autoApprove(w *world) error {
	return w.start(oauthtest.IssuerOptions{NoDevice: true, AutoApprove: true}, oauthtest.ResourceOptions{Scopes: []string{"docs.read"}})
}

const (
	asksYes  = `Type (\w{4}) for yes, or no: `
	asksOpen = `(?s)Open this address .*?\n\n  (http\S+)\n\n`
)

// The command as a person types it.
func TestLoginPaste(t *testing.T) {
	tt := newTerminal(t, autoApprove)
	if err := tt.world.set("login.browser", "person continue"); err != nil { // which must not be opened
		t.Fatal(err)
	}
	s := tt.surroundings
	in, keys := io.Pipe()
	out := new(lockedBuffer)
	s.stdin, s.stdout, tt.keys = in, out, keys
	done := make(chan error, 1)
	go func() {
		if code := execute([]string{"login", "--paste", tt.world.site.URL + "/docs/handbook"}, s); code != exitOK {
			done <- fmt.Errorf("exit code %d", code)
		}
		close(done)
	}()
	tt.types(tt.sees(asksYes))
	tt.types(elsewhere(t, tt.sees(asksOpen)))
	if err := tt.ends(done); err != nil {
		t.Fatalf("%v:\n%s", err, tt.screen)
	}
	if !strings.Contains(out.String(), "answers with status 200") || strings.Contains(tt.screen.String(), "browser window") {
		t.Errorf("got %s and\n%s", out, tt.screen)
	}
}

func TestPasteEndToEnd(t *testing.T) {
	tt := newTerminal(t, autoApprove)
	a := tt.ask("/docs/handbook")
	done := tt.start(t.Context(), a)
	word := tt.sees(asksYes)
	said := tt.screen.String()
	for _, want := range []string{tt.world.site.URL, tt.world.issuer.URL, "docs.read", "Sign in at " + tt.world.issuer.URL + " for " + tt.world.site.URL + "? Type " + word} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing:\n%s", want, said)
		}
	}
	for _, wrong := range []string{"perhaps", "yes", "y", word + word} {
		tt.types(wrong)
		next := tt.sees(asksYes)
		if next == word {
			t.Errorf("it asks for %q again", word)
		}
		word = next
	}
	if n := len(tt.world.log.Find("issuer", "/register")); n != 0 {
		t.Errorf("the issuer heard of us before the person agreed: %d", n)
	}
	tt.types(" " + strings.ToUpper(word))
	open := tt.sees(asksOpen)
	address := elsewhere(t, open)
	for _, wrong := range []string{open, address[strings.Index(address, "?"):], strings.Replace(address, "state=", "state=x", 1), strings.Repeat("x", 100<<10)} {
		tt.types(wrong)
		tt.sees(`(Not that one): .*\n  sign in until `)
	}
	tt.types("")
	tt.types("\x1b[200~" + ` "` + address[:9] + "\x00\x1b[D" + address[9:] + `" ` + "\x1b[201~\r") // as terminals paste
	if err := tt.ends(done); err != nil {
		t.Fatal(err)
	}
	page, err := tt.app.fetch.Get(principal.With(t.Context(), principal.Local), fetch.Request{URL: tt.world.site.URL + "/docs/handbook"})
	if err != nil || page.Status != http.StatusOK {
		t.Errorf("the page afterwards: %v", err)
	}
	if n := len(tt.world.log.Find("issuer", "/token")); n != 1 {
		t.Errorf("%d token requests, want one", n)
	}
	// The person must see the state, which the issuer's address has in it; all other secrets stay away.
	secrets := tt.world.allSecrets()
	if len(secrets) < 4 {
		t.Errorf("only %v went round", secrets)
	}
	for value, name := range secrets {
		if name != "state" && strings.Contains(tt.screen.String(), value) {
			t.Errorf("the screen shows the %s", name)
		}
	}
}

func TestPasteIsRefused(t *testing.T) {
	tt := newTerminal(t, autoApprove)
	a := tt.ask("/docs/handbook")
	done := tt.start(t.Context(), a)
	tt.sees(asksYes)
	tt.types("no")
	if err := tt.ends(done); !errors.Is(err, action.ErrDenied) || a.Err() != action.ErrDenied {
		t.Errorf("ended with %v, the action with %v", err, a.Err())
	}
	for _, e := range tt.world.log.Events() {
		if e.Server == "issuer" && e.Method == http.MethodPost {
			t.Errorf("the issuer got %s", e.Path)
		}
	}
}

// The browser is on this computer after all, or somebody opened the page.
func TestPasteEndsWithTheAction(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(tt *terminal, a *action.Action, word string)
		want error
	}{
		{"callback", func(tt *terminal, a *action.Action, word string) {
			tt.types(word)
			address := elsewhere(tt.t, tt.sees(asksOpen))
			resp, err := http.Get(address)
			if err != nil {
				tt.t.Fatal(err)
			}
			resp.Body.Close()
		}, nil},
		{"cancelled before the yes", func(_ *terminal, a *action.Action, _ string) { a.End(action.ErrDenied) }, action.ErrDenied},
		{"expired after the yes", func(tt *terminal, a *action.Action, word string) {
			tt.types(word)
			tt.sees(asksOpen)
			a.End(action.ErrExpired)
		}, action.ErrExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tt := newTerminal(t, autoApprove)
			a := tt.ask("/docs/handbook")
			done := tt.start(t.Context(), a)
			tc.end(tt, a, tt.sees(asksYes))
			if err := tt.ends(done); err != tc.want {
				t.Errorf("ended with %v, want %v", err, tc.want)
			}
			// The next question gets the next line: nobody of before still reads.
			next := action.New("next", action.Prompt{Kind: action.SignIn})
			done = tt.start(t.Context(), next)
			tt.sees(asksYes)
			tt.types("no")
			if err := tt.ends(done); err != action.ErrDenied {
				t.Errorf("the next question ended with %v", err)
			}
		})
	}
}

func TestPasteWithoutAPerson(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines string
	}{{"nothing", ""}, {"blank lines", "\n \n"}, {"no answer", "what?\n"}, {"a yes and no address", "WORD\n"}, {"a yes without an end", "WORD"}} {
		t.Run(tc.name, func(t *testing.T) {
			tt := newTerminal(t, autoApprove)
			a := tt.ask("/docs/handbook")
			done := tt.start(t.Context(), a)
			if _, err := io.WriteString(tt.keys, strings.ReplaceAll(tc.lines, "WORD", tt.sees(asksYes))); err != nil {
				t.Fatal(err)
			}
			tt.keys.Close()
			err := tt.ends(done)
			if _, ok := errors.AsType[*noAnswerError](err); !ok || exitCode(err) != exitLogin || errorHint(err) == "" {
				t.Errorf("ended with %v", err)
			}
			if !a.EndedAt().IsZero() {
				t.Errorf("the action ended, too: %v", a.Err())
			}
			if agreed := len(tt.world.log.Find("issuer", "/register")) > 0; agreed != strings.HasPrefix(tc.lines, "WORD") {
				t.Errorf("agreed: %v", agreed)
			}
		})
	}
}

func TestPasteIsInterrupted(t *testing.T) {
	for _, name := range []string{"before the yes", "after the yes"} {
		t.Run(name, func(t *testing.T) {
			tt := newTerminal(t, autoApprove)
			ctx, interrupt := context.WithCancel(t.Context())
			done := tt.start(ctx, tt.ask("/docs/handbook"))
			word := tt.sees(asksYes)
			if name == "after the yes" {
				tt.types(word)
				tt.sees(asksOpen)
			}
			interrupt()
			if err := tt.ends(done); !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestPasteAllowsAnAddress(t *testing.T) {
	tt := newTerminal(t, kinds["private"])
	done := tt.start(t.Context(), tt.ask("/open"))
	word := tt.sees(asksYes)
	for _, want := range []string{" is a private address", "Allow " + tt.world.site.URL + "? Type "} {
		if said := tt.screen.String(); !strings.Contains(said, want) {
			t.Errorf("%q is missing:\n%s", want, said)
		}
	}
	tt.types("yes")
	again := tt.sees(asksYes)
	if _, err := tt.app.fetch.Get(principal.With(t.Context(), principal.Local), fetch.Request{URL: tt.world.site.URL + "/open"}); err == nil {
		t.Error("a yes without the word allows it")
	}
	tt.types(word)
	if next := tt.sees(asksYes); next == again {
		t.Errorf("it asks for %q again", next)
	} else {
		tt.types(next)
	}
	if err := tt.ends(done); err != nil {
		t.Fatal(err)
	}
	page, err := tt.app.fetch.Get(principal.With(t.Context(), principal.Local), fetch.Request{URL: tt.world.site.URL + "/open"})
	if err != nil || page.Status != http.StatusOK {
		t.Errorf("the page afterwards: %v", err)
	}
}

// A device code is shown as ever; nothing is read.
func TestPasteOfADeviceCode(t *testing.T) {
	tt := newTerminal(t, autoApprove)
	wiki, err := origin.Parse("https://wiki.example")
	if err != nil {
		t.Fatal(err)
	}
	a := action.New("id", action.Prompt{Kind: action.SignIn, Origin: wiki, Issuer: "https://login.example", UserCode: "ABCD-EFGH", VerificationURI: "https://login.example/device"})
	done := tt.start(t.Context(), a)
	tt.sees(`enter the code (ABCD-EFGH)`)
	a.End(nil)
	if err := tt.ends(done); err != nil || strings.Contains(tt.screen.String(), "Type ") {
		t.Errorf("%v\n%s", err, tt.screen)
	}
}

// What servers word reaches the terminal as text.
func TestPasteShowsNoCommands(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"https://login.example/a?x=y&z=%20", "https://login.example/a?x=y&z=%20"},
		{"https://login.example/\x1b]0;owned\x07", "https://login.example/%1B]0;owned%07"},
		{"https://login.example/\u009b31m \u202ex", "https://login.example/%C2%9B31m%20%E2%80%AEx"},
		{"https://login.example/\x7f\r\n", "https://login.example/%7F%0D%0A"},
	} {
		if got := showURL(tc.in); got != tc.want {
			t.Errorf("showURL(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
	tt := newTerminal(t, autoApprove)
	a, err := tt.app.desk.Place(action.Form{
		Prompt: action.Prompt{Kind: action.SignIn, Issuer: "https://login.example/\x1b[2J", Scopes: []string{"a\x1b]0;owned\x07", "b\u202e"}},
		Continue: func(context.Context, string) (action.Next, error) {
			return action.Next{URL: "https://login.example/\x1b]0;owned\x07\u202e", State: "s"}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := tt.start(t.Context(), a)
	tt.types(tt.sees(asksYes))
	tt.sees(asksOpen)
	a.End(nil)
	if err := tt.ends(done); err != nil {
		t.Fatal(err)
	}
	if said := tt.screen.String(); strings.ContainsAny(said, "\x1b\x07\u202e") {
		t.Errorf("it says %q", said)
	}
}

// One paste is one answer: what comes with it, or came before it, answers nothing.
func TestPasteAnswersOneQuestion(t *testing.T) {
	tt := newTerminal(t, autoApprove)
	tt.types("no") // ahead of the question
	if _, err := io.WriteString(tt.keys, "no"); err != nil {
		t.Fatal(err)
	}
	a := tt.ask("/docs/handbook")
	done := tt.start(t.Context(), a)
	word := tt.sees(asksYes)
	tt.types("\nno matter\n" + word) // the first line began before the question
	word = tt.sees(asksYes)
	address := "http://127.0.0.1/nowhere"
	tt.types(word + "\n" + address) // the question that follows is not about this one
	tt.sees(asksOpen)
	tt.types(address + "\nno\nno")
	tt.sees(`(Not that one): `)
	a.End(nil)
	if err := tt.ends(done); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(tt.screen.String(), "Not that one"); n != 1 {
		t.Errorf("%d addresses were refused, want 1:\n%s", n, tt.screen)
	}
	next := action.New("next", action.Prompt{Kind: action.AllowAddress})
	done = tt.start(t.Context(), next)
	tt.sees(asksYes)
	next.End(action.ErrExpired)
	if err := tt.ends(done); err != action.ErrExpired {
		t.Errorf("the next question ended with %v", err)
	}
}

// However much is asked for, the question and who asks stay on the screen.
func TestPasteShowsManyScopes(t *testing.T) {
	tt := newTerminal(t, autoApprove)
	wiki, err := origin.Parse("https://wiki.example")
	if err != nil {
		t.Fatal(err)
	}
	a := action.New("id", action.Prompt{Kind: action.SignIn, Origin: wiki, Issuer: "https://login.example", Scopes: []string{strings.Repeat("scope ", 2000)}})
	done := tt.start(t.Context(), a)
	tt.sees(`Sign in at https://login\.example for https://wiki\.example\? ` + asksYes)
	if said := tt.screen.String(); len(said) > 900 || !strings.Contains(said, "scope scope") {
		t.Errorf("%d characters:\n%s", len(said), said)
	}
	a.End(nil)
	if err := tt.ends(done); err != nil {
		t.Error(err)
	}
}

func TestTypedLines(t *testing.T) {
	a := action.New("id", action.Prompt{})
	long := strings.Repeat("x", 200<<10)
	for _, tc := range []struct{ name, typed, want string }{
		{"a line", "one\n", "one"},
		{"the line end of others", "one\r\n", "one"},
		{"the first of many", "one\ntwo\n", "one"},
		{"after blank ones", "\n \r\n\x1b[200~\x1b[201~\none\n", "one"},
		{"without an end", "one", "one"},
		{"cut", long + "\n", long[:maxLine]},
		{"bracketed paste", "\x1b[200~one\x1b[201~\n", "one"},
		{"other sequences and controls", "\x1b[1;5Do\x07n\x00\u009be\x1b[A\t\x7f\n", "one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, keys := io.Pipe()
			lines := typedLines(t.Context(), in)
			asked := promptFunc(func() {
				go func() {
					_, _ = io.WriteString(keys, tc.typed)
					keys.Close()
				}()
			})
			got, err := lines.ask(t.Context(), a, asked, "?")
			if err != nil || got != tc.want {
				t.Errorf("got %d bytes %.50q, %v; want %.50q", len(got), got, err, tc.want)
			}
			if _, err := lines.ask(t.Context(), a, io.Discard, "?"); err == nil {
				t.Error("there is another answer")
			}
			<-lines.ended
		})
	}
	// It ends with its context, whoever asks.
	ctx, cancel := context.WithCancel(t.Context())
	lines := typedLines(ctx, endless{})
	cancel()
	<-lines.ended
}

// What is on its way when a question comes is dropped, and no goroutine outlives the input.
func TestTypedTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, keys := io.Pipe()
		lines := typedLines(t.Context(), in)
		types := func(text string) { _, _ = io.WriteString(keys, text) }
		asked := promptFunc(func() { go types("late\n") })
		go func() {
			types("before\n")
			time.Sleep(settleTime - 1)
			types("early\n")
		}()
		a := action.New("id", action.Prompt{})
		if got, err := lines.ask(t.Context(), a, asked, "?"); got != "late" || err != nil {
			t.Errorf("got %q, %v; want what was typed after the question", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := lines.ask(ctx, a, asked, "?"); err != context.Canceled {
			t.Errorf("interrupted: %v", err)
		}
		a.End(nil)
		if _, err := lines.ask(t.Context(), a, asked, "?"); err != errActionEnded {
			t.Errorf("after the action: %v", err)
		}
		keys.Close()
		<-lines.ended
	})
}

// promptFunc is called when the question is on the screen.
type promptFunc func()

func (f promptFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// endless is somebody who never stops typing.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, "a\n"), nil }
