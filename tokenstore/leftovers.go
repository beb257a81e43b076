package tokenstore

import (
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
)

// warnOfPlaintext tells of the files that a store which is not sealed left in the directory.
func (f *File) warnOfPlaintext() error {
	root, err := f.openDir()
	if err != nil {
		return err
	}
	defer root.Close()
	plain := &File{dir: f.dir, name: fileName, log: slog.New(slog.DiscardHandler)}
	if doc, err := plain.read(root); err != nil || len(doc.records)+len(doc.odd) > 0 {
		f.warn(fmt.Sprintf(`%s is not sealed, is not used, and may hold logins that still work: end them with "mcp-authfetch logout --all" while store.type is "file", then delete the file`, plain.path()))
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("opening the token store: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fileName+asideMark) || strings.HasPrefix(e.Name(), fileName+tempMark) {
			f.warn(fmt.Sprintf("%s is not sealed and may hold logins that still work: delete it", filepath.Join(f.dir, e.Name())))
		}
	}
	return nil
}

// warnOfSealed tells of the file that a store in the keyring's care left in the directory.
func (f *File) warnOfSealed() error {
	root, err := f.openDir()
	if err != nil {
		return err
	}
	defer root.Close()
	sealed := &File{dir: f.dir, name: sealedName, log: slog.New(slog.DiscardHandler)}
	if doc, err := sealed.read(root); err != nil || len(doc.records)+len(doc.odd) > 0 {
		f.warn(fmt.Sprintf(`%s is not used, and may hold logins that still work: end them with "mcp-authfetch logout --all" while store.type is "keyring"`, sealed.path()))
	}
	return nil
}
