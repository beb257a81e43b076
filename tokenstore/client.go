package tokenstore

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Client is a registration at one authorization server (RFC 7591 section 3.2.1). Nothing of it is
// ever used at another.
type Client struct {
	Principal principal.ID `json:"principal"`
	Issuer    string       `json:"issuer"`

	ClientID                string      `json:"client_id"`
	ClientSecret            secret.Text `json:"client_secret,omitzero"`
	SecretExpiry            time.Time   `json:"client_secret_expires_at,omitzero"` // zero: never
	AuthMethod              string      `json:"token_endpoint_auth_method,omitzero"`
	RedirectURIs            []string    `json:"redirect_uris,omitzero"`
	GrantTypes              []string    `json:"grant_types,omitzero"`
	RegistrationAccessToken secret.Text `json:"registration_access_token,omitzero"` // RFC 7592
	RegistrationClientURI   string      `json:"registration_client_uri,omitzero"`   // RFC 7592
	RegisteredAt            time.Time   `json:"registered_at,omitzero"`
}

// Key returns the key of c.
func (c *Client) Key() Key { return ClientKey(c.Principal, c.Issuer) }

// ClientKey names the registration that p uses at issuer.
func ClientKey(p principal.ID, issuer string) Key {
	return Key{Kind: KindClient, Principal: p, Issuer: issuer}
}

func (c *Client) check() error {
	switch {
	case c.Issuer == "":
		return errors.New("no issuer")
	case c.ClientID == "":
		return errors.New("no client id")
	}
	return nil
}

// GetClient returns the registration of k, [ErrNotFound] or a [*DamagedError].
func GetClient(ctx context.Context, s Store, k Key) (*Client, error) { return get[Client](ctx, s, k) }

// PutClient stores c in place of what its key held.
func PutClient(ctx context.Context, s Store, c *Client) error { return put(ctx, s, c) }

// Clients returns the registrations of p sorted by key, without damaged ones.
func Clients(ctx context.Context, s Store, p principal.ID) ([]*Client, error) {
	return list[Client](ctx, s, KindClient, p)
}
