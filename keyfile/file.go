package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// maxFile bounds a file; the whole bundle of a public root programme is a quarter of a MiB.
const maxFile = 8 << 20

// File is one input file, of one moment.
type File struct {
	Names
	Field, Path string
	binary      bool
	Mode        fs.FileMode // its permissions
	Modified    time.Time

	owner int // uid; -1: not known
	data  []byte
}

// New is a file that is not read, to tell of.
func New(n Names, field, path string) *File {
	return &File{Names: n, Field: field, Path: path, owner: -1}
}

// Read reads the file at path, which is absolute, as one for that field: "cert", "key", "ca" or "crl".
func Read(n Names, field, path string) (*File, error) {
	f := New(n, field, path)
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// read fills in the file's bytes and what is known of it.
func (f *File) read() error {
	if err := f.checkPath(); err != nil {
		return err
	}
	return f.take(within(readTime, func() (content, error) { return readContent(f.Path) }))
}

// take fills in what was read.
func (f *File) take(c content, err error) error {
	switch {
	case err == errSlow:
		return f.Fault(causeSlow, nil, "limit", readTime.String())
	case err != nil:
		return f.Unreadable(err)
	case c.info.IsDir():
		return f.Fault(causeDirectory, nil)
	case !c.info.Mode().IsRegular():
		return f.Fault(causeIrregular, nil)
	case c.info.Size() > maxFile || len(c.data) > maxFile:
		return f.Fault(causeLarge, nil, "limit", strconv.Itoa(maxFile>>20))
	}
	f.Mode, f.owner, f.Modified, f.data = c.info.Mode().Perm(), ownerOf(c.info), c.info.ModTime(), c.data
	return nil
}

// readTime is how long a file system may take. One whose server is gone takes for ever, and nothing
// ends that.
const readTime = 10 * time.Second

var errSlow = errors.New("it takes too long")

// within waits for read so long, and leaves it to itself then.
func within(limit time.Duration, read func() (content, error)) (content, error) {
	type result struct {
		content
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := read()
		done <- result{c, err}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case r := <-done:
		return r.content, r.err
	case <-late.C:
		return content{}, errSlow
	}
}

// content is what is at a path; of a file that is not regular, or too large, there are no data.
type content struct {
	info fs.FileInfo
	data []byte
}

func readContent(path string) (content, error) {
	info, err := os.Stat(path)
	if err != nil || !readable(info) {
		return content{info: info}, err
	}
	r, err := openFile(path)
	if err != nil {
		return content{}, err
	}
	defer func() { _ = r.Close() }()
	if info, err = r.Stat(); err != nil || !readable(info) { // of what was opened: another may have come between
		return content{info: info}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	return content{info, data}, err
}

func readable(info fs.FileInfo) bool { return info.Mode().IsRegular() && info.Size() <= maxFile }

// checkPath refuses a path that is none, but what belongs into a file: PEM, or the base64 of PEM, as
// Kubernetes has it. It may be a private key, so that the error does not repeat it.
func (f *File) checkPath() error {
	if strings.Contains(f.Path, "-----BEGIN") || strings.Contains(f.Path, "LS0tLS1CRUdJTi") || strings.ContainsAny(f.Path, "\r\n") {
		return f.Names.Fault(causePasted, f.Field, nil)
	}
	return nil
}

// Binary reports whether the file was found to be DER or PKCS#12, to which nothing can be appended.
func (f *File) Binary() bool { return f.binary }

// Bytes are the content.
func (f *File) Bytes() []byte { return f.data }

// Owner is the uid of the file's owner, -1 if that is not known.
func (f *File) Owner() int { return f.owner }

// Forget drops the content.
func (f *File) Forget() { f.data = nil }

// Unreadable says why the system does not let it be read.
func (f *File) Unreadable(err error) *Error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if target, e := os.Readlink(f.Path); e == nil {
			return f.Fault(causeDangling, err, "target", sanitize.Line(target, 1000))
		}
		return f.Fault(causeMissing, err)
	case errors.Is(err, fs.ErrPermission):
		return f.Fault(causeDenied, err, "uid", strconv.Itoa(os.Geteuid()), "owner", f.ownership())
	}
	cause := err
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		cause = pathErr.Err
	}
	return f.Fault(causeUnreadable, err, "detail", sanitize.Line(cause.Error(), 300))
}

// ownership ends a sentence with whose file it is, where that can be known.
func (f *File) ownership() string {
	info, err := os.Stat(f.Path)
	if err != nil || ownerOf(info) < 0 {
		return ""
	}
	return fmt.Sprintf("; it is owned by uid %d, mode %04o", ownerOf(info), info.Mode().Perm())
}

// As is the same file in another role, without its content.
func (f *File) As(field string) *File {
	return &File{Names: f.Names, Field: field, Path: f.Path, Mode: f.Mode, owner: f.owner, Modified: f.Modified}
}

// Where names the setting and the file.
func (f *File) Where() string { return f.Setting(f.Field) + " " + sanitize.Line(f.Path, 1000) }

// Fault is that c is the case for this file.
func (f *File) Fault(c catalogue.Cause, err error, values ...string) *Error {
	e := f.Names.Fault(c, f.Field, err, f.with(values)...)
	e.Path = f.Path
	return e
}

// Warning is that c is the case for this file, which can be used all the same. It begins with the
// name of the file.
func (f *File) Warning(c catalogue.Cause, values ...string) catalogue.Cause {
	c = c.Fill(append(f.with(values), f.known(f.Field)...)...)
	c.Says = f.Where() + ": " + c.Says
	return c
}

// with adds the file to the values of a cause.
func (f *File) with(values []string) []string {
	return append(slices.Clone(values), "file", sanitize.Line(f.Path, 1000))
}
