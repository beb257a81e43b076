package login

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// ProofKey returns the key that p's tokens of issuer are bound to (RFC 9449), made at its first use.
func (f *Flows) ProofKey(ctx context.Context, p principal.ID, issuer string) (*dpop.Key, error) {
	key, err := f.storedProofKey(ctx, p, issuer)
	if !errors.Is(err, tokenstore.ErrNotFound) {
		return key, err
	}
	unlock, err := f.opts.Store.Lock(ctx, "proof key "+string(p)+" "+issuer)
	if err != nil {
		return nil, err
	}
	defer unlock()
	key, err = f.storedProofKey(ctx, p, issuer)
	if !errors.Is(err, tokenstore.ErrNotFound) { // another process was faster
		return key, err
	}
	if key, err = dpop.NewKey(); err != nil {
		return nil, err
	}
	text, err := key.Text()
	if err != nil {
		return nil, err
	}
	return key, tokenstore.PutProofKey(ctx, f.opts.Store, &tokenstore.ProofKey{Principal: p, Issuer: issuer, Private: text, CreatedAt: time.Now()})
}

func (f *Flows) storedProofKey(ctx context.Context, p principal.ID, issuer string) (*dpop.Key, error) {
	stored, err := tokenstore.GetProofKey(ctx, f.opts.Store, tokenstore.ProofKeyKey(p, issuer))
	if err != nil {
		return nil, err
	}
	key, err := dpop.ParseKey(stored.Private)
	if err != nil { // counts as absent, like any damaged record: what was bound to it is lost
		return nil, &tokenstore.DamagedError{Key: stored.Key(), Reason: err.Error()}
	}
	return key, nil
}
