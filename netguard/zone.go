// Package netguard decides which addresses may be dialled.
package netguard

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// Zone is how far away an address is. The zero Zone is [Never].
type Zone uint8

const (
	Never    Zone = iota // no rule opens it
	Loopback             // this machine: 127.0.0.0/8 and ::1
	Private              // RFC 1918, unique local (RFC 4193), shared address space (RFC 6598)
	Public               // the rest of what is routed on the internet
)

// String is the zone as it stands in a sentence: "a … address".
func (z Zone) String() string {
	switch z {
	case Loopback:
		return "loopback"
	case Private:
		return "private"
	case Public:
		return "public"
	}
	return "forbidden"
}

// Classify returns the zone of a. An IPv4-mapped IPv6 address is the IPv4 address it maps; every
// other way of writing an IPv4 address inside an IPv6 one is [Never], since a gateway could take
// it anywhere. So are addresses with a zone identifier, link-local, multicast, reserved and
// documentation addresses, and those where clouds hand out credentials.
func Classify(a netip.Addr) Zone {
	if !a.IsValid() || a.Zone() != "" {
		return Never
	}
	a = a.Unmap()
	switch {
	case a.IsLoopback():
		return Loopback
	case within(a, forbidden), isISATAP(a):
		return Never
	case within(a, private):
		return Private
	case routed.SafeAddr(a) != nil:
		return Never
	}
	return Public
}

// routed holds the IANA special-purpose registries: what it refuses is not the internet.
var routed = ssrf.New()

// forbidden is what the registries would call private or global.
var forbidden = prefixes(
	// Instance metadata and credentials of AWS (IMDS, ECS, EKS), Azure, Alibaba, Oracle, Scaleway, Google.
	"169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
	"fd00:ec2::/32", "fd00:42::42/128", "fd20:ce::254/128",
	// IPv4 embedded in IPv6.
	"::/96",           // unspecified and IPv4-compatible, RFC 4291 §2.5.5.1
	"::ffff:0:0:0/96", // IPv4-translated, RFC 2765 §2.1
	"64:ff9b::/96",    // NAT64, RFC 6052
	"64:ff9b:1::/48",  // local-use NAT64, RFC 8215
	"2001::/32",       // Teredo, RFC 4380
	"2002::/16",       // 6to4, RFC 3056
)

var private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// isISATAP finds the interface identifiers ::0:5efe:a.b.c.d and ::200:5efe:a.b.c.d (RFC 5214 §6.1),
// which tunnel to an IPv4 address under any prefix.
func isISATAP(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	b := a.As16()
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
