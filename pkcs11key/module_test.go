//go:build pkcs11

package pkcs11key

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/miekg/pkcs11"
)

func TestModule(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling.so")
	if err := os.Symlink(filepath.Join(dir, "gone.so"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, query string
		cause       catalogue.Cause
		says        string
	}{
		{"none", "", badURI, "has no module-path"},
		{"empty", "?module-path=", badURI, "has no module-path"},
		{"name alone", "?module-name=softhsm2", badURI, "has module-name"},
		{"relative", "?module-path=libsofthsm2.so", badURI, "not absolute"},
		{"missing", "?module-path=" + dir + "/nothing.so", moduleMissing, "no such file or directory"},
		{"symbolic link to nothing", "?module-path=" + dangling, moduleMissing, "no such file or directory"},
		{"directory", "?module-path=" + dir, moduleMissing, "not a file"},
		{"no library", "?module-path=" + text, moduleForeign, "cannot be loaded"},
		{"another library", "?module-path=" + find(t, "libc6", "/lib/*/libc.so.6", "/lib*/libc.so.6"), moduleForeign, "cannot be loaded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), "pkcs11:token=one"+tt.query, secret.New(pin))
			if got := wantCause(t, err, tt.cause); !strings.Contains(got.Error(), tt.says) {
				t.Errorf("%q does not say %q", got, tt.says)
			}
		})
	}
}

// A module that does not start says why, as SoftHSM without its configuration.
func TestModuleFails(t *testing.T) {
	h := newHSM(t)
	t.Setenv("SOFTHSM2_CONF", filepath.Join(t.TempDir(), "nothing"))
	got := h.fails(h.uri("token=one"), pin, moduleFails)
	if !strings.Contains(got.Error(), "CKR_") || !strings.Contains(got.Hint(), "libsofthsm2.so --list-slots") {
		t.Errorf("%q, %q", got, got.Hint())
	}
}

func TestTokens(t *testing.T) {
	h := withKey(t)
	for range 2 {
		h.token("twin")
	}
	h.token("evil\x1b[31m\u202e")
	got := h.fails(h.uri("token=other"), pin, tokenNone)
	for _, part := range []string{"pkcs11:token=other", `"one" (serial `, `"twin" (serial `, `"evil[31m" (serial `} {
		if !strings.Contains(got.Error(), part) {
			t.Errorf("%q does not say %q", got, part)
		}
	}
	if got.Code() != "tls.pkcs11_token" {
		t.Errorf("code %q", got.Code())
	}
	several := h.fails(h.uri("token=twin"), pin, tokenMany)
	if strings.Contains(several.Error(), `"one"`) || strings.Count(several.Error(), `"twin" (serial `) != 2 {
		t.Errorf("%q does not list the twins alone", several)
	}
	_, serial, _ := strings.Cut(several.Error(), "(serial ")
	serial, _, _ = strings.Cut(serial, ")")
	h.fails(h.uri("token=twin;serial="+serial), pin, keyNone)
	h.fails(h.uri("token=one;serial="+serial), pin, tokenNone)
	h.open("token=one;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;library-manufacturer=SoftHSM;slot-manufacturer=SoftHSM%20project")
}

func TestNoTokens(t *testing.T) {
	h := newHSM(t)
	if got := h.fails(h.uri(""), pin, tokenNone); !strings.Contains(got.Error(), "present: none") {
		t.Errorf("got %q", got)
	}
}

// SoftHSM reads its configuration from a pipe here, and waits until somebody writes one.
func TestModuleIsSilent(t *testing.T) {
	h := withKey(t)
	pipe := filepath.Join(t.TempDir(), "conf")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", pipe)
	uri := h.uri("object=web")
	short := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := Open(ctx, uri, secret.New(pin))
		return err
	}
	for _, name := range []string{"in the module", "behind who is in the module"} {
		err := short()
		if told := wantCause(t, err, moduleSilent); told.Code() != "tls.pkcs11_silent" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// When the module answers after all, what was given up ends, and gives the module back.
	stop, fed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fed)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // somebody reads
				_, _ = f.WriteString(h.conf())
				_ = f.Close()
			}
		}
	}()
	defer func() { close(stop); <-fed }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	token, err := Open(ctx, uri, secret.New(pin))
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
}

// A module that two names lead to is initialized once.
func TestModuleByTwoNames(t *testing.T) {
	h := withKey(t)
	first := h.open("object=web")
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(h.module, link); err != nil {
		t.Fatal(err)
	}
	h.module = link
	second := h.open("object=web")
	for _, token := range []*Token{first, second} {
		_, key := identity(t, token)
		if err := sign(key); err != nil {
			t.Error(err)
		}
	}
}

func TestSessionsFor(t *testing.T) {
	const unknown = pkcs11.CK_UNAVAILABLE_INFORMATION
	for _, tt := range []struct {
		writing, all uint
		want         int
		ok           bool
	}{
		{0, 0, 9, true}, {unknown, unknown, 9, true}, {0, 1024, 9, true}, {16, 5, 4, true}, {2, 0, 2, true}, {1, 0, 1, false}, {0, 2, 1, false}, {0, 1, 0, false},
	} {
		got, ok := sessionsFor(pkcs11.TokenInfo{MaxRwSessionCount: tt.writing, MaxSessionCount: tt.all})
		if got != tt.want || ok != tt.ok {
			t.Errorf("%d and %d: got %d, %v", tt.writing, tt.all, got, ok)
		}
	}
}
