package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
)

// object is a JSON object, the members of which are not read yet.
type object map[string]jsontext.Value

// parseObject reads the JSON object that was answered at a URL. No name may stand twice in any
// object. What is no JSON object is absent.
func parseObject(at string, body []byte) (object, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, absent("the answer is not a JSON object")
	}
	if !utf8.Valid(body) {
		return nil, &InvalidError{URL: at, Reason: "it is not valid UTF-8"}
	}
	if err := scan(at, body); err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, absent("the answer is not a JSON object")
	}
	return o, nil
}

// scan checks what json.Unmarshal cannot limit or does not tell apart.
func scan(at string, body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		_, err := d.ReadToken()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, jsontext.ErrDuplicateName):
			return &InvalidError{URL: at, Reason: "a name stands twice in one object"}
		case err != nil:
			return absent("the answer is not a JSON object")
		case d.StackDepth() > MaxJSONDepth:
			return &InvalidError{URL: at, Reason: fmt.Sprintf("it is nested more than %d deep", MaxJSONDepth)}
		}
	}
}

// decode reads the members into v. Names are compared exactly; a member that is null counts as
// missing.
func (o object) decode(at string, v any) error {
	b, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) { // the pointer is made of member names of ours
		return &InvalidError{URL: at, Reason: fmt.Sprintf("%s has the wrong type", semantic.JSONPointer)}
	}
	return err
}

// optional leaves out a member that we can do without, if it cannot be read into v.
func (o object) optional(name string, v any) {
	if raw, ok := o[name]; ok && json.Unmarshal(raw, v) != nil {
		delete(o, name)
	}
}

// text returns a member that is a string, or "".
func (o object) text(name string) string {
	var s string
	if raw, ok := o[name]; !ok || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// has reports whether there is such a member; null is none.
func (o object) has(name string) bool {
	raw, ok := o[name]
	return ok && raw.Kind() != 'n'
}

// scopes keeps the entries of a list that are scope tokens, once each, at most limit.
func scopes(list []string, limit int) []string {
	var kept []string
	seen := map[string]bool{}
	for _, s := range list {
		if len(kept) == limit {
			break
		}
		if challenge.IsScope(s) && !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}
