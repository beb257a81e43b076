package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Page is a part of a text. Start and End count runes of the whole text, of which there are Length.
type Page struct {
	Text               string
	Start, End, Length int
}

// RangeError is a start outside the text.
type RangeError struct{ Start, Length int }

func (e *RangeError) Error() string {
	return fmt.Sprintf("start %d is outside the text of %d characters", e.Start, e.Length)
}

// Code is the stable machine code of this error.
func (e *RangeError) Code() string { return "start_out_of_range" }

// Hint says what to do.
func (e *RangeError) Hint() string {
	return fmt.Sprintf("use a start_index from 0 to %d", e.Length)
}

// Cut returns the page of at most max runes that begins at rune start; max below 1 means the whole
// rest. It ends at a line end if there is one in the last tenth of the window, and never between a
// character and its combining marks unless that is all the window holds. Reading on from End until
// End is Length gives the text without gap or overlap.
func Cut(text string, start, max int) (Page, error) {
	length := utf8.RuneCountInString(text)
	if start < 0 || start > length {
		return Page{}, &RangeError{start, length}
	}
	rest := text[byteOffset(text, start):]
	if max < 1 || length-start <= max {
		return Page{rest, start, length, length}, nil
	}
	window := rest[:byteOffset(rest, max)]
	cut := len(window)
	if tail := byteOffset(window, max-max/10); strings.Contains(window[tail:], "\n") {
		cut = strings.LastIndexByte(window, '\n') + 1
	} else {
		cut = boundary(rest, cut)
	}
	return Page{rest[:cut], start, start + utf8.RuneCountInString(rest[:cut]), length}, nil
}

// byteOffset is where rune n of s begins.
func byteOffset(s string, n int) int {
	i := 0
	for ; n > 0 && i < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return i
}

// boundary moves a cut back to the nearest place that splits no cluster, or leaves it if there is
// none within 64 runes.
func boundary(s string, cut int) int {
	at := cut
	for range 64 {
		if !joined(s, at) {
			return at
		}
		_, size := utf8.DecodeLastRuneInString(s[:at])
		if at -= size; at == 0 {
			break
		}
	}
	return cut
}

// joined reports whether the runes around s[at] belong together: the rules GB9, GB9a, GB11 and
// GB12 of UAX #29 in a simpler form.
func joined(s string, at int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:at])
	after, _ := utf8.DecodeRuneInString(s[at:])
	switch {
	case unicode.Is(unicode.M, after), after == 0x200c, after == 0x200d, after >= 0x1f3fb && after <= 0x1f3ff:
		return before != '\n'
	case before == 0x200d:
		return unicode.Is(unicode.So, after)
	case regional(after):
		return flagsBefore(s[:at])%2 == 1
	}
	return false
}

func regional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// flagsBefore counts the regional indicators at the end of s: two make a flag.
func flagsBefore(s string) int {
	n := 0
	for n < 64 {
		r, size := utf8.DecodeLastRuneInString(s)
		if !regional(r) {
			break
		}
		n++
		s = s[:len(s)-size]
	}
	return n
}
