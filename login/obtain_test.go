package login

import (
	"testing"
	"testing/synctest"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// A refresh under way has the lock of its token: the new one is stored after whatever that does, and
// the one that it replaces is deleted after it.
func TestNewTokenWaitsForARefresh(t *testing.T) {
	const other = "https://wiki.example/other"
	for _, tc := range []struct {
		name, refreshed string // the resource of the token that is refreshed meanwhile
		stored          bool   // already during the refresh
	}{
		{"of the same token", resource, false},
		{"of the token that is replaced", other, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, store, req := at(t, saysJSON(200, `{"access_token":"new","token_type":"Bearer"}`))
				req.Replaces = tokenstore.TokenKey(req.Principal, other, req.Server.Issuer)
				fresh := tokenstore.TokenKey(req.Principal, resource, req.Server.Issuer)
				refreshed := tokenstore.TokenKey(req.Principal, tc.refreshed, req.Server.Issuer)
				unlock, err := tokenstore.LockToken(t.Context(), store, refreshed)
				if err != nil {
					t.Fatal(err)
				}
				has := func(k tokenstore.Key) bool {
					_, err := tokenstore.GetToken(t.Context(), store, k)
					return err == nil
				}
				done := make(chan error, 1)
				go func() {
					_, err := robotToken(t, f, req)
					done <- err
				}()
				synctest.Wait()
				if has(fresh) != tc.stored || len(done) != 0 {
					t.Errorf("during the refresh: stored %v, done %v", has(fresh), len(done) != 0)
				}
				// The refresh ends with what it had before it: a token of its own.
				if err := tokenstore.PutToken(t.Context(), store, &tokenstore.Token{
					Principal: refreshed.Principal, Resource: refreshed.Resource, Issuer: refreshed.Issuer, AccessToken: secret.New("old"),
				}); err != nil {
					t.Fatal(err)
				}
				unlock()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				tok, err := tokenstore.GetToken(t.Context(), store, fresh)
				if err != nil || tok.AccessToken.Reveal() != "new" {
					t.Errorf("stored %+v, %v", tok, err)
				}
				if has(req.Replaces) {
					t.Error("the token that was replaced is there")
				}
			})
		})
	}
}

// The caller of Refresh has the lock already.
func TestRefreshUnderItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, tok, _ := rotating(t, "3600")
		unlock, err := tokenstore.LockToken(t.Context(), f.opts.Store, tok.Key())
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		if _, err := f.Refresh(t.Context(), tok, Credentials{}); err != nil {
			t.Error(err)
		}
	})
}
