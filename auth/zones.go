package auth

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// approvalLife is how long a person's yes lasts.
const approvalLife = 90 * 24 * time.Hour

// Private says what happens to private and loopback addresses that nobody configured.
type Private string

// The ways to treat them.
const (
	AskPrivate   Private = "ask"   // a person may allow the origin
	AllowPrivate Private = "allow" // all are reached
	DenyPrivate  Private = "deny"
)

// Zones decides which address zones an origin may be in, and asks a person where that is the rule.
type Zones struct {
	Store   tokenstore.Store
	Desk    *action.Desk             // nil: nobody can be asked
	Private Private                  // "" is [DenyPrivate]
	Allowed func(origin.Origin) bool // configured origins; nil: none

	asked action.Book[zoneKey]
}

type zoneKey struct {
	principal principal.ID
	origin    origin.Origin
}

// Rules says what may be dialled for o: public addresses, and others where o is configured or a
// person allowed it.
func (z *Zones) Rules(ctx context.Context, o origin.Origin) (netguard.Rules, error) {
	open := netguard.Rules{Loopback: true, Private: true}
	if z.Private == AllowPrivate || z.Allowed != nil && z.Allowed(o) {
		return open, nil
	}
	if z.Private != AskPrivate {
		return netguard.Rules{}, nil
	}
	a, err := tokenstore.GetApproval(ctx, z.Store, tokenstore.ApprovalKey(principal.From(ctx), o.String(), ""))
	if errors.Is(err, tokenstore.ErrNotFound) || err == nil && time.Now().After(a.Expires) {
		return netguard.Rules{}, nil
	}
	if err != nil {
		return netguard.Rules{}, err
	}
	// A yes to a private address is none to this computer, where the name may lead tomorrow.
	return netguard.Rules{Loopback: a.Zone == netguard.Loopback.String(), Private: a.Zone == netguard.Private.String()}, nil
}

// named reports whether the config or a person opened o in particular. When that cannot be found
// out it counts as named.
func (z *Zones) named(ctx context.Context, o origin.Origin) bool {
	if z.Allowed != nil && z.Allowed(o) {
		return true
	}
	if z.Private != AskPrivate {
		return false
	}
	rules, err := z.Rules(ctx, o)
	return err != nil || rules != netguard.Rules{}
}

// CheckStranger keeps a page that nobody named from sending us to an authorization server at an
// origin that somebody did: what we ask there would go to an address, and with a certificate, that
// are not for strangers. Issuers that the config names as such are not asked about.
func (z *Zones) CheckStranger(ctx context.Context, page origin.Origin, issuer string) error {
	at, err := origin.OfURL(issuer)
	if err != nil {
		return err
	}
	if at != page && z.named(ctx, at) && !z.named(ctx, page) {
		return &discovery.InvalidError{URL: page.String(), Reason: "it names an authorization server at " + at.String() + ", which is for the sites in the config only"}
	}
	return nil
}

// CheckEndpoint keeps requests of an authorization server's protocol away from origins that the
// config or a person named, unless the issuer itself is named: an endpoint that was harmless when the
// metadata was read, perhaps long ago, may be somebody's site by now. isIssuer says whether the config
// names the issuer as one.
func (z *Zones) CheckEndpoint(ctx context.Context, issuer, endpoint string, isIssuer bool) error {
	from, err := origin.OfURL(issuer)
	if err != nil {
		return err
	}
	to, err := origin.OfURL(endpoint)
	if err != nil {
		return err
	}
	if to != from && !isIssuer && z.named(ctx, to) && !z.named(ctx, from) {
		return &discovery.InvalidError{URL: issuer, Reason: "an endpoint of it is at " + to.String() + ", which is for the issuers in the config only"}
	}
	return nil
}

// ask returns the action that would allow a denied address, or the denial itself.
func (z *Zones) ask(ctx context.Context, p principal.ID, o origin.Origin, denied *netguard.DeniedError) error {
	if z.Private != AskPrivate || z.Desk == nil || denied.Zone == netguard.Never {
		return denied
	}
	a, fresh, err := z.asked.Join(ctx, zoneKey{p, o}, func() (*action.Action, error) {
		return z.Desk.Place(action.Form{
			Prompt: action.Prompt{Kind: action.AllowAddress, Origin: o},
			Continue: func(ctx context.Context, _ string) (action.Next, error) {
				now := time.Now()
				return action.Next{}, tokenstore.PutApproval(ctx, z.Store, &tokenstore.Approval{
					Principal: p, Resource: o.String(), Zone: denied.Zone.String(), GrantedAt: now, Expires: now.Add(approvalLife),
				})
			},
		})
	})
	if err != nil {
		return err
	}
	if fresh {
		// Not the call's context: the page stays when the call ends.
		z.Desk.OpenBrowser(context.WithoutCancel(ctx), a)
	}
	return &ActionRequired{a}
}
