package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

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
	Binding     string     `json:"binding,omitempty"` // what the token is bound to: dpop, mtls or both
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

// configuredStore needs no certificates, so that a broken one keeps nobody from looking.
func (p *program) configuredStore() (tokenstore.Store, error) {
	cfg, err := p.loadConfig()
	if err != nil {
		return nil, err
	}
	return p.openStore(cfg)
}

func accounts(ctx context.Context, s tokenstore.Store) ([]account, error) {
	all := []account{}
	tokens, err := tokenstore.Tokens(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		all = append(all, account{Kind: "login", Resource: t.Resource, Issuer: t.Issuer, Subject: sanitize.Line(t.Subject, 200), Scopes: shown(t.Scopes),
			ClientID: t.ClientID, Expires: when(t.Expiry), Refreshable: !t.RefreshToken.IsZero(), Binding: binding(t)})
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

// binding says what the sender of a token must hold beside it (RFC 9449, RFC 8705).
func binding(t *tokenstore.Token) string {
	switch key, certificate := t.KeyThumbprint != "", t.CertificateThumbprint != ""; {
	case key && certificate:
		return "dpop and mtls"
	case key:
		return "dpop"
	case certificate:
		return "mtls"
	}
	return ""
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
	fmt.Fprintln(w, "KIND\tFOR\tISSUER\tSUBJECT\tSCOPES\tEXPIRES\tBOUND TO")
	for _, a := range all {
		what, expires := a.Resource, "unknown"
		if a.Kind == "client" {
			what, expires = a.ClientID, "never"
		}
		if a.Expires != nil {
			expires = a.Expires.Format("2006-01-02 15:04 MST")
		}
		if a.Refreshable {
			expires += ", renewed by itself"
		}
		issuer := "-"
		if a.Issuer != "" {
			issuer = action.ShowIssuer(a.Issuer)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Kind, sanitize.Line(what, 100), issuer, sanitize.Line(orDash(a.Subject), 60),
			sanitize.Line(orDash(strings.Join(a.Scopes, " ")), 100), expires, orDash(a.Binding))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
