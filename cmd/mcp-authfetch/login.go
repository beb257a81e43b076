package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

func (p *program) loginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "login URL", Short: "Sign in to the site of a URL now, so that agents need not ask", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := fetch.ParseURL(args[0]); err != nil {
				return err
			}
			a, err := p.build(cmd.Context(), atHome)
			if err != nil {
				return err
			}
			defer a.close()
			wait := p.wait
			if p.flags.paste {
				in := typedLines(cmd.Context(), p.stdin)
				wait = func(ctx context.Context, act *action.Action) error { return p.paste(ctx, in, a.desk, act) }
			}
			page, err := p.get(cmd.Context(), a, fetch.Request{URL: args[0]}, wait)
			if err != nil {
				return err
			}
			o, err := origin.Of(page.FinalURL)
			if err != nil {
				return err
			}
			if page.Status == 401 || page.Status == 403 {
				return a.failedStatus(page)
			}
			_, err = fmt.Fprintf(p.stdout, "%s answers with status %d.\n", o, page.Status)
			return err
		},
	}
	cmd.Flags().BoolVar(&p.flags.paste, "paste", false, "your browser is on another computer: paste the address here that it ends up at")
	return cmd
}
