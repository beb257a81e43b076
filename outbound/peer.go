package outbound

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// peer is somebody TLS is spoken with on behalf of one key: the origin or the proxy. It has one
// configuration and one session for all its connections, and nobody else's.
type peer struct {
	config  *tls.Config // never changed
	session session
	last    atomic.Pointer[tlsmat.Seen] // of the handshake that began last; for a proxy, whose connections have no record
}

func newPeer(host string, m *tlsmat.Material, protocols ...string) *peer {
	config := m.TLSConfig(host)
	config.NextProtos = protocols
	return &peer{config: config}
}

// handshake secures raw, which it closes where it fails, and records what the peer asks for in seen.
func (p *peer) handshake(ctx context.Context, raw net.Conn, seen *tlsmat.Seen) (*tls.Conn, error) {
	p.last.Store(seen)
	view := &sessionView{session: &p.session, seen: seen}
	config := p.config.Clone()
	config.ClientSessionCache = view
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(tlsmat.WithSeen(ctx, seen)); err != nil {
		raw.Close()
		return nil, err
	}
	if c.ConnectionState().DidResume {
		seen.Inherit(view.began)
	}
	return c, nil
}

// session is the TLS session that the next connection to a peer resumes. A resumed connection has
// the identity of the handshake that began the session, and nobody asks for it again (RFC 8446
// §4.6.1), so a session is kept with the record of that handshake.
type session struct {
	mu    sync.Mutex // guards all below
	state *tls.ClientSessionState
	began *tlsmat.Seen
}

// sessionView is the session as one connection sees it.
type sessionView struct {
	session *session
	seen    *tlsmat.Seen // of the connection
	began   *tlsmat.Seen // of the session it was offered
}

// Get implements [tls.ClientSessionCache].
func (v *sessionView) Get(string) (*tls.ClientSessionState, bool) {
	v.session.mu.Lock()
	defer v.session.mu.Unlock()
	v.began = v.session.began
	return v.session.state, v.session.state != nil
}

// Put implements [tls.ClientSessionCache].
func (v *sessionView) Put(_ string, state *tls.ClientSessionState) {
	v.session.mu.Lock()
	defer v.session.mu.Unlock()
	v.session.state, v.session.began = state, v.seen
}

// onTicket is a [tls.ClientSessionCache] that keeps nothing, so that every handshake is a full one.
type onTicket func()

// Get implements [tls.ClientSessionCache].
func (onTicket) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

// Put implements [tls.ClientSessionCache].
func (call onTicket) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		call()
	}
}
