package config

import (
	"bytes"
	"encoding/json"
)

// Schema is the JSON Schema (draft 2020-12) of the file, for editors. What ties two parts of the
// file together is left to [Load].
func Schema() []byte {
	root := append(ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "mcp-authfetch"},
	}, settings().schema()...)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic(err) // strings, numbers and lists of them always encode
	}
	return b.Bytes()
}

// ordered is a JSON object that keeps the order of its keys.
type ordered []member

type member struct {
	name  string
	value any
}

func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (s *shape) schema() ordered {
	var o ordered
	put := func(name string, value any) { o = append(o, member{name, value}) }
	about := s.about
	if s.secret {
		about += " {env:NAME} and {file:PATH} in it are replaced."
	}
	if about != "" {
		put("description", about)
	}
	switch s.kind {
	case object:
		whole := append(ordered{{"type", "object"}, {"properties", s.properties()}, {"additionalProperties", false}}, s.ties()...)
		if s.short != "" {
			put("oneOf", []ordered{s.lookup(s.short).schema(), whole})
			break
		}
		o = append(o, whole...)
	case dict:
		put("type", "object")
		put("propertyNames", s.key.schema())
		put("additionalProperties", s.each.schema())
	case list:
		whole := ordered{{"type", "array"}, {"items", s.each.schema()}}
		if s.some {
			whole = append(whole, member{"minItems", 1})
		}
		if s.one {
			put("oneOf", []ordered{s.each.schema(), whole})
			break
		}
		o = append(o, whole...)
	case text:
		put("type", "string")
		o = append(o, s.limits()...)
	case integer:
		put("type", "integer")
		put("minimum", s.min)
		put("maximum", s.max)
	case boolean:
		put("type", "boolean")
	}
	if s.def != nil {
		put("default", s.def)
	}
	return o
}

func (s *shape) properties() ordered {
	o := make(ordered, len(s.fields))
	for i, f := range s.fields {
		o[i] = member{f.name, f.shape.schema()}
	}
	return o
}

func (s *shape) limits() ordered {
	var o ordered
	if len(s.enum) > 0 {
		return ordered{{"enum", s.enum}}
	}
	if !s.empty {
		o = append(o, member{"minLength", 1})
	}
	if s.pattern != nil {
		o = append(o, member{"pattern", s.pattern.String()})
	}
	if s.except != nil {
		o = append(o, member{"not", ordered{{"pattern", s.except.String()}}})
	}
	return o
}

// ties are required, anyOf and the rules.
func (s *shape) ties() ordered {
	var o, needs ordered
	var anyOf, allOf []ordered
	if len(s.required) > 0 {
		o = append(o, member{"required", s.required})
	}
	for _, name := range s.anyOf {
		anyOf = append(anyOf, ordered{{"required", []string{name}}})
	}
	for _, r := range s.rules {
		if len(r.is) == 0 && r.need != "" {
			needs = append(needs, member{r.when, []string{r.need}})
			continue
		}
		then := ordered{{"required", []string{r.need}}}
		if r.forbid != "" {
			var absent any = false
			if s.lookup(r.forbid).kind == text {
				absent = ordered{{"maxLength", 0}}
			}
			then = ordered{{"properties", ordered{{r.forbid, absent}}}}
		}
		when := ordered{{"required", []string{r.when}}}
		if len(r.is) > 0 {
			when = append(ordered{{"properties", ordered{{r.when, ordered{{"enum", r.is}}}}}}, when...)
		}
		allOf = append(allOf, ordered{{"if", when}, {"then", then}})
	}
	if anyOf != nil {
		o = append(o, member{"anyOf", anyOf})
	}
	if needs != nil {
		o = append(o, member{"dependentRequired", needs})
	}
	if allOf != nil {
		o = append(o, member{"allOf", allOf})
	}
	return o
}
