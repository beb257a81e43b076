package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// typed are the lines that a person types. A process has one: what one reader has taken from stdin
// no other finds.
type typed struct{ lines chan string }

// typedLines reads in until it ends or ctx does; the channel is closed then. A line longer than any
// address is cut.
func typedLines(ctx context.Context, in io.Reader) *typed {
	t := &typed{lines: make(chan string)}
	go func() { // a read from a terminal ends with the process
		defer close(t.lines)
		r := bufio.NewReaderSize(in, 32<<10)
		for {
			line, more, err := r.ReadLine()
			text := string(line)
			for more && err == nil {
				_, more, err = r.ReadLine()
			}
			if err != nil && text == "" {
				return
			}
			select {
			case t.lines <- text:
			case <-ctx.Done():
				return
			}
		}
	}()
	return t
}

// next returns a line that is not blank. It ends with the action, too: the browser may be on this
// computer after all.
func (t *typed) next(ctx context.Context, a *action.Action) (line string, err error) {
	for {
		select {
		case <-a.Done():
			return "", errActionEnded
		case <-ctx.Done():
			return "", ctx.Err()
		case line, ok := <-t.lines:
			switch {
			case ok && strings.TrimSpace(line) != "":
				return line, nil
			case !ok && a.EndedAt().IsZero():
				return "", &noAnswerError{}
			}
		}
	}
}

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
		fmt.Fprintf(p.stderr, "Open this address in the browser that you sign in with:\n\n  %s\n\n"+
			"When you have signed in, the browser is sent to an address of this computer, and may say that it cannot\n"+
			"open it. That is as it should be: copy the whole address from its address bar, paste it here, and press Enter.\n"+
			"Waiting until %s (Ctrl-C to stop) …\n", showURL(next), prompt.ExpiresAt.Local().Format("15:04"))
		err = p.takePasted(ctx, in, desk, a)
	}
	if errors.Is(err, errActionEnded) {
		return a.Wait(ctx)
	}
	return err
}

// agree shows who asks for what, and presses the page's button if the person says yes.
func (p *program) agree(ctx context.Context, in *typed, desk *action.Desk, a *action.Action) (next string, err error) {
	prompt := a.Prompt()
	if prompt.Kind == action.AllowAddress {
		fmt.Fprintf(p.stderr, "%s is a private address that nobody has allowed yet.\nAllow it? Type yes or no: ", prompt.Origin)
	} else {
		scopes := "the issuer's default"
		if len(prompt.Scopes) > 0 {
			scopes = sanitize.Line(strings.Join(prompt.Scopes, ", "), 8<<10)
		}
		fmt.Fprintf(p.stderr, "%s asks you to sign in at %s.\nIt asks for: %s\nGo on? Type yes or no: ", prompt.Origin, action.ShowIssuer(prompt.Issuer), scopes)
	}
	for {
		line, err := in.next(ctx, a)
		if err != nil {
			fmt.Fprintln(p.stderr)
			return "", err
		}
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return desk.Continue(ctx, a)
		case "n", "no":
			a.End(action.ErrDenied)
			return "", a.Wait(ctx)
		}
		fmt.Fprint(p.stderr, "Type yes or no: ")
	}
}

// takePasted takes lines until one is the address that ends the action.
func (p *program) takePasted(ctx context.Context, in *typed, desk *action.Desk, a *action.Action) error {
	for {
		line, err := in.next(ctx, a)
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
		fmt.Fprintf(p.stderr, "Not that one: %s.\n  %s\n", again, again.Hint())
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
