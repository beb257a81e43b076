package tools

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// The protocols that an agent can speak.
const (
	legacy = "2025-11-25"
	modern = "2026-07-28"
)

// What an agent can say of elicitation.
const (
	noDialogs   = `{}`
	formDialogs = `{"elicitation":{}}`
	urlDialogs  = `{"elicitation":{"form":{},"url":{}}}`
)

// agent is an MCP client and its connection, without a wire.
type agent struct {
	server       *mcpserver.MCPServer
	protocol     string
	capabilities json.RawMessage
	// dialog answers elicitation/create; nil: nobody does.
	dialog func(ctx context.Context, p mcp.ElicitationParams) (*mcp.ElicitationResult, error)

	notifications chan mcp.JSONRPCNotification
	lastID        atomic.Int64

	mu      sync.Mutex
	dialogs []mcp.ElicitationParams
}

func newAgent(tool *Webfetch, protocol, capabilities string) *agent {
	s := mcpserver.NewMCPServer("test", "1", mcpserver.WithToolCapabilities(false))
	s.AddTool(tool.Tool(), tool.Handle)
	return &agent{server: s, protocol: protocol, capabilities: json.RawMessage(capabilities), notifications: make(chan mcp.JSONRPCNotification, 100)}
}

// The agent is its own session.
func (a *agent) SessionID() string                                   { return "agent" }
func (a *agent) Initialize()                                         {}
func (a *agent) Initialized() bool                                   { return true }
func (a *agent) NotificationChannel() chan<- mcp.JSONRPCNotification { return a.notifications }
func (a *agent) GetClientInfo() mcp.Implementation                   { return mcp.Implementation{} }
func (a *agent) SetClientInfo(mcp.Implementation)                    {}
func (a *agent) SetClientCapabilities(mcp.ClientCapabilities)        {}
func (a *agent) GetClientCapabilities() (capabilities mcp.ClientCapabilities) {
	if a.protocol == legacy {
		_ = json.Unmarshal(a.capabilities, &capabilities)
	}
	return capabilities
}

func (a *agent) RequestElicitation(ctx context.Context, req mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	a.mu.Lock()
	a.dialogs = append(a.dialogs, req.Params)
	a.mu.Unlock()
	return a.dialog(ctx, req.Params)
}

func (a *agent) asked() []mcp.ElicitationParams {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dialogs
}

// raw calls webfetch and returns the answer as it would stand on the wire. more are members of params.
func (a *agent) raw(ctx context.Context, args, more map[string]any) []byte {
	params := map[string]any{"name": "webfetch", "arguments": args}
	maps.Copy(params, more)
	if a.protocol == modern {
		meta := map[string]any{
			"io.modelcontextprotocol/protocolVersion":    modern,
			"io.modelcontextprotocol/clientCapabilities": a.capabilities,
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "agent", "version": "1"},
		}
		if m, ok := more["_meta"].(map[string]any); ok {
			maps.Copy(meta, m)
		}
		params["_meta"] = meta
	}
	message, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": a.lastID.Add(1), "method": "tools/call", "params": params})
	if err != nil {
		panic(err)
	}
	answer, err := json.Marshal(a.server.HandleMessage(a.server.WithContext(ctx, a), message))
	if err != nil {
		panic(err)
	}
	return answer
}

// call calls webfetch. An answer that is an error of the protocol fails the test.
func (a *agent) call(t *testing.T, args, more map[string]any) *mcp.CallToolResult {
	t.Helper()
	raw := a.raw(local(t), args, more)
	var message struct{ Result, Error json.RawMessage }
	if err := json.Unmarshal(raw, &message); err != nil || message.Error != nil {
		t.Fatalf("webfetch %v: %s %v", args, raw, err)
	}
	res, err := mcp.ParseCallToolResult(&message.Result)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// notified returns what has arrived so far.
func (a *agent) notified() (all []mcp.JSONRPCNotification) {
	for {
		select {
		case n := <-a.notifications:
			all = append(all, n)
		default:
			return all
		}
	}
}

// door is a site that lets nobody in but those who did what it asks for.
type door struct {
	site
	prompts []action.Prompt // asked for in turn

	book    action.Book[int]
	mu      sync.Mutex
	actions []*action.Action // all that there were
	passed  int              // how many of the prompts are done
}

const link = "http://127.0.0.1:43117/l/7Q"

func signIn() action.Prompt {
	o, err := origin.Parse("https://docs.example")
	if err != nil {
		panic(err)
	}
	return action.Prompt{Kind: action.SignIn, Origin: o, Issuer: "https://login.example", Scopes: []string{"docs.read"}, URL: link}
}

func allow() action.Prompt {
	p := signIn()
	p.Kind, p.Issuer, p.Scopes, p.URL = action.AllowAddress, "", nil, "http://127.0.0.1:43117/l/allow"
	return p
}

func device() action.Prompt {
	p := signIn()
	p.URL, p.VerificationURI, p.UserCode = "", "https://login.example/device", "WDJB-MJHT"
	return p
}

func newDoor(prompts ...action.Prompt) *door {
	d := &door{prompts: prompts}
	d.answer = d.let
	return d
}

func (d *door) let(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	if n := len(d.actions); n > 0 && d.passed < len(d.prompts) {
		if a := d.actions[n-1]; !a.EndedAt().IsZero() && a.Err() == nil {
			d.passed++
		}
	}
	at := d.passed
	d.mu.Unlock()
	if at == len(d.prompts) {
		return page(200, "text/plain", "the page"), nil
	}
	a, _, err := d.book.Join(r.Context(), at, func() (*action.Action, error) {
		p := d.prompts[at]
		p.ExpiresAt = time.Now().Add(10 * time.Minute)
		a := action.New(rand.Text(), p)
		d.mu.Lock()
		d.actions = append(d.actions, a)
		d.mu.Unlock()
		return a, nil
	})
	if err != nil {
		return nil, err
	}
	return nil, &auth.ActionRequired{Action: a}
}

// waiting returns the newest action.
func (d *door) waiting() *action.Action {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.actions[len(d.actions)-1]
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.actions)
}
