package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// office is ServeHTTP on connections without a network, so that it can be used where time is faked.
type office struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	client *http.Client
	stop   context.CancelFunc
	served chan error
}

func (o *office) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

func (o *office) Close() error { o.once.Do(func() { close(o.closed) }); return nil }

func (o *office) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8808} }

func (o *office) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case o.conns <- theirs:
		return ours, nil
	case <-o.closed:
		return nil, errors.New("refused")
	}
}

// open starts an office whose webfetch is answered by h.
func open(t *testing.T, h http.HandlerFunc) *office {
	t.Helper()
	o := &office{conns: make(chan net.Conn), closed: make(chan struct{}), served: make(chan error, 1)}
	o.client = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return o.dial() }}}
	ctx, stop := context.WithCancel(t.Context())
	o.stop = stop
	go func() { o.served <- serve(ctx, o, plainServer(h), HTTPOptions{Logger: silent()}) }()
	return o
}

// close ends the office and returns what serve did.
func (o *office) close() error {
	o.stop()
	err := <-o.served
	o.client.CloseIdleConnections()
	return err
}

const at = "http://127.0.0.1:8808/mcp"

// post sends a message and returns the whole answer. header lists names and values in turn.
func (o *office) post(ctx context.Context, message string, header ...string) (*http.Response, string, error) {
	return o.send(ctx, http.MethodPost, at, message, header...)
}

func (o *office) send(ctx context.Context, method, url, message string, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(message))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// greet returns a session.
func (o *office) greet(t *testing.T) (session string) {
	t.Helper()
	hello, _, _ := strings.Cut(greeting, "\n")
	resp, body, err := o.post(t.Context(), hello)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("initialize: %v, %s", err, body)
	}
	if session = resp.Header.Get("Mcp-Session-Id"); session == "" {
		t.Fatal("initialize gave no session")
	}
	return session
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

func (o *office) status(t *testing.T, method, message string, header ...string) int {
	t.Helper()
	resp, _, err := o.send(t.Context(), method, at, message, header...)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func modernCall(id any, url string) string {
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": map[string]any{
		"name": "webfetch", "arguments": map[string]any{"url": url}, "_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion": protocol2026, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
			"io.modelcontextprotocol/clientInfo": map[string]any{"name": "t", "version": "1"},
		}}})
	if err != nil {
		panic(err)
	}
	return string(data)
}

var modernHeaders = []string{"Mcp-Protocol-Version", protocol2026, "Mcp-Method", "tools/call", "Mcp-Name", "webfetch"}

func TestSessionsOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
		session, other := o.greet(t), o.greet(t)
		if session == other {
			t.Error("two agents have one session")
		}
		in := func(id string) []string { return []string{"Mcp-Session-Id", id} }
		for _, test := range []struct {
			name, method, message string
			header                []string
			want                  int
		}{
			{"ping", "POST", ping, in(session), 200},
			{"made-up session", "POST", ping, in("made-up"), 404},
			{"made-up session of the library's form", "POST", ping, in("mcp-session-00000000-0000-4000-8000-000000000000"), 404},
			{"no session", "POST", ping, nil, 404},
			{"answer in a made-up session", "POST", `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}`, in("made-up"), 404},
			{"listening in a made-up session", "GET", "", in("made-up"), 404},
			{"listening without a session", "GET", "", nil, 400},
			{"ending a made-up session", "DELETE", "", in("made-up"), 404},
			{"ending none", "DELETE", "", nil, 400},
			{"still not there", "POST", ping, in("made-up"), 404},
			{"ending one", "DELETE", "", in(session), 200},
			{"ended", "POST", ping, in(session), 404},
			{"listening in an ended one", "GET", "", in(session), 404},
			{"ended twice", "DELETE", "", in(session), 404},
			{"the other lives", "POST", ping, in(other), 200},
			{"sent with the new protocol", "GET", "", append(in(other), "Mcp-Protocol-Version", protocol2026), 405},
			{"wrong method", "PUT", "", in(other), 404},
			{"preflight", "OPTIONS", "", []string{"Origin", "http://127.0.0.1:8808", "Access-Control-Request-Method", "POST"}, 404},
			{"evil origin", "POST", ping, append(in(other), "Origin", "https://evil.example"), 403},
		} {
			if got := o.status(t, test.method, test.message, test.header...); got != test.want {
				t.Errorf("%s: status %d, want %d", test.name, got, test.want)
			}
		}
		for _, url := range []string{"http://127.0.0.1:8808/", "http://127.0.0.1:8808/mcp/", "http://127.0.0.1:8808/mcp/x", "http://127.0.0.1:8808/sse"} {
			if resp, _, err := o.send(t.Context(), "POST", url, ping, in(other)...); err != nil || resp.StatusCode != 404 {
				t.Errorf("%s: %v, %v", url, resp.Status, err)
			}
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestIdleSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		idle, used := o.greet(t), o.greet(t)
		for range 20 {
			time.Sleep(sessionIdle / 10)
			if got := o.status(t, "POST", ping, "Mcp-Session-Id", used); got != 200 {
				t.Fatalf("a session in use ended: %d", got)
			}
		}
		if got := o.status(t, "POST", ping, "Mcp-Session-Id", idle); got != 404 {
			t.Errorf("an idle session is still there: %d", got)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

// An agent that listens is there, though it says nothing.
func TestListeningSessionsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		session := o.greet(t)
		ctx, cancel := context.WithCancel(t.Context())
		var listening sync.WaitGroup
		listening.Go(func() { _, _, _ = o.send(ctx, "GET", at, "", "Mcp-Session-Id", session) })
		time.Sleep(3 * sessionIdle)
		if got := o.status(t, "POST", ping, "Mcp-Session-Id", session); got != 200 {
			t.Errorf("status %d", got)
		}
		cancel()
		listening.Wait()
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

// What the library keeps for a session that gave way is freed.
func TestManySessions(t *testing.T) {
	o := open(t, nil)
	first := o.greet(t)
	for range maxSessions {
		o.greet(t)
	}
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	for range maxSessions {
		o.greet(t)
	}
	if grown := int64(memory()) - int64(before); grown > 4<<20 {
		t.Errorf("%d more sessions take %d bytes more", maxSessions, grown)
	}
	if got := o.status(t, "POST", ping, "Mcp-Session-Id", first); got != 404 {
		t.Errorf("the first session is still there: %d", got)
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
}

// held serves calls that wait until they are told to go on.
type held struct {
	started chan struct{}
	goOn    chan struct{}
	ended   atomic.Int64 // calls whose context ended first
}

func newHeld() *held { return &held{started: make(chan struct{}, 100), goOn: make(chan struct{})} }

func (h *held) serve(w http.ResponseWriter, r *http.Request) {
	h.started <- struct{}{}
	select {
	case <-h.goOn:
		_, _ = io.WriteString(w, "page")
	case <-r.Context().Done():
		h.ended.Add(1)
	}
}

// A cancellation names a request by a number that every agent counts from one.
func TestCancellationOfAnotherAgent(t *testing.T) {
	const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
	modernCancel := strings.Replace(cancel, `"requestId":1`, `"requestId":1,"_meta":{"io.modelcontextprotocol/protocolVersion":"`+protocol2026+`","io.modelcontextprotocol/clientCapabilities":{}}`, 1)
	escaped := strings.Replace(modernCancel, "cancelled", `c\u0061ncelled`, 1)
	for name, victim := range map[string]string{"earlier protocol": protocol2025, "new protocol": protocol2026} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld()
				o := open(t, h.serve)
				message, header := modernCall(1, "https://docs.example/"), modernHeaders
				if victim == protocol2025 {
					message, header = callLine(1, map[string]any{"url": "https://docs.example/"}, nil), []string{"Mcp-Session-Id", o.greet(t)}
				}
				mallory := o.greet(t)
				var call sync.WaitGroup
				call.Go(func() {
					_, body, err := o.post(t.Context(), message, header...)
					if err != nil || !strings.Contains(body, "status 200") {
						t.Errorf("got %s, %v", body, err)
					}
				})
				<-h.started
				newHeaders := []string{"Mcp-Protocol-Version", protocol2026, "Mcp-Method", "notifications/cancelled"}
				for _, attack := range []struct {
					message string
					header  []string
				}{
					{cancel, nil}, {modernCancel, newHeaders}, {escaped, newHeaders}, {cancel, []string{"Mcp-Session-Id", mallory}},
					{modernCancel, append(newHeaders, "Mcp-Session-Id", "x")}, {modernCancel, append(newHeaders, "Mcp-Session-Id", mallory)},
					{modernCancel, []string{"Mcp-Session-Id", mallory}},
				} {
					if _, _, err := o.post(t.Context(), attack.message, attack.header...); err != nil {
						t.Error(err)
					}
				}
				synctest.Wait()
				close(h.goOn)
				call.Wait()
				if n := h.ended.Load(); n > 0 {
					t.Error("the call was ended")
				}
				if err := o.close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An agent's own cancellation works: in its session by a notification, in either protocol by hanging up.
func TestCancellationOfOnesOwn(t *testing.T) {
	for name, how := range map[string]string{"notification": protocol2025, "hanging up": protocol2025, "hanging up, new protocol": protocol2026} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld()
				o := open(t, h.serve)
				message, header := modernCall(1, "https://docs.example/"), modernHeaders
				if how == protocol2025 {
					message, header = callLine(1, map[string]any{"url": "https://docs.example/"}, nil), []string{"Mcp-Session-Id", o.greet(t)}
				}
				ctx, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				var call sync.WaitGroup
				call.Go(func() { _, _, _ = o.post(ctx, message, header...) })
				<-h.started
				if name == "notification" {
					if got := o.status(t, "POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, header...); got != 202 {
						t.Errorf("status %d", got)
					}
				} else {
					hangUp()
				}
				synctest.Wait()
				if h.ended.Load() != 1 {
					t.Error("the call goes on")
				}
				call.Wait()
				if err := o.close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Calls are longer than the time that a request may take to arrive.
func TestLongCallOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(100 * time.Second):
				_, _ = io.WriteString(w, "page")
			case <-r.Context().Done():
			}
		})
		_, body, err := o.post(t.Context(), callLine(1, map[string]any{"url": "https://docs.example/", "timeout": 120}, nil), "Mcp-Session-Id", o.greet(t))
		if err != nil || !strings.Contains(body, "status 200") {
			t.Errorf("got %s, %v", body, err)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

// Whoever is slow to ask is hung up on.
func TestSlowRequests(t *testing.T) {
	for name, test := range map[string]struct {
		sent string
		want time.Duration
	}{
		"nothing":     {"", 5 * time.Second},
		"half a head": {"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8808\r\n", 5 * time.Second},
		"half a body": {"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8808\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", 30 * time.Second},
		"idle":        {"HEAD /mcp HTTP/1.1\r\nHost: 127.0.0.1:8808\r\n\r\n", 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, nil)
				c, err := o.dial()
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				go func() { _, _ = io.WriteString(c, test.sent) }()
				_, _ = io.Copy(io.Discard, c)
				if took := time.Since(begun); took < test.want || took > test.want+time.Second {
					t.Errorf("hung up on after %v, want %v", took, test.want)
				}
				_ = c.Close()
				if err := o.close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestHugeHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		if got := o.status(t, "POST", ping, "X", strings.Repeat("x", 64<<10)); got != 431 {
			t.Errorf("status %d", got)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

// Answers that are under way are delivered; streams that only listen are not waited for.
func TestGracefulShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		o := open(t, h.serve)
		session := o.greet(t)
		var calls sync.WaitGroup
		calls.Go(func() { _, _, _ = o.send(t.Context(), "GET", at, "", "Mcp-Session-Id", session) })
		for _, call := range []struct {
			message string
			header  []string
		}{
			{callLine(1, map[string]any{"url": "https://docs.example/1"}, nil), []string{"Mcp-Session-Id", session}},
			{modernCall(1, "https://docs.example/2"), modernHeaders},
		} {
			calls.Go(func() {
				_, body, err := o.post(t.Context(), call.message, call.header...)
				if err != nil || !strings.Contains(body, "status 200") {
					t.Errorf("got %s, %v", body, err)
				}
			})
			<-h.started
		}
		synctest.Wait() // the stream listens
		begun := time.Now()
		o.stop()
		time.AfterFunc(3*time.Second, func() { close(h.goOn) })
		err := <-o.served
		if took := time.Since(begun); err != nil || took < 3*time.Second || took > 4*time.Second {
			t.Errorf("it ended after %v: %v", took, err)
		}
		calls.Wait()
		if _, err := o.dial(); err == nil {
			t.Error("it still listens")
		}
		o.client.CloseIdleConnections()
	})
}

// A call that does not end is given ten seconds.
func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		o := open(t, h.serve)
		var call sync.WaitGroup
		session := o.greet(t)
		call.Go(func() {
			_, _, _ = o.post(t.Context(), callLine(1, map[string]any{"url": "https://docs.example/"}, nil), "Mcp-Session-Id", session)
		})
		<-h.started
		begun := time.Now()
		if err := o.close(); err != nil || time.Since(begun) != shutdownTime {
			t.Errorf("it ended after %v: %v", time.Since(begun), err)
		}
		call.Wait()
		synctest.Wait()
		if h.ended.Load() != 1 {
			t.Error("the call goes on")
		}
	})
}

func TestCheckListen(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:8808", "127.0.0.1:0", "127.1.2.3:80", "[::1]:8808", "localhost:8808", "[::ffff:127.0.0.1]:1"} {
		if err := CheckListen(listen); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{
		"0.0.0.0:8808", "[::]:8808", ":8808", "192.168.1.5:8808", "10.0.0.1:80", "8.8.8.8:80", "[fe80::1]:80", "169.254.1.1:80", "my-laptop:8808", "localhost.evil.example:80",
		"localhost.:80", "127.0.0.1.nip.io:80", "2130706433:80", "0x7f.1:80", "127.1:80", "8808", "127.0.0.1", "", "::1:8808",
	} {
		err := CheckListen(listen)
		var refused *ListenError
		if !errors.As(err, &refused) || refused.Code() != "http.listen" || refused.Hint() == "" || !strings.HasPrefix(err.Error(), "cannot serve on "+listen+": ") {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestServeHTTPListens(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var own, released atomic.Value
	ready, served := make(chan string, 1), make(chan error, 1)
	s := plainServer(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	go func() {
		served <- ServeHTTP(ctx, s, HTTPOptions{
			Listen: "127.0.0.1:0", Logger: silent(), Ready: func(url string) { ready <- url },
			Own: func(a netip.AddrPort) func() { own.Store(a.String()); return func() { released.Store(true) } },
		})
	}()
	url := <-ready
	if want := fmt.Sprintf("http://%v/mcp", own.Load()); url != want || released.Load() != nil {
		t.Errorf("ready at %s, own %s", url, want)
	}
	for _, protocol := range []string{protocol2025, protocol2026} {
		a := newAgent(t, httpTransport(t, url), protocol, nil, false)
		if got := a.webfetch(t, map[string]any{"url": "https://docs.example/"}); got.facts.Status != "ok" {
			t.Errorf("%s: %s", protocol, got.text)
		}
		_ = a.Close()
	}
	var taken *ListenError
	err := ServeHTTP(ctx, s, HTTPOptions{Listen: strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp"), Logger: silent()})
	if !errors.As(err, &taken) || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(taken.Hint(), "--listen") {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := ServeHTTP(ctx, s, HTTPOptions{Listen: "0.0.0.0:0", Logger: silent()}); !errors.As(err, &taken) {
		t.Errorf("0.0.0.0: %v", err)
	}
	stop()
	if err := <-served; err != nil || released.Load() != true {
		t.Errorf("ServeHTTP: %v, released %v", err, released.Load())
	}
}

// What the server says of itself, to everybody the same.
func TestServerAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		hello, _, _ := strings.Cut(greeting, "\n")
		_, body, err := o.post(t.Context(), hello)
		if err != nil || strings.Contains(body, "listChanged\":true") || !strings.Contains(body, "LOGIN REQUIRED") || !strings.Contains(body, `"name":"mcp-authfetch"`) {
			t.Errorf("initialize: %s, %v", body, err)
		}
		list := strings.Replace(strings.Replace(modernCall(1, ""), `"tools/call"`, `"tools/list"`, 1), `"name":"webfetch",`, "", 1)
		_, body, err = o.post(t.Context(), list, "Mcp-Protocol-Version", protocol2026, "Mcp-Method", "tools/list")
		if err != nil || strings.Count(body, `"inputSchema"`) != 1 || strings.Contains(body, "outputSchema") ||
			!strings.Contains(body, `"ttlMs":3600000`) || !strings.Contains(body, `"cacheScope":"public"`) {
			t.Errorf("tools/list: %s, %v", body, err)
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

// Nobody's request may go without a principal: its credentials would be nobody's.
func TestRequestsHaveThePrincipal(t *testing.T) {
	w := newWorld(t, "authorization_code", nil) // auth refuses work without one
	for _, over := range []string{"stdio", "http"} {
		a := newAgent(t, connect(t, over, w.config), protocol2026, nil, false)
		if got := a.webfetch(t, map[string]any{"url": w.site.URL + "/docs/handbook"}); got.facts.Status != "login_required" {
			t.Errorf("%s: %s", over, got.text)
		}
	}
}

func TestBinaryRefusesToListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for listen, reason := range map[string]string{
		"0.0.0.0:8808": "not a loopback address", "[::]:8808": "not a loopback address", "192.168.1.5:8808": "not a loopback address",
		":8808": "not a loopback address", "my-laptop:8808": "not a loopback address", "8808": "it is not host:port",
		l.Addr().String(): "address already in use",
	} {
		cmd := command(t, "http", "--listen", listen, "--config", plainConfig(t))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s: %v", listen, err)
		}
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		if stdout.Len() > 0 || len(lines) != 2 || !strings.HasPrefix(lines[0], "mcp-authfetch: cannot serve on "+listen+": ") || !strings.Contains(lines[0], reason) {
			t.Errorf("%s: %s%s", listen, &stdout, &stderr)
		}
	}
}

// The whole binary over HTTP, spoken to by hand: the gate is in its place.
func TestBinaryGate(t *testing.T) {
	url, stderr, stop := startHTTP(t, plainConfig(t), "--verbose")
	address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, test := range []struct {
		method, host, origin, session string
		body                          io.Reader
		want                          int
	}{
		{"POST", "", "https://evil.example", "", strings.NewReader(ping), 403},
		{"GET", "", "https://evil.example", "", nil, 403},
		{"DELETE", "", "null", "", nil, 403},
		{"OPTIONS", "", "https://evil.example", "", nil, 403},
		{"POST", "evil.example", "", "", strings.NewReader(ping), 403},
		{"POST", "", "", "made-up", strings.NewReader(ping), 404},
		{"GET", "", "", "made-up", nil, 404},
		{"POST", "", "", "", io.LimitReader(spaces{}, maxMessage+1), 413},
		{"POST", "", "http://" + address, "", strings.NewReader("{"), 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, url, test.body)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = test.host
		req.Header.Set("Content-Type", "application/json")
		for name, v := range map[string]string{"Origin": test.origin, "Mcp-Session-Id": test.session} {
			if v != "" {
				req.Header.Set(name, v)
			}
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatalf("%+v: %v", test, err)
		}
		line, _ := bufio.NewReader(resp.Body).ReadString('\n')
		_ = resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s, Host %q, Origin %q, session %q: status %d, want %d: %s", test.method, test.host, test.origin, test.session, resp.StatusCode, test.want, line)
		}
	}
	if exit := stop(); exit != 0 {
		t.Errorf("exit code %d after an interrupt: %s", exit, stderr)
	}
}
