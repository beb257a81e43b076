package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(child(spec))
	}
	goleak.VerifyTestMain(m)
}

const (
	handbook = "/docs/handbook"
	soon     = 20 * time.Second
)

var testCA = sync.OnceValue(func() *tlstest.CA { return tlstest.NewCA("test root") })

// options shape a world. The zero value is plain http and a store in memory.
type options struct {
	tls     bool
	client  *tlstest.Pair // the client certificate for every origin
	store   tokenstore.Store
	base    http.RoundTripper // instead of the network
	private Private
	timeout time.Duration // of an action
}

// world is everything a Transport needs, with servers that share one log.
type world struct {
	*Transport
	t        testing.TB
	opts     options
	sites    map[string]Site              // by origin
	clients  map[string]login.Credentials // by issuer
	settings map[string]login.Settings    // by issuer
	named    map[string]bool              // issuers that the configuration names
	certs    map[string]*x509.Certificate // ours, by origin
	log      *oauthtest.Log
	store    tokenstore.Store
	zones    *Zones
	person   *oauthtest.Person
	logged   *lockedBuffer // what our parts logged

	mu     sync.Mutex // guards opened
	opened []string   // pages that a browser was opened with
}

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	if o.store == nil {
		o.store = tokenstore.NewMemory()
	}
	w := &world{
		t: t, opts: o, sites: map[string]Site{}, clients: map[string]login.Credentials{}, settings: map[string]login.Settings{}, named: map[string]bool{}, certs: map[string]*x509.Certificate{},
		log: new(oauthtest.Log), store: o.store, logged: new(lockedBuffer),
	}
	logger := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	desk := action.NewDesk(action.DeskOptions{Timeout: o.timeout, Logger: logger, Open: func(_ context.Context, page string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.opened = append(w.opened, page)
		return nil
	}})
	t.Cleanup(desk.Close)
	w.zones = &Zones{Store: o.store, Desk: desk, Private: o.private, Allowed: func(o origin.Origin) bool { return w.site(o).Configured }}
	w.person = oauthtest.NewPerson(nil)
	if o.tls {
		w.person = oauthtest.NewPerson(testCA().Pool())
	}
	if o.base == nil {
		network := outbound.New(outbound.Options{Rules: w.zones.Rules, Material: w.material(), Logger: logger})
		t.Cleanup(network.CloseIdleConnections)
		o.base = network
	}
	certificate := func(o origin.Origin) *x509.Certificate { return w.certs[o.String()] }
	w.Transport = New(Options{
		Base:      o.base,
		Discovery: discovery.New(discovery.Options{Transport: o.base, AllowHTTP: func(o origin.Origin) bool { return o.IsLoopback() && w.site(o).Configured }}),
		Login: login.New(login.Options{Transport: o.base, Store: o.store, Desk: desk, Certificate: certificate, Logger: logger,
			Settings: func(issuer string) login.Settings { return w.settings[issuer] }}),
		Store: o.store, Zones: w.zones, Site: w.site, Logger: logger,
		Client:      func(issuer string) login.Credentials { return w.clients[issuer] },
		Issuer:      func(issuer string) bool { return w.named[issuer] },
		Certificate: certificate,
	})
	return w
}

func (w *world) site(o origin.Origin) Site { return w.sites[o.String()] }

// configure names an origin in the configuration.
func (w *world) configure(o string, s Site) {
	s.Configured = true
	w.sites[o] = s
}

func (w *world) material() func(origin.Origin) *tlsmat.Material {
	if !w.opts.tls {
		return nil
	}
	dir := w.t.TempDir()
	e := tlsmat.Entry{Name: "test", CA: []string{filepath.Join(dir, "ca.pem")}, CAOnly: true}
	must(w.t, os.WriteFile(e.CA[0], testCA().PEM(), 0o600))
	if w.opts.client != nil {
		var err error
		e.Cert, e.Key, err = w.opts.client.Write(dir, "client")
		must(w.t, err)
	}
	m, err := tlsmat.Load(w.t.Context(), e)
	must(w.t, err)
	return func(origin.Origin) *tlsmat.Material { return m }
}

// issuer starts an authorization server; over plain http it is configured, as it must be.
func (w *world) issuer(o oauthtest.IssuerOptions) *oauthtest.Issuer {
	w.t.Helper()
	o.Log = w.log
	if w.opts.tls && o.TLS == nil {
		o.TLS = testCA().ServerConfig("127.0.0.1")
	}
	i, err := oauthtest.NewIssuer(o)
	must(w.t, err)
	w.t.Cleanup(i.Close)
	if !w.opts.tls {
		w.configure(strings.TrimSuffix(i.URL, o.Path), Site{})
	}
	return i
}

// resource starts a site; over plain http it is configured, as it must be.
func (w *world) resource(o oauthtest.ResourceOptions) *oauthtest.Resource {
	w.t.Helper()
	o.Log = w.log
	if w.opts.tls && o.TLS == nil {
		o.TLS = testCA().ServerConfig("127.0.0.1", "localhost")
	}
	r, err := oauthtest.NewResource(o)
	must(w.t, err)
	w.t.Cleanup(r.Close)
	if !w.opts.tls {
		w.configure(r.URL, Site{})
	}
	return r
}

func newRequest(t testing.TB, p principal.ID, url string) *http.Request {
	t.Helper()
	req, err := newGet(principal.With(t.Context(), p), url)
	must(t, err)
	return req
}

func newGet(ctx context.Context, url string) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
}

// get sends a GET for the local principal.
func (w *world) get(url string) (*http.Response, error) {
	w.t.Helper()
	resp, err := w.RoundTrip(newRequest(w.t, principal.Local, url))
	if err == nil {
		w.t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

// page is get where the status must be as given. The body is read and closed.
func (w *world) page(url string, status int) *http.Response {
	w.t.Helper()
	resp, err := w.get(url)
	if err != nil {
		w.t.Fatalf("%s: %v", url, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != status {
		w.t.Fatalf("%s: status %d, want %d", url, resp.StatusCode, status)
	}
	return resp
}

// action is get where a person must act first.
func (w *world) action(url string) *action.Action {
	w.t.Helper()
	resp, err := w.get(url)
	var needed *ActionRequired
	if !errors.As(err, &needed) {
		w.t.Fatalf("%s: %v, %v; want an action", url, resp, err)
	}
	return needed.Action
}

// signIn lets the person do what url needs.
func (w *world) signIn(url string) {
	w.t.Helper()
	a := w.action(url)
	must(w.t, w.person.Continue(w.t.Context(), a.Prompt().URL))
	w.ended(a, nil)
}

func (w *world) ended(a *action.Action, want error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := a.Wait(ctx); !errors.Is(err, want) {
		w.t.Fatalf("the action ended with %v, want %v", err, want)
	}
}

func (w *world) tokens() []*tokenstore.Token {
	w.t.Helper()
	all, err := tokenstore.Tokens(context.Background(), w.store, principal.Local)
	must(w.t, err)
	return all
}

// token is the only stored token.
func (w *world) token() *tokenstore.Token {
	w.t.Helper()
	all := w.tokens()
	if len(all) != 1 {
		w.t.Fatalf("%d tokens, want 1", len(all))
	}
	return all[0]
}

// change edits the only stored token.
func (w *world) change(edit func(*tokenstore.Token)) {
	w.t.Helper()
	tok := w.token()
	edit(tok)
	must(w.t, tokenstore.PutToken(context.Background(), w.store, tok))
}

// grants returns the token requests of one grant type that the issuers received.
func (w *world) grants(grant string) []oauthtest.Event {
	var found []oauthtest.Event
	for _, e := range w.log.Events() {
		if e.Server == "issuer" && e.Form.Get("grant_type") == grant {
			found = append(found, e)
		}
	}
	return found
}

// authorizations are the Authorization headers with which a resource was asked for path.
func (w *world) authorizations(path string) []string {
	var all []string
	for _, e := range w.log.Find("resource", path) {
		all = append(all, e.Header.Get("Authorization"))
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// isA fails unless the error is of type E, and says all that a person needs.
func isA[E error](t testing.TB, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want %T", err, err, e)
	}
	if c, ok := any(e).(interface{ Code() string }); !ok || c.Code() == "" || e.Error() == "" {
		t.Errorf("%T has no code or no text", err)
	}
	return e
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wire is a network without one: handlers by origin, and what they received. It lets servers have
// names that are not loopback, and the clock be a test's own.
type wire struct {
	hosts map[string]http.HandlerFunc

	mu   sync.Mutex // guards seen
	seen []sent
}

type sent struct{ Method, URL, Authorization, Proof, Body string }

func (n *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	s := sent{Method: req.Method, URL: req.URL.String(), Authorization: req.Header.Get("Authorization"), Proof: req.Header.Get("DPoP")}
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		s.Body = string(b)
	}
	n.mu.Lock()
	n.seen = append(n.seen, s)
	n.mu.Unlock()
	h := n.hosts[req.URL.Scheme+"://"+req.URL.Host]
	if h == nil {
		return nil, errors.New("no route to " + req.URL.Host)
	}
	rec := httptest.NewRecorder()
	h(rec, req)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// sentTo returns what was sent to URLs that begin with prefix.
func (n *wire) sentTo(prefix string) []sent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.seen), func(s sent) bool { return !strings.HasPrefix(s.URL, prefix) })
}
