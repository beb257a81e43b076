package tlsmat

import (
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

// file is one input file of an entry.
type file struct {
	entry, field, path string
	mode               fs.FileMode
	modified           time.Time
	data               []byte
}

func readFile(entry, field, path string) (*file, error) {
	f := &file{entry: entry, field: field, path: path}
	info, err := os.Stat(path) // before opening: opening a pipe would block
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
	r, err := os.Open(path)
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
	return &file{entry: f.entry, field: field, path: f.path, mode: f.mode, modified: f.modified}
}

func (f *file) configKey() string { return configKey(f.entry, f.field) }

// where names the file and the key of the configuration it comes from.
func (f *file) where() string { return f.configKey() + " " + sanitize.Line(f.path, 1000) }

// fail is an error about this file, with the code of its role.
func (f *file) fail(cause error, hint, format string, args ...any) *LoadError {
	code := "tls." + f.field + "_file"
	return &LoadError{Entry: f.entry, Path: f.path, Reason: fmt.Sprintf(format, args...), Err: cause, field: f.field, code: code, hint: hint}
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
