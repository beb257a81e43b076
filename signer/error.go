package signer

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Cause is one thing that can go wrong with a signer. {command} and the like in Says and Remedy
// stand for what is known when it happens.
type Cause struct {
	ID     string // unique, such as signer.ended
	Code   string // the stable machine code
	Says   string // one sentence without its full stop
	Remedy string
}

// Causes are all that an [Error] can be about.
func Causes() []Cause {
	const code = "tls.signer"
	return []Cause{
		{"signer.start", code, "the signer {command} cannot be started: {reason}",
			"make the first element of signer the path of a program that may be run here"},
		{"signer.ended", code, "the signer {command} ended ({status}) before it answered",
			"run the signer by hand or look at its own log; it must go on until its standard input ends"},
		{"signer.closed", code, "the signer {command} was closed", "try again"},
		{"signer.timeout", code, "the signer {command} did not answer {method} within {limit}",
			"if it waits for a touch or a PIN, give that and try again; otherwise look at its own log"},
		{"signer.line", code, "line {line} of what the signer {command} wrote {reason}",
			"let it write nothing but answers on its standard output, each a JSON object on a line (docs/signer.md)"},
		{"signer.version", code, "the signer {command} speaks version {version} of the protocol, and here it is 1",
			"install the signer that fits this version of mcp-authfetch"},
		{"signer.answer", code, "the signer {command} answered {method} with {reason}",
			"correct the signer: docs/signer.md has the members of each answer"},
		{"signer.refused", code, "the signer {command} refused {method}: {text}",
			"do what its text asks for, or look at its own log"},
		{"signer.refused_for_now", code, "the signer {command} could not {method} this time: {text}",
			"do what its text asks for and try again"},
		{"signer.chain", code, "the signer {command} gave no usable chain: {reason}",
			"have it give the certificate of its key first, then the intermediates, each as the base64 of its DER"},
		{"signer.no_key", code, "the signer {command} named neither a certificate nor a public key",
			"have it answer chain with the certificate, or with an empty chain and public_key, and name the certificate's file in cert"},
		{"signer.wrong_key", "tls.key_mismatch", "the signature that the signer {command} made is not one of the {key} key of the certificate",
			"have the signer use the key of the certificate that it gave, or of the file in cert; a wrong padding or encoding looks the same"},
		{"signer.unsupported", code, "the signer {command} cannot be asked for {what}",
			"use an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key with SHA-256, SHA-384 or SHA-512"},
	}
}

// Error says why a signer cannot be used.
type Error struct {
	ID        string // of its [Cause]
	Status    string // how the process ended, such as "exit status 3", if that is the cause
	Line      int    // which line of its output, from 1, if that is the cause
	Retryable bool   // the same may succeed later without any change
	Err       error  // from below, if any

	code, says, remedy string
}

func (e *Error) Error() string { return e.says }

// Code is the stable machine code.
func (e *Error) Code() string { return e.code }

// Hint says what to do.
func (e *Error) Hint() string { return e.remedy }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// command is what messages call a signer: its program, for arguments may be secret.
type command string

func nameOf(argv []string) command {
	return command(sanitize.Quote(filepath.Base(argv[0])))
}

// fault makes the error of a cause; values are pairs of name and text.
func (c command) fault(id string, values ...string) *Error {
	pairs := []string{"{command}", string(c)}
	for i := 0; i < len(values); i += 2 {
		pairs = append(pairs, "{"+values[i]+"}", values[i+1])
	}
	fill := strings.NewReplacer(pairs...)
	for _, cause := range Causes() {
		if cause.ID == id {
			return &Error{ID: id, code: cause.Code, says: fill.Replace(cause.Says), remedy: fill.Replace(cause.Remedy)}
		}
	}
	panic("signer: no cause " + id)
}

// badLine names a line and never shows it: it may be anything, and a key too.
func (c command) badLine(n int, reason string) *Error {
	e := c.fault("signer.line", "line", strconv.Itoa(n), "reason", reason)
	e.Line = n
	return e
}
