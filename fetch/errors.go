package fetch

import (
	"fmt"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// TooLargeError is a body that is not read to its end.
type TooLargeError struct {
	Limit    int64 // bytes
	Declared int64 // the Content-Length that gave it away before a byte was read, or 0
	Bomb     bool  // it unpacks to far more than was sent
}

func (e *TooLargeError) Error() string {
	switch {
	case e.Bomb:
		return fmt.Sprintf("the body is a decompression bomb: it unpacks to more than %d times its size", maxRatio)
	case e.Declared > 0:
		return fmt.Sprintf("the body is %d bytes long; the limit is %d", e.Declared, e.Limit)
	}
	return fmt.Sprintf("the body is longer than the limit of %d bytes", e.Limit)
}

// Code is the stable machine code of this error.
func (e *TooLargeError) Code() string { return "too_large" }

// Hint says what to do.
func (e *TooLargeError) Hint() string {
	if e.Bomb {
		return "do not fetch this URL again"
	}
	return "look for a smaller page, or one part of it, on the same site"
}

// EncodingError is a body that cannot be decoded.
type EncodingError struct {
	Encoding string // as the server named it
	Reason   string // ours
}

func (e *EncodingError) Error() string {
	return "the body cannot be decoded from " + sanitize.Quote(e.Encoding) + ": " + e.Reason
}

// Code is the stable machine code of this error.
func (e *EncodingError) Code() string { return "bad_encoding" }

// Hint says what to do.
func (e *EncodingError) Hint() string {
	return "try once more; if it stays, the server sends a content encoding it should not send"
}

// TimeoutError is a call that took too long.
type TimeoutError struct {
	Origin string        // where the time was spent
	Phase  string        // "connecting", "TLS handshake", "waiting for the response", "reading the body"
	After  time.Duration // since the call began
	Err    error
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("getting %s: no complete answer after %v (%s)", e.Origin, e.After, e.Phase)
}

func (e *TimeoutError) Unwrap() error { return e.Err }

// Timeout makes it a timeout to those who ask as package net does.
func (e *TimeoutError) Timeout() bool { return true }

// Code is the stable machine code of this error.
func (e *TimeoutError) Code() string { return "timeout" }

// Hint says what to do.
func (e *TimeoutError) Hint() string {
	if e.Phase == phaseNames[connecting] {
		return "check that the host can be reached from here (network, VPN, proxy)"
	}
	return "try again with a longer timeout"
}
