package keyfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// CheckPermissions is about who else can read or replace the key in this file: warnings or, where
// that is strict, an error for all but what is tolerated.
func (f *File) CheckPermissions(strict bool) (warnings []catalogue.Cause, err error) {
	if runtime.GOOS == "windows" { // has no such bits; Go makes them up
		return nil, nil
	}
	for _, r := range f.risks(os.Geteuid()) {
		if strict && r.cause != causeGroupReadable {
			return nil, f.Fault(r.cause, nil, r.values...)
		}
		warnings = append(warnings, f.Warning(r.cause, r.values...))
	}
	return warnings, nil
}

// risk is one way for others to get at a key.
type risk struct {
	cause  catalogue.Cause
	values []string
}

// risks are those for a process of that user.
func (f *File) risks(uid int) []risk {
	var all []risk
	mode := fmt.Sprintf("%04o", f.Mode)
	switch {
	case f.Mode&0o077 == 0:
	case f.Mode&0o077 == 0o040: // Kubernetes mounts secrets that way for a pod with fsGroup
		all = append(all, risk{causeGroupReadable, []string{"mode", mode}})
	case f.Mode&0o007 != 0:
		all = append(all, risk{causeOpenToAll, []string{"mode", mode}})
	default:
		all = append(all, risk{causeOpenToGroup, []string{"mode", mode}})
	}
	if f.owner > 0 && f.owner != uid { // root can do everything anyway
		all = append(all, risk{causeForeignOwner, []string{"other", strconv.Itoa(f.owner), "uid", strconv.Itoa(uid)}})
	}
	for _, dir := range directoriesOf(f.Path) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			all = append(all, risk{causeOpenDirectory, []string{"directory", sanitize.Line(dir, 1000), "mode", fmt.Sprintf("%04o", info.Mode().Perm())}})
		}
	}
	return all
}

// directoriesOf are those on the way to the file, links and what is above them included: whoever can
// write to one can put another file in the place of this.
func directoriesOf(path string) []string {
	var dirs []string
	for _, hop := range Hops(path) {
		for dir := filepath.Dir(hop); !slices.Contains(dirs, dir); dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
