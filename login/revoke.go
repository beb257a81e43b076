package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// ErrNoRevocation says that a token stays valid until its end: its authorization server has no
// revocation endpoint.
var ErrNoRevocation = errors.New("the authorization server offers no revocation")

// endTime bounds a revocation and the removal of a registration: somebody waits for a logout.
const endTime = 10 * time.Second

// Revoke tells the authorization server that t is needed no more (RFC 7009): the refresh token
// first, since that ends what was made from it too, then the access token. client is the configured
// client of the issuer, used only if t was obtained with it. The error is [ErrNoRevocation], or says
// which token was not revoked.
func (f *Flows) Revoke(ctx context.Context, t *tokenstore.Token, client Credentials) error {
	if t.RevocationEndpoint == "" {
		return ErrNoRevocation
	}
	ctx, cancel := context.WithTimeout(principal.With(ctx, t.Principal), endTime)
	defer cancel()
	c, _ := f.clientOf(ctx, t, client)
	failed := f.revoke(ctx, t, c, t.RefreshToken, "refresh_token")
	if failed != nil {
		failed = fmt.Errorf("the refresh token was not revoked: %w", failed)
		if _, answered := errors.AsType[*TokenError](failed); !answered {
			return failed // a server that cannot be reached is not asked twice
		}
	}
	err := f.revoke(ctx, t, c, t.AccessToken, "access_token")
	if failed == nil && err != nil && !isUnsupportedTokenType(err) { // such tokens end by themselves (RFC 7009 §2.2.1)
		failed = fmt.Errorf("the access token was not revoked: %w", err)
	}
	return failed
}

func (f *Flows) revoke(ctx context.Context, t *tokenstore.Token, c Credentials, token secret.Text, hint string) error {
	if token.IsZero() {
		return nil
	}
	// No proof of possession: a token that is bound to a key or certificate is revoked like any other.
	to := call{principal: t.Principal, issuer: t.Issuer, endpoint: t.RevocationEndpoint}
	form := map[string]string{"token": token.Reveal(), "token_type_hint": hint}
	r, err := f.sendForm(ctx, to, c, form)
	var unusable *TokenError
	if errors.As(err, &unusable) && isSuccess(unusable.Status) {
		return nil // the content of a success is of no concern (RFC 7009 §2.2)
	}
	if err != nil {
		return err
	}
	if e := parseError(to.endpoint, r.status, r.body, r.sent...); !isSuccess(r.status) || e.ErrorCode != "" {
		return e
	}
	return nil
}

func isSuccess(status int) bool {
	return status >= http.StatusOK && status < http.StatusMultipleChoices
}

func isUnsupportedTokenType(err error) bool {
	var e *TokenError
	return errors.As(err, &e) && e.ErrorCode == "unsupported_token_type"
}
