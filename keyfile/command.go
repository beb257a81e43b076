package keyfile

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strconv"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const (
	commandTime  = 10 * time.Second
	commandDelay = time.Second // the end of it, for children that keep the pipe open
	commandBytes = 64 << 10
)

// commandError says why a program gave no passphrase.
type commandError struct {
	cause  catalogue.Cause
	err    error
	values []string
}

func (e *commandError) Error() string {
	return e.cause.Fill(e.values...).Says
}

// runPassphrase runs a program, without a shell and without input, that prints the passphrase. What
// it writes to its standard error is dropped: it might tell the passphrase too. Its error is a
// [*commandError].
func runPassphrase(ctx context.Context, argv []string, limit time.Duration) (secret.Text, error) {
	limited, cancel := context.WithTimeout(ctx, limit-commandDelay)
	defer cancel()
	out := &limitedBuffer{}
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Stdout, cmd.WaitDelay = out, commandDelay
	ownGroup(cmd)
	cmd.Cancel = func() error { killGroup(cmd); return nil }
	err := cmd.Run()
	if cmd.Process != nil {
		killGroup(cmd) // what it has left behind: it is run again whenever the key changes
	}
	defer clear(out.data)
	if err := commandFault(argv[0], err, out, limit, ctx, limited); err != nil {
		return secret.Text{}, err
	}
	text := bytes.TrimSuffix(out.data, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	return secret.New(string(text)), nil
}

func commandFault(program string, err error, out *limitedBuffer, limit time.Duration, ctx, limited context.Context) error {
	fault := func(c catalogue.Cause, values ...string) error {
		return &commandError{c, err, append(values, "program", sanitize.Quote(program))}
	}
	var exit *exec.ExitError
	switch {
	case out.full:
		return fault(causeCommandLong, "limit", strconv.Itoa(commandBytes>>10))
	case err != nil && ctx.Err() != nil:
		return fault(causeCommandStatus, "detail", "the wait for it: "+ctx.Err().Error())
	case err != nil && limited.Err() != nil:
		return fault(causeCommandTime, "limit", limit.String())
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and left a child behind that holds the pipe
	case errors.As(err, &exit):
		return fault(causeCommandStatus, "detail", exit.ProcessState.String())
	case err != nil:
		return fault(causeCommandStart, "detail", startFault(err))
	}
	if len(out.data) == 0 {
		return fault(causeCommandSilent)
	}
	return nil
}

// startFault is the reason without the name, which is told before it.
func startFault(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return sanitize.Line(err.Error(), 300)
}

// limitedBuffer refuses what is too much, which ends the program that writes it.
type limitedBuffer struct {
	data []byte
	full bool
}

var errFull = errors.New("too much output")

// Write implements [io.Writer].
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > commandBytes {
		b.full = true
		return 0, errFull
	}
	b.data = append(b.data, p...)
	return len(p), nil
}
