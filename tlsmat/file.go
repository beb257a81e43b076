package tlsmat

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// maxFile bounds a file; the whole bundle of a public root programme is a quarter of a MiB.
const maxFile = 8 << 20

// file is one input file of an entry, or of another key of the configuration.
type file struct {
	entry, field, path string
	settings           map[string]string // by field, where not those of the entry in a configuration file
	mode               fs.FileMode
	modified           time.Time
	data               []byte

	dir  string // the directory it was found in; "": the configuration names it itself
	skip string // why it is passed over there
}

// readFile reads a file of the entry.
func (e Entry) readFile(field, path string) (*file, error) {
	return (&file{entry: e.Name, field: field, path: path, settings: e.Settings}).read()
}

// read fills in the file's bytes and what is known of it.
func (f *file) read() (*file, error) {
	info, err := os.Stat(f.path) // before opening: opening a pipe would block
	if err != nil {
		return nil, f.unreadable(err)
	}
	switch {
	case info.IsDir():
		return nil, f.fault(causeDirectory, nil)
	case !info.Mode().IsRegular():
		return nil, f.fault(causeIrregular, nil)
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil, f.unreadable(err)
	}
	defer func() { _ = r.Close() }()
	if info, err = r.Stat(); err != nil { // of what was opened: a renewal may have come between
		return nil, f.unreadable(err)
	}
	f.mode, f.modified = info.Mode().Perm(), info.ModTime()
	if f.data, err = io.ReadAll(io.LimitReader(r, maxFile+1)); err != nil {
		return nil, f.unreadable(err)
	}
	if len(f.data) > maxFile {
		return nil, f.fault(causeLarge, nil, "limit", strconv.Itoa(maxFile>>20))
	}
	return f, nil
}

func (f *file) unreadable(err error) *LoadError {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if target, e := os.Readlink(f.path); e == nil {
			return f.fault(causeDangling, err, "target", sanitize.Line(target, 1000))
		}
		return f.fault(causeMissing, err)
	case errors.Is(err, fs.ErrPermission):
		return f.fault(causeDenied, err, "uid", strconv.Itoa(os.Getuid()))
	}
	cause := err
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		cause = pathErr.Err
	}
	return f.fault(causeUnreadable, err, "detail", sanitize.Line(cause.Error(), 300))
}

// as is the same file in another role, without its bytes.
func (f *file) as(field string) *file {
	return &file{entry: f.entry, field: field, path: f.path, settings: f.settings, mode: f.mode, modified: f.modified}
}

// setting is how the configuration calls a field.
func (f *file) setting(field string) string {
	return cmp.Or(f.settings[field], configKey(f.entry, field))
}

func (f *file) configKey() string { return f.setting(f.field) }

// where names the file and the key of the configuration it comes from.
func (f *file) where() string { return f.configKey() + " " + sanitize.Line(f.path, 1000) }
