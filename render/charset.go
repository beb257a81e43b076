package render

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// declarations is how much of a page is searched for a declared charset. Pages put more than the
// standard's 1024 bytes before it.
const declarations = 4 << 10

// decode returns the body as a string and the name of the charset it was in. In this order: byte
// order mark, header, declaration in the page, UTF-8 if the whole body is, windows-1252. What is
// declared but unknown, or refused by the WHATWG Encoding standard, is passed over.
func decode(body []byte, media, header string) (text, name string) {
	if bom := bomEncoding(body); bom != "" {
		return decodeAs(body, bom)
	}
	if name = canonical(header); name != "" {
		return decodeAs(body, name)
	}
	if name = declared(body[:min(len(body), declarations)], media); name != "" {
		return decodeAs(body, name)
	}
	if utf8.Valid(body) {
		return string(body), "utf-8"
	}
	return decodeAs(body, "windows-1252")
}

func bomEncoding(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return "utf-8"
	case bytes.HasPrefix(body, []byte("\xff\xfe")):
		return "utf-16le"
	case bytes.HasPrefix(body, []byte("\xfe\xff")):
		return "utf-16be"
	}
	return ""
}

// canonical is the WHATWG name for a label, or "".
func canonical(label string) string {
	e, err := htmlindex.Get(label)
	if err != nil || e == encoding.Replacement {
		return ""
	}
	name, err := htmlindex.Name(e)
	if err != nil || name == "replacement" {
		return ""
	}
	return name
}

func decodeAs(body []byte, name string) (string, string) {
	var e encoding.Encoding
	switch name {
	case "utf-8":
		return strings.ToValidUTF8(string(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))), "\ufffd"), name
	case "utf-16le":
		e = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case "utf-16be":
		e = unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	default:
		var err error
		if e, err = htmlindex.Get(name); err != nil {
			return strings.ToValidUTF8(string(body), "\ufffd"), "utf-8"
		}
	}
	// Decoders of x/text replace what they cannot read; an error leaves what was read so far.
	out, _ := e.NewDecoder().Bytes(body)
	return string(out), name
}

// declared finds the charset that the start of a page names for itself.
func declared(head []byte, media string) string {
	if isXML(media) || isHTML(media) {
		if name := xmlEncoding(head); name != "" {
			return ascii(name)
		}
	}
	if isHTML(media) {
		return ascii(metaCharset(head))
	}
	return ""
}

// ascii: a declaration that could be read as bytes is not in UTF-16, whatever it says (HTML
// standard, "prescan a byte stream").
func ascii(name string) string {
	if strings.HasPrefix(name, "utf-16") {
		return "utf-8"
	}
	return name
}

func xmlEncoding(head []byte) string {
	if !bytes.HasPrefix(head, []byte("<?xml")) {
		return ""
	}
	decl, _, ok := bytes.Cut(head, []byte("?>"))
	if !ok {
		return ""
	}
	_, rest, ok := bytes.Cut(decl, []byte("encoding"))
	if !ok {
		return ""
	}
	rest = bytes.TrimLeft(rest, " \t\r\n=")
	if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
		return ""
	}
	value, _, ok := bytes.Cut(rest[1:], rest[:1])
	if !ok {
		return ""
	}
	return canonical(string(value))
}

func metaCharset(head []byte) string {
	z := html.NewTokenizer(bytes.NewReader(head))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return ""
		case html.StartTagToken, html.SelfClosingTagToken:
			tag, more := z.TagName()
			if string(tag) != "meta" {
				continue
			}
			var a attributes
			for more {
				var k, v []byte
				k, v, more = z.TagAttr()
				a = append(a, html.Attribute{Key: string(k), Val: string(v)})
			}
			label := a.get("charset")
			if label == "" && strings.EqualFold(a.get("http-equiv"), "content-type") {
				label = looseCharset(a.get("content"))["charset"]
			}
			if name := canonical(label); name != "" {
				return name
			}
		}
	}
}
