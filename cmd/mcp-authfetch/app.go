package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// app is every part, built once from the config.
type app struct {
	files
	log     *slog.Logger
	cfg     *config.Config
	proxies *proxies
	unwatch func() // ends the watching of files
	store   tokenstore.Store
	guard   *netguard.Guard
	desk    *action.Desk
	zones   *auth.Zones
	base    *outbound.Transport
	flows   *login.Flows
	fetch   *fetch.Client
}

// setting is what holds where the config does not say.
type setting struct {
	private auth.Private // what happens to private addresses
	proxies bool         // the proxy variables of the environment count
	stays   bool         // the process goes on after one answer, so that its log tells what that would
}

var (
	// atHome: one command of a person.
	atHome = setting{auth.AskPrivate, true, false}
	// ofAgent: one person's process, started by their agent.
	ofAgent = setting{auth.AskPrivate, true, true}
	// serving: a process that listens for others.
	serving = setting{auth.DenyPrivate, false, true}
)

// background is the logger for what is not about the one thing that a command is for: its outcome
// tells all of that, and once.
func (p *program) background(where setting) *slog.Logger {
	if where.stays || p.flags.verbose {
		return p.log
	}
	return slog.New(slog.DiscardHandler)
}

// build loads the config and makes every part. Nothing is sent yet.
func (p *program) build(ctx context.Context, where setting) (*app, error) {
	cfg, err := p.loadConfig()
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		p.log.Warn(w)
	}
	files, err := p.loadFiles(ctx, cfg, where)
	if err != nil {
		files.close()
		return nil, err
	}
	for _, w := range files.warnings() {
		p.background(where).Warn(w.says, "code", w.code, "hint", w.remedy)
	}
	a, err := p.assemble(cfg, files, where)
	if err != nil {
		files.close()
	}
	return a, err
}

// assemble makes every part; with the app, the files are closed.
func (p *program) assemble(cfg *config.Config, files files, where setting) (*app, error) {
	proxies, err := newProxies(cfg, files, where.proxies)
	if err != nil {
		return nil, err
	}
	store, err := p.openStore(cfg)
	if err != nil {
		return nil, err
	}
	a := &app{log: p.background(where), cfg: cfg, files: files, store: store, guard: &netguard.Guard{}, proxies: proxies, unwatch: files.watch()}
	a.desk = action.NewDesk(action.DeskOptions{
		Port: cfg.Login.Port, Timeout: cfg.Login.Timeout, Open: p.opener(cfg), Own: a.guard.Own, Logger: p.log,
	})
	private := where.private
	if cfg.Network.Private != "" {
		private = auth.Private(cfg.Network.Private)
	}
	a.zones = &auth.Zones{Store: a.store, Desk: a.desk, Private: private, Allowed: a.allowed}
	a.base = outbound.New(outbound.Options{
		Guard: a.guard, Material: a.material, Rules: a.zones.Rules, Proxy: a.proxies.on,
		UserAgent: "mcp-authfetch/" + version(), Logger: p.background(where),
	})
	a.flows = login.New(login.Options{
		Transport: a.base, Store: a.store, Desk: a.desk, Headless: p.headless(cfg), ClientMetadataURL: cfg.Login.ClientMetadataURL,
		Settings: a.settings, Certificate: a.certificate, Logger: p.log,
		MaySend: func(ctx context.Context, issuer, endpoint string) error {
			return a.zones.CheckEndpoint(ctx, issuer, endpoint, a.isIssuer(issuer))
		},
	})
	a.fetch = fetch.New(fetch.Options{Transport: a.transport(nil, p.log), Credentialed: auth.Credentialed, Secrets: auth.Secrets})
	return a, nil
}

// transport is the heart of it all; observe is told what is read of metadata.
func (a *app) transport(observe func(discovery.Step), log *slog.Logger) *auth.Transport {
	return auth.New(auth.Options{
		Base: a.base, Discovery: discovery.New(discovery.Options{Transport: a.base, AllowHTTP: a.plaintext, Observe: observe}),
		Login: a.flows, Store: a.store, Zones: a.zones,
		Site: a.site, Client: a.client, Certificate: a.certificate, Issuer: a.isIssuer, Logger: log,
	})
}

// closeTime bounds how long a process that ends waits for answers that it would lose.
const closeTime = 10 * time.Second

// close ends what still waits for a person, waits for what issuers are handing out, and frees
// connections.
func (a *app) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	a.desk.Close()
	a.flows.Wait(ctx)
	a.base.CloseIdleConnections()
	a.unwatch()
	a.files.close()
}

// allowed reports whether the config names o: as a site, as an issuer, or under network.allow.
func (a *app) allowed(o origin.Origin) bool {
	if a.cfg.Site(o) != nil || slices.Contains(a.cfg.Network.Allow, o) {
		return true
	}
	for issuer := range a.cfg.Issuers {
		if isAt(issuer, o) {
			return true
		}
	}
	return slices.ContainsFunc(a.cfg.Sites, func(s config.Site) bool {
		return s.OAuth != nil && (isAt(s.OAuth.Issuer, o) || s.OAuth.Subject != nil && isAt(s.OAuth.Subject.Issuer, o))
	})
}

// isIssuer reports whether the config names issuer as one: under issuers, or as that of a site.
func (a *app) isIssuer(issuer string) bool {
	if _, ok := a.cfg.Issuers[issuer]; ok {
		return true
	}
	return slices.ContainsFunc(a.cfg.Sites, func(s config.Site) bool {
		return s.OAuth != nil && (s.OAuth.Issuer == issuer || s.OAuth.Subject != nil && s.OAuth.Subject.Issuer == issuer)
	})
}

func isAt(issuer string, o origin.Origin) bool {
	at, err := origin.OfURL(issuer)
	return err == nil && at == o
}

// plaintext reports whether OAuth may run over plain http at o.
func (a *app) plaintext(o origin.Origin) bool { return o.IsLoopback() && a.cfg.Site(o) != nil }

func (a *app) material(o origin.Origin) *tlsmat.Material {
	if s := a.cfg.Site(o); s != nil && s.MTLS != "" {
		return a.sources[s.MTLS].Current()
	}
	return nil
}

func (a *app) site(o origin.Origin) auth.Site {
	s := a.cfg.Site(o)
	if s == nil {
		return auth.Site{}
	}
	site := auth.Site{Configured: true}
	if s.OAuth != nil {
		site.Issuer, site.Scopes, site.Grant = s.OAuth.Issuer, s.OAuth.Scopes, s.OAuth.Grant
		site.Legacy = s.OAuth.Discovery == "mcp-2025-03-26"
		if subject := s.OAuth.Subject; subject != nil {
			site.Subject = login.Subject{
				Token: func(context.Context) (secret.Text, error) { return subject.Token() },
				Type:  subject.Type, At: subject.Issuer, Client: a.client(subject.Issuer),
			}
		}
	}
	for _, h := range s.Headers {
		site.Headers = append(site.Headers, auth.Header(h))
	}
	return site
}

func (a *app) client(issuer string) login.Credentials {
	c := a.cfg.Issuers[issuer]
	return login.Credentials{ID: c.ClientID, Secret: c.ClientSecret, AuthMethod: c.TokenEndpointAuthMethod, Key: a.keys[issuer]}
}

// certificate is our client certificate at o, nil where there is none.
func (a *app) certificate(o origin.Origin) *x509.Certificate { return a.material(o).Leaf() }

func (a *app) settings(issuer string) login.Settings {
	c := a.cfg.Issuers[issuer]
	return login.Settings{
		Resource: c.Resource, AuthorizeParams: c.AuthorizeParams, TokenParams: c.TokenParams,
		RedirectHost: c.RedirectHost, RedirectPort: c.RedirectPort, PKCE: c.PKCE, DPoP: c.DPoP,
	}
}

// failedStatus is the error that a page of status 400 or more stands for, else nil.
func (a *app) failedStatus(page *fetch.Page) error {
	if page.Status < 400 {
		return nil
	}
	if why := a.explainStatus(page); why != nil {
		return why
	}
	return &statusError{page.Status}
}

// explainStatus tells what an error status means: that a certificate is wanted, or a sign-in that
// is not OAuth.
func (a *app) explainStatus(page *fetch.Page) error {
	o, err := origin.Of(page.FinalURL)
	if err != nil {
		return nil
	}
	if f := tlsfault.ExplainStatus(page.Response, page.Body, o.Host(), a.material(o), outbound.Seen(page.Response)); f != nil {
		a.log.Warn("TLS failure", "host", o.Host(), "code", f.Code(), "error", f, "hint", f.Hint())
		return f
	}
	return auth.Explain(page.Response)
}
