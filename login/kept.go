package login

import (
	"context"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

const (
	maxUnsaved = 256              // tokens kept
	saveTime   = 10 * time.Second // to store one
)

// unsaved are refreshed tokens that could not be stored. The refresh token in the store may be
// spent, so they are what is left of those logins.
type unsaved struct {
	mu     sync.Mutex // guards tokens
	tokens map[tokenstore.Key]unsavedToken
}

type unsavedToken struct {
	access, refresh secret.Text // of the stored token that it follows
	token           tokenstore.Token
}

// after returns the token that follows stored, nil where there is none.
func (u *unsaved) after(stored *tokenstore.Token) *tokenstore.Token {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.tokens[stored.Key()]
	if !ok {
		return nil
	}
	if !k.access.Equal(stored.AccessToken.Reveal()) || !k.refresh.Equal(stored.RefreshToken.Reveal()) {
		delete(u.tokens, stored.Key()) // another login or process has written since
		return nil
	}
	return &k.token
}

func (u *unsaved) keep(stored, next *tokenstore.Token) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tokens == nil {
		u.tokens = map[tokenstore.Key]unsavedToken{}
	}
	if _, ok := u.tokens[next.Key()]; !ok && len(u.tokens) >= maxUnsaved {
		for other := range u.tokens { // any: that login has to be done again
			delete(u.tokens, other)
			break
		}
	}
	u.tokens[next.Key()] = unsavedToken{stored.AccessToken, stored.RefreshToken, *next}
}

func (u *unsaved) drop(k tokenstore.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.tokens, k)
}

// save stores next in place of stored, or keeps it in memory until that is possible.
func (f *Flows) save(ctx context.Context, stored, next *tokenstore.Token) {
	// Its own context: the caller's time may be over, and the token before is spent.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if err := tokenstore.PutToken(ctx, f.opts.Store, next); err != nil {
		f.unsaved.keep(stored, next)
		f.opts.Logger.Warn("a refreshed token cannot be stored; it is kept in memory and tried again", "error", err)
		return
	}
	f.unsaved.drop(next.Key())
}
