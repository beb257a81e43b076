package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// maxMessage bounds one JSON-RPC message over HTTP.
const maxMessage = 4 << 20

// gate lets through what may reach the MCP handler: requests to one of our own names, from no
// page of another origin (MCP 2026-07-28, streamable HTTP: Origin MUST be validated), of bounded
// size, and in no session but those that we gave out.
func gate(hosts map[string]bool, known *sessions, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hosts[r.Host] {
			http.Error(w, "this Host is not served here", http.StatusForbidden)
			return
		}
		if !ownOrigin(hosts, r.Header.Values("Origin")) {
			http.Error(w, "requests from other origins are not served", http.StatusForbidden)
			return
		}
		if !takeSession(w, r, known) || r.Method == http.MethodPost && !takeBody(w, r) {
			return
		}
		w.Header().Set("X-Accel-Buffering", "no") // event streams pass proxies at once
		next.ServeHTTP(w, r)
	})
}

func ownOrigin(hosts map[string]bool, values []string) bool {
	switch len(values) {
	case 0:
		return true
	case 1:
		host, ok := strings.CutPrefix(values[0], "http://")
		return ok && hosts[host]
	}
	return false
}

// takeSession answers requests to listen in, or to end, a session that is not there: the library
// would make one of that name. It looks after the sessions of messages itself.
func takeSession(w http.ResponseWriter, r *http.Request, known *sessions) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodDelete || modern(r) {
		return true
	}
	id := r.Header.Get("Mcp-Session-Id")
	if id == "" {
		http.Error(w, "the Mcp-Session-Id header is missing", http.StatusBadRequest)
		return false
	}
	if _, err := known.Validate(id); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return false
	}
	return true
}

// modern: a protocol without sessions (2026-07-28).
func modern(r *http.Request) bool {
	return mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion))
}

// takeBody reads the body within its bound. It answers the request itself, and returns false,
// when the body is too large or a sessionless cancellation.
func takeBody(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			http.Error(w, "the message is larger than 4 MiB", http.StatusRequestEntityTooLarge)
		} else {
			http.Error(w, "the message could not be read", http.StatusBadRequest)
		}
		return false
	}
	// Without a session a cancellation names only a request number, which every client counts from
	// one: it would end other callers' requests. Closing the response stream is how such a client cancels.
	if r.Header.Get("Mcp-Session-Id") == "" || modern(r) {
		var m struct {
			Method string `json:"method"`
		}
		if json.Unmarshal(body, &m) == nil && m.Method == "notifications/cancelled" {
			w.WriteHeader(http.StatusAccepted)
			return false
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}
