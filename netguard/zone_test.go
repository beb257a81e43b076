package netguard

import (
	"net/netip"
	"testing"

	"code.dny.dev/ssrf"
)

var zoneTests = []struct {
	name, addr string
	want       Zone
}{
	{"loopback", "127.0.0.1", Loopback},
	{"loopback, end of the range", "127.255.255.254", Loopback},
	{"loopback v6", "::1", Loopback},
	{"loopback, mapped", "::ffff:127.0.0.1", Loopback},
	{"RFC 1918 /8", "10.0.0.5", Private},
	{"RFC 1918 /12, first", "172.16.0.0", Private},
	{"RFC 1918 /12, last", "172.31.255.255", Private},
	{"RFC 1918 /16", "192.168.1.1", Private},
	{"RFC 1918, mapped", "::ffff:192.168.1.1", Private},
	{"shared address space", "100.64.0.1", Private},
	{"shared address space, last", "100.127.255.255", Private},
	{"unique local", "fd12:3456:789a::1", Private},
	{"unique local fc", "fc00::1", Private},
	{"public", "93.184.215.14", Public},
	{"public, before 172.16/12", "172.15.255.255", Public},
	{"public, behind 172.16/12", "172.32.0.0", Public},
	{"public, before 100.64/10", "100.63.255.255", Public},
	{"public, behind 100.64/10", "100.128.0.0", Public},
	{"public, mapped", "::ffff:8.8.8.8", Public},
	{"public v6", "2606:4700:4700::1111", Public},
	{"public v6, nearly ISATAP", "2606:4700::100:5efe:7f00:1", Public},

	{"invalid", "", Never},
	{"unspecified", "0.0.0.0", Never},
	{"this network", "0.1.2.3", Never},
	{"unspecified v6", "::", Never},
	{"unspecified, mapped", "::ffff:0.0.0.0", Never},
	{"loopback with zone", "::1%lo", Never},
	{"mapped loopback with zone", "::ffff:127.0.0.1%lo", Never},
	{"public with zone", "2606:4700:4700::1111%eth0", Never},
	{"link-local", "169.254.1.1", Never},
	{"link-local v6", "fe80::1", Never},
	{"link-local v6 with zone", "fe80::1%eth0", Never},
	{"site-local", "fec0::1", Never},
	{"metadata: common", "169.254.169.254", Never},
	{"metadata: common, mapped", "::ffff:169.254.169.254", Never},
	{"metadata: ECS", "169.254.170.2", Never},
	{"metadata: EKS", "169.254.170.23", Never},
	{"metadata: Alibaba", "100.100.100.200", Never},
	{"metadata: Azure", "168.63.129.16", Never},
	{"metadata: Azure, mapped", "::ffff:168.63.129.16", Never},
	{"metadata: Oracle", "192.0.0.192", Never},
	{"metadata: AWS v6", "fd00:ec2::254", Never},
	{"metadata: EKS v6", "fd00:ec2::23", Never},
	{"metadata: AWS v6 with zone", "fd00:ec2::254%eth0", Never},
	{"metadata: Scaleway v6", "fd00:42::42", Never},
	{"metadata: Google v6", "fd20:ce::254", Never},
	{"multicast", "224.0.0.1", Never},
	{"multicast, last", "239.255.255.255", Never},
	{"multicast v6", "ff02::1", Never},
	{"broadcast", "255.255.255.255", Never},
	{"reserved", "240.0.0.1", Never},
	{"benchmarking", "198.18.0.1", Never},
	{"protocol assignments", "192.0.0.8", Never},
	{"6to4 relay", "192.88.99.1", Never},
	{"documentation 1", "192.0.2.1", Never},
	{"documentation 2", "198.51.100.1", Never},
	{"documentation 3", "203.0.113.1", Never},
	{"documentation v6", "2001:db8::1", Never},
	{"documentation v6 /20", "3fff::1", Never},
	{"discard-only", "100::1", Never},
	{"dummy prefix", "100:0:0:1::1", Never},
	{"SRv6 SIDs", "5f00::1", Never},
	{"benchmarking v6", "2001:2::1", Never},
	{"outside 2000::/3", "4000::1", Never},
	{"outside 2000::/3, high", "e000::1", Never},
	{"IPv4-compatible loopback", "::127.0.0.1", Never},
	{"IPv4-compatible public", "::8.8.8.8", Never},
	{"IPv4-translated", "::ffff:0:127.0.0.1", Never},
	{"NAT64 loopback", "64:ff9b::7f00:1", Never},
	{"NAT64 metadata", "64:ff9b::a9fe:a9fe", Never},
	{"NAT64 public", "64:ff9b::808:808", Never},
	{"local NAT64", "64:ff9b:1::a9fe:a9fe", Never},
	{"6to4 loopback", "2002:7f00:1::", Never},
	{"6to4 metadata", "2002:a9fe:a9fe::1", Never},
	{"Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2", Never},
	{"ISATAP, local identifier", "2606:4700::5efe:7f00:1", Never},
	{"ISATAP, global identifier", "2606:4700::200:5efe:a9fe:a9fe", Never},
	{"ISATAP in unique local", "fd12:3456::5efe:a9fe:a9fe", Never},
}

func TestClassify(t *testing.T) {
	for _, tt := range zoneTests {
		t.Run(tt.name, func(t *testing.T) {
			var a netip.Addr
			if tt.addr != "" {
				a = netip.MustParseAddr(tt.addr)
			}
			if got := Classify(a); got != tt.want {
				t.Errorf("Classify(%s) = %v, want %v", tt.addr, got, tt.want)
			}
		})
	}
}

func TestAllow(t *testing.T) {
	for _, tt := range []struct {
		rules Rules
		want  map[Zone]bool
	}{
		{Rules{}, map[Zone]bool{Public: true}},
		{Rules{Loopback: true}, map[Zone]bool{Public: true, Loopback: true}},
		{Rules{Private: true}, map[Zone]bool{Public: true, Private: true}},
		{Rules{Loopback: true, Private: true}, map[Zone]bool{Public: true, Private: true, Loopback: true}},
	} {
		for z := Never; z <= Public+1; z++ {
			if got := tt.rules.Allow(z); got != tt.want[z] {
				t.Errorf("%+v.Allow(%v) = %v, want %v", tt.rules, z, got, tt.want[z])
			}
		}
	}
}

// FuzzClassify holds three laws: what the special-purpose registries refuse is never public, a
// zone identifier makes any address forbidden, and a mapped address is in the zone of its IPv4 address.
func FuzzClassify(f *testing.F) {
	for _, tt := range zoneTests {
		if a, err := netip.ParseAddr(tt.addr); err == nil {
			b := a.As16()
			f.Add(b[:])
			f.Add(a.AsSlice())
		}
	}
	registries := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		zone := Classify(a)
		if zone == Public && registries.SafeAddr(a.Unmap()) != nil {
			t.Errorf("Classify(%v) = %v, but the registries refuse it", a, zone)
		}
		if got := Classify(a.Unmap()); got != zone {
			t.Errorf("Classify(%v) = %v, unmapped %v", a, zone, got)
		}
		if a.Is6() {
			if got := Classify(a.WithZone("1")); got != Never {
				t.Errorf("Classify(%v%%1) = %v, want %v", a, got, Never)
			}
		} else if got := Classify(netip.AddrFrom16(a.As16())); got != zone {
			t.Errorf("Classify(%v) = %v, mapped %v", a, zone, got)
		}
	})
}
