package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/render"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

func (p *program) fetchCommand() *cobra.Command {
	var format string
	var timeout time.Duration
	var noLogin bool
	cmd := &cobra.Command{
		Use: "fetch URL", Short: "Fetch a page as webfetch does: the page on stdout, the rest on stderr", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFetch(args[0], render.Format(format), timeout); err != nil {
				return err
			}
			a, err := p.build(cmd.Context(), atHome)
			if err != nil {
				return err
			}
			defer a.close()
			wait := p.wait
			if noLogin {
				wait = nil
			}
			page, err := p.get(cmd.Context(), a, fetch.Request{URL: args[0], Timeout: timeout}, wait)
			if err != nil {
				return err
			}
			return p.print(a, page, render.Format(format))
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "markdown", "markdown, text, html or raw; raw writes files that are no text as they are")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long fetching may take")
	cmd.Flags().BoolVar(&noLogin, "no-login", false, "exit with code 4 instead of waiting when a person must sign in")
	return cmd
}

// checkFetch finds what is wrong with the command line before anybody is asked to sign in.
func checkFetch(url string, format render.Format, timeout time.Duration) error {
	if _, err := fetch.ParseURL(url); err != nil {
		return err
	}
	if _, err := render.Render(render.Input{Format: format}); err != nil {
		return &usageError{err}
	}
	if timeout <= 0 {
		return &usageError{fmt.Errorf("--timeout is %v; it must be more than nothing", timeout)}
	}
	return nil
}

// maxAsked is how often one command asks: allowing an address, signing in, signing in for more.
const maxAsked = 3

// get fetches, and waits for what a person must do. wait nil: nobody is asked.
func (p *program) get(ctx context.Context, a *app, r fetch.Request, wait func(context.Context, *action.Action) error) (*fetch.Page, error) {
	for asked := 0; ; asked++ {
		page, err := a.fetch.Get(ctx, r)
		var need *auth.ActionRequired
		if !errors.As(err, &need) {
			return page, err
		}
		if wait == nil || asked == maxAsked {
			return nil, need
		}
		if err := wait(ctx, need.Action); err != nil {
			return nil, err
		}
		fmt.Fprintln(p.stderr, "Done.")
	}
}

// wait shows an action at the terminal until it has ended.
func (p *program) wait(ctx context.Context, a *action.Action) error {
	p.tell(a.Prompt())
	return a.Wait(ctx)
}

// tell shows an action at the terminal.
func (p *program) tell(prompt action.Prompt) {
	var b strings.Builder
	if prompt.Kind == action.AllowAddress {
		fmt.Fprintf(&b, "%s is a private address that nobody has allowed yet.\n", prompt.Origin)
	} else {
		fmt.Fprintf(&b, "%s asks you to sign in at %s.\n", prompt.Origin, action.ShowIssuer(prompt.Issuer))
		if len(prompt.Scopes) > 0 {
			fmt.Fprintf(&b, "It asks for: %s\n", sanitize.Line(strings.Join(prompt.Scopes, ", "), 600))
		}
	}
	switch {
	case prompt.UserCode != "":
		fmt.Fprintf(&b, "Open this address, and enter the code %s there:\n\n  %s\n", prompt.UserCode, prompt.VerificationURI)
		if prompt.VerificationURIComplete != "" {
			fmt.Fprintf(&b, "\nor this one, which has the code in it:\n\n  %s\n", prompt.VerificationURIComplete)
		}
	case prompt.Opened:
		fmt.Fprintf(&b, "A browser window was opened. If you do not see it, open:\n\n  %s\n", prompt.URL)
	default:
		fmt.Fprintf(&b, "Open this address in a browser on this computer:\n\n  %s\n", prompt.URL)
		if prompt.Kind == action.SignIn {
			b.WriteString("\nIf your browser is on another computer, stop this and use `mcp-authfetch login --paste` with the URL.\n")
		}
	}
	fmt.Fprintf(&b, "\nWaiting until %s (Ctrl-C to stop) …\n", prompt.ExpiresAt.Local().Format("15:04"))
	_, _ = io.WriteString(p.stderr, b.String())
}

// print writes the page. A status of 400 or more is an error after the page is out.
func (p *program) print(a *app, page *fetch.Page, format render.Format) error {
	doc, err := render.Render(render.Input{Body: page.Body, ContentType: page.ContentType, URL: page.FinalURL, Format: format})
	if err != nil {
		return &usageError{err}
	}
	if doc.Kind != render.KindText && (doc.Kind == render.KindImage || format == render.Raw) && isTerminal(p.stdout) {
		return &usageError{errors.New("this is no text, and stdout is a terminal: write it to a file with > FILE")}
	}
	switch doc.Kind {
	case render.KindText:
		text := doc.Text
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		_, err = io.WriteString(p.stdout, text)
	case render.KindImage:
		_, err = p.stdout.Write(doc.Image)
	case render.KindBinary:
		if format == render.Raw {
			_, err = p.stdout.Write(page.Body)
		} else {
			_, err = fmt.Fprintln(p.stderr, doc.Note, "`--format raw` writes it to stdout.")
		}
	}
	if err != nil {
		return err
	}
	if page.SignIn() {
		return &signInError{nameOf(page.URL)}
	}
	return a.failedStatus(page)
}

// signInError: a site gave its sign-in page in place of what was asked for; it was printed.
type signInError struct{ site string }

func (e *signInError) Error() string {
	return e.site + " answered with a sign-in page, not the page you asked for"
}
func (e *signInError) Code() string { return "login_page" }
func (e *signInError) Hint() string {
	return "it wants people to sign in with a browser and does not offer OAuth to programs; a key, a cookie or a client certificate for the site can be put under sites in the config"
}

func nameOf(u *url.URL) string {
	o, err := origin.Of(u)
	if err != nil {
		return "the site"
	}
	return o.String()
}

// isTerminal: bytes of a stranger's file could command it.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
