package discovery

import (
	"container/list"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// What was found out is kept for a while, in memory.
const (
	FoundLife   = 10 * time.Minute // of a document
	RefusalLife = time.Minute      // of a document that is missing or must not be used

	maxKept      = 1000
	maxKeptBytes = 8 << 20 // of documents as they were read
)

// finding is what one call found out: a resource, an authorization server, or an error.
type finding struct {
	resource *Resource
	server   *AuthServer
	err      error
	size     int  // bytes of the documents read
	brief    bool // something failed on the way that may be over soon
}

// life is how long the finding may be used: not at all where requests failed, whose next attempt
// may go well, or where it depends on the query of the page, which is not part of its key.
func (f *finding) life() time.Duration {
	switch {
	case f.dependsOnQuery():
		return 0
	case f.err == nil && !f.brief:
		return FoundLife
	case f.err == nil:
		return RefusalLife // what failed may have the document that comes first
	case f.brief:
		return 0
	}
	switch f.err.(type) {
	case *NotFoundError, *MismatchError, *InvalidError:
		return RefusalLife
	}
	return 0
}

func (f *finding) dependsOnQuery() bool {
	if e, ok := f.err.(*MismatchError); ok {
		return e.Member == "resource" && strings.Contains(e.Got, "?")
	}
	return f.resource != nil && strings.Contains(f.resource.Resource, "?")
}

// clone returns a copy that shares nothing a caller could change.
func (f finding) clone() finding {
	if f.resource != nil {
		r := *f.resource
		for _, l := range []*[]string{&r.AuthorizationServers, &r.ScopesSupported, &r.DPoPSigningAlgValuesSupported} {
			*l = slices.Clone(*l)
		}
		f.resource = &r
	}
	if f.server != nil {
		s := *f.server
		for _, l := range []*[]string{
			&s.ScopesSupported, &s.GrantTypesSupported, &s.CodeChallengeMethodsSupported, &s.TokenEndpointAuthMethodsSupported,
			&s.TokenEndpointAuthSigningAlgValuesSupported, &s.DPoPSigningAlgValuesSupported,
		} {
			*l = slices.Clone(*l)
		}
		f.server = &s
	}
	switch err := f.err.(type) {
	case *NotFoundError:
		f.err = &NotFoundError{err.Subject, slices.Clone(err.Tried), slices.Clone(err.Reasons)}
	case *MismatchError:
		e := *err
		f.err = &e
	case *InvalidError:
		e := *err
		f.err = &e
	case *UnavailableError:
		e := *err
		f.err = &e
	}
	return f
}

// key is what was asked, and for whom.
type key struct {
	principal  principal.ID
	subject    string // the page without its query, or the issuer
	server     bool   // it is an issuer
	advertised string // "" for well-known addresses
}

type entry struct {
	key     key
	finding finding
	asked   time.Time
	ends    time.Time
}

// flight is a question under way. Those who ask afresh do not wait for what began before.
type flight struct {
	key
	fresh bool
}

type landing struct {
	done    chan struct{}
	finding finding
	shared  bool // it is good for whoever waits; written before done is closed
}

// cache keeps findings, the oldest first to go.
type cache struct {
	mu      sync.Mutex // guards what follows
	entries map[key]*list.Element
	order   *list.List // of *entry, by when they were put in
	bytes   int
	flights map[flight]*landing
}

func newCache() *cache {
	return &cache{entries: map[key]*list.Element{}, order: list.New(), flights: map[flight]*landing{}}
}

// get returns what is known, unless it is to be fresh, or else what find finds out: once for all who
// ask meanwhile. Whoever asks first does it in its own time; when that is cut short, another of
// those who wait begins again.
func (c *cache) get(ctx context.Context, k key, fresh bool, find func() finding) finding {
	name := flight{k, fresh}
	for {
		c.mu.Lock()
		if f, ok := c.known(k); ok && !fresh {
			c.mu.Unlock()
			return f.clone()
		}
		l, ok := c.flights[name]
		if !ok {
			l = &landing{done: make(chan struct{})}
			c.flights[name] = l
			c.mu.Unlock()
			return c.lead(ctx, name, l, find)
		}
		c.mu.Unlock()
		select {
		case <-l.done:
			if l.shared {
				return l.finding.clone()
			}
		case <-ctx.Done():
			return finding{err: &requestError{k.subject, ctx.Err()}}
		}
	}
}

// lead finds out, even if find panics.
func (c *cache) lead(ctx context.Context, name flight, l *landing, find func() finding) finding {
	asked, whole := time.Now(), false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, name)
		if whole {
			c.put(name.key, l.finding, asked)
		}
		l.shared = whole && !l.finding.dependsOnQuery()
		close(l.done)
	}()
	l.finding = find()
	whole = ctx.Err() == nil
	return l.finding.clone()
}

// known returns what is kept and has not come to its end. The mutex is held.
func (c *cache) known(k key) (finding, bool) {
	e, ok := c.entries[k]
	if !ok {
		return finding{}, false
	}
	known := e.Value.(*entry)
	if !time.Now().Before(known.ends) {
		c.drop(e)
		return finding{}, false
	}
	return known.finding, true
}

// put keeps a finding, unless one that was asked for later is there already. The mutex is held.
func (c *cache) put(k key, f finding, asked time.Time) {
	life := f.life()
	old, ok := c.entries[k]
	switch {
	case ok && old.Value.(*entry).asked.After(asked):
		return
	case ok && (life > 0 || f.dependsOnQuery()):
		c.drop(old)
	}
	if life == 0 {
		return // where requests failed, what is known may still be true
	}
	c.entries[k] = c.order.PushBack(&entry{k, f, asked, time.Now().Add(life)})
	c.bytes += f.size
	for c.order.Len() > maxKept || c.bytes > maxKeptBytes {
		c.drop(c.order.Front())
	}
}

func (c *cache) drop(e *list.Element) {
	old := c.order.Remove(e).(*entry)
	delete(c.entries, old.key)
	c.bytes -= old.finding.size
}
