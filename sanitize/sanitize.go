// Package sanitize makes remote text safe to show to a model, a terminal, a log or a page.
package sanitize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s as valid UTF-8 without anything that does not show itself: control characters
// except newline and tab (so no ANSI escape survives), C1 controls, Unicode tags, bidirectional
// controls, zero-width characters, variation selectors that select nothing, private-use code
// points and those reserved to be invisible. Line ends become \n. It is idempotent.
func Text(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	var last rune
	for i, r := range s {
		switch {
		case r == '\n' || r == '\t':
		case r == '\r':
			if i+1 < len(s) && s[i+1] == '\n' {
				continue
			}
			r = '\n'
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				r = utf8.RuneError
			}
		case keepJoiner(r, last):
		case hidden(r):
			continue
		}
		b.WriteRune(r)
		last = r
	}
	return b.String()
}

// Line returns s as one line of at most max runes (an ellipsis marks a cut): [Text] with every run
// of white space folded into one space and the ends trimmed.
func Line(s string, max int) string {
	// Bound the work before doing it: no rune is longer than four bytes, and hidden ones may go.
	if limit := 64 * max; len(s) > limit {
		s = s[:limit]
	}
	s = strings.Join(strings.Fields(Text(s)), " ")
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	n := 0
	for i := range s {
		if n == max-1 {
			return strings.TrimRight(s[:i], " ") + "…"
		}
		n++
	}
	return s
}

// Quote returns a remote string as it may stand in a sentence of ours: one line, at most 200
// runes, in double quotes that the text itself cannot close.
func Quote(s string) string {
	return `"` + strings.ReplaceAll(Line(s, 200), `"`, `'`) + `"`
}

// clean is the fast path: printable ASCII, newline and tab only.
func clean(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x7f || c < 0x20 && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// hidden reports whether r is dropped wherever it stands.
func hidden(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f: // C0, DEL, C1
		return true
	case r == 0xad, r == 0x34f, r == 0x61c, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x3164, r == 0xffa0:
		return true // soft hyphen, joiners and fillers that draw nothing
	case r >= 0x180b && r <= 0x180f, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff, r >= 0xfff0 && r <= 0xfffb:
		return true
	case r >= 0x1d173 && r <= 0x1d17a, r >= 0xe0000 && r <= 0xe0fff: // musical formatting; tags, selectors supplement
		return true
	}
	return unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cf, r) && !visibleFormat(r)
}

// visibleFormat: format characters that draw a mark, such as the Arabic number sign.
func visibleFormat(r rune) bool {
	return r >= 0x600 && r <= 0x605 || r == 0x6dd || r == 0x70f || r >= 0x890 && r <= 0x891 || r == 0x8e2 || r == 0x110bd || r == 0x110cd
}

// keepJoiner keeps what carries meaning inside a word or a symbol: the zero-width joiners after a
// letter of a script that needs them or after an emoji, and the emoji presentation selector.
func keepJoiner(r, last rune) bool {
	switch r {
	case 0x200c, 0x200d:
		return unicode.In(last, unicode.Arabic, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya,
			unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar) ||
			r == 0x200d && (unicode.Is(unicode.So, last) || unicode.Is(unicode.Sk, last) || last == 0xfe0f)
	case 0xfe0f:
		return unicode.Is(unicode.So, last) || last == '#' || last == '*' || last >= '0' && last <= '9' || unicode.Is(unicode.Sm, last) || unicode.Is(unicode.Po, last)
	}
	return false
}
