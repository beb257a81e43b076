package discovery

import (
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// coverage is which pages belong to which resources.
var coverage = []struct {
	resource, page string
	depth          int // -1: it does not belong to it
}{
	{"https://h.example", "https://h.example/a/b?c", 0},
	{"https://h.example", "https://h.example", 0},
	{"https://h.example", "https://user@h.example/a#f", 0},
	{"https://h.example/", "https://h.example", 0},
	{"https://h.example", "https://h.example/a/../b", 0},
	{"https://h.example/", "https://h.example/%2e%2e/b", 0},
	{"https://H.Example:443", "https://h.example./a", 0},
	{"https://bücher.example", "https://xn--bcher-kva.example/a", 0},
	{"http://127.0.0.1:1", "http://127.0.0.1:1/a", 0}, // whether it may be http is for others to say

	{"https://h.example", "https://h.example:8443/a", -1},
	{"https://h.example", "https://sub.h.example/a", -1},
	{"https://sub.h.example", "https://h.example/a", -1},
	{"https://h.example", "https://h.example.evil.example/a", -1},
	{"https://h.example", "http://h.example/a", -1},
	{"http://h.example", "https://h.example/a", -1},
	{"http://127.0.0.1:1", "https://127.0.0.1:1/a", -1},
	{"http://127.0.0.1:1", "http://127.0.0.1:2/a", -1},
	{"http://127.0.0.1:1", "http://localhost:1/a", -1},

	{"https://h.example/docs", "https://h.example/docs", 5},
	{"https://h.example/docs", "https://h.example/docs/", 5},
	{"https://h.example/docs", "https://h.example/docs/a", 5},
	{"https://h.example/docs", "https://h.example/docs?a=1", 5},
	{"https://h.example/docs", "https://h.example/docs//a", 5},
	{"https://h.example/docs", "https://h.example/docs/100%25", 5},
	{"https://h.example/docs", "https://h.example/docs/100%252525", 5},
	{"https://h.example/docs", "https://h.example/docs/100%25252525", -1},
	{"https://h.example/docs", "https://h.example/docs/caf%E9/%C3%80", 5},
	{"https://h.example/docs", "https://h.example/docs/a..b", 5},
	{"https://h.example/docs", "https://h.example/docs/...", 5},
	{"https://h.example/docs", "https://h.example/docs/.well-known/x", 5},
	{"https://h.example/docs/", "https://h.example/docs/a", 6},
	{"https://h.example/docs/", "https://h.example/docs/", 6},
	{"https://h.example/docs/a", "https://h.example/docs/a/b", 7},
	{"https://h.example/docs", "https://h.example/", -1},
	{"https://h.example/docs", "https://h.example/docsx", -1},
	{"https://h.example/docs", "https://h.example/Docs/a", -1},
	{"https://h.example/docs", "https://h.example//docs/a", -1},
	{"https://h.example/docs", "https://h.example/doc%73/a", -1},
	{"https://h.example/docs", "https://h.example/docs%2Fa", -1},
	{"https://h.example/docs", "https://h.example/docs;a", -1},
	{"https://h.example/docs/", "https://h.example/docs", -1},
	{"https://h.example/docs/a", "https://h.example/docs", -1},

	{"https://h.example/docs", "https://h.example/docs/../admin", -1},
	{"https://h.example/docs", "https://h.example/docs/..", -1},
	{"https://h.example/docs", "https://h.example/docs/.", -1},
	{"https://h.example/docs", "https://h.example/docs/./a", -1},
	{"https://h.example/docs", "https://h.example/docs/%2e%2E/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/.%2e/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/..%2fadmin", -1},
	{"https://h.example/docs", "https://h.example/docs/a%2f..%2f..%2fadmin", -1},
	{"https://h.example/docs", "https://h.example/docs/..%5cadmin", -1},
	{"https://h.example/docs", `https://h.example/docs/..\admin`, -1},
	{"https://h.example/docs", "https://h.example/docs/..;/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/..;a=b/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/..%3b/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/%252e%252e/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/%252%65%252%65/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/x%25/%252e%252e%252fadmin", -1},
	{"https://h.example/docs", "https://h.example/docs/%2525252525252e", -1},
	{"https://h.example/docs", "https://h.example/docs/%c0%ae%c0%ae/admin", -1},
	{"https://h.example/docs", "https://h.example/docs/x%c0%af..%c0%afadmin", -1},
	{"https://h.example/docs", "https://h.example/docs/%25c0%25ae./admin", -1},
	{"https://h.example/docs", "https://h.example/docs/%e0%80%ae%e0%80%ae/admin", -1},
	{"https://h.example/docs/../x", "https://h.example/docs/../x", 10},
	{"https://h.example/docs/..", "https://h.example/docs/../x", -1},

	{"https://h.example/p?tenant=a", "https://h.example/p?tenant=a", 11},
	{"https://h.example?tenant=a", "https://h.example/?tenant=a", 9},
	{"https://h.example/p?", "https://h.example/p?", 3},
	{"https://h.example/p?tenant=a", "https://h.example/p?tenant=b", -1},
	{"https://h.example/p?tenant=a", "https://h.example/p?tenant=a&b", -1},
	{"https://h.example/p?tenant=a", "https://h.example/p", -1},
	{"https://h.example/p?tenant=a", "https://h.example/p/x?tenant=a", -1},
	{"https://h.example/p?", "https://h.example/p", -1},

	{"", "https://h.example/", -1},
	{"urn:x", "https://h.example/", -1},
	{"h.example", "https://h.example/", -1},
	{"//h.example", "https://h.example/", -1},
	{"https:h.example", "https://h.example/", -1},
	{"https://h.example:0", "https://h.example/", -1},
	{"https://h.example:", "https://h.example/", -1},
	{"https://u@h.example", "https://h.example/", -1},
	{"https://h.example/#", "https://h.example/", -1},
	{"https://h.example/#f", "https://h.example/", -1},
	{"https://h.example/ ", "https://h.example/", -1},
	{`https://h.example\`, "https://h.example/", -1},
	{"https://h.example/a\nb", "https://h.example/", -1},
	{"https://h.example/" + strings.Repeat("a", MaxURLBytes), "https://h.example/" + strings.Repeat("a", MaxURLBytes), -1},
	{"%", "https://h.example/", -1},
	{"https://h.example", "file:///etc/passwd", -1},
	{"https://[fe80::1%25lo]", "https://[fe80::1%25lo]/", -1},
}

func TestCovers(t *testing.T) {
	for _, tt := range coverage {
		got, ok := Covers(tt.resource, parse(t, tt.page))
		if want := max(tt.depth, 0); ok != (tt.depth >= 0) || got != want {
			t.Errorf("%s covers %s: %d, %v; want %d, %v", tt.resource, tt.page, got, ok, want, tt.depth >= 0)
		}
	}
}

// What a server makes of a path can only be guessed; whatever decoding it does, what is meant for
// one path must not arrive at another.
func FuzzCovers(f *testing.F) {
	if len(coverage) == 0 {
		f.Fatal("there are no seeds")
	}
	for _, tt := range coverage {
		f.Add(tt.resource, tt.page)
	}
	f.Fuzz(func(t *testing.T, resource, page string) {
		p, err := url.Parse(page)
		if err != nil {
			return
		}
		depth, ok := Covers(resource, p)
		if !ok {
			if depth != 0 {
				t.Errorf("depth %d of nothing", depth)
			}
			return
		}
		r, err := url.Parse(resource)
		if err != nil {
			t.Fatal(err)
		}
		from, err := origin.Of(r)
		if to, err2 := origin.Of(p); err != nil || err2 != nil || from != to {
			t.Errorf("%q covers %q of another origin", resource, page)
		}
		if again, ok := Covers(resource, r); !ok || again != depth {
			t.Errorf("%q has depth %d, and covers itself %d, %v", resource, depth, again, ok)
		}
		prefix, path := strings.TrimSuffix(r.EscapedPath(), "/"), p.EscapedPath()
		if path == r.EscapedPath() || prefix == "" {
			return
		}
		if !strings.HasPrefix(path, prefix+"/") {
			t.Errorf("%q covers %q", resource, page)
		}
		for range 3 {
			for _, split := range []string{"/", `\`} {
				for segment := range strings.SplitSeq(path, split) {
					if segment == ".." || strings.HasPrefix(segment, "..;") {
						t.Errorf("%q covers %q, which has a .. in it", resource, page)
					}
				}
			}
			if path, err = url.PathUnescape(path); err != nil {
				return
			}
		}
	})
}
