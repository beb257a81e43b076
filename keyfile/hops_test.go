package keyfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHops(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, filepath.Join(dir, n))
		}
		return all
	}
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "a", "..v1"), 0o755), os.Symlink("..v1", filepath.Join(dir, "a", "..data")),
		os.Symlink("..data/f", filepath.Join(dir, "a", "f")), os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "b")),
		os.Symlink("loop", filepath.Join(dir, "loop")), os.Symlink("nowhere/x", filepath.Join(dir, "broken")),
		os.WriteFile(filepath.Join(dir, "a", "..v1", "f"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		want []string
	}{
		{"a/..v1/f", at("a/..v1/f")},
		{"a/f", at("a/f", "a/..data", "a/..v1/f")},
		{"b/f", at("b", "a/f", "a/..data", "a/..v1/f")},
		{"b", at("b", "a")},
		{"broken", at("broken", "nowhere/x")},
		{"none/x", at("none/x")},
	} {
		t.Run(strings.ReplaceAll(tt.name, "/", " "), func(t *testing.T) {
			if d := cmp.Diff(tt.want, Hops(filepath.Join(dir, tt.name))); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if n := len(Hops(filepath.Join(dir, "loop"))); n > 41 {
		t.Errorf("a loop has %d hops", n)
	}
}
