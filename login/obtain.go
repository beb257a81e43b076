package login

import (
	"context"
	"fmt"
	"strings"
	"time"

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

// ClientCredentials gets a token without a person (RFC 6749 §4.4) and stores it.
func (f *Flows) ClientCredentials(ctx context.Context, req Request) (*tokenstore.Token, error) {
	req.Grant = ClientCredentials
	return f.Obtain(ctx, req)
}

// obtain asks for a token, and stores it.
func (f *Flows) obtain(ctx context.Context, g *grant, form map[string]string) (*tokenstore.Token, error) {
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
	if err := ctx.Err(); err != nil { // the person said no while the server answered
		return nil, err
	}
	if err := tokenstore.PutToken(ctx, f.opts.Store, tok); err != nil {
		return nil, err
	}
	if g.Replaces != (tokenstore.Key{}) && g.Replaces != tok.Key() {
		if err := f.opts.Store.Delete(ctx, g.Replaces); err != nil {
			return nil, err
		}
	}
	return tok, nil
}

// tokenForm is what all requests for new tokens have. Whatever the configuration adds to them,
// what we set ourselves counts.
func (f *Flows) tokenForm(req Request, grantType string) map[string]string {
	form := extra(req, f.settings(req.Server.Issuer).TokenParams)
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
	if f.settings(issuer).Resource != "omit" {
		form["resource"] = resource
	}
}
