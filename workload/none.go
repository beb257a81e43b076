//go:build !spiffe

package workload

import (
	"context"
	"crypto"
	"crypto/x509"
)

// Client is a connection to the Workload API. This build has none.
type Client struct{}

// Open returns [ErrNotBuilt].
func Open(context.Context, string) (*Client, error) { return nil, ErrNotBuilt }

// Identity returns [ErrNotBuilt].
func (c *Client) Identity(context.Context) ([]*x509.Certificate, crypto.Signer, error) {
	return nil, nil, ErrNotBuilt
}

// Bundle returns nil.
func (c *Client) Bundle() []*x509.Certificate { return nil }

// Changed returns a channel that never receives.
func (c *Client) Changed() <-chan struct{} { return nil }

// Close does nothing.
func (c *Client) Close() error { return nil }
