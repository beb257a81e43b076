package render

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/JohannesKaufmann/html-to-markdown/v2/converter"
	"github.com/JohannesKaufmann/html-to-markdown/v2/marker"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/base"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/commonmark"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/strikethrough"
	tables "github.com/JohannesKaufmann/html-to-markdown/v2/plugin/table"
	"golang.org/x/net/html"
)

// checkbox is the name that the tree gives to a task's box.
const checkbox = "task-box"

// markdown writes a tree as Markdown. It reports false where the library cannot.
func markdown(doc *html.Node) (text string, ok bool) {
	// The page is a stranger's and the library is large: a panic costs the formatting of one
	// page, not the server.
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	out, err := newConverter().ConvertNode(doc)
	return string(out), err == nil
}

// newConverter makes a converter for one page: it sorts its tables of handlers in place while it
// works, so that two pages must not share it.
func newConverter() *converter.Converter {
	c := converter.NewConverter(
		converter.WithEscapeMode(converter.EscapeModeSmart),
		converter.WithPlugins(
			base.NewBasePlugin(),
			commonmark.NewCommonmarkPlugin(
				commonmark.WithHorizontalRule("---"),
				commonmark.WithListEndComment(false),
			),
			strikethrough.NewStrikethroughPlugin(),
			tables.NewTablePlugin(
				tables.WithNewlineBehavior(tables.NewlineBehaviorPreserve),
				tables.WithCellPaddingBehavior(tables.CellPaddingBehaviorMinimal),
				tables.WithSkipEmptyRows(true),
			),
		),
	)
	c.Register.RendererFor("a", converter.TagTypeInline, renderLink, converter.PriorityEarly)
	c.Register.RendererFor("blockquote", converter.TagTypeBlock, renderQuote, converter.PriorityEarly)
	c.Register.RendererFor(checkbox, converter.TagTypeInline, renderCheckbox, converter.PriorityEarly)
	c.Register.TextTransformer(escapeEntities, converter.PriorityEarly)
	c.Register.UnEscaper(escapeBracket, converter.PriorityEarly)
	return c
}

// renderLink writes a link whose address the tree has made ready; the library would encode the
// query anew and so change what it says.
func renderLink(ctx converter.Context, w converter.Writer, n *html.Node) converter.RenderStatus {
	var content bytes.Buffer
	ctx = ctx.WithValue("is_inside_link", true)
	ctx.RenderChildNodes(ctx, &content, n)
	label := bytes.Join(bytes.Fields(content.Bytes()), []byte(" "))
	if len(label) == 0 {
		return converter.RenderSuccess
	}
	w.WriteString(gap(content.Bytes(), bytes.HasPrefix))
	w.WriteRune('[')
	w.Write(label)
	w.WriteString("](")
	w.WriteString(attributes(n.Attr).get("href"))
	w.WriteRune(')')
	w.WriteString(gap(content.Bytes(), bytes.HasSuffix))
	return converter.RenderSuccess
}

// gap is the white space at one end of a link's content, which goes outside the brackets.
func gap(content []byte, at func(s, part []byte) bool) string {
	switch {
	case at(content, []byte("\n\n")):
		return "\n\n"
	case at(content, []byte(" ")), at(content, []byte("\n")):
		return " "
	}
	return ""
}

// renderQuote writes a quotation; the library's leaves the lines of a code block out of it.
func renderQuote(ctx converter.Context, w converter.Writer, n *html.Node) converter.RenderStatus {
	var content bytes.Buffer
	ctx.RenderChildNodes(ctx, &content, n)
	text := bytes.TrimSpace(content.Bytes())
	if len(text) == 0 {
		return converter.RenderSuccess
	}
	text = emptyLines.ReplaceAll(text, []byte("\n\n"))
	text = bytes.ReplaceAll(text, marker.BytesMarkerCodeBlockNewline, append(bytes.Clone(marker.BytesMarkerCodeBlockNewline), "> "...))
	w.WriteString("\n\n")
	for i, line := range bytes.Split(text, []byte("\n")) {
		if i > 0 {
			w.WriteRune('\n')
		}
		w.WriteRune('>')
		if len(line) > 0 {
			w.WriteRune(' ')
			w.Write(line)
		}
	}
	w.WriteString("\n\n")
	return converter.RenderSuccess
}

func renderCheckbox(_ converter.Context, w converter.Writer, n *html.Node) converter.RenderStatus {
	if _, ok := attributes(n.Attr).lookup("checked"); ok {
		w.WriteString("[x] ")
	} else {
		w.WriteString("[ ] ")
	}
	return converter.RenderSuccess
}

var (
	emptyLines = regexp.MustCompile(`\n{3,}`)
	entity     = regexp.MustCompile(`&(#?[0-9A-Za-z]{1,32};)`)
)

// escapeEntities keeps text that spells an entity from becoming the character.
func escapeEntities(_ converter.Context, text string) string {
	if !strings.Contains(text, "&") {
		return text
	}
	return entity.ReplaceAllString(text, "&amp;$1")
}

// escapeBracket escapes an opening bracket if a closing one follows in its line. The library looks
// as far as the line goes for every bracket, which is quadratic; this looks 1000 bytes far.
func escapeBracket(chars []byte, index int) int {
	if chars[index] != '[' {
		return -1
	}
	near := chars[index+1 : min(len(chars), index+1001)]
	if i := bytes.IndexAny(near, "]\n"); i >= 0 && near[i] == '\n' {
		return -1
	}
	return 1
}
