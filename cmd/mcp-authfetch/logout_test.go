package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// TestLogoutUnopened: what cannot be opened goes by the same rules as what can.
func TestLogoutUnopened(t *testing.T) {
	const wiki, docs, shared, own = "https://wiki.example", "https://docs.example", "https://shared.example", "https://own.example"
	for _, tc := range []struct {
		name    string
		matches string // the beginning of resources
		clients bool
		left    []string
		removed int
	}{
		{"a site", wiki, false, []string{"client own", "client shared", "proof_key shared", "token docs"}, 3},
		{"a site and its registration", wiki, true, []string{"client shared", "proof_key shared", "token docs"}, 4},
		{"an issuer in use", shared, true, []string{"approval wiki", "client own", "client shared", "proof_key own", "proof_key shared", "token docs", "token wiki", "token wiki"}, 0},
		{"all", "", true, nil, 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, dir := t.Context(), filepath.Join(t.TempDir(), "store")
			file, err := tokenstore.OpenFile(dir, tokenstore.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range []tokenstore.Key{
				tokenstore.TokenKey(principal.Local, wiki, own), tokenstore.TokenKey(principal.Local, wiki, shared), tokenstore.TokenKey(principal.Local, docs, shared),
				tokenstore.ApprovalKey(principal.Local, wiki, ""), tokenstore.ClientKey(principal.Local, own), tokenstore.ClientKey(principal.Local, shared),
				tokenstore.ProofKeyKey(principal.Local, own), tokenstore.ProofKeyKey(principal.Local, shared),
			} {
				if err := file.Put(ctx, k, []byte(`{"sealed":"with a key that nobody has"}`)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(filepath.Join(dir, "store.json"), filepath.Join(dir, "store.sealed.json")); err != nil {
				t.Fatal(err)
			}
			store, err := tokenstore.OpenKeyring(dir, tokenstore.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			l := &logout{clients: tc.clients, matches: func(resource string) bool { return strings.HasPrefix(resource, tc.matches) }}
			if err := l.removeUnopened(ctx, store); err != nil {
				t.Fatal(err)
			}
			left, err := namesOf(ctx, store)
			if err != nil || !slices.Equal(left, tc.left) || l.removed != tc.removed {
				t.Errorf("removed %d, want %d; left %q, want %q (%v)", l.removed, tc.removed, left, tc.left, err)
			}
		})
	}
}

// namesOf are the records of a store, by kind and first label of their host, sorted.
func namesOf(ctx context.Context, store *tokenstore.Keyring) (names []string, err error) {
	for _, kind := range []tokenstore.Kind{tokenstore.KindToken, tokenstore.KindApproval, tokenstore.KindClient, tokenstore.KindProofKey} {
		keys, e := store.Keys(ctx, kind, principal.Local)
		err = errors.Join(err, e)
		for _, k := range keys {
			host, _, _ := strings.Cut(strings.TrimPrefix(k.Resource+k.Issuer, "https://"), ".")
			names = append(names, string(kind)+" "+host)
		}
	}
	slices.Sort(names)
	return names, err
}
