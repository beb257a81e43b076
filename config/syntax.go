package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// maxDepth is far more than the settings need and far less than the parser's stack.
const maxDepth = 32

// parse returns the syntax tree, or false when there is none and the reason is reported.
func (d *document) parse() (hujson.Value, bool) {
	if offset, reason := d.unreadable(); reason != "" {
		d.add(problem{offset: offset, reason: reason})
		return hujson.Value{}, false
	}
	// The parser wants a line end after every line comment, also the last.
	value, err := hujson.Parse(append(slices.Clip(d.data), '\n'))
	if err != nil {
		d.add(d.syntax(err))
		return hujson.Value{}, false
	}
	return value, true
}

// unreadable finds what is wrong before any syntax is looked at.
func (d *document) unreadable() (offset int, reason string) {
	switch {
	case len(bytes.TrimSpace(d.data)) == 0:
		return 0, "the file is empty; {} is an empty configuration"
	case bytes.HasPrefix(d.data, []byte{0xff, 0xfe}), bytes.HasPrefix(d.data, []byte{0xfe, 0xff}),
		bytes.IndexByte(d.data[:min(len(d.data), 4)], 0) >= 0:
		return 0, "the file is UTF-16 or UTF-32; save it as UTF-8"
	case !utf8.Valid(d.data):
		return invalidUTF8(d.data), "this is not UTF-8; save the file as UTF-8"
	}
	if offset, deep := tooDeep(d.data); deep {
		return offset, "the nesting is too deep"
	}
	return 0, ""
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return 0
}

// tooDeep finds the bracket that opens level maxDepth+1, looking past strings and comments.
func tooDeep(data []byte) (int, bool) {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return i, true
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '/':
			end := "\n"
			if bytes.HasPrefix(data[i:], []byte("/*")) {
				end = "*/"
			} else if !bytes.HasPrefix(data[i:], []byte("//")) {
				continue
			}
			length := bytes.Index(data[i+2:], []byte(end))
			if length < 0 {
				return 0, false
			}
			i += 2 + length + len(end) - 1
		}
	}
	return 0, false
}

// syntax turns the parser's error into ours. The parser offers nothing but a text, and quotes
// from the file, where a misquoted secret may stand: only the position and the kind are taken.
func (d *document) syntax(err error) problem {
	var line, column int
	_, _ = fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column)
	offset := 0
	for ; line > 1; line-- {
		length := bytes.IndexByte(d.data[offset:], '\n')
		if length < 0 {
			offset = len(d.data) // behind the line end that was added
			break
		}
		offset += length + 1
	}
	offset = min(offset+max(column-1, 0), len(d.data))
	return problem{offset: offset, reason: d.syntaxReason(err.Error(), offset)}
}

func (d *document) syntaxReason(text string, offset int) string {
	if strings.Contains(text, ": invalid literal: ") {
		if offset < len(d.data) && d.data[offset] == '"' {
			return `this string holds a line break or an unknown escape; a backslash is written \\`
		}
		return "this is neither a key nor a value; both stand in double quotes, except numbers"
	}
	for _, known := range []struct{ part, reason string }{
		{"parsing string", "the file ends inside a string; a closing quote is missing"},
		{"parsing comment", "the file ends inside a comment; */ is missing"},
		{"unexpected EOF", "the file ends where more is expected, such as a closing bracket"},
		{"after top-level value", "there is more after the end of the configuration"},
		{"at start of object name", "a key in double quotes is expected here"},
		{"after object name", "a colon is expected here"},
		{"after object value", "a comma or } is expected here"},
		{"after array value", "a comma or ] is expected here"},
		{"at start of value", "a value is expected here; text stands in double quotes"},
		{"in line comment", "this comment holds a character that some programs take for a line end"},
	} {
		if strings.Contains(text, known.part) {
			return known.reason
		}
	}
	return "this is not JSON"
}
