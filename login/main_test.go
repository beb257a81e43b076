package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	soon     = 20 * time.Second
	resource = "https://wiki.example/docs?x=1"
)

// world is everything one login needs.
type world struct {
	*Flows
	t      testing.TB
	issuer *oauthtest.Issuer
	store  *tokenstore.Memory
	desk   *action.Desk
	server *discovery.AuthServer
	person *oauthtest.Person
	log    *bytes.Buffer // of the flows and the desk; read it when all is done
}

type options struct {
	headless bool
	desk     action.DeskOptions
	wrap     func(http.RoundTripper) http.RoundTripper
	flows    func(*Options)
	roots    *x509.CertPool // of an issuer with TLS
}

func newWorld(t testing.TB, i oauthtest.IssuerOptions, o options) *world {
	t.Helper()
	issuer, err := oauthtest.NewIssuer(i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	return newWorldAt(t, issuer, o)
}

func newWorldAt(t testing.TB, issuer *oauthtest.Issuer, o options) *world {
	t.Helper()
	var transport http.RoundTripper = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: o.roots}}
	if o.wrap != nil {
		transport = o.wrap(transport)
	}
	w := &world{t: t, issuer: issuer, store: tokenstore.NewMemory(), person: oauthtest.NewPerson(o.roots), log: new(bytes.Buffer)}
	logger := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.desk.Logger = logger
	if o.desk.Open == nil {
		o.desk.Open = func(context.Context, string) error { return nil }
	}
	w.desk = action.NewDesk(o.desk)
	t.Cleanup(w.desk.Close)
	opts := Options{Transport: transport, Store: w.store, Desk: w.desk, Headless: o.headless, Logger: logger}
	if o.flows != nil {
		o.flows(&opts)
	}
	w.Flows = New(opts)
	w.server = metadata(t, issuer)
	issuer.Log.Reset()
	return w
}

func metadata(t testing.TB, issuer *oauthtest.Issuer) *discovery.AuthServer {
	t.Helper()
	c := discovery.New(discovery.Options{Transport: inProcess(issuer), AllowHTTP: func(origin.Origin) bool { return true }})
	s, err := c.AuthServer(t.Context(), issuer.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inProcess answers with h, without a network.
func inProcess(h http.Handler) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		in := r.Clone(r.Context())
		if in.Body == nil {
			in.Body = http.NoBody
		}
		h.ServeHTTP(rec, in)
		resp := rec.Result()
		resp.Request = r
		return resp, nil
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *world) request() Request {
	return Request{
		Principal: principal.Local, Origin: mustOrigin(w.t, "https://wiki.example"), Resource: resource,
		Server: w.server, Scopes: []string{"wiki.read", "wiki.list"},
	}
}

func mustOrigin(t testing.TB, s string) origin.Origin {
	t.Helper()
	o, err := origin.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (w *world) start(req Request) *action.Action {
	w.t.Helper()
	a, err := w.Start(context.Background(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { a.End(action.ErrClosed) })
	return a
}

// signIn starts a login and lets the person agree.
func (w *world) signIn(req Request) error {
	w.t.Helper()
	a := w.start(req)
	said := w.person.Continue(w.t.Context(), a.Prompt().URL)
	if said != nil {
		w.t.Log(said)
	}
	err := wait(w.t, a)
	if err == nil && said != nil {
		w.t.Fatal(said)
	}
	return err
}

func (w *world) deny(req Request) error {
	w.t.Helper()
	a := w.start(req)
	if err := w.person.Deny(w.t.Context(), a.Prompt().URL); err != nil {
		w.t.Log(err)
	}
	return wait(w.t, a)
}

func wait(t testing.TB, a *action.Action) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	err := a.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatal("the login has not ended")
	}
	return err
}

// token returns what is stored for the request, nil where nothing is.
func (w *world) token() *tokenstore.Token {
	w.t.Helper()
	tok, err := tokenstore.GetToken(context.Background(), w.store, tokenstore.TokenKey(principal.Local, resource, w.server.Issuer))
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

func (w *world) registration() *tokenstore.Client {
	w.t.Helper()
	c, err := tokenstore.GetClient(context.Background(), w.store, tokenstore.ClientKey(principal.Local, w.server.Issuer))
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// received returns the requests for a path of the issuer.
func (w *world) received(path string) []oauthtest.Event { return w.issuer.Log.Find("issuer", path) }

// one returns the only request for a path.
func (w *world) one(path string) oauthtest.Event {
	w.t.Helper()
	all := w.received(path)
	if len(all) != 1 {
		w.t.Fatalf("%d requests for %s, want 1", len(all), path)
	}
	return all[0]
}

var equalSecrets = cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b.Reveal()) })

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

// at returns flows whose every request is answered by h, without a network, and a request to it.
func at(t testing.TB, h http.HandlerFunc) (*Flows, *tokenstore.Memory, Request) {
	t.Helper()
	return atTransport(t, inProcess(h))
}

func atTransport(t testing.TB, transport http.RoundTripper) (*Flows, *tokenstore.Memory, Request) {
	t.Helper()
	store := tokenstore.NewMemory()
	f := New(Options{Transport: transport, Store: store, Desk: action.NewDesk(action.DeskOptions{Timeout: time.Hour}), Headless: true})
	return f, store, Request{
		Principal: principal.Local, Origin: mustOrigin(t, "https://wiki.example"), Resource: resource, Scopes: []string{"wiki.read"},
		Client: Credentials{ID: "configured", Secret: secret.New("CANARY-client-secret")},
		Server: &discovery.AuthServer{
			Issuer: "https://login.example", TokenEndpoint: "https://login.example/token",
			DeviceAuthorizationEndpoint: "https://login.example/device_authorization", RegistrationEndpoint: "https://login.example/register",
			AuthorizationEndpoint: "https://login.example/authorize", CodeChallengeMethodsSupported: []string{"S256"},
		},
	}
}

// says answers every request the same.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func saysJSON(status int, body string) http.HandlerFunc {
	return says(status, "application/json", body)
}

func contains(t testing.TB, what, got string, want ...string) {
	t.Helper()
	for _, s := range want {
		if !strings.Contains(got, s) {
			t.Errorf("%s is %q, want %q in it", what, got, s)
		}
	}
}

// authorize makes the authorization request of a browser login.
func authorize(t testing.TB, f *Flows, req Request, c Credentials) action.Next {
	t.Helper()
	g, err := f.settle(t.Context(), req, c)
	if err != nil {
		t.Fatal(err)
	}
	next, err := f.authorizationRequest(t.Context(), g, "http://127.0.0.1:1/callback")
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// hint fails unless err is a *E with the code, and hints at what is wanted.
func hint[E interface {
	error
	Code() string
	Hint() string
}](t testing.TB, err error, code string, want ...string) {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want a %T", err, e)
	}
	if e.Code() != code {
		t.Errorf("code %q, want %q", e.Code(), code)
	}
	contains(t, "error and hint", e.Error()+" | "+e.Hint(), want...)
}

// settings are those of every issuer.
func settings(s Settings) func(*Options) {
	return func(o *Options) { o.Settings = func(string) Settings { return s } }
}

// unreadable is a store whose disk fails.
type unreadable struct{ tokenstore.Store }

func (unreadable) Get(context.Context, tokenstore.Key) ([]byte, error) {
	return nil, errors.New("input/output error")
}

// robotToken gets a token without a person.
func robotToken(t testing.TB, f *Flows, req Request) (*tokenstore.Token, error) {
	t.Helper()
	req.Grant = ClientCredentials
	return f.Obtain(t.Context(), req)
}

func isClientRefused(err error) bool {
	_, ok := errors.AsType[*ClientRefusedError](err)
	return ok
}
