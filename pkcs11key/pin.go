//go:build pkcs11

package pkcs11key

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/miekg/pkcs11"
)

// pin is the given one or that of the file which the URI names.
func (u *uri) pin(given secret.Text) (secret.Text, error) {
	source, ok := u.query["pin-source"]
	switch {
	case !ok:
		return given, nil
	case !given.IsZero():
		return secret.Text{}, fault(pinTwice, nil)
	case strings.HasPrefix(source, "|"):
		return secret.Text{}, bad("has a command in pin-source: write it as the command of passphrase")
	}
	at, err := url.Parse(source)
	if err != nil || at.Scheme != "file" || at.Host != "" && at.Host != "localhost" || !strings.HasPrefix(at.Path, "/") || at.RawQuery != "" || at.Fragment != "" {
		return secret.Text{}, bad("has a pin-source that is not of the form file:/PATH")
	}
	pin, err := readPIN(at.Path)
	if err != nil {
		return secret.Text{}, fault(pinSource, err, "file", sanitize.Line(at.Path, 300), "why", reason(err))
	}
	return pin, nil
}

// readPIN reads a file of one line.
func readPIN(path string) (secret.Text, error) {
	const most = 1024
	f, err := os.Open(path)
	if err != nil {
		return secret.Text{}, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return secret.Text{}, errors.New("it is not a file")
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return secret.Text{}, err
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	switch {
	case len(text) == 0:
		return secret.Text{}, errors.New("it is empty")
	case len(text) > most || bytes.ContainsAny(text, "\r\n\x00"):
		return secret.Text{}, errors.New("it holds more than one line")
	}
	return secret.New(string(text)), nil
}

// logIn asks the token for its PIN at most once, and not at all where the answer is known or a
// wrong PIN would lock the token: whoever starts this program again and again would do that.
func (t *Token) logIn(p present, pin secret.Text) error {
	fail := func(c catalogue.Cause) error {
		return fault(c, nil, "token", t.name, "module", sanitize.Line(t.module, 300))
	}
	flag := func(f uint) bool { return p.info.Flags&f != 0 }
	tried := refused.entry(t.module, p.is["serial"], p.is["token"], pin)
	switch {
	case pin.IsZero() && flag(pkcs11.CKF_LOGIN_REQUIRED):
		return fail(pinMissing)
	case pin.IsZero():
		return nil
	case flag(pkcs11.CKF_USER_PIN_LOCKED):
		return fail(pinLocked)
	case !flag(pkcs11.CKF_USER_PIN_INITIALIZED), flag(pkcs11.CKF_USER_PIN_TO_BE_CHANGED):
		return fail(pinUnset)
	case refused.has(tried):
		return fail(pinKnown)
	case flag(pkcs11.CKF_USER_PIN_FINAL_TRY):
		return fail(pinFinal)
	}
	err := t.withSession(func(s session) error {
		err := s.lib.Login(s.handle, pkcs11.CKU_USER, pin.Reveal())
		if err == nil || is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
			return nil
		}
		return err
	})
	switch {
	case err == nil:
		t.login = true
		return nil
	case is(err, pkcs11.CKR_PIN_LOCKED):
		refused.add(tried)
		return fail(pinLocked)
	case is(err, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
		return fail(pinUnset)
	case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE), t.counted(p):
		refused.add(tried)
		return fail(pinWrong)
	}
	return t.over(err)
}

// counted reports whether the token has one try less, whatever the module answered.
func (t *Token) counted(before present) bool {
	const low = pkcs11.CKF_USER_PIN_COUNT_LOW | pkcs11.CKF_USER_PIN_FINAL_TRY | pkcs11.CKF_USER_PIN_LOCKED
	now, err := t.lib.GetTokenInfo(t.slot)
	return err == nil && now.Flags&low&^before.info.Flags != 0
}

// refused are the PINs that a token refused. Tokens are locked after three wrong ones or so, and
// whoever owns a [Token] tries to open it again and again.
var refused pinMemory

// pinMemory knows PINs by their HMAC under a key of this process, so that it holds none itself.
type pinMemory struct {
	mu   sync.Mutex // guards key and seen
	key  []byte
	seen map[[sha256.Size]byte]bool
}

func (m *pinMemory) entry(module, serial, label string, pin secret.Text) (sum [sha256.Size]byte) {
	m.mu.Lock()
	if m.key == nil {
		m.key = make([]byte, sha256.Size)
		_, _ = rand.Read(m.key) // never fails
	}
	mac := hmac.New(sha256.New, m.key)
	m.mu.Unlock()
	for _, part := range []string{module, serial, label, pin.Reveal()} {
		length := sha256.Sum256([]byte(part)) // of one length, so that no two lists of parts are one text
		mac.Write(length[:])
	}
	mac.Sum(sum[:0])
	return sum
}

func (m *pinMemory) has(entry [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[entry]
}

func (m *pinMemory) add(entry [sha256.Size]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[[sha256.Size]byte]bool{}
	}
	m.seen[entry] = true
}
