package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor [URL]", Short: "Check config, certificates and store, then every step towards a URL", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &doctor{}
			if a := d.local(p); a != nil {
				defer a.close()
				if len(args) == 1 {
					d.remote(cmd.Context(), a, args[0])
				}
			}
			if err := d.print(p, asJSON); err != nil {
				return err
			}
			if d.exit != exitOK {
				return &checkError{d.exit}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// check is one line of doctor.
type check struct {
	Name   string   `json:"name"`
	OK     bool     `json:"ok"`
	Result string   `json:"result"`
	Facts  []string `json:"facts,omitempty"`
	Code   string   `json:"code,omitempty"`
	Remedy string   `json:"remedy,omitempty"`
}

// doctor collects checks; the first failure decides the exit code.
type doctor struct {
	checks []check
	exit   int
}

func (d *doctor) pass(name, result string, facts ...string) {
	d.checks = append(d.checks, check{Name: name, OK: true, Result: result, Facts: facts})
}

func (d *doctor) fail(name string, err error, facts ...string) {
	d.checks = append(d.checks, check{Name: name, Result: sanitize.Text(err.Error()), Facts: facts, Code: errorCode(err), Remedy: sanitize.Text(errorHint(err))})
	if d.exit == exitOK {
		d.exit = exitCode(err)
	}
}

// local checks what needs no network. It returns nil where going on makes no sense.
func (d *doctor) local(p *program) *app {
	path, _ := p.configPath()
	cfg, err := p.loadConfig()
	if err != nil {
		d.fail("config", err)
		return nil
	}
	where := cfg.Path
	if where == "" {
		where = "no file at " + path
	}
	d.pass("config", fmt.Sprintf("%s: %d sites, %d certificate entries, %d issuers", where, len(cfg.Sites), len(cfg.MTLS), len(cfg.Issuers)), cfg.Warnings...)
	materials, err := loadMaterials(cfg)
	for _, name := range slices.Sorted(maps.Keys(materials)) {
		m := materials[name]
		d.pass("certificate "+name, "loaded", append(m.Facts(), m.Warnings()...)...)
	}
	if err != nil {
		d.fail("certificates", err)
		return nil
	}
	a, err := p.build(appOptions{private: auth.AskPrivate})
	if err != nil {
		d.fail("store", err)
		return nil
	}
	d.checkStore(a)
	return a
}

func (d *doctor) checkStore(a *app) {
	ctx := principal.With(context.Background(), principal.Local)
	all, err := accounts(ctx, a.store)
	if err != nil {
		d.fail("store", err)
		return
	}
	where := "memory"
	var facts []string
	if f, ok := a.store.(*tokenstore.File); ok {
		where, facts = f.Dir(), f.Warnings()
	}
	d.pass("store", fmt.Sprintf("%s: %d records", where, len(all)), facts...)
}

// remote goes towards a URL step by step, and stops at the first step that fails.
func (d *doctor) remote(ctx context.Context, a *app, raw string) {
	u, err := fetch.ParseURL(raw)
	if err != nil {
		d.fail("url", err)
		return
	}
	o, err := origin.Of(u)
	if err != nil {
		d.fail("url", err)
		return
	}
	if !d.address(ctx, a, o) {
		return
	}
	resp := d.request(ctx, a, o, u)
	if resp == nil {
		return
	}
	d.challenge(ctx, a, o, u, resp)
}

// address resolves the name and tells the zones of its addresses.
func (d *doctor) address(ctx context.Context, a *app, o origin.Origin) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rules, err := a.zones.Rules(ctx, o)
	if err != nil {
		d.fail("address", err)
		return false
	}
	if a.cfg.Network.Proxy != nil {
		d.pass("address", "through the proxy "+a.cfg.Network.Proxy.Host)
		return true
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", o.Host())
	if ip, perr := netip.ParseAddr(o.Host()); perr == nil {
		addrs, err = []netip.Addr{ip}, nil
	}
	if err != nil {
		d.fail("address", &lookupError{o.Host(), err})
		return false
	}
	var facts []string
	for _, ip := range addrs {
		zone := netguard.Classify(ip)
		facts = append(facts, fmt.Sprintf("%s (%s)", ip.Unmap(), zone))
		if !rules.Allow(zone) {
			d.fail("address", &netguard.DeniedError{Host: o.Host(), Addr: ip, Zone: zone}, facts...)
			return false
		}
	}
	d.pass("address", o.Host()+" is "+strings.Join(facts, ", "))
	return true
}

// lookupError: a name could not be resolved.
type lookupError struct {
	host string
	err  error
}

func (e *lookupError) Error() string { return "the name " + e.host + " cannot be resolved" }
func (e *lookupError) Unwrap() error { return e.err }
func (e *lookupError) Code() string  { return "network.dns" }
func (e *lookupError) Hint() string {
	return "check the name, and whether you are on the right network or VPN"
}

// request sends one request without a token, and tells what TLS and HTTP gave.
func (d *doctor) request(ctx context.Context, a *app, o origin.Origin, u *url.URL) *http.Response {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		d.fail("request", err)
		return nil
	}
	resp, err := a.base.RoundTrip(req)
	if err != nil {
		d.fail("connection", err)
		return nil
	}
	_ = resp.Body.Close()
	if s := resp.TLS; s != nil {
		facts := []string{"server certificate: " + sanitize.Line(s.PeerCertificates[0].Subject.String(), 200) +
			", valid until " + s.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)}
		seen := outbound.Seen(resp)
		switch {
		case seen == nil || !seen.Asked():
			facts = append(facts, "client certificate: not asked for")
		case seen.Sent():
			facts = append(facts, "client certificate: asked for, and sent")
		default:
			facts = append(facts, "client certificate: asked for; none is configured for this site")
		}
		if seen != nil && len(seen.AcceptableCAs()) > 0 {
			facts = append(facts, "the server accepts certificates of: "+strings.Join(seen.AcceptableCAs(), "; "))
		}
		d.pass("tls", tls.VersionName(s.Version), facts...)
	}
	d.pass("http", fmt.Sprintf("%s answered with status %d", o, resp.StatusCode))
	return resp
}

// challenge follows what the answer says about signing in.
func (d *doctor) challenge(ctx context.Context, a *app, o origin.Origin, u *url.URL, resp *http.Response) {
	cs := challenge.Parse(resp.Header.Values("Www-Authenticate"))
	site := a.site(o)
	if len(cs) == 0 && resp.StatusCode != http.StatusUnauthorized && site.Issuer == "" {
		d.pass("sign-in", "not asked for")
		return
	}
	var schemes []string
	for _, c := range cs {
		schemes = append(schemes, sanitize.Line(c.Scheme, 40))
	}
	d.pass("challenge", fmt.Sprintf("status %d, schemes: %s", resp.StatusCode, orDash(strings.Join(schemes, ", "))))
	var steps []string
	disc := a.discovery(func(s discovery.Step) {
		steps = append(steps, fmt.Sprintf("%s: %s", s.URL, s.Outcome))
	})
	issuer := site.Issuer
	res, err := disc.Resource(ctx, u, challenge.ResourceMetadata(cs))
	var notFound *discovery.NotFoundError
	switch {
	case err == nil:
		d.pass("resource metadata", res.Resource, steps...)
		if issuer == "" && len(res.AuthorizationServers) > 0 {
			issuer = res.AuthorizationServers[0]
		}
	case errors.As(err, &notFound) && issuer != "":
		d.pass("resource metadata", "none; the config names the issuer", steps...)
	default:
		d.fail("resource metadata", err, steps...)
		return
	}
	if issuer == "" {
		d.fail("issuer", &auth.NoIssuerError{Origin: o})
		return
	}
	steps = nil
	server, err := disc.AuthServer(ctx, issuer)
	if err != nil {
		d.fail("authorization server", err, steps...)
		return
	}
	d.pass("authorization server", action.ShowIssuer(server.Issuer), steps...)
	d.client(ctx, a, site, server)
	d.token(ctx, a, o)
}

func (d *doctor) client(ctx context.Context, a *app, site auth.Site, server *discovery.AuthServer) {
	_, err := tokenstore.GetClient(ctx, a.store, tokenstore.ClientKey(principal.From(ctx), server.Issuer))
	switch {
	case site.Issuer == server.Issuer && a.client(server.Issuer).ID != "":
		d.pass("client", "configured under issuers")
	case err == nil:
		d.pass("client", "registered earlier")
	case server.RegistrationEndpoint != "":
		d.pass("client", "will be registered at the first login")
	default:
		d.fail("client", &noClientError{server.Issuer})
	}
}

// noClientError: there is no way to get a client at an issuer.
type noClientError struct{ issuer string }

func (e *noClientError) Error() string {
	return "none is configured, and " + action.ShowIssuer(e.issuer) + " registers none by itself"
}
func (e *noClientError) Code() string { return "oauth.no_client" }
func (e *noClientError) Hint() string {
	return "register a native client there (redirect URI http://127.0.0.1/callback), put its client_id under issuers, and name the issuer in the site's oauth.issuer"
}

func (d *doctor) token(ctx context.Context, a *app, o origin.Origin) {
	tokens, err := tokenstore.Tokens(ctx, a.store, principal.From(ctx))
	if err != nil {
		d.fail("login", err)
		return
	}
	for _, t := range tokens {
		if !isAt(t.Resource, o) {
			continue
		}
		switch {
		case t.Expiry.IsZero() || time.Now().Before(t.Expiry):
			d.pass("login", "stored")
		case !t.RefreshToken.IsZero():
			d.pass("login", "expired; it is renewed at the next use")
		default:
			d.pass("login", "expired; a person must sign in again")
		}
		return
	}
	d.pass("login", "none stored: a person must sign in at the first fetch")
}

func (d *doctor) print(p *program, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(d.checks)
	}
	var b strings.Builder
	for _, c := range d.checks {
		mark := "✓"
		if !c.OK {
			mark = "✗"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", mark, c.Name, c.Result)
		for _, f := range c.Facts {
			fmt.Fprintf(&b, "    %s\n", f)
		}
		if c.Remedy != "" {
			fmt.Fprintf(&b, "    → %s\n", c.Remedy)
		}
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}
