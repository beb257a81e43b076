//go:build unix

package keyfile

import (
	"io/fs"
	"syscall"
)

// ownerOf is the uid of a file's owner, -1 if that is not known.
func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
