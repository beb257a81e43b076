package config

import "regexp"

// kind is the type of a value.
type kind int

const (
	object  kind = iota // fixed keys
	dict                // keys that the user chooses, all values of one shape
	list                // values of one shape
	text                // a string
	integer             // a whole number
	boolean             // true or false
)

// shape describes one value. The decoder and the JSON Schema are both made from it.
type shape struct {
	kind  kind
	about string
	def   any // the default, shown in the schema and used where the key is absent

	fields   []field // object
	short    string  // object: a text stands for an object with this one field
	required []string
	rules    []rule
	anyOf    []string // at least one of these is present
	anyWhy   string

	key  *shape // dict: what its keys are
	each *shape // dict, list
	one  bool   // list: a single value stands for a list of it
	some bool   // list: it must not be empty

	enum      []string       // text
	pattern   *regexp.Regexp // read alike by RE2 and ECMA-262
	why       string         // told to what does not match
	except    *regexp.Regexp // what is refused all the same
	exceptWhy string         // told to that
	empty     bool           // "" is accepted
	secret    bool           // references are replaced, and nothing of it is ever shown
	parse     func(string) (any, error)

	min, max int // integer
}

type field struct {
	name  string
	shape *shape
}

// rule ties the keys of one object together: where when is present (with one of the values of
// is, if there are any), need must be present and forbid must be absent or, if it is a text, "".
type rule struct {
	when   string
	is     []string
	need   string
	forbid string
	why    string
}

func (s *shape) lookup(name string) *shape {
	for _, f := range s.fields {
		if f.name == name {
			return f.shape
		}
	}
	return nil
}

func (s *shape) names() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}
