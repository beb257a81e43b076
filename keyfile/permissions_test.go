package keyfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// The key file is found by way of links in directories of different modes.
func TestPermissionsBehindLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	cert := write(t, "cert.pem", p.CertPEM)
	for _, tt := range []struct {
		name                 string
		above                fs.FileMode // 0: 0755
		links, version, file fs.FileMode
		says                 []string // parts of the warnings
		strict               string   // part of the error under strict_permissions
	}{
		{name: "closed", links: 0o755, version: 0o755, file: 0o600},
		{name: "the file is open", links: 0o755, version: 0o700, file: 0o644, says: []string{"open to every user of this machine (mode 0644)"}, strict: "open to every user"},
		{name: "the file is open to its group", links: 0o755, version: 0o700, file: 0o620, says: []string{"open to its group (mode 0620)"}, strict: "open to its group"},
		{name: "as Kubernetes does it", links: 0o755, version: 0o755, file: 0o440, says: []string{"tolerated, as Kubernetes"}},
		{name: "the directory of the links is open", links: 0o777, version: 0o755, file: 0o600, says: []string{"links is open to all (mode 0777)"}, strict: "links is open to all"},
		{name: "the directory of the links is sticky", links: 0o777 | fs.ModeSticky, version: 0o755, file: 0o600},
		{name: "the directory of the file is open", links: 0o755, version: 0o773, file: 0o600, says: []string{"version is open to all (mode 0773)"}, strict: "version is open to all"},
		{name: "the directory above is open", above: 0o777, links: 0o755, version: 0o755, file: 0o600, says: []string{"above is open to all (mode 0777)"}, strict: "above is open to all"},
		{name: "the directory above is sticky", above: 0o777 | fs.ModeSticky, links: 0o755, version: 0o755, file: 0o600},
		{name: "both, and the file", links: 0o777, version: 0o777, file: 0o604, says: []string{"links is open to all", "version is open to all", "(mode 0604)"}, strict: "(mode 0604)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "above")
			links, version := filepath.Join(dir, "links"), filepath.Join(dir, "version")
			for _, err := range []error{
				os.Mkdir(dir, 0o700), os.Mkdir(links, 0o700), os.Mkdir(version, 0o700),
				os.WriteFile(filepath.Join(version, "tls.key"), p.KeyPEM, 0o600),
				os.Symlink(filepath.Join("..", "version"), filepath.Join(links, "..data")),
				os.Symlink(filepath.Join("..data", "tls.key"), filepath.Join(links, "tls.key")),
				os.Chmod(filepath.Join(version, "tls.key"), tt.file), os.Chmod(version, tt.version), os.Chmod(links, tt.links), os.Chmod(dir, cmp.Or(tt.above, 0o755)),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			e := entry{Name: "corp", Cert: cert, Key: filepath.Join(links, "tls.key")}
			l, err := load(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range l.warnings {
				if w.Code != "tls.key_permissions" {
					t.Errorf("code %s", w.Code)
				}
				got = append(got, w.Says)
			}
			if len(got) != len(tt.says) {
				t.Errorf("warnings %q, want %q", got, tt.says)
			}
			for _, want := range tt.says {
				if !strings.Contains(strings.Join(got, "\n"), want) {
					t.Errorf("warnings %q lack %q", got, want)
				}
			}
			e.StrictPermissions = true
			strict := loadErr(t, e)
			if (strict != nil) != (tt.strict != "") {
				t.Fatalf("strict: %v", strict)
			}
			if strict != nil && (strict.Code() != "tls.key_permissions" || !strings.Contains(strict.Cause.Says, tt.strict) || !strings.Contains(strict.Hint(), "chmod 600 "+e.Key) && !strings.Contains(strict.Hint(), "chmod o-w "+dir)) {
				t.Errorf("strict: %s %v; %s", strict.Code(), strict, strict.Hint())
			}
		})
	}
}

// A key of another user is that user's to read and to replace, but root's.
func TestForeignOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no uids")
	}
	path := write(t, "tls.key", tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true}).KeyPEM)
	f, err := Read(Names{Entry: "corp"}, "key", path)
	if err != nil {
		t.Fatal(err)
	}
	if f.owner != os.Geteuid() {
		t.Errorf("the owner is uid %d, want %d", f.owner, os.Geteuid())
	}
	for _, tt := range []struct {
		name       string
		owner, uid int
		foreign    bool
	}{
		{"our own", 1000, 1000, false}, {"root's", 0, 1000, false}, {"our own, as root", 0, 0, false}, {"not known", -1, 1000, false},
		{"another's", 1001, 1000, true}, {"another's, as root", 1001, 0, true},
	} {
		f.owner = tt.owner
		got := f.risks(tt.uid)
		if foreign := len(got) == 1 && got[0].cause == causeForeignOwner; foreign != tt.foreign || !foreign && got != nil {
			t.Errorf("%s: %v, want foreign %v", tt.name, got, tt.foreign)
		}
	}
	f.owner = os.Geteuid() + 1
	warned, err := f.CheckPermissions(false)
	want := fmt.Sprintf("belongs to another user (uid %d), who can read and replace it; this program runs as uid %d", f.owner, os.Geteuid())
	if err != nil || len(warned) != 1 || !strings.Contains(warned[0].Says, want) || warned[0].Remedy != fmt.Sprintf("run chown %d %s", os.Geteuid(), path) {
		t.Errorf("%v, %v, want %q", warned, err, want)
	}
	if _, err := f.CheckPermissions(true); !errors.As(err, new(*Error)) || !strings.Contains(err.Error(), want) {
		t.Errorf("strict: %v", err)
	}
}

// The mode is that of the file with the key, whichever that is.
func TestPermissionsOfCombinedFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	p := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	open := write(t, "open.pem", p.CertPEM, p.KeyPEM)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	strict := entry{Name: "corp", Cert: open, StrictPermissions: true}
	if err := loadErr(t, strict); err == nil || err.Code() != "tls.key_permissions" {
		t.Errorf("combined: %v", err)
	}
	strict.Key = write(t, "closed.pem", p.KeyPEM)
	if err := loadErr(t, strict); err != nil {
		t.Errorf("the key in a closed file: %v", err)
	}
}
