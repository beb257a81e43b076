package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

const greeting = `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}` + "\n" +
	`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"

func callLine(id any, args map[string]any, meta map[string]any) string {
	params := map[string]any{"name": "webfetch", "arguments": args}
	if meta != nil {
		params["_meta"] = meta
	}
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
	if err != nil {
		panic(err)
	}
	return string(data) + "\n"
}

// message is one line that a server wrote.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      any             `json:"id"`
	Method  string          `json:"method"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`
	Params  struct {
		ProgressToken string `json:"progressToken"`
	} `json:"params"`
}

// messages reads lines until the end. A line that is no message fails the test.
func messages(t *testing.T, r io.Reader, each func(message)) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var m message
			if json.Unmarshal(line, &m) != nil || m.JSONRPC != "2.0" || m.Method == "" && m.Result == nil && m.Error == nil {
				t.Errorf("not a message on stdout: %.200q", line)
			}
			each(m)
		}
		if err != nil {
			return
		}
	}
}

// pipes is ServeStdio with an agent at the other end. The library has one stdio session per process,
// so tests that use it do not run in parallel.
type pipes struct {
	in     *io.PipeWriter
	mu     sync.Mutex
	got    []message
	served chan error // what ServeStdio returned
	read   chan struct{}
}

func servePipes(ctx context.Context, t *testing.T, h http.HandlerFunc) *pipes {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &pipes{in: inW, served: make(chan error, 1), read: make(chan struct{})}
	go func() {
		p.served <- ServeStdio(ctx, plainServer(h), inR, outW, silent())
		_ = outW.Close()
	}()
	go func() {
		defer close(p.read)
		messages(t, outR, func(m message) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = append(p.got, m)
		})
	}()
	t.Cleanup(func() { _ = inW.Close(); _ = inR.Close(); <-p.read })
	return p
}

func (p *pipes) send(t *testing.T, lines string) {
	t.Helper()
	if _, err := io.WriteString(p.in, lines); err != nil {
		t.Fatal(err)
	}
}

// end closes the agent's side and returns every message, and what the server returned.
func (p *pipes) end() ([]message, error) {
	_ = p.in.Close()
	err := <-p.served
	<-p.read
	return p.got, err
}

// results returns the ids that were answered with a page.
func results(all []message) map[string]int {
	ids := map[string]int{}
	for _, m := range all {
		if m.Method == "" && bytes.Contains(m.Result, []byte("status 200")) {
			ids[fmt.Sprint(m.ID)]++
		}
	}
	return ids
}

func TestAnswersAfterTheEnd(t *testing.T) {
	const calls = 20
	started, release := make(chan struct{}, calls), make(chan struct{})
	p := servePipes(t.Context(), t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "page")
	})
	p.send(t, greeting)
	for i := range calls - 1 {
		p.send(t, callLine(i, map[string]any{"url": fmt.Sprintf("https://docs.example/%d", i)}, nil))
	}
	// Errors without an id answer nobody who is waited for; responses and notifications are no requests.
	p.send(t, strings.Repeat("not JSON\n", 30)+`{"jsonrpc":"2.0","id":7,"result":{}}`+"\n"+`{"jsonrpc":"2.0","method":"notifications/x"}`+"\n"+
		`{"jsonrpc":"2.0","id":8,"method":"ping","result":{}}`+"\n")
	p.send(t, strings.TrimSuffix(callLine("last", map[string]any{"url": "https://docs.example/last"}, nil), "\n")) // a line without an end
	_ = p.in.Close()
	for range calls {
		<-started
	}
	close(release)
	begun := time.Now()
	all, err := p.end()
	if err != nil {
		t.Errorf("ServeStdio: %v", err)
	}
	got := results(all)
	if len(got) != calls || got["last"] != 1 || got["3"] != 1 {
		t.Errorf("answers: %v", got)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

func TestEndWithoutCalls(t *testing.T) {
	p := servePipes(t.Context(), t, func(http.ResponseWriter, *http.Request) {})
	if all, err := p.end(); err != nil || len(all) > 0 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestStdioEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	p := servePipes(ctx, t, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	p.send(t, greeting+callLine(1, map[string]any{"url": "https://docs.example/"}, nil))
	<-started
	cancel()
	select {
	case err := <-p.served:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ServeStdio: %v", err)
		}
		p.served <- err
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}

func TestCallsRunInParallel(t *testing.T) {
	const calls = 80
	var running, most atomic.Int64
	full := make(chan struct{})
	release := sync.OnceFunc(func() { close(full) })
	p := servePipes(t.Context(), t, func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == stdioWorkers {
			release()
		}
		select {
		case <-full:
		case <-time.After(20 * time.Second):
		}
		_, _ = io.WriteString(w, "page")
	})
	p.send(t, greeting)
	for i := range calls {
		p.send(t, callLine(i, map[string]any{"url": fmt.Sprintf("https://docs.example/%d", i)}, nil))
	}
	all, err := p.end()
	if n := len(results(all)); err != nil || n != calls || most.Load() != stdioWorkers {
		t.Errorf("%d answers, at most %d at once, %v", n, most.Load(), err)
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	p := servePipes(t.Context(), t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/boom" {
			panic("boom")
		}
		_, _ = io.WriteString(w, "page")
	})
	p.send(t, greeting+callLine(1, map[string]any{"url": "https://docs.example/boom"}, nil)+callLine(2, map[string]any{"url": "https://docs.example/"}, nil))
	all, err := p.end()
	if err != nil || len(all) != 3 || results(all)["2"] != 1 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestCancelledOnStdio(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	p := servePipes(t.Context(), t, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(ended)
	})
	p.send(t, greeting+callLine(1, map[string]any{"url": "https://docs.example/"}, nil))
	<-started
	p.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`+"\n")
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the call goes on")
	}
	if all, err := p.end(); err != nil || len(results(all)) != 0 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestIsRequest(t *testing.T) {
	for line, want := range map[string]bool{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`:               true,
		`{"id":"x","method":"tools/call","params":{}}`:           true,
		`{"method":"m","id":0}` + "\r":                           true,
		`{"jsonrpc":"2.0","id":null,"method":"ping"}`:            false,
		`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`:         false,
		`{"jsonrpc":"2.0","id":true,"method":"ping"}`:            false,
		`{"jsonrpc":"2.0","method":"notifications/x"}`:           false,
		`{"jsonrpc":"2.0","id":1,"result":{}}`:                   false,
		`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`:   false,
		`{"jsonrpc":"2.0","id":1,"error":{"code":1}}`:            false,
		`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`:             false,
		`{"jsonrpc":"2.0","id":1,"method":"ping"`:                false,
		`{"jsonrpc":"2.0","id":1,"method":5}`:                    false,
		``:                                                       false,
		`{"jsonrpc":"2.0","id":1,"method":"ping","result":null}`: true,
	} {
		if got := isRequest([]byte(line)); got != want {
			t.Errorf("%s: got %v", line, got)
		}
	}
}

func TestIsAnswer(t *testing.T) {
	for line, want := range map[string]bool{
		`{"jsonrpc":"2.0","id":1,"result":{}}`:                                       true,
		`{"jsonrpc":"2.0","id":"x","error":{"code":-32603,"message":"m"}}`:           true,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`:          false,
		`{"jsonrpc":"2.0","id":{"a":1},"result":{}}`:                                 false,
		`{"jsonrpc":"2.0","id":true,"result":{}}`:                                    false,
		`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}`:         false,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"result":{}}}`: false,
		`{"jsonrpc":"2.0"}`: false,
		`[]`:                false,
		``:                  false,
	} {
		if got := isAnswer([]byte(line)); got != want {
			t.Errorf("%s: got %v", line, got)
		}
	}
}

// A request that is never answered holds the end back for a minute and no longer.
func TestDrainIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		cancel bool
		want   time.Duration
	}{"never answered": {false, drainTime}, "stopped": {true, 3 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.cancel {
					time.AfterFunc(3*time.Second, cancel)
				}
				r := &drainReader{in: strings.NewReader(callLine(1, nil, nil)), drain: &drain{ctx: ctx, empty: make(chan struct{}, 1)}}
				begun := time.Now()
				if data, err := io.ReadAll(r); err != nil || string(data) != callLine(1, nil, nil) {
					t.Errorf("got %q, %v", data, err)
				}
				if took := time.Since(begun); took != test.want {
					t.Errorf("it took %v, want %v", took, test.want)
				}
			})
		})
	}
}

// The end comes when the last answer has been written, whatever the size of the reads.
func TestDrainCountsWhatIsReadInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		input := callLine(1, nil, nil) + "\n\nnoise\n" + callLine(2, nil, nil) + strings.TrimSuffix(callLine(3, nil, nil), "\n")
		d := &drain{ctx: t.Context(), empty: make(chan struct{}, 1)}
		w := &drainWriter{out: io.Discard, drain: d}
		for i := range 3 {
			time.AfterFunc(time.Duration(i+1)*time.Second, func() { _, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%d,"result":{}}`+"\n", i+1) })
		}
		begun := time.Now()
		data, err := io.ReadAll(&drainReader{in: oneByte{strings.NewReader(input)}, drain: d})
		if err != nil || string(data) != input+"\n" {
			t.Errorf("got %q, %v", data, err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("the end came after %v", took)
		}
	})
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

// process is the binary's stdio server, spoken to line by line.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	stderr *output

	mu  sync.Mutex
	got []message
	end chan struct{} // closed when stdout is
}

func startStdio(t *testing.T, config string, args ...string) *process {
	t.Helper()
	p := &process{cmd: command(t, append([]string{"stdio", "--config", config}, args...)...), stderr: &output{}, end: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.end)
		messages(t, out, func(m message) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = append(p.got, m)
		})
	}()
	t.Cleanup(func() {
		_ = p.in.Close()
		_ = p.cmd.Process.Kill()
		<-p.end
		_ = p.cmd.Wait()
	})
	return p
}

func (p *process) send(t *testing.T, lines string) {
	t.Helper()
	if _, err := io.WriteString(p.in, lines); err != nil {
		t.Fatal(err)
	}
}

// wait waits until the process has ended by itself.
func (p *process) wait(t *testing.T) (exit int, all []message) {
	t.Helper()
	select {
	case <-p.end:
	case <-time.After(30 * time.Second):
		t.Fatalf("the process goes on; stderr: %s", p.stderr)
	}
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), p.got
}

func plainConfig(t *testing.T) string {
	return writeConfig(t, map[string]any{
		"network": map[string]any{"private": "allow"}, "login": map[string]any{"browser": "never"}, "store": map[string]any{"type": "memory"},
	})
}

// Whatever comes in, and however much is logged, stdout carries messages alone.
func TestStdoutCarriesMessagesOnly(t *testing.T) {
	w := newWorld(t, "authorization_code", nil)
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			p := startStdio(t, w.config, "--verbose", "--log-format", format)
			p.send(t, greeting)
			p.send(t, strings.Join([]string{
				"", " ", "{", "}", "null", "[]", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, `"text"`, "\x00\x01\x02", "\xff\xfe", "\x1b[31m",
				`{"jsonrpc":"1.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, `{"jsonrpc":"2.0","id":true,"method":"ping"}`, `{"jsonrpc":"2.0","id":5,"method":"no/such"}`,
				`{"jsonrpc":"2.0","id":6,"method":"tools/call"}`, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"rm"}}`,
				`{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"webfetch","arguments":"x"}}`,
				`{"jsonrpc":"2.0","id":9,"result":{}}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}`,
				strings.Repeat("x", 5<<20), `{"jsonrpc":"2.0","id":10,"method":"ping","params":{"x":"` + strings.Repeat("y", 5<<20) + `"}}`,
				strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000),
			}, "\n")+"\n")
			p.send(t, callLine("page", map[string]any{"url": w.site.URL + "/docs/handbook"}, nil)+callLine("denied", map[string]any{"url": "http://169.254.169.254/"}, nil)+
				callLine("bad", map[string]any{"url": "https://u:p@docs.example/"}, nil))
			_ = p.in.Close()
			exit, all := p.wait(t)
			answers := map[string]string{}
			for _, m := range all {
				answers[fmt.Sprint(m.ID)] = string(m.Result)
			}
			if exit != 0 || !strings.Contains(answers["page"], "LOGIN REQUIRED") || !strings.Contains(answers["denied"], "network.address_denied") ||
				!strings.Contains(answers["bad"], "invalid_url") || !strings.Contains(answers["8"], "invalid_arguments") || answers["10"] != "{}" {
				t.Errorf("exit code %d, answers %.3000v", exit, answers)
			}
			log := p.stderr.String()
			if !strings.Contains(log, "a login waits for a person") {
				t.Errorf("the log does not tell what happened: %.1000s", log)
			}
			if strings.Contains(log, "panic") {
				t.Errorf("a panic: %s", log)
			}
		})
	}
}

// Progress leaves before the answer, and none after.
func TestOrderOnTheWire(t *testing.T) {
	w := newWorld(t, "authorization_code", nil)
	p := startStdio(t, w.config)
	p.send(t, greeting)
	for i := range 10 {
		p.send(t, callLine(i, map[string]any{"url": w.site.URL + "/docs/handbook", "wait": 1}, map[string]any{"progressToken": fmt.Sprint("tok", i)}))
	}
	_ = p.in.Close()
	_, all := p.wait(t)
	told, answered := map[string]bool{}, map[string]bool{}
	for _, m := range all {
		switch token := m.Params.ProgressToken; {
		case m.Method == "notifications/progress" && answered[token]:
			t.Errorf("progress of %s after its answer", token)
		case m.Method == "notifications/progress":
			told[token] = true
		case m.ID != "hello":
			answered[fmt.Sprint("tok", m.ID)] = true
		}
	}
	if len(told) != 10 || len(answered) != 10 {
		t.Errorf("%d calls were told of, %d answered", len(told), len(answered))
	}
}

// 64 calls reach the sites at once, 16 at each.
func TestParallelCallsReachTheSites(t *testing.T) {
	const calls = 64
	var arrived atomic.Int64
	full := make(chan struct{})
	h := func(w http.ResponseWriter, _ *http.Request) {
		if arrived.Add(1) == calls {
			close(full)
		}
		select {
		case <-full:
			_, _ = io.WriteString(w, "page")
		case <-time.After(20 * time.Second):
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	p := startStdio(t, plainConfig(t))
	p.send(t, greeting)
	for range 4 {
		site, err := oauthtest.NewResource(oauthtest.ResourceOptions{Handle: map[string]http.HandlerFunc{"/slow": h}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(site.Close)
		for i := range calls / 4 {
			p.send(t, callLine(fmt.Sprint(site.URL, i), map[string]any{"url": site.URL + "/slow"}, nil))
		}
	}
	_ = p.in.Close()
	exit, all := p.wait(t)
	if n := len(results(all)); exit != 0 || n != calls {
		t.Errorf("exit code %d, %d pages; %d calls reached the sites", exit, n, arrived.Load())
	}
}

// An agent's host ends the process while a person is waited for.
func TestTerminated(t *testing.T) {
	w := newWorld(t, "authorization_code", nil)
	p := startStdio(t, w.config)
	p.send(t, greeting+callLine(1, map[string]any{"url": w.site.URL + "/docs/handbook", "wait": 40}, map[string]any{"progressToken": "t"}))
	eventually(t, "the call waits", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.got) > 1
	})
	begun := time.Now()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
