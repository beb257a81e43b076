package render

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// element is an open element of the source.
type element struct {
	name   string
	attr   attributes
	skip   bool // begins a part of the source that nobody sees
	silent bool // lies in such a part: the sink was not told
}

type attributes []html.Attribute

// get returns the value of the first attribute of that name, the one that counts (HTML standard,
// "attribute name state").
func (a attributes) get(key string) string {
	v, _ := a.lookup(key)
	return v
}

func (a attributes) lookup(key string) (string, bool) {
	for i := range a {
		if a[i].Key == key {
			return a[i].Val, true
		}
	}
	return "", false
}

// number is an attribute's value as a number from low to high, or fallback.
func (a attributes) number(key string, low, high, fallback int) int {
	n, err := strconv.Atoi(strings.TrimSpace(a.get(key)))
	if err != nil || n < low || n > high {
		return fallback
	}
	return n
}

func set(names string) map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		m[name] = true
	}
	return m
}

var (
	// unseen elements have text that is not part of the page.
	unseen = set(`script style template noscript iframe svg title noembed noframes object applet canvas
		audio video datalist annotation annotation-xml`)
	void = set(`area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr`)
	// blocks start a line of their own.
	blocks = set(`address article aside blockquote body button caption center dd details dialog dir div dl dt fieldset
		figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup html legend li listing main menu nav ol optgroup
		option p plaintext pre search section select summary table tbody td textarea tfoot th thead tr ul xmp`)
	// endsParagraph: start tags before which an open p ends (HTML standard, "in body").
	endsParagraph = set(`address article aside blockquote center details dialog dir div dl fieldset figcaption figure
		footer form h1 h2 h3 h4 h5 h6 header hgroup hr li dd dt listing main menu nav ol p plaintext pre search section
		summary table ul xmp`)
	// leavesForeign: start tags that an svg left open ends at (HTML standard, "in foreign content").
	leavesForeign = set(`blockquote body center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr img li menu meta
		ol p pre small span strong table u ul`)
	structural = set(`table caption colgroup thead tbody tfoot tr td th`)
)

func heading(name string) bool {
	return len(name) == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6'
}

// preformatted elements keep their white space.
func preformatted(name string) bool {
	switch name {
	case "pre", "textarea", "xmp", "listing", "plaintext":
		return true
	}
	return false
}

// invisible reports whether an element's own attributes hide it: what a person does not see is
// not given to a model either. aria-hidden does not count, it is visible to people.
func invisible(a attributes) bool {
	if _, ok := a.lookup("hidden"); ok {
		return true
	}
	style := a.get("style")
	if style == "" {
		return false
	}
	hidden := map[string]bool{}
	for decl := range strings.SplitSeq(withoutComments(strings.ToLower(style)), ";") {
		name, value, _ := strings.Cut(decl, ":")
		value = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "!important"))
		switch name = strings.TrimSpace(name); name {
		case "display":
			hidden[name] = value == "none"
		case "visibility":
			hidden[name] = value == "hidden" || value == "collapse"
		case "font-size", "opacity":
			hidden[name] = zero(value)
		}
	}
	return hidden["display"] || hidden["visibility"] || hidden["font-size"] || hidden["opacity"]
}

func withoutComments(css string) string {
	before, rest, ok := strings.Cut(css, "/*")
	if !ok {
		return css
	}
	var b strings.Builder
	for ok {
		b.WriteString(before)
		_, rest, _ = strings.Cut(rest, "*/")
		before, rest, ok = strings.Cut(rest, "/*")
	}
	return b.String() + before
}

// zero reports whether a CSS number is nothing, whatever its unit.
func zero(value string) bool {
	number := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyz% ")
	f, err := strconv.ParseFloat(number, 64)
	return err == nil && f == 0
}
