package render

import (
	"bytes"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func page(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse("https://docs.example/guide/page.html?v=2")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.html")
	if err != nil || len(inputs) < 12 {
		t.Fatalf("%d golden pages, want at least 12 (%v)", len(inputs), err)
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".in.html")
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []struct {
				format Format
				ext    string
			}{{Markdown, ".out.md"}, {Text, ".out.txt"}} {
				doc, err := Render(Input{Body: body, ContentType: "text/html; charset=utf-8", URL: page(t), Format: want.format})
				if err != nil {
					t.Fatal(err)
				}
				golden := strings.TrimSuffix(input, ".in.html") + want.ext
				got := doc.Text + "\n"
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				text, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(text), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", want.format, diff)
				}
			}
		})
	}
}

func renderHTML(t *testing.T, format Format, source string) Document {
	t.Helper()
	doc, err := Render(Input{Body: []byte(source), ContentType: "text/html", URL: page(t), Format: format})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Text that looks like Markdown must not become Markdown.
func TestTextIsNotMarkup(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"heading", "<p># a</p>", `\# a`},
		{"heading after something invisible", "<p>&#x200b;# a</p>", `\# a`},
		{"bullet", "<p>- a</p>", `\- a`},
		{"star bullet", "<p>* a</p>", `\* a`},
		{"numbered", "<p>1. a</p>", `1\. a`},
		{"numbered with parenthesis", "<p>1) a</p>", `1\) a`},
		{"quotation", "<p>&gt; a</p>", `&gt; a`},
		{"tags", "<p>&lt;b&gt;</p>", `&lt;b&gt;`},
		{"entity", "<p>&amp;lt; &amp;#x41; AT&amp;T</p>", `&amp;lt; &amp;#x41; AT&T`},
		{"emphasis", "<p>*a* _b_</p>", `\*a* \_b_`},
		{"code", "<p>`a`</p>", "\\`a\\`"},
		{"link", "<p>[a](https://evil.example)</p>", `\[a](https://evil.example)`},
		{"image", "<p>![a](https://evil.example/?q=1)</p>", `!\[a](https://evil.example/?q=1)`},
		{"exclamation before a link", `<p>!<a href="https://e.example/">a</a></p>`, `\![a](https://e.example/)`},
		{"exclamation before an image", `<p>!<img src="https://e.example/p" alt=a></p>`, `\![image: a](https://e.example/p)`},
		{"bracket split by tags", `<p>![a<b>]</b>(https://e.example/)</p>`, `!\[a**]**(https://e.example/)`},
		{"bracket closed far away", "<p>[" + strings.Repeat("a", 3000) + "](u)</p>", `\[` + strings.Repeat("a", 3000) + `](u)`},
		{"bracket in a link", `<p><a href="https://e.example/">a](https://evil.example)</a></p>`, `[a\](https://evil.example)](https://e.example/)`},
		{"rule", "<p>---</p>", `\---`},
		{"backslash", `<p>\a\\</p>`, `\\a\\\\`},
		{"fence in code", "<pre>```\nx\n```</pre>", "````\n```\nx\n```\n````"},
		{"pipe in a cell", "<table><tr><th>a|b<th>c</table>", "| a\\|b | c |\n|---|---|"},
		{"reserved characters", "<p>a&#7;*b\uf002c</p>", `a\*bc`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := renderHTML(t, Markdown, tt.in).Text; got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestLinks(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"relative", `<a href="x.html">a</a>`, "[a](https://docs.example/guide/x.html)"},
		{"root", `<a href="/x">a</a>`, "[a](https://docs.example/x)"},
		{"protocol-relative", `<a href="//o.example/x">a</a>`, "[a](https://o.example/x)"},
		{"query only", `<a href="?v=3">a</a>`, "[a](https://docs.example/guide/page.html?v=3)"},
		{"fragment", `<a href="#s">a</a>`, "[a](https://docs.example/guide/page.html?v=2#s)"},
		{"query kept as written", `<a href="/x?a=b/c+d%2fe&amp;f">a</a>`, "[a](https://docs.example/x?a=b/c+d%2fe&f)"},
		{"white space within", "<a href=' /a\n\tb '>a</a>", "[a](https://docs.example/ab)"},
		{"parentheses", `<a href="/a_(b)">a</a>`, "[a](https://docs.example/a_%28b%29)"},
		{"mail", `<a href="mailto:a@b.example">a</a>`, "[a](mailto:a@b.example)"},
		{"telephone", `<a href="tel:+1">a</a>`, "[a](tel:+1)"},
		{"script", `<a href="javascript:alert(1)">a</a>`, "a"},
		{"script in disguise", "<a href=' java\nscript:alert(1)'>a</a>", "a"},
		{"data", `<a href="data:text/html,x">a</a>`, "a"},
		{"file", `<a href="file:///etc/passwd">a</a>`, "a"},
		{"base", `<base href="/b/"><base href="/c/"><a href="x">a</a>`, "[a](https://docs.example/b/x)"},
		{"foreign base", `<base href="https://cdn.example/d/"><a href="x">a</a>`, "[a](https://cdn.example/d/x)"},
		{"script base", `<base href="javascript:x"><a href="x">a</a>`, "[a](https://docs.example/guide/x)"},
		{"image", `<img src="p.png" alt="A [b]">`, `[image: A \[b\]](https://docs.example/guide/p.png)`},
		{"image without alt", `<img src="p.png">`, `[image](https://docs.example/guide/p.png)`},
		{"decoration", `a<img src="p.png" alt="">`, `a`},
		{"data image", `<img src="data:image/png;base64,AAAA" alt="chart">`, `chart`},
		{"lazy image", `<img src="data:image/gif;base64,R0" data-src="p.png" alt="p">`, `[image: p](https://docs.example/guide/p.png)`},
		{"image in a link", `<a href="/x"><img src="p.png" alt="p"></a>`, `[image: p](https://docs.example/x)`},
		{"link around blocks", `<a href="/x"><h3>T</h3><p>b</p></a>`, `[**T** b](https://docs.example/x)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := renderHTML(t, Markdown, tt.in).Text
			if got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestWithoutURLLinksStayRelative(t *testing.T) {
	doc, err := Render(Input{Body: []byte(`<a href="x?y">a</a>`), ContentType: "text/html"})
	if err != nil || doc.Text != "[a](x?y)" {
		t.Errorf("got %q, %v", doc.Text, err)
	}
}

func TestHidden(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		dropped        int
	}{
		{"attribute", `<p hidden>no</p>yes`, "yes", 1},
		{"display", `<p style="color:red; DISPLAY : none !important">no</p>yes`, "yes", 1},
		{"display set back", `<p style="display:none;display:block">yes</p>`, "yes", 0},
		{"comment in style", `<p style="display:/**/none">no</p>yes`, "yes", 1},
		{"visibility", `<span style="visibility:hidden">no</span>yes`, "yes", 1},
		{"font size", `<span style="font-size:0px">no</span>yes`, "yes", 1},
		{"opacity", `<span style="opacity:0.0">no</span>yes`, "yes", 1},
		{"half opacity", `<span style="opacity:0.5">yes</span>`, "yes", 0},
		{"nested counts once", `<div hidden><p hidden>no</p>no</div>yes`, "yes", 1},
		{"end of a paragraph left out", `<p hidden>no<p>yes`, "yes", 1},
		{"end of an item left out", `<ul><li hidden>no<li>yes</ul>`, "- yes", 1},
		{"wrong end tag does not reveal", `<div hidden><p>no</span></b>no</p>no</div>yes`, "yes", 1},
		{"picture", `<img src=x alt=no hidden>yes`, "yes", 1},
		{"aria-hidden is visible to people", `<p aria-hidden=true>yes</p>`, "yes", 0},
		{"a body hidden until scripts run", `<body style="opacity:0"><p>yes</p>`, "yes", 0},
		{"not part of the page", `<script>no</script><style>no</style><template>no</template><noscript>no</noscript><iframe>no</iframe><svg><title>no</title><text>no</text></svg><!-- no --><title>no</title>yes`, "yes", 0},
		{"svg left open", `<svg><path d=x><p>yes`, "yes", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc := renderHTML(t, Markdown, tt.in)
			if doc.Text != tt.want || doc.Dropped != tt.dropped {
				t.Errorf("got %q, %d dropped, want %q, %d", doc.Text, doc.Dropped, tt.want, tt.dropped)
			}
			if text := renderHTML(t, Text, tt.in).Text; strings.Contains(text, "no") || !strings.Contains(text, "yes") {
				t.Errorf("as text: %q", text)
			}
		})
	}
}

func TestTitle(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"title", "<head><title>\n A &amp;\n B </title></head><h1>H</h1>", "A & B"},
		{"first title", "<title>A</title><title>B</title>", "A"},
		{"not a picture's", "<svg><title>icon</title></svg><title>A</title>", "A"},
		{"heading", "<p>x<h1>The <b>one</b></h1><h1>two</h1>", "The one"},
		{"empty title", "<title> </title><h1>H</h1>", "H"},
		{"none", "<p>x", ""},
		{"sanitised", "<title>a&#x202e;b&#27;[31m\u200bc</title>", "ab[31mc"},
		{"long", "<title>" + strings.Repeat("é", 500) + "</title>", strings.Repeat("é", 199) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, format := range []Format{Markdown, Text, HTML, Raw} {
				if got := renderHTML(t, format, tt.in).Title; got != tt.want {
					t.Errorf("%s: got %q, want %q", format, got, tt.want)
				}
			}
		})
	}
}

func TestFormats(t *testing.T) {
	source := "<p hidden>a</p><script>b</script>\u200b<b>c</b>\r\n"
	want := "<p hidden>a</p><script>b</script><b>c</b>\n"
	for _, format := range []Format{HTML, Raw} {
		doc := renderHTML(t, format, source)
		if doc.Text != want || doc.Dropped != 0 {
			t.Errorf("%s: got %q, %d dropped", format, doc.Text, doc.Dropped)
		}
	}
	if got := renderHTML(t, "", "<b>c</b>").Text; got != "**c**" {
		t.Errorf("without a format: %q", got)
	}
	_, err := Render(Input{Format: "pdf"})
	if e, ok := err.(*FormatError); !ok || e.Got != "pdf" || e.Code() != "invalid_format" {
		t.Errorf("unknown format: %v", err)
	}
	for _, format := range []Format{Markdown, Text, HTML, Raw} {
		doc, err := Render(Input{Body: []byte("{\"a\":  [1,\"<b>\"]}"), ContentType: "application/problem+json", Format: format})
		if err != nil || doc.Text != "{\"a\":  [1,\"<b>\"]}" || doc.MediaType != "application/problem+json" {
			t.Errorf("JSON as %s: %q, %v", format, doc.Text, err)
		}
		doc, err = Render(Input{Body: []byte("PK\x03\x04\x00\x00"), ContentType: "application/zip", Format: format})
		if err != nil || doc.Kind != KindBinary || doc.Text != "" {
			t.Errorf("zip as %s: %+v, %v", format, doc, err)
		}
	}
}

func FuzzRender(f *testing.F) {
	inputs, err := filepath.Glob("testdata/*.in.html")
	if err != nil || len(inputs) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for i, input := range inputs {
		body, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, "text/html", uint8(i))
	}
	f.Add([]byte("\xff\xfeh\x00i\xd8"), "text/plain; charset=utf-16", uint8(0))
	f.Add([]byte("a\x9b31m\x1b[0m\x85"), "", uint8(1))
	f.Add([]byte("<table><tr><td>a<table><td colspan=9>b</table>c<li>d<pre>\ne"), "text/html; charset=gbk", uint8(0))
	u, formats := page(f), []Format{Markdown, Text, HTML, Raw}
	f.Fuzz(func(t *testing.T, body []byte, contentType string, format uint8) {
		body = bytes.Clone(body)
		doc, err := Render(Input{Body: body, ContentType: contentType, URL: u, Format: formats[int(format)%len(formats)]})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{doc.Text, doc.Title, doc.MediaType, doc.Note} {
			if !utf8.ValidString(s) {
				t.Errorf("not UTF-8: %q", s)
			}
			for _, r := range s {
				if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f {
					t.Errorf("%U in %q", r, s)
				}
			}
		}
		if len(doc.Text) > 8*len(body)+64<<10 {
			t.Errorf("%d bytes became %d", len(body), len(doc.Text))
		}
		if n := utf8.RuneCountInString(doc.Title); n > maxTitle {
			t.Errorf("a title of %d runes", n)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	section := `<section><h2>Section <code>x.y</code></h2><p>Some <b>plain</b> words with a <a href="/a/b?c=d">link</a>, and more of them to read.</p>
<ul><li>one<li>two <em>three</em></ul><pre><code class="language-go">func f() {
	return
}</code></pre><table><tr><th>a<th>b<tr><td>1<td>2</table></section>` + "\n"
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100KB", 100 << 10}, {"1MB", 1 << 20}} {
		body := []byte("<title>t</title>" + strings.Repeat(section, size.bytes/len(section)))
		for _, format := range []Format{Markdown, Text} {
			b.Run(string(format)+"/"+size.name, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Render(Input{Body: body, ContentType: "text/html", URL: page(b), Format: format}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
