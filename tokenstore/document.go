package tokenstore

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// version of the file's format.
const version = 1

// document is the content of the file.
type document struct {
	records []record
	odd     []jsontext.Value // elements of entries that are no records; kept as they are
	rest    jsontext.Value   // members beside version and entries; kept as they are
}

// record is one element of entries. raw is what the file says, with members unknown to this
// release; it is written back as it came.
type record struct {
	key   Key
	value []byte
	raw   jsontext.Value
}

type documentJSON struct {
	Version int64            `json:"version"`
	Entries []jsontext.Value `json:"entries"`
	Rest    jsontext.Value   `json:",embed"`
}

type entryJSON struct {
	Kind      Kind           `json:"kind"`
	Principal principal.ID   `json:"principal"`
	Resource  string         `json:"resource"`
	Issuer    string         `json:"issuer"`
	Value     jsontext.Value `json:"value"`
}

// fileDamage is the error of bytes that are no document. Its text shows none of them.
type fileDamage string

func (d fileDamage) Error() string { return string(d) }

// decode reads a document. Its error is a fileDamage, or a [*VersionError] without a path.
func decode(data []byte) (*document, error) {
	if len(data) == 0 {
		return nil, fileDamage("it is empty")
	}
	if len(data) > maxFile {
		return nil, fileDamage(fmt.Sprintf("it is larger than %d MiB", maxFile>>20))
	}
	// The version first: what else a newer file holds is not known here.
	var head struct {
		Version *int64 `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, describe(err)
	}
	switch {
	case head.Version == nil || *head.Version < 1:
		return nil, fileDamage("it has no version")
	case *head.Version > version:
		return nil, &VersionError{Got: *head.Version, Want: version}
	}
	var wire documentJSON
	if err := json.Unmarshal(data, &wire); err != nil {
		return nil, describe(err)
	}
	if wire.Entries == nil {
		return nil, fileDamage("it has no entries")
	}
	doc := &document{rest: wire.Rest}
	for _, raw := range wire.Entries {
		var e entryJSON
		if err := json.Unmarshal(raw, &e); err != nil || e.Kind == "" || e.Principal == "" || e.Value == nil {
			doc.odd = append(doc.odd, raw)
			continue
		}
		value := e.Value.Clone()
		if err := value.Compact(); err != nil {
			return nil, describe(err)
		}
		doc.records = append(doc.records, record{Key{e.Kind, e.Principal, e.Resource, e.Issuer}, value, raw})
	}
	return doc, nil
}

// describe tells a decoding error without the text that caused it, which may be a secret.
func describe(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fileDamage(fmt.Sprintf("it is not valid JSON at byte %d", syntactic.ByteOffset))
	}
	return fileDamage("it is JSON, but not a token store")
}

// encode writes the document sorted and indented, for people to read.
func (d *document) encode() ([]byte, error) {
	slices.SortStableFunc(d.records, func(a, b record) int { return a.key.compare(b.key) })
	wire := documentJSON{Version: version, Rest: d.rest, Entries: make([]jsontext.Value, 0, len(d.records)+len(d.odd))}
	for _, r := range d.records {
		wire.Entries = append(wire.Entries, r.raw)
	}
	wire.Entries = append(wire.Entries, d.odd...)
	data, err := json.Marshal(wire, jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// find returns the value of k. Of several records with one key the first counts.
func (d *document) find(k Key) ([]byte, bool) {
	i := slices.IndexFunc(d.records, func(r record) bool { return r.key == k })
	if i < 0 {
		return nil, false
	}
	return d.records[i].value, true
}

// put replaces every record of k.
func (d *document) put(k Key, value []byte) error {
	raw, err := json.Marshal(entryJSON{k.Kind, k.Principal, k.Resource, k.Issuer, value})
	if err != nil {
		return err
	}
	d.remove(k)
	d.records = append(d.records, record{k, value, raw})
	return nil
}

// remove drops every record of k and reports whether there was one.
func (d *document) remove(k Key) bool {
	before := len(d.records)
	d.records = slices.DeleteFunc(d.records, func(r record) bool { return r.key == k })
	return len(d.records) < before
}
