package keyfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func unavailable(context.Context) (secret.Text, error) {
	return secret.Text{}, errors.New("the vault\x1b[31m is closed")
}

// commandEntry is an entry whose key opens with "right", which this shell script prints or not.
func commandEntry(t *testing.T, script string) entry {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no /bin/sh on Windows")
	}
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	key := encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, block1(t, p.KeyPEM).Bytes).marshal(t))
	return entry{Name: "corp", Cert: write(t, "cert.pem", p.CertPEM), Key: write(t, "key.pem", key), PassphraseCommand: []string{"/bin/sh", "-c", script}}
}

func TestPassphraseCommand(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		cause        catalogue.Cause // zero: it loads
		text         string
	}{
		{"a line", "echo right", catalogue.Cause{}, ""},
		{"no line end", "printf right", catalogue.Cause{}, ""},
		{"the line end of Windows", `printf 'right\r\n'`, catalogue.Cause{}, ""},
		{"a child holds the pipe", "(sleep 60 >/dev/null; :) & echo right", catalogue.Cause{}, ""},
		{"complains, and prints it", "echo complaint >&2; echo right", catalogue.Cause{}, ""},
		{"gets no input", `if read line; then echo wrong; else echo right; fi`, catalogue.Cause{}, ""},
		{"two line ends", `printf 'right\n\n'`, causePassphraseWrong, "(it begins or ends with white space)"},
		{"one that is wrong", "echo wrong", causePassphraseWrong, "wrong passphrase from mtls.corp.passphrase_command"},
		{"an empty line", "echo", causePassphraseEmpty, "the passphrase from mtls.corp.passphrase_command is empty"},
		{"ends with a status", "echo right; echo complaint >&2; exit 7", causeCommandStatus, `the program "/bin/sh" ended with exit status 7`},
		{"ends by a signal", "kill -KILL $$", causeCommandStatus, "signal: killed"},
		{"as long as allowed", "head -c 65536 /dev/zero", causePassphraseWrong, "wrong passphrase"},
		{"too long", "head -c 65537 /dev/zero", causeCommandLong, "more than 64 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := commandEntry(t, tt.script)
			err := loadErr(t, e)
			if tt.cause.ID == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !produced(tt.cause, err.Field, err.Code(), err.Cause.Says, err.Hint()) || !strings.Contains(err.Cause.Says, tt.text) {
				t.Fatalf("%v, want %s %q", err, tt.cause.ID, tt.text)
			}
			if all := err.Error() + err.Hint(); strings.Contains(all, "complaint") || strings.Contains(all, "right") {
				t.Errorf("the error tells what the program wrote: %s", all)
			}
		})
	}
}

// Neither a program that does not end nor a child of it that keeps the pipe holds up a load.
func TestPassphraseCommandIsBoundedByTime(t *testing.T) {
	for name, script := range map[string]string{"program": "exec sleep 60", "child": "sleep 60 & wait"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := runPassphrase(t.Context(), commandEntry(t, script).PassphraseCommand, 1500*time.Millisecond)
			if got := (*commandError)(nil); !errors.As(err, &got) || got.cause != causeCommandTime || !strings.Contains(err.Error(), "longer than 1.5s") {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > 3*time.Second || took < 500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("canceled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := load(ctx, commandEntry(t, "exec sleep 60"))
		if !errors.As(err, new(*Error)) || time.Since(start) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestPassphraseCommandRunsOnlyForWhatIsEncrypted(t *testing.T) {
	e := commandEntry(t, `echo run >>"$0.log"; echo right`)
	log := filepath.Join(t.TempDir(), "x")
	e.PassphraseCommand = append(e.PassphraseCommand, log)
	runs := func() int {
		text, err := os.ReadFile(log + ".log")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("run"))
	}
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "bob", Client: true})
	plain := e
	plain.Cert, plain.Key = write(t, "c", p.CertPEM), write(t, "k", p.KeyPEM)
	l, err := load(t.Context(), plain)
	if err != nil || runs() != 0 {
		t.Fatalf("%v, %d runs for a plain key", err, runs())
	}
	if len(l.warnings) != 1 || l.warnings[0].Says != "mtls.corp.passphrase_command is set, but the key is not encrypted" {
		t.Errorf("warnings %q", l.warnings)
	}
	if _, err := load(t.Context(), e); err != nil || runs() != 1 {
		t.Fatalf("%v, %d runs for an encrypted key, want 1", err, runs())
	}
	both := entry{ // two things to open, with one passphrase
		Name: "corp", Cert: write(t, "c.p12", makePKCS12(t, pkcs12.Modern2023, p, "right")), PassphraseCommand: e.PassphraseCommand,
		Key: write(t, "k.pem", encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, block1(t, p.KeyPEM).Bytes).marshal(t))),
	}
	if _, err := load(t.Context(), both); err != nil || runs() != 2 {
		t.Errorf("%v, %d runs, want one more", err, runs())
	}
}
