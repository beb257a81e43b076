package render

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// sink receives what is visible of a page. Every open is followed by its close, properly nested;
// text has its entities decoded and is sanitised, white space as in the source.
type sink interface {
	open(e *element)
	close(e *element)
	single(e *element) // an element without content: br, hr, img, input
	text(s string)
}

// walker follows the tokens of a page with a stack of open elements. It supplies the end tags that
// HTML lets authors leave out and ignores those that match nothing. It is linear in the source:
// positions answers in constant time what a search of the stack would.
type walker struct {
	z        *html.Tokenizer
	sink     sink
	links    *resolver
	xhtml    bool
	stack    []element
	position map[string][]int // where in the stack the elements of a name are
	block    []int            // where in the stack the blocks are
	skipping int              // open elements that begin an unseen part
	dropped  int

	titles  strings.Builder // the first title element
	h1      strings.Builder // the first h1 with text
	titled  bool
	inTitle bool
	inH1    bool
	atPre   bool // the next text begins a pre
}

// walk tells a sink all that is visible of an HTML source.
func walk(source string, s sink, links *resolver, xhtml bool) *walker {
	w := &walker{
		z: html.NewTokenizer(strings.NewReader(source)), sink: s, links: links, xhtml: xhtml,
		position: map[string][]int{},
	}
	w.z.AllowCDATA(xhtml)
	for {
		switch w.z.Next() {
		case html.ErrorToken:
			w.popThrough(0)
			return w
		case html.TextToken:
			w.characters()
		case html.StartTagToken:
			w.startTag(false)
		case html.SelfClosingTagToken:
			w.startTag(true)
		case html.EndTagToken:
			name, _ := w.z.TagName()
			w.endTag(tagName(name))
		}
	}
}

// title is the page's title, or its first heading.
func (w *walker) title() string {
	if t := sanitize.Line(w.titles.String(), maxTitle); t != "" {
		return t
	}
	return sanitize.Line(w.h1.String(), maxTitle)
}

func tagName(name []byte) string {
	if a := atom.Lookup(name); a != 0 {
		return a.String()
	}
	return string(name)
}

func (w *walker) characters() {
	raw := w.z.Text()
	if len(raw) == 0 || w.skipping > 0 && !w.inTitle {
		return
	}
	text := sanitize.Text(string(raw))
	if w.atPre {
		text = strings.TrimPrefix(text, "\n") // HTML standard, "in body": a pre's first line end
		w.atPre = false
	}
	if w.inTitle {
		keep(&w.titles, text)
		return
	}
	if w.inH1 {
		keep(&w.h1, text)
	}
	w.sink.text(text)
}

// keep collects text for a title, with a bound.
func keep(b *strings.Builder, text string) {
	if b.Len() < 64*maxTitle {
		b.WriteString(text)
	}
}

func (w *walker) startTag(selfClosing bool) {
	w.atPre = false
	raw, more := w.z.TagName()
	e := element{name: tagName(raw)}
	for more {
		var k, v []byte
		k, v, more = w.z.TagAttr()
		e.attr = append(e.attr, html.Attribute{Key: string(k), Val: string(v)})
	}
	if w.leave(e.name, selfClosing) {
		return
	}
	switch e.name {
	case "html", "head", "body", "frameset":
		// Scripts reveal a body that its author hid until they ran: its style is not looked at.
		return
	case "base":
		w.links.rebase(e.attr.get("href"))
		return
	case "image":
		e.name = "img"
	}
	w.implyEnds(e.name)
	if !w.allowed(e.name) {
		return
	}
	hides := !unseen[e.name] && invisible(e.attr)
	if hides && w.skipping == 0 && !(e.name == "input" || e.name == "link" || e.name == "meta") {
		w.dropped++
	}
	if void[e.name] || w.xhtml && selfClosing {
		if w.xhtml {
			w.z.NextIsNotRawText()
		}
		if !hides && w.skipping == 0 && !unseen[e.name] {
			w.sink.single(&e)
		}
		return
	}
	e.skip = hides || unseen[e.name] || permalink(&e)
	w.push(e)
	w.atPre = preformatted(e.name)
}

// permalink: the pilcrow behind a heading, shown while a pointer is on it.
func permalink(e *element) bool {
	return e.name == "a" && strings.Contains(e.attr.get("class"), "headerlink")
}

// leave deals with tags inside svg, whose elements end at "/>" and which HTML ends.
func (w *walker) leave(name string, selfClosing bool) (ignored bool) {
	svg := w.last("svg")
	if svg < 0 {
		return name == "svg" && selfClosing
	}
	if leavesForeign[name] && w.last("foreignobject") < svg {
		w.popThrough(svg)
		return false
	}
	if selfClosing {
		w.z.NextIsNotRawText()
	}
	return selfClosing
}

// allowed: rows and cells exist in tables only (HTML standard, "in body": ignore the token).
func (w *walker) allowed(name string) bool {
	if !structural[name] || name == "table" {
		return true
	}
	table := w.last("table")
	if table < 0 {
		return false
	}
	if (name == "td" || name == "th") && w.last("tr") < table {
		w.push(element{name: "tr"})
	}
	return true
}

// implyEnds closes what ends where an element of this name starts.
func (w *walker) implyEnds(name string) {
	if endsParagraph[name] {
		w.closeIn("p", w.scope())
	}
	table := w.last("table")
	switch name {
	case "li":
		w.closeIn("li", max(w.scope(), w.last("ul"), w.last("ol"), w.last("menu"), w.last("dir")))
	case "dt", "dd":
		dl := max(w.scope(), w.last("dl"))
		w.closeIn("dt", dl)
		w.closeIn("dd", dl)
	case "option", "optgroup":
		w.closeIn("option", w.last("select"))
		if name == "optgroup" {
			w.closeIn("optgroup", w.last("select"))
		}
	case "td", "th":
		row := max(table, w.last("tr"))
		w.closeIn("td", row)
		w.closeIn("th", row)
		w.closeIn("caption", table)
	case "tr":
		w.closeIn("tr", table)
		w.closeIn("caption", table)
	case "thead", "tbody", "tfoot", "caption", "colgroup":
		for _, part := range []string{"thead", "tbody", "tfoot", "caption", "tr"} {
			w.closeIn(part, table)
		}
	case "a", "button":
		w.closeIn(name, max(table, w.last("td"), w.last("th"), w.last("caption")))
	}
	if top := len(w.stack) - 1; heading(name) && top >= 0 && heading(w.stack[top].name) {
		w.popThrough(top)
	}
}

// scope is the innermost element that the ends of paragraphs and items do not reach across.
func (w *walker) scope() int {
	return max(w.last("table"), w.last("td"), w.last("th"), w.last("caption"), w.last("button"), w.last("template"))
}

// closeIn closes the innermost element of a name if it lies above the barrier.
func (w *walker) closeIn(name string, barrier int) {
	if i := w.last(name); i > barrier {
		w.popThrough(i)
	}
}

func (w *walker) endTag(name string) {
	if name == "br" { // HTML standard, "in body": treated as a start tag
		if w.skipping == 0 {
			w.sink.single(&element{name: "br"})
		}
		return
	}
	i := w.last(name)
	if heading(name) { // HTML standard, "in body": any heading's end tag ends any heading
		for _, h := range []string{"h1", "h2", "h3", "h4", "h5", "h6"} {
			i = max(i, w.last(h))
		}
	}
	barrier := w.last("table")
	if !structural[name] {
		barrier = max(barrier, w.last("td"), w.last("th"), w.last("caption"))
	}
	if name == "table" {
		barrier = -1
	}
	if i <= barrier {
		return
	}
	// A block ends the inline elements in it; an inline element does not end blocks.
	if !blocks[name] && !unseen[name] && len(w.block) > 0 && w.block[len(w.block)-1] > i {
		return
	}
	w.popThrough(i)
}

func (w *walker) last(name string) int {
	if p := w.position[name]; len(p) > 0 {
		return p[len(p)-1]
	}
	return -1
}

// maxOpen is how many elements may be open at once; each takes hundreds of bytes, and pages that
// people write stay far below.
const maxOpen = 2000

func (w *walker) push(e element) {
	// One more takes the place of the last, unless that hides what is in it.
	if len(w.stack) >= maxOpen && w.skipping == 0 {
		w.popThrough(len(w.stack) - 1)
	}
	i := len(w.stack)
	w.position[e.name] = append(w.position[e.name], i)
	if blocks[e.name] {
		w.block = append(w.block, i)
	}
	if e.name == "title" && !w.titled && w.skipping == 0 {
		w.titled, w.inTitle = true, true
	}
	if e.skip {
		w.skipping++
	}
	e.silent = w.skipping > 0
	w.stack = append(w.stack, e)
	if !e.silent {
		w.inH1 = w.inH1 || e.name == "h1" && strings.TrimSpace(w.h1.String()) == ""
		w.sink.open(&w.stack[i])
	}
}

// popThrough closes the elements from the top of the stack through index i.
func (w *walker) popThrough(i int) {
	for n := len(w.stack) - 1; n >= i; n-- {
		e := &w.stack[n]
		p := w.position[e.name]
		w.position[e.name] = p[:len(p)-1]
		if blocks[e.name] {
			w.block = w.block[:len(w.block)-1]
		}
		switch {
		case e.skip:
			w.skipping--
			w.inTitle = false
		case !e.silent:
			w.inH1 = w.inH1 && e.name != "h1"
			w.sink.close(e)
		}
		w.stack = w.stack[:n]
	}
}
