package login

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Obtain gets a token with a grant that needs no person (see [Silent]) and stores it. It asks once:
// what the server refuses is not tried again in another way.
func (f *Flows) Obtain(ctx context.Context, req Request) (*tokenstore.Token, error) {
	if !Silent(req.Grant) {
		return nil, fmt.Errorf("the grant %s needs a person", sanitize.Quote(req.Grant))
	}
	if err := f.Check(req); err != nil {
		return nil, err
	}
	g, err := f.settle(ctx, req, req.Client)
	if err != nil {
		return nil, err
	}
	form, err := f.silentForm(ctx, g)
	if err != nil {
		return nil, err
	}
	return f.obtain(ctx, g, form)
}

// obtain asks for a token, and stores it.
func (f *Flows) obtain(ctx context.Context, g *grant, form map[string]string) (*tokenstore.Token, error) {
	defer f.tasks.begin()()
	answer, err := f.postToken(ctx, g.call(g.token), g.client, form)
	if err != nil {
		return nil, err
	}
	if g.Grant == TokenExchange {
		if err := checkIssuedType(g.token, answer); err != nil {
			return nil, err
		}
	}
	tok := &tokenstore.Token{
		Principal: g.Principal, Resource: g.Resource, Issuer: g.Server.Issuer,
		ClientID: g.client.ID, TokenEndpoint: g.token, RevocationEndpoint: g.revocation, Scopes: g.Scopes,
		CertificateThumbprint: g.certificate,
	}
	if g.key != nil {
		tok.KeyThumbprint = g.key.Thumbprint()
	}
	answer.apply(tok, time.Now())
	if err := f.put(ctx, tok); err != nil {
		return nil, err
	}
	f.opts.Logger.Info("a token was obtained", "origin", g.Origin.String(), "issuer", action.ShowIssuer(tok.Issuer), "type", tok.TokenType, "refreshable", !tok.RefreshToken.IsZero())
	if g.Replaces != (tokenstore.Key{}) && g.Replaces != tok.Key() {
		if err := f.remove(ctx, g.Replaces); err != nil {
			return nil, err
		}
	}
	return tok, nil
}

// put stores a new token. A refresh under way ends first: it must neither delete the new token nor
// store its own in place of it.
func (f *Flows) put(ctx context.Context, tok *tokenstore.Token) error {
	unlock, err := tokenstore.LockToken(ctx, f.opts.Store, tok.Key())
	if err != nil {
		return err
	}
	defer unlock()
	if err := ctx.Err(); err != nil { // the person said no meanwhile
		return err
	}
	return tokenstore.PutToken(ctx, f.opts.Store, tok)
}

// remove deletes a token that was replaced. A refresh under way must not bring it back.
func (f *Flows) remove(ctx context.Context, k tokenstore.Key) error {
	unlock, err := tokenstore.LockToken(ctx, f.opts.Store, k)
	if err != nil {
		return err
	}
	defer unlock()
	return f.opts.Store.Delete(ctx, k)
}

// tokenForm is what all requests for new tokens have. Whatever the configuration adds to them,
// what we set ourselves counts.
func (f *Flows) tokenForm(req Request, grantType string) map[string]string {
	form := extra(req, f.Settings(req.Server.Issuer).TokenParams)
	form["grant_type"] = grantType
	f.addResource(form, req.Server.Issuer, req.Resource)
	if len(req.Scopes) > 0 && grantType != "authorization_code" {
		form["scope"] = strings.Join(req.Scopes, " ")
	}
	return form
}

// extra returns configured parameters; {resource} in them stands for the resource.
func extra(req Request, configured map[string]string) map[string]string {
	params := map[string]string{}
	for name, value := range configured {
		params[name] = strings.ReplaceAll(value, "{resource}", req.Resource)
	}
	return params
}

// addResource says what the token is for (RFC 8707), unless the issuer is known not to stand it.
func (f *Flows) addResource(form map[string]string, issuer, resource string) {
	if f.Settings(issuer).Resource != "omit" {
		form["resource"] = resource
	}
}
