package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// node is a value that has the form its shape asks for. A nil node is one that is absent or was
// refused; its methods answer for both.
type node struct {
	shape   *shape
	offset  int
	key     string           // such as mtls.corp.cert
	text    string           // text
	parsed  any              // text: what shape.parse made of it
	number  int              // integer
	yes     bool             // boolean
	fields  map[string]*node // object
	entries []entry          // dict, in file order
	items   []*node          // list
}

// entry is one key of a dict. A refused key has no parsed value, a refused value is nil.
type entry struct {
	name   string
	offset int
	key    string
	parsed any
	value  *node
}

// field returns a value of an object, nil where there is none.
func (n *node) field(name string) *node {
	if n == nil {
		return nil
	}
	return n.fields[name]
}

// section returns an object of an object, an empty one where there is none.
func (n *node) section(name string) *node {
	if sub := n.field(name); sub != nil {
		return sub
	}
	return &node{shape: n.shape.lookup(name)}
}

// value returns a text of an object, or its default.
func (n *node) value(name string) string {
	if sub := n.field(name); sub != nil {
		return sub.text
	}
	def, _ := n.shape.lookup(name).def.(string)
	return def
}

// yesOrNo is a boolean of an object, false where it is absent.
func (n *node) yesOrNo(name string) bool {
	sub := n.field(name)
	return sub != nil && sub.yes
}

// parsedField is a text of an object as its parser made it, that of the default where the key is absent.
func (n *node) parsedField(name string) any {
	if sub := n.field(name); sub != nil {
		return sub.parsed
	}
	s := n.shape.lookup(name)
	parsed, _ := s.accept(s.def.(string))
	return parsed
}

// decode walks the syntax tree along the shape and reports everything that does not fit.
func (d *document) decode(v hujson.Value, s *shape, key string) *node {
	n := &node{shape: s, offset: v.StartOffset, key: key}
	switch value := v.Value.(type) {
	case *hujson.Object:
		switch s.kind {
		case object:
			d.decodeObject(n, value)
			return n
		case dict:
			d.decodeDict(n, value)
			return n
		}
	case *hujson.Array:
		if s.kind == list && s.some && len(value.Elements) == 0 {
			d.fail(n, "this list is empty; leave it out or put something into it")
			return nil
		}
		if s.kind == list {
			for i, element := range value.Elements {
				if item := d.decode(element, s.each, fmt.Sprintf("%s[%d]", key, i)); item != nil {
					n.items = append(n.items, item)
				}
			}
			return n
		}
	case hujson.Literal:
		switch {
		case s.kind == list && s.one:
			if item := d.decode(v, s.each, key); item != nil {
				n.items = append(n.items, item)
			}
			return n
		case s.kind == object && s.short != "" && value.Kind() == '"':
			sub := d.decode(v, s.lookup(s.short), key)
			if sub == nil {
				return nil
			}
			n.fields = map[string]*node{s.short: sub}
			return n
		case s.kind == text && value.Kind() == '"':
			n.text = value.String()
			var p *problem
			if n.parsed, p = s.accept(n.text); p != nil {
				p.offset, p.key = n.offset, key
				d.add(*p)
				return nil
			}
			return n
		case s.kind == integer && value.Kind() == '0':
			return d.decodeInteger(n, value)
		case s.kind == boolean && (value.Kind() == 't' || value.Kind() == 'f'):
			n.yes = value.Kind() == 't'
			return n
		}
	}
	d.fail(n, "expected %s, found %s", s.expected(), found(v.Value.Kind()))
	return nil
}

// expected names what a value may be.
func (s *shape) expected() string {
	if s.kind == object && s.short != "" {
		return "a string or an object"
	}
	return kindNames[s.kind]
}

var kindNames = map[kind]string{object: "an object", dict: "an object", list: "a list", text: "a string", integer: "a whole number", boolean: "true or false"}

func found(k hujson.Kind) string {
	switch k {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 'n':
		return "null"
	default:
		return "true or false"
	}
}

func (d *document) decodeObject(n *node, obj *hujson.Object) {
	n.fields = make(map[string]*node)
	present := make(map[string]int)
	meant := make(map[string]bool) // by a misspelt key: one mistake, one message
	for _, m := range obj.Members {
		name, offset := m.Name.Value.(hujson.Literal).String(), m.Name.StartOffset
		key := join(n.key, name)
		if first, twice := present[name]; twice {
			d.add(repeated(name, offset, key, first))
			continue
		}
		present[name] = offset
		s := n.shape.lookup(name)
		if s == nil {
			near := nearest(name, n.shape.names())
			meant[near] = true
			d.add(problem{offset: offset, key: key, reason: "unknown key " + sanitize.Quote(name), suggestion: near})
			continue
		}
		if sub := d.decode(m.Value, s, key); sub != nil {
			n.fields[name] = sub
		}
	}
	d.checkObject(n, present, meant)
}

// checkObject holds what is present against the rules of the shape.
func (d *document) checkObject(n *node, present map[string]int, meant map[string]bool) {
	has := func(name string) bool {
		_, ok := present[name]
		return ok || meant[name]
	}
	needed := make(map[string]bool) // what a rule has asked for already
	for _, name := range n.shape.required {
		if !has(name) {
			d.fail(n, "%s is missing", name)
		}
	}
	for _, r := range n.shape.rules {
		offset, ok := present[r.when]
		if !ok || len(r.is) > 0 && !slices.Contains(r.is, n.value(r.when)) {
			continue
		}
		forbidden := n.field(r.forbid)
		if r.need != "" && !has(r.need) && !needed[r.need] || forbidden != nil && (forbidden.shape.kind != text || forbidden.text != "") {
			d.add(problem{offset: offset, key: join(n.key, r.when), reason: r.why})
			needed[r.need] = true
		}
	}
	if len(needed) == 0 && len(n.shape.anyOf) > 0 && !slices.ContainsFunc(n.shape.anyOf, has) {
		d.fail(n, "%s", n.shape.anyWhy)
	}
}

func (d *document) decodeDict(n *node, obj *hujson.Object) {
	present := make(map[string]int)
	for _, m := range obj.Members {
		name, offset := m.Name.Value.(hujson.Literal).String(), m.Name.StartOffset
		e := entry{name: name, offset: offset, key: join(n.key, name)}
		if first, twice := present[name]; twice {
			d.add(repeated(name, offset, e.key, first))
			continue
		}
		present[name] = offset
		var p *problem
		if e.parsed, p = n.shape.key.accept(name); p != nil {
			p.offset, p.key = offset, e.key
			d.add(*p)
		}
		e.value = d.decode(m.Value, n.shape.each, e.key)
		n.entries = append(n.entries, e)
	}
}

func repeated(name string, offset int, key string, first int) problem {
	return problem{offset: offset, key: key, reason: "the key " + quoteName(name) + " is here twice", first: first}
}

func (d *document) decodeInteger(n *node, value hujson.Literal) *node {
	// 1e2 and 100.0 are whole numbers too, for JSON Schema as for us.
	f, err := strconv.ParseFloat(string(value), 64)
	switch {
	case err != nil || f < float64(n.shape.min) || f > float64(n.shape.max):
		d.fail(n, "expected a whole number from %d to %d", n.shape.min, n.shape.max)
		return nil
	case f != math.Trunc(f):
		d.fail(n, "expected a whole number, found a fraction")
		return nil
	}
	n.number = int(f)
	return n
}

// accept checks a text against its shape and returns what its parser made of it, the text itself
// where there is no parser. It is also used for the keys of a dict and for variables.
func (s *shape) accept(v string) (any, *problem) {
	switch {
	case v == "" && s.why != "" && !s.empty:
		return nil, &problem{reason: s.why}
	case v == "" && !s.empty:
		return nil, &problem{reason: "this is empty; leave it out or give it a value"}
	case len(s.enum) > 0 && !slices.Contains(s.enum, v):
		return nil, &problem{reason: sanitize.Quote(v) + " is not one of " + strings.Join(s.enum, ", "), suggestion: nearest(v, s.enum)}
	}
	if s.except != nil && s.except.MatchString(v) {
		return nil, &problem{reason: s.exceptWhy}
	}
	var parsed any = v
	if s.parse != nil {
		var err error
		if parsed, err = s.parse(v); err != nil {
			return nil, &problem{reason: err.Error()}
		}
	}
	if s.pattern != nil && !s.pattern.MatchString(v) {
		return nil, &problem{reason: s.why}
	}
	return parsed, nil
}

var plainName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_-]*$`)

// join names a setting inside another: mtls.corp, sites["https://wiki.corp.example"].
func join(key, name string) string {
	switch {
	case !plainName.MatchString(name):
		return key + "[" + quoteName(name) + "]"
	case key == "":
		return name
	default:
		return key + "." + name
	}
}

// quoteName quotes a key, unless a user name and password may stand in it.
func quoteName(name string) string {
	if strings.Contains(name, "@") {
		return `"…"`
	}
	return sanitize.Quote(name)
}
