package tools

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site answers without a network, so that it can be used where time is faked, and records what it
// was asked for.
type site struct {
	answer func(*http.Request) (*http.Response, error)

	mu       sync.Mutex
	received []string // URLs
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.received = append(s.received, r.URL.String())
	s.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp, err := s.answer(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// page is an answer; header lists names and values in turn.
func page(status int, contentType, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {contentType}}
	if contentType == "" {
		h = http.Header{}
	}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// serving answers every request with the same page.
func serving(status int, contentType, body string, header ...string) *site {
	return &site{answer: func(*http.Request) (*http.Response, error) { return page(status, contentType, body, header...), nil }}
}

// failing answers no request.
func failing(err error) *site {
	return &site{answer: func(*http.Request) (*http.Response, error) { return nil, err }}
}

func newTool(s http.RoundTripper, opts Options) *Webfetch {
	return NewWebfetch(fetch.New(fetch.Options{Transport: s, MaxBody: 1 << 20}), opts)
}

func local(t *testing.T) context.Context { return principal.With(t.Context(), principal.Local) }

func request(args map[string]any) mcp.CallToolRequest {
	var req mcp.CallToolRequest
	req.Params.Name, req.Params.Arguments = "webfetch", args
	return req
}

// handle calls the tool as a client without any capability.
func handle(t *testing.T, w *Webfetch, args map[string]any) *mcp.CallToolResult {
	t.Helper()
	res, err := w.Handle(local(t), request(args))
	if err != nil {
		t.Fatalf("webfetch %v: %v", args, err)
	}
	return res
}

// textOf is the first block, which must be text.
func textOf(t *testing.T, res *mcp.CallToolResult) string {
	t.Helper()
	if res == nil || len(res.Content) == 0 {
		t.Fatalf("the result has no content: %+v", res)
	}
	text, ok := res.Content[0].(mcp.TextContent)
	if !ok {
		t.Fatalf("the first block is %T, not text", res.Content[0])
	}
	if res.StructuredContent != nil {
		t.Errorf("there is structured content, which would hide the text")
	}
	return text.Text
}

// factsOf is what a program reads, decoded from its JSON.
func factsOf(t *testing.T, res *mcp.CallToolResult) map[string]any {
	t.Helper()
	if res.Meta == nil {
		t.Fatal("the result has no _meta")
	}
	data, err := json.Marshal(res.Meta)
	if err != nil {
		t.Fatal(err)
	}
	var meta map[string]map[string]any
	if err := json.Unmarshal(data, &meta); err != nil {
		t.Fatal(err)
	}
	delete(meta, "io.modelcontextprotocol/serverInfo") // stands in every result of the new protocol
	if len(meta) != 1 || meta["authfetch/result"] == nil {
		t.Fatalf("_meta is %s, want authfetch/result alone", data)
	}
	return meta["authfetch/result"]
}

// parts are what a page result is made of.
type parts struct{ header, begin, content, end, word string }

func partsOf(t *testing.T, text string) parts {
	t.Helper()
	header, rest, ok1 := strings.Cut(text, "\n")
	begin, rest, ok2 := strings.Cut(rest, "\n")
	i := strings.LastIndex(rest, "\n")
	if !ok1 || !ok2 || i < 0 {
		t.Fatalf("not a page: %q", text)
	}
	p := parts{header, begin, rest[:i], rest[i+1:], ""}
	word, ok := strings.CutPrefix(p.end, "----- END PAGE ")
	if !ok || len(word) < 26 {
		t.Fatalf("the last line is %q", p.end)
	}
	p.word = word
	return p
}

// plain replaces the random word of a result by WORD.
func plain(t *testing.T, text string) string {
	t.Helper()
	i := strings.LastIndex(text, "----- END PAGE ")
	if i < 0 {
		return text
	}
	word := text[i+len("----- END PAGE "):]
	if strings.Count(text, word) != 2 {
		t.Fatalf("the word %q stands not twice in %q", word, text)
	}
	return strings.ReplaceAll(text, word, "WORD")
}
