package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestDialer sends a real net.Dialer to a listener on every address of this machine: the dialer
// itself reaches it under each of these spellings, the guard must not let it.
func TestDialer(t *testing.T) {
	port, accepted := listen(t, ":0")
	open := Rules{Loopback: true, Private: true}
	for _, tt := range []struct {
		name, host string
		rules      Rules
		want       bool
	}{
		{"loopback allowed", "127.0.0.1", Rules{Loopback: true}, true},
		{"loopback mapped, allowed", "[::ffff:127.0.0.1]", Rules{Loopback: true}, true},
		{"loopback", "127.0.0.1", Rules{}, false},
		{"loopback under a private rule", "127.0.0.1", Rules{Private: true}, false},
		{"loopback v6", "[::1]", Rules{}, false},
		{"loopback elsewhere in /8", "127.9.9.9", Rules{}, false},
		{"loopback mapped", "[::ffff:127.0.0.1]", Rules{}, false},
		{"loopback mapped, hexadecimal", "[::ffff:7f00:1]", Rules{}, false},
		{"localhost", "localhost", Rules{}, false},
		{"localhost, upper case", "LOCALHOST", Rules{}, false},
		{"empty host", "", open, false},
		{"unspecified", "0.0.0.0", open, false},
		{"unspecified v6", "[::]", open, false},
		{"unspecified mapped", "[::ffff:0.0.0.0]", open, false},
		{"zone", "[::1%lo]", open, false},
		{"zone on mapped", "[::ffff:127.0.0.1%lo]", open, false},
		{"IPv4-compatible", "[::127.0.0.1]", open, false},
		{"NAT64", "[64:ff9b::7f00:1]", open, false},
		{"metadata", "169.254.169.254", open, false},
		{"private", "10.255.255.1", Rules{Loopback: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := accepted.Load()
			var g Guard
			d := net.Dialer{Timeout: 2 * time.Second, ControlContext: g.Control(tt.host, tt.rules)}
			conn, err := d.DialContext(t.Context(), "tcp", tt.host+":"+port)
			if err == nil {
				_, _ = conn.Read(make([]byte, 1)) // the listener counts, then closes
				conn.Close()
			}
			if got := accepted.Load() - before; got != 0 != tt.want {
				t.Errorf("the listener accepted %d connections, want any: %v", got, tt.want)
			}
			if denied := (*DeniedError)(nil); !tt.want && !errors.As(err, &denied) {
				t.Errorf("error %v, want a DeniedError", err)
			}
		})
	}
}

// TestControlStrings gives Control what a dialer might, and what none should.
func TestControlStrings(t *testing.T) {
	open := Rules{Loopback: true, Private: true}
	var g Guard
	for _, tt := range []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "93.184.215.14:443", true},
		{"tcp6", "[2606:4700::1111]:443", true},
		{"tcp4", "127.0.0.1:80", true},
		{"udp4", "93.184.215.14:443", false},
		{"unix", "/run/docker.sock", false},
		{"tcp", "93.184.215.14:443", false},
		{"tcp4", "", false},
		{"tcp4", ":80", false},
		{"tcp4", "127.0.0.1", false},
		{"tcp4", "127.0.0.1:", false},
		{"tcp4", "127.0.0.1:http", false},
		{"tcp4", "127.0.0.1:99999", false},
		{"tcp4", "127.0.0.1%lo:80", false},
		{"tcp4", "2130706433:80", false},
		{"tcp4", "0x7f.1:80", false},
		{"tcp4", "0177.0.0.1:80", false},
		{"tcp4", "127.1:80", false},
		{"tcp4", "localhost:80", false},
		{"tcp6", "::1:80", false},
		{"tcp6", "[::1%lo]:80", false},
		{"tcp6", "[fe80::1%eth0]:80", false},
		{"tcp6", "[fd00:ec2::254%eth0]:80", false},
		{"tcp6", "[::ffff:127.0.0.1%lo]:80", false},
		{"tcp6", "[[::1]]:80", false},
	} {
		err := g.Control("host.example", open)(t.Context(), tt.network, tt.address, nil)
		if got := err == nil; got != tt.want {
			t.Errorf("Control(%s, %q): %v, want allowed %v", tt.network, tt.address, err, tt.want)
		}
	}
	for _, tt := range zoneTests {
		if tt.addr == "" || tt.want == Public {
			continue
		}
		err := g.Control("host.example", Rules{})(t.Context(), "tcp6", "["+tt.addr+"]:80", nil)
		if denied := (*DeniedError)(nil); !errors.As(err, &denied) {
			t.Errorf("Control([%s]:80): %v, want a DeniedError", tt.addr, err)
		}
	}
}

func TestOwn(t *testing.T) {
	open := Rules{Loopback: true, Private: true}
	const nic = "10.9.8.7" // the address of this machine
	for _, tt := range []struct {
		name, listen, dial string
		want               bool
	}{
		{"same address", "127.0.0.1:81", "127.0.0.1:81", false},
		{"mapped", "127.0.0.1:81", "[::ffff:127.0.0.1]:81", false},
		{"other loopback address", "127.0.0.1:81", "127.0.0.2:81", false},
		{"other family", "127.0.0.1:81", "[::1]:81", false},
		{"declared mapped", "[::ffff:127.0.0.1]:81", "127.0.0.1:81", false},
		{"declared v6", "[::1]:81", "127.0.0.1:81", false},
		{"other port", "127.0.0.1:81", "127.0.0.1:82", true},
		{"loopback listener, other address", "127.0.0.1:81", "10.1.2.3:81", true},
		{"everywhere, loopback", "[::]:81", "127.0.0.1:81", false},
		{"everywhere v4, loopback v6", "0.0.0.0:81", "[::1]:81", false},
		{"everywhere, address of this machine", "0.0.0.0:81", nic + ":81", false},
		{"everywhere, other machine", "0.0.0.0:81", "93.184.215.14:81", true},
		{"everywhere, other port", "0.0.0.0:81", "127.0.0.1:82", true},
		{"one address", "10.1.2.3:81", "10.1.2.3:81", false},
		{"one address, mapped", "10.1.2.3:81", "[::ffff:10.1.2.3]:81", false},
		{"one address, declared mapped", "[::ffff:10.1.2.3]:81", "10.1.2.3:81", false},
		{"one address, other", "10.1.2.3:81", "10.1.2.4:81", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := Guard{interfaces: func() ([]net.Addr, error) {
				return []net.Addr{&net.IPNet{IP: net.ParseIP(nic), Mask: net.CIDRMask(24, 32)}}, nil
			}}
			allowed := func() bool {
				return g.Control("h", open)(t.Context(), "tcp4", tt.dial, nil) == nil
			}
			first := g.Own(netip.MustParseAddrPort(tt.listen))
			second := g.Own(netip.MustParseAddrPort(tt.listen))
			if got := allowed(); got != tt.want {
				t.Errorf("listening on %s, dialling %s: allowed %v, want %v", tt.listen, tt.dial, got, tt.want)
			}
			first()
			first()
			if got := allowed(); got != tt.want {
				t.Errorf("after one of two releases: allowed %v, want %v", got, tt.want)
			}
			second()
			if !allowed() {
				t.Error("after release: denied")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("93.184.215.%d", i)
	}
	res := resolver(map[string][]string{
		"public.example.":   {"93.184.215.14", "2606:4700::1111"},
		"inside.example.":   {"10.0.0.5"},
		"mixed.example.":    {"93.184.215.14", "10.0.0.5"},
		"metadata.example.": {"169.254.169.254"},
		"many.example.":     many,
		"last.example.":     append(many[:len(many):len(many)], "10.0.0.5"),
		"own.example.":      {"127.0.0.1"},
	})
	var g Guard
	g.Own(netip.MustParseAddrPort("127.0.0.1:8808"))
	open := Rules{Loopback: true, Private: true}
	for _, tt := range []struct {
		name, host string
		rules      Rules
		want       string // part of the error, "" for none
	}{
		{"public", "public.example", Rules{}, ""},
		{"public literal", "93.184.215.14", Rules{}, ""},
		{"private", "inside.example", Rules{}, "connecting to inside.example is not allowed: it is a private address"},
		{"private allowed", "inside.example", Rules{Private: true}, ""},
		{"one of two is private", "mixed.example", Rules{}, "it is a private address"},
		{"metadata", "metadata.example", open, "it is a forbidden address"},
		{"many", "many.example", Rules{}, ""},
		{"the last of many is private", "last.example", Rules{}, "it is a private address"},
		{"private literal", "10.0.0.5", Rules{}, "connecting to 10.0.0.5 is not allowed"},
		{"zone", "fe80::1%eth0", open, "it is a forbidden address"},
		{"empty", "", open, "connecting to an empty host is not allowed"},
		{"own listener by name", "own.example", open, "it is a forbidden address"},
		{"own listener by address", "127.0.0.1", open, "it is a forbidden address"},
		{"not found", "absent.example", Rules{}, "no such host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := g.Check(t.Context(), res, tt.host, 8808, tt.rules)
			if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) && tt.want != "" {
				t.Errorf("Check(%s) = %v, want %q", tt.host, err, tt.want)
			}
		})
	}
}

// TestCheckEnds resolves with a server that takes a minute to be reached.
func TestCheckEnds(t *testing.T) {
	// The first lookup of a process makes a channel that must not belong to the bubble.
	_, _ = resolver(nil).LookupNetIP(t.Context(), "ip", "first.example")
	synctest.Test(t, func(t *testing.T) {
		res := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(time.Minute)
			return nil, errors.New("unreachable")
		}}
		start := time.Now()
		var g Guard
		err := g.Check(t.Context(), res, "slow.example", 443, Rules{})
		if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || !dns.IsTimeout {
			t.Errorf("error %v, want a DNS timeout", err)
		}
		if got := time.Since(start); got > 10*time.Second {
			t.Errorf("it took %v, want 10 s at most", got)
		}
		time.Sleep(time.Hour) // until the resolver's own goroutines have ended
	})
}

func TestDeniedError(t *testing.T) {
	for _, zone := range []Zone{Never, Loopback, Private} {
		err := &DeniedError{Host: "wiki.example\x1b[31m\n", Addr: netip.MustParseAddr("10.98.76.54"), Zone: zone}
		want := "connecting to wiki.example[31m is not allowed: it is a " + zone.String() + " address"
		if got := err.Error(); got != want {
			t.Errorf("Error() = %q, want %q", got, want)
		}
		for _, text := range []string{err.Error(), err.Hint(), fmt.Sprintf("%+v %s", err, err)} {
			if strings.Contains(text, "10.98.76.54") {
				t.Errorf("%q shows the resolved address", text)
			}
		}
		if err.Hint() == "" || err.Code() != "network.address_denied" {
			t.Errorf("hint %q, code %q", err.Hint(), err.Code())
		}
	}
}

// listen counts the connections that arrive at address.
func listen(t *testing.T, address string) (port string, accepted *atomic.Int32) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int32)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); done.Wait() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, accepted
}

// The machine's real addresses are found too.
func TestIsLocal(t *testing.T) {
	var g Guard
	addrs, err := net.InterfaceAddrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("no interface addresses: %v", err)
	}
	for _, a := range addrs {
		p := netip.MustParsePrefix(a.String())
		if !g.isLocal(p.Addr().WithZone("")) {
			t.Errorf("%s is not local", p.Addr())
		}
	}
	if g.isLocal(netip.MustParseAddr("93.184.215.14")) {
		t.Error("93.184.215.14 is local")
	}
	g.interfaces = func() ([]net.Addr, error) { return nil, errors.New("not permitted") }
	if !g.isLocal(netip.MustParseAddr("93.184.215.14")) {
		t.Error("an address is not local although nobody could tell")
	}
}

// resolver answers from a table, speaking DNS over TCP framing through a pipe.
func resolver(table map[string][]string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			buf := make([]byte, 2+512)
			n, err := server.Read(buf)
			if err == nil && n <= 2 {
				_, err = server.Read(buf[2:])
			}
			if err == nil {
				_, _ = server.Write(answer(buf[2:], table))
			}
		}()
		return client, nil
	}}
}

func answer(query []byte, table map[string][]string) []byte {
	var p dnsmessage.Parser
	header, _ := p.Start(query)
	question, _ := p.Question()
	header.Response = true
	m := dnsmessage.Message{Header: header, Questions: []dnsmessage.Question{question}}
	addrs, ok := table[question.Name.String()]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, s := range addrs {
		a := netip.MustParseAddr(s)
		h := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET}
		switch {
		case a.Is4() && question.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && question.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	b, _ := m.Pack()
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}
