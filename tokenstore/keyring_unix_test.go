//go:build unix

package tokenstore

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// step is what a child did and how it ended.
type step struct {
	Did   string
	Code  string // of the error; "" without
	Error string
	Hint  string
	Value string
	Took  time.Duration
}

// useKeyring is a child that does one thing after another with the sealed store in f's directory.
func useKeyring(f *File, script string) error {
	k, err := OpenKeyring(f.dir, FileOptions{})
	if err != nil {
		return err
	}
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for did := range strings.SplitSeq(script, ",") {
		s := step{Did: did}
		start := time.Now()
		s.Value, err = doStep(k, in, did)
		s.Took = time.Since(start)
		if err != nil {
			s.Error = err.Error()
		}
		if coded, ok := errors.AsType[interface {
			error
			Code() string
			Hint() string
		}](err); ok {
			s.Code, s.Hint = coded.Code(), coded.Hint()
		}
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

func doStep(k *Keyring, in *bufio.Reader, did string) (value string, err error) {
	ctx := context.Background()
	verb, arg, _ := strings.Cut(did, " ")
	resource := "https://" + arg + ".example"
	switch verb {
	case "wait":
		return in.ReadString('\n')
	case "put":
		return "", PutToken(ctx, k, &Token{Principal: "local", Resource: resource, AccessToken: secret.New(canary + arg)})
	case "get":
		token, err := GetToken(ctx, k, TokenKey("local", resource, ""))
		if err != nil {
			return "", err
		}
		return token.AccessToken.Reveal(), nil
	case "count":
		tokens, err := Tokens(ctx, k, "local")
		return fmt.Sprint(len(tokens)), err
	case "delete":
		return "", k.Delete(ctx, TokenKey("local", resource, ""))
	case "briefly":
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := k.Get(ctx, counter)
		return fmt.Sprint(errors.Is(err, context.DeadlineExceeded)), nil
	case "goroutines":
		return fmt.Sprint(runtime.NumGoroutine()), nil
	case "entry":
		return keyring.Get(keyringService, k.user)
	case "enter":
		return "", keyring.Set(keyringService, k.user, arg)
	case "forget":
		return "", keyring.Delete(keyringService, k.user)
	}
	return "", errors.New("no such step")
}

// desktop is a D-Bus session with a home of its own.
type desktop struct {
	t       *testing.T
	home    string
	address string
	extra   []string // of the environment
	conn    *dbus.Conn
	daemon  *exec.Cmd // nil: none runs
}

func needKeyring(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "darwin" {
		t.Skip("the keyring here is not one on D-Bus")
	}
	for program, pkg := range map[string]string{"dbus-run-session": "dbus-daemon", "gnome-keyring-daemon": "gnome-keyring"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed (Debian: %s), and CI must not skip this", program, pkg)
			}
			t.Skipf("%s is not installed (Debian: %s)", program, pkg)
		}
	}
}

// newDesktop starts a session in which nothing keeps secrets yet.
func newDesktop(t *testing.T) *desktop {
	t.Helper()
	needKeyring(t)
	d := &desktop{t: t, home: t.TempDir()}
	// The session lasts until its standard input ends.
	cmd := exec.Command("dbus-run-session", "--", "sh", "-c", `echo "$DBUS_SESSION_BUS_ADDRESS"; cat >/dev/null`)
	cmd.Env = append(os.Environ(), d.env()...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the session bus did not start: %v", err)
	}
	d.address = strings.TrimSpace(line)
	if d.conn, err = dbus.Connect(d.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.conn.Close() })
	return d
}

func (d *desktop) env(more ...string) []string {
	return append([]string{"HOME=" + d.home, "XDG_RUNTIME_DIR=" + d.home, "XDG_DATA_HOME=" + filepath.Join(d.home, "data"),
		"DISPLAY=", "WAYLAND_DISPLAY=", "DBUS_SESSION_BUS_ADDRESS=" + d.address}, more...)
}

// keyring starts the keyring daemon, unlocked with a password or locked.
func (d *desktop) keyring(unlocked bool) {
	d.t.Helper()
	d.stop()
	args := []string{"--foreground", "--components=secrets", "--control-directory=" + d.home}
	if unlocked {
		args = append(args, "--unlock")
	}
	d.daemon = exec.Command("gnome-keyring-daemon", args...)
	d.daemon.Env = append(os.Environ(), d.env()...)
	d.daemon.Stdin = strings.NewReader("password of the login keyring")
	if err := d.daemon.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(d.stop)
	d.await(true)
}

func (d *desktop) stop() {
	if d.daemon == nil {
		return
	}
	_ = d.daemon.Process.Kill()
	_ = d.daemon.Wait()
	d.daemon = nil
	d.await(false)
}

// await waits until somebody, or nobody, keeps secrets in the session.
func (d *desktop) await(want bool) {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var got bool
		if err := d.conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&got); err != nil {
			d.t.Fatal(err)
		}
		if got == want {
			return
		}
	}
	d.t.Fatalf("after 20s, that somebody keeps secrets is still %v", !want)
}

// conversation is a child that waits for its next line at each "wait".
type conversation struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func (d *desktop) start(dir string, script ...string) *conversation {
	d.t.Helper()
	c := &conversation{t: d.t, cmd: child(d.t.Context(), "use keyring", dir, strings.Join(script, ","))}
	c.cmd.Env = append(c.cmd.Env, d.env(d.extra...)...)
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.in, err = c.cmd.StdinPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	c.out = json.NewDecoder(out)
	return c
}

// next returns the next step that is not a wait.
func (c *conversation) next() step {
	c.t.Helper()
	for {
		var s step
		if err := c.out.Decode(&s); err != nil {
			c.t.Errorf("the child ended early: %v", err)
			return s
		}
		if s.Did != "wait" {
			return s
		}
	}
}

func (c *conversation) proceed() {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		c.t.Error(err)
	}
}

func (c *conversation) end() {
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
}

// run does the script in a process of its own.
func (d *desktop) run(dir string, script ...string) []step {
	d.t.Helper()
	c := d.start(dir, script...)
	defer c.end()
	var steps []step
	for range script {
		steps = append(steps, c.next())
	}
	return steps
}

// good fails the test unless every step ended well, and returns the last value.
func good(t *testing.T, steps ...step) (value string) {
	t.Helper()
	for _, s := range steps {
		if s.Error != "" {
			t.Fatalf("%s: %s", s.Did, s.Error)
		}
		value = s.Value
	}
	return value
}

// refusal fails the test unless s ended with a KeyringError that has these parts, in time.
func refusal(t *testing.T, s step, parts ...string) {
	t.Helper()
	if s.Code != "store.keyring" || s.Took >= 4*time.Second {
		t.Fatalf("%s: %q %q after %v, want store.keyring within 4s", s.Did, s.Code, s.Error, s.Took)
	}
	for _, part := range parts {
		if !strings.Contains(s.Error+"\n"+s.Hint, part) {
			t.Errorf("%s: error %q, hint %q; want %q in them", s.Did, s.Error, s.Hint, part)
		}
	}
}

func TestKeyring(t *testing.T) {
	d, dir := newDesktop(t), storeDir(t)
	d.keyring(true)
	good(t, d.run(dir, "put a", "put b", "get a", "delete b")...)
	steps := d.run(dir, "get a", "get b", "entry")
	good(t, steps[0], steps[2])
	if steps[0].Value != canary+"a" {
		t.Errorf("another process reads %q, want %q", steps[0].Value, canary+"a")
	}
	if !strings.Contains(steps[1].Error, ErrNotFound.Error()) {
		t.Errorf("get of a deleted record: %+v", steps[1])
	}
	key, err := base64.RawURLEncoding.DecodeString(steps[2].Value)
	if err != nil || len(key) != 32 {
		t.Errorf("the keyring has %d bytes, %v, want 32", len(key), err)
	}
	for _, text := range []string{canary, string(key), steps[2].Value} {
		if found := filesWith(t, dir, text); len(found) != 0 {
			t.Errorf("%q hold a token or the key", found)
		}
	}
	d.keyring(true)
	if got := good(t, d.run(dir, "get a")...); got != canary+"a" {
		t.Errorf("after the daemon was restarted: %q", got)
	}
	// Another directory has another key.
	other := storeDir(t)
	if got := good(t, d.run(other, "put a", "entry")...); got == steps[2].Value {
		t.Error("two stores share a key")
	}
}

// TestKeyringOneKey: processes that open a new store at the same moment agree on its key.
func TestKeyringOneKey(t *testing.T) {
	const rounds, processes = 10, 6
	d := newDesktop(t)
	d.keyring(true)
	for range rounds {
		dir := storeDir(t)
		var all []*conversation
		for i := range processes {
			all = append(all, d.start(dir, "goroutines", "wait", fmt.Sprintf("put p%d", i), fmt.Sprintf("get p%d", i)))
		}
		for _, c := range all {
			good(t, c.next()) // it is ready
		}
		for _, c := range all {
			c.proceed()
		}
		for _, c := range all {
			good(t, c.next(), c.next())
			c.end()
		}
		if got := good(t, d.run(dir, "count")...); got != fmt.Sprint(processes) {
			t.Errorf("%s records open with the key in the keyring, want %d", got, processes)
		}
	}
}

// TestKeyringKeyOfAnother: who found no key waits for its turn to make one, and looks again.
func TestKeyringKeyOfAnother(t *testing.T) {
	d, dir := newDesktop(t), storeDir(t)
	d.keyring(true)
	unlock, err := openFile(t, dir).Lock(t.Context(), "keyring key")
	if err != nil {
		t.Fatal(err)
	}
	c := d.start(dir, "goroutines", "put a")
	good(t, c.next())
	time.Sleep(300 * time.Millisecond) // it finds nothing
	key := base64.RawURLEncoding.EncodeToString([]byte("the key that another process has"))
	good(t, d.run(dir, "enter "+key)...)
	unlock()
	good(t, c.next())
	c.end()
	steps := d.run(dir, "entry", "get a")
	if good(t, steps...); steps[0].Value != key {
		t.Error("the key that another process made was replaced")
	}
}

// TestKeyringLocked: a locked keyring is an error, and an unlocked one helps the process that got the error.
func TestKeyringLocked(t *testing.T) {
	d, dir := newDesktop(t), storeDir(t)
	d.keyring(true)
	good(t, d.run(dir, "put a")...)
	before := sealedFile(t, dir)
	d.keyring(false)
	c := d.start(dir, "get a", "put b", "count", "delete b", "wait", "get a", "put b")
	refusal(t, c.next(), "keyring", "unlock the keyring", `store.type to "file"`)
	refusal(t, c.next())
	refusal(t, c.next())
	good(t, c.next()) // removing needs no key
	if got := sealedFile(t, dir); got != before {
		t.Errorf("with the keyring locked the file became\n%s", got)
	}
	d.keyring(true)
	c.proceed()
	good(t, c.next(), c.next())
	c.end()
	if got := good(t, d.run(dir, "get a", "get b")...); got != canary+"b" {
		t.Errorf("get b: %q", got)
	}
	// A new store in a locked keyring gets no key, and no file.
	d.keyring(false)
	empty := storeDir(t)
	refusal(t, d.run(empty, "put a")[0])
	if _, err := os.Stat(filepath.Join(empty, sealedName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a store was written: %v", err)
	}
}

func TestKeyringWithoutBus(t *testing.T) {
	needKeyring(t)
	launched := filepath.Join(t.TempDir(), "launched")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "dbus-launch"), []byte("#!/bin/sh\necho >"+launched+"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{
		"none": "", "autolaunch": "autolaunch:", "gone": "unix:path=" + filepath.Join(bin, "bus"), "nonsense": "nonsense",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil && (address == "" || name == "autolaunch") {
				t.Skip("this user has a session bus, which is found without the environment")
			}
			d := &desktop{t: t, home: t.TempDir(), address: address, extra: []string{"PATH=" + bin + ":" + os.Getenv("PATH")}}
			dir := storeDir(t)
			steps := d.run(dir, "get a", "put a")
			refusal(t, steps[0], "session with D-Bus", `store.type to "file"`)
			refusal(t, steps[1])
			if found, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(found) != 0 {
				t.Errorf("written: %q, %v", found, err)
			}
			if _, err := os.Stat(launched); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a bus was to be launched: %v", err)
			}
		})
	}
}

// TestKeyringHangs: what never answers costs each operation 3 seconds and the process one question.
func TestKeyringHangs(t *testing.T) {
	hangs := func(t *testing.T, d *desktop) {
		t.Parallel()
		dir := storeDir(t)
		steps := d.run(dir, "put a", "goroutines", "briefly", "get a", "count", "goroutines")
		for _, i := range []int{0, 3, 4} {
			refusal(t, steps[i], "did not answer within 3s", "unlock the keyring")
			if steps[i].Took < 2900*time.Millisecond {
				t.Errorf("%s gave up after %v", steps[i].Did, steps[i].Took)
			}
		}
		if steps[2].Value != "true" || steps[2].Took > time.Second {
			t.Errorf("a context of 100ms: %+v, want its error", steps[2])
		}
		if steps[1].Value != steps[5].Value {
			t.Errorf("%s goroutines after the first question, %s after four", steps[1].Value, steps[5].Value)
		}
		if found, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(found) != 0 {
			t.Errorf("written: %q, %v", found, err)
		}
	}
	t.Run("daemon", func(t *testing.T) {
		d := newDesktop(t)
		d.pose()
		d.conn.Eavesdrop(make(chan *dbus.Message, 100)) // receives, and never answers
		hangs(t, d)
	})
	t.Run("bus", func(t *testing.T) {
		needKeyring(t)
		path := filepath.Join(t.TempDir(), "bus")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		hangs(t, &desktop{t: t, home: t.TempDir(), address: "unix:path=" + path})
	})
}

// TestKeyringAnswersLate: what the keyring says after an operation gave up counts for the next.
func TestKeyringAnswersLate(t *testing.T) {
	d, dir := newDesktop(t), storeDir(t)
	d.keyring(true)
	good(t, d.run(dir, "put a")...)
	if err := d.daemon.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c := d.start(dir, "get a", "wait", "get a", "wait", "get a")
	refusal(t, c.next(), "did not answer")
	if err := d.daemon.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.proceed()
	if got := good(t, c.next()); got != canary+"a" {
		t.Errorf("get: %q", got)
	}
	d.stop()
	c.proceed()
	if got := good(t, c.next()); got != canary+"a" {
		t.Errorf("once it has the key, without a keyring: %q", got)
	}
	c.end()
}

// TestKeyringTalksNonsense: a program that is no keyring is an error, not a crash.
func TestKeyringTalksNonsense(t *testing.T) {
	d, dir := newDesktop(t), storeDir(t)
	err := d.conn.ExportMethodTable(map[string]any{
		"Get": func(_, _ string) (dbus.Variant, *dbus.Error) { return dbus.MakeVariant(17), nil },
	}, "/org/freedesktop/secrets", "org.freedesktop.DBus.Properties")
	if err != nil {
		t.Fatal(err)
	}
	d.pose()
	steps := d.run(dir, "put a", "get a")
	refusal(t, steps[0], "makes no sense")
	refusal(t, steps[1], "makes no sense")
}

// pose makes the test itself the keyring of the session.
func (d *desktop) pose() {
	d.t.Helper()
	reply, err := d.conn.RequestName("org.freedesktop.secrets", dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		d.t.Fatalf("RequestName: %v, %v", reply, err)
	}
}

// TestKeyringWithoutTheKey: no key but the one that sealed the records is taken or made.
func TestKeyringWithoutTheKey(t *testing.T) {
	d := newDesktop(t)
	d.keyring(true)
	for _, tt := range []struct {
		name, how string
		want      string
	}{
		{"forgotten", "forget", "no longer the key"},
		{"another", "enter " + base64.RawURLEncoding.EncodeToString(make([]byte, 32)), "has another key"},
		{"too short", "enter AAAA", "not a key"},
		{"no base64", "enter !", "not a key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := storeDir(t)
			good(t, d.run(dir, "put a", tt.how)...)
			before := sealedFile(t, dir)
			steps := d.run(dir, "get a", "put a", "put b", "count", "entry")
			for _, s := range steps[:4] {
				refusal(t, s, tt.want, "restore the keyring's entry", "or move "+filepath.Join(dir, sealedName)+" away")
			}
			if tt.how == "forget" && !strings.Contains(steps[4].Error, keyring.ErrNotFound.Error()) {
				t.Errorf("a new key was made over sealed records: %+v", steps[4])
			}
			if got := sealedFile(t, dir); got != before {
				t.Errorf("the file became\n%s", got)
			}
			if !strings.HasPrefix(tt.want, "no longer") {
				return
			}
			// The way out that the hint names.
			if err := os.Rename(filepath.Join(dir, sealedName), filepath.Join(dir, "moved")); err != nil {
				t.Fatal(err)
			}
			if got := good(t, d.run(dir, "put b", "get b")...); got != canary+"b" {
				t.Errorf("get b: %q", got)
			}
		})
	}
}

// TestKeyringRefusesPlaintext: records that nobody sealed, under the name of the sealed file.
func TestKeyringRefusesPlaintext(t *testing.T) {
	d, dir := newDesktop(t), storeDir(t)
	d.keyring(true)
	if err := PutToken(t.Context(), openFile(t, dir), sampleToken()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, fileName), filepath.Join(dir, sealedName)); err != nil {
		t.Fatal(err)
	}
	before := sealedFile(t, dir)
	refusal(t, d.run(dir, "count")[0], "no longer the key")
	good(t, d.run(dir, "enter "+base64.RawURLEncoding.EncodeToString(make([]byte, 32)))...)
	refusal(t, d.run(dir, "count")[0], "another key")
	if got := sealedFile(t, dir); got != before {
		t.Errorf("the file became\n%s", got)
	}
}

func sealedFile(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, sealedName))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
