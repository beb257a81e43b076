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

// decode reads the JSON object that was answered at a URL into v. Names are compared exactly and
// none may stand twice; a member that is null counts as missing. What is no JSON object is absent.
func decode(at string, body []byte, v any) error {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return absent("the answer is not a JSON object")
	}
	if !utf8.Valid(body) {
		return &InvalidError{URL: at, Reason: "it is not valid UTF-8"}
	}
	if err := scan(at, body); err != nil {
		return err
	}
	err := json.Unmarshal(body, v)
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic): // the pointer is made of member names of ours
		return &InvalidError{URL: at, Reason: fmt.Sprintf("%s has the wrong type", semantic.JSONPointer)}
	}
	return absent("the answer is not a JSON object")
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
