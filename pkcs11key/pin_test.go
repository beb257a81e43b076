//go:build pkcs11

package pkcs11key

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/miekg/pkcs11"
)

// withKey is a token "one" with a key.
func withKey(t *testing.T) *hsm {
	t.Helper()
	h := newHSM(t)
	h.token("one")
	h.key("one", "01", "web", tlstest.NewCA("root").Issue(tlstest.Leaf{CN: "web", Client: true}))
	return h
}

// low reports whether the token has counted a wrong PIN since the last right one.
func (h *hsm) low() bool {
	h.t.Helper()
	return strings.Contains(h.run("opensc", "pkcs11-tool", "--module", h.module, "--list-token-slots"), "user PIN count low")
}

// A wrong PIN costs one try, however often it is offered.
func TestWrongPIN(t *testing.T) {
	h := withKey(t)
	if h.low() {
		t.Fatal("the token has counted a PIN before the test")
	}
	calls := h.spy()
	uri := h.uri("object=web")
	const wrong = "1234-CANARY"
	got := h.fails(uri, wrong, pinWrong)
	if got.Code() != "tls.pkcs11_pin" || !strings.Contains(got.Hint(), "not tried again") {
		t.Errorf("code %q, hint %q", got.Code(), got.Hint())
	}
	if n := calls("C_Login"); n != 1 {
		t.Fatalf("%d logins, want 1", n)
	}
	if !h.low() {
		t.Fatal("the token has not counted the wrong PIN: the test does not see what it looks for")
	}
	h.tool("one", "--list-objects") // with the right PIN, which sets the token's counter back
	for range 5 {
		if got := h.fails(uri, wrong, pinKnown); got.Code() != "tls.pkcs11_pin" {
			t.Errorf("code %q", got.Code())
		}
	}
	if h.low() {
		t.Error("the token has counted a PIN that it had refused before")
	}
	before := calls("C_Login")
	h.fails(uri, "another-CANARY", pinWrong)
	h.fails(uri, wrong, pinKnown)
	h.fails(uri, "another-CANARY", pinKnown)
	h.open("object=web")
	if n := calls("C_Login") - before; n != 2 {
		t.Errorf("%d logins for another wrong PIN and the right one, want 2", n)
	}
}

// What a token refused says nothing of another.
func TestWrongPINOfOneToken(t *testing.T) {
	h := withKey(t)
	h.util("--init-token", "--free", "--label", "two", "--so-pin", soPIN, "--pin", "another-CANARY")
	h.fails(h.uri("token=two"), pin, pinWrong)
	h.open("token=one")
}

// Where a token tells that the next wrong PIN is the last, or the one that was, nothing is tried.
func TestPINIsNotSpent(t *testing.T) {
	h := withKey(t)
	calls := h.spy()
	u, err := parse(h.uri("object=web"))
	if err != nil {
		t.Fatal(err)
	}
	token := &Token{wanted: u, module: h.module, closed: make(chan struct{})}
	if token.module, err = u.module(); err != nil {
		t.Fatal(err)
	}
	defer token.release()
	found, err := token.start()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		set, not uint
		pin      string
		want     catalogue.Cause
	}{
		{"last try", pkcs11.CKF_USER_PIN_FINAL_TRY, 0, pin, pinFinal},
		{"locked", pkcs11.CKF_USER_PIN_LOCKED, 0, pin, pinLocked},
		{"locked after the last try", pkcs11.CKF_USER_PIN_LOCKED | pkcs11.CKF_USER_PIN_FINAL_TRY, 0, pin, pinLocked},
		{"not set", 0, pkcs11.CKF_USER_PIN_INITIALIZED, pin, pinUnset},
		{"to be changed", pkcs11.CKF_USER_PIN_TO_BE_CHANGED, 0, pin, pinUnset},
		{"none given", 0, 0, "", pinMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := found
			p.info.Flags = p.info.Flags&^tt.not | tt.set
			wantCause(t, token.logIn(p, secret.New(tt.pin)), tt.want)
		})
	}
	logins := calls("C_Login")
	if logins != 0 {
		t.Errorf("%d logins, want none", logins)
	}
	// What a module answers to a wrong PIN may be anything; the token's flags tell.
	if token.counted(found) {
		t.Error("a wrong PIN was counted before there was one")
	}
	if out, err := exec.Command("pkcs11-tool", "--module", h.module, "--token-label", "one", "--login", "--pin", "wrong", "--list-objects").CombinedOutput(); err == nil {
		t.Fatalf("a wrong PIN was right: %s", out)
	}
	if !token.counted(found) {
		t.Error("a wrong PIN was not counted")
	}
	logins = calls("C_Login")
	if err := token.logIn(found, secret.New(pin)); err != nil || calls("C_Login") != logins+1 {
		t.Errorf("as the token is: %v and %d logins", err, calls("C_Login")-logins)
	}
}

func TestPINSource(t *testing.T) {
	h := withKey(t)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "the pin")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(path, " ", "%2520") // encoded in the file: URI, which is encoded in ours
	}
	for _, tt := range []struct{ name, source, given string }{
		{"passphrase", "", pin},
		{"file", "pin-source=file:" + file(pin), ""},
		{"file with a line end", "pin-source=file:" + file(pin+"\r\n"), ""},
		{"file of this host", "pin-source=file://" + file(pin+"\n"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := Open(t.Context(), h.uri("object=web", tt.source), secret.New(tt.given))
			if err != nil {
				t.Fatal(err)
			}
			if err := token.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, tt := range []struct {
		name, source, given string
		want                catalogue.Cause
	}{
		{"both", "pin-source=file:" + file(pin), pin, pinTwice},
		{"neither", "x-a=1", "", pinMissing},
		{"no such file", "pin-source=file:/nowhere/pin", "", pinSource},
		{"empty file", "pin-source=file:" + file("\n"), "", pinSource},
		{"more than one line", "pin-source=file:" + file(pin+"\n"+pin+"\n"), "", pinSource},
		{"long file", "pin-source=file:" + file(strings.Repeat("1", 2000)), "", pinSource},
		{"directory", "pin-source=file:/", "", pinSource},
		{"command", "pin-source=|/bin/CANARY", "", badURI},
		{"another host", "pin-source=file://host.example/pin", "", badURI},
		{"not a URI", "pin-source=CANARY", "", badURI},
		{"relative", "pin-source=file:CANARY", "", badURI},
		{"of the web", "pin-source=https://corp.example/pin", "", badURI},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.t = t
			h.fails(h.uri("object=web", tt.source), tt.given, tt.want)
		})
	}
}

func TestPINMemory(t *testing.T) {
	var m pinMemory
	first := m.entry("/m.so", "1", "a", secret.New(pin))
	if m.has(first) {
		t.Error("knows what it was not told")
	}
	m.add(first)
	for _, tt := range []struct {
		name                       string
		module, serial, label, pin string
		want                       bool
	}{
		{"the same", "/m.so", "1", "a", pin, true},
		{"another module", "/n.so", "1", "a", pin, false},
		{"another token", "/m.so", "2", "a", pin, false},
		{"another label", "/m.so", "1", "b", pin, false},
		{"another PIN", "/m.so", "1", "a", pin + "1", false},
		{"parts cut elsewhere", "/m.so1", "", "a", pin, false},
	} {
		if got := m.has(m.entry(tt.module, tt.serial, tt.label, secret.New(tt.pin))); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
