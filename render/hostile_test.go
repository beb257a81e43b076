package render

import (
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile pages are those whose shape costs a careless converter more than linear time or space.
var hostile = map[string]func(n int) string{
	"nested div":         func(n int) string { return strings.Repeat("<div>", n) + "needle" },
	"nested span":        func(n int) string { return strings.Repeat("<span>a ", n) + "needle" },
	"nested list":        func(n int) string { return strings.Repeat("<ul><li>", n) + "needle" },
	"nested quotation":   func(n int) string { return strings.Repeat("<blockquote>", n) + "needle" },
	"nested table":       func(n int) string { return strings.Repeat("<table><tr><td>", n) + "needle" },
	"nested del":         func(n int) string { return strings.Repeat("<del>a ", n) + "needle" },
	"unclosed b":         func(n int) string { return strings.Repeat("<b>", n) + "needle" },
	"unclosed mix":       func(n int) string { return strings.Repeat("<p><b><i><a href=x>y", n) + " needle" },
	"misnested":          func(n int) string { return strings.Repeat("<b><p>", n) + strings.Repeat("</b>", n) + "needle" },
	"unmatched end tags": func(n int) string { return strings.Repeat("a</x></div>", n) + " needle" },
	"less than":          func(n int) string { return strings.Repeat("<", n) + " needle" },
	"open bracket":       func(n int) string { return strings.Repeat("[", n) + " needle" },
	"backtick":           func(n int) string { return strings.Repeat("` ", n) + " needle" },
	"paragraphs":         func(n int) string { return strings.Repeat("<p>", n) + "needle" },
	"comments in text":   func(n int) string { return strings.Repeat("a<!---->", n) + " needle" },
	"empty blocks":       func(n int) string { return strings.Repeat("a<p></p>", n) + "needle" },
	"empty tables":       func(n int) string { return strings.Repeat("a<table>b</table>", n) + "needle" },
	"text between rows":  func(n int) string { return "<table>" + strings.Repeat("a <tr>", n) + "needle" },
	"one wide row":       func(n int) string { return "<table><tr>" + strings.Repeat("<td>x", n) + "<td>needle" },
	"more holes than": func(n int) string {
		return "<table><tr>" + strings.Repeat("<td>x", n) + strings.Repeat("<tr><td>x", n) + "<td>needle"
	},
	"spans": func(n int) string {
		return "<table>" + strings.Repeat("<tr><td colspan=32 rowspan=32>x<td>y", n) + "<td>needle"
	},
	"quoted line ends": func(n int) string {
		return strings.Repeat("<blockquote>", 6) + "<pre>x" + strings.Repeat("\n", n) + "needle"
	},
	"long base": func(n int) string {
		return "<base href=https://e.example/" + strings.Repeat("a", 1900) + "/>" + strings.Repeat("<a href=x>y </a>", n) + "needle"
	},
	"attributes":          func(n int) string { return "<p " + strings.Repeat("a=b ", n) + ">needle" },
	"comments in a style": func(n int) string { return "<p style='" + strings.Repeat("/**/", n) + "'>needle" },
}

// Four times the page may cost four times the memory, not sixteen times: copying what is already
// there for every new piece is how conversion becomes quadratic.
func TestHostilePagesAreLinear(t *testing.T) {
	u, err := url.Parse("https://site.example/")
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	for name, page := range hostile {
		for _, format := range []Format{Markdown, Text} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				small := allocated(t, Input{Body: []byte(page(n)), ContentType: "text/html", URL: u, Format: format})
				large := allocated(t, Input{Body: []byte(page(4 * n)), ContentType: "text/html", URL: u, Format: format})
				if limit := uint64(2000*len(page(4*n)) + 8<<20); large > limit {
					t.Errorf("a page of %d bytes took %d bytes, more than %d", len(page(4*n)), large, limit)
				}
				if large > 8*small && large > 4<<20 {
					t.Errorf("four times the page took %d bytes instead of %d", large, small)
				}
			})
		}
	}
}

// allocated renders a page whose last word is "needle" and returns how much memory that took.
func allocated(t *testing.T, in Input) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	doc, err := Render(in)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(doc.Text, "needle") {
		t.Errorf("the last word of the page is lost: %.200q", doc.Text)
	}
	if limit := 8*len(in.Body) + 64<<10; len(doc.Text) > limit {
		t.Errorf("%d bytes became %d, more than %d", len(in.Body), len(doc.Text), limit)
	}
	return after.TotalAlloc - before.TotalAlloc
}

func TestTreeIsShallow(t *testing.T) {
	for _, tag := range []string{"div", "p", "ul", "ul><li", "blockquote", "table><tr><td", "dl><dd", "a href=x", "b", "h1", "span", "section"} {
		tree := newTree(&resolver{})
		walk(strings.Repeat("<"+tag+">a", 5000), tree, tree.links, false)
		depth := 0
		for n := range tree.finish().Descendants() {
			d := 0
			for range n.Ancestors() {
				d++
			}
			depth = max(depth, d)
		}
		if depth > 101 {
			t.Errorf("<%s>: the tree is %d deep, too deep to be walked by recursion", tag, depth)
		}
	}
}

func TestHugePages(t *testing.T) {
	for name, body := range map[string]string{
		"100 000 nested div":  strings.Repeat("<div>", 100_000) + "needle",
		"20 000 unclosed b":   strings.Repeat("<b>", 20_000) + "needle",
		"1 MB of less than":   strings.Repeat("<", 1<<20) + " needle",
		"1 MB of brackets":    strings.Repeat("[", 1<<20) + " needle",
		"500 000 paragraphs":  strings.Repeat("<p>", 500_000) + "needle",
		"words keep apart":    strings.Repeat("<div>a", 200) + "<div>b</div><div>needle</div>",
		"deep and then plain": strings.Repeat("<div>", 100_000) + strings.Repeat("</div>", 100_000) + "<h2>x</h2><p>needle",
	} {
		t.Run(name, func(t *testing.T) {
			for _, format := range []Format{Markdown, Text} {
				began := time.Now()
				doc, err := Render(Input{Body: []byte(body), ContentType: "text/html", Format: format})
				// Quadratic work at these sizes takes minutes; the bound leaves room for slow machines.
				if took := time.Since(began); took > time.Minute {
					t.Errorf("%s took %v", format, took)
				}
				if err != nil || !strings.Contains(doc.Text, "needle") || strings.Contains(doc.Text, "bneedle") {
					t.Errorf("%s: %v, %d bytes of text without the last word on its own", format, err, len(doc.Text))
				}
			}
		})
	}
}

// A page whose Markdown would outgrow the bound comes as text instead.
func TestOversizeFallsBackToText(t *testing.T) {
	body := []byte(strings.Repeat("<blockquote>", 6) + "<pre>x" + strings.Repeat("\n", 1<<19) + "needle")
	doc, err := Render(Input{Body: body, ContentType: "text/html"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(doc.Text, "needle") || len(doc.Text) > 8*len(body) {
		t.Errorf("got %d bytes, ending in %q", len(doc.Text), doc.Text[max(0, len(doc.Text)-20):])
	}
}
