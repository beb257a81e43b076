package render

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// maxBase is the longest base that relative links are written out with.
const maxBase = 2 << 10

// resolver makes links absolute.
type resolver struct {
	base    *url.URL
	rebased bool
	budget  int // bytes that writing links out may still add: a long base and short links multiply
}

// rebase takes the first base element of a page (HTML standard, "the base element").
func (r *resolver) rebase(href string) {
	if r.rebased || href == "" || len(href) > maxBase {
		return
	}
	u, err := url.Parse(trim(href))
	if err != nil {
		return
	}
	if r.base != nil {
		u = r.base.ResolveReference(u)
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		r.base, r.rebased = u, true
	}
}

// resolve returns where a link leads, as it may stand between the parentheses of a Markdown link,
// or "" for a scheme other than those given.
func (r *resolver) resolve(href string, schemes ...string) string {
	if href = trim(href); href == "" {
		return ""
	}
	u, err := url.Parse(href)
	if err != nil {
		return ""
	}
	if r.base != nil {
		if abs := r.base.ResolveReference(u); len(r.base.String()) <= maxBase && r.budget > 0 {
			u = abs
		}
	}
	if u.Scheme != "" && !slices.Contains(schemes, u.Scheme) {
		return ""
	}
	out := destination.Replace(sanitize.Text(u.String()))
	r.budget -= max(0, len(out)-len(href))
	return out
}

// destination escapes what would end the link, or the table cell that it stands in.
var destination = strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E",
	"|", "%7C", `\`, "%5C", "`", "%60", "\n", "", "\t", "")

// trim removes what the URL standard removes: spaces and controls around, line ends and tabs within.
func trim(href string) string {
	href = strings.Trim(href, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	if strings.ContainsAny(href, "\t\r\n") {
		href = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(href)
	}
	return href
}

// image is what stands for a picture: a label, and where it is if that is an address.
func (r *resolver) image(a attributes) (label, src string) {
	alt, described := a.lookup("alt")
	alt = sanitize.Line(alt, 1000)
	if described && alt == "" {
		return "", "" // decoration (HTML standard, "a purely decorative image")
	}
	src = a.get("src")
	data := strings.HasPrefix(strings.ToLower(trim(src)), "data:")
	if lazy := a.get("data-src"); lazy != "" && (src == "" || data) {
		src, data = lazy, strings.HasPrefix(strings.ToLower(trim(lazy)), "data:")
	}
	if data {
		return alt, ""
	}
	label = "image"
	if alt != "" {
		label += ": " + alt
	}
	return label, r.resolve(src, "http", "https")
}
