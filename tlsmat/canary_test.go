package tlsmat

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
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

func pemLine(p *tlstest.Pair, n int) string { return strings.Split(string(p.KeyPEM), "\n")[n] }

func TestNothingSecretIsPrinted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no /bin/sh on Windows")
	}
	ca := tlstest.NewCA("CA")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPair := ca.Issue(tlstest.Leaf{CN: "rsa", Client: true, Key: rsaKey})
	edPair := ca.Issue(tlstest.Leaf{CN: "ed", Client: true, Key: edKey})
	ecPair := ca.Issue(tlstest.Leaf{CN: "ec", Client: true})
	ecKey := ecPair.Cert.PrivateKey.(*ecdsa.PrivateKey)
	ecBytes, err := ecKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const passphrase = "canary passphrase 7f3a/+="

	secrets := map[string]string{}
	add := func(more map[string]string) {
		for k, v := range more {
			secrets[k] = v
		}
	}
	add(forms("passphrase", []byte(passphrase)))
	add(forms("Ed25519 seed", edKey.Seed()))
	add(forms("ECDSA scalar", ecBytes))
	add(forms("RSA exponent", rsaKey.D.Bytes()[:32]))
	add(forms("RSA prime", rsaKey.Primes[0].Bytes()[:32]))
	secrets["RSA exponent number"] = rsaKey.D.String()[:64]
	secrets["RSA prime number"] = rsaKey.Primes[0].String()[:64]
	for name, line := range map[string]string{ // those that are not public in the certificate too
		"RSA": pemLine(rsaPair, 20), "Ed25519": pemLine(edPair, 1), "ECDSA": pemLine(ecPair, 2),
	} {
		secrets[name+" PEM line"] = line
	}

	// printing is a program that prints the passphrase, to its standard error too.
	t.Setenv("CANARY", passphrase)
	printing := func(and string) []string {
		return []string{"/bin/sh", "-c", `echo "$CANARY" >&2; echo "$CANARY"` + and}
	}

	var values []any
	for name, with := range map[string]*pkcs12.Encoder{"modern": pkcs12.Modern2023, "legacy": pkcs12.LegacyRC2, "PBMAC1": pkcs12.Modern2026} {
		for _, p := range []*tlstest.Pair{rsaPair, edPair, ecPair} {
			e := Entry{Name: "corp", Cert: write(t, name, makePKCS12(t, with, p, passphrase)), PassphraseCommand: printing("")}
			m, err := Load(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, e, m, *m, m.Certificate(), m.Certificate().PrivateKey, m.Facts(), m.Checks(), m.doubts)
		}
	}
	for _, p := range []*tlstest.Pair{rsaPair, edPair, ecPair} {
		cert, key, err := p.Write(t.TempDir(), "client")
		if err != nil {
			t.Fatal(err)
		}
		e := Entry{Name: "corp", Cert: cert, Key: key, Passphrase: pass(passphrase)}
		m, err := Load(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, e, m, *m, m.Certificate(), *m.Certificate(), m.Certificate().PrivateKey, m.Facts(), m.Warnings(), m.TLSConfig("host").RootCAs)

		// Every way to get the key into an error about it.
		keyText, der := p.KeyPEM, block1(t, p.KeyPEM).Bytes
		half := keyText[:len(keyText)/2]
		other := ca.Issue(tlstest.Leaf{CN: "other", Client: true})
		encrypted := encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, der))
		other12 := write(t, "other.p12", makePKCS12(t, pkcs12.Passwordless, other, ""))
		for i, bad := range []Entry{
			{Cert: cert, Key: write(t, "half", half)},
			{Cert: cert, Key: write(t, "der", der[:len(der)-1])},
			{Cert: cert, Key: write(t, "der and more", der, der[1:])},
			{Cert: write(t, "der as certificate", der)},
			{CA: []string{write(t, "der as roots", der)}},
			{Cert: cert, Key: write(t, "encrypted der", block1(t, encrypted).Bytes)},
			{Cert: write(t, "p12", makePKCS12(t, pkcs12.Modern2023, p, "right"))},
			{Cert: write(t, "legacy p12", makePKCS12(t, pkcs12.LegacyRC2, p, "right"))},
			{Cert: cert, Key: write(t, "p12 for the key", makePKCS12(t, pkcs12.LegacyDES, p, "right"))},
			{Cert: write(t, "plain p12, spoilt", bytes.Replace(makePKCS12(t, pkcs12.Passwordless, p, ""), der[2:20], make([]byte, 18), 1))},
			{Cert: write(t, "p12 of another", makePKCS12(t, pkcs12.Passwordless, p, "")), Key: write(t, "key of another", other.KeyPEM)},
			{Cert: other12, Key: write(t, "plain p12", makePKCS12(t, pkcs12.Passwordless, p, ""))},
			{Cert: cert, Key: write(t, "one-line", bytes.ReplaceAll(keyText, []byte("\n"), []byte(`\n`)))},
			{Cert: cert, Key: write(t, "no-begin", keyText[12:])},
			{Cert: cert, Key: write(t, "no-dashes", bytes.ReplaceAll(keyText, []byte("-----\n"), []byte("\n")))},
			{Cert: cert, Key: write(t, "label", []byte("-----BEGIN "), keyText[30:])},
			{Cert: cert, Key: write(t, "label2", []byte("-----BEGIN "), keyText[len(keyText)-90:])},
			{Cert: cert, Key: write(t, "spoilt", encode("PRIVATE KEY", append([]byte{0x30, 0x20}, der[2:]...)))},
			{Cert: cert, Key: write(t, "sec1", encode("EC PRIVATE KEY", der[9:]))},
			{Cert: cert, Key: write(t, "enc", encrypted)},
			{Cert: cert, Key: write(t, "asn1", encode("ENCRYPTED PRIVATE KEY", der))},
			{Cert: write(t, "other.pem", other.CertPEM), Key: key},
			{Cert: cert, Key: write(t, "enc again", encrypted), PassphraseCommand: printing("")},
			{Cert: cert, Key: write(t, "enc", encrypted), PassphraseCommand: printing("; exit 1")},
			{Cert: cert, Key: write(t, "enc", encrypted), PassphraseCommand: printing("; yes $CANARY")},
			{Cert: write(t, "p12", makePKCS12(t, pkcs12.Modern2023, p, "right")), PassphraseCommand: printing("")},
			{Cert: key, Key: cert},
			{Cert: key},
			{CA: []string{key}},
			{CA: []string{write(t, "ca", encode("CERTIFICATE", der))}},
		} {
			if bad.Name = "corp"; bad.PassphraseCommand == nil {
				bad.Passphrase = pass(passphrase)
			}
			_, err := Load(t.Context(), bad)
			if err == nil {
				t.Errorf("%s: the entry %d with %s loads", p.Cert.Leaf.Subject, i, filepath.Base(bad.Key))
				continue
			}
			values = append(values, err, *err.(*LoadError), err.(*LoadError).Hint())
		}
	}
	printed := output(t, values...)
	for name, s := range secrets {
		if strings.Contains(printed, s) {
			t.Errorf("the output contains the %s", name)
		}
	}
	for _, want := range []string{"CN=rsa", secret.Redacted, "tls.passphrase_wrong"} { // the search is not in vain
		if !strings.Contains(printed, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
}

// What was pasted where a path belongs may be the key itself.
func TestPastedTextIsNotRepeated(t *testing.T) {
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	cert := write(t, "cert.pem", p.CertPEM)
	body, _, _ := strings.Cut(strings.TrimPrefix(string(p.KeyPEM), "-----BEGIN PRIVATE KEY-----\n"), "\n")
	encoded := base64.StdEncoding.EncodeToString(p.KeyPEM)
	for _, tt := range []struct {
		name, text, secret string
	}{
		{"PEM", string(p.KeyPEM), body},
		{"PEM after a directory", "/etc/mcp/" + string(p.KeyPEM), body},
		{"PEM with escaped line ends", strings.ReplaceAll(string(p.KeyPEM), "\n", `\n`), body},
		{"the base64 lines alone", body + "\n" + body, body},
		{"base64 of PEM", "/etc/mcp/" + encoded, encoded[40:80]},
	} {
		for field, e := range map[string]Entry{
			"cert": {Cert: tt.text}, "key": {Cert: cert, Key: tt.text}, "ca": {CA: []string{cert, tt.text}}, "crl": {Cert: cert, CRL: []string{tt.text}},
		} {
			e.Name = "corp"
			_, opened := Open(t.Context(), e, SourceOptions{})
			for _, err := range []error{loadErr(t, e), opened} {
				var fail *LoadError
				if !errors.As(err, &fail) || fail.Path != "" || fail.Error() != "mtls.corp."+field+": holds the text of a file, not its name" || fail.Code() != "tls."+field+"_file" {
					t.Fatalf("%s as %s: %v", tt.name, field, err)
				}
				if printed := output(t, err) + fail.Hint(); strings.Contains(printed, tt.secret) {
					t.Errorf("%s as %s: %s", tt.name, field, printed)
				}
			}
		}
	}
}
