package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	scripts        = "testdata/scripts"
	keyringScripts = "testdata/keyring"
)

type worldKey struct{}

// TestScripts runs the program as people and agents do. After each script all that the program
// wrote is searched for the secrets of that script's world.
func TestScripts(t *testing.T) { runScripts(t, scripts) }

// TestKeyring runs those that want a real keyring.
func TestKeyring(t *testing.T) {
	for program, pkg := range map[string]string{"dbus-run-session": "dbus-daemon", "gnome-keyring-daemon": "gnome-keyring"} {
		if _, err := exec.LookPath(program); err != nil {
			cannot(t, program+" is not installed (Debian: "+pkg+")")
		}
	}
	runScripts(t, keyringScripts)
}

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			w := newWorld(env.WorkDir)
			output := filepath.Join(env.WorkDir, ".output")
			env.Values[worldKey{}] = w
			env.Vars = append(env.Vars, "OUTPUT="+output, "GORACE=atexit_sleep_ms=0",
				"AUTHFETCH_CONFIG="+filepath.Join(env.WorkDir, "config.jsonc"), "STORE="+filepath.Join(env.WorkDir, "state", "mcp-authfetch"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			env.Defer(func() {
				w.close()
				found, err := leaks(output, w.allSecrets())
				if err != nil || len(found) > 0 {
					t.Errorf("%s: %v %s", filepath.Base(env.WorkDir), err, strings.Join(found, "\n"))
				}
			})
			if err := w.write(); err != nil {
				return err
			}
			return os.Mkdir(output, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"world": startWorld, "set": set, "fill": fill, "await": await("stderr"), "await-stdout": await("stdout"), "exits": exits, "received": received, "arrives": arrives,
			"expire": expire, "secrets": secrets, "jsonrpc": jsonrpc, "post": post, "get": get, "close": closeServer, "clock": clock, "within": within,
		},
	})
}

func of(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// startWorld starts servers, writes config.jsonc and sets $SITE, $ISSUER and $DEAD.
func startWorld(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1 && kinds[args[0]] != nil, "world KIND")
	w := of(ts)
	ts.Check(kinds[args[0]](w))
	ts.Check(w.write())
	ts.Setenv("SITE", w.site.URL)
	if w.issuer != nil {
		ts.Setenv("ISSUER", w.issuer.URL)
	}
	dead, err := deadAddress()
	ts.Check(err)
	ts.Setenv("DEAD", dead)
}

// set changes a setting of config.jsonc; the value is JSON or else a string.
func set(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "set SECTION.KEY VALUE")
	ts.Check(of(ts).set(args[0], args[1]))
}

// fill replaces $NAME in a file.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "fill FILE")
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// await waits until the program has written something, and keeps the last group, or the whole
// match, in $NAME. $RUN says which run of it, where that is set.
func await(kind string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, !neg && len(args) == 2, "await NAME REGEXP")
		re := regexp.MustCompile(args[1])
		run := ts.Getenv("RUN")
		if run == "" {
			run = "*"
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			files, err := filepath.Glob(filepath.Join(ts.Getenv("OUTPUT"), run+"."+kind))
			ts.Check(err)
			for _, f := range files {
				if m := re.FindStringSubmatch(ts.ReadFile(f)); m != nil {
					ts.Setenv(args[0], m[len(m)-1])
					return
				}
			}
		}
		ts.Fatalf("nothing on %s matches %s", kind, args[1])
	}
}

// exits runs a command that must end with exactly this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "exits CODE COMMAND…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// received counts the requests that a server got.
func received(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 4 || len(args) == 5), "received COUNT SERVER METHOD PATH-PREFIX [STATUS]")
	got := 0
	for _, e := range of(ts).log.Events() {
		if e.Server == args[1] && e.Method == args[2] && strings.HasPrefix(e.Path, args[3]) && (len(args) < 5 || fmt.Sprint(e.Status) == args[4]) {
			got++
		}
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s received %d requests %s, want %s", args[1], got, strings.Join(args[2:], " "), args[0])
	}
}

// arrives waits until a server has got a request.
func arrives(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "arrives SERVER PATH")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if len(of(ts).log.Find(args[0], args[1])) > 0 {
			return
		}
	}
	ts.Fatalf("%s got no request for %s", args[0], args[1])
}

// expire makes the site refuse the tokens issued so far; "refresh" takes the refresh tokens too.
func expire(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 0 || args[0] == "refresh"), "expire [refresh]")
	w := of(ts)
	w.issuer.ExpireTokens()
	if len(args) > 0 {
		w.issuer.RevokeRefreshTokens()
	}
}

// secrets checks that the search for secrets has something to look for, and where.
func secrets(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "secrets NAME…")
	have := map[string]bool{}
	for _, name := range of(ts).allSecrets() {
		have[name] = true
	}
	for _, name := range args {
		if !have[strings.ReplaceAll(name, "-", " ")] && !have[name] {
			ts.Fatalf("no secret %q went round, only %v", name, have)
		}
	}
	if files, err := filepath.Glob(filepath.Join(ts.Getenv("OUTPUT"), "*.stderr")); err != nil || len(files) == 0 {
		ts.Fatalf("nothing was written that could be searched (%v)", err)
	}
}

// jsonrpc checks that a file has JSON-RPC messages and nothing else, this many.
func jsonrpc(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "jsonrpc FILE COUNT")
	text := ts.ReadFile(args[0])
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines {
		var m struct {
			Version string `json:"jsonrpc"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Version != "2.0" {
			ts.Fatalf("not a JSON-RPC message: %s", line)
		}
	}
	if fmt.Sprint(len(lines)) != args[1] {
		ts.Fatalf("%d messages, want %s", len(lines), args[1])
	}
}

// post sends a file to an MCP endpoint, in the session of the one before, and shows status and answer.
func post(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 2 || len(args) == 3), "post URL FILE [HEADER:VALUE]")
	req, err := http.NewRequest(http.MethodPost, args[0], strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if session := ts.Getenv("MCP_SESSION"); session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	if len(args) == 3 {
		name, value, _ := strings.Cut(args[2], ":")
		req.Header.Set(name, value)
	}
	resp := send(ts, req)
	if session := resp.Header.Get("Mcp-Session-Id"); session != "" {
		ts.Setenv("MCP_SESSION", session)
	}
}

// get reads a document under the name that a proxy in front of the server would have.
func get(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "get URL HOST")
	req, err := http.NewRequest(http.MethodGet, args[0], nil)
	ts.Check(err)
	req.Host = args[1]
	send(ts, req)
}

// send prints status and body.
func send(ts *testscript.TestScript, req *http.Request) *http.Response {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s\n", resp.StatusCode, body.String())
	return resp
}

// closeServer ends a server for good.
func closeServer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1 && args[0] == "issuer", "close issuer")
	of(ts).issuer.Close()
}

// clock starts the time that within looks at.
func clock(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "clock")
	ts.Setenv("CLOCK", time.Now().Format(time.RFC3339Nano))
}

func within(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "within DURATION")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	start, err := time.Parse(time.RFC3339Nano, ts.Getenv("CLOCK"))
	ts.Check(err)
	if took := time.Since(start); took > limit {
		ts.Fatalf("it took %v, more than %v", took, limit)
	}
}

// TestEveryCommandHasAScript: a command is proven by scripts that bear its name.
func TestEveryCommandHasAScript(t *testing.T) {
	for _, cmd := range (&program{}).root().Commands() {
		files, err := filepath.Glob(filepath.Join(scripts, cmd.Name()+"*.txtar"))
		if err != nil || len(files) == 0 {
			t.Errorf("no script for %q (%v)", cmd.Name(), err)
		}
	}
}

// TestLeaksFindsSecrets: the search that every script ends with can fail.
func TestLeaksFindsSecrets(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "1.stderr"), []byte("level=DEBUG token=abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := leaks(dir, map[string]string{"abc": "access_token", "def": "state"})
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "access_token") {
		t.Errorf("leaks() = %q, %v; want the access token alone", got, err)
	}
}

// TestNothingIsSkippedInCI: tests skip by cannot, which fails in CI, and scripts not at all.
func TestNothingIsSkippedInCI(t *testing.T) {
	sources, err := filepath.Glob("*_test.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	texts, err := filepath.Glob(filepath.Join(scripts, "*.txtar"))
	if err != nil || len(texts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	more, err := filepath.Glob(filepath.Join(keyringScripts, "*.txtar"))
	if err != nil || len(more) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	texts = append(texts, more...)
	skips := regexp.MustCompile(`\.(Skip|Skipf|SkipNow)\(|(?m)^\s*(\[.*\]\s*)?(skip|stop)\b`)
	for _, file := range append(sources, texts...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if file == "main_test.go" {
			want = 1 // cannot itself
		}
		if got := len(skips.FindAll(data, -1)); got != want {
			t.Errorf("%s skips %d times, want %d", file, got, want)
		}
	}
}
