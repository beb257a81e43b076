package tlsmat

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
)

// settle is how long files are left alone after a first change.
const settle = 100 * time.Millisecond

// Watch keeps the material current until ctx ends. Call it once.
func (s *Source) Watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()

	n := s.newNotices()
	defer n.close()
	for {
		n.follow(s.entry.paths())
		select {
		case <-ctx.Done():
			return
		case s.turn <- struct{}{}:
		}
		s.reload(ctx)
		told := s.told()
		<-s.turn
		if !s.wait(ctx, n, told) {
			return
		}
	}
}

// wait reports whether there is reason to look again.
func (s *Source) wait(ctx context.Context, n *notices, told <-chan struct{}) bool {
	timer := time.NewTimer(s.interval*9/10 + rand.N(s.interval/5+1))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-s.wake:
			return sleep(ctx, settle)
		case <-told:
			return sleep(ctx, settle)
		case <-n.errors: // such as one that says that some were lost
			return sleep(ctx, settle)
		case event := <-n.events:
			if n.concern(event) {
				return n.settle(ctx)
			}
		}
	}
}

// told receives when the home of the key has something new.
func (s *Source) told() <-chan struct{} {
	if s.keeper == nil {
		return nil
	}
	return s.keeper.changed()
}

// notices are what the system tells of changes in directories. They make changes seen sooner;
// nothing depends on them, for there are file systems and limits under which none come.
type notices struct {
	watcher *fsnotify.Watcher // nil: none come
	events  <-chan fsnotify.Event
	errors  <-chan error
	log     *slog.Logger
	names   map[string]bool // what decides what our paths are: files and symbolic links
	dirs    map[string]bool // of which every name does
	watched map[string]bool
	limited bool // it was said that some directory cannot be watched
}

func (s *Source) newNotices() *notices {
	n := &notices{log: s.log}
	w, err := s.notifier()
	if err != nil {
		n.log.Debug("directories are not watched; changes are seen by polling", "error", err)
		return n
	}
	n.watcher, n.events, n.errors = w, w.Events, w.Errors
	return n
}

func (n *notices) close() {
	if n.watcher != nil {
		_ = n.watcher.Close()
	}
}

// follow has the directories watched that matter for paths as of now. Directories and not files:
// a file that is replaced by renaming tells nothing to who watches the file.
func (n *notices) follow(paths []string) {
	if n.watcher == nil {
		return
	}
	n.names, n.dirs = map[string]bool{}, map[string]bool{}
	now := map[string]bool{}
	for _, path := range paths {
		all := keyfile.Hops(path)
		for _, h := range all {
			n.names[h] = true
			now[filepath.Dir(h)] = true
		}
		last := all[len(all)-1]
		if info, err := os.Stat(last); err == nil && info.IsDir() {
			n.dirs[last] = true
			now[last] = true
		}
	}
	for dir := range n.watched {
		if !now[dir] {
			_ = n.watcher.Remove(dir)
		}
	}
	for dir := range now { // again, too: it may be another directory of the same name
		if err := n.watcher.Add(dir); err != nil && !n.limited {
			n.limited = true
			n.log.Debug("a directory cannot be watched; changes in it are seen by polling", "error", err)
		}
	}
	n.watched = now
}

// concern reports whether the event is about our paths.
func (n *notices) concern(e fsnotify.Event) bool {
	return n.names[e.Name] || n.dirs[filepath.Dir(e.Name)]
}

// settle waits a moment in which events do not count: one renewal is many of them.
func (n *notices) settle(ctx context.Context) bool {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-n.events:
		}
	}
}

// paths are the files and directories that the entry names.
func (e Entry) paths() []string {
	var all []string
	for _, p := range append(append([]string{e.Cert, e.Key}, e.CA...), e.CRL...) {
		if p != "" && !isURI(p) {
			all = append(all, p)
		}
	}
	return all
}
