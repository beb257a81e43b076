package netguard

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Rules says what may be connected to besides [Public] addresses.
type Rules struct{ Loopback, Private bool }

// Allow reports whether an address of zone z may be connected to.
func (r Rules) Allow(z Zone) bool {
	switch z {
	case Public:
		return true
	case Private:
		return r.Private
	case Loopback:
		return r.Loopback
	}
	return false
}

// Guard applies [Rules] to the addresses a name turned out to have. It knows the listeners of this
// process, which no rule opens. The zero Guard is ready; a Guard is safe for concurrent use.
type Guard struct {
	mu  sync.Mutex
	own map[netip.AddrPort]int // listeners of ours and how often each was declared; guarded by mu

	interfaces func() ([]net.Addr, error) // of this machine; nil: [net.InterfaceAddrs]
}

// Own declares a listener of this process: nothing it listens on is connected to until release is
// called. A loopback listener closes its port on every loopback address, one on the unspecified
// address closes its port on every address of this machine.
func (g *Guard) Own(ap netip.AddrPort) (release func()) {
	ap = plain(ap)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.own == nil {
		g.own = make(map[netip.AddrPort]int)
	}
	g.own[ap]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.own[ap]--; g.own[ap] == 0 {
			delete(g.own, ap)
		}
	})
}

// Control returns the check of every address dialled for host, for [net.Dialer.ControlContext]. It
// sees the address actually connected to, after resolution; what it cannot parse it denies, as
// the dialer takes an empty host or a zone identifier to loopback.
func (g *Guard) Control(host string, r Rules) func(ctx context.Context, network, address string, c syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" {
			return &DeniedError{Host: host, Zone: Never}
		}
		return g.allow(host, ap, r)
	}
}

// Check resolves host and applies r to every address found: for requests that a proxy carries,
// whose connections this process does not see. A nil resolver is the default one. Errors are
// [*DeniedError] and [*net.DNSError]; resolution takes 10 s at most.
func (g *Guard) Check(ctx context.Context, res *net.Resolver, host string, port uint16, r Rules) error {
	if host == "" {
		return &DeniedError{Host: host, Zone: Never}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return g.allow(host, netip.AddrPortFrom(a, port), r)
	}
	if res == nil {
		res = net.DefaultResolver
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	addrs, err := res.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	// All of them, however many: the proxy picks one, and not the one we would.
	for _, a := range addrs {
		if err := g.allow(host, netip.AddrPortFrom(a, port), r); err != nil {
			return err
		}
	}
	return nil
}

func (g *Guard) allow(host string, ap netip.AddrPort, r Rules) error {
	zone := Classify(ap.Addr())
	if zone != Never && g.ours(plain(ap)) {
		zone = Never
	}
	if !r.Allow(zone) {
		return &DeniedError{Host: host, Addr: ap.Addr(), Zone: zone}
	}
	return nil
}

// ours reports whether a listener of this process would answer at ap.
func (g *Guard) ours(ap netip.AddrPort) bool {
	exact, everywhere := g.listens(ap)
	return exact || everywhere && g.isLocal(ap.Addr())
}

// listens reports whether a listener stands at ap itself, or on its port of the unspecified address.
func (g *Guard) listens(ap netip.AddrPort) (exact, everywhere bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for own := range g.own {
		if own.Port() != ap.Port() {
			continue
		}
		a := own.Addr()
		exact = exact || a == ap.Addr() || a.IsLoopback() && ap.Addr().IsLoopback()
		everywhere = everywhere || a.IsUnspecified() || !a.IsValid()
	}
	return exact, everywhere
}

// isLocal reports whether a is an address of this machine, also when that cannot be found out.
func (g *Guard) isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list := g.interfaces
	if list == nil {
		list = net.InterfaceAddrs
	}
	addrs, err := list()
	if err != nil {
		return true
	}
	for _, i := range addrs {
		if n, ok := i.(*net.IPNet); ok {
			if local, ok := netip.AddrFromSlice(n.IP); ok && local.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// plain is ap in the one spelling that own uses.
func plain(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
