package render

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// treeSink builds a tree with only what Markdown can say, shallow and without the shapes that
// cost a converter more than linear time: no nesting beyond maxDepth, no bold in bold, no empty
// blocks, no neighbouring text nodes, no tables with more holes than cells.
type treeSink struct {
	links *resolver
	root  *html.Node
	at    place
	stack []place // the places that close returns to
	chars strings.Builder
	nodes int
	full  bool // more than maxNodes: nothing is added any more, and the tree is not used
}

// place is where the next node goes.
type place struct {
	node          *html.Node
	depth         int
	lists, quotes int
	bold, italic  bool
	struck        bool
	link          bool
	verbatim      *html.Node // the code or pre that is open
	table         *table
	lang          string // code language that an enclosing highlighter names
}

// maxNodes bounds what the converter has to work on: it takes several hundred bytes for each.
const maxNodes = 200_000

const (
	maxDepth  = 100
	maxLists  = 8
	maxQuotes = 6
)

func newTree(links *resolver) *treeSink {
	root := &html.Node{Type: html.DocumentNode}
	return &treeSink{links: links, root: root, at: place{node: root}}
}

func (t *treeSink) finish() *html.Node {
	t.flush()
	return t.root
}

func (t *treeSink) text(s string) {
	if !t.full {
		t.chars.WriteString(s)
	}
}

// count notes that a node is added.
func (t *treeSink) count() {
	t.nodes++
	t.full = t.full || t.nodes > maxNodes
}

// flush makes a node of the text collected so far.
func (t *treeSink) flush() {
	if t.chars.Len() == 0 {
		return
	}
	n := &html.Node{Type: html.TextNode, Data: t.chars.String()}
	t.chars.Reset()
	t.count()
	switch {
	case !structural[t.at.node.Data] || t.at.node.Data == "td" || t.at.node.Data == "th" || t.at.node.Data == "caption":
		t.at.node.AppendChild(n)
	case !blank(n) && t.at.table != nil && t.at.table.node.Parent != nil:
		// HTML standard, "foster parenting": text between cells stands before the table.
		div := &html.Node{Type: html.ElementNode, Data: "div", DataAtom: atom.Div}
		div.AppendChild(n)
		t.at.table.node.Parent.InsertBefore(div, t.at.table.node)
	}
}

func (t *treeSink) open(e *element) {
	if t.full {
		return
	}
	t.stack = append(t.stack, t.at)
	if t.at.verbatim != nil {
		t.openVerbatim(e)
		return
	}
	if lang := language(e.attr); lang != "" {
		t.at.lang = lang
	}
	switch e.name {
	case "a":
		t.openLink(e)
	case "b", "strong":
		if !t.at.bold {
			t.enter("strong")
			t.at.bold = true
		}
	case "i", "em":
		if !t.at.italic {
			t.enter("em")
			t.at.italic = true
		}
	case "del", "s", "strike":
		if !t.at.struck {
			t.enter("del")
			t.at.struck = true
		}
	case "code", "kbd", "samp", "tt", "var":
		t.enterVerbatim("code")
	case "pre", "textarea", "xmp", "listing", "plaintext":
		t.enterVerbatim("pre")
	case "h1", "h2", "h3", "h4", "h5", "h6", "p":
		t.enter(e.name)
	case "ul", "menu", "dir", "ol":
		t.openList(e)
	case "li":
		if t.at.node.Data == "ul" || t.at.node.Data == "ol" {
			t.enter("li")
		} else {
			t.enter("div")
		}
	case "dt", "summary":
		t.enter("div")
		if !t.at.bold {
			t.enter("strong")
			t.at.bold = true
		}
	case "dd":
		t.openDescription()
	case "blockquote":
		if t.at.quotes < maxQuotes {
			t.enter("blockquote")
			t.at.quotes++
		} else {
			t.enter("div")
		}
	case "q":
		t.text(`"`)
	case "sup":
		t.text("^")
	case "table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th":
		t.openTable(e)
	default:
		if blocks[e.name] {
			t.enter("div")
		}
	}
}

func (t *treeSink) close(e *element) {
	if t.full {
		return
	}
	before := t.stack[len(t.stack)-1]
	if e.name == "q" && t.at.verbatim == nil {
		t.text(`"`)
	}
	entered := t.at.node != before.node
	if entered {
		t.flush()
	}
	for n := t.at.node; n != before.node && n != nil; {
		parent := n.Parent
		// An empty node goes, unless it keeps two texts apart.
		keep := n.Data == "td" || n.Data == "th" || n.PrevSibling != nil && n.PrevSibling.Type == html.TextNode
		if n.FirstChild == nil && !keep {
			parent.RemoveChild(n)
		}
		n = parent
	}
	if tb := t.at.table; e.name == "table" && tb != nil && tb != before.table {
		tb.finish()
	}
	if !entered && t.at.verbatim == nil && blocks[e.name] {
		t.text(" ")
	}
	t.stack = t.stack[:len(t.stack)-1]
	t.at = before
}

func (t *treeSink) single(e *element) {
	if t.full {
		return
	}
	switch e.name {
	case "br":
		if t.at.verbatim != nil {
			t.text("\n")
			return
		}
		t.leaf("br")
	case "hr":
		if t.at.verbatim == nil {
			t.leaf("hr")
		}
	case "img":
		t.image(e)
	case "input":
		if e.attr.get("type") == "checkbox" && t.at.verbatim == nil {
			box := t.leaf(checkbox)
			if _, ok := e.attr.lookup("checked"); ok && box != nil {
				box.Attr = []html.Attribute{{Key: "checked"}}
			}
		}
	}
}

// enter begins a node; beyond maxDepth it only keeps words apart.
func (t *treeSink) enter(name string) *html.Node {
	if t.at.depth >= maxDepth || t.stray() {
		t.text(" ")
		return nil
	}
	t.flush()
	n := &html.Node{Type: html.ElementNode, Data: name, DataAtom: atom.Lookup([]byte(name))}
	t.at.node.AppendChild(n)
	t.at.node = n
	t.at.depth++
	t.count()
	if t.at.table != nil {
		t.at.table.saw(n)
	}
	return n
}

// stray: between the rows and cells of a table only text may stand, which flush moves away.
func (t *treeSink) stray() bool {
	switch t.at.node.Data {
	case "table", "thead", "tbody", "tfoot", "tr":
		return true
	}
	return false
}

// leaf adds a node without content.
func (t *treeSink) leaf(name string) *html.Node {
	before := t.at
	n := t.enter(name)
	t.at = before
	return n
}

func (t *treeSink) openLink(e *element) {
	if t.at.link {
		return
	}
	href := t.links.resolve(e.attr.get("href"), "http", "https", "mailto", "tel")
	if href == "" {
		return
	}
	if n := t.enter("a"); n != nil {
		n.Attr = []html.Attribute{{Key: "href", Val: href}}
		t.at.link = true
	}
}

// image writes a picture as a link to it, which nobody fetches unasked.
func (t *treeSink) image(e *element) {
	if t.at.verbatim != nil {
		return
	}
	label, src := t.links.image(e.attr)
	switch {
	case label == "":
	case src == "" || t.at.link:
		t.text(label)
	default:
		before := t.at
		if n := t.enter("a"); n != nil {
			n.Attr = []html.Attribute{{Key: "href", Val: src}}
		}
		t.text(label)
		if t.at.node != before.node {
			t.flush()
		}
		t.at = before
	}
}

func (t *treeSink) openList(e *element) {
	if t.at.lists >= maxLists {
		t.enter("div")
		return
	}
	name := "ul"
	if e.name == "ol" {
		name = "ol"
	}
	if n := t.enter(name); n != nil {
		t.at.lists++
		if start := e.attr.number("start", 0, 1<<20, 1); start != 1 && name == "ol" {
			n.Attr = []html.Attribute{{Key: "start", Val: strconv.Itoa(start)}}
		}
	}
}

// openDescription makes the descriptions of a term a list under it: Markdown has nothing closer.
func (t *treeSink) openDescription() {
	if t.at.lists >= maxLists || t.at.depth >= maxDepth-1 || t.stray() {
		t.enter("div")
		return
	}
	t.flush()
	if last := t.at.node.LastChild; last != nil && last.Data == "ul" && last.Type == html.ElementNode {
		t.at.node = last
		t.at.depth++
	} else {
		t.enter("ul")
	}
	t.enter("li")
	t.at.lists++
}

func (t *treeSink) enterVerbatim(name string) {
	n := t.enter(name)
	if n == nil {
		return
	}
	t.at.verbatim = n
	if name == "pre" && t.at.lang != "" {
		n.Attr = []html.Attribute{{Key: "class", Val: "language-" + t.at.lang}}
	}
}

// openVerbatim: inside code there are only characters, line ends and the name of the language.
func (t *treeSink) openVerbatim(e *element) {
	v := t.at.verbatim
	if preformatted(e.name) && v.Data == "code" && v.FirstChild == nil && strings.Trim(t.chars.String(), spaces) == "" {
		v.Data, v.DataAtom = "pre", atom.Pre
		t.chars.Reset()
	}
	if v.Data == "pre" {
		if lang := language(e.attr); lang != "" && len(v.Attr) == 0 {
			v.Attr = []html.Attribute{{Key: "class", Val: "language-" + lang}}
		}
		if blocks[e.name] && t.chars.Len() > 0 && !strings.HasSuffix(t.chars.String(), "\n") {
			t.text("\n")
		}
	}
}

// language is the programming language that a class or attribute names, in the ways of the
// HTML standard, GitHub, Sphinx, Hugo, SyntaxHighlighter.
func language(a attributes) string {
	if lang := a.get("data-lang"); lang != "" {
		return languageName(lang)
	}
	classes := strings.Fields(a.get("class"))
	for i, class := range classes {
		for _, prefix := range []string{"language-", "lang-", "highlight-source-", "highlight-", "sourceCode-"} {
			if name, ok := strings.CutPrefix(class, prefix); ok {
				return languageName(name)
			}
		}
		if class == "brush:" && i+1 < len(classes) {
			return languageName(strings.TrimSuffix(classes[i+1], ";"))
		}
	}
	return ""
}

func languageName(name string) string {
	switch name {
	case "", "none", "text", "plain", "plaintext", "default", "nohighlight":
		return ""
	}
	if len(name) > 32 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789+#._-") != "" {
		return ""
	}
	return sanitize.Text(name)
}
