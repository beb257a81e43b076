package tokenstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// The names in the store's directory.
const (
	fileName   = "store.json"
	sealedName = "store.sealed.json" // of a [Keyring]
	tempMark   = ".tmp-"             // what follows the file's name in those of others
	asideMark  = ".damaged-"
	lockName   = "store.lock"
	locksDir   = "locks"
)

// maxFile bounds the file in bytes.
const maxFile = 32 << 20

// File is a [Store] in one JSON file that many processes share. Create it with [OpenFile].
//
// Every operation reads the file anew, and refuses it with a [*PermissionError] where other users
// could read it. A write replaces the file as a whole: whoever is killed leaves the old one or the
// new one. A file that cannot be read as a store is renamed and reported by [File.Warnings].
type File struct {
	dir   string
	name  string // of the file
	log   *slog.Logger
	locks nameLocks

	mu       sync.Mutex // guards warnings
	warnings []string
}

// FileOptions are optional.
type FileOptions struct {
	Logger *slog.Logger // nil discards
}

// OpenFile opens the store in dir, which is created with mode 0700, as are missing parents. The
// file in it, store.json, comes with the first write. A directory or file that exists with wrong
// permissions is refused, not repaired.
func OpenFile(dir string, opts FileOptions) (*File, error) {
	f, err := openNamed(dir, fileName, opts)
	if err != nil {
		return nil, err
	}
	return f, f.warnOfSealed()
}

func openNamed(dir, name string, opts FileOptions) (*File, error) {
	if dir == "" {
		return nil, errors.New("opening the token store: no directory given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	f := &File{dir: abs, name: name, log: opts.Logger}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	root, err := f.createDir()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// What is damaged is left for the first operation, which has a context to wait with.
	if _, err := f.read(root); err != nil && !isDamaged(err) {
		return nil, err
	}
	return f, nil
}

// Dir returns the absolute path of the store's directory.
func (f *File) Dir() string { return f.dir }

// Warnings returns what a person should know about the file and no operation reported as an
// error: that it was damaged and set aside, that entries of it are ignored.
func (f *File) Warnings() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.warnings)
}

// Get implements [Store].
func (f *File) Get(ctx context.Context, k Key) ([]byte, error) {
	doc, err := f.load(ctx)
	if err != nil {
		return nil, err
	}
	value, ok := doc.find(k)
	if !ok {
		return nil, ErrNotFound
	}
	return value, nil
}

// Put implements [Store]. Where the file cannot be written it returns a [*WriteError].
func (f *File) Put(ctx context.Context, k Key, value []byte) error {
	value, err := checked(k, value)
	if err != nil {
		return err
	}
	return f.update(ctx, func(doc *document) (bool, error) {
		if old, ok := doc.find(k); ok && bytes.Equal(old, value) {
			return false, nil
		}
		return true, doc.put(k, value)
	})
}

// Delete implements [Store]. Where the file cannot be written it returns a [*WriteError].
func (f *File) Delete(ctx context.Context, k Key) error {
	return f.update(ctx, func(doc *document) (bool, error) { return doc.remove(k), nil })
}

// List implements [Store].
func (f *File) List(ctx context.Context, kind Kind, p principal.ID) ([]Entry, error) {
	doc, err := f.load(ctx)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, r := range doc.records {
		if r.key.Kind == kind && r.key.Principal == p {
			entries = append(entries, Entry{r.key, r.value})
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Key.compare(b.Key) })
	entries = slices.CompactFunc(entries, func(a, b Entry) bool { return a.Key == b.Key })
	return entries, nil
}

// Lock implements [Store]. The lock is the operating system's, on a file of its own under locks/,
// so it ends with its process.
func (f *File) Lock(ctx context.Context, name string) (func(), error) {
	root, err := f.createDir()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = root.Mkdir(locksDir, 0o700)
	if err == nil {
		// The umask may have taken the owner's bits too.
		err = root.Chmod(locksDir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &LockError{Name: name, Err: err}
	}
	sum := sha256.Sum256([]byte(name))
	return f.lockFile(ctx, filepath.Join(f.dir, locksDir, hex.EncodeToString(sum[:16])+".lock"), name)
}

// load returns the document without locking: the file is only ever replaced as a whole.
func (f *File) load(ctx context.Context) (*document, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := f.openDir()
	if errors.Is(err, fs.ErrNotExist) {
		return new(document), nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	doc, err := f.read(root)
	if !isDamaged(err) {
		return doc, err
	}
	unlock, err := f.lockWrites(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return f.readOrSetAside(root)
}

// update reads the document, lets change alter it and writes it, all under the lock for writers.
// change reports whether there is anything to write.
func (f *File) update(ctx context.Context, change func(*document) (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := f.createDir()
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := f.lockWrites(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	doc, err := f.readOrSetAside(root)
	if err != nil {
		return err
	}
	if changed, err := change(doc); err != nil || !changed {
		return err
	}
	return f.write(root, doc)
}

// lockWrites waits for the turn to write. Not being able to lock at all is a failure to write.
func (f *File) lockWrites(ctx context.Context) (unlock func(), err error) {
	unlock, err = f.lockFile(ctx, filepath.Join(f.dir, lockName), f.path())
	if locked, ok := errors.AsType[*LockError](err); ok && ctx.Err() == nil {
		return nil, &WriteError{f.path(), locked.Err}
	}
	return unlock, err
}

func (f *File) path() string { return filepath.Join(f.dir, f.name) }

// warn logs and remembers message, once.
func (f *File) warn(message string) {
	f.mu.Lock()
	known := slices.Contains(f.warnings, message)
	if !known {
		f.warnings = append(f.warnings, message)
	}
	f.mu.Unlock()
	if !known {
		f.log.Warn("token store", "warning", message)
	}
}
