//go:build !pkcs11

package pkcs11key

import (
	"errors"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func TestNotBuilt(t *testing.T) {
	_, err := Open(t.Context(), "pkcs11:token=a?module-path=/usr/lib/m.so", secret.New("1234"))
	if !errors.Is(err, ErrNotBuilt) {
		t.Fatalf("got %v", err)
	}
	if got, want := err.Error(), "this build of mcp-authfetch cannot use PKCS #11"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var told *Error
	if !errors.As(err, &told) {
		t.Fatalf("error is %T", err)
	}
	if got, want := told.Code(), "tls.pkcs11_not_built"; got != want {
		t.Errorf("code %q, want %q", got, want)
	}
	for _, part := range []string{"CGO_ENABLED=1 go build -tags pkcs11 ./cmd/mcp-authfetch", "docs/signer.md"} {
		if !strings.Contains(told.Hint(), part) {
			t.Errorf("hint %q does not say %q", told.Hint(), part)
		}
	}
}

// A PIN in the configuration is told in every build.
func TestNotBuiltReadsURI(t *testing.T) {
	var told *Error
	if _, err := Open(t.Context(), "pkcs11:?pin-value=1", secret.Text{}); !errors.As(err, &told) || told.Cause != pinInURI {
		t.Errorf("got %v", err)
	}
}
