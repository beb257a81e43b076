package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func (p *program) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "login URL", Short: "Sign in to the site of a URL now, so that agents need not ask", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := fetch.ParseURL(args[0]); err != nil {
				return err
			}
			a, err := p.build(auth.AskPrivate)
			if err != nil {
				return err
			}
			defer a.close()
			page, err := p.get(cmd.Context(), a, fetch.Request{URL: args[0]}, false)
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
}

func (p *program) logoutCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "logout URL | --all", Short: "Remove the stored logins and permissions of a site, or all of them",
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return errors.New("name one URL, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			kinds := []tokenstore.Kind{tokenstore.KindToken, tokenstore.KindApproval}
			matches := func(string) bool { return true }
			if all {
				kinds = append(kinds, tokenstore.KindClient)
			} else {
				u, err := fetch.ParseURL(args[0])
				if err != nil {
					return err
				}
				o, err := origin.Of(u)
				if err != nil {
					return err
				}
				matches = func(resource string) bool { return isAt(resource, o) }
			}
			store, err := p.configuredStore()
			if err != nil {
				return err
			}
			n, err := remove(cmd.Context(), store, kinds, matches)
			if err != nil {
				return err
			}
			if n == 0 {
				_, err = fmt.Fprintln(p.stdout, "Nothing was stored for it.")
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "Removed %d.\n", n)
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every login, permission and client registration")
	return cmd
}

// configuredStore needs no certificates, so that a broken one keeps nobody from signing out.
func (p *program) configuredStore() (tokenstore.Store, error) {
	cfg, err := p.loadConfig()
	if err != nil {
		return nil, err
	}
	return p.openStore(cfg)
}

// remove deletes the records of these kinds whose resources match.
func remove(ctx context.Context, s tokenstore.Store, kinds []tokenstore.Kind, matches func(resource string) bool) (n int, err error) {
	for _, kind := range kinds {
		entries, err := s.List(ctx, kind, principal.Local)
		if err != nil {
			return n, err
		}
		for _, e := range entries {
			if !matches(e.Key.Resource) {
				continue
			}
			if err := removeOne(ctx, s, e.Key); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func removeOne(ctx context.Context, s tokenstore.Store, k tokenstore.Key) error {
	unlock, err := tokenstore.LockToken(ctx, s, k)
	if err != nil {
		return err
	}
	defer unlock()
	return s.Delete(ctx, k)
}

// account is one line of `accounts`: what is stored, never a secret.
type account struct {
	Kind        string     `json:"kind"` // login, permission, client
	Resource    string     `json:"resource,omitempty"`
	Issuer      string     `json:"issuer,omitempty"`
	Subject     string     `json:"subject,omitempty"`
	Scopes      []string   `json:"scopes,omitempty"`
	ClientID    string     `json:"client_id,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Refreshable bool       `json:"refreshable,omitempty"`
}

func (p *program) accountsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "accounts", Short: "List the stored logins, permissions and clients, never a secret", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := p.configuredStore()
			if err != nil {
				return err
			}
			all, err := accounts(cmd.Context(), store)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(p.stdout)
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(all)
			}
			return p.printAccounts(all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func accounts(ctx context.Context, s tokenstore.Store) ([]account, error) {
	all := []account{}
	tokens, err := tokenstore.Tokens(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		all = append(all, account{Kind: "login", Resource: t.Resource, Issuer: t.Issuer, Subject: sanitize.Line(t.Subject, 200), Scopes: shown(t.Scopes),
			ClientID: t.ClientID, Expires: when(t.Expiry), Refreshable: !t.RefreshToken.IsZero()})
	}
	approvals, err := tokenstore.Approvals(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	for _, v := range approvals {
		all = append(all, account{Kind: "permission", Resource: v.Resource, Issuer: v.Issuer, Scopes: shown(v.Scopes), Expires: when(v.Expires)})
	}
	clients, err := tokenstore.Clients(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	for _, c := range clients {
		all = append(all, account{Kind: "client", Issuer: c.Issuer, ClientID: c.ClientID, Expires: when(c.SecretExpiry)})
	}
	return all, nil
}

// shown makes scopes, which an issuer may have worded, fit for a terminal.
func shown(scopes []string) []string {
	var all []string
	for _, s := range scopes {
		all = append(all, sanitize.Line(s, 100))
	}
	return all
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

func (p *program) printAccounts(all []account) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.stderr, "Nothing is stored.")
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tFOR\tISSUER\tSCOPES\tEXPIRES")
	for _, a := range all {
		what, expires := a.Resource, "unknown"
		if a.Kind == "client" {
			what, expires = a.ClientID, "never"
		}
		switch {
		case a.Refreshable:
			expires = "renewed by itself"
		case a.Expires != nil:
			expires = a.Expires.Format("2006-01-02 15:04 MST")
		}
		issuer := "-"
		if a.Issuer != "" {
			issuer = action.ShowIssuer(a.Issuer)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Kind, sanitize.Line(what, 100), issuer, sanitize.Line(orDash(strings.Join(a.Scopes, " ")), 100), expires)
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
