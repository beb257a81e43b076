// Package render turns bytes and a media type into what a model can read.
package render

import (
	"fmt"
	"net/url"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Format is how a page is wanted.
type Format string

const (
	Markdown Format = "markdown" // HTML as CommonMark with tables; every other text as it is
	Text     Format = "text"     // HTML as plain text; every other text as it is
	HTML     Format = "html"     // HTML as its source
	Raw      Format = "raw"      // every text as it was sent
)

// Kind is what a Document holds.
type Kind int

const (
	KindText   Kind = iota // Text
	KindImage              // Image
	KindBinary             // neither; Note says why
)

// MaxImage is the size in bytes above which an image is only described.
const MaxImage = 5 << 20

const maxTitle = 200

// Input is one received page.
type Input struct {
	Body        []byte   // without content coding
	ContentType string   // the header's value; sniffed when empty
	URL         *url.URL // what relative links are relative to; may be nil
	Format      Format   // Markdown when empty
}

// Document is a page that can be shown.
type Document struct {
	Kind      Kind
	MediaType string // such as "text/html": lower case, without parameters
	Charset   string // WHATWG name of what the text was decoded from; empty for images and binaries
	Title     string // one line of at most 200 runes
	Text      string // of KindText: sanitised, valid UTF-8
	Image     []byte // of KindImage: png, jpeg, gif or webp as received, at most MaxImage bytes
	Note      string // of KindBinary: one sentence with the type, the size and what to do
	Dropped   int    // hidden elements left out
}

// FormatError is a format that does not exist.
type FormatError struct{ Got Format }

func (e *FormatError) Error() string {
	return fmt.Sprintf("unknown format %s", sanitize.Quote(string(e.Got)))
}

// Code is the stable machine code of this error.
func (e *FormatError) Code() string { return "invalid_format" }

// Hint says what to do.
func (e *FormatError) Hint() string { return "use markdown, text, html or raw" }

// Render decodes, converts and sanitises a page. Whatever the bytes are there is a Document, in
// time and memory linear in their number; the only error is a *FormatError.
func Render(in Input) (Document, error) {
	switch in.Format {
	case "":
		in.Format = Markdown
	case Markdown, Text, HTML, Raw:
	default:
		return Document{}, &FormatError{in.Format}
	}
	kind, media, params := classify(in.Body, in.ContentType)
	doc := Document{Kind: kind, MediaType: media}
	switch kind {
	case KindImage:
		doc.Image = in.Body
		return doc, nil
	case KindBinary:
		doc.Note = note(media, len(in.Body))
		return doc, nil
	}
	var source string
	source, doc.Charset = decode(in.Body, media, params["charset"])
	if !isHTML(media) {
		doc.Text = sanitize.Text(source)
		return doc, nil
	}
	page := convert(source, in, media == "application/xhtml+xml")
	doc.Title, doc.Dropped = page.title, page.dropped
	doc.Text = sanitize.Text(page.text)
	return doc, nil
}

// converted is what conversion makes of an HTML source.
type converted struct {
	title, text string
	dropped     int
}

func convert(source string, in Input, xhtml bool) converted {
	links := &resolver{base: in.URL, budget: 4*len(source) + 32<<10}
	if in.Format == Markdown {
		t := newTree(links)
		w := walk(source, t, links, xhtml)
		if tree := t.finish(); !t.full {
			text, ok := markdown(tree)
			// Prefixes multiply: a line inside six quotations costs twelve bytes for one.
			if ok && len(text) <= 8*len(in.Body)+64<<10 {
				return converted{w.title(), text, w.dropped}
			}
		}
	}
	t := &textSink{}
	w := walk(source, t, links, xhtml)
	out := converted{w.title(), t.finish(), w.dropped}
	if in.Format == HTML || in.Format == Raw {
		out.text, out.dropped = source, 0
	}
	return out
}
