package outbound

import (
	"container/list"
	"net/http"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// maxTransports bounds how many keys have connections at a time.
const maxTransports = 256

// key is what requests must have in common to share a connection.
type key struct {
	who      principal.ID
	to       origin.Origin
	material *tlsmat.Material
	rules    netguard.Rules
}

// entry is the transport of one key.
type entry struct {
	key     key
	http    *http.Transport
	uses    int  // requests whose response is not closed yet; guarded by pool.mu
	retired bool // no longer in the pool; guarded by pool.mu
}

// pool holds the transports used last.
type pool struct {
	build func(key) *http.Transport

	mu      sync.Mutex // guards what follows
	entries map[key]*list.Element
	order   list.List // of *entry, the one used last in front
}

func newPool(build func(key) *http.Transport) *pool {
	return &pool{build: build, entries: make(map[key]*list.Element)}
}

// take returns the transport of k; it must be given to release. An origin whose material has
// changed loses the transports with the former one: an open HTTP/2 connection would carry on with
// the old certificate.
func (p *pool) take(k key) *entry {
	p.mu.Lock()
	if el, ok := p.entries[k]; ok {
		p.order.MoveToFront(el)
		e := el.Value.(*entry)
		e.uses++
		p.mu.Unlock()
		return e
	}
	e := &entry{key: k, http: p.build(k), uses: 1}
	p.entries[k] = p.order.PushFront(e)
	retired := p.retire(k)
	p.mu.Unlock()
	for _, old := range retired {
		old.http.CloseIdleConnections()
	}
	return e
}

// retire takes out what the newcomer k replaces or has no room beside. It needs mu.
func (p *pool) retire(k key) []*entry {
	var out []*entry
	for el := p.order.Back(); el != nil; {
		e, next := el.Value.(*entry), el.Prev()
		if len(p.entries) > maxTransports || e.key.to == k.to && e.key.material != k.material {
			p.order.Remove(el)
			delete(p.entries, e.key)
			e.retired = true
			out = append(out, e)
		}
		el = next
	}
	return out
}

// release ends one use. The last one closes what a retired transport still has.
func (p *pool) release(e *entry) {
	p.mu.Lock()
	e.uses--
	last := e.retired && e.uses == 0
	p.mu.Unlock()
	if last {
		e.http.CloseIdleConnections()
	}
}

func (p *pool) closeIdle() {
	p.mu.Lock()
	all := make([]*entry, 0, len(p.entries))
	for _, el := range p.entries {
		all = append(all, el.Value.(*entry))
	}
	p.mu.Unlock()
	for _, e := range all {
		e.http.CloseIdleConnections()
	}
}
