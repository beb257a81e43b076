package auth

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// mayStepUp reports whether signing in again can get tok the scopes in want. It cannot where they
// are granted already, where the config asks for others, where the issuer gave less than it was
// asked for the last time, and where that was done too often.
func (t *Transport) mayStepUp(w *work, want []string, tok *tokenstore.Token) bool {
	if w.site.Scopes != nil {
		want = w.site.Scopes
	}
	if within(want, tok.Scopes) {
		return false
	}
	if last, ok := t.steps.Load(tok.Key()); ok {
		if a := last.(*action.Action); succeeded(a) && within(want, a.Prompt().Scopes) {
			return false
		}
	}
	return t.rounds.mayAdd(w, scopesOf(w)) // a server could want another one each time
}

// scopesOf is the demand for scopes of a page.
func scopesOf(w *work) string { return "scopes of " + w.req.URL.EscapedPath() }

func within(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

func succeeded(a *action.Action) bool { return !a.EndedAt().IsZero() && a.Err() == nil }

// How often a person is asked to sign in again before a site is told not to be content.
const (
	maxRounds    = 2         // for the same demand
	maxAllRounds = 6         // for all demands of an origin: it could vary them for ever
	roundCounts  = time.Hour // this long, or as long as the sign-in may be old, whichever is less
)

// rounds are the logins that origins asked for although the token was good: because of how, or how
// long ago, the person had signed in (RFC 9470), because of its scopes, or because it had come from
// another issuer than the one that is named now.
type rounds struct {
	mu  sync.Mutex // guards all
	all map[roundKey][]round
}

type roundKey struct {
	principal principal.ID
	origin    origin.Origin
}

type round struct {
	demand string
	path   string        // of the page
	counts time.Duration // from its end on
	action *action.Action
}

// mayAdd reports whether the person may be asked for a demand of the page's origin: not where that
// was done enough times and the origin still demands it.
func (r *rounds) mayAdd(w *work, demand string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var same, all int
	for _, one := range r.recent(w.roundKey()) {
		if one.action.EndedAt().IsZero() {
			continue // whoever asks joins it
		}
		all++
		if one.demand == demand {
			same++
		}
	}
	return same < maxRounds && all < maxAllRounds
}

// add notes a login for a demand. maxAge is how old it may get to be (RFC 9470), nil where that is no matter.
func (r *rounds) add(w *work, demand string, maxAge *time.Duration, a *action.Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.all {
		r.recent(key) // what is over takes no room
	}
	key := w.roundKey()
	if slices.ContainsFunc(r.all[key], func(one round) bool { return one.action == a }) {
		return // joined
	}
	counts := roundCounts
	if maxAge != nil {
		counts = min(counts, max(*maxAge, freshFor))
	}
	if r.all == nil {
		r.all = map[roundKey][]round{}
	}
	r.all[key] = append(r.all[key], round{demand, w.req.URL.EscapedPath(), counts, a})
}

// forget drops the rounds of a page that was content in the end.
func (r *rounds) forget(w *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := w.roundKey(); len(r.all[key]) > 0 {
		path := w.req.URL.EscapedPath()
		r.all[key] = slices.DeleteFunc(r.all[key], func(one round) bool { return one.path == path && succeeded(one.action) })
	}
}

// recent drops what failed, and what does not count any more. The caller holds mu.
func (r *rounds) recent(key roundKey) []round {
	recent := slices.DeleteFunc(r.all[key], func(one round) bool {
		ended := one.action.EndedAt()
		return !ended.IsZero() && (one.action.Err() != nil || time.Since(ended) > one.counts)
	})
	if len(recent) == 0 {
		delete(r.all, key)
		return nil
	}
	r.all[key] = recent
	return recent
}

func (w *work) roundKey() roundKey { return roundKey{w.principal, w.origin} }

func demandOf(req *login.Request) string {
	demand := strings.Join(req.ACRValues, " ")
	if req.MaxAge != nil {
		demand += "; " + req.MaxAge.String()
	}
	return demand
}
