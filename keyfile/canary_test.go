package keyfile

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// output is everything a program may print of these values, directly or inside others.
func output(t *testing.T, values ...any) string {
	t.Helper()
	var out bytes.Buffer
	jsonLog := slog.New(slog.NewJSONHandler(&out, nil))
	textLog := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range values {
		type holder struct {
			Value any
			inner any
		}
		for _, x := range []any{v, holder{v, v}, &holder{v, v}, []any{v}, map[string]any{"k": v}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, verb+"\n", x)
			}
			jsonLog.Info("m", "v", x)
			textLog.Info("m", "v", x)
			if b, err := json.Marshal(x); err == nil {
				out.Write(b)
			}
		}
	}
	return out.String()
}

// forms are the ways in which secret bytes could appear.
func forms(name string, b []byte) map[string]string {
	decimal := strings.Trim(fmt.Sprint(b), "[]")
	return map[string]string{
		name + " raw": string(b), name + " hex": hex.EncodeToString(b), name + " HEX": strings.ToUpper(hex.EncodeToString(b)),
		name + " base64": base64.RawStdEncoding.EncodeToString(b), name + " base64url": base64.RawURLEncoding.EncodeToString(b),
		name + " decimal": decimal, name + " Go": strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		name + " URL": url.QueryEscape(string(b)), name + " quoted": strings.Trim(fmt.Sprintf("%q", b), `"`),
	}
}

// What was read is not printed, nor is the passphrase that opened it.
func TestNothingSecretIsPrinted(t *testing.T) {
	const passphrase = "canary passphrase 7f3a/+="
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	path := write(t, "p12", makePKCS12(t, pkcs12.Modern2023, p, passphrase))
	asked := NewPassphrase(Names{Entry: "corp"}, pass(passphrase), nil)
	f, err := Read(Names{Entry: "corp"}, "cert", path)
	if err != nil {
		t.Fatal(err)
	}
	certs, key, err := Pair(t.Context(), f, nil, asked)
	if err != nil || len(certs) == 0 {
		t.Fatal(err)
	}
	blocks, err := f.Blocks()
	if err == nil {
		blocks, err = f.unpack(t.Context(), blocks, asked)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Forget()
	printed := output(t, f, *f, asked, *asked, key) + fmt.Sprint(blocks)
	secrets := forms("key", block1(t, p.KeyPEM).Bytes[36:68]) // the scalar, RFC 5915 §3
	for name, form := range forms("passphrase", []byte(passphrase)) {
		secrets[name] = form
	}
	for name, form := range secrets {
		if strings.Contains(printed, form) {
			t.Errorf("the output contains the %s", name)
		}
	}
	for _, want := range []string{path, secret.Redacted, "inside the PKCS#12"} { // the search is not in vain
		if !strings.Contains(printed, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
}

// What was pasted where a path belongs may be the key itself.
func TestPastedTextIsNotRepeated(t *testing.T) {
	text := string(tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true}).KeyPEM)
	body := strings.Split(text, "\n")[1]
	encoded := base64.StdEncoding.EncodeToString([]byte(text))
	for _, tt := range []struct{ name, text, secret string }{
		{"PEM", text, body},
		{"PEM after a directory", "/etc/mcp/" + text, body},
		{"PEM with escaped line ends", strings.ReplaceAll(text, "\n", `\n`), body},
		{"lines of base64 alone", body + "\n" + body, body},
		{"base64 of PEM", "/etc/mcp/" + encoded, encoded[40:80]},
	} {
		_, read := Read(Names{Settings: map[string]string{"key": signingKey}}, "key", tt.text)
		_, _, loaded := LoadKey(tt.text, secret.Text{}, signingKey, signingPassphrase)
		for _, err := range []error{read, loaded} {
			fail, ok := errors.AsType[*Error](err)
			if !ok || fail.Path != "" || fail.Error() != signingKey+": holds the text of a file, not its name" || fail.Code() != "tls.key_file" {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if strings.Contains(output(t, err)+fail.Hint(), tt.secret) {
				t.Errorf("%s: the error repeats it", tt.name)
			}
		}
	}
}
