package oauthtest

import (
	"bytes"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// form is a form of a page as it would be sent without changes.
type form struct {
	action  *url.URL
	method  string
	values  url.Values
	buttons []button
}

type button struct{ name, value string }

func (b button) is(word string) bool {
	return strings.EqualFold(b.name, word) || strings.EqualFold(b.value, word)
}

// formWith returns the first form that has such a button, and the button.
func (pg *page) formWith(word string) (*form, button, bool) {
	for _, f := range pg.forms() {
		for _, b := range f.buttons {
			if b.is(word) {
				return f, b, true
			}
		}
	}
	return nil, button{}, false
}

func (pg *page) forms() []*form {
	doc, err := html.Parse(bytes.NewReader(pg.body))
	if err != nil {
		return nil
	}
	var found []*form
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		action, err := pg.url.Parse(attribute(n, "action"))
		if err != nil {
			continue
		}
		f := &form{action: action, method: strings.ToUpper(attribute(n, "method")), values: url.Values{}}
		for control := range n.Descendants() {
			f.add(control)
		}
		found = append(found, f)
	}
	return found
}

func (f *form) add(n *html.Node) {
	if n.Type != html.ElementNode || n.Data != "input" && n.Data != "button" || hasAttribute(n, "disabled") {
		return
	}
	name, value, kind := attribute(n, "name"), attribute(n, "value"), strings.ToLower(attribute(n, "type"))
	switch {
	case n.Data == "button" && (kind == "" || kind == "submit"), n.Data == "input" && kind == "submit":
		f.buttons = append(f.buttons, button{name, value})
	case n.Data == "button" || name == "":
	case kind == "checkbox" || kind == "radio":
		if hasAttribute(n, "checked") {
			f.values.Add(name, value)
		}
	default:
		f.values.Add(name, value)
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
