// Package server serves MCP over stdio and streamable HTTP.
package server

import (
	"context"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tools"
)

// New returns the MCP server with its tools. version is the program's.
func New(webfetch *tools.Webfetch, version string) *mcpserver.MCPServer {
	s := mcpserver.NewMCPServer("mcp-authfetch", version,
		mcpserver.WithTitle("mcp-authfetch"),
		mcpserver.WithInstructions(tools.Instructions),
		mcpserver.WithToolCapabilities(false), // the list of tools never changes
		mcpserver.WithRecovery(),
		// The same list for everybody, for an hour (MCP 2026-07-28, ttlMs and cacheScope).
		mcpserver.WithCacheHints(3_600_000, mcp.CacheScopePublic),
	)
	s.AddTool(webfetch.Tool(), webfetch.Handle)
	return s
}

// local gives a request the one principal of a server that serves the person who started it.
func local(ctx context.Context) context.Context { return principal.With(ctx, principal.Local) }
