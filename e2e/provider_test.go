package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// options are what a test wants of provider.mjs.
type options struct {
	Path         string           `json:"path"`         // of the issuer, "" or as "/tenant"
	Certificates string           `json:"certificates"` // where client certificates are asked for: "issuer", "alias" or nowhere
	Binding      string           `json:"binding"`      // of tokens that the site takes: "dpop", "certificate" or any
	Nonce        bool             `json:"nonce"`        // both ends want theirs in DPoP proofs
	Format       string           `json:"format"`       // of access tokens: "jwt" (default) or "opaque", which the site introspects
	Lifetime     int              `json:"lifetime"`     // of access tokens in seconds, 600 by default
	Clients      []map[string]any `json:"clients"`
	Features     map[string]any   `json:"features"`

	Key  string `json:"key"`
	Cert string `json:"cert"`
	CA   string `json:"ca"`
}

// on is a feature without further options.
var on = map[string]any{"enabled": true}

// provider is a running provider.mjs.
type provider struct {
	issuer, alias, site string

	stdin  io.Writer
	marks  chan struct{} // closed when it ends
	stderr *output

	mu     sync.Mutex // guards events
	events []event
}

// event is one line of provider.mjs.
type event struct {
	Kind          string            `json:"kind"` // ready, request, event or mark
	Name          string            `json:"name"`
	Server        string            `json:"server"` // issuer or site
	Method        string            `json:"method"`
	Path          string            `json:"path"` // without the issuer's own
	Status        int               `json:"status"`
	Query         map[string]string `json:"query"`
	Form          map[string]any    `json:"form"`
	Authorization string            `json:"authorization"`
	Nonce         string            `json:"nonce"`       // in the DPoP proof
	Proof         string            `json:"proof"`       // its jti
	Certificate   string            `json:"certificate"` // x5t#S256 of the client's
	AtAlias       bool              `json:"at_alias"`    // came to the issuer's other listener
	Error         any               `json:"error"`
	Description   string            `json:"description"`

	Issuer, Alias, Site string // of "ready"
}

func startProvider(t *testing.T, ca *tlstest.CA, o options) *provider {
	t.Helper()
	dir := needPackages(t)
	pair := ca.Issue(tlstest.Leaf{CN: "127.0.0.1", Hosts: []string{"127.0.0.1"}})
	o.Key, o.Cert, o.CA = string(pair.KeyPEM), string(pair.CertPEM), string(ca.PEM())
	if o.Format == "" {
		o.Format = "jwt"
	}
	if o.Lifetime == 0 {
		o.Lifetime = 600
	}
	if o.Clients == nil {
		o.Clients = []map[string]any{}
	}
	if o.Features == nil {
		o.Features = map[string]any{}
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	must(t, os.WriteFile(roots, ca.PEM(), 0o600))
	cmd := exec.Command(node(dir), "provider.mjs")
	cmd.Env = append(os.Environ(), "AUTHFETCH_E2E_NPM="+dir, "NODE_EXTRA_CA_CERTS="+roots)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	p := &provider{stdin: stdin, marks: make(chan struct{}), stderr: &output{}}
	cmd.Stderr = p.stderr
	must(t, cmd.Start())
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = stdin.Close() // it ends with its input, also where this process is killed
		late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		<-done
		_ = cmd.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("what the servers saw:\n%s", p)
		}
	})
	must(t, json.NewEncoder(stdin).Encode(o))
	ready := make(chan struct{})
	go func() {
		defer close(done)
		p.read(stdout, ready)
	}()
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
	}
	if p.issuer == "" {
		t.Fatalf("provider.mjs does not start:\n%s", p.stderr)
	}
	return p
}

// read takes in what provider.mjs prints until it ends. ready is closed when it serves, or ended.
func (p *provider) read(r io.Reader, ready chan struct{}) {
	serves := sync.OnceFunc(func() { close(ready) })
	defer serves()
	defer close(p.marks)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintf(p.stderr, "%q: %v\n", lines.Text(), err)
			return
		}
		switch e.Kind {
		case "ready":
			p.issuer, p.alias, p.site = e.Issuer, e.Alias, e.Site
			serves()
		case "mark":
			p.marks <- struct{}{}
		default:
			p.mu.Lock()
			p.events = append(p.events, e)
			p.mu.Unlock()
		}
	}
}

// catchUp waits until everything is read that was printed so far, by a provider that was started.
func (p *provider) catchUp() {
	if p.stdin == nil {
		return
	}
	if _, err := io.WriteString(p.stdin, "\n"); err == nil {
		<-p.marks
	}
}

// requests are those to path at a server, in order.
func (p *provider) requests(server, path string) []event {
	return p.find(func(e event) bool { return e.Kind == "request" && e.Server == server && e.Path == path })
}

// grants are the token requests of a grant type.
func (p *provider) grants(grantType string) []event {
	return p.find(func(e event) bool {
		return e.Kind == "request" && e.Server == "issuer" && e.Path == "/token" && e.Form["grant_type"] == grantType
	})
}

// happened counts the events of that name.
func (p *provider) happened(name string) int {
	return len(p.find(func(e event) bool { return e.Kind == "event" && e.Name == name }))
}

func (p *provider) find(wanted func(event) bool) []event {
	p.catchUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []event
	for _, e := range p.events {
		if wanted(e) {
			found = append(found, e)
		}
	}
	return found
}

// secrets are what the servers received and nobody else may see, with a name for each.
func (p *provider) secrets() map[string]string {
	all := map[string]string{}
	for _, e := range p.find(func(event) bool { return true }) {
		for _, name := range []string{"code", "code_verifier", "client_secret", "client_assertion", "device_code", "refresh_token", "token"} {
			if value, ok := e.Form[name].(string); ok && value != "" {
				all[value] = name
			}
		}
		if _, token, ok := strings.Cut(e.Authorization, " "); ok {
			all[token] = "Authorization"
		}
	}
	return all
}

// String is for the log of a test that failed.
func (p *provider) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := ""
	for _, e := range p.events {
		if e.Kind == "event" {
			text += fmt.Sprintf("event %s %v\n", e.Name, e.Error)
			continue
		}
		text += fmt.Sprintf("%-6s %-6s %s %d %v %v", e.Server, e.Method, e.Path, e.Status, e.Query, e.Form)
		if e.Status >= http.StatusBadRequest {
			text += fmt.Sprintf(" %v %s", e.Error, e.Description)
		}
		text += "\n"
	}
	return text + p.stderr.String()
}
