package keyfile

import (
	"os"
	"path/filepath"
)

// Hops are the names that decide what path is: the symbolic links on the way, as Kubernetes has
// them for secrets, and what they lead to. In all of them the directory is free of links.
func Hops(path string) (all []string) {
	path = filepath.Clean(path)
	for range 40 { // as many as Linux follows
		link := firstLink(path)
		if link == "" {
			break
		}
		all = append(all, link)
		target, err := os.Readlink(link)
		if err != nil {
			return all
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, path[len(link):])
	}
	return append(all, path)
}

// firstLink is the shortest beginning of path that is a symbolic link, "" if there is none.
func firstLink(path string) string {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && !os.IsPathSeparator(path[i]) {
			continue
		}
		info, err := os.Lstat(path[:i])
		if err != nil {
			return ""
		}
		if info.Mode()&os.ModeSymlink != 0 {
			return path[:i]
		}
	}
	return ""
}
