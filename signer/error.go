package signer

import (
	"path/filepath"
	"strconv"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Causes are all that an [Error] can be about.
func Causes() []catalogue.Cause {
	const code = "tls.signer"
	return []catalogue.Cause{
		{ID: "signer.start", Code: code,
			Says:   "the signer {command} cannot be started: {reason}",
			Remedy: "make the first element of signer the path of a program that may be run here"},
		{ID: "signer.ended", Code: code,
			Says:   "the signer {command} ended ({status}) before it answered",
			Remedy: "run the signer by hand or look at its own log; it must go on until its standard input ends"},
		{ID: "signer.closed", Code: code,
			Says:   "the signer {command} was closed",
			Remedy: "try again"},
		{ID: "signer.timeout", Code: code,
			Says:   "the signer {command} did not answer {method} within {limit}",
			Remedy: "if it waits for a touch or a PIN, give that and try again; otherwise look at its own log"},
		{ID: "signer.line", Code: code,
			Says:   "line {line} of what the signer {command} wrote {reason}",
			Remedy: "let it write nothing but answers on its standard output, each a JSON object on a line (docs/signer.md)"},
		{ID: "signer.version", Code: code,
			Says:   "the signer {command} speaks version {version} of the protocol, and here it is 1",
			Remedy: "install the signer that fits this version of mcp-authfetch"},
		{ID: "signer.answer", Code: code,
			Says:   "the signer {command} answered {method} with {reason}",
			Remedy: "correct the signer: docs/signer.md has the members of each answer"},
		{ID: "signer.refused", Code: code,
			Says:   "the signer {command} refused {method}: {text}",
			Remedy: "do what its text asks for, or look at its own log"},
		{ID: "signer.refused_for_now", Code: code,
			Says:   "the signer {command} could not {method} this time: {text}",
			Remedy: "do what its text asks for and try again"},
		{ID: "signer.chain", Code: code,
			Says:   "the signer {command} gave no usable chain: {reason}",
			Remedy: "have it give the certificate of its key first, then the intermediates, each as the base64 of its DER"},
		{ID: "signer.no_key", Code: code,
			Says:   "the signer {command} named neither a certificate nor a public key",
			Remedy: "have it answer chain with the certificate, or with an empty chain and public_key, and name the certificate's file in cert"},
		{ID: "signer.wrong_key", Code: "tls.key_mismatch",
			Says:   "the signature that the signer {command} made is not one of the {key} key of the certificate",
			Remedy: "have the signer use the key of the certificate that it gave, or of the file in cert; a wrong padding or encoding looks the same"},
		{ID: "signer.unsupported", Code: code,
			Says:   "the signer {command} cannot be asked for {what}",
			Remedy: "use an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key with SHA-256, SHA-384 or SHA-512"},
	}
}

// Error says why a signer cannot be used.
type Error struct {
	ID        string // of its cause
	Status    string // how the process ended, such as "exit status 3", if that is the cause
	Line      int    // which line of its output, from 1, if that is the cause
	Retryable bool   // the same may succeed later without any change
	Err       error  // from below, if any

	told catalogue.Cause
}

func (e *Error) Error() string { return e.told.Says }

// Code is the stable machine code.
func (e *Error) Code() string { return e.told.Code }

// Hint says what to do.
func (e *Error) Hint() string { return e.told.Remedy }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// command is what messages call a signer: its program, for arguments may be secret.
type command string

func nameOf(argv []string) command {
	return command(sanitize.Quote(filepath.Base(argv[0])))
}

// fault makes the error of a cause; values are pairs of name and text.
func (c command) fault(id string, values ...string) *Error {
	for _, cause := range Causes() {
		if cause.ID == id {
			return &Error{ID: id, told: cause.Fill(append(values, "command", string(c))...)}
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
