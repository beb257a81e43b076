package tlsmat

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// serveSNI is serve that reports the name that the client asked for.
func serveSNI(t *testing.T, c tls.Certificate) (addr string, got <-chan served, names <-chan string) {
	t.Helper()
	asked := make(chan string, 16)
	addr, got = serve(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- h.ServerName
		return &c, nil
	}})
	return addr, got, asked
}

func TestServerNameReplacesTheHost(t *testing.T) {
	root := newAuthority(t, "Root")
	server := root.server(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"inside.corp.test"}, nil })
	ca := write(t, "ca.pem", root.pem())
	for _, tt := range []struct {
		name, serverName, sni string
		ok                    bool
	}{
		{"not set", "", "outside.test", false},
		{"set", "inside.corp.test", "inside.corp.test", true},
		{"another", "else.corp.test", "else.corp.test", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := loadEntry(t, Entry{CA: []string{ca}, CAOnly: true, ServerName: tt.serverName})
			addr, got, names := serveSNI(t, server)
			err := dial(t, addr, m.TLSConfig("outside.test"))
			<-got
			var hostname x509.HostnameError
			if (err == nil) != tt.ok || !tt.ok && !errors.As(err, &hostname) {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
			if sni := <-names; sni != tt.sni {
				t.Errorf("the server was asked for %q, want %q", sni, tt.sni)
			}
		})
	}
}

func TestSPIFFEID(t *testing.T) {
	const id = "spiffe://corp.test/wiki"
	root, other := newAuthority(t, "Root"), newAuthority(t, "Other")
	issuing := root.intermediate(t, "Issuing")
	noNames := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }
	ca := write(t, "ca.pem", root.pem())
	unknown := func(err error) bool {
		var v *tls.CertificateVerificationError
		var u x509.UnknownAuthorityError
		return errors.As(err, &v) && len(v.UnverifiedCertificates) > 0 && errors.As(err, &u)
	}
	invalid := func(reason x509.InvalidReason) func(error) bool {
		return func(err error) bool {
			var i x509.CertificateInvalidError
			return errors.As(err, &i) && i.Reason == reason
		}
	}
	mismatch := func(text string) func(error) bool {
		return func(err error) bool {
			var e *IDError
			return errors.As(err, &e) && e.Want == id && e.Code() == "tls.server_id_mismatch" &&
				strings.Contains(e.Error(), text) && strings.Contains(e.Hint(), "mtls.corp.server_name")
		}
	}
	for _, tt := range []struct {
		name   string
		server tls.Certificate
		want   func(error) bool // nil: success
	}{
		{"its own", root.server(t, noNames, uris(t, id)), nil},
		{"through an intermediate", issuing.server(t, noNames, uris(t, id)), nil},
		{"with names", root.server(t, uris(t, id)), nil},
		{"none", root.server(t), mismatch("it names no SPIFFE ID")},
		{"another path", root.server(t, uris(t, "spiffe://corp.test/wiki2")), mismatch(`it is for "spiffe://corp.test/wiki2"`)},
		{"a path below", root.server(t, uris(t, id+"/x")), mismatch("it is for")},
		{"another domain", root.server(t, uris(t, "spiffe://evil.test/wiki")), mismatch("it is for")},
		{"capitals", root.server(t, uris(t, "spiffe://Corp.test/wiki")), mismatch("it is for")},
		{"scheme in capitals", root.server(t, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "SPIFFE", Host: "corp.test", Path: "/wiki"}} }), mismatch(`it is for "SPIFFE://corp.test/wiki"`)},
		{"escapes", root.server(t, uris(t, "spiffe://corp.test/wik%69")), mismatch("it is for")},
		{"query", root.server(t, uris(t, id+"?x")), mismatch("it is for")},
		{"two", root.server(t, uris(t, id, "spiffe://corp.test/other")), mismatch("it has 2 URIs")},
		{"an authority", root.server(t, uris(t, id), func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), mismatch("authority")},
		{"may sign certificates", root.server(t, uris(t, id), func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), mismatch("authority")},
		{"unsafe to print", root.server(t, uris(t, "spiffe://corp.test/%1b[31m")), mismatch("it is for")},
		{"another root", other.server(t, uris(t, id)), unknown},
		{"expired", root.server(t, uris(t, id), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), invalid(x509.Expired)},
		{"for clients", root.server(t, uris(t, id), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), invalid(x509.IncompatibleUsage)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := loadEntry(t, Entry{CA: []string{ca}, ServerName: id})
			addr, got, names := serveSNI(t, tt.server)
			err := dial(t, addr, m.TLSConfig("site.test"))
			<-got
			if tt.want == nil && err != nil || tt.want != nil && (err == nil || !tt.want(err)) {
				t.Errorf("error %T %v", err, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("unsafe %q", err)
			}
			if sni := <-names; sni != "site.test" {
				t.Errorf("the server was asked for %q, want the URL's host", sni)
			}
		})
	}
}

func TestSPIFFEIDHoldsForResumedSessions(t *testing.T) {
	root := newAuthority(t, "Root")
	ca := write(t, "ca.pem", root.pem())
	right := loadEntry(t, Entry{CA: []string{ca}, ServerName: "spiffe://corp.test/wiki"})
	wrong := loadEntry(t, Entry{CA: []string{ca}, ServerName: "spiffe://corp.test/mail"})
	elsewhere := loadEntry(t, Entry{CA: []string{write(t, "ca.pem", newAuthority(t, "Other").pem())}, ServerName: "spiffe://corp.test/wiki"})
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			addr, got := present(t, version, root.server(t, uris(t, "spiffe://corp.test/wiki")))
			resume(t, addr, got, right, wrong, func(err error) bool {
				var e *IDError
				return errors.As(err, &e)
			})
			resume(t, addr, got, right, elsewhere, func(err error) bool {
				var e x509.UnknownAuthorityError
				return errors.As(err, &e)
			})
		})
	}
}

// Pins and lists need a verified chain, which crypto/tls does not have for a SPIFFE ID.
func TestSPIFFEIDWithPins(t *testing.T) {
	root := newAuthority(t, "Root")
	ca := write(t, "ca.pem", root.pem())
	const id = "spiffe://corp.test/wiki"
	server := root.server(t, uris(t, id))
	for _, tt := range []struct {
		pin string
		ok  bool
	}{{Pin(root.cert), true}, {Pin(newAuthority(t, "Other").cert), false}} {
		m := loadEntry(t, Entry{CA: []string{ca}, ServerName: id, Pins: []string{tt.pin}})
		addr, got := present(t, tls.VersionTLS13, server)
		err := dial(t, addr, m.TLSConfig("site.test"))
		<-got
		var pin *PinError
		if (err == nil) != tt.ok || !tt.ok && !errors.As(err, &pin) {
			t.Errorf("pin %s: %v", tt.pin, err)
		}
	}
}

// The bundle of a Workload API is that of our own trust domain.
func TestRootsOfTheWorkloadAPI(t *testing.T) {
	ours, theirs := newAuthority(t, "Ours"), newAuthority(t, "Theirs")
	in := func() *inputs {
		return &inputs{chain: []*x509.Certificate{ours.server(t, uris(t, "spiffe://ours.test/us")).Leaf}, roots: []*x509.Certificate{ours.cert}}
	}
	entry := Entry{Name: "corp", SPIFFE: "unix:///run/agent.sock"}
	t.Run("names", func(t *testing.T) {
		m := &Material{name: "corp"}
		if err := m.loadTrust(entry, in()); err != nil {
			t.Fatal(err)
		}
		addr, got := present(t, tls.VersionTLS13, ours.server(t))
		if err := dial(t, addr, m.TLSConfig("127.0.0.1")); err != nil {
			t.Error(err)
		}
		<-got
		if want := "the Workload API unix:///run/agent.sock"; m.RootsSource() != want || m.OnlyRoots() {
			t.Errorf("roots are of %q, only %v", m.RootsSource(), m.OnlyRoots())
		}
	})
	for _, tt := range []struct {
		name, id string
		server   *authority
		ca       []rootFile
		code     string // when loaded
		ok       bool
	}{
		{name: "our trust domain", id: "spiffe://ours.test/wiki", server: ours, ok: true},
		{name: "its name begins alike", id: "spiffe://ours.test.evil.test/wiki", server: ours, code: "tls.server_name"},
		{name: "another without its bundle", id: "spiffe://theirs.test/wiki", server: ours, code: "tls.server_name"},
		{name: "another with its bundle", id: "spiffe://theirs.test/wiki", server: theirs, ca: caFile(t, theirs), ok: true},
		{name: "another, from ours", id: "spiffe://theirs.test/wiki", server: ours, ca: caFile(t, theirs)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, in, m := entry, in(), &Material{name: "corp"}
			e.ServerName, in.ca = tt.id, tt.ca
			err := m.loadTrust(e, in)
			var load *LoadError
			if tt.code != "" {
				if !errors.As(err, &load) || load.Code() != tt.code {
					t.Errorf("error %v, want %s", err, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !m.OnlyRoots() {
				t.Error("the system's roots may vouch for a SPIFFE ID")
			}
			addr, got := present(t, tls.VersionTLS13, tt.server.server(t, uris(t, tt.id)))
			if err := dial(t, addr, m.TLSConfig("site.test")); (err == nil) != tt.ok {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
			<-got
		})
	}
}

func caFile(t *testing.T, a *authority) []rootFile {
	return []rootFile{{File: file(t, "ca", a.pem())}}
}

func TestServerNameIsCheckedWhenLoaded(t *testing.T) {
	ca := write(t, "ca.pem", newAuthority(t, "Root").pem())
	for _, name := range []string{"wiki", "wiki.corp.test", "WIKI.corp.test", "a_b.corp.test", "10.0.0.1", "::1", "spiffe://corp.test/a", "spiffe://corp_1.test/ns/a/sa/B-c_d.e"} {
		if err := loadErr(t, Entry{Name: "corp", CA: []string{ca}, ServerName: name}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"https://wiki.corp.test", "wiki.corp.test:443", "*.corp.test", "wiki corp", "wiki..test", "-a.test", "a\n", strings.Repeat("a.", 130) + "b",
		"spiffe:", "spiffe://corp.test", "spiffe://corp.test/", "spiffe://corp.test/a/", "spiffe://corp.test//a", "spiffe://Corp.test/a",
		"spiffe://corp.test:1/a", "spiffe://u@corp.test/a", "spiffe://corp.test/a?b", "spiffe://corp.test/a#b", "spiffe://corp.test/a%20",
		"spiffe://corp.test/../a", "spiffe://corp.test/a/.", "spiffe:///a", "spiffe://corp.test/" + strings.Repeat("a", 2048),
	} {
		err := loadErr(t, Entry{Name: "corp", CA: []string{ca}, ServerName: name})
		if err == nil {
			t.Errorf("%q is accepted", name)
			continue
		}
		if err.Code() != "tls.server_name" || !strings.HasPrefix(err.Error(), "mtls.corp.server_name: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %s %q", name, err.Code(), err)
		}
	}
}
