package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is the built program.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if binary = os.Getenv(builtBinary); binary != "" {
			return m.Run() // in a network namespace
		}
		dir, err := os.MkdirTemp("", "authfetch-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "mcp-authfetch")
		if err := readSources(".."); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if out, err := exec.Command("go", "build", "-o", binary, "../cmd/mcp-authfetch").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// readSources looks at every source of the module, so that the test cache knows what a result depends
// on: of what another process builds it knows nothing.
func readSources(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	})
}

// output is what a process wrote, for reading while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// agent speaks MCP with one process of the binary, one call after the other.
type agent struct {
	t      *testing.T
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	last   int
	told   bytes.Buffer // every answer
	stop   func()
}

// startAgent starts "mcp-authfetch stdio" and greets it. It ends with the test, or with stop.
func (w *world) startAgent() *agent {
	w.t.Helper()
	cmd := w.command("stdio", "--verbose")
	stderr := &output{}
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	must(w.t, err)
	stdout, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	a := &agent{t: w.t, stdin: stdin, stdout: bufio.NewScanner(stdout)}
	a.stdout.Buffer(nil, 8<<20)
	a.stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
	})
	w.t.Cleanup(func() {
		a.stop()
		said := stderr.String()
		if strings.Contains(said, "DATA RACE") {
			w.t.Error("a data race")
		}
		for value, name := range w.secrets() {
			if strings.Contains(said, value) || strings.Contains(a.told.String(), value) {
				w.t.Errorf("a secret was logged or told to the agent (%s)", name)
			}
		}
		if w.t.Failed() {
			w.t.Logf("mcp-authfetch stdio:\n%s", said)
		}
	})
	a.call("initialize", object{
		"protocolVersion": "2025-11-25", "capabilities": object{}, "clientInfo": object{"name": "agent", "version": "1"},
	})
	a.send(object{"jsonrpc": "2.0", "method": "notifications/initialized"})
	return a
}

// answer is what webfetch gave.
type answer struct {
	Text    string
	IsError bool
	Status  string
	Login   struct {
		URL             string `json:"url"`
		UserCode        string `json:"user_code"`
		VerificationURI string `json:"verification_uri"`
	}
	ErrorCode string
}

// fetch calls webfetch, which may wait for the person until the page is there.
func (a *agent) fetch(page string, wait time.Duration) answer {
	a.t.Helper()
	var res struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		IsError bool `json:"isError"`
		Meta    map[string]struct {
			Status string          `json:"status"`
			Login  json.RawMessage `json:"login"`
			Error  struct {
				Code string `json:"code"`
			} `json:"error"`
		} `json:"_meta"`
	}
	result := a.call("tools/call", object{"name": "webfetch", "arguments": object{"url": page, "wait": wait.Seconds()}})
	if err := json.Unmarshal(result, &res); err != nil {
		a.t.Errorf("%s: %v", result, err)
		return answer{}
	}
	facts := res.Meta["authfetch/result"]
	got := answer{IsError: res.IsError, Status: facts.Status, ErrorCode: facts.Error.Code}
	if facts.Login != nil {
		if err := json.Unmarshal(facts.Login, &got.Login); err != nil {
			a.t.Error(err)
		}
	}
	for _, c := range res.Content {
		got.Text += c.Text
	}
	return got
}

func (a *agent) call(method string, params any) json.RawMessage {
	a.t.Helper()
	a.last++
	a.send(object{"jsonrpc": "2.0", "id": a.last, "method": method, "params": params})
	for a.stdout.Scan() {
		a.told.Write(a.stdout.Bytes())
		var m struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(a.stdout.Bytes(), &m); err != nil {
			a.t.Errorf("%s: %v", a.stdout.Bytes(), err)
			return nil
		}
		if m.ID != a.last {
			continue // a notification
		}
		if m.Error != nil {
			a.t.Errorf("%s: %s", method, m.Error)
		}
		return m.Result
	}
	a.t.Errorf("%s: the program ended: %v", method, a.stdout.Err())
	return nil
}

func (a *agent) send(message any) {
	a.t.Helper()
	data, err := json.Marshal(message)
	if err == nil {
		_, err = a.stdin.Write(append(data, '\n'))
	}
	if err != nil {
		a.t.Error(err)
	}
}

// run runs another command of the binary and returns what it printed.
func (w *world) run(args ...string) string {
	w.t.Helper()
	cmd := w.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("mcp-authfetch %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
