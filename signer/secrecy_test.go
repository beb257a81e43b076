package signer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// use uses a signer and prints all that it can.
func use(how, dir string) {
	print := func(values ...any) { show(os.Stdout, values...) }
	p, err := start(context.Background(), append(argv(how, dir), "--pin", canary), impatient)
	if err != nil {
		print(err, *err.(*Error), err.(*Error).Hint())
		return
	}
	chain, key, err := p.Identity(context.Background())
	if err != nil {
		print(err)
		return
	}
	err = signs(key)
	print(p, key, chain[0].Subject.CommonName, err)
	if e, ok := err.(*Error); ok {
		print(*e, e.Hint(), e.Unwrap())
	}
	_ = p.Close()
	fmt.Println("ends")
}

// show prints each value, directly and inside others, in every way.
func show(w io.Writer, values ...any) {
	jsonLog, textLog := slog.New(slog.NewJSONHandler(w, nil)), slog.New(slog.NewTextHandler(w, nil))
	for _, v := range values {
		type holder struct {
			Value any
			inner any
		}
		for _, x := range []any{v, holder{v, v}, &holder{v, v}, []any{v}, map[string]any{"k": v}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				_, _ = fmt.Fprintf(w, verb+"\n", x)
			}
			jsonLog.Info("m", "v", x)
			textLog.Info("m", "v", x)
			if b, err := json.Marshal(x); err == nil {
				_, _ = w.Write(b)
			}
		}
	}
}

// Nothing that a signer says where it should not, nothing of its arguments and nothing of its key is
// on the standard streams of who uses it, or in any value.
func TestNothingSecretIsPrinted(t *testing.T) {
	ca := tlstest.NewCA("CA")
	for _, how := range []string{"good", "stderr", "banner", "garbage", "garbage in JSON", "half a line", "no id", "wrong key", "dies", "no signature"} {
		t.Run(how, func(t *testing.T) {
			dir, pair := home(t, ca, nil)
			cmd := exec.CommandContext(t.Context(), os.Args[0], asUser, how, dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, out.Bytes())
			}
			hidden := [][]byte{[]byte(canary), []byte(dir)}
			for _, line := range bytes.Split(pair.KeyPEM, []byte("\n")) {
				if len(line) > 20 && !bytes.HasPrefix(line, []byte("-----")) {
					hidden = append(hidden, line)
				}
			}
			for _, b := range hidden {
				for _, form := range []string{string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), base64.RawStdEncoding.EncodeToString(b),
					base64.RawURLEncoding.EncodeToString(b), url.QueryEscape(string(b)), strings.Trim(fmt.Sprint(b), "[]")} {
					if strings.Contains(out.String(), form) {
						t.Errorf("the output has %q", form)
					}
				}
			}
			want := secret.Redacted // the search is not in vain
			if how == "banner" {
				want = "line 1 of what the signer"
			}
			if !strings.Contains(out.String(), want) {
				t.Errorf("the output lacks %q:\n%.2000s", want, out.String())
			}
		})
	}
}

func TestFormat(t *testing.T) {
	dir, _ := home(t, tlstest.NewCA("CA"), nil)
	p := started(t, "good", dir, impatient)
	for _, v := range []any{p, keyOf(t, p)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, v); got != secret.Redacted {
				t.Errorf("%T with %s: %s", v, verb, got)
			}
		}
	}
}

// Every cause is used, and what is used is a cause.
func TestCauses(t *testing.T) {
	used := map[string]bool{}
	for _, name := range must(os.ReadDir(".")) {
		if !strings.HasSuffix(name.Name(), ".go") || strings.HasSuffix(name.Name(), "_test.go") || name.Name() == "error.go" {
			continue
		}
		for _, m := range regexp.MustCompile(`"(signer\.[a-z_]+)"`).FindAllStringSubmatch(string(must(os.ReadFile(name.Name()))), -1) {
			used[m[1]] = true
		}
	}
	used["signer.line"] = true // by badLine
	seen := map[string]bool{}
	for _, c := range Causes() {
		if seen[c.ID] || !used[c.ID] {
			t.Errorf("%s: twice, or not used", c.ID)
		}
		seen[c.ID] = true
		if !slices.Contains([]string{"tls.signer", "tls.key_mismatch"}, c.Code) || c.Says == "" || c.Remedy == "" || strings.HasSuffix(c.Says, ".") {
			t.Errorf("%+v", c)
		}
		if !strings.Contains(c.Says, "{command}") {
			t.Errorf("%s does not name the signer", c.ID)
		}
	}
	for id := range used {
		if !seen[id] {
			t.Errorf("%s is no cause", id)
		}
	}
}
