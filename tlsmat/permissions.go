package tlsmat

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// checkPermissions is about who else can read or replace the key in this file: findings or, where
// that is strict, an error.
func (f *file) checkPermissions(strict bool) (found []finding, err error) {
	if runtime.GOOS == "windows" { // has no such bits; Go makes them up
		return nil, nil
	}
	mode := fmt.Sprintf("%04o", f.mode)
	switch {
	case f.mode&0o077 == 0:
	case f.mode&0o077 == 0o040: // Kubernetes mounts secrets that way for a pod with fsGroup
		found = append(found, f.finding("permissions", causeGroupReadable, "mode", mode))
	case f.mode&0o007 != 0 && strict:
		return nil, f.fault(causeOpenToAll, nil, "mode", mode)
	case f.mode&0o007 != 0:
		found = append(found, f.finding("permissions", causeOpenToAll, "mode", mode))
	case strict:
		return nil, f.fault(causeOpenToGroup, nil, "mode", mode)
	default:
		found = append(found, f.finding("permissions", causeOpenToGroup, "mode", mode))
	}
	for _, dir := range directoriesOf(f.path) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			found = append(found, f.finding("permissions", causeOpenDirectory, "directory", sanitize.Line(dir, 1000), "mode", fmt.Sprintf("%04o", info.Mode().Perm())))
		}
	}
	return found, nil
}

// directoriesOf are those in which a name on the way to the file is looked up at last: whoever can
// write there can put another file in its place. Links may lead on to links.
func directoriesOf(path string) []string {
	const maxLinks = 40 // as many as Linux follows
	var dirs []string
	for range maxLinks {
		dir := filepath.Dir(path)
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if path = target; !filepath.IsAbs(target) {
			path = filepath.Join(dir, target)
		}
	}
	return dirs
}
