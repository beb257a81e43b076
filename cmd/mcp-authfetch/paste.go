package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// typed are the lines that a person types in answer to questions. A process has one: what one reader
// has taken from stdin no other finds. What arrives while no question is open is dropped, so that a
// paste with more in it than was asked for answers nothing that comes after it.
type typed struct {
	ended chan struct{} // closed when there is nothing more to read

	mu   sync.Mutex  // guards open
	open chan string // takes the answer to the question that waits for one; nil where none does
}

// maxLine bounds what is kept of a line; no address is as long.
const maxLine = 32 << 10

// typedLines reads in until it ends or ctx does.
func typedLines(ctx context.Context, in io.Reader) *typed {
	t := &typed{ended: make(chan struct{})}
	go func() { // a read from a terminal ends with the process
		defer close(t.ended)
		var line []byte
		var question chan string // that was open when the line began
		begun := false
		buf := make([]byte, 4<<10)
		for ctx.Err() == nil {
			n, err := in.Read(buf)
			for _, c := range buf[:n] {
				if !begun {
					begun, question = true, t.current()
				}
				if c == '\n' {
					t.answer(question, string(line))
					begun, line = false, line[:0]
				} else if len(line) < maxLine {
					line = append(line, c)
				}
			}
			if err != nil {
				if begun {
					t.answer(question, string(line))
				}
				return
			}
		}
	}()
	return t
}

func (t *typed) current() chan string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// answer gives a line to the question that was open when it began, unless that has an answer.
func (t *typed) answer(question chan string, line string) {
	line = plainLine(line)
	t.mu.Lock()
	defer t.mu.Unlock()
	if question != nil && question == t.open && line != "" {
		question <- line // has room for one
		t.open = nil
	}
}

// pause waits a moment in which whatever is on its way arrives, and is dropped.
func pause(ctx context.Context, a *action.Action) error {
	moment := time.NewTimer(settleTime)
	defer moment.Stop()
	select {
	case <-a.Done():
		return errActionEnded
	case <-ctx.Done():
		return ctx.Err()
	case <-moment.C:
		return nil
	}
}

func (t *typed) set(question chan string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = question
}

// settleTime is longer than a terminal takes to hand over a paste, and shorter than people notice.
const settleTime = 150 * time.Millisecond

// ask puts a question and returns the first line after it that is not blank. It ends with the
// action, too: the browser may be on this computer after all.
func (t *typed) ask(ctx context.Context, a *action.Action, out io.Writer, question string) (line string, err error) {
	if err := pause(ctx, a); err != nil {
		return "", err
	}
	answer := make(chan string, 1)
	t.set(answer)
	defer t.set(nil)
	_, _ = io.WriteString(out, question)
	select {
	case line := <-answer:
		return line, nil
	case <-a.Done():
		return "", errActionEnded
	case <-ctx.Done():
		return "", ctx.Err()
	case <-t.ended:
	}
	select {
	case line := <-answer: // the last one
		return line, nil
	case <-a.Done():
		return "", errActionEnded
	default:
		return "", &noAnswerError{}
	}
}

// plainLine is a line without the sequences that terminals put around a paste, and without other
// control characters.
func plainLine(line string) string {
	line = controlSequence.ReplaceAllString(line, "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, line))
}

var controlSequence = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]`) // ECMA-48 §5.4

var errActionEnded = errors.New("the action has ended")

// noAnswerError: stdin ended before the person had answered.
type noAnswerError struct{}

func (e *noAnswerError) Error() string { return "there is nobody to answer: the input has ended" }
func (e *noAnswerError) Code() string  { return "login_paste" }
func (e *noAnswerError) Hint() string {
	return "run the command in a terminal, where you can type the answer and paste the address"
}

// paste does at the terminal what the page does in a browser, for a person whose browser is on
// another computer: it asks whether to go on, shows where to sign in and takes the address that the
// browser ends up at. A device code needs none of that. Nothing of what is pasted is written anywhere.
func (p *program) paste(ctx context.Context, in *typed, desk *action.Desk, a *action.Action) error {
	prompt := a.Prompt()
	if prompt.UserCode != "" {
		p.tell(prompt)
		return a.Wait(ctx)
	}
	next, err := p.agree(ctx, in, desk, a)
	if err == nil && next != "" {
		err = p.takePasted(ctx, in, desk, a, fmt.Sprintf("Open this address in the browser that you sign in with:\n\n  %s\n\n"+
			"When you have signed in, the browser is sent to an address of this computer, and may say that it cannot\n"+
			"open it. That is as it should be: copy the whole address from its address bar, paste it here, and press Enter.\n"+
			"Waiting until %s (Ctrl-C to stop) …\n", showURL(next), prompt.ExpiresAt.Local().Format("15:04")))
	}
	if errors.Is(err, errActionEnded) {
		return a.Wait(ctx)
	}
	return err
}

// agree shows who asks for what, and presses the page's button if the person types the word that the
// question has. The word is another one each time: nothing that was made before can have it.
func (p *program) agree(ctx context.Context, in *typed, desk *action.Desk, a *action.Action) (next string, err error) {
	prompt := a.Prompt()
	about := fmt.Sprintf("%s is a private address that nobody has allowed yet.\n", prompt.Origin)
	question := fmt.Sprintf("Allow %s?", prompt.Origin)
	if prompt.Kind != action.AllowAddress {
		issuer, scopes := action.ShowIssuer(prompt.Issuer), "the issuer's default"
		if len(prompt.Scopes) > 0 {
			scopes = sanitize.Line(strings.Join(prompt.Scopes, ", "), 600)
		}
		about = fmt.Sprintf("%s asks you to sign in at %s.\nIt asks for: %s\n", prompt.Origin, issuer, scopes)
		question = fmt.Sprintf("Sign in at %s for %s?", issuer, prompt.Origin)
	}
	for {
		word := strings.ToLower(rand.Text()[:4])
		line, err := in.ask(ctx, a, p.stderr, fmt.Sprintf("%s%s Type %s for yes, or no: ", about, question, word))
		if err != nil {
			fmt.Fprintln(p.stderr)
			return "", err
		}
		switch strings.ToLower(line) {
		case word:
			return desk.Continue(ctx, a)
		case "n", "no":
			a.End(action.ErrDenied)
			return "", a.Wait(ctx)
		}
		about = "That was neither.\n"
	}
}

// takePasted takes lines until one is the address that ends the action.
func (p *program) takePasted(ctx context.Context, in *typed, desk *action.Desk, a *action.Action, question string) error {
	for {
		line, err := in.ask(ctx, a, p.stderr, question)
		if err != nil {
			return err
		}
		err = desk.Answer(ctx, a, line)
		var again *action.PasteError
		if !errors.As(err, &again) {
			return err
		}
		if !a.EndedAt().IsZero() { // it ended while the line was typed
			return a.Wait(ctx)
		}
		question = fmt.Sprintf("Not that one: %s.\n  %s\n", again, again.Hint())
	}
}

// showURL is an address that a server had a part in, as a terminal may be given it: plain ASCII, and
// the same address.
func showURL(raw string) string {
	var b strings.Builder
	for _, c := range []byte(raw) {
		if c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
