package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/server"
	"github.com/mcp-authfetch/mcp-authfetch/tools"
)

func (p *program) stdioCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stdio", Short: "Serve MCP on stdin and stdout (what agents start)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := p.build(cmd.Context(), ofAgent)
			if err != nil {
				return err
			}
			defer a.close()
			err = server.ServeStdio(cmd.Context(), server.New(p.webfetch(a), version()), p.stdin, p.stdout, p.log)
			if cmd.Context().Err() != nil {
				return nil // agents end us by a signal; that is no failure
			}
			return err
		},
	}
}

func (p *program) httpCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "http", Short: "Serve MCP over streamable HTTP, on this computer only", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := p.build(cmd.Context(), serving)
			if err != nil {
				return err
			}
			defer a.close()
			if listen == "" {
				listen = a.cfg.HTTP.Listen
			}
			documents, err := publicDocuments(a.cfg)
			if err != nil {
				return err
			}
			group, ctx := errgroup.WithContext(cmd.Context()) // what fails ends the other
			if a.cfg.HTTP.Metrics != "" {
				group.Go(func() error {
					return server.ServeMetrics(ctx, a.cfg.HTTP.Metrics, a.guard.Own, p.say("metrics are served on"), p.log, certificates(a.sources))
				})
			}
			group.Go(func() error {
				return server.ServeHTTP(ctx, server.New(p.webfetch(a), version()), server.HTTPOptions{
					Listen: listen, Own: a.guard.Own, Documents: documents, Logger: p.log, Ready: p.say("MCP is served on"),
				})
			})
			return group.Wait()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "the `address` to listen on (default http.listen of the config, 127.0.0.1:8808)")
	return cmd
}

// say tells the person at the terminal where something is.
func (p *program) say(what string) func(url string) {
	return func(url string) { fmt.Fprintln(p.stderr, "mcp-authfetch:", what, url) }
}

// publicDocuments are what `http` serves to everybody: the client metadata document, at the path
// of the URL under which a proxy in front of it makes it public.
func publicDocuments(cfg *config.Config) (map[string][]byte, error) {
	at := cfg.Login.ClientMetadataURL
	if at == "" {
		return nil, nil
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	if u.Path == server.Path {
		return nil, &usageError{fmt.Errorf("login.client_metadata_url has the path %s, which is where MCP is served: give the document another one", server.Path)}
	}
	doc, err := login.ClientMetadata(at)
	return map[string][]byte{u.Path: doc}, err
}

func (p *program) webfetch(a *app) *tools.Webfetch {
	return tools.NewWebfetch(a.fetch, tools.Options{ExplainStatus: a.explainStatus, Logger: p.log})
}
