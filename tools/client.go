package tools

import (
	"context"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// client is what the calling MCP client can do.
type client struct {
	modern bool // protocol 2026-07-28 or later: the server sends no requests of its own
	url    bool // it shows URLs to its user when asked to (elicitation, mode url)
}

// clientOf reads the capabilities of this request (2026-07-28) or of the session before it.
func clientOf(ctx context.Context) client {
	var caps mcp.ClientCapabilities
	c := client{}
	if info := server.RequestProtocolInfoFromContext(ctx); info != nil && info.Modern {
		c.modern = true
		if info.ClientCapabilities != nil {
			caps = *info.ClientCapabilities
		}
	} else if s, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo); ok {
		caps = s.GetClientCapabilities()
	}
	c.url = caps.Elicitation != nil && caps.Elicitation.URL != nil
	return c
}
