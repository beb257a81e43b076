package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// typed is what a record type tells the functions below. Its struct tags are its form in the store.
type typed interface {
	Key() Key
	check() error // the reason why it may not be stored
}

// inClear writes secrets as what they are, where every other marshalling redacts them, and times in UTC.
var inClear = json.JoinOptions(
	json.WithMarshalers(json.JoinMarshalers(
		json.MarshalFunc(func(t secret.Text) ([]byte, error) { return json.Marshal(t.Reveal()) }),
		json.MarshalFunc(func(t time.Time) ([]byte, error) { return json.Marshal(t.UTC()) }),
	)),
	json.WithUnmarshalers(json.UnmarshalFunc(func(b []byte, t *secret.Text) error {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = secret.New(s)
		return nil
	})),
)

func get[R any, T interface {
	*R
	typed
}](ctx context.Context, s Store, k Key) (*R, error) {
	value, err := s.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	return parse[R, T](k, value)
}

// list skips damaged records; they stay in the store.
func list[R any, T interface {
	*R
	typed
}](ctx context.Context, s Store, kind Kind, p principal.ID) ([]*R, error) {
	entries, err := s.List(ctx, kind, p)
	if err != nil {
		return nil, err
	}
	var records []*R
	for _, e := range entries {
		r, err := parse[R, T](e.Key, e.Value)
		if _, ok := errors.AsType[*DamagedError](err); ok {
			continue
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// parse believes a value only as far as it agrees with its key. The reasons it gives are its own:
// a decoder's would quote the value.
func parse[R any, T interface {
	*R
	typed
}](k Key, value []byte) (*R, error) {
	r := new(R)
	if len(value) == 0 || value[0] != '{' || json.Unmarshal(value, r, inClear) != nil {
		return nil, &DamagedError{k, "its value does not have the form of this kind"}
	}
	if T(r).Key() != k {
		return nil, &DamagedError{k, "its value belongs to another key"}
	}
	if err := T(r).check(); err != nil {
		return nil, &DamagedError{k, err.Error()}
	}
	return r, nil
}

func put(ctx context.Context, s Store, t typed) error {
	k := t.Key()
	if err := t.check(); err != nil {
		return fmt.Errorf("storing a %s: %w", k.Kind, err)
	}
	value, err := json.Marshal(t, inClear)
	if err != nil {
		return fmt.Errorf("storing a %s: text that is not UTF-8, or a time beyond the year 9999", k.Kind)
	}
	return s.Put(ctx, k, value)
}
