package tokenstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/zalando/go-keyring"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// keyringService is the service of the entry in the keyring; its user is the store's directory.
const keyringService = "mcp-authfetch"

// keyringTimeout bounds how long an operation waits for the keyring.
const keyringTimeout = 3 * time.Second

// Keyring is a [Store] in a file like that of [File], store.sealed.json, whose values are sealed
// (see [Seal]) with a key that the operating system's keyring keeps. Create it with [OpenKeyring].
//
// The keyring is asked at the first operation that needs the key, and not again once it gave it.
// Until then these operations fail with a [*KeyringError], within 3 seconds, and the next one asks
// anew: a keyring that has been unlocked meanwhile helps without a restart. Nothing is ever stored
// unsealed, and no key is made while the file has records.
//
// The key goes to the keyring over D-Bus (Linux and BSD), through the credential manager's
// interface (Windows) or to the standard input of /usr/bin/security (macOS): never as an argument
// or in the environment of a process. What it protects is the file, in backups and on lost disks.
// Other programs of the same user may ask an unlocked keyring too.
type Keyring struct {
	file *File
	user string // of the entry in the keyring

	mu     sync.Mutex // guards what follows
	sealed Store      // nil before the keyring gave the key
	asked  *inquiry   // nil while nobody asks
}

// inquiry is a question to the keyring under way. Its result is set before done is closed.
type inquiry struct {
	done  chan struct{}
	store Store
	err   error
}

// OpenKeyring opens the store in dir as [OpenFile] does, without asking the keyring. Logins that a
// [File] keeps in the same directory are not used; [Keyring.Warnings] tells of them.
func OpenKeyring(dir string, opts FileOptions) (*Keyring, error) {
	f, err := openNamed(dir, sealedName, opts)
	if err != nil {
		return nil, err
	}
	if err := f.warnOfPlaintext(); err != nil {
		return nil, err
	}
	return &Keyring{file: f, user: keyringUser(f.dir)}, nil
}

// Dir returns the absolute path of the store's directory.
func (k *Keyring) Dir() string { return k.file.Dir() }

// Warnings returns what a person should know and no operation reported as an error: what
// [File.Warnings] has, and that unsealed logins are in the directory.
func (k *Keyring) Warnings() []string { return k.file.Warnings() }

// Get implements [Store].
func (k *Keyring) Get(ctx context.Context, key Key) ([]byte, error) {
	s, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, key)
}

// Put implements [Store].
func (k *Keyring) Put(ctx context.Context, key Key, value []byte) error {
	s, err := k.open(ctx)
	if err != nil {
		return err
	}
	return s.Put(ctx, key, value)
}

// Delete implements [Store]. It does not need the keyring.
func (k *Keyring) Delete(ctx context.Context, key Key) error { return k.file.Delete(ctx, key) }

// List implements [Store].
func (k *Keyring) List(ctx context.Context, kind Kind, p principal.ID) ([]Entry, error) {
	s, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	return s.List(ctx, kind, p)
}

// Keys returns the keys of all records of one kind and principal, sorted, those among them whose
// values cannot be opened. It does not need the keyring: keys are not sealed.
func (k *Keyring) Keys(ctx context.Context, kind Kind, p principal.ID) ([]Key, error) {
	entries, err := k.file.List(ctx, kind, p)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// Lock implements [Store]. It does not need the keyring.
func (k *Keyring) Lock(ctx context.Context, name string) (func(), error) {
	return k.file.Lock(ctx, name)
}

// open returns the store that seals. A keyring that waits for a person cannot be interrupted, so
// the question to it outlives the call, and later calls wait for the same one.
func (k *Keyring) open(ctx context.Context) (Store, error) {
	k.mu.Lock()
	if k.sealed != nil {
		defer k.mu.Unlock()
		return k.sealed, nil
	}
	q := k.asked
	if q == nil {
		q = &inquiry{done: make(chan struct{})}
		k.asked = q
		go k.ask(q)
	}
	k.mu.Unlock()
	select {
	case <-q.done:
		return q.store, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(keyringTimeout):
		return nil, &KeyringError{Reason: fmt.Sprintf("did not answer within %v; it may be waiting for you to unlock it", keyringTimeout)}
	}
}

func (k *Keyring) ask(q *inquiry) {
	q.store, q.err = k.unlock()
	k.mu.Lock()
	k.sealed, k.asked = q.store, nil
	k.mu.Unlock()
	close(q.done)
}

// unlock gets the key, or makes it where there are no records yet.
func (k *Keyring) unlock() (Store, error) {
	key, err := k.readKey()
	if errors.Is(err, keyring.ErrNotFound) {
		key, err = k.createKey()
	}
	if err != nil {
		return nil, err
	}
	doc, err := k.document()
	if err != nil {
		return nil, err
	}
	if len(doc.records) > 0 && !doc.hasSealedBy(key) {
		return nil, k.lost("has another key than the one that " + k.file.path() + " is sealed with")
	}
	return Seal(k.file, key)
}

// createKey makes the key, once for all processes. The caller found none.
func (k *Keyring) createKey() (SealKey, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keyringTimeout)
	defer cancel()
	release, err := k.file.Lock(ctx, "keyring key")
	if err != nil {
		return SealKey{}, err
	}
	defer release()
	key, err := k.readKey()
	if !errors.Is(err, keyring.ErrNotFound) { // another process was faster
		return key, err
	}
	doc, err := k.document()
	if err != nil {
		return SealKey{}, err
	}
	if len(doc.records)+len(doc.odd) > 0 {
		return SealKey{}, k.lost("has no longer the key for " + k.file.path() + ", so the logins in it cannot be opened")
	}
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails
	err = inKeyring(func() error { return keyring.Set(keyringService, k.user, encoding.EncodeToString(secret)) })
	if err != nil {
		return SealKey{}, refused(err)
	}
	// What counts is what the keyring gives the next process.
	key, err = k.readKey()
	if errors.Is(err, keyring.ErrNotFound) {
		return SealKey{}, &KeyringError{Reason: "does not keep what is put into it"}
	}
	return key, err
}

// readKey returns the key, [keyring.ErrNotFound] or a [*KeyringError].
func (k *Keyring) readKey() (SealKey, error) {
	var text string
	err := inKeyring(func() (err error) {
		text, err = keyring.Get(keyringService, k.user)
		return err
	})
	if errors.Is(err, keyring.ErrNotFound) {
		return SealKey{}, keyring.ErrNotFound
	}
	if err != nil {
		return SealKey{}, refused(err)
	}
	secret, err := encoding.DecodeString(text)
	if err == nil {
		var key SealKey
		if key, err = NewSealKey(secret); err == nil {
			return key, nil
		}
	}
	return SealKey{}, k.lost(fmt.Sprintf("has an entry of %s for %s that is not a key", keyringService, sanitize.Quote(k.user)))
}

// document returns what the file has, sealed as it is.
func (k *Keyring) document() (*document, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keyringTimeout)
	defer cancel()
	return k.file.load(ctx)
}

func (d *document) hasSealedBy(key SealKey) bool {
	for _, r := range d.records {
		if kid, _, _, ok := parseEnvelope(r.value); ok && kid == key.ID() {
			return true
		}
	}
	return false
}

// inKeyring does what call does where there is a keyring to be asked. Answers that the client does
// not expect make it panic.
func inKeyring(call func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("its answer makes no sense")
		}
	}()
	if err := reachable(); err != nil {
		return err
	}
	return call()
}

// keyringUser is dir as every process names it.
func keyringUser(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if strings.ContainsFunc(dir, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		sum := sha256.Sum256([]byte(dir)) // not every keyring takes every character
		return hex.EncodeToString(sum[:])
	}
	return dir
}

// KeyringError reports that the operating system's keyring did not give the key of a [Keyring].
// Nothing was read or written.
type KeyringError struct {
	Reason string // with "the keyring" as its subject
	remedy string // "": the usual one
}

// Error says what is wrong with the keyring.
func (e *KeyringError) Error() string { return "token store: the system's keyring " + e.Reason }

// Code is the stable name of this error.
func (*KeyringError) Code() string { return "store.keyring" }

// Hint says what to do.
func (e *KeyringError) Hint() string {
	return cmp.Or(e.remedy, `unlock the keyring and try again, run where there is one (on Linux in a session with D-Bus), or set store.type to "file", which keeps logins in a file that only your user may read`)
}

// refused is the error of a call to the keyring. Its text may come from any program on the bus.
func refused(err error) error {
	return &KeyringError{Reason: "cannot be used: " + sanitize.Quote(err.Error())}
}

// lost is about a key that is gone, which nothing but the right one can replace.
func (k *Keyring) lost(reason string) error {
	return &KeyringError{reason, fmt.Sprintf("restore the keyring's entry of %s for %s, or move %s away and sign in again", keyringService, sanitize.Quote(k.user), quoted(k.file.path()))}
}
