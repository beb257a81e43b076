package tokenstore

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeyringTellsOfPlaintext: a store that is not sealed is neither used nor passed over in silence.
func TestKeyringTellsOfPlaintext(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(t *testing.T, dir string) error
		want  []string // in one warning
	}{
		{"nothing", func(*testing.T, string) error { return nil }, nil},
		{"a store", func(t *testing.T, dir string) error { return PutToken(t.Context(), openFile(t, dir), sampleToken()) },
			[]string{"store.json is not sealed", "logout --all", `"file"`}},
		{"an emptied store", func(t *testing.T, dir string) error {
			f := openFile(t, dir)
			return errors.Join(PutToken(t.Context(), f, sampleToken()), f.Delete(t.Context(), sampleToken().Key()))
		}, nil},
		{"damaged records", func(t *testing.T, dir string) error {
			writeFile(t, dir, `{"version":1,"entries":["`+canary+`"]}`)
			return nil
		}, []string{"store.json is not sealed"}},
		{"a damaged store", func(t *testing.T, dir string) error {
			writeFile(t, dir, canary)
			return nil
		}, []string{"store.json is not sealed"}},
		{"a store set aside", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, fileName+asideMark+"20300102T030405Z"), []byte(canary), 0o600)
		}, []string{"store.json.damaged-20300102T030405Z is not sealed", "delete it"}},
		{"what a killed writer left", func(_ *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, fileName+tempMark+"X"), []byte(canary), 0o600)
		}, []string{"store.json.tmp-X is not sealed", "delete it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := storeDir(t)
			if err := tt.leave(t, dir); err != nil {
				t.Fatal(err)
			}
			before := filesWith(t, dir, canary)
			var log bytes.Buffer
			k, err := OpenKeyring(dir, FileOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if k.Dir() != dir {
				t.Errorf("Dir() = %s, want %s", k.Dir(), dir)
			}
			w := strings.Join(k.Warnings(), "\n")
			if (w == "") != (tt.want == nil) || len(k.Warnings()) > 1 {
				t.Errorf("Warnings() = %q", w)
			}
			for _, want := range tt.want {
				if !strings.Contains(w, want) || !strings.Contains(w, dir) {
					t.Errorf("Warnings() = %q, want %q and %s in it", w, want, dir)
				}
			}
			if got := strings.Count(log.String(), "level=WARN"); got != len(k.Warnings()) {
				t.Errorf("%d warnings in the log, want %d", got, len(k.Warnings()))
			}
			if after := filesWith(t, dir, canary); strings.Join(after, " ") != strings.Join(before, " ") {
				t.Errorf("opening changed %q to %q", before, after)
			}
		})
	}
}

func TestKeyringNeedsAPrivateDirectory(t *testing.T) {
	dir := storeDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := OpenKeyring(dir, FileOptions{})
	if denied, ok := errors.AsType[*PermissionError](err); (!ok || denied.Path != dir) && os.PathSeparator == '/' {
		t.Errorf("OpenKeyring: %v, want a PermissionError", err)
	}
	if _, err := OpenKeyring("", FileOptions{}); err == nil {
		t.Error("opened nothing")
	}
}

// TestKeyringUser: one directory has one entry in the keyring, whatever way leads to it.
func TestKeyringUser(t *testing.T) {
	dir := storeDir(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("Windows lets administrators alone make links: ", err)
		}
		t.Fatal(err)
	}
	if a, b := keyringUser(dir), keyringUser(link); a != b || !filepath.IsAbs(a) {
		t.Errorf("the users are %q and %q", a, b)
	}
	for _, odd := range []string{"/a\nb", "/a\x00", "/a\xff", "/a\u202e"} {
		if got := keyringUser(odd); len(got) != 64 || got == keyringUser(odd+"b") {
			t.Errorf("the user for %q is %q", odd, got)
		}
	}
}

// TestKeyringKeys: what is in the file is known, and can be deleted, without a keyring.
func TestKeyringKeys(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "nonsense") // none is asked
	dir := storeDir(t)
	file, err := openNamed(dir, sealedName, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewSealKey(make([]byte, keySize))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Seal(file, key)
	if err != nil {
		t.Fatal(err)
	}
	token, other, others := sampleToken(), sampleToken(), sampleToken()
	other.Resource, others.Principal = "https://a.example", "somebody-else"
	if err := errors.Join(PutToken(t.Context(), s, token), PutToken(t.Context(), s, other), PutToken(t.Context(), s, others), PutApproval(t.Context(), s, sampleApproval())); err != nil {
		t.Fatal(err)
	}
	if err := file.Put(t.Context(), TokenKey("local", "https://z.example", ""), []byte(`{"not":"sealed"}`)); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeyring(dir, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Keys(t.Context(), KindToken, "local")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Key{other.Key(), token.Key(), TokenKey("local", "https://z.example", "")}, got); diff != "" {
		t.Errorf("Keys (-want +got):\n%s", diff)
	}
	for _, key := range got {
		if err := k.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if got, err := k.Keys(t.Context(), KindToken, "local"); err != nil || len(got) != 0 {
		t.Errorf("Keys afterwards: %v, %v", got, err)
	}
	if got, err := k.Keys(t.Context(), KindToken, "somebody-else"); err != nil || len(got) != 1 {
		t.Errorf("Keys of somebody else: %v, %v", got, err)
	}
}
