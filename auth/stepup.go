package auth

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/login"
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
	// A server could want another one each time.
	return t.signIns.count(tok.Key(), scopesOf(w)) < maxSignIns && t.signIns.count(tok.Key()) < maxAllSignIns
}

// scopesOf is the demand for scopes of a page.
func scopesOf(w *work) string { return "scopes of " + w.req.URL.EscapedPath() }

func within(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

func succeeded(a *action.Action) bool { return !a.EndedAt().IsZero() && a.Err() == nil }

// How often a person is asked to sign in otherwise before the site is told not to be content.
const (
	maxSignIns    = 2         // for the same demand
	maxAllSignIns = 6         // for all demands about one token: a server could vary them for ever
	signInsCount  = time.Hour // this long, or as long as the sign-in may be old, whichever is less
)

// signIns are the logins that resources asked for although the token was good: because of how, or how
// long ago, the person had signed in (RFC 9470), or because of its scopes.
type signIns struct {
	mu  sync.Mutex // guards all
	all map[tokenstore.Key][]signIn
}

type signIn struct {
	demand string
	counts time.Duration // from its end on
	action *action.Action
}

// mayAdd reports whether the person may be asked for what req demands: not where that was done
// enough times and the resource still demands it.
func (s *signIns) mayAdd(req *login.Request) bool {
	same := s.count(tokenKey(req), demandOf(req))
	return same < maxSignIns && s.count(tokenKey(req)) < maxAllSignIns
}

// count returns how many logins have ended well lately, of these demands or of all.
func (s *signIns) count(key tokenstore.Key, demands ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.recent(key) {
		// Whoever asks for one that waits joins it.
		if !r.action.EndedAt().IsZero() && (len(demands) == 0 || slices.Contains(demands, r.demand)) {
			n++
		}
	}
	return n
}

// add notes a login for a demand. maxAge is how old it may get to be (RFC 9470), nil where that is no matter.
func (s *signIns) add(key tokenstore.Key, demand string, maxAge *time.Duration, a *action.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := s.recent(key)
	if slices.ContainsFunc(recent, func(r signIn) bool { return r.action == a }) {
		return // joined
	}
	counts := signInsCount
	if maxAge != nil {
		counts = min(counts, max(*maxAge, freshFor))
	}
	if s.all == nil {
		s.all = map[tokenstore.Key][]signIn{}
	}
	s.all[key] = append(recent, signIn{demand, counts, a})
}

// recent drops what failed, and what does not count any more. The caller holds mu.
func (s *signIns) recent(key tokenstore.Key) []signIn {
	recent := slices.DeleteFunc(s.all[key], func(r signIn) bool {
		ended := r.action.EndedAt()
		return !ended.IsZero() && (r.action.Err() != nil || time.Since(ended) > r.counts)
	})
	if len(recent) == 0 {
		delete(s.all, key)
		return nil
	}
	s.all[key] = recent
	return recent
}

func demandOf(req *login.Request) string {
	demand := strings.Join(req.ACRValues, " ")
	if req.MaxAge != nil {
		demand += "; " + req.MaxAge.String()
	}
	return demand
}
