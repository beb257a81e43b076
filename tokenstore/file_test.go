package tokenstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func TestFileFormat(t *testing.T) {
	dir := storeDir(t)
	f := openFile(t, dir)
	if f.Dir() != dir {
		t.Errorf("Dir() = %s, want %s", f.Dir(), dir)
	}
	approval := sampleApproval()
	approval.Scopes = nil
	token := &Token{Principal: "local", Resource: "https://b.example", Issuer: "https://as.example", AccessToken: secret.New("<&>" + canary)}
	if err := errors.Join(PutToken(t.Context(), f, token), PutApproval(t.Context(), f, approval)); err != nil {
		t.Fatal(err)
	}
	want := `{
  "version": 1,
  "entries": [
    {
      "kind": "approval",
      "principal": "local",
      "resource": "https://wiki.example",
      "issuer": "https://as.example",
      "value": {
        "principal": "local",
        "resource": "https://wiki.example",
        "issuer": "https://as.example",
        "client_id": "c1",
        "granted_at": "2030-01-02T02:04:05.000000678Z",
        "expires": "2030-04-02T02:04:05.000000678Z"
      }
    },
    {
      "kind": "token",
      "principal": "local",
      "resource": "https://b.example",
      "issuer": "https://as.example",
      "value": {
        "principal": "local",
        "resource": "https://b.example",
        "issuer": "https://as.example",
        "access_token": "<&>` + canary + `"
      }
    }
  ]
}
`
	if diff := cmp.Diff(want, readFile(t, dir)); diff != "" {
		t.Errorf("store.json (-want +got):\n%s", diff)
	}
	got, err := GetToken(t.Context(), openFile(t, dir), token.Key())
	if diff := cmp.Diff(token, got, same); err != nil || diff != "" {
		t.Errorf("read by another: %v (-want +got):\n%s", err, diff)
	}
	if w := f.Warnings(); len(w) != 0 {
		t.Errorf("Warnings() = %q", w)
	}
}

func TestUnchangedIsNotWritten(t *testing.T) {
	dir := storeDir(t)
	f := openFile(t, dir)
	if err := PutToken(t.Context(), f, sampleToken()); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(PutToken(t.Context(), f, sampleToken()), f.Delete(t.Context(), ClientKey("local", "https://none.example"))); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced for nothing (%v)", err)
	}
}

func TestDirectoryVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f := openFile(t, dir)
	if err := PutToken(t.Context(), f, sampleToken()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := GetToken(t.Context(), f, sampleToken().Key()); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetToken: %v, want ErrNotFound", err)
	}
	if err := PutToken(t.Context(), f, sampleToken()); err != nil {
		t.Errorf("PutToken: %v", err)
	}
	unlock, err := f.Lock(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestDamagedFile(t *testing.T) {
	whole := `{"version":1,"entries":[{"kind":"token","principal":"local","resource":"r","issuer":"i","value":{"secret":"` + canary + `"}}]}`
	for _, tt := range []struct{ name, content, reason string }{
		{"empty", "", "it is empty"},
		{"cut", whole[:len(whole)-20], "not valid JSON at byte"},
		{"cut inside a secret's member", `{"` + canary + `":{"a":`, "not valid JSON at byte"},
		{"garbage", canary + "\x00\xff", "not valid JSON at byte 0"},
		{"zeros", strings.Repeat("\x00", 4096), "not valid JSON at byte 0"},
		{"two documents", whole + whole, "not valid JSON at byte"},
		{"not UTF-8", strings.Replace(whole, canary, "\xff", 1), "not valid JSON at byte"},
		{"member twice", strings.Replace(whole, `{"version"`, `{"entries":[],"version"`, 1), "not valid JSON at byte"},
		{"array", `[` + whole + `]`, "not a token store"},
		{"null", `null`, "no version"},
		{"no version", `{"entries":[]}`, "no version"},
		{"version 0", `{"version":0,"entries":[]}`, "no version"},
		{"version in words", `{"version":"` + canary + `","entries":[]}`, "not a token store"},
		{"version in another case", `{"VERSION":1,"entries":[]}`, "no version"},
		{"no entries", `{"version":1}`, "no entries"},
		{"entries are an object", `{"version":1,"entries":{"` + canary + `":1}}`, "not a token store"},
		{"deep", strings.Repeat("[", 200_000), "not a token store"},
	} {
		for _, op := range []string{"get", "put"} {
			t.Run(tt.name+"/"+op, func(t *testing.T) {
				dir := storeDir(t)
				writeFile(t, dir, tt.content)
				var log bytes.Buffer
				f, err := OpenFile(dir, FileOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				if err != nil {
					t.Fatalf("OpenFile: %v", err)
				}
				if op == "get" {
					if _, err := f.Get(t.Context(), Key{KindToken, "local", "r", "i"}); !errors.Is(err, ErrNotFound) {
						t.Errorf("Get: %v, want ErrNotFound", err)
					}
				}
				if err := PutToken(t.Context(), f, sampleToken()); err != nil {
					t.Errorf("PutToken: %v", err)
				}
				if tokens, err := Tokens(t.Context(), f, "local"); err != nil || len(tokens) != 1 {
					t.Errorf("Tokens = %v, %v, want the new one", tokens, err)
				}

				aside := setAsideFiles(t, dir)
				if len(aside) != 1 || !regexp.MustCompile(`/store\.json\.damaged-\d{8}T\d{6}Z$`).MatchString(filepath.ToSlash(aside[0])) {
					t.Fatalf("set aside: %q, want one file", aside)
				}
				if b, err := os.ReadFile(aside[0]); err != nil || string(b) != tt.content {
					t.Errorf("what was set aside differs from what was found (%v)", err)
				}
				w := f.Warnings()
				if len(w) != 1 || !strings.Contains(w[0], tt.reason) || !strings.Contains(w[0], aside[0]) {
					t.Errorf("Warnings() = %q, want one with %q and %s", w, tt.reason, aside[0])
				}
				if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), aside[0]) {
					t.Errorf("log: %s", log.String())
				}
				if all := log.String() + strings.Join(w, ""); strings.Contains(all, canary) {
					t.Errorf("a warning shows what the file held: %s", all)
				}
			})
		}
	}
}

func TestDamagedAgainAndAgain(t *testing.T) {
	dir := storeDir(t)
	f := openFile(t, dir)
	var want []string
	for i := range 3 {
		content := fmt.Sprintf("garbage %d", i)
		writeFile(t, dir, content)
		want = append(want, content)
		// Many notice at once; one sets it aside.
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := f.Get(t.Context(), counter); !errors.Is(err, ErrNotFound) {
					t.Errorf("Get: %v, want ErrNotFound", err)
				}
			})
		}
		all.Wait()
	}
	var got []string
	for _, path := range setAsideFiles(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("set aside (-want +got):\n%s", diff)
	}
}

func TestFutureVersion(t *testing.T) {
	for _, content := range []string{`{"version":2,"entries":[]}`, `{"version":7,"sealed":"AAAA"}`, `{"entries":{"shape":"unknown"},"version":2}`} {
		dir := storeDir(t)
		f := openFile(t, dir)
		writeFile(t, dir, content)
		_, openErr := OpenFile(dir, FileOptions{})
		_, getErr := f.Get(t.Context(), counter)
		for name, err := range map[string]error{
			"OpenFile": openErr, "Get": getErr,
			"Put": PutToken(t.Context(), f, sampleToken()), "Delete": f.Delete(t.Context(), counter),
		} {
			v, ok := errors.AsType[*VersionError](err)
			if !ok || v.Code() != "store.version" || !strings.Contains(v.Hint(), "upgrade") || v.Path != filepath.Join(dir, fileName) || v.Got < 2 || v.Want != 1 {
				t.Errorf("%s of %s: %v, want a VersionError", name, content, err)
			}
		}
		if got := readFile(t, dir); got != content {
			t.Errorf("the file is now %s, want it untouched: %s", got, content)
		}
		if aside := setAsideFiles(t, dir); len(aside) != 0 {
			t.Errorf("set aside: %q", aside)
		}
	}
}

// TestOddEntries: what this release does not understand in a good file survives its writes.
func TestOddEntries(t *testing.T) {
	dir := storeDir(t)
	writeFile(t, dir, `{"version":1,"later":{"a":1},"entries":[
		"text", 17, null, {}, {"kind":"token"}, {"kind":"token","principal":"local","resource":5,"issuer":"i","value":{}},
		{"kind":"token","principal":"local","resource":"r","issuer":"i"},
		{"kind":"token","principal":"local","resource":"null","issuer":"i","value":null},
		{"kind":"novel","principal":"local","resource":"r","issuer":"i","value":{"x":1.50},"extra":[1]},
		{"kind":"token","principal":"local","resource":"twice","issuer":"i","value":{"n":1}},
		{"kind":"token","principal":"local","resource":"twice","issuer":"i","value":{"n":2}}]}`)
	f := openFile(t, dir)
	ctx := t.Context()
	if err := PutToken(ctx, f, sampleToken()); err != nil {
		t.Fatal(err)
	}
	tokens, err := Tokens(ctx, f, "local")
	if diff := cmp.Diff([]*Token{sampleToken()}, tokens, same); err != nil || diff != "" {
		t.Errorf("Tokens: %v (-want +got):\n%s", err, diff)
	}
	if _, err := GetToken(ctx, f, TokenKey("local", "null", "i")); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetToken of a null: %v", err)
	}
	if w := f.Warnings(); len(w) != 1 || !strings.Contains(w[0], "damaged: 7") {
		t.Errorf("Warnings() = %q, want one that counts 7", w)
	}
	compact := strings.Join(strings.Fields(readFile(t, dir)), "")
	for _, want := range []string{
		`"later":{"a":1}`, `"text",17,null,{},{"kind":"token"},`, `"resource":5,`, `"value":null`,
		`{"kind":"novel","principal":"local","resource":"r","issuer":"i","value":{"x":1.50},"extra":[1]}`,
	} {
		if !strings.Contains(compact, want) {
			t.Errorf("after a write the file has lost %s:\n%s", want, compact)
		}
	}

	// Of two records with one key the first counts, once; deleting the key deletes both.
	twice := TokenKey("local", "twice", "i")
	entries, err := f.List(ctx, KindToken, "local")
	if err != nil {
		t.Fatal(err)
	}
	var listed []entry
	for _, e := range entries {
		listed = append(listed, entry{e.Key, string(e.Value)})
	}
	sample, err := f.Get(ctx, sampleToken().Key())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]entry{{sampleToken().Key(), string(sample)}, {TokenKey("local", "null", "i"), "null"}, {twice, `{"n":1}`}}, listed); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if err := f.Delete(ctx, twice); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(readFile(t, dir), `"twice"`) {
		t.Error("after Delete a second record of the key is still in the file")
	}
}

func TestTooLarge(t *testing.T) {
	dir := storeDir(t)
	f := openFile(t, dir)
	big := make([]record, maxFile/maxValue)
	for i := range big {
		big[i] = record{raw: []byte(`"` + strings.Repeat("x", maxValue) + `"`)}
	}
	root, err := f.createDir()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := PutToken(t.Context(), f, sampleToken()); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*WriteError](f.write(root, &document{records: big})); !ok {
		t.Error("a file too large to be read again was written")
	}
	if _, err := GetToken(t.Context(), f, sampleToken().Key()); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(filepath.Join(dir, fileName), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get(t.Context(), counter); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if w := f.Warnings(); len(w) != 1 || !strings.Contains(w[0], "larger than 32 MiB") {
		t.Errorf("Warnings() = %q", w)
	}
}

// TestNoLocks: where locking is impossible, nothing is written and nobody believes to have a lock.
func TestNoLocks(t *testing.T) {
	dir := storeDir(t)
	f := openFile(t, dir)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, lockName), 0o700), os.WriteFile(filepath.Join(dir, locksDir), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if failed, ok := errors.AsType[*WriteError](PutToken(t.Context(), f, sampleToken())); !ok || failed.Path != filepath.Join(dir, fileName) {
		t.Errorf("Put: %v, want a WriteError", failed)
	}
	_, err := f.Lock(t.Context(), "l")
	locked, ok := errors.AsType[*LockError](err)
	if !ok || locked.Name != "l" || locked.Err == nil || !strings.Contains(locked.Hint(), "supports file locks") {
		t.Errorf("Lock: %v, want a LockError", err)
	}
	if _, err := GetToken(t.Context(), f, sampleToken().Key()); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v, want ErrNotFound", err)
	}
}

func TestOpenFileRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"nothing": "", "a file": file, "below a file": filepath.Join(file, "x")} {
		if f, err := OpenFile(dir, FileOptions{}); err == nil {
			t.Errorf("%s: opened %s", name, f.Dir())
		}
	}
}

func readFile(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func setAsideFiles(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, fileName+asideMark+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Going back to a store that is not sealed leaves the sealed logins behind, which is told.
func TestFileTellsOfSealed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	sealed, err := openNamed(dir, sealedName, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 1} {
		f, err := OpenFile(dir, FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := f.Warnings()
		if len(got) != want || want > 0 && (!strings.Contains(got[0], sealedName) || !strings.Contains(got[0], "logout --all")) {
			t.Errorf("warnings %q, want %d", got, want)
		}
		if err := sealed.Put(t.Context(), Key{Kind: KindToken, Principal: "p", Resource: "r"}, []byte(`{"a":"b"}`)); err != nil {
			t.Fatal(err)
		}
	}
}
