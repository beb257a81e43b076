package render

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// table is what is known of an open table.
type table struct {
	node    *html.Node
	parts   []*html.Node // table, sections, rows, cells, caption
	content []*html.Node // nodes within cells
	layout  bool         // used to place things, not to relate them
	rows    int
	cells   int
	columns int // of the widest row
	inRow   int // columns of the open row
	spans   int // cells that spans add
}

// openTable enters a part of a table.
func (t *treeSink) openTable(e *element) {
	if e.name == "table" {
		outer := t.at.table
		if outer != nil {
			outer.layout = true
		}
		if t.stray() {
			return
		}
		t.at.table = nil // the outer table does not own what is in this one
		if n := t.enter("table"); n != nil {
			t.at.table = &table{node: n, parts: []*html.Node{n}, layout: t.at.link || t.at.bold || t.at.italic || e.attr.get("role") == "presentation"}
		}
		return
	}
	tb := t.at.table
	if tb == nil || !tb.takes(e.name, t.at.node.Data) || t.at.depth >= maxDepth {
		if !t.stray() {
			t.enter("div")
		}
		return
	}
	t.flush()
	n := &html.Node{Type: html.ElementNode, Data: e.name, DataAtom: atom.Lookup([]byte(e.name))}
	t.at.node.AppendChild(n)
	t.at.node = n
	t.at.depth++
	tb.add(n, e.attr)
}

// takes reports whether a part may stand in a node of that name.
func (tb *table) takes(part, in string) bool {
	switch part {
	case "td", "th":
		return in == "tr"
	case "tr":
		return in == "table" || in == "thead" || in == "tbody" || in == "tfoot"
	}
	return in == "table"
}

func (tb *table) add(n *html.Node, a attributes) {
	tb.parts = append(tb.parts, n)
	switch n.Data {
	case "tr":
		tb.rows++
		tb.inRow = 0
	case "td", "th":
		tb.cells++
		for _, span := range []string{"colspan", "rowspan"} {
			if k := a.number(span, 2, 32, 1); k > 1 {
				n.Attr = append(n.Attr, html.Attribute{Key: span, Val: strconv.Itoa(k)})
			}
		}
		wide := a.number("colspan", 2, 32, 1)
		tb.inRow += wide
		tb.spans += wide*a.number("rowspan", 2, 32, 1) - 1
		tb.columns = max(tb.columns, tb.inRow)
		if align := alignment(a); align != "" {
			n.Attr = append(n.Attr, html.Attribute{Key: "align", Val: align})
		}
	}
}

func alignment(a attributes) string {
	align := strings.ToLower(a.get("align"))
	if _, rest, ok := strings.Cut(strings.ToLower(a.get("style")), "text-align:"); ok {
		align, _, _ = strings.Cut(rest, ";")
		align = strings.TrimSpace(align)
	}
	switch align {
	case "left", "right", "center":
		return align
	}
	return ""
}

// saw notes a node inside a cell. Headings stand in cells only of tables that lay out a page.
func (tb *table) saw(n *html.Node) {
	tb.content = append(tb.content, n)
	tb.layout = tb.layout || heading(n.Data)
}

// finish makes the closed table one that Markdown can hold, or makes it no table. A table of one
// column relates nothing, and one with far more places than cells would grow without measure.
func (tb *table) finish() {
	if tb.spans > 2*tb.cells+64 {
		for _, n := range tb.parts {
			n.Attr = nil
		}
		tb.spans = 0
	}
	if tb.layout || tb.columns < 2 || tb.rows*tb.columns > 4*(tb.cells+tb.spans)+64 {
		for _, n := range tb.parts {
			rename(n, "div")
		}
		return
	}
	for _, n := range tb.content {
		flatten(n)
	}
}

// flatten replaces a block within a cell: a cell is one line, and no bar may stand in it, not even
// in code (GFM §4.10).
func flatten(n *html.Node) {
	if n.Parent == nil {
		return
	}
	switch n.Data {
	case "ul", "ol", "blockquote", "p", "div":
		rename(n, "span")
		breakAround(n)
	case "li":
		n.InsertBefore(&html.Node{Type: html.TextNode, Data: "• "}, n.FirstChild)
		rename(n, "span")
		breakAround(n)
	case "hr":
		rename(n, "br")
	case "code":
		escapeBars(n)
	case "pre":
		lines(n)
	}
}

func escapeBars(code *html.Node) {
	if c := code.FirstChild; c != nil {
		c.Data = strings.ReplaceAll(c.Data, "|", `\|`)
	}
}

func rename(n *html.Node, name string) {
	n.Data, n.DataAtom, n.Attr = name, atom.Lookup([]byte(name)), nil
}

// breakAround puts a former block on lines of its own.
func breakAround(n *html.Node) {
	prev, next := n.PrevSibling, n.NextSibling
	if blank(prev) {
		prev = prev.PrevSibling
	}
	if blank(next) {
		next = next.NextSibling
	}
	if prev != nil && prev.Data != "br" {
		n.Parent.InsertBefore(lineBreak(), n)
	}
	if next != nil && next.Data != "br" {
		n.Parent.InsertBefore(lineBreak(), n.NextSibling)
	}
}

func blank(n *html.Node) bool {
	return n != nil && n.Type == html.TextNode && strings.Trim(n.Data, spaces) == ""
}

func lineBreak() *html.Node {
	return &html.Node{Type: html.ElementNode, Data: "br", DataAtom: atom.Br}
}

// lines makes each line of a code block in a cell a code span of its own.
func lines(pre *html.Node) {
	text := ""
	if pre.FirstChild != nil {
		text = strings.Trim(pre.FirstChild.Data, "\n")
	}
	rename(pre, "span")
	for c := pre.FirstChild; c != nil; c = pre.FirstChild {
		pre.RemoveChild(c)
	}
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			pre.AppendChild(lineBreak())
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		code := &html.Node{Type: html.ElementNode, Data: "code", DataAtom: atom.Code}
		code.AppendChild(&html.Node{Type: html.TextNode, Data: line})
		escapeBars(code)
		pre.AppendChild(code)
	}
	breakAround(pre)
}
