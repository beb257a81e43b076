// Command mcp-authfetch is an MCP server whose webfetch tool gets a URL even when it sits behind an
// OAuth login or demands a client certificate.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

func main() {
	os.Exit(execute(os.Args[1:], surroundings{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv}))
}

// execute runs one command line to its end, or until a signal asks it to stop.
func execute(args []string, s surroundings) int {
	// net/http writes what servers send to the standard logger: remote text without a bound, which may
	// repeat what was sent to them.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	return run(ctx, args, s)
}

// surroundings are what a process is given from outside.
type surroundings struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) (string, bool)
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, s surroundings) int {
	// A command acts for the person who started it.
	ctx = principal.With(ctx, principal.Local)
	p := &program{surroundings: s}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(s.stdin)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return p.report(cmd, err)
}
