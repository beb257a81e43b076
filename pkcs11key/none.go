//go:build !pkcs11

package pkcs11key

import (
	"context"
	"crypto"
	"crypto/x509"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Token is an open session with a token, which this build never has.
type Token struct{}

// Open returns [ErrNotBuilt], unless the URI itself is at fault.
func Open(_ context.Context, uri string, _ secret.Text) (*Token, error) {
	if _, err := parse(uri); err != nil {
		return nil, err
	}
	return nil, ErrNotBuilt
}

// Identity returns [ErrNotBuilt].
func (t *Token) Identity(context.Context) ([]*x509.Certificate, crypto.Signer, error) {
	return nil, nil, ErrNotBuilt
}

// Close does nothing.
func (t *Token) Close() error { return nil }
