// Package principal names whose credentials a piece of work may use.
package principal

import "context"

// ID identifies a principal. It is never empty for work that may carry credentials.
type ID string

// Local is the one principal of a process that serves the person who started it.
const Local ID = "local"

type contextKey struct{}

// With returns a context whose work runs for id.
func With(ctx context.Context, id ID) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// From returns the principal of ctx, or "" where none was set.
func From(ctx context.Context) ID {
	id, _ := ctx.Value(contextKey{}).(ID)
	return id
}
