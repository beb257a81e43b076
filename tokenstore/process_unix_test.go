//go:build unix

package tokenstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// childEnv makes this test binary run one of children instead of the tests: "name dir argument".
const childEnv = "TOKENSTORE_TEST_CHILD"

// children are what the processes of the tests below do. They report on standard output.
var children = map[string]func(f *File, arg string) error{
	"may not":     mayNot,
	"write many":  writeMany,
	"write on":    writeOn,
	"hold lock":   holdLock,
	"hold writes": holdWrites,
	"write large": writeLarge,
	"use keyring": useKeyring,
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		part := strings.Split(spec, "|")
		// Not OpenFile: one of the children has yet to become who it will be.
		f := &File{dir: part[1], name: fileName, log: slog.New(slog.DiscardHandler)}
		err := children[part[0]](f, part[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(ctx context.Context, name, dir, arg string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	// The race detector would sleep for a second before the child ends.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childEnv+"="+name+"|"+dir+"|"+arg)
	cmd.Stderr = os.Stderr
	return cmd
}

const writesEach, addsEach = 50, 10

func writeMany(f *File, arg string) error {
	for i := range writesEach {
		token := &Token{
			Principal: "local", Resource: "https://" + arg + ".example/" + strconv.Itoa(i),
			AccessToken: secret.New(arg + "-" + strconv.Itoa(i)),
		}
		if err := PutToken(context.Background(), f, token); err != nil {
			return err
		}
		if i < addsEach {
			if err := addOne(context.Background(), f); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestManyProcesses(t *testing.T) {
	const processes = 10
	dir := storeDir(t)
	var all sync.WaitGroup
	for i := range processes {
		all.Go(func() {
			if err := child(t.Context(), "write many", dir, "p"+strconv.Itoa(i)).Run(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	all.Wait()
	f := openFile(t, dir)
	tokens, err := Tokens(t.Context(), f, "local")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(tokens), processes*writesEach; got != want {
		t.Errorf("%d tokens, want %d", got, want)
	}
	for _, token := range tokens {
		who, n, _ := strings.Cut(strings.TrimPrefix(token.Resource, "https://"), ".example/")
		if !token.AccessToken.Equal(who + "-" + n) {
			t.Errorf("%s has the token of another", token.Resource)
		}
	}
	if got, want := count(t, f), processes*addsEach; got != want {
		t.Errorf("the counter under the lock is %d, want %d", got, want)
	}
	if w := f.Warnings(); len(w) != 0 || len(setAsideFiles(t, dir)) != 0 {
		t.Errorf("Warnings() = %q", w)
	}
}

// keptIn returns the store on f, sealed where how is "sealed".
func keptIn(f *File, how string) (Store, error) {
	if how != "sealed" {
		return f, nil
	}
	key, err := NewSealKey(make([]byte, keySize))
	if err != nil {
		return nil, err
	}
	return Seal(f, key)
}

// writeOn writes generation after generation, each reported once Put has returned.
func writeOn(f *File, how string) error {
	s, err := keptIn(f, how)
	if err != nil {
		return err
	}
	pad := strings.Repeat("x", 50_000)
	for n := 1; ; n++ {
		if err := s.Put(context.Background(), counter, fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, pad)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKilledWriters kills processes in the middle of their writing.
func TestKilledWriters(t *testing.T) {
	const kills = 60
	stores := []string{"plain", "sealed"}
	var leftovers, between int
	var mu sync.Mutex // guards leftovers and between
	var all sync.WaitGroup
	for _, how := range stores {
		dir := storeDir(t)
		f := openFile(t, dir)
		s, err := keptIn(f, how)
		if err != nil {
			t.Fatal(err)
		}
		if err := PutToken(t.Context(), s, sampleToken()); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range kills {
				acknowledged := killWriter(t, dir, how)
				got := count(t, s)
				if got != acknowledged && got != acknowledged+1 {
					t.Errorf("the file has generation %d; %d was acknowledged", got, acknowledged)
				}
				temps, _ := filepath.Glob(filepath.Join(dir, fileName+tempMark+"*"))
				mu.Lock()
				leftovers += len(temps)
				between += got - acknowledged
				mu.Unlock()
				// The lock died with its holder; the next writer takes away what it left.
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				if err := errors.Join(s.Delete(ctx, counter), PutToken(ctx, s, sampleToken())); err != nil {
					t.Error(err)
				}
				cancel()
				if temps, _ := filepath.Glob(filepath.Join(dir, fileName+tempMark+"*")); len(temps) != 0 {
					t.Errorf("left after the next write: %q", temps)
				}
				if token, err := GetToken(t.Context(), s, sampleToken().Key()); err != nil || !token.AccessToken.Equal(sampleToken().AccessToken.Reveal()) {
					t.Errorf("the other record: %v, %v", token, err)
				}
			}
			if w := f.Warnings(); len(w) != 0 || len(setAsideFiles(t, dir)) != 0 {
				t.Errorf("a killed writer damaged the file: %q", w)
			}
		})
	}
	all.Wait()
	t.Logf("%d kills: %d left a temporary file, %d came between the write and its acknowledgement", len(stores)*kills, leftovers, between)
}

// killWriter starts a writer, kills it at a random time after its first write, and returns the
// last generation it acknowledged.
func killWriter(t *testing.T, dir, how string) (acknowledged int) {
	cmd := child(t.Context(), "write on", dir, how)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return 0
	}
	lines := bufio.NewReader(out)
	for first := true; ; first = false {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what has no line end was not acknowledged
		}
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			acknowledged = n
		}
		if first {
			time.AfterFunc(rand.N(15*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	if acknowledged == 0 {
		t.Error("the writer died before its first write")
	}
	return acknowledged
}

func holdLock(f *File, name string) error {
	if _, err := f.Lock(context.Background(), name); err != nil {
		return err
	}
	fmt.Println("held")
	select {}
}

func holdWrites(f *File, _ string) error {
	if _, err := f.lockWrites(context.Background()); err != nil {
		return err
	}
	fmt.Println("held")
	select {}
}

// TestStoppedHolder: a process that holds a lock and is stopped keeps nobody waiting beyond their
// context, and readers not at all; when it is killed its locks are free.
func TestStoppedHolder(t *testing.T) {
	for _, tt := range []struct {
		name, child string
		use         func(context.Context, *File) error
		lock        func(*File) string
	}{
		{"named lock", "hold lock", func(ctx context.Context, f *File) error {
			unlock, err := f.Lock(ctx, "refresh")
			if err == nil {
				unlock()
			}
			return err
		}, func(*File) string { return "refresh" }},
		{"writers' lock", "hold writes", func(ctx context.Context, f *File) error {
			return f.Put(ctx, counter, []byte(`{"n":1}`))
		}, (*File).path},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := storeDir(t)
			f := openFile(t, dir)
			if err := PutToken(t.Context(), f, sampleToken()); err != nil {
				t.Fatal(err)
			}
			cmd := child(t.Context(), tt.child, dir, "refresh")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
				t.Fatalf("the holder says %q, %v", line, err)
			}
			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}

			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			err = tt.use(ctx, f)
			locked, ok := errors.AsType[*LockError](err)
			if !ok || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, want a LockError for the deadline", err)
			}
			if waited := time.Since(start); waited > 5*time.Second {
				t.Errorf("returned %v after a deadline of 200ms", waited)
			}
			who := fmt.Sprintf("process %d since ", cmd.Process.Pid)
			if locked.Name != tt.lock(f) || !strings.Contains(locked.Holder, who) || !strings.Contains(err.Error(), who) || !strings.Contains(locked.Hint(), who) {
				t.Errorf("LockError = %v, hint %s; want them to name %s and %q", err, locked.Hint(), tt.lock(f), who)
			}
			if _, err := GetToken(t.Context(), f, sampleToken().Key()); err != nil {
				t.Errorf("reading: %v", err)
			}

			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := tt.use(ctx, f); err != nil {
				t.Errorf("after the holder was killed: %v", err)
			}
		})
	}
}

// writeLarge has a disk that takes 16 KiB in a file and no more, and tells how a write of more ends.
func writeLarge(f *File, _ string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 16 << 10, Max: 16 << 10}); err != nil {
		return err
	}
	err := f.Put(context.Background(), counter, []byte(`{"n":1,"pad":"`+strings.Repeat("x", 50_000)+`"}`))
	failed, ok := errors.AsType[*WriteError](err)
	if !ok || !errors.Is(err, syscall.EFBIG) || failed.Code() != "store.write" || !strings.Contains(failed.Hint(), "space") || failed.Path != f.path() {
		return fmt.Errorf("Put: %v, want a WriteError", err)
	}
	if temps, _ := filepath.Glob(filepath.Join(f.Dir(), fileName+tempMark+"*")); len(temps) != 0 {
		return fmt.Errorf("left behind: %q", temps)
	}
	// What still fits goes on being written.
	if err := f.Put(context.Background(), counter, []byte(`{"n":2}`)); err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, "refused\n")
	return err
}

func TestFullDisk(t *testing.T) {
	dir := storeDir(t)
	f := openFile(t, dir)
	if err := PutToken(t.Context(), f, sampleToken()); err != nil {
		t.Fatal(err)
	}
	if out, err := child(t.Context(), "write large", dir, "").Output(); err != nil || string(out) != "refused\n" {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := GetToken(t.Context(), f, sampleToken().Key()); err != nil {
		t.Errorf("the old data: %v", err)
	}
	if n := count(t, f); n != 2 {
		t.Errorf("count = %d, want 2", n)
	}
}

const nobody = 65534

// mayNot tells how reading and writing end for a user without the right to.
func mayNot(f *File, _ string) error {
	if os.Geteuid() == 0 {
		if err := syscall.Setuid(nobody); err != nil {
			return err
		}
	}
	_, err := f.Get(context.Background(), counter)
	fmt.Println("get:", outcome(err))
	fmt.Println("put:", outcome(f.Put(context.Background(), counter, []byte(`{"n":2}`))))
	return nil
}

func outcome(err error) string {
	if denied, ok := errors.AsType[*PermissionError](err); ok {
		return denied.Code() + " " + denied.Reason
	}
	failed, ok := errors.AsType[*WriteError](err)
	switch {
	case ok && errors.Is(err, syscall.EACCES) && strings.Contains(err.Error(), "damaged"):
		return failed.Code() + " for a damaged file"
	case ok && errors.Is(err, syscall.EACCES):
		return failed.Code()
	}
	return fmt.Sprint(err)
}

func TestWithoutRights(t *testing.T) {
	const good = `{"version":1,"entries":[{"kind":"proof_key","principal":"local","resource":"counter","issuer":"","value":{"n":1}}]}`
	for _, tt := range []struct {
		name, content     string
		dirMode, fileMode os.FileMode
		withLock          bool
		want              string
	}{
		{"read-only directory", good, 0o500, 0o600, true, "get: <nil>\nput: store.write\n"},
		{"read-only directory, never locked", good, 0o500, 0o600, false, "get: <nil>\nput: store.write\n"},
		{"read-only directory, damaged file", "garbage", 0o500, 0o600, true, "get: store.write for a damaged file\nput: store.write for a damaged file\n"},
		{"unreadable file", good, 0o700, 0o200, true, "get: store.permissions may not be read\nput: store.permissions may not be read\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := storeDir(t)
			writeFile(t, dir, tt.content)
			names := []string{fileName}
			if tt.withLock {
				names = append(names, lockName)
				if err := os.WriteFile(filepath.Join(dir, lockName), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := errors.Join(os.Chmod(filepath.Join(dir, fileName), tt.fileMode), os.Chmod(dir, tt.dirMode))
			if os.Geteuid() == 0 {
				// The child gives up root; make everything its own, and the way to it passable.
				for _, name := range append(names, ".") {
					err = errors.Join(err, os.Chown(filepath.Join(dir, name), nobody, nobody))
				}
				err = errors.Join(err, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o711))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Chmod(dir, 0o700) }()

			out, err := child(t.Context(), "may not", dir, "").Output()
			if err != nil || string(out) != tt.want {
				t.Errorf("%v, output:\n%swant:\n%s", err, out, tt.want)
			}
			if err := os.Chmod(filepath.Join(dir, fileName), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, dir); got != tt.content {
				t.Errorf("the file is now %s, want it untouched", got)
			}
			if found, err := filepath.Glob(filepath.Join(dir, fileName+".*")); err != nil || len(found) != 0 {
				t.Errorf("left behind: %q (%v)", found, err)
			}
		})
	}
}
