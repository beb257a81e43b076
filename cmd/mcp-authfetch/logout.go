package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/fetch"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func (p *program) logoutCommand() *cobra.Command {
	var all, client bool
	cmd := &cobra.Command{
		Use: "logout URL | --all", Short: "Remove and revoke the logins of a site, and its permissions, or all of them",
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return errors.New("name one URL, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := &logout{program: p, clients: client || all, all: all, matches: func(string) bool { return true }}
			if !all {
				u, err := fetch.ParseURL(args[0])
				if err != nil {
					return err
				}
				o, err := origin.Of(u)
				if err != nil {
					return err
				}
				out.matches = func(resource string) bool { return isAt(resource, o) }
			}
			return out.run(principal.With(cmd.Context(), principal.Local))
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every login, permission and client registration")
	cmd.Flags().BoolVar(&client, "client", false, "remove our registration at the site's issuer too, there as well where the issuer lets us")
	return cmd
}

// logout is one run of the command. What is removed is removed here first, and then told to the
// issuers, which may be gone.
type logout struct {
	*program
	matches func(resource string) bool
	clients bool // registrations too
	all     bool // not of one URL
	removed int
}

func (l *logout) run(ctx context.Context) error {
	cfg, err := l.loadConfig()
	if err != nil {
		return err
	}
	files, err := l.loadFiles(ctx, cfg, atHome) // one that is broken keeps nobody from signing out
	if err != nil {
		l.log.Warn("what the config names cannot all be used; issuers that want it are not told", "error", err)
	}
	a, err := l.assemble(cfg, files, atHome)
	if err != nil {
		files.close()
		return err
	}
	defer a.close()
	tokens, err := l.removeTokens(ctx, a.store)
	locked, isLocked := errors.AsType[*tokenstore.KeyringError](err)
	store, hasKeys := a.store.(*tokenstore.Keyring)
	if isLocked && hasKeys {
		if err := l.removeUnopened(ctx, store); err != nil {
			return err
		}
		if l.removed > 0 {
			fmt.Fprintf(l.stderr, "Nothing was revoked, for it could not be opened: %s. What was removed here still works for whoever has a copy, until it expires.\n", locked)
		}
		return l.tell()
	}
	if err != nil {
		return err
	}
	l.revoke(ctx, a, tokens) // with the registrations, and through the permissions, that go next
	clients, err := l.removeRest(ctx, a.store, tokens)
	if err != nil {
		return err
	}
	l.unregister(ctx, a, clients)
	return l.tell()
}

// tell says how much was removed.
func (l *logout) tell() error {
	if l.removed == 0 {
		if l.clients && !l.all {
			fmt.Fprintln(l.stderr, "A registration whose logins are gone is removed by the URL of its issuer; `mcp-authfetch accounts` lists them.")
		}
		_, err := fmt.Fprintln(l.stdout, "Nothing was stored for it.")
		return err
	}
	_, err := fmt.Fprintf(l.stdout, "Removed %d.\n", l.removed)
	return err
}

// removeUnopened deletes what matches, by the same rules, where the keyring gives no key to open it
// with: what records are about is not sealed.
func (l *logout) removeUnopened(ctx context.Context, s *tokenstore.Keyring) error {
	tokens, err := s.Keys(ctx, tokenstore.KindToken, principal.Local)
	if err != nil {
		return err
	}
	gone, left := map[string]bool{}, map[string]bool{}
	for _, k := range tokens {
		if l.matches(k.Resource) {
			gone[k.Issuer] = true
		} else {
			left[k.Issuer] = true
		}
	}
	forResource := func(k tokenstore.Key) bool { return l.matches(k.Resource) }
	useless := func(k tokenstore.Key) bool { return (gone[k.Issuer] || l.matches(k.Issuer)) && !left[k.Issuer] }
	for _, of := range []struct {
		kind    tokenstore.Kind
		matches func(tokenstore.Key) bool
		counts  bool
	}{
		{tokenstore.KindToken, forResource, true},
		{tokenstore.KindApproval, forResource, true},
		{tokenstore.KindProofKey, useless, false},
		{tokenstore.KindClient, func(k tokenstore.Key) bool { return l.clients && useless(k) }, true},
	} {
		keys, err := s.Keys(ctx, of.kind, principal.Local)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if !of.matches(k) {
				continue
			}
			if err := removeOne(ctx, s, k); err != nil {
				return err
			}
			if of.counts {
				l.removed++
			}
		}
	}
	return nil
}

// removeTokens deletes the tokens that match and returns them.
func (l *logout) removeTokens(ctx context.Context, s tokenstore.Store) ([]*tokenstore.Token, error) {
	stored, err := tokenstore.Tokens(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	var removed []*tokenstore.Token
	for _, t := range stored {
		if !l.matches(t.Resource) {
			continue
		}
		t, err := removeToken(ctx, s, t.Key())
		if err != nil {
			return nil, err
		}
		if t != nil {
			removed = append(removed, t)
		}
	}
	l.removed += len(removed)
	return removed, nil
}

// removeRest deletes permissions, damaged tokens, and what belonged to the issuers of tokens and
// serves no other login: proof keys and, where that was asked for, registrations, which it returns.
func (l *logout) removeRest(ctx context.Context, s tokenstore.Store, tokens []*tokenstore.Token) ([]*tokenstore.Client, error) {
	for _, kind := range []tokenstore.Kind{tokenstore.KindToken, tokenstore.KindApproval} {
		n, err := removeKind(ctx, s, kind, func(k tokenstore.Key) bool { return l.matches(k.Resource) })
		l.removed += n
		if err != nil {
			return nil, err
		}
	}
	left, err := tokenstore.Tokens(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	at := func(tokens []*tokenstore.Token, issuer string) bool {
		return slices.ContainsFunc(tokens, func(t *tokenstore.Token) bool { return t.Issuer == issuer })
	}
	concerned := func(issuer string) bool { return l.matches(issuer) || at(tokens, issuer) }
	useless := func(k tokenstore.Key) bool { return concerned(k.Issuer) && !at(left, k.Issuer) }
	if _, err := removeKind(ctx, s, tokenstore.KindProofKey, useless); err != nil || !l.clients {
		return nil, err
	}
	stored, err := tokenstore.Clients(ctx, s, principal.Local)
	if err != nil {
		return nil, err
	}
	var removed []*tokenstore.Client
	for _, c := range stored {
		if useless(c.Key()) {
			removed = append(removed, c)
		} else if concerned(c.Issuer) {
			fmt.Fprintf(l.stderr, "The registration at %s stays: other logins use it.\n", action.ShowIssuer(c.Issuer))
		}
	}
	n, err := removeKind(ctx, s, tokenstore.KindClient, useless)
	l.removed += n
	return removed, err
}

// removeToken deletes a token and returns it as it was at the last moment: a refresh under way ends first.
func removeToken(ctx context.Context, s tokenstore.Store, k tokenstore.Key) (*tokenstore.Token, error) {
	unlock, err := tokenstore.LockToken(ctx, s, k)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := tokenstore.GetToken(ctx, s, k)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return t, s.Delete(ctx, k)
}

// removeKind deletes the records of a kind whose keys match.
func removeKind(ctx context.Context, s tokenstore.Store, kind tokenstore.Kind, matches func(tokenstore.Key) bool) (n int, err error) {
	entries, err := s.List(ctx, kind, principal.Local)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if !matches(e.Key) {
			continue
		}
		if err := removeOne(ctx, s, e.Key); err != nil {
			return n, err
		}
		n++
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

// revoke tells the issuers that the tokens are needed no more (RFC 7009).
func (l *logout) revoke(ctx context.Context, a *app, tokens []*tokenstore.Token) {
	for _, t := range tokens {
		what := "The login at " + action.ShowIssuer(t.Issuer) + " for " + shownResource(t.Resource)
		l.told(what, "revoked", a.flows.Revoke(ctx, t, a.client(t.Issuer)), login.ErrNoRevocation)
	}
}

// unregister deletes registrations where they were made (RFC 7592).
func (l *logout) unregister(ctx context.Context, a *app, clients []*tokenstore.Client) {
	for _, c := range clients {
		err := a.flows.Unregister(ctx, c)
		if errors.Is(err, login.ErrNotRegistered) {
			err = nil // gone already
		}
		l.told("The registration at "+action.ShowIssuer(c.Issuer), "deleted there", err, login.ErrNoManagement)
	}
}

func (l *logout) told(what, done string, err, notOffered error) {
	switch {
	case err == nil:
		fmt.Fprintf(l.stdout, "%s was %s.\n", what, done)
	case errors.Is(err, notOffered):
		fmt.Fprintf(l.stderr, "%s was not %s: the issuer offers no way to.\n", what, done)
	default:
		fmt.Fprintf(l.stderr, "%s was not %s: %s\n", what, done, sanitize.Line(err.Error(), 500))
	}
}

// shownResource is the resource without what a terminal need not show.
func shownResource(resource string) string {
	u, err := url.Parse(resource)
	if err != nil {
		return "a site"
	}
	u.RawQuery, u.Fragment = "", ""
	return sanitize.Line(strings.TrimSuffix(u.String(), "/"), 200)
}
