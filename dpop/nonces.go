package dpop

import (
	"net/http"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// maxNonces bounds how many servers' nonces are kept, and maxNonce how long one may be.
const (
	maxNonces = 512
	maxNonce  = 1024
)

// Nonces are the newest nonces that servers gave (RFC 9449 §8): each is sent back to the origin
// and for the principal it was given to. The zero value is ready.
type Nonces struct {
	mu   sync.Mutex // guards last
	last map[nonceKey]string
}

type nonceKey struct {
	principal principal.ID
	origin    origin.Origin
}

// Get returns the nonce to send to o, "" if none was given.
func (n *Nonces) Get(p principal.ID, o origin.Origin) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last[nonceKey{p, o}]
}

// Note keeps the nonce that an answer of o carries, if any, and reports whether it is another than
// used, the one that the request had: the request may then be repeated with it.
func (n *Nonces) Note(p principal.ID, o origin.Origin, header http.Header, used string) (fresh bool) {
	values := header.Values("DPoP-Nonce")
	if len(values) != 1 || !isNonce(values[0]) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil {
		n.last = map[nonceKey]string{}
	}
	k := nonceKey{p, o}
	if _, known := n.last[k]; !known && len(n.last) >= maxNonces {
		for other := range n.last { // any: a nonce that is lost costs its server one more answer
			delete(n.last, other)
			break
		}
	}
	n.last[k] = values[0]
	return values[0] != used
}

// isNonce is the syntax of RFC 9449 §8.1: NQCHAR.
func isNonce(s string) bool {
	if s == "" || len(s) > maxNonce {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
