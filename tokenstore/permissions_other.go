//go:build !unix

package tokenstore

import (
	"io/fs"
	"os"
)

// Elsewhere the user's profile directory is private by its access control list.

func checkDir(string, fs.FileInfo) error { return nil }

func checkFile(string, fs.FileInfo) error { return nil }

// syncDir has nothing to do: directories cannot be synced.
func syncDir(*os.Root) error { return nil }
