package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/server"
	"github.com/mcp-authfetch/mcp-authfetch/tools"
)

func (p *program) stdioCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stdio", Short: "Serve MCP on stdin and stdout (what agents start)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := p.build(appOptions{private: auth.AskPrivate})
			if err != nil {
				return err
			}
			defer a.close()
			return server.ServeStdio(cmd.Context(), server.New(a.webfetch(), version()), p.stdin, p.stdout, a.log)
		},
	}
}

func (p *program) httpCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "http", Short: "Serve MCP over streamable HTTP, on this computer only", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := p.build(appOptions{private: auth.DenyPrivate})
			if err != nil {
				return err
			}
			defer a.close()
			if listen == "" {
				listen = a.cfg.HTTP.Listen
			}
			return server.ServeHTTP(cmd.Context(), server.New(a.webfetch(), version()), server.HTTPOptions{
				Listen: listen, Own: a.guard.Own, Logger: a.log,
				Ready: func(url string) { fmt.Fprintln(p.stderr, "mcp-authfetch: MCP is served on", url) },
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "the `address` to listen on (default http.listen of the config, 127.0.0.1:8808)")
	return cmd
}

func (a *app) webfetch() *tools.Webfetch {
	return tools.NewWebfetch(a.fetch, tools.Options{ExplainStatus: a.explainStatus, Logger: a.log})
}
