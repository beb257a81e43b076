package tlsmat

import (
	"bytes"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func TestHandshake(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	pair := clients.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	m := load(t, pair, servers.PEM())
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, got := serve(t, config)
			seen := &Seen{}
			client := m.TLSConfig("site.test")
			client.ServerName = "127.0.0.1"
			if err := dial(t, addr, client, seen); err != nil {
				t.Fatal(err)
			}
			s := <-got
			if n := len(s.state.PeerCertificates); n != 2 {
				t.Errorf("server received %d certificates, want 2", n)
			}
			if !seen.Asked() || !seen.Sent() {
				t.Errorf("asked %v, sent %v", seen.Asked(), seen.Sent())
			}
			if diff := cmp.Diff([]string{"CN=Clients"}, seen.AcceptableCAs()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A server that names only other authorities must receive the certificate all the same, and
// reject it for what it is.
func TestCertificateIsSentWhateverTheHints(t *testing.T) {
	servers, clients, others := tlstest.NewCA("Servers"), tlstest.NewCA("Clients"), tlstest.NewCA("Others")
	pair := clients.Issue(tlstest.Leaf{CN: "alice", Client: true})
	m := load(t, pair, servers.PEM())
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.ServerConfig("127.0.0.1")
			config.MaxVersion = version
			config.ClientAuth = tls.RequireAnyClientCert
			config.ClientCAs = others.Pool()
			addr, got := serve(t, config)
			seen := &Seen{}
			client := m.TLSConfig("site.test")
			client.ServerName = "127.0.0.1"
			if err := dial(t, addr, client, seen); err != nil {
				t.Fatal(err)
			}
			s := <-got
			if s.err != nil || len(s.state.PeerCertificates) != 1 || !s.state.PeerCertificates[0].Equal(pair.Cert.Leaf) {
				t.Errorf("server: %v, received %d certificates, want ours", s.err, len(s.state.PeerCertificates))
			}
			if seen.Fits() {
				t.Error("the hints are not said to be unfit")
			}
		})
	}
}

func TestNoCertificate(t *testing.T) {
	servers := tlstest.NewCA("Servers")
	var none *Material
	for _, tt := range []struct {
		name string
		m    *Material
	}{{"nil", none}, {"roots only", load(t, nil, servers.PEM())}} {
		for name, version := range versions {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				config := servers.ServerConfig("127.0.0.1")
				config.MaxVersion = version
				config.ClientAuth = tls.RequestClientCert
				addr, got := serve(t, config)
				seen := &Seen{}
				client := tt.m.TLSConfig("site.test")
				client.RootCAs, client.ServerName = servers.Pool(), "127.0.0.1"
				if err := dial(t, addr, client, seen); err != nil {
					t.Fatal(err)
				}
				if s := <-got; s.err != nil || len(s.state.PeerCertificates) != 0 {
					t.Errorf("server: %v, received %d certificates, want none", s.err, len(s.state.PeerCertificates))
				}
				if !seen.Asked() || seen.Sent() {
					t.Errorf("asked %v, sent %v", seen.Asked(), seen.Sent())
				}
			})
		}
	}
}

func TestNotAsked(t *testing.T) {
	servers := tlstest.NewCA("Servers")
	addr, got := serve(t, servers.ServerConfig("127.0.0.1"))
	seen := &Seen{}
	client := load(t, servers.Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM()).TLSConfig("site.test")
	client.ServerName = "127.0.0.1"
	if err := dial(t, addr, client, seen); err != nil {
		t.Fatal(err)
	}
	<-got
	if seen.Asked() || seen.Sent() || seen.AcceptableCAs() != nil {
		t.Error("a server that did not ask is said to have")
	}
	var none *Seen
	if none.Asked() || none.Sent() || none.AcceptableCAs() != nil {
		t.Error("a nil Seen has seen something")
	}
}

// Two identities that shared a session cache would be one to the server. There is none unless the
// caller adds one, for one material.
func TestSessionsAreNotShared(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, got := serve(t, config)
			var subjects []string
			var resumed []bool
			client := func(cn string, cache tls.ClientSessionCache) *tls.Config {
				c := load(t, clients.Issue(tlstest.Leaf{CN: cn, Client: true}), servers.PEM()).TLSConfig("127.0.0.1")
				if c.ClientSessionCache != nil {
					t.Error("there is a cache")
				}
				c.ClientSessionCache = cache
				return c
			}
			carol := client("carol", nil)
			alice, bob := client("alice", tls.NewLRUClientSessionCache(0)), client("bob", tls.NewLRUClientSessionCache(0))
			for _, c := range []*tls.Config{alice, alice, bob, alice, bob, carol, carol} {
				if err := dial(t, addr, c); err != nil {
					t.Fatal(err)
				}
				s := <-got
				subjects = append(subjects, s.state.PeerCertificates[0].Subject.CommonName)
				resumed = append(resumed, s.state.DidResume)
			}
			if diff := cmp.Diff([]string{"alice", "alice", "bob", "alice", "bob", "carol", "carol"}, subjects); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]bool{false, true, false, true, true, false, false}, resumed); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// In a resumed session nobody asks again: it is the caller that knows which handshake began it.
func TestSeenInherits(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	config := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM()).TLSConfig("127.0.0.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	addr, got := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
	first, second := &Seen{}, &Seen{}
	for _, seen := range []*Seen{first, second} {
		if err := dial(t, addr, config, seen); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s.state.DidResume != (seen == second) || len(s.state.PeerCertificates) != 1 {
			t.Fatalf("resumed %v, %d certificates", s.state.DidResume, len(s.state.PeerCertificates))
		}
	}
	if !first.Asked() || second.Asked() || second.Sent() {
		t.Errorf("first asked %v, second asked %v, sent %v", first.Asked(), second.Asked(), second.Sent())
	}
	second.Inherit(first)
	if !second.Asked() || !second.Sent() || !second.Fits() || len(second.AcceptableCAs()) != 1 {
		t.Error("nothing was inherited")
	}
	second.Inherit(nil)
	second.Inherit(second)
	(*Seen)(nil).Inherit(first)
	if !second.Asked() {
		t.Error("inheriting nothing takes something away")
	}
}

func TestConfigIsConservative(t *testing.T) {
	var none *Material
	c := none.TLSConfig("site.test")
	if c.MinVersion != tls.VersionTLS12 || c.Renegotiation != tls.RenegotiateNever || c.InsecureSkipVerify || c.NextProtos != nil || c.RootCAs != nil {
		t.Errorf("unexpected config: %+v", c)
	}
	got, err := c.GetClientCertificate(&tls.CertificateRequestInfo{})
	if got == nil || err != nil {
		t.Errorf("GetClientCertificate = %v, %v; nil would panic", got, err)
	}
}

func TestMaterialDoesNotChange(t *testing.T) {
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	m := load(t, pair)
	m.Certificate().Certificate[0] = nil
	m.Certificate().PrivateKey = nil
	c := m.Certificate()
	if !bytes.Equal(c.Certificate[0], pair.Cert.Leaf.Raw) || c.PrivateKey == nil {
		t.Error("a caller changed the material")
	}
}

func TestAcceptableCAsAreBoundedAndSafe(t *testing.T) {
	name := func(cn string) []byte {
		der, err := asn1.Marshal(pkix.Name{CommonName: cn, Organization: []string{"Corp, Inc."}}.ToRDNSequence())
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	info := &tls.CertificateRequestInfo{AcceptableCAs: [][]byte{name("evil\x1b[2J\u202e\nCA"), {0xff}, name(strings.Repeat("x", 1000))}}
	for i := range 40 {
		info.AcceptableCAs = append(info.AcceptableCAs, name(fmt.Sprint(i)))
	}
	seen := &Seen{}
	seen.note(info, nil)
	got := seen.AcceptableCAs()
	if len(got) != maxNames {
		t.Errorf("%d names, want %d", len(got), maxNames)
	}
	for _, n := range got {
		if len(n) > 210 || strings.ContainsAny(n, "\x1b\n\u202e") {
			t.Errorf("unsafe name %q", n)
		}
	}
	if want := `CN=0,O=Corp\, Inc.`; got[3] != want {
		t.Errorf("name %q, want %q", got[3], want)
	}
	if got[1] != "(unreadable name of 1 bytes)" {
		t.Errorf("name %q", got[1])
	}
}

func TestSeenIsSafeForConcurrentUse(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	addr, got := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
	seen, other := &Seen{}, &Seen{}
	client := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM()).TLSConfig("127.0.0.1")
	done := make(chan error)
	for range 4 {
		go func() {
			conn, err := (&tls.Dialer{Config: client}).DialContext(WithSeen(t.Context(), seen), "tcp", addr)
			if err == nil {
				_, _, _ = seen.Asked(), seen.Sent(), seen.AcceptableCAs()
				other.Inherit(seen)
				seen.Inherit(other)
				err = conn.Close()
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-got
	}
	if !seen.Asked() || !other.Asked() {
		t.Error("not asked")
	}
}

// nil would panic in a goroutine of net/http, which nobody can recover.
func TestGetClientCertificateIsNeverNil(t *testing.T) {
	var none *Material
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	unfit := &tls.CertificateRequestInfo{AcceptableCAs: [][]byte{{0x30, 0}}, Version: tls.VersionTLS13, SignatureSchemes: []tls.SignatureScheme{tls.Ed25519}}
	for _, tt := range []struct {
		name string
		m    *Material
		want int
	}{{"nil", none, 0}, {"roots only", load(t, nil, tlstest.NewCA("CA").PEM()), 0}, {"pair", load(t, pair), 1}} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.m.TLSConfig("site.test").GetClientCertificate(unfit)
			if err != nil || got == nil || len(got.Certificate) != tt.want {
				t.Errorf("GetClientCertificate = %v, %v, want %d certificates", got, err, tt.want)
			}
		})
	}
}

func TestMinVersion(t *testing.T) {
	root := newAuthority(t, "Root")
	ca := write(t, "ca.pem", root.pem())
	for _, tt := range []struct {
		name     string
		min, max uint16 // ours, the server's
		ok       bool
	}{
		{"default", 0, tls.VersionTLS12, true},
		{"1.2", tls.VersionTLS12, tls.VersionTLS12, true},
		{"1.3 with 1.3", tls.VersionTLS13, tls.VersionTLS13, true},
		{"1.3 with 1.2", tls.VersionTLS13, tls.VersionTLS12, false},
		{"default with 1.1", 0, tls.VersionTLS11, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := loadEntry(t, Entry{CA: []string{ca}, CAOnly: true, MinVersion: tt.min})
			addr, got := serve(t, &tls.Config{Certificates: []tls.Certificate{root.server(t)}, MinVersion: tls.VersionTLS10, MaxVersion: tt.max})
			err := dial(t, addr, m.TLSConfig("127.0.0.1"))
			s := <-got
			if (err == nil) != tt.ok || (s.err == nil) != tt.ok || tt.ok && s.state.Version != tt.max {
				t.Errorf("client %v, server %v, version %x", err, s.err, s.state.Version)
			}
		})
	}
	if err := loadErr(t, Entry{Name: "corp", CA: []string{ca}, MinVersion: tls.VersionTLS11}); err == nil || err.Code() != "tls.min_version" {
		t.Errorf("TLS 1.1: %v", err)
	}
}
