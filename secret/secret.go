// Package secret holds text that must never be printed: tokens, client secrets, passphrases.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what every way of printing a [Text] yields.
const Redacted = "[redacted]"

// Text is a secret string. Printing, logging or marshalling it yields [Redacted]; only
// [Text.Reveal] returns the value. The zero Text is the empty secret. Compare with [Text.Equal].
//
// The value is behind a pointer because fmt calls no methods on unexported fields: a Text inside
// one prints as an address.
type Text struct{ value *string }

// New wraps s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the secret itself. Call it only where the value is sent or stored.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// IsZero reports whether there is no secret at all.
func (t Text) IsZero() bool { return t.value == nil }

// Equal compares without telling by its duration how much of the value was right.
func (t Text) Equal(s string) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(s)) == 1
}

// Format implements [fmt.Formatter] for every verb and flag.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.print()) }

// LogValue implements [slog.LogValuer].
func (t Text) LogValue() slog.Value { return slog.StringValue(t.print()) }

// MarshalText implements [encoding.TextMarshaler], so that JSON and the like are redacted too.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.print()), nil }

func (t Text) print() string {
	if t.IsZero() {
		return ""
	}
	return Redacted
}
