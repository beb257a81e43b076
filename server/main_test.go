package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tools"
)

const (
	protocol2025 = "2025-11-25"
	protocol2026 = "2026-07-28"
)

// built is the directory of the binary, made by the first test that needs it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.dir != "" {
			_ = os.RemoveAll(built.dir)
		}
		os.Exit(code)
	}))
}

func binary(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "authfetch-server-test-"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "mcp-authfetch"), "../cmd/mcp-authfetch").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "mcp-authfetch")
}

// command is the binary with an environment of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	home := t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_STATE_HOME=" + home}
	return cmd
}

// world is a documentation site that wants a client certificate and a token, the issuer of the
// tokens, and a person with an account there.
type world struct {
	log    *oauthtest.Log
	issuer *oauthtest.Issuer
	site   *oauthtest.Resource
	person *oauthtest.Person
	config string
}

// newWorld also writes a config that names both; grant and more change it.
func newWorld(t *testing.T, grant string, more map[string]any) *world {
	t.Helper()
	w := &world{log: new(oauthtest.Log)}
	ca := tlstest.NewCA("Test CA")
	var err error
	if w.issuer, err = oauthtest.NewIssuer(oauthtest.IssuerOptions{TLS: ca.ServerConfig("127.0.0.1"), Log: w.log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.issuer.Close)
	w.site, err = oauthtest.NewResource(oauthtest.ResourceOptions{
		TLS: ca.MutualConfig(ca, "127.0.0.1"), Issuer: w.issuer, Log: w.log, Scopes: []string{"docs.read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.site.Close)
	w.person = oauthtest.NewPerson(ca.Pool())
	dir := t.TempDir()
	cert, key, err := ca.Issue(tlstest.Leaf{CN: "alice-laptop", Client: true}).Write(dir, "client")
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(roots, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{
		"mtls": map[string]any{
			"corp":  map[string]any{"cert": cert, "key": key, "ca": roots, "ca_mode": "only"},
			"roots": map[string]any{"ca": roots},
		},
		"sites": map[string]any{
			w.site.URL:   map[string]any{"mtls": "corp", "oauth": map[string]any{"grant": grant}},
			w.issuer.URL: map[string]any{"mtls": "roots"},
		},
		"login": map[string]any{"browser": "never"},
		"store": map[string]any{"type": "memory"},
	}
	for name, v := range more {
		config[name] = v
	}
	w.config = writeConfig(t, config)
	return w
}

func writeConfig(t *testing.T, config map[string]any) string {
	t.Helper()
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.jsonc")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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

// eventually waits for something that another goroutine or process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

var servedOn = regexp.MustCompile(`MCP is served on (http://\S+)`)

// startHTTP starts the binary's HTTP server and returns its URL. stop ends it as a user would, and
// returns its exit code.
func startHTTP(t *testing.T, config string, args ...string) (url string, stderr *output, stop func() int) {
	t.Helper()
	cmd := command(t, append([]string{"http", "--listen", "127.0.0.1:0", "--config", config}, args...)...)
	stderr = &output{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceValue(func() int {
		_ = cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	})
	t.Cleanup(func() { stop() })
	eventually(t, "the server says where it is", func() bool { return servedOn.MatchString(stderr.String()) })
	return servedOn.FindStringSubmatch(stderr.String())[1], stderr, stop
}

// dialog answers elicitation requests and records them.
type dialog struct {
	answer func(ctx context.Context, p mcp.ElicitationParams) mcp.ElicitationResponseAction

	mu   sync.Mutex
	seen []mcp.ElicitationParams
}

func (d *dialog) Elicit(ctx context.Context, req mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	d.mu.Lock()
	d.seen = append(d.seen, req.Params)
	d.mu.Unlock()
	if d.answer == nil {
		return nil, errors.New("nobody was to be asked")
	}
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: d.answer(ctx, req.Params)}}, nil
}

func (d *dialog) shown() []mcp.ElicitationParams {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// agent is mcp-go's client.
type agent struct{ *client.Client }

// newAgent greets in one of the protocols; d is nil for an agent without dialogs, and formOnly
// says that its dialogs show no URLs.
func newAgent(t *testing.T, tr transport.Interface, protocol string, d *dialog, formOnly bool) agent {
	t.Helper()
	opts := []client.ClientOption{client.WithProtocolVersion(protocol)}
	if d != nil {
		capability := &mcp.ElicitationCapability{Form: &struct{}{}}
		if !formOnly {
			capability.URL = &struct{}{}
		}
		opts = append(opts, client.WithElicitationHandler(d), client.WithClientCapabilities(mcp.ClientCapabilities{Elicitation: capability}))
	}
	c := client.NewClient(tr, opts...)
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = c.Close() })
	var hello mcp.InitializeRequest
	hello.Params.ProtocolVersion = protocol
	hello.Params.ClientInfo = mcp.Implementation{Name: "test-agent", Version: "1"}
	res, err := c.Initialize(ctx, hello)
	if err != nil {
		t.Fatal(err)
	}
	if res.ServerInfo.Name != "mcp-authfetch" || c.ProtocolVersion() != protocol {
		t.Fatalf("greeted %+v, protocol %s", res.ServerInfo, c.ProtocolVersion())
	}
	return agent{c}
}

func stdioTransport(t *testing.T, config string, args ...string) (tr transport.Interface, stderr *output) {
	t.Helper()
	stderr = &output{}
	return transport.NewStdioWithOptions("mcp-authfetch", nil, nil,
		transport.WithCommandStderrWriter(stderr),
		transport.WithCommandFunc(func(context.Context, string, []string, []string) (*exec.Cmd, error) {
			return command(t, append([]string{"stdio", "--config", config}, args...)...), nil
		})), stderr
}

func httpTransport(t *testing.T, url string) transport.Interface {
	t.Helper()
	h := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(h.CloseIdleConnections)
	tr, err := transport.NewStreamableHTTP(url, transport.WithHTTPBasicClient(h), transport.WithHTTPLogger(silent()))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// answer is what came of a call.
type answer struct {
	text  string
	facts tools.Result
	res   *mcp.CallToolResult
}

func (a agent) webfetch(t *testing.T, args map[string]any) answer {
	t.Helper()
	got, err := a.try(t.Context(), args, nil)
	if err != nil {
		t.Fatalf("webfetch %v: %v", args, err)
	}
	return got
}

func (a agent) try(ctx context.Context, args map[string]any, progressToken any) (answer, error) {
	var req mcp.CallToolRequest
	req.Params.Name, req.Params.Arguments = "webfetch", args
	if progressToken != nil {
		req.Params.Meta = &mcp.Meta{ProgressToken: progressToken}
	}
	res, err := a.CallTool(ctx, req)
	if err != nil {
		return answer{}, err
	}
	got := answer{res: res}
	if len(res.Content) > 0 {
		if text, ok := res.Content[0].(mcp.TextContent); ok {
			got.text = text.Text
		}
	}
	if res.Meta == nil {
		return got, errors.New("the answer has no facts")
	}
	data, err := json.Marshal(res.Meta.AdditionalFields[tools.MetaKey])
	if err != nil {
		return got, err
	}
	return got, json.Unmarshal(data, &got.facts)
}

// loneLine returns the one line of text that is a word and begins so.
func loneLine(t *testing.T, text, prefix string) string {
	t.Helper()
	var found []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, prefix) && !strings.Contains(line, " ") {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d lines begin with %q in:\n%s", len(found), prefix, text)
	}
	return found[0]
}

// plainServer is an MCP server whose webfetch sends through h, without any credentials.
func plainServer(h http.HandlerFunc) *mcpserver.MCPServer {
	return New(tools.NewWebfetch(fetch.New(fetch.Options{Transport: roundTripper(h)}), tools.Options{}), "1")
}

// roundTripper answers requests in this process.
type roundTripper http.HandlerFunc

func (h roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := &recorder{header: http.Header{}, status: 200}
	h(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: rec.status, Header: rec.header, Body: io.NopCloser(&rec.body), ContentLength: int64(rec.body.Len()), Request: r}, nil
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(status int)      { r.status = status }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
