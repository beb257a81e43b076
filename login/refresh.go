package login

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Refresh gets a new access token with t's refresh token (RFC 6749 §6) from the endpoint that t
// is pinned to, and stores it. configured is the configured client of the issuer, if any; it is
// used only if t was obtained with it. The caller holds the lock that makes this the only refresh.
//
// A token that cannot be stored is returned all the same: it is kept until that is possible, and
// returned by the next Refresh of t.
func (f *Flows) Refresh(ctx context.Context, t *tokenstore.Token, configured Credentials) (*tokenstore.Token, error) {
	defer f.tasks.begin()()
	stored := t
	if kept := f.unsaved.after(stored); kept != nil {
		f.save(ctx, stored, kept)
		if kept.Expiry.IsZero() || time.Until(kept.Expiry) > expiresSoon {
			return kept, nil
		}
		t = kept
	}
	next, err := f.refresh(ctx, t, configured)
	if err != nil {
		if IsRefused(err) {
			f.unsaved.drop(stored.Key())
		}
		return nil, err
	}
	f.save(ctx, stored, next)
	f.opts.Logger.Info("a token was refreshed", "issuer", action.ShowIssuer(next.Issuer))
	return next, nil
}

const expiresSoon = 30 * time.Second

func (f *Flows) refresh(ctx context.Context, t *tokenstore.Token, configured Credentials) (*tokenstore.Token, error) {
	c, registered := f.clientOf(ctx, t, configured)
	next := *t
	if err := f.rebind(&next, c); err != nil {
		return nil, err
	}
	key, err := f.keyOf(ctx, t)
	if err != nil {
		return nil, err
	}
	form := map[string]string{"grant_type": "refresh_token", "refresh_token": t.RefreshToken.Reveal()}
	f.addResource(form, t.Issuer, t.Resource)
	if len(t.Scopes) > 0 {
		form["scope"] = strings.Join(t.Scopes, " ")
	}
	to := call{
		principal: t.Principal, issuer: t.Issuer, endpoint: t.TokenEndpoint, key: key,
		configured: configured.ID != "" && configured.ID == t.ClientID,
	}
	answer, err := f.postToken(ctx, to, c, form)
	if registered && isUnknownClient(err) {
		f.forgetRegistration(ctx, t.Principal, t.Issuer, c)
	}
	if err != nil {
		return nil, err
	}
	answer.apply(&next, time.Now())
	return &next, nil
}

// rebind says what the next token will be bound to. A refresh token of a public client is itself
// bound to the certificate of its time (RFC 8705 §4, §7.1), and lost with it; another client
// authenticates anew, and gets a token that is bound to the present one. Without any, the server would
// issue a token that everybody can use.
func (f *Flows) rebind(t *tokenstore.Token, c Credentials) error {
	if t.CertificateThumbprint == "" {
		return nil
	}
	now := tlsmat.Thumbprint(f.certificate(t.TokenEndpoint))
	switch {
	case now != t.CertificateThumbprint && c.method() == "none":
		return &BindingError{Issuer: t.Issuer, To: "a client certificate"}
	case now == "":
		at, err := origin.OfURL(t.Resource)
		if err != nil {
			return err
		}
		return unbindable(at, shownEndpoint(t.TokenEndpoint))
	}
	t.CertificateThumbprint = now
	return nil
}

// keyOf returns the key that t is bound to, nil where it is bound to none.
func (f *Flows) keyOf(ctx context.Context, t *tokenstore.Token) (*dpop.Key, error) {
	if t.KeyThumbprint == "" {
		return nil, nil
	}
	key, err := f.storedProofKey(ctx, t.Principal, t.Issuer)
	switch {
	case err != nil && !errors.Is(err, tokenstore.ErrNotFound):
		return nil, err
	case err != nil, key.Thumbprint() != t.KeyThumbprint:
		return nil, &BindingError{Issuer: t.Issuer, To: "a key"}
	}
	return key, nil
}

// IsRefused reports whether err is a final no to a refresh token or client, by the server or
// because what they are bound to is gone, rather than a failure that may pass. That a configured
// client is refused passes when the configuration is corrected (see [ClientRefusedError]).
func IsRefused(err error) bool {
	if _, ok := errors.AsType[*ClientRefusedError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*BindingError](err); ok {
		return true
	}
	e, ok := errors.AsType[*TokenError](err)
	if !ok {
		return false
	}
	if e.wrongType { // it spent the refresh token on what must not be used, and would again
		return true
	}
	switch e.ErrorCode {
	case "invalid_grant", "invalid_client", "unauthorized_client":
		return true
	}
	return false
}
