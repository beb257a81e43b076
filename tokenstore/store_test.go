package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// forEachStore runs test on every implementation.
func forEachStore(t *testing.T, test func(t *testing.T, s Store)) {
	t.Run("memory", func(t *testing.T) { test(t, NewMemory()) })
	t.Run("file", func(t *testing.T) { test(t, openFile(t, storeDir(t))) })
	t.Run("sealed memory", func(t *testing.T) { test(t, sealWith(t, NewMemory(), sealKey(t, 1))) })
	t.Run("sealed file", func(t *testing.T) { test(t, sealWith(t, openFile(t, storeDir(t)), sealKey(t, 1), sealKey(t, 2))) })
}

// storeDir returns a directory as a store wants it: t.TempDir lets others in.
func storeDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openFile(t *testing.T, dir string) *File {
	t.Helper()
	f, err := OpenFile(dir, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStore(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		k := TokenKey("local", "https://a.example", "https://as.example")
		if _, err := s.Get(ctx, k); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get of an empty store: %v, want ErrNotFound", err)
		}
		if err := s.Delete(ctx, k); err != nil {
			t.Errorf("Delete of an absent key: %v", err)
		}
		if got, err := s.List(ctx, KindToken, "local"); err != nil || len(got) != 0 {
			t.Errorf("List of an empty store = %v, %v", got, err)
		}

		// Each differs from k in one member of the key, so a store that forgets one mixes them up.
		keys := []Key{
			k,
			{KindProofKey, k.Principal, k.Resource, k.Issuer},
			{k.Kind, "other", k.Resource, k.Issuer},
			{k.Kind, k.Principal, "https://b.example", k.Issuer},
			{k.Kind, k.Principal, k.Resource, "https://aa.example"},
		}
		for i, k := range keys {
			if err := s.Put(ctx, k, fmt.Appendf(nil, "{ \"n\" : %d }\n", i)); err != nil {
				t.Fatalf("Put(%v): %v", k, err)
			}
		}
		for i, k := range keys {
			got, err := s.Get(ctx, k)
			if want := fmt.Sprintf(`{"n":%d}`, i); err != nil || string(got) != want {
				t.Errorf("Get(%v) = %s, %v, want %s", k, got, err, want)
			}
		}

		got, err := s.List(ctx, KindToken, "local")
		if err != nil {
			t.Fatal(err)
		}
		want := []Entry{{keys[4], []byte(`{"n":4}`)}, {keys[0], []byte(`{"n":0}`)}, {keys[3], []byte(`{"n":3}`)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}

		if err := s.Put(ctx, k, []byte(`{"n":"new"}`)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(ctx, k); err != nil || string(got) != `{"n":"new"}` {
			t.Errorf("after the second Put, Get = %s, %v", got, err)
		}
		if err := s.Delete(ctx, k); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(ctx, k); !errors.Is(err, ErrNotFound) {
			t.Errorf("after Delete, Get = %s, %v, want ErrNotFound", got, err)
		}
		if _, err := s.Get(ctx, keys[3]); err != nil {
			t.Errorf("Delete took another record too: %v", err)
		}
	})
}

func TestValuesAreCopied(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		ctx := t.Context()
		k := TokenKey("local", "https://a.example", "")
		given := []byte(`{"n":1}`)
		if err := s.Put(ctx, k, given); err != nil {
			t.Fatal(err)
		}
		given[5] = '2'
		got, err := s.Get(ctx, k)
		if err != nil {
			t.Fatal(err)
		}
		got[5] = '3'
		entries, err := s.List(ctx, KindToken, "local")
		if err != nil || len(entries) != 1 {
			t.Fatalf("List = %v, %v", entries, err)
		}
		entries[0].Value[5] = '4'
		if got, err := s.Get(ctx, k); err != nil || string(got) != `{"n":1}` {
			t.Errorf("Get = %s, %v: the store shares its bytes with its callers", got, err)
		}
	})
}

func TestPutRefuses(t *testing.T) {
	const canary = "canary-51c2"
	good := TokenKey("local", "https://a.example", "https://as.example")
	for _, tt := range []struct {
		name  string
		key   Key
		value string
	}{
		{"no kind", Key{Principal: "local"}, `{}`},
		{"no principal", Key{Kind: KindToken}, `{}`},
		{"key not UTF-8", Key{KindToken, "local", "https://\xff", ""}, `{}`},
		{"nothing", good, ``},
		{"not JSON", good, canary},
		{"cut", good, `{"a":"` + canary + `"`},
		{"two values", good, `{"a":"` + canary + `"}{}`},
		{"array", good, `["` + canary + `"]`},
		{"string", good, `"` + canary + `"`},
		{"null", good, `null`},
		{"name twice", good, `{"a":"` + canary + `","a":2}`},
		{"value not UTF-8", good, "{\"a\":\"" + canary + "\xff\"}"},
		{"too large", good, `{"a":"` + strings.Repeat("x", maxValue) + `"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forEachStore(t, func(t *testing.T, s Store) {
				err := s.Put(t.Context(), tt.key, []byte(tt.value))
				if err == nil {
					t.Fatal("no error")
				}
				if strings.Contains(err.Error(), canary) {
					t.Errorf("the error shows the value: %v", err)
				}
				if _, err := s.Get(t.Context(), tt.key); !errors.Is(err, ErrNotFound) {
					t.Errorf("Get: %v, want ErrNotFound", err)
				}
			})
		})
	}
}

func TestEndedContext(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k := TokenKey("local", "https://a.example", "")
		_, getErr := s.Get(ctx, k)
		_, listErr := s.List(ctx, KindToken, "local")
		_, lockErr := s.Lock(ctx, "l")
		for name, err := range map[string]error{
			"Get": getErr, "List": listErr, "Lock": lockErr,
			"Put": s.Put(ctx, k, []byte(`{}`)), "Delete": s.Delete(ctx, k),
		} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want context.Canceled", name, err)
			}
		}
		if locked, ok := errors.AsType[*LockError](lockErr); !ok || !strings.Contains(locked.Hint(), "more time") {
			t.Errorf("Lock: %#v, want a LockError that advises more time", lockErr)
		}
		if _, err := s.Get(t.Context(), k); !errors.Is(err, ErrNotFound) {
			t.Errorf("the refused Put stored: %v", err)
		}
	})
}

func TestLock(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		unlock, err := s.Lock(t.Context(), "refresh https://a.example")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = s.Lock(ctx, "refresh https://a.example")
		locked, ok := errors.AsType[*LockError](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("second Lock: %v, want a LockError for the deadline", err)
		}
		if locked.Name != "refresh https://a.example" || locked.Holder != "this process" || locked.Waited < 40*time.Millisecond {
			t.Errorf("LockError = %+v", locked)
		}
		if locked.Code() != "store.locked" || !strings.Contains(locked.Hint(), "this process") {
			t.Errorf("Code() = %q, Hint() = %q", locked.Code(), locked.Hint())
		}

		// Another name is free, and reading and writing need no name at all.
		other, err := s.Lock(t.Context(), "refresh https://b.example")
		if err != nil {
			t.Fatal(err)
		}
		other()
		k := TokenKey("local", "https://a.example", "")
		if err := s.Put(t.Context(), k, []byte(`{}`)); err != nil {
			t.Errorf("Put under a Lock: %v", err)
		}

		unlock()
		unlock() // releasing twice must not release the next holder's lock
		next, err := s.Lock(t.Context(), "refresh https://a.example")
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := s.Lock(ctx, "refresh https://a.example"); err == nil {
			t.Error("a second unlock released the lock of another holder")
		}
		next()
	})
}

// TestLockExcludes adds one to a record from many goroutines; on disk also through two stores.
func TestLockExcludes(t *testing.T) {
	dir := storeDir(t)
	memory := NewMemory()
	for name, stores := range map[string][]Store{
		"memory": {memory, memory},
		"file":   {openFile(t, dir), openFile(t, dir)},
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			for _, s := range stores {
				for range 5 {
					all.Go(func() {
						for range 5 {
							if err := addOne(t.Context(), s); err != nil {
								t.Error(err)
							}
						}
					})
				}
			}
			all.Wait()
			if got, want := count(t, stores[0]), 50; got != want {
				t.Errorf("count = %d, want %d", got, want)
			}
		})
	}
	if n := len(memory.locks.slots); n != 0 {
		t.Errorf("%d lock names are remembered with nobody using them", n)
	}
}

var counter = Key{Kind: KindProofKey, Principal: "local", Resource: "counter"}

// addOne reads, adds and writes under a lock.
func addOne(ctx context.Context, s Store) error {
	unlock, err := s.Lock(ctx, "counter")
	if err != nil {
		return err
	}
	defer unlock()
	n := 0
	b, err := s.Get(ctx, counter)
	if err == nil {
		_, err = fmt.Sscanf(string(b), `{"n":%d}`, &n)
	} else if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	return s.Put(ctx, counter, fmt.Appendf(nil, `{"n":%d}`, n+1))
}

func count(t *testing.T, s Store) (n int) {
	t.Helper()
	b, err := s.Get(t.Context(), counter)
	if err != nil {
		t.Error(err)
		return 0
	}
	if _, err := fmt.Sscanf(string(b), `{"n":%d`, &n); err != nil {
		t.Error(err)
	}
	return n
}

func TestPrincipalsAreApart(t *testing.T) {
	forEachStore(t, func(t *testing.T, s Store) {
		for _, p := range []principal.ID{"alice", "bob"} {
			if err := s.Put(t.Context(), TokenKey(p, "https://a.example", ""), fmt.Appendf(nil, `{"of":%q}`, p)); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []principal.ID{"alice", "bob", ""} {
			got, err := s.List(t.Context(), KindToken, p)
			if err != nil {
				t.Fatal(err)
			}
			var want []Entry
			if p != "" {
				want = []Entry{{TokenKey(p, "https://a.example", ""), fmt.Appendf(nil, `{"of":%q}`, p)}}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("List for %q (-want +got):\n%s", p, diff)
			}
		}
	})
}
