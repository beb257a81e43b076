package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// TestMain makes this binary the program itself, and a person, when it is called by their names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mcp-authfetch": programCommand,
		"person":        personCommand,
	})
}

// programCommand is main, with a copy of all it writes in $OUTPUT: scripts wait for lines of it,
// and every secret of the fakes is looked for in it. $RUN names the files.
func programCommand() {
	s := surroundings{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv}
	dir := os.Getenv("OUTPUT")
	if dir == "" {
		os.Exit(execute(os.Args[1:], s))
	}
	run := os.Getenv("RUN")
	if run == "" {
		run = fmt.Sprint(os.Getpid())
	}
	file := func(kind string) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, run+"."+kind), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
		return f
	}
	s.stdout = io.MultiWriter(os.Stdout, file("stdout"))
	s.stderr = io.MultiWriter(os.Stderr, file("stderr"))
	code := execute(os.Args[1:], s)
	fmt.Fprintln(file("code"), code)
	os.Exit(code)
}

// personCommand plays a person at a browser. As login.browser it is given the URL last.
func personCommand() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := act(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "person:", err)
		os.Exit(1)
	}
}

func act(ctx context.Context, args []string) error {
	var roots *x509.CertPool
	if file := os.Getenv("PERSON_CA"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
	}
	p := oauthtest.NewPerson(roots)
	does := map[string]func(context.Context, string) error{
		"continue": p.Continue, "cancel": p.Cancel, "deny": p.Deny, "allow": allow,
		"do-nothing": func(context.Context, string) error { return nil },
		"fail":       func(context.Context, string) error { return fmt.Errorf("there is no display") },
	}
	switch {
	case len(args) == 2 && does[args[0]] != nil:
		return does[args[0]](ctx, args[1])
	case len(args) == 3 && args[0] == "code":
		return p.EnterCode(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "refuse-code":
		return p.RefuseCode(ctx, args[1], args[2])
	}
	return fmt.Errorf("cannot do %q", args)
}

// allow presses the button of a page that leads nowhere else.
func allow(_ context.Context, page string) error {
	resp, err := http.PostForm(page, url.Values{"action": {"continue"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the page answered with status %d", resp.StatusCode)
	}
	return nil
}

// cannot skips a test that this machine has not what is needed for; in CI that is a failure.
func cannot(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason + " (in CI a test may not be skipped)")
	}
	t.Skip(reason)
}
