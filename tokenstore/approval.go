package tokenstore

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// Approval is a person's recorded yes. Whether it still holds (Expires) and covers what is asked
// (Scopes, ClientID) is for its user to compare.
type Approval struct {
	Principal principal.ID `json:"principal"`
	Resource  string       `json:"resource"` // an origin
	Issuer    string       `json:"issuer"`   // "" where an address was approved, not a login

	Zone      string    `json:"zone,omitzero"` // of an address: the one it was in when it was approved
	Scopes    []string  `json:"scopes,omitzero"`
	ClientID  string    `json:"client_id,omitzero"`
	GrantedAt time.Time `json:"granted_at,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
}

// Key returns the key of a.
func (a *Approval) Key() Key { return ApprovalKey(a.Principal, a.Resource, a.Issuer) }

// ApprovalKey names the approval by p of issuer for resource.
func ApprovalKey(p principal.ID, resource, issuer string) Key {
	return Key{KindApproval, p, resource, issuer}
}

func (a *Approval) check() error {
	if a.Resource == "" {
		return errors.New("no resource")
	}
	return nil
}

// GetApproval returns the approval of k, [ErrNotFound] or a [*DamagedError].
func GetApproval(ctx context.Context, s Store, k Key) (*Approval, error) {
	return get[Approval](ctx, s, k)
}

// PutApproval stores a in place of what its key held.
func PutApproval(ctx context.Context, s Store, a *Approval) error { return put(ctx, s, a) }

// Approvals returns the approvals of p sorted by key, without damaged ones.
func Approvals(ctx context.Context, s Store, p principal.ID) ([]*Approval, error) {
	return list[Approval](ctx, s, KindApproval, p)
}
