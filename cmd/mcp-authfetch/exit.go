package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// The exit codes.
const (
	exitOK      = 0
	exitOther   = 1
	exitUsage   = 2 // usage or config
	exitNetwork = 3 // network or TLS
	exitLogin   = 4 // a login is needed, or was refused
	exitStatus  = 5 // the server answered with an error status
)

// usageError is a command line that cannot be run.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Code() string  { return "usage" }

// statusError: the server answered with an error status; its page was printed.
type statusError struct{ status int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered with status %d", e.status)
}
func (e *statusError) Code() string { return fmt.Sprintf("http_%d", e.status) }

// checkError: a check of doctor failed; its lines were printed.
type checkError struct{ code int }

func (e *checkError) Error() string { return "a check failed" }

// exitCode maps an error to the code of the process.
func exitCode(err error) int {
	var check *checkError
	if errors.As(err, &check) {
		return check.code
	}
	var need *auth.ActionRequired
	if errors.As(err, &need) {
		return exitLogin
	}
	// Files of the config are the config's: it must be mended, not the network.
	var load *tlsmat.LoadError
	if errors.As(err, &load) {
		return exitUsage
	}
	code := errorCode(err)
	for prefix, exit := range map[string]int{
		"usage": exitUsage, "config": exitUsage, "invalid_url": exitUsage, "http.listen": exitUsage, "login.port": exitUsage,
		"network.": exitNetwork, "tls.": exitNetwork, "timeout": exitNetwork,
		"login_": exitLogin, "oauth.": exitLogin,
		"http_": exitStatus,
	} {
		if strings.HasPrefix(code, prefix) {
			return exit
		}
	}
	return exitOther
}

func errorCode(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return ""
}

func errorHint(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// report tells an error to the person at the terminal and returns the exit code.
func (p *program) report(cmd *cobra.Command, err error) int {
	var check *checkError
	if errors.As(err, &check) {
		return check.code // the lines said it
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(p.stderr, "mcp-authfetch: interrupted")
		return exitOther
	}
	for _, one := range each(err) {
		fmt.Fprintf(p.stderr, "mcp-authfetch: %s%s\n", sanitize.Text(one.Error()), inBrackets(errorCode(one)))
		if hint := errorHint(one); hint != "" {
			fmt.Fprintf(p.stderr, "  %s\n", sanitize.Text(hint))
		}
	}
	var redirect *fetch.RedirectError
	if errors.As(err, &redirect) && redirect.Target() != "" {
		fmt.Fprintf(p.stderr, "  it leads to %s\n", redirect.Target())
	}
	code := exitCode(err)
	if errorCode(err) == "usage" && cmd != nil {
		fmt.Fprintf(p.stderr, "  see `%s --help`\n", cmd.CommandPath())
	}
	return code
}

// each is what was joined, or the error alone. Those of the config have one remedy together.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if _, ofConfig := err.(config.Errors); !ok || ofConfig {
		return []error{err}
	}
	return joined.Unwrap()
}

// inBrackets is a code behind a message, for those who look it up.
func inBrackets(code string) string {
	if code == "" || code == "usage" || code == "config" {
		return "" // says nothing that the message does not
	}
	return " [" + code + "]"
}
