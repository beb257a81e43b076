package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The document is what the command prints.
func TestIssuersDocument(t *testing.T) {
	got, err := os.ReadFile("../../docs/issuers.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(knownIssuers(), string(got)); diff != "" {
		t.Errorf("go run ./cmd/mcp-authfetch config issuers > docs/issuers.md (-want +got):\n%s", diff)
	}
}
