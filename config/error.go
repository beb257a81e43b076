package config

import (
	"fmt"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// environment is the Path of an [Error] about an environment variable.
const environment = "environment"

// notSet ends a reason that has a hint of its own.
const notSet = " is not set"

// maxErrors bounds what one Load reports.
const maxErrors = 20

// Error is one thing that is wrong. It never holds the value of a secret.
type Error struct {
	Path         string // the file; "environment" for a variable
	Line, Column int    // from 1, columns in characters; 0 where the whole file is meant
	Key          string // the setting, such as mtls.corp.key, or the variable's name
	Reason       string
	Suggestion   string // the nearest valid key, name or value; "" where none is near
}

func (e *Error) Error() string {
	text := e.Reason
	if e.Suggestion != "" {
		text += "; did you mean " + sanitize.Quote(e.Suggestion) + "?"
	}
	switch {
	case e.Path == environment && e.Key != "":
		return e.Key + ": " + text
	case e.Path == "":
		return text
	case e.Line == 0:
		return e.Path + ": " + text
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, text)
	}
}

// Code is the stable machine code of this error.
func (e *Error) Code() string { return "config" }

// Hint says what to do.
func (e *Error) Hint() string {
	switch {
	case e.Path == environment && e.Key != "":
		return "correct or unset " + e.Key + " in the environment, or in the env block of the agent's MCP entry"
	case strings.HasSuffix(e.Reason, notSet):
		return "set the variable where the program is started, such as in the env block of the agent's MCP entry"
	case e.Line == 0 && e.Reason == noSuchFile:
		return "check the path, or create a file to start from with `mcp-authfetch config init`"
	case e.Line == 0:
		return "make the file readable for you and writable for nobody else, or name another one with --config"
	case e.Suggestion != "":
		return "write " + sanitize.Quote(e.Suggestion) + ` there, or see every key with "mcp-authfetch config schema"`
	default:
		return `correct the file at that place, then try it with "mcp-authfetch config check"`
	}
}

// Errors is everything [Load] found, at most 20, in the order of the file, environment variables last.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Code is the stable machine code of this error.
func (e Errors) Code() string { return "config" }

// Hint says what to do.
func (e Errors) Hint() string {
	if len(e) == 1 {
		return e[0].Hint()
	}
	return `correct the places named, then try the file with "mcp-authfetch config check"`
}

// Unwrap lets errors.As find each [Error].
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}
