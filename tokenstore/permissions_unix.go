//go:build unix

package tokenstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkDir refuses a directory that somebody else owns or may enter.
func checkDir(path string, info fs.FileInfo) error {
	if err := checkOwner(path, info); err != nil {
		return err
	}
	return checkMode(path, info, "700")
}

// checkFile refuses a file that somebody else owns, may read, or reaches under another name.
func checkFile(path string, info fs.FileInfo) error {
	if err := checkOwner(path, info); err != nil {
		return err
	}
	// Zero links: a writer has just replaced the file.
	if st, ok := info.Sys().(*syscall.Stat_t); ok && uint64(st.Nlink) > 1 {
		return &PermissionError{path, fmt.Sprintf("has %d hard links, so the tokens have other names", st.Nlink),
			"delete its other hard links, found with `find / -xdev -samefile " + quoted(path) + "`"}
	}
	return checkMode(path, info, "600")
}

func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return &PermissionError{path, fmt.Sprintf("belongs to user %d, not to user %d who runs this", st.Uid, os.Geteuid()),
		"run as the owner, or choose another directory with store.path"}
}

func checkMode(path string, info fs.FileInfo, want string) error {
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return &PermissionError{path, fmt.Sprintf("has mode %04o, so other users may reach the tokens", info.Mode().Perm()),
		"run `chmod " + want + " " + quoted(path) + "`, and log out and in again if others could have read it"}
}

// syncDir makes a rename in dir survive a power cut, where the file system can.
func syncDir(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}
