package discovery

import (
	"net/url"
	"strconv"
	"strings"
)

// Covers reports whether a page belongs to a resource, a URL as metadata writes it: it is of
// exactly the same origin, and of the resource's path or one below it in whole segments. A resource
// with a query is a single page. Where some server may find a "." or ".." in the path of the page,
// it is below no path but that of the whole origin. The more of the page's URL the resource takes
// up, the greater is depth. Whether plain http may be used at all is for the caller to say.
func Covers(resource string, page *url.URL) (depth int, ok bool) {
	u, err := parseURL(resource)
	if err != nil {
		return 0, false
	}
	of, err := identify(u)
	if err != nil {
		return 0, false
	}
	id, err := identify(page)
	if err != nil || !of.covers(id) {
		return 0, false
	}
	return len(of.path) + len(of.query), true
}

func (id identifier) covers(page identifier) bool {
	switch {
	case id.origin != page.origin:
		return false
	case id.query != "":
		return id == page
	case id.path == "" || id.path == page.path:
		return true
	case climbs(page.path):
		return false
	}
	return strings.HasPrefix(page.path, strings.TrimSuffix(id.path, "/")+"/")
}

// climbs reports whether some server may find a "." or ".." in an escaped path: servers differ in
// how often they decode it, whether "\" separates segments, whether ";" begins a parameter, and
// whether they take the forms of a character that UTF-8 forbids for being too long.
func climbs(path string) bool {
	for range 4 {
		path = overlong.Replace(path)
		for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
			if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
				return true
			}
		}
		decoded := unescape(path)
		if decoded == path {
			return false
		}
		path = decoded
	}
	return true
}

var overlong = strings.NewReplacer(
	"\xc0\xae", ".", "\xc0\xaf", "/", "\xc1\x9c", `\`,
	"\xe0\x80\xae", ".", "\xe0\x80\xaf", "/", "\xe0\x81\x9c", `\`,
)

// unescape decodes once, leaving alone what is no escape, as [url.PathUnescape] does not.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
