//go:build unix

package tokenstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPermissionsOfWhatIsMade(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for _, tt := range []struct {
		name, dir string
		umask     int
	}{
		{"no umask", "parent/store", 0},
		{"usual umask", "parent/store", 0o022},
		{"umask against the owner", "store", 0o377},
	} {
		t.Run(tt.name, func(t *testing.T) {
			syscall.Umask(0o022)
			base := t.TempDir()
			syscall.Umask(tt.umask)
			f := openFile(t, filepath.Join(base, tt.dir))
			if err := PutToken(t.Context(), f, sampleToken()); err != nil {
				t.Fatal(err)
			}
			unlock, err := f.Lock(t.Context(), "l")
			if err != nil {
				t.Fatal(err)
			}
			unlock()
			err = filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
				if err != nil || path == base {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				want := fs.FileMode(0o600)
				switch {
				case d.IsDir():
					want = 0o700
				case filepath.Ext(path) == ".lock": // holds nothing; only opened, never written for its own sake
					want &^= fs.FileMode(tt.umask)
				}
				if got := info.Mode().Perm(); got != want {
					t.Errorf("%s has mode %04o, want %04o", path, got, want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPermissions(t *testing.T) {
	const stranger = 54321
	root := os.Geteuid() == 0
	for _, tt := range []struct {
		name     string
		needRoot bool
		spoil    func(dir, file string) error
		path     func(dir, file string) string
		reason   string
		hint     string
	}{
		{"file readable by the group", false, func(_, file string) error { return os.Chmod(file, 0o640) }, theFile, "mode 0640", "chmod 600 "},
		{"file readable by others", false, func(_, file string) error { return os.Chmod(file, 0o604) }, theFile, "mode 0604", "chmod 600 "},
		{"file writable by others", false, func(_, file string) error { return os.Chmod(file, 0o602) }, theFile, "mode 0602", "chmod 600 "},
		{"file of the usual mode", false, func(_, file string) error { return os.Chmod(file, 0o644) }, theFile, "mode 0644", "chmod 600 "},
		{"directory of the usual mode", false, func(dir, _ string) error { return os.Chmod(dir, 0o755) }, theDir, "mode 0755", "chmod 700 "},
		{"directory writable by all", false, func(dir, _ string) error { return os.Chmod(dir, 0o777) }, theDir, "mode 0777", "chmod 700 "},
		{"directory that others may pass", false, func(dir, _ string) error { return os.Chmod(dir, 0o711) }, theDir, "mode 0711", "chmod 700 "},
		{"file of another user", true, func(_, file string) error { return os.Chown(file, stranger, -1) }, theFile, "user 54321", "owner"},
		{"directory of another user", true, func(dir, _ string) error { return os.Chown(dir, stranger, -1) }, theDir, "user 54321", "owner"},
		{"hard link", false, func(dir, file string) error { return os.Link(file, filepath.Join(filepath.Dir(dir), "other")) }, theFile, "2 hard links", "samefile"},
		{"symbolic link out of the directory", false, func(dir, file string) error {
			outside := filepath.Join(filepath.Dir(dir), "outside.json")
			return errors.Join(os.Rename(file, outside), os.Symlink(outside, file))
		}, theFile, "symbolic link", "move it away"},
		{"symbolic link inside the directory", false, func(dir, file string) error {
			return errors.Join(os.Rename(file, filepath.Join(dir, "inside.json")), os.Symlink("inside.json", file))
		}, theFile, "symbolic link", "move it away"},
		{"dangling symbolic link", false, func(_, file string) error { return errors.Join(os.Remove(file), os.Symlink("nowhere", file)) }, theFile, "symbolic link", "move it away"},
		{"a FIFO", false, func(_, file string) error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)) }, theFile, "not a regular file", "move it away"},
		{"a directory", false, func(_, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, theFile, "not a regular file", "move it away"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.needRoot && !root {
				if os.Getenv("CI") == "true" {
					t.Fatal("only root can give files away, and CI must not skip this")
				}
				t.Skip("only root can give files away")
			}
			dir := filepath.Join(storeDir(t), "with space")
			file := filepath.Join(dir, fileName)
			f := openFile(t, dir)
			if err := PutToken(t.Context(), f, sampleToken()); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(dir, file); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, filepath.Dir(dir))

			_, openErr := OpenFile(dir, FileOptions{})
			_, getErr := f.Get(t.Context(), counter)
			_, listErr := f.List(t.Context(), KindToken, "local")
			for op, err := range map[string]error{
				"OpenFile": openErr, "Get": getErr, "List": listErr,
				"Put":    f.Put(t.Context(), counter, []byte(`{}`)),
				"Delete": f.Delete(t.Context(), sampleToken().Key()),
			} {
				denied, ok := errors.AsType[*PermissionError](err)
				if !ok || denied.Code() != "store.permissions" {
					t.Errorf("%s: %v, want a PermissionError", op, err)
					continue
				}
				if want := tt.path(dir, file); denied.Path != want {
					t.Errorf("%s: Path = %s, want %s", op, denied.Path, want)
				}
				if !strings.Contains(denied.Reason, tt.reason) || !strings.Contains(denied.Error(), denied.Path) {
					t.Errorf("%s: %v, want it to say %q", op, denied, tt.reason)
				}
				if hint := denied.Hint(); !strings.Contains(hint, tt.hint) || strings.HasPrefix(tt.hint, "chmod") && !strings.Contains(hint, tt.hint+"'"+denied.Path+"'") {
					t.Errorf("%s: Hint() = %s", op, hint)
				}
			}
			after := snapshot(t, filepath.Dir(dir))
			delete(after, filepath.Join(dir, lockName))
			delete(before, filepath.Join(dir, lockName))
			for path, was := range before {
				if after[path] != was {
					t.Errorf("%s was %s and is %s", path, was, after[path])
				}
			}
			if len(after) != len(before) {
				t.Errorf("files before %v, after %v", before, after)
			}
		})
	}
}

func theDir(dir, _ string) string   { return dir }
func theFile(_, file string) string { return file }

// snapshot describes every file under dir by mode, and by content where it has one.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			files[path] += " " + string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestLinkedDirectory: a link to a directory of our own is how people move things; what counts is
// the directory it leads to.
func TestLinkedDirectory(t *testing.T) {
	dir := storeDir(t)
	link := filepath.Join(filepath.Dir(dir), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, link)
	if err := PutToken(t.Context(), f, sampleToken()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(t.Context(), counter); err == nil {
		t.Error("the directory behind the link is open to the group, and was read")
	}
}
