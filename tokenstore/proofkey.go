package tokenstore

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// ProofKey is the key that the tokens of one issuer are bound to (RFC 9449). Losing it loses them.
type ProofKey struct {
	Principal principal.ID `json:"principal"`
	Issuer    string       `json:"issuer"`

	Private   secret.Text `json:"private_key"`
	CreatedAt time.Time   `json:"created_at,omitzero"`
}

// Key returns the key of k.
func (k *ProofKey) Key() Key { return ProofKeyKey(k.Principal, k.Issuer) }

// ProofKeyKey names the proof key that p uses at issuer.
func ProofKeyKey(p principal.ID, issuer string) Key {
	return Key{Kind: KindProofKey, Principal: p, Issuer: issuer}
}

func (k *ProofKey) check() error {
	switch {
	case k.Issuer == "":
		return errors.New("no issuer")
	case k.Private.IsZero():
		return errors.New("no private key")
	}
	return nil
}

// GetProofKey returns the proof key of k, [ErrNotFound] or a [*DamagedError].
func GetProofKey(ctx context.Context, s Store, k Key) (*ProofKey, error) {
	return get[ProofKey](ctx, s, k)
}

// PutProofKey stores k in place of what its key held.
func PutProofKey(ctx context.Context, s Store, k *ProofKey) error { return put(ctx, s, k) }
