package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

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
	if s := a.cfg.Site(o); s != nil && s.MTLS != "" && a.sources[s.MTLS] == nil {
		return // its entry cannot be used, as was said
	}
	if !d.address(ctx, a, o) || !d.connection(ctx, a, o) {
		return
	}
	resp := d.request(ctx, a, o, u)
	if resp == nil {
		return
	}
	d.challenge(ctx, a, o, resp)
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
	if proxy := a.proxies.on(o); proxy != nil && !o.IsLoopback() {
		d.pass("address", "through "+proxy.String()+" ("+proxy.Setting+")")
		return true
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", o.Host()) // an address is its own
	if err != nil {
		d.fail("address", &lookupError{o.Host(), err})
		return false
	}
	var facts []string
	for _, ip := range addrs {
		zone := netguard.Classify(ip)
		facts = append(facts, fmt.Sprintf("%s (%s)", ip.Unmap(), zone))
		if !rules.Allow(zone) && a.zones.Private == auth.AskPrivate && zone != netguard.Never {
			facts = append(facts, "a fetch would ask a person to allow it")
		}
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

// request sends one request without a token, and tells what HTTP gave.
func (d *doctor) request(ctx context.Context, a *app, o origin.Origin, u *url.URL) *http.Response {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second) // a key may wait for a touch
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		d.fail("request", err)
		return nil
	}
	for _, h := range a.site(o).Headers {
		req.Header.Set(h.Name, h.Value.Reveal())
	}
	resp, err := a.base.RoundTrip(req)
	if err != nil {
		d.fail("connection", err)
		return nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10)) // what there is of it is enough to explain
	if why := a.explainStatus(&fetch.Page{FinalURL: u, Status: resp.StatusCode, Body: body, Response: resp}); why != nil {
		d.fail("http", why)
		return nil
	}
	var facts []string
	if to := resp.Header.Get("Location"); to != "" {
		facts = append(facts, "it leads to "+to)
	}
	d.pass("http", fmt.Sprintf("%s answered with status %d", o, resp.StatusCode), facts...)
	if showsSignIn(u, resp, body) {
		d.fail("sign-in", &signInError{o.String()})
		return nil
	}
	return resp
}

// showsSignIn reports whether a page, or where it leads, is one to sign in at, without a challenge.
func showsSignIn(u *url.URL, resp *http.Response, body []byte) bool {
	if _, asked := challenge.OAuth(challenge.Parse(resp.Header.Values("Www-Authenticate"))); asked {
		return false
	}
	if to, err := resp.Location(); err == nil {
		return (&fetch.RedirectError{From: u, To: to, Reason: fetch.CrossOrigin}).SignIn()
	}
	return (&fetch.Page{URL: u, FinalURL: u, Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: body}).SignIn()
}

// challenge follows what the answer says about signing in, as a fetch would.
func (d *doctor) challenge(ctx context.Context, a *app, o origin.Origin, resp *http.Response) {
	var schemes []string
	for _, c := range challenge.Parse(resp.Header.Values("Www-Authenticate")) {
		schemes = append(schemes, sanitize.Line(c.Scheme, 40))
	}
	shown := orDash(strings.Join(schemes, ", "))
	var steps []discovery.Step
	plan, err := a.transport(func(s discovery.Step) { steps = append(steps, s) }, nil).Plan(ctx, resp)
	if plan == nil && err == nil && resp.StatusCode >= 400 {
		d.fail("sign-in", &statusError{resp.StatusCode})
		return
	}
	if plan == nil && err == nil {
		d.pass("sign-in", "not asked for by OAuth; schemes: "+shown)
		return
	}
	if _, ok := errors.AsType[*auth.PlaintextError](err); ok && plan == nil {
		d.fail("challenge", err)
		return
	}
	d.pass("challenge", fmt.Sprintf("status %d, schemes: %s", resp.StatusCode, shown))
	if plan == nil {
		d.fail("resource metadata", err, outcomes(steps)...)
		return
	}
	res := plan.Resource
	ofResource := func(s discovery.Step) bool {
		return s.URL == res.URL || strings.Contains(s.URL, "/.well-known/oauth-protected-resource")
	}
	facts := append(outcomes(filter(steps, ofResource)), signedFacts(res.SignedMetadata)...)
	if res.URL == "" {
		d.pass("resource metadata", "none; the config names the issuer", facts...)
	} else {
		d.pass("resource metadata", res.Resource, facts...)
	}
	facts = outcomes(filter(steps, func(s discovery.Step) bool { return !ofResource(s) }))
	if plan.Request == nil {
		d.fail("authorization server", err, facts...)
		return
	}
	server := plan.Request.Server
	d.pass("authorization server", action.ShowIssuer(server.Issuer), append(facts, serverFacts(server)...)...)
	if err != nil {
		name := "sign-in"
		_, missing := errors.AsType[*login.ClientError](err)
		_, port := errors.AsType[*login.RedirectPortError](err)
		if missing || port {
			name = "client"
		}
		d.fail(name, err)
		return
	}
	d.client(ctx, a, plan.Request)
	if read := plan.Request.Subject.Token; read != nil {
		if _, err := read(ctx); err != nil {
			d.fail("subject token", &login.SubjectError{Origin: o, Err: err})
			return
		}
		d.pass("subject token", "can be read")
	}
	d.token(ctx, a, o, plan.Request)
}

// outcomes are steps as facts.
func outcomes(steps []discovery.Step) []string {
	var facts []string
	for _, s := range steps {
		facts = append(facts, fmt.Sprintf("%s: %s", s.URL, s.Outcome))
	}
	return facts
}

func filter(steps []discovery.Step, keep func(discovery.Step) bool) []discovery.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s discovery.Step) bool { return !keep(s) })
}

// signedFacts tell what became of signed_metadata (RFC 8414 §2.1).
func signedFacts(signed string) []string {
	if signed == "" {
		return nil
	}
	return []string{"signed_metadata: " + signed}
}

// serverFacts are what matters about an authorization server beyond its being there.
func serverFacts(s *discovery.AuthServer) []string {
	facts := signedFacts(s.SignedMetadata)
	if name, settings, source, ok := login.KnownIssuer(s.Issuer); ok {
		known := "known as " + name
		if lines := settingLines(settings); len(lines) > 0 {
			known += ", hence " + strings.Join(lines, ", ") + " (" + source + ")"
		}
		facts = append(facts, known)
	}
	if slices.Contains(s.DPoPSigningAlgValuesSupported, dpop.Algorithm) {
		facts = append(facts, "can bind tokens to a key (DPoP)")
	}
	if s.TLSClientCertificateBoundAccessTokens {
		facts = append(facts, "binds tokens to client certificates")
	}
	if s.RequirePushedAuthorizationRequests {
		facts = append(facts, "wants authorization requests pushed to it (PAR)")
	}
	return facts
}

func (d *doctor) client(ctx context.Context, a *app, req *login.Request) {
	issuer := req.Server.Issuer
	_, err := tokenstore.GetClient(ctx, a.store, tokenstore.ClientKey(req.Principal, issuer))
	switch {
	case req.Client.ID != "":
		d.pass("client", "configured under issuers")
	case login.Silent(req.Grant):
		d.pass("client", "none; the grant does without")
	case err == nil:
		d.pass("client", "registered earlier")
	default:
		d.pass("client", "is made known to the issuer at the first login")
	}
}

func (d *doctor) token(ctx context.Context, a *app, o origin.Origin, req *login.Request) {
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
		case login.Silent(req.Grant):
			d.pass("login", "expired; another is got at the next use, without a person")
		default:
			d.pass("login", "expired; a person must sign in again")
		}
		return
	}
	if login.Silent(req.Grant) {
		d.pass("login", "none stored: one is got at the first fetch, without a person")
		return
	}
	d.pass("login", "none stored: a person must sign in at the first fetch")
}
