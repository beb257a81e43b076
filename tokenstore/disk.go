package tokenstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// createDir opens the store's directory, made first where it is missing.
func (f *File) createDir() (*os.Root, error) {
	if err := os.MkdirAll(filepath.Dir(f.dir), 0o700); err != nil {
		return nil, &WriteError{f.dir, err}
	}
	switch err := os.Mkdir(f.dir, 0o700); {
	case err == nil:
		// The umask may have taken the owner's bits too.
		if err := os.Chmod(f.dir, 0o700); err != nil {
			return nil, &WriteError{f.dir, err}
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, &WriteError{f.dir, err}
	}
	return f.openDir()
}

// openDir opens the store's directory and checks what it opened. A link to a directory is
// followed: what it leads to has to be ours alone.
func (f *File) openDir() (*os.Root, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	info, err := root.Stat(".")
	if err == nil {
		err = checkDir(f.dir, info)
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

// read returns the document in the file, an empty one where there is no file.
func (f *File) read(root *os.Root) (*document, error) {
	data, err := f.readBytes(root)
	if errors.Is(err, fs.ErrNotExist) {
		return new(document), nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := decode(data)
	if newer, ok := errors.AsType[*VersionError](err); ok {
		newer.Path = f.path()
	}
	if err != nil {
		return nil, err
	}
	if n := len(doc.odd); n > 0 {
		f.warn(fmt.Sprintf("%s: entries ignored because they are damaged: %d", f.path(), n))
	}
	return doc, nil
}

// readBytes reads the file if it is a regular one of our own and nobody else's. Nobody else can
// change what stands under its name meanwhile: openDir has seen to that.
func (f *File) readBytes(root *os.Root) ([]byte, error) {
	info, err := root.Lstat(f.name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		reason := "is not a regular file"
		if info.Mode()&fs.ModeSymlink != 0 {
			reason = "is a symbolic link"
		}
		return nil, &PermissionError{f.path(), reason, "move it away, and look who put it there"}
	}
	file, err := root.Open(f.name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, &PermissionError{f.path(), "may not be read", "run `chmod 600 " + quoted(f.path()) + "`"}
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := checkFile(f.path(), info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the token store: %w", err)
	}
	return data, nil
}

// readOrSetAside is read for the holder of the writers' lock: a damaged file is renamed, so that
// nothing is lost, and the work goes on with an empty store.
func (f *File) readOrSetAside(root *os.Root) (*document, error) {
	doc, err := f.read(root)
	if !isDamaged(err) {
		return doc, err
	}
	aside, renameErr := f.setAside(root)
	if renameErr != nil {
		return nil, &WriteError{f.path(), fmt.Errorf("the file is damaged (%v) and setting it aside failed: %w", err, renameErr)}
	}
	f.warn(fmt.Sprintf("%s was damaged: %v; it was set aside as %s and the store starts empty", f.path(), err, filepath.Join(f.dir, aside)))
	return new(document), nil
}

func (f *File) setAside(root *os.Root) (name string, err error) {
	stamp := f.name + asideMark + time.Now().UTC().Format("20060102T150405Z")
	name = stamp
	for n := 2; ; n++ {
		if _, err := root.Lstat(name); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			break
		}
		name = stamp + "-" + strconv.Itoa(n)
	}
	return name, root.Rename(f.name, name)
}

// write replaces the file by doc. The caller holds the writers' lock.
func (f *File) write(root *os.Root, doc *document) error {
	data, err := doc.encode()
	if err != nil {
		return &WriteError{f.path(), err}
	}
	if len(data) > maxFile {
		return &WriteError{f.path(), fmt.Errorf("the store would exceed %d MiB", maxFile>>20)}
	}
	if err := f.removeTemps(root); err != nil {
		return &WriteError{f.path(), err}
	}
	temp := f.name + tempMark + rand.Text()
	if err := writeTemp(root, temp, data); err != nil {
		_ = root.Remove(temp)
		return &WriteError{f.path(), err}
	}
	if err := root.Rename(temp, f.name); err != nil {
		_ = root.Remove(temp)
		return &WriteError{f.path(), err}
	}
	if err := syncDir(root); err != nil {
		// The new content is in place; only a power cut could still undo it.
		f.log.Warn("syncing the token store's directory", "path", f.dir, "err", err)
	}
	return nil
}

// removeTemps deletes what killed writers left: it holds tokens.
func (f *File) removeTemps(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), f.name+tempMark) {
			if err := root.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func writeTemp(root *os.Root, name string, data []byte) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	// The umask may have taken the owner's bits too.
	if err := file.Chmod(0o600); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

func isDamaged(err error) bool {
	_, ok := errors.AsType[fileDamage](err)
	return ok
}

// quoted returns path as it can be pasted into a shell.
func quoted(path string) string {
	if strings.ContainsAny(path, " \t'\"$&;()*?`\\") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
