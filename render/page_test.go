package render

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		name       string
		text       string
		start, max int
		want       string
		end, len   int
	}{
		{"all", "abc", 0, 10, "abc", 3, 3},
		{"exactly all", "abc", 0, 3, "abc", 3, 3},
		{"no maximum", "abc", 1, 0, "bc", 3, 3},
		{"first", "abcdef", 0, 4, "abcd", 4, 6},
		{"second", "abcdef", 4, 4, "ef", 6, 6},
		{"at the end", "abc", 3, 4, "", 3, 3},
		{"empty", "", 0, 4, "", 0, 0},
		{"runes, not bytes", "日本語文", 1, 2, "本語", 3, 4},
		{"line end in the last tenth", "abcdefgh\nijkl", 0, 10, "abcdefgh\ni", 10, 13},
		{"line end at the last place", "abcdefghi\njkl", 0, 10, "abcdefghi\n", 10, 13},
		{"line end near the end", strings.Repeat("a", 94) + "\nbbbbbbbbbb", 0, 100, strings.Repeat("a", 94) + "\n", 95, 105},
		{"line end too early", "a\n" + strings.Repeat("b", 200), 0, 100, "a\n" + strings.Repeat("b", 98), 100, 202},
		{"combining mark", "abce\u0301f", 0, 4, "abc", 3, 6},
		{"two marks", "abce\u0301\u0323f", 0, 5, "abc", 3, 7},
		{"only marks", "e\u0301\u0301\u0301", 0, 2, "e\u0301", 2, 4},
		{"emoji joined", "ab👩\u200d💻c", 0, 4, "ab", 2, 6},
		{"skin tone", "ab👍🏽c", 0, 3, "ab", 2, 5},
		{"flags", "🇫🇷🇩🇪", 0, 3, "🇫🇷", 2, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Cut(tt.text, tt.start, tt.max)
			want := Page{tt.want, tt.start, tt.end, tt.len}
			if err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestCutOutside(t *testing.T) {
	for _, start := range []int{-1, 4} {
		_, err := Cut("abc", start, 1)
		var e *RangeError
		if !errors.As(err, &e) || e.Start != start || e.Length != 3 || e.Code() == "" || e.Hint() == "" {
			t.Errorf("start %d: %v", start, err)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("line one\nline two e\u0301 👩\u200d💻 🇫🇷🇩🇪\n\n日本語", 5)
	f.Add(strings.Repeat("\u0301", 200), 7)
	f.Add("a\xff\xfeb", 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		check(t, text, size%100)
		for _, size := range []int{1, 2, 3, 7, 50, 1000} {
			check(t, text, size)
		}
	})
}

// check: pages joined give the text back, each makes progress and keeps to its size.
func check(t *testing.T, text string, size int) {
	t.Helper()
	length := utf8.RuneCountInString(text)
	var joined strings.Builder
	for start := 0; start < length; {
		p, err := Cut(text, start, size)
		if err != nil {
			t.Fatal(err)
		}
		n := utf8.RuneCountInString(p.Text)
		if p.Start != start || p.End != start+n || n == 0 || size > 0 && n > size || p.Length != length {
			t.Fatalf("Cut(%q, %d, %d) = %+v", text, start, size, p)
		}
		joined.WriteString(p.Text)
		start = p.End
	}
	if joined.String() != text {
		t.Fatalf("pages of %d of %q give %q", size, text, joined.String())
	}
}
