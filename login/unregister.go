package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

var (
	// ErrNoManagement says that a registration stays at its server, which does not let us remove it.
	ErrNoManagement = errors.New("the authorization server offers no removal of registrations")
	// ErrNotRegistered says that the server does not know the registration any more.
	ErrNotRegistered = errors.New("the authorization server does not know the registration any more")
)

// Unregister deletes our registration at the server that gave it (RFC 7592 §2.3). The error is
// [ErrNoManagement] or [ErrNotRegistered], or says why it is still there. The registration access
// token goes to the address that came with it, which was at the server's own origin, and nowhere else.
func (f *Flows) Unregister(ctx context.Context, c *tokenstore.Client) error {
	if c.RegistrationAccessToken.IsZero() {
		return ErrNoManagement
	}
	if _, ok := managementOrigin(c.RegistrationClientURI); !ok {
		return ErrNoManagement
	}
	status, err := f.delete(principal.With(ctx, c.Principal), c)
	switch {
	case err != nil:
		return fmt.Errorf("the registration was not removed: %w", err)
	case status == http.StatusNoContent || status == http.StatusOK:
		return nil
	case status == http.StatusUnauthorized || status == http.StatusNotFound || status == http.StatusGone:
		return ErrNotRegistered
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return ErrNoManagement
	}
	return &TokenError{Endpoint: shownEndpoint(c.RegistrationClientURI), Status: status, Reason: "the registration was not removed"}
}

// delete sends the request and returns the status. It goes through a RoundTripper, which follows no redirect.
func (f *Flows) delete(ctx context.Context, c *tokenstore.Client) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if err := f.maySend(ctx, call{principal: c.Principal, issuer: c.Issuer, endpoint: c.RegistrationClientURI}); err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.RegistrationClientURI, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.RegistrationAccessToken.Reveal())
	resp, err := f.opts.Transport.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", shownEndpoint(c.RegistrationClientURI), err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // so that the connection can be used again
	return resp.StatusCode, nil
}
