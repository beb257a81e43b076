package login

import (
	"context"

	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Revoke tells the authorization server that t is needed no more (RFC 7009), where it offers that.
// client is the configured client of the issuer, used only if t was obtained with it.
func (f *Flows) Revoke(ctx context.Context, t *tokenstore.Token, client Credentials) error {
	return nil
}

// Unregister deletes our registration at the server that gave it (RFC 7592 §2.3), where it offers that.
func (f *Flows) Unregister(ctx context.Context, c *tokenstore.Client) error { return nil }
