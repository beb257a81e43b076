package tokenstore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// Memory is a [Store] that lives and dies with its process. Create it with [NewMemory].
type Memory struct {
	locks nameLocks

	mu     sync.Mutex // guards values
	values map[Key][]byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{values: map[Key][]byte{}} }

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, k Key) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[k]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(v), nil
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, k Key, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := checked(k, value)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[k] = v
	return nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, k Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, k)
	return nil
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, kind Kind, p principal.ID) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var entries []Entry
	for _, k := range slices.SortedFunc(maps.Keys(m.values), Key.compare) {
		if k.Kind == kind && k.Principal == p {
			entries = append(entries, Entry{k, bytes.Clone(m.values[k])})
		}
	}
	return entries, nil
}

// Lock implements [Store].
func (m *Memory) Lock(ctx context.Context, name string) (func(), error) {
	return m.locks.lock(ctx, name, name)
}
