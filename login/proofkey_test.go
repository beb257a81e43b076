package login

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// Processes that share a directory make one key, however many need it at once.
func TestProofKeyIsMadeOnce(t *testing.T) {
	const users = 8
	dir := filepath.Join(t.TempDir(), "store")
	var keys [users]string
	var ready, all sync.WaitGroup
	ready.Add(users)
	for i := range users {
		store, err := tokenstore.OpenFile(dir, tokenstore.FileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			ready.Done()
			ready.Wait()
			key, err := New(Options{Store: store}).ProofKey(t.Context(), "local", "https://login.example")
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = key.Thumbprint()
		})
	}
	all.Wait()
	for _, k := range keys {
		if k != keys[0] || k == "" {
			t.Fatalf("keys %q", keys)
		}
	}
}
