package tlsmat

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// maxFile bounds a PEM file; the whole bundle of a public root programme is a quarter of a MiB.
const maxFile = 8 << 20

// file is one input file of an entry, or of another key of the configuration.
type file struct {
	entry, field, path string
	named              setting
	mode               fs.FileMode
	modified           time.Time
	data               []byte
}

// setting names the keys of the configuration that a file comes from; "" are those of its entry.
type setting struct{ key, passphrase string }

func readFile(entry, field, path string) (*file, error) {
	return (&file{entry: entry, field: field, path: path}).read()
}

// read fills in the file's bytes and what is known of it.
func (f *file) read() (*file, error) {
	info, err := os.Stat(f.path) // before opening: opening a pipe would block
	if err != nil {
		return nil, f.unreadable(err)
	}
	switch {
	case info.IsDir():
		return nil, f.fail(nil, "name the file inside it; a Kubernetes TLS secret has tls.crt, tls.key and ca.crt", "is a directory")
	case !info.Mode().IsRegular():
		return nil, f.fail(nil, "name a regular file", "is not a regular file")
	}
	f.mode, f.modified = info.Mode().Perm(), info.ModTime()
	r, err := os.Open(f.path)
	if err != nil {
		return nil, f.unreadable(err)
	}
	defer func() { _ = r.Close() }()
	if f.data, err = io.ReadAll(io.LimitReader(r, maxFile+1)); err != nil {
		return nil, f.unreadable(err)
	}
	if len(f.data) > maxFile {
		return nil, f.fail(nil, "name a PEM file", "is larger than %d MiB", maxFile>>20)
	}
	return f, nil
}

func (f *file) unreadable(err error) *LoadError {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.fail(err, "check the path in "+f.configKey(), "does not exist")
	case errors.Is(err, fs.ErrPermission):
		return f.fail(err, "let the user that runs this program read the file and enter its directories", "is not readable for this user (uid %d): permission denied", os.Getuid())
	}
	var pathErr *fs.PathError
	cause := err
	if errors.As(err, &pathErr) {
		cause = pathErr.Err
	}
	return f.fail(err, "check the path in "+f.configKey(), "cannot be read: %v", cause)
}

// as is the same file in another role, without its bytes.
func (f *file) as(field string) *file {
	return &file{entry: f.entry, field: field, path: f.path, mode: f.mode, modified: f.modified, named: f.named}
}

func (f *file) configKey() string { return cmp.Or(f.named.key, configKey(f.entry, f.field)) }

// passphraseKey is where the passphrase of the key in this file comes from.
func (f *file) passphraseKey() string {
	return cmp.Or(f.named.passphrase, configKey(f.entry, "passphrase"))
}

// where names the file and the key of the configuration it comes from.
func (f *file) where() string { return f.configKey() + " " + sanitize.Line(f.path, 1000) }

// fail is an error about this file, with the code of its role.
func (f *file) fail(cause error, hint, format string, args ...any) *LoadError {
	code := "tls." + f.field + "_file"
	return &LoadError{Entry: f.entry, Path: f.path, Reason: fmt.Sprintf(format, args...), Err: cause, field: f.field, named: f.named.key, code: code, hint: hint}
}

// permissionWarning is about who else can read the key.
func (f *file) permissionWarning() string {
	if runtime.GOOS == "windows" || f.mode&0o077 == 0 { // Windows has no such bits; Go makes them up
		return ""
	}
	where := f.where()
	switch {
	case f.mode&0o077 == 0o040:
		return fmt.Sprintf("%s: the private key is readable by its group (mode %04o); tolerated, as Kubernetes mounts secrets that way", where, f.mode)
	case f.mode&0o007 != 0:
		return fmt.Sprintf("%s: the private key is open to every user of this machine (mode %04o); run chmod 600", where, f.mode)
	}
	return fmt.Sprintf("%s: the private key is open to its group (mode %04o); run chmod 600", where, f.mode)
}
