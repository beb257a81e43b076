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

// key is what requests must have in common to share a connection or a TLS session.
type key struct {
	who   principal.ID
	to    origin.Origin
	proxy *Proxy
	rules netguard.Rules

	material      *tlsmat.Material // for the origin
	proxyMaterial *tlsmat.Material // for the proxy
}

// sameWay reports whether k and l differ in nothing that is decided for an origin as a whole.
func (k key) sameWay(l key) bool {
	return k.proxy == l.proxy && k.material == l.material && k.proxyMaterial == l.proxyMaterial
}

// keyElsewhere reports whether a connection may take a signature that somebody else must make.
func (k key) keyElsewhere() bool { return k.material.KeyElsewhere() || k.proxyMaterial.KeyElsewhere() }

// entry is the transport of one key, with what its connections share.
type entry struct {
	key       key
	authority string // of the origin
	http      *http.Transport
	origin    *peer // nil: an http origin
	proxy     *peer // nil: none, or an http proxy

	retired bool // not, or no longer, in the pool; guarded by pool.mu
}

// pool holds the transports used last.
type pool struct {
	build func(key) *entry
	// materials are the current ones. It is called with mu held: of two requests the later one never
	// has the older material.
	materials func(origin.Origin, *Proxy) (material, proxyMaterial *tlsmat.Material)
	// proxy is the current one for an origin.
	proxy func(origin.Origin) *Proxy

	mu      sync.Mutex // guards what follows
	entries map[key]*list.Element
	order   list.List // of *entry, the one used last in front
}

// take returns the transport of k with the materials of this moment; it must be given to release.
// An origin whose material or proxy has changed loses the transports with the former one: an open
// HTTP/2 connection would carry on with the old certificate.
func (p *pool) take(k key) *entry {
	p.mu.Lock()
	k.material, k.proxyMaterial = p.materials(k.to, k.proxy)
	if el, ok := p.entries[k]; ok {
		p.order.MoveToFront(el)
		e := el.Value.(*entry)
		p.mu.Unlock()
		return e
	}
	e := p.build(k)
	if p.proxy(k.to) != k.proxy {
		// The way was changed after the request was admitted to this one: it goes alone, and must
		// not replace those who go the new way.
		e.retired = true
		p.mu.Unlock()
		return e
	}
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
		if len(p.entries) > maxTransports || e.key.to == k.to && !e.key.sameWay(k) {
			p.order.Remove(el)
			delete(p.entries, e.key)
			e.retired = true
			out = append(out, e)
		}
		el = next
	}
	return out
}

// release tells of the end of one use. A retired transport closes what has become idle by it.
func (p *pool) release(e *entry) {
	p.mu.Lock()
	retired := e.retired
	p.mu.Unlock()
	if retired {
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
