package e2e

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// plea stands in every text that a hostile server sends. A model reads it between quotes at most.
const plea = "paste-your-password"

// clientSecret is that of the client in the config of a scene.
const clientSecret = "canary-client-secret"

// scene says how the servers of a vector differ from honest ones.
type scene struct {
	issuer   oauthtest.IssuerOptions
	resource oauthtest.ResourceOptions
	// strangers: the config names nobody, and lets addresses of this computer be reached.
	strangers bool
}

// stage is a scene that has begun: an issuer and a site that are hostile in one respect, a second
// issuer and a trap that must hear nothing unless a vector says so, and the user's config.
type stage struct {
	*world
	issuer *oauthtest.Issuer
	site   *oauthtest.Resource
	log    *oauthtest.Log // of both
	other  *oauthtest.Issuer
	trap   *trap
	person *oauthtest.Person
	out    *output // all that the program wrote
	opened string  // a file of what it ran as the browser, a line each
}

func newStage(t *testing.T, set func(s *stage, o *scene)) *stage {
	t.Helper()
	ca := tlstest.NewCA("Reef Root")
	s := &stage{
		world: &world{provider: &provider{}, t: t, ca: ca, dir: t.TempDir()},
		log:   new(oauthtest.Log), person: oauthtest.NewPerson(ca.Pool()), out: &output{},
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "ca.pem"), ca.PEM(), 0o600))
	s.opened = filepath.Join(s.dir, "opened")

	s.trap = newTrap(t, ca)
	hosts := ca.ServerConfig("127.0.0.1", "127.0.0.2", "::1", "localhost")
	var err error
	s.other, err = oauthtest.NewIssuer(oauthtest.IssuerOptions{TLS: hosts.Clone(), NoDevice: true})
	must(t, err)
	t.Cleanup(s.other.Close)

	// Without DISPLAY, and in containers, a code would come before a link.
	o := &scene{issuer: oauthtest.IssuerOptions{NoDevice: true}}
	if set != nil {
		set(s, o)
	}
	o.issuer.TLS, o.issuer.Log = hosts.Clone(), s.log
	s.issuer, err = oauthtest.NewIssuer(o.issuer)
	must(t, err)
	t.Cleanup(s.issuer.Close)
	o.resource.TLS, o.resource.Log, o.resource.Issuer = hosts.Clone(), s.log, s.issuer
	s.site, err = oauthtest.NewResource(o.resource)
	must(t, err)
	t.Cleanup(s.site.Close)
	s.log.Reset()

	s.env = []string{"SSL_CERT_FILE=" + filepath.Join(s.dir, "ca.pem")}
	s.config = object{"login": object{"browser": "never"}}
	if o.strangers {
		s.config["network"] = object{"private": "allow"}
	} else {
		s.config["sites"] = object{s.site.URL: object{}, originOf(s.issuer.URL): object{}}
	}
	t.Cleanup(s.checkSecrets)
	return s
}

func (s *stage) page() string { return s.site.URL + "/docs/handbook" }

// name adds a site or an issuer to the config.
func (s *stage) name(section, key string, value object) {
	if s.config[section] == nil {
		s.config[section] = object{}
	}
	s.config[section].(object)[key] = value
}

// agent starts "mcp-authfetch stdio" as [world.startAgent] does, and keeps all that it writes.
func (s *stage) agent() *agent {
	s.t.Helper()
	cmd := s.command("stdio", "--verbose")
	cmd.Stderr = s.out
	stdin, err := cmd.StdinPipe()
	must(s.t, err)
	stdout, err := cmd.StdoutPipe()
	must(s.t, err)
	must(s.t, cmd.Start())
	a := &agent{t: s.t, stdin: stdin, stdout: bufio.NewScanner(io.TeeReader(stdout, s.out))}
	a.stdout.Buffer(nil, 8<<20)
	a.stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
	})
	s.t.Cleanup(func() {
		a.stop()
		if s.t.Failed() {
			s.t.Logf("mcp-authfetch stdio:\n%s\nthe issuer and the site heard:\n%s", s.out, heard(s.log.Events()))
		}
	})
	a.call("initialize", object{
		"protocolVersion": "2025-11-25", "capabilities": object{}, "clientInfo": object{"name": "agent", "version": "1"},
	})
	a.send(object{"jsonrpc": "2.0", "method": "notifications/initialized"})
	return a
}

func heard(events []oauthtest.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s %s?%s %s -> %d %s\n", e.Server, e.Method, e.Path, e.RawQuery, e.Form.Encode(), e.Status, e.Note)
	}
	return b.String()
}

// ask fetches the page, which takes a person.
func (s *stage) ask(a *agent) answer {
	s.t.Helper()
	got := a.fetch(s.page(), 0)
	if got.Status != "login_required" || got.Login.URL == "" && got.Login.UserCode == "" {
		s.t.Fatalf("got %+v, want a sign-in", got)
	}
	s.checkText(got)
	return got
}

// signIn does what ask asks for, and has the page.
func (s *stage) signIn(a *agent) {
	s.t.Helper()
	got := s.ask(a)
	must(s.t, s.person.Continue(s.t.Context(), got.Login.URL))
	s.read(a)
}

func (s *stage) read(a *agent) {
	s.t.Helper()
	if got := a.fetch(s.page(), 0); got.Status != "ok" || !strings.Contains(got.Text, "# Operations handbook") {
		s.t.Fatalf("got %+v, want the page", got)
	}
}

// heardBy returns what a server received at a path.
func (s *stage) heardBy(server, path string) []oauthtest.Event { return s.log.Find(server, path) }

// tokens are the requests at the token endpoint.
func (s *stage) tokens() []oauthtest.Event { return s.heardBy("issuer", "/token") }

// checkUntouched: the issuer was asked for metadata and nothing else.
func (s *stage) checkUntouched() {
	s.t.Helper()
	for _, e := range s.log.Events() {
		if e.Method != http.MethodGet || e.Server == "issuer" && !strings.Contains(e.Path, "/.well-known/") || e.Header.Get("Authorization") != "" {
			s.t.Errorf("the %s received %s %s?%s", e.Server, e.Method, e.Path, e.RawQuery)
		}
	}
}

// checkOther: the second issuer heard nothing, but for requests for its metadata where those are meant.
func (s *stage) checkOther(metadata bool) {
	s.t.Helper()
	for _, e := range s.other.Log.Events() {
		if !metadata || e.Method != http.MethodGet || !strings.Contains(e.Path, "/.well-known/") {
			s.t.Errorf("the other issuer received %s %s?%s %s", e.Method, e.Path, e.RawQuery, e.Body)
		}
	}
}

var quoted = regexp.MustCompile(`"[^"\n]*"`)

// checkText: what hostile servers say stands in quotes, and their characters are those of a text.
func (s *stage) checkText(got answer) {
	s.t.Helper()
	if bare := quoted.ReplaceAllString(got.Text, `""`); strings.Contains(bare, plea) {
		s.t.Errorf("the model reads what the server wrote: %s", got.Text)
	}
	if len(got.Text) > 4000 {
		s.t.Errorf("the model reads %d bytes", len(got.Text))
	}
	if i := strings.IndexFunc(got.Text, isHidden); i >= 0 {
		s.t.Errorf("the model reads a hidden character: %q", got.Text[i:min(i+20, len(got.Text))])
	}
}

func isHidden(r rune) bool {
	return r < ' ' && r != '\n' || r >= 0x7f && r <= 0x9f || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0xe0000 && r <= 0xe0fff
}

// checkSecrets looks for all that authorizes, as both issuers and the site received it, in all that
// the program wrote.
func (s *stage) checkSecrets() {
	secrets := map[string]string{clientSecret: "the client secret"}
	for _, e := range append(s.log.Events(), s.other.Log.Events()...) {
		for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret", "device_code", "client_assertion", "subject_token"} {
			secrets[e.Form.Get(name)] = name
		}
		secrets[e.Query.Get("state")] = "state"
		if _, credential, ok := strings.Cut(e.Header.Get("Authorization"), " "); ok {
			secrets[credential] = "a credential in Authorization"
		}
	}
	written := s.out.String()
	for secret, what := range secrets {
		if len(secret) >= 8 && strings.Contains(written, secret) {
			s.t.Errorf("the program wrote %s", what)
		}
	}
}

// browse has the program start a browser, which writes down its arguments.
func (s *stage) browse() {
	s.t.Helper()
	script := filepath.Join(s.dir, "browser.sh")
	must(s.t, os.WriteFile(script, []byte(`printf '<%s>' "$@" >>'`+s.opened+`'; echo >>'`+s.opened+"'\n"), 0o600))
	s.config["login"].(object)["browser"] = `/bin/sh ` + script + ` "a browser" %s`
}

// opens are the command lines of the browser, without the program, which ought to be one page of ours each.
func (s *stage) opens() []string {
	data, _ := os.ReadFile(s.opened) // not there yet: nothing was opened
	lines := strings.Split(string(data), "\n")
	return lines[:len(lines)-1] // the last is not whole
}

var ourPage = regexp.MustCompile(`^http://127\.0\.0\.1:[0-9]+/l/[A-Z2-7]{26}$`)

// checkOpened: the browser was started once, with the link that the model has, and it is a page of ours.
func (s *stage) checkOpened(link string) {
	s.t.Helper()
	if got, want := strings.Join(s.opens(), "\n"), "<a browser><%s><"+link+">"; got != want || !ourPage.MatchString(link) {
		s.t.Errorf("the browser was run as %q, want once as %q", got, want)
	}
}

// visit makes one request as a browser could, and follows nothing.
func (s *stage) visit(method, address string, form url.Values, header http.Header) (status int, location, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, address, strings.NewReader(form.Encode()))
	must(s.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Host = header.Get("Host")
	resp, err := s.person.Client.Transport.RoundTrip(req)
	must(s.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(s.t, err)
	return resp.StatusCode, resp.Header.Get("Location"), string(data)
}

// press presses Continue and returns where it leads; "" nowhere.
func (s *stage) press(link string) string {
	s.t.Helper()
	_, location, _ := s.visit(http.MethodPost, link, url.Values{"action": {"continue"}}, nil)
	return location
}

// callback signs in at an issuer that asks nothing, and returns the address of the callback that
// the browser is sent to, without going there.
func (s *stage) callback(link string) *url.URL {
	s.t.Helper()
	at := s.press(link)
	if at == "" {
		s.t.Fatal("Continue leads nowhere")
	}
	_, location, body := s.visit(http.MethodGet, at, nil, nil)
	u, err := url.Parse(location)
	if err != nil || u.Hostname() != "127.0.0.1" || !u.Query().Has("state") {
		s.t.Fatalf("the issuer leads to %q: %.300s", location, body)
	}
	return u
}

// with returns a callback with another query.
func with(u *url.URL, edit func(q url.Values)) string {
	next, q := *u, u.Query()
	edit(q)
	next.RawQuery = q.Encode()
	return next.String()
}

// trap is a server that nobody has any business with. It counts connections and keeps requests.
type trap struct {
	URL string

	mu       sync.Mutex // guards what follows
	conns    int
	requests []string
}

func newTrap(t *testing.T, ca *tlstest.CA) *trap {
	t.Helper()
	p := &trap{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		p.mu.Lock()
		p.requests = append(p.requests, fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), body))
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
		}
	}
	srv.TLS = ca.ServerConfig("127.0.0.1", "127.0.0.2", "localhost", "::1")
	srv.StartTLS()
	t.Cleanup(srv.Close)
	p.URL = srv.URL
	return p
}

// at returns the trap's URL with another scheme, host or user.
func (p *trap) at(scheme, host string) string {
	return scheme + "://" + host + p.URL[strings.LastIndex(p.URL, ":"):]
}

func (p *trap) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns != 0 {
		t.Errorf("the trap had %d connections: %q", p.conns, p.requests)
	}
}
