package auth

import (
	"context"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// silently logs in where nobody is needed for it, once among all goroutines. again says that a
// token in place of tok that came meanwhile, or that a refresh gives, will do.
func (t *Transport) silently(ctx context.Context, w *work, again bool, req *login.Request, tok *tokenstore.Token) (*tokenstore.Token, error) {
	flight := strings.Join([]string{"client", string(req.Principal), req.Resource, req.Server.Issuer, strings.Join(req.Scopes, " ")}, "\x00")
	return t.once(ctx, flight, func(ctx context.Context) (*tokenstore.Token, error) {
		if again {
			if next, err := t.again(ctx, w, tok); next != nil || err != nil {
				return next, err
			}
		}
		return t.opts.Login.Obtain(ctx, *req)
	})
}

// ahead gets a token in place of old, of a silent grant, before anybody asks for it: the challenge
// would tell nothing that old does not. nil where only the challenge can tell.
func (t *Transport) ahead(ctx context.Context, w *work, old *tokenstore.Token) (*tokenstore.Token, error) {
	if !login.Silent(w.site.Grant) || w.site.Issuer != old.Issuer {
		return nil, nil
	}
	server, err := t.server(ctx, t.opts.Discovery, w, old.Issuer)
	if err != nil {
		return nil, err
	}
	req := &login.Request{
		Principal: w.principal, Origin: w.origin, Resource: old.Resource, Server: server,
		Scopes: old.Scopes, Grant: w.site.Grant, Client: t.client(w, old.Issuer), Trusted: true,
		DPoP: isDPoP(old), CertificateBound: old.CertificateThumbprint != "",
	}
	if w.site.Scopes != nil {
		req.Scopes = w.site.Scopes
	}
	if req.Subject, err = t.subject(ctx, t.opts.Discovery, w.site); err != nil {
		return nil, err
	}
	if err := t.opts.Login.Check(*req); err != nil {
		return nil, err
	}
	return t.silently(ctx, w, true, req, old)
}

// subject is the site's, with the token endpoint of the identity provider that it names.
func (t *Transport) subject(ctx context.Context, from *discovery.Client, site Site) (login.Subject, error) {
	subject := site.Subject
	if subject.At == "" || !login.Silent(site.Grant) {
		return subject, nil
	}
	provider, err := from.AuthServer(ctx, subject.At)
	if err != nil {
		return subject, err
	}
	subject.AtEndpoint = provider.TokenEndpoint
	return subject, nil
}
