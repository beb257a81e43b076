package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tools"
)

func (p *program) demoCommand() *cobra.Command {
	var interactive bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Show the whole thing on this computer: a page behind a client certificate and a sign-in", Args: cobra.NoArgs,
		Long: "Starts an authorization server and a documentation site that wants a client certificate\n" +
			"and an access token, both on loopback; starts `mcp-authfetch stdio` as an agent would; and\n" +
			"calls webfetch. Needs no network and leaves nothing behind.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 12*time.Minute)
			defer cancel()
			d := &demo{program: p, interactive: interactive}
			defer d.close()
			return d.take(ctx, d.steps())
		},
	}
	cmd.Flags().BoolVar(&interactive, "interactive", false, "sign in yourself, in your browser")
	return cmd
}

// demo is one run: the world it sets up and the agent's side of it.
type demo struct {
	*program
	interactive bool
	self        string // the program that the agent starts; "": this one

	dir    string
	log    *oauthtest.Log
	issuer *oauthtest.Issuer
	site   *oauthtest.Resource
	config string
	agent  *client.Client
	said   bytes.Buffer // the stderr of the MCP server, shown where a step breaks; complete when d is closed
	link   string
	closer []func()
}

// stepError names the step of the demo that broke.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return "demo: " + e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }
func (e *stepError) Code() string  { return "demo" }

type step struct {
	name string
	do   func(context.Context) error
}

func (d *demo) steps() []step {
	return []step{
		{"starting the authorization server and the site", d.world},
		{"starting the MCP server", d.start},
		{"calling webfetch for the first time", d.first},
		{"signing in", d.signIn},
		{"calling webfetch again", d.second},
		{"checking what went over the wire", d.account},
	}
}

func (d *demo) take(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			d.close()
			_, _ = d.said.WriteTo(d.stderr)
			return &stepError{s.name, err}
		}
	}
	return nil
}

func (d *demo) close() {
	for _, c := range slices.Backward(d.closer) {
		c()
	}
	d.closer = nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }

func (d *demo) title(text string) { d.say("\n== %s", text) }

// world starts the two servers and writes the config that names them.
func (d *demo) world(context.Context) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "authfetch-demo-"); err != nil {
		return err
	}
	d.closer = append(d.closer, func() { _ = os.RemoveAll(d.dir) })
	d.log = new(oauthtest.Log)
	if d.issuer, err = oauthtest.NewIssuer(oauthtest.IssuerOptions{Log: d.log}); err != nil {
		return err
	}
	d.closer = append(d.closer, d.issuer.Close)
	ca := tlstest.NewCA("Demo CA")
	d.site, err = oauthtest.NewResource(oauthtest.ResourceOptions{
		TLS: ca.MutualConfig(ca, "127.0.0.1"), Issuer: d.issuer, Log: d.log, Scopes: []string{"docs.read"},
	})
	if err != nil {
		return err
	}
	d.closer = append(d.closer, d.site.Close)
	cert, key, err := ca.Issue(tlstest.Leaf{CN: "demo-client", Client: true}).Write(d.dir, "client")
	if err != nil {
		return err
	}
	roots := filepath.Join(d.dir, "ca.pem")
	if err := os.WriteFile(roots, ca.PEM(), 0o600); err != nil {
		return err
	}
	if err := d.writeConfig(cert, key, roots); err != nil {
		return err
	}
	d.title("The world")
	d.say("authorization server  %s", d.issuer.URL)
	d.say("documentation site    %s  (wants a client certificate and an access token)", d.site.URL)
	return nil
}

// writeConfig lets nobody open a browser: the link is printed, and whoever signs in opens it.
func (d *demo) writeConfig(cert, key, roots string) error {
	config := map[string]any{
		"mtls": map[string]any{"demo": map[string]any{"cert": cert, "key": key, "ca": roots, "ca_mode": "only"}},
		"sites": map[string]any{
			d.site.URL:   map[string]any{"mtls": "demo", "oauth": map[string]any{"grant": "authorization_code"}},
			d.issuer.URL: map[string]any{},
		},
		"login": map[string]any{"browser": "never"},
		"store": map[string]any{"path": filepath.Join(d.dir, "state")},
	}
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	d.config = filepath.Join(d.dir, "config.jsonc")
	return os.WriteFile(d.config, data, 0o600)
}

// start starts this program again as an agent would, and greets it.
func (d *demo) start(ctx context.Context) error {
	if d.self == "" {
		var err error
		if d.self, err = os.Executable(); err != nil {
			return err
		}
	}
	var err error
	if d.agent, err = client.NewStdioMCPClient(d.self, blank(os.Environ()), "stdio", "--config", d.config); err != nil {
		return err
	}
	told := make(chan struct{})
	d.closer = append(d.closer, func() { _ = d.agent.Close(); <-told })
	go func() { // ends with the child
		defer close(told)
		if said, ok := client.GetStderr(d.agent); ok {
			_, _ = io.Copy(&d.said, said)
		}
	}()
	var hello mcp.InitializeRequest
	hello.Params.ProtocolVersion = mcp.LATEST_LEGACY_PROTOCOL_VERSION
	hello.Params.ClientInfo = mcp.Implementation{Name: "demo-agent", Version: "1"}
	res, err := d.agent.Initialize(ctx, hello)
	if err != nil {
		select { // closing the agent would cut off what a child that has died said last
		case <-told:
		case <-time.After(2 * time.Second):
		}
		return err
	}
	d.say("MCP server            %s stdio (protocol %s)", res.ServerInfo.Name, res.ProtocolVersion)
	return nil
}

// blank returns assignments that empty our own variables among environ: the demo's config is its own.
func blank(environ []string) []string {
	var empty []string
	for _, e := range environ {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AUTHFETCH_") {
			empty = append(empty, name+"=")
		}
	}
	return empty
}

func (d *demo) page() string { return d.site.URL + "/docs/handbook" }

// webfetch calls the tool and returns its text and its facts.
func (d *demo) webfetch(ctx context.Context, args map[string]any) (string, *tools.Result, error) {
	var req mcp.CallToolRequest
	req.Params.Name, req.Params.Arguments = "webfetch", args
	res, err := d.agent.CallTool(ctx, req)
	if err != nil {
		return "", nil, err
	}
	if len(res.Content) == 0 {
		return "", nil, errors.New("the answer is empty")
	}
	text, ok := res.Content[0].(mcp.TextContent)
	if !ok || res.Meta == nil {
		return "", nil, errors.New("the answer has no text or no facts")
	}
	raw, err := json.Marshal(res.Meta.AdditionalFields[tools.MetaKey])
	if err != nil {
		return "", nil, err
	}
	var facts tools.Result
	return text.Text, &facts, json.Unmarshal(raw, &facts)
}

func (d *demo) first(ctx context.Context) error {
	d.title("The agent calls webfetch, and the model sees")
	text, facts, err := d.webfetch(ctx, map[string]any{"url": d.page()})
	if err != nil {
		return err
	}
	d.say("%s", text)
	if facts.Status != "login_required" || facts.Login == nil || facts.Login.URL == "" {
		return fmt.Errorf("the status is %q, not login_required with a link", facts.Status)
	}
	d.link = facts.Login.URL
	return nil
}

// signIn plays the person, or lets one click.
func (d *demo) signIn(ctx context.Context) error {
	if !d.interactive {
		d.title("A person opens the link, continues, and approves at the authorization server")
		if err := oauthtest.NewPerson(nil).Continue(ctx, d.link); err != nil {
			return err
		}
		d.say("done")
		return nil
	}
	d.title("Your turn: open the link above in your browser and sign in")
	for {
		_, facts, err := d.webfetch(ctx, map[string]any{"url": d.page(), "wait": 45})
		switch {
		case err != nil:
			return err
		case facts.Status == "ok":
			return nil
		case facts.Status != "login_pending" && facts.Status != "login_required":
			return fmt.Errorf("the sign-in ended as %s", facts.Status)
		}
		d.say("still waiting …")
	}
}

func (d *demo) second(ctx context.Context) error {
	d.title("The agent calls webfetch again, and the model sees")
	text, facts, err := d.webfetch(ctx, map[string]any{"url": d.page()})
	if err != nil {
		return err
	}
	d.say("%s", text)
	if facts.Status != "ok" || facts.HTTPStatus != 200 {
		return fmt.Errorf("the status is %q (HTTP %d), not ok", facts.Status, facts.HTTPStatus)
	}
	return nil
}

// account prints what the servers received, and checks that every step of the handshake is there, in order.
func (d *demo) account(context.Context) error {
	d.title("What went over the wire, as the servers saw it")
	story := []struct {
		server, method, path string
		status               int
		name                 string
	}{
		{"resource", "GET", "/docs/handbook", 401, "challenge"},
		{"resource", "GET", "/.well-known/oauth-protected-resource", 200, "resource metadata"},
		{"issuer", "GET", "/.well-known/oauth-authorization-server", 200, "server metadata"},
		{"issuer", "POST", "/register", 201, "registration"},
		{"issuer", "GET", "/authorize", 200, "login"},
		{"issuer", "POST", "/token", 200, "token"},
		{"resource", "GET", "/docs/handbook", 200, "page"},
	}
	next := 0
	for _, e := range d.log.Events() {
		if e.Server == "person" {
			continue
		}
		name := ""
		if next < len(story) {
			if s := story[next]; s.server == e.Server && s.method == e.Method && strings.HasPrefix(e.Path, s.path) && s.status == e.Status {
				name = s.name
				next++
			}
		}
		cert := ""
		if e.ClientCertificate != "" {
			cert = " [client certificate " + e.ClientCertificate + "]"
		}
		d.say("%-18s %-8s %-4s %-46s %d  %s%s", name, e.Server, e.Method, e.Path, e.Status, e.Note, cert)
	}
	if next < len(story) {
		return fmt.Errorf("the step %q is missing", story[next].name)
	}
	return nil
}
