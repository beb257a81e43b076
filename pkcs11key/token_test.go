//go:build pkcs11

package pkcs11key

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// sign makes a signature, or tells why there is none.
func sign(key crypto.Signer) error {
	digest := sha256.Sum256([]byte("a handshake"))
	_, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	return err
}

func TestConcurrent(t *testing.T) {
	h := withKey(t)
	token := h.open("object=web")
	_, key := identity(t, token)
	var all sync.WaitGroup
	for range 4 * maxCalls {
		all.Go(func() {
			for range 10 {
				if err := sign(key); err != nil {
					t.Error(err)
				}
			}
			if _, _, err := token.Identity(t.Context()); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			another, err := Open(t.Context(), h.uri("object=web"), secret.New(pin))
			if err != nil {
				t.Error(err)
				return
			}
			if err := another.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Close amid signatures ends them or lets them end, and the process lives.
func TestClose(t *testing.T) {
	h := withKey(t)
	other := h.open("object=web")
	_, others := identity(t, other)
	for range 10 {
		token, err := Open(t.Context(), h.uri("object=web"), secret.New(pin))
		if err != nil {
			t.Fatal(err)
		}
		_, key := identity(t, token)
		var all sync.WaitGroup
		for range 2 * maxCalls {
			all.Go(func() {
				for {
					if err := sign(key); err != nil {
						wantGone(t, err)
						return
					}
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		for range 2 {
			if err := token.Close(); err != nil {
				t.Error(err)
			}
		}
		all.Wait()
		_, _, err = token.Identity(t.Context())
		wantGone(t, err)
	}
	if err := sign(others); err != nil {
		t.Errorf("the key of a Token that is open: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	wantGone(t, sign(others))
}

func wantGone(t *testing.T, err error) {
	t.Helper()
	var told *Error
	if !errors.Is(err, ErrGone) || !errors.As(err, &told) || told.Code() != "tls.pkcs11_gone" {
		t.Errorf("got %v", err)
	}
}

// A token that is taken away is told as such, and found again.
func TestRemoved(t *testing.T) {
	h := withKey(t)
	token, err := Open(t.Context(), h.uri("object=web"), secret.New(pin))
	if err != nil {
		t.Fatal(err)
	}
	_, old := identity(t, token)
	away := h.dir + ".away"
	if err := os.Rename(h.dir, away); err != nil {
		t.Fatal(err)
	}
	wantGone(t, sign(old))
	_, _, err = token.Identity(t.Context())
	wantCause(t, err, keyNone) // SoftHSM's token without its directory is an empty one
	if err := token.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h.fails(h.uri("object=web"), pin, tokenNone)
	if err := os.Remove(h.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, h.dir); err != nil {
		t.Fatal(err)
	}
	_, key := identity(t, h.open("object=web"))
	if err := sign(key); err != nil {
		t.Error(err)
	}
}

// A token that was pulled and plugged in again shows no private keys, because nobody is logged in.
func TestLoggedOut(t *testing.T) {
	h := withKey(t)
	token := h.open("object=web")
	_, key := identity(t, token)
	if err := token.withSession(func(s session) error { return s.lib.Logout(s.handle) }); err != nil {
		t.Fatal(err)
	}
	_, _, err := token.Identity(t.Context())
	wantGone(t, err)
	wantGone(t, sign(key))
	_, key = identity(t, h.open("object=web"))
	if err := sign(key); err != nil {
		t.Error(err)
	}
}

// A call that does not return does not keep its caller, nor the next one, nor Close.
func TestCallIsBounded(t *testing.T) {
	h := withKey(t)
	token := h.open("object=web")
	answer := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	for i := range cap(token.calls) {
		entered := make(chan struct{})
		go func() {
			<-entered
			if i == maxCalls-1 {
				cancel()
			}
		}()
		if i < maxCalls-1 {
			go func() {
				_, _ = call(t.Context(), token, func() (int, error) { close(entered); <-answer; return 0, nil })
			}()
			<-entered
			continue
		}
		_, err := call(ctx, token, func() (int, error) { close(entered); <-answer; return 0, nil })
		wantCause(t, err, moduleSilent)
	}
	full, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := token.Identity(full)
	wantCause(t, err, moduleSilent)

	// Close waits for who is in the module, and those that wait for a place go.
	closed, waiting := make(chan error), make(chan error)
	go func() { _, _, err := token.Identity(t.Context()); waiting <- err }()
	time.Sleep(20 * time.Millisecond)
	go func() { closed <- token.Close() }()
	wantGone(t, <-waiting)
	select {
	case err := <-closed:
		t.Errorf("closed with calls in the module: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(answer)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// Nobody who has given up costs a try of the PIN.
func TestGivenUp(t *testing.T) {
	h := withKey(t)
	calls := h.spy()
	h.open("object=web")
	before := calls("C_Login")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, h.uri("object=web"), secret.New(pin))
	wantCause(t, err, moduleSilent)
	u, err := parse(h.uri("object=web"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := u.module()
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(ctx, u, module, secret.New(pin))
	wantCause(t, err, moduleSilent)
	if n := calls("C_Login") - before; n != 0 {
		t.Errorf("%d logins", n)
	}
}

// Tokens have few sessions.
func TestSessionsAreClosed(t *testing.T) {
	h := withKey(t)
	h.tool("one", "--keypairgen", "--key-type", "EC:edwards25519", "--id", "02", "--label", "ed")
	calls := h.spy()
	token := h.open("object=ed")
	open := func() int { return calls("C_OpenSession") - calls("C_CloseSession") }
	_, key := identity(t, token)
	before := open()
	for range 5 {
		identity(t, token)
		if _, err := key.Sign(nil, []byte("a handshake"), crypto.Hash(0)); err != nil {
			t.Fatal(err)
		}
	}
	if now := open(); now != before {
		t.Errorf("%d sessions are open, want %d", now, before)
	}
}

func TestPrintsNothingSecret(t *testing.T) {
	h := withKey(t)
	token := h.open("object=web")
	_, key := identity(t, token)
	type holder struct {
		Key   crypto.Signer
		inner crypto.Signer
		token *Token
	}
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{key, token, holder{key, key, token}, &holder{key, key, token}, []any{key, token}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	log.Info("m", "key", key, "token", token, "holder", holder{key, key, token})
	for _, form := range []string{"CANARY", fmt.Sprintf("%x", "CANARY"), fmt.Sprintf("%X", "CANARY"), "67 65 78 65 82 89"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("a PIN is printed as %q:\n%s", form, out.String())
		}
	}
	if got, want := fmt.Sprint(key), `PKCS #11 key "web" (EC, id=%01)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := fmt.Sprint(token); !strings.HasPrefix(got, `PKCS #11 token "one" (serial `) {
		t.Errorf("got %q", got)
	}
}
