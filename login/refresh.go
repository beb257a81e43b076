package login

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Refresh gets a new access token with t's refresh token (RFC 6749 §6) from the endpoint that t
// is pinned to, and stores it. configured is the configured client of the issuer, if any; it is
// used only if t was obtained with it. The caller holds the lock that makes this the only refresh.
func (f *Flows) Refresh(ctx context.Context, t *tokenstore.Token, configured Credentials) (*tokenstore.Token, error) {
	c, registered := Credentials{ID: t.ClientID}, false
	if configured.ID == t.ClientID {
		c = configured
	} else if reg, err := tokenstore.GetClient(ctx, f.opts.Store, tokenstore.ClientKey(t.Principal, t.Issuer)); err == nil && reg.ClientID == t.ClientID {
		c, registered = Credentials{ID: reg.ClientID, Secret: reg.ClientSecret, AuthMethod: reg.AuthMethod}, true
	}
	form := map[string]string{"grant_type": "refresh_token", "refresh_token": t.RefreshToken.Reveal(), "resource": t.Resource}
	if len(t.Scopes) > 0 {
		form["scope"] = strings.Join(t.Scopes, " ")
	}
	answer, err := f.postToken(ctx, call{principal: t.Principal, issuer: t.Issuer, endpoint: t.TokenEndpoint}, c, form)
	if registered && isUnknownClient(err) {
		f.forgetRegistration(ctx, t.Principal, t.Issuer, c)
	}
	if err != nil {
		return nil, err
	}
	next := *t
	answer.apply(&next, time.Now())
	if err := tokenstore.PutToken(ctx, f.opts.Store, &next); err != nil {
		return nil, err
	}
	return &next, nil
}

// IsRefused reports whether err is the server's final no to a refresh token or client, rather
// than a failure that may pass.
func IsRefused(err error) bool {
	var e *TokenError
	if !errors.As(err, &e) {
		return false
	}
	switch e.ErrorCode {
	case "invalid_grant", "invalid_client", "unauthorized_client":
		return true
	}
	return false
}
