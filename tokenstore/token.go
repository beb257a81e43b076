package tokenstore

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Token is what an authorization server granted for one resource (RFC 6749 section 5.1).
type Token struct {
	Principal principal.ID `json:"principal"`
	Resource  string       `json:"resource"`
	Issuer    string       `json:"issuer"`

	AccessToken   secret.Text `json:"access_token,omitzero"`
	RefreshToken  secret.Text `json:"refresh_token,omitzero"`
	TokenType     string      `json:"token_type,omitzero"` // "Bearer" or "DPoP"
	Scopes        []string    `json:"scopes,omitzero"`     // granted; nil where that is not known
	ClientID      string      `json:"client_id,omitzero"`
	TokenEndpoint string      `json:"token_endpoint,omitzero"`
	Expiry        time.Time   `json:"expiry,omitzero"` // zero: not known, use until it is refused
	ObtainedAt    time.Time   `json:"obtained_at,omitzero"`
	Subject       string      `json:"subject,omitzero"` // who signed in, if known

	RevocationEndpoint string `json:"revocation_endpoint,omitzero"` // RFC 7009; "": none was offered
	// What the token is bound to: neither is the usual case.
	KeyThumbprint         string `json:"jkt,omitzero"`      // of a [ProofKey] (RFC 9449 §6.1)
	CertificateThumbprint string `json:"x5t#S256,omitzero"` // of a client certificate (RFC 8705 §3.1)
}

// Key returns the key of t.
func (t *Token) Key() Key { return TokenKey(t.Principal, t.Resource, t.Issuer) }

// TokenKey names the token of p for resource, from issuer.
func TokenKey(p principal.ID, resource, issuer string) Key {
	return Key{KindToken, p, resource, issuer}
}

func (t *Token) check() error {
	switch {
	case t.Resource == "":
		return errors.New("no resource")
	case t.AccessToken.IsZero() && t.RefreshToken.IsZero():
		return errors.New("neither access nor refresh token")
	}
	return nil
}

// LockToken keeps others from changing the token of k: whoever renews or removes one holds it, so
// that a login that was removed does not come back with a refresh under way.
func LockToken(ctx context.Context, s Store, k Key) (unlock func(), err error) {
	return s.Lock(ctx, "token "+string(k.Principal)+" "+k.Resource+" "+k.Issuer)
}

// GetToken returns the token of k, [ErrNotFound] or a [*DamagedError].
func GetToken(ctx context.Context, s Store, k Key) (*Token, error) { return get[Token](ctx, s, k) }

// PutToken stores t in place of what its key held.
func PutToken(ctx context.Context, s Store, t *Token) error { return put(ctx, s, t) }

// Tokens returns the tokens of p sorted by key, without damaged ones.
func Tokens(ctx context.Context, s Store, p principal.ID) ([]*Token, error) {
	return list[Token](ctx, s, KindToken, p)
}
