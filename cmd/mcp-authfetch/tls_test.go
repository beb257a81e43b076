package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
)

// The troubleshooting table of the document is what the command prints.
func TestTLSDocument(t *testing.T) {
	const path, mark = "../../docs/mtls.md", "<!-- the table is generated: mcp-authfetch config tls -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, table, found := strings.Cut(string(data), mark)
	if !found {
		t.Fatalf("%s has no line %q", path, mark)
	}
	if os.Getenv("AUTHFETCH_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(head+mark+tlsfault.Table()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(tlsfault.Table(), table); diff != "" {
		t.Errorf("AUTHFETCH_UPDATE=1 go test -run TestTLSDocument ./cmd/mcp-authfetch writes it anew (-want +got):\n%s", diff)
	}
}
