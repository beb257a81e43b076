package keyfile

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// entry is what a test reads: a pair, or bundles.
type entry struct {
	Name, Cert, Key   string
	CA                []string
	Passphrase        func(context.Context) (secret.Text, error)
	PassphraseCommand []string
	StrictPermissions bool
	Settings          map[string]string
}

// loaded is what was read, and what is to be said of it.
type loaded struct {
	certs    []*x509.Certificate
	key      crypto.Signer
	warnings []catalogue.Cause
}

// load reads the entry as tlsmat does.
func load(ctx context.Context, e entry) (*loaded, error) {
	names := Names{Entry: e.Name, Settings: e.Settings}
	for _, path := range e.CA {
		f, err := Read(names, "ca", path)
		if err != nil {
			return nil, err
		}
		blocks, err := f.Blocks()
		if err != nil {
			return nil, err
		}
		if _, err := f.Certificates(blocks); err != nil {
			return nil, err
		}
	}
	if e.Cert == "" {
		return &loaded{}, nil
	}
	cert, err := Read(names, "cert", e.Cert)
	if err != nil {
		return nil, err
	}
	var key *File
	keyFile := cert.As("key")
	if e.Key != "" {
		if key, err = Read(names, "key", e.Key); err != nil {
			return nil, err
		}
		keyFile = key
	}
	l, p := &loaded{}, NewPassphrase(names, e.Passphrase, e.PassphraseCommand)
	if l.certs, l.key, err = Pair(ctx, cert, key, p); err != nil {
		return nil, err
	}
	if l.warnings, err = keyFile.CheckPermissions(e.StrictPermissions); err != nil {
		return nil, err
	}
	if needless, ok := p.Needless(); ok {
		l.warnings = append(l.warnings, needless)
	}
	return l, nil
}

func loadErr(t *testing.T, e entry) *Error {
	t.Helper()
	l, err := load(t.Context(), e)
	var le *Error
	if err != nil && !errors.As(err, &le) || (err == nil) != (l != nil) {
		t.Fatalf("error is %T, want *Error", err)
	}
	return le
}

func pass(s string) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return secret.New(s), nil }
}

// write puts a file into a directory of its own, readable by its owner only.
func write(t *testing.T, name string, data ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes.Join(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func block1(t testing.TB, text []byte) *pem.Block {
	t.Helper()
	b, _ := pem.Decode(text)
	if b == nil {
		t.Fatal("no PEM block")
	}
	return b
}

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// openssl runs the tool, which CI must have.
func openssl(t *testing.T, args ...string) {
	t.Helper()
	needOpenSSL(t)
	if out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func needOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is not installed, and CI must not skip this")
		}
		t.Skip("openssl is not installed")
	}
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// produced reports whether a message was made from c: its text, with anything in the places of what
// was filled in, its code and its remedy.
func produced(c catalogue.Cause, field, code, says, remedy string) bool {
	fits := func(pattern, text string) bool {
		var re strings.Builder
		last := 0
		for _, at := range placeholder.FindAllStringIndex(pattern, -1) {
			re.WriteString(regexp.QuoteMeta(pattern[last:at[0]]) + "(?s:.*)")
			last = at[1]
		}
		re.WriteString(regexp.QuoteMeta(pattern[last:]))
		return regexp.MustCompile(`^`+re.String()+`$`).MatchString(text) && !placeholder.MatchString(text)
	}
	return code == strings.ReplaceAll(c.Code, "{field}", field) && fits(c.Says, says) && fits(c.Remedy, remedy)
}
