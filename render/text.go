package render

import (
	"strconv"
	"strings"
)

// textSink writes plain text: a line for each block, an empty line between paragraphs, bullets,
// tabs between cells.
type textSink struct {
	b       strings.Builder
	breaks  int    // line ends owed before the next text
	space   bool   // a space owed before the next text
	tabs    int    // tabs owed before the next text: cells of this row without any yet
	prefix  string // a bullet owed before the next text
	pre     int
	lists   []int // the number of the next item of each open list, -1 for bullets
	cells   int   // cells begun in this row
	fresh   bool  // nothing written in this cell or description
	started bool
}

// maxIndent is how deep lists are indented; deeper items stay there.
const maxIndent = 3

func (t *textSink) open(e *element) {
	switch {
	case preformatted(e.name):
		t.line(2)
		t.pre++
		return
	case t.pre > 0:
	case e.name == "ul" || e.name == "ol" || e.name == "menu" || e.name == "dir":
		next := -1
		if e.name == "ol" {
			next = e.attr.number("start", 0, 1<<20, 1)
		}
		if len(t.lists) == 0 {
			t.line(2)
		}
		t.line(1)
		t.lists = append(t.lists, next)
		return
	case e.name == "li":
		t.line(1)
		t.prefix = t.bullet()
		return
	case e.name == "tr":
		t.cells, t.tabs, t.fresh = 0, 0, false
	case e.name == "td" || e.name == "th":
		if t.cells++; t.cells > 1 {
			t.tabs++
			t.breaks = 0
		}
		t.fresh = true
		return
	case e.name == "dd":
		t.line(1)
		t.prefix, t.fresh = "  ", true
		return
	case e.name == "sup":
		t.text("^")
	case e.name == "q":
		t.text(`"`)
	}
	t.block(e.name)
}

func (t *textSink) close(e *element) {
	switch {
	case preformatted(e.name):
		t.pre--
		t.line(2)
		return
	case t.pre > 0:
	case e.name == "ul" || e.name == "ol" || e.name == "menu" || e.name == "dir":
		if len(t.lists) > 0 {
			t.lists = t.lists[:len(t.lists)-1]
		}
		if len(t.lists) == 0 {
			t.line(2)
		}
		t.line(1)
		return
	case e.name == "li":
		t.prefix = ""
		t.line(1)
		return
	case e.name == "td" || e.name == "th":
		t.fresh = false
		return
	case e.name == "dd":
		t.fresh, t.prefix = false, ""
	case e.name == "tr":
		t.tabs = 0
	case e.name == "q":
		t.text(`"`)
	}
	t.block(e.name)
}

func (t *textSink) single(e *element) {
	switch e.name {
	case "br":
		if t.pre > 0 {
			t.text("\n")
			return
		}
		t.breaks, t.space = min(t.breaks+1, 2), false
	case "hr":
		t.line(2)
	case "img":
		if label, src := new(resolver).image(e.attr); label != "" {
			if src != "" {
				label = "[" + label + "]"
			}
			t.text(label)
		}
	}
}

func (t *textSink) text(s string) {
	if t.pre > 0 {
		line := strings.TrimRight(s, "\n")
		ends := len(s) - len(line)
		if line != "" {
			t.owed()
			t.b.WriteString(line)
		}
		t.breaks += ends
		return
	}
	for s != "" {
		if n := len(s) - len(strings.TrimLeft(s, spaces)); n > 0 {
			t.space = true
			s = s[n:]
			continue
		}
		word := s
		if end := strings.IndexAny(s, spaces); end >= 0 {
			word = s[:end]
		}
		t.owed()
		t.b.WriteString(word)
		s = s[len(word):]
	}
}

func (t *textSink) finish() string { return strings.TrimSpace(t.b.String()) }

// spaces are what HTML folds; a no-break space is not among them.
const spaces = " \t\n\f\r"

// block owes the line ends around a block.
func (t *textSink) block(name string) {
	switch {
	case t.pre > 0:
		if blocks[name] {
			t.breaks = max(t.breaks, 1)
		}
	case name == "p" || name == "blockquote" || name == "table" || name == "dl" || name == "figure" || heading(name):
		t.line(2)
	case blocks[name]:
		t.line(1)
	}
}

// line owes n line ends; inside lists paragraphs stay close.
func (t *textSink) line(n int) {
	if t.fresh {
		return
	}
	if len(t.lists) > 0 {
		n = min(n, 1)
	}
	t.breaks = max(t.breaks, n)
	t.space = false
}

// owed writes what is owed before text.
func (t *textSink) owed() {
	if t.started {
		for range t.breaks {
			t.b.WriteByte('\n')
		}
		if t.breaks > 0 && t.prefix == "" && t.pre == 0 && t.tabs == 0 {
			t.prefix = strings.Repeat("  ", min(len(t.lists), maxIndent+1))
		}
		if t.space && t.breaks == 0 && t.prefix == "" && t.tabs == 0 {
			t.b.WriteByte(' ')
		}
	}
	for range t.tabs {
		t.b.WriteByte('\t')
	}
	t.b.WriteString(t.prefix)
	t.breaks, t.space, t.tabs, t.prefix, t.started = 0, false, 0, "", true
	t.fresh = false
}

// bullet is the prefix of an item of the innermost list.
func (t *textSink) bullet() string {
	if len(t.lists) == 0 {
		return "- "
	}
	indent := strings.Repeat("  ", min(len(t.lists)-1, maxIndent))
	next := &t.lists[len(t.lists)-1]
	if *next < 0 {
		return indent + "- "
	}
	*next++
	return indent + strconv.Itoa(*next-1) + ". "
}
