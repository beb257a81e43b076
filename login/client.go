package login

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// usesMetadataDocument reports whether we identify ourselves by the URL of our metadata document
// (draft-ietf-oauth-client-id-metadata-document): no registration, nothing to forget. All servers
// then share one client and one redirect URI, so that only the iss of an answer tells them apart
// (RFC 9207): one that nobody configured must promise to send it. The document names no port, so
// that a server which compares it is better registered with.
func (f *Flows) usesMetadataDocument(req Request) bool {
	return req.Client.ID == "" && f.opts.ClientMetadataURL != "" && req.Server.ClientIDMetadataDocumentSupported &&
		(req.Trusted || req.Server.IssParameterSupported) &&
		(req.Server.RegistrationEndpoint == "" || f.Settings(req.Server.Issuer).RedirectPort != "exact")
}

// canGetClient reports early, before a person is asked, whether there will be a client.
func (f *Flows) canGetClient(req Request) error {
	if req.Client.ID != "" || req.Server.RegistrationEndpoint != "" || f.usesMetadataDocument(req) {
		return nil
	}
	issuer := req.Server.Issuer
	return &ClientError{Issuer: issuer, Reason: "none is configured for this site, and the server does not offer dynamic registration",
		Remedy: "register a native client there with the redirect URI " + f.shownRedirectURI(issuer) + ", then put its client_id under issuers." +
			sanitize.Quote(issuer) + " in the config and name the issuer in the site's oauth.issuer"}
}

// client returns the client to use: the configured one, else our metadata document, else the stored
// registration, else a new one (RFC 7591). stored reports that it was registered at an earlier login.
func (f *Flows) client(ctx context.Context, req Request, redirectURI string) (c Credentials, stored bool, err error) {
	return f.provenClient(ctx, req, redirectURI, kept)
}

// kept lets every registration be stored at once.
func kept(Credentials) error { return nil }

// provenClient is [Flows.client], but stores a new registration only when prove has no error, which
// is returned otherwise.
func (f *Flows) provenClient(ctx context.Context, req Request, redirectURI string, prove func(Credentials) error) (c Credentials, stored bool, err error) {
	if req.Client.ID != "" {
		return req.Client, false, nil
	}
	if f.usesMetadataDocument(req) {
		return Credentials{ID: f.opts.ClientMetadataURL, AuthMethod: "none"}, false, nil
	}
	if reg := f.registered(ctx, req); f.usable(reg, redirectURI) {
		return credentials(reg), true, nil
	}
	unlock, err := f.lockRegistration(ctx, req.Principal, req.Server.Issuer)
	if err != nil {
		return Credentials{}, false, err
	}
	defer unlock()
	old := f.registered(ctx, req)
	if f.usable(old, redirectURI) { // another process was faster
		return credentials(old), true, nil
	}
	reg, err := f.register(ctx, req, redirectURI)
	if err != nil {
		return Credentials{}, false, err
	}
	if err := prove(credentials(reg)); err != nil {
		return Credentials{}, false, err
	}
	if err := tokenstore.PutClient(ctx, f.opts.Store, reg); err != nil {
		return Credentials{}, false, err
	}
	f.retire(ctx, old, reg)
	f.tasks.start(func() { f.limitUnused(context.WithoutCancel(ctx), reg.Principal) })
	return credentials(reg), false, nil
}

// registered returns our stored registration at the issuer, nil where there is none.
func (f *Flows) registered(ctx context.Context, req Request) *tokenstore.Client {
	reg, err := tokenstore.GetClient(ctx, f.opts.Store, tokenstore.ClientKey(req.Principal, req.Server.Issuer))
	if err != nil {
		if !errors.Is(err, tokenstore.ErrNotFound) {
			f.opts.Logger.Warn("the stored client registration cannot be read; a new one is made", "error", err)
		}
		return nil
	}
	return reg
}

// usable reports whether a login with redirectURI can go on with a registration.
func (f *Flows) usable(reg *tokenstore.Client, redirectURI string) bool {
	return reg != nil && (reg.SecretExpiry.IsZero() || time.Until(reg.SecretExpiry) >= time.Minute) &&
		covers(reg, redirectURI, f.Settings(reg.Issuer).RedirectPort == "exact")
}

func credentials(reg *tokenstore.Client) Credentials {
	return Credentials{ID: reg.ClientID, Secret: reg.ClientSecret, AuthMethod: reg.AuthMethod}
}

// clientOf returns the client that t was obtained with: the configured one, else the stored
// registration, else a public one. registered reports that it is the second.
func (f *Flows) clientOf(ctx context.Context, t *tokenstore.Token, configured Credentials) (c Credentials, registered bool) {
	if configured.ID == t.ClientID {
		return configured, false
	}
	if reg, err := tokenstore.GetClient(ctx, f.opts.Store, tokenstore.ClientKey(t.Principal, t.Issuer)); err == nil && reg.ClientID == t.ClientID {
		return credentials(reg), true
	}
	return Credentials{ID: t.ClientID}, false
}

// retire takes a registration that was replaced off its server, unless a token still depends on it:
// the server would end that too (RFC 7592 §2.3). It goes on after the login has what it needs.
func (f *Flows) retire(ctx context.Context, old, replacement *tokenstore.Client) {
	if old == nil || old.ClientID == replacement.ClientID {
		return
	}
	tokens, err := tokenstore.Tokens(ctx, f.opts.Store, old.Principal)
	if err != nil || slices.ContainsFunc(tokens, func(t *tokenstore.Token) bool { return t.Issuer == old.Issuer && t.ClientID == old.ClientID }) {
		return
	}
	f.tasks.start(func() {
		if err := f.Unregister(context.WithoutCancel(ctx), old); err != nil && !errors.Is(err, ErrNoManagement) {
			f.opts.Logger.Info("a client registration that was replaced stays at its server", "issuer", action.ShowIssuer(old.Issuer), "error", err)
		}
	})
}

// maxUnused is how many registrations are kept at issuers that have given no token.
const maxUnused = 32

// limitUnused drops the oldest registrations that have led to nothing: strangers name as many issuers
// as they like.
func (f *Flows) limitUnused(ctx context.Context, p principal.ID) {
	unused, err := f.unused(ctx, p)
	if err != nil {
		f.opts.Logger.Warn("the client registrations cannot be counted", "error", err)
		return
	}
	for _, reg := range unused[:max(0, len(unused)-maxUnused)] {
		f.forgetRegistration(ctx, p, reg.Issuer, credentials(reg))
	}
}

// unused returns the registrations at issuers that there is no token of, the oldest first.
func (f *Flows) unused(ctx context.Context, p principal.ID) ([]*tokenstore.Client, error) {
	all, err := tokenstore.Clients(ctx, f.opts.Store, p)
	if err != nil || len(all) <= maxUnused {
		return nil, err
	}
	tokens, err := tokenstore.Tokens(ctx, f.opts.Store, p)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(reg *tokenstore.Client) bool {
		return slices.ContainsFunc(tokens, func(t *tokenstore.Token) bool { return t.Issuer == reg.Issuer })
	})
	slices.SortStableFunc(all, func(a, b *tokenstore.Client) int { return a.RegisteredAt.Compare(b.RegisteredAt) })
	return all, nil
}

// forgetRegistration makes the next login register anew: the server did not know the client any more.
func (f *Flows) forgetRegistration(ctx context.Context, p principal.ID, issuer string, c Credentials) {
	ctx, cancel := context.WithTimeout(ctx, forgetTime)
	defer cancel()
	err := f.forget(ctx, p, issuer, c)
	if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
		f.opts.Logger.Warn("the stale client registration cannot be removed", "error", err)
	}
}

// forgetTime bounds how long a registration under way elsewhere is waited for.
const forgetTime = 30 * time.Second

func (f *Flows) forget(ctx context.Context, p principal.ID, issuer string, c Credentials) error {
	unlock, err := f.lockRegistration(ctx, p, issuer)
	if err != nil {
		return err
	}
	defer unlock()
	key := tokenstore.ClientKey(p, issuer)
	reg, err := tokenstore.GetClient(ctx, f.opts.Store, key)
	if err != nil || reg.ClientID != c.ID { // another process has registered anew
		return err
	}
	return f.opts.Store.Delete(ctx, key)
}

// lockRegistration keeps others from changing the registration at an issuer.
func (f *Flows) lockRegistration(ctx context.Context, p principal.ID, issuer string) (unlock func(), err error) {
	return f.opts.Store.Lock(ctx, "register "+string(p)+" "+issuer)
}
