//go:build !spiffe

package workload

import (
	"errors"
	"strings"
	"testing"
)

func TestNotBuilt(t *testing.T) {
	c, err := Open(t.Context(), "unix:///run/agent.sock")
	if c != nil || !errors.Is(err, ErrNotBuilt) {
		t.Fatalf("got %v, %v", c, err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Code() != "tls.spiffe_not_built" || !strings.Contains(e.Hint(), "go build -tags spiffe ./cmd/mcp-authfetch") || !strings.Contains(e.Hint(), "spiffe-helper") {
		t.Errorf("%#v", err)
	}
	if _, _, err := c.Identity(t.Context()); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("Identity: %v", err)
	}
}
