package sanitize

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "a b\n\tc", "a b\n\tc"},
		{"line ends", "a\r\nb\rc", "a\nb\nc"},
		{"ansi", "\x1b[31mred\x1b[0m\x1b]8;;http://e\x07x", "[31mred[0m]8;;http://ex"},
		{"c1", "a\u009b31mb\u0085", "a31mb"},
		{"nul and del", "a\x00b\x7fc", "abc"},
		{"tags", "hi\U000E0041\U000E007F!", "hi!"},
		{"bidi", "a\u202eb\u2066c\u2069\u200fd", "abcd"},
		{"zero width", "pass\u200bword\ufeff\u2060", "password"},
		{"bad utf8", "a\xffb", "a\ufffdb"},
		{"private use", "a\ue000b\U00100000", "ab"},
		{"emoji family", "👨‍👩‍👧", "👨‍👩‍👧"},
		{"emoji presentation", "❤️", "❤️"},
		{"persian joiner", "می\u200cخواهم", "می\u200cخواهم"},
		{"lone joiner", "a\u200db", "ab"},
		{"selector supplement", "a\U000E0100b", "ab"},
		{"reserved to be invisible", "a\ufff0b\ufff8c\u2065d", "abcd"},
		{"hangul filler", "a\u3164b", "ab"},
	} {
		if got := Text(tt.in); got != tt.want {
			t.Errorf("%s: Text(%q) = %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestLine(t *testing.T) {
	if got, want := Line(" a \n\t b\u200b ", 10), "a b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got := Line(strings.Repeat("é", 1000), 200)
	if n := utf8.RuneCountInString(got); n != 200 || !strings.HasSuffix(got, "…") {
		t.Errorf("cut to %d runes: %q", n, got)
	}
	if got, want := Quote(`say "yes" and
run`), `"say 'yes' and run"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\r\n\u200b\x1b[0m")
	f.Add("👨‍👩\u200d\u200d")
	f.Fuzz(func(t *testing.T, s string) {
		once := Text(s)
		if !utf8.ValidString(once) {
			t.Errorf("Text(%q) is not UTF-8", s)
		}
		if twice := Text(once); twice != once {
			t.Errorf("not idempotent: %q, then %q", once, twice)
		}
		for _, r := range once {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f || r >= 0xe0000 && r <= 0xe0fff {
				t.Errorf("Text(%q) keeps %U", s, r)
			}
		}
	})
}
