package tools

import (
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/render"
)

const (
	pageLife  = 5 * time.Minute
	pageCount = 32
	pageBytes = 32 << 20
)

// pages keeps what was cut, so that the rest comes from the same fetch. The zero pages works.
type pages struct {
	mu      sync.Mutex // guards what follows
	entries map[pageKey]pageEntry
	bytes   int
}

type pageKey struct {
	principal principal.ID
	url       string
	format    render.Format
}

type pageEntry struct {
	doc *document
	at  time.Time
}

// get returns a page that is not older than five minutes, or nil.
func (p *pages) get(key pageKey) *document {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep()
	return p.entries[key].doc
}

// put keeps doc if it is longer than one answer.
func (p *pages) put(key pageKey, doc *document, max int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep()
	p.drop(key)
	size := len(doc.Text)
	if size > pageBytes || size <= max || utf8.RuneCountInString(doc.Text) <= max {
		return
	}
	for len(p.entries) >= pageCount || p.bytes+size > pageBytes {
		p.dropOldest()
	}
	if p.entries == nil {
		p.entries = map[pageKey]pageEntry{}
	}
	p.entries[key] = pageEntry{doc, time.Now()}
	p.bytes += size
	time.AfterFunc(pageLife+time.Second, func() { // also when nobody asks any more
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sweep()
	})
}

// sweep drops what is too old: pages behind a sign-in stay in memory no longer than they are of use.
func (p *pages) sweep() {
	for k, e := range p.entries {
		if time.Since(e.at) > pageLife {
			p.drop(k)
		}
	}
}

func (p *pages) drop(key pageKey) {
	if e, ok := p.entries[key]; ok {
		p.bytes -= len(e.doc.Text)
		delete(p.entries, key)
	}
}

func (p *pages) dropOldest() {
	var oldest pageKey
	var at time.Time
	for k, e := range p.entries {
		if at.IsZero() || e.at.Before(at) {
			oldest, at = k, e.at
		}
	}
	p.drop(oldest)
}
