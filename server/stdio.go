package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"
)

const (
	// stdioWorkers is how many tool calls run at once; more wait in a queue.
	stdioWorkers = 64
	stdioQueue   = 10000
	// drainTime is how long answers may take after the client has closed its end.
	drainTime = 60 * time.Second
)

// ServeStdio serves one client on in and out until in ends or ctx does. Calls that run when in
// ends are answered first.
func ServeStdio(ctx context.Context, s *mcpserver.MCPServer, in io.Reader, out io.Writer, log *slog.Logger) error {
	stdio := mcpserver.NewStdioServer(s)
	stdio.SetErrorLogger(slog.NewLogLogger(log.Handler(), slog.LevelWarn))
	stdio.SetContextFunc(local)
	mcpserver.WithWorkerPoolSize(stdioWorkers)(stdio)
	mcpserver.WithQueueSize(stdioQueue)(stdio)
	d := &drain{ctx: ctx, empty: make(chan struct{}, 1)}
	return stdio.Listen(ctx, &drainReader{in: in, drain: d}, &drainWriter{out: out, drain: d})
}

// drain counts requests that have no answer yet, so that the end of the input does not cancel them.
type drain struct {
	ctx   context.Context
	mu    sync.Mutex // guards open
	open  int
	empty chan struct{} // told when open falls to zero
}

func (d *drain) add(n int) {
	d.mu.Lock()
	d.open = max(0, d.open+n)
	zero := d.open == 0
	d.mu.Unlock()
	if zero {
		select {
		case d.empty <- struct{}{}:
		default:
		}
	}
}

// wait returns when every request has its answer, or after [drainTime].
func (d *drain) wait() {
	limit := time.NewTimer(drainTime)
	defer limit.Stop()
	for {
		d.mu.Lock()
		zero := d.open == 0
		d.mu.Unlock()
		if zero {
			return
		}
		select {
		case <-d.empty:
		case <-limit.C:
			return
		case <-d.ctx.Done():
			return
		}
	}
}

// drainReader counts the requests that go by, line by line, and holds the end back. A last line
// without its end is given one.
type drainReader struct {
	in    io.Reader
	drain *drain
	line  []byte // the unfinished line
}

func (r *drainReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			r.line = append(r.line, rest...)
			break
		}
		r.count(append(r.line, rest[:i]...))
		r.line, rest = nil, rest[i+1:] // nil: a huge line is not kept
	}
	if err == io.EOF && n == 0 && len(r.line) > 0 && len(p) > 0 {
		r.count(r.line)
		r.line = nil
		return copy(p, "\n"), nil
	}
	if err == io.EOF && n == 0 {
		r.drain.wait()
	}
	if err == io.EOF && n > 0 {
		err = nil // the end comes with the next read
	}
	return n, err
}

func (r *drainReader) count(line []byte) {
	if isRequest(line) {
		r.drain.add(1)
	}
}

// drainWriter counts the answers; every message is one Write. It keeps them apart: requests to the
// client are not written under the library's own lock.
type drainWriter struct {
	out   io.Writer
	drain *drain
	mu    sync.Mutex // held while a message is written
}

func (w *drainWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	n, err := w.out.Write(p)
	w.mu.Unlock()
	if isAnswer(p) {
		w.drain.add(-1)
	}
	return n, err
}

func isRequest(line []byte) bool {
	var m struct {
		ID     any    `json:"id"`
		Method string `json:"method"`
		Result any    `json:"result"`
	}
	return json.Unmarshal(line, &m) == nil && m.Method != "" && isID(m.ID) && m.Result == nil
}

// isID: JSON-RPC 2.0 §4, and MCP excludes null.
func isID(v any) bool {
	switch v.(type) {
	case string, float64:
		return true
	}
	return false
}

// isAnswer looks at the first members only: answers can be large, and our server writes jsonrpc,
// id, then result or error. An error without an id answers no request that was counted.
func isAnswer(message []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(message))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for range 3 {
		name, err := dec.Token()
		if err != nil {
			return false
		}
		switch name {
		case "result", "error":
			return true
		case "method":
			return false
		}
		value, err := dec.Token()
		if err != nil || name == "id" && !isID(value) {
			return false
		}
	}
	return false
}
