package tlsfault

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// serverCase is a server's certificate that we do not accept, and what we make of it.
type serverCase struct {
	name    string
	pair    *tlstest.Pair
	entry   tlsmat.Entry
	host    string // "": 127.0.0.1
	id      string
	message string
	hint    string
}

func (c serverCase) wants() string { return cmp.Or(c.host, "127.0.0.1") }

func serverCases(t *testing.T) []serverCase {
	t.Helper()
	ca, other := tlstest.NewCA("Servers"), tlstest.NewCA("Others")
	now := time.Now()
	file := write(t, "ca.pem", ca.PEM())
	only := tlsmat.Entry{Name: "corp", CA: []string{file}, CAOnly: true}
	system := tlsmat.Entry{Name: "corp"}
	system.Cert, system.Key, _ = tlstest.NewCA("Clients").Issue(tlstest.Leaf{CN: "alice", Client: true}).Write(t.TempDir(), "client")
	added, named := only, only
	added.CAOnly = false
	named.ServerName = "wiki.test"
	issue := func(by *tlstest.CA, l tlstest.Leaf) *tlstest.Pair {
		l.CN = cmp.Or(l.CN, "s")
		if l.Hosts == nil {
			l.Hosts = []string{"127.0.0.1"}
		}
		return by.Issue(l)
	}
	alone := sign(t, &x509.Certificate{Subject: commonName("self"), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, nil, nil)
	sha1, sha1Root := sha1Chain(t)
	sha1Only := tlsmat.Entry{Name: "corp", CA: []string{write(t, "sha1.pem", sha1Root.pem())}, CAOnly: true}
	uri, _ := url.Parse("spiffe://corp.test/wiki")
	root := sign(t, &x509.Certificate{Subject: commonName("Workloads"), IsCA: true, BasicConstraintsValid: true}, nil, nil)
	workload := sign(t, &x509.Certificate{Subject: commonName("w"), URIs: []*url.URL{uri}}, nil, root)
	workloads := tlsmat.Entry{Name: "corp", CA: []string{write(t, "workloads.pem", root.pem())}, CAOnly: true}
	const unknown, mismatch = "server_ca_unknown.", "hostname_mismatch."
	return []serverCase{
		{"unknown authority, system's roots", issue(other.Intermediate("Issuing"), tlstest.Leaf{}), system, "", unknown + "issuer", `issued by "CN=Others"`, "set mtls.corp.ca to the authority's certificate"},
		{"unknown authority, added roots", issue(other.Intermediate("Issuing"), tlstest.Leaf{}), added, "", unknown + "issuer", "trusted are the system's roots and those in " + file, "add the authority's certificate to mtls.corp.ca"},
		{"unknown authority, only roots", issue(other.Intermediate("Issuing"), tlstest.Leaf{}), only, "", unknown + "issuer", "trusted are only those in " + file, "add the authority's certificate to mtls.corp.ca"},
		{"unknown root, sent alone", issue(other, tlstest.Leaf{}), only, "", unknown + "intermediate", `without that of its issuer "CN=Others"`, "if it is a root, add the authority's certificate to mtls.corp.ca"},
		{"omitted intermediate", leafOnly(issue(ca.Intermediate("Issuing"), tlstest.Leaf{})), only, "", unknown + "intermediate", `without that of its issuer "CN=Issuing"`, "have the server send its certificate too"},
		{"authority with a new key", issue(tlstest.NewCA("Servers"), tlstest.Leaf{}), only, "", unknown + "rekeyed", "whose name is trusted here, but not its key", "the root known here is the old one"},
		{"self-signed", alone.pair(t), only, "", unknown + "self_signed", "is self-signed", "mtls.corp.ca"},
		{"SHA-1", sha1.pair(t), sha1Only, "", "server_cert_invalid.weak", "no longer safe", "SHA-256"},
		{"other DNS name", issue(ca, tlstest.Leaf{Hosts: []string{"a.test", "b.test", "::1"}}), only, "site.test", mismatch + "other", `not for "site.test" but for "a.test", "b.test", "::1"`, "set mtls.corp.server_name to one of these names"},
		{"other address", issue(ca, tlstest.Leaf{Hosts: []string{"a.test"}}), only, "", mismatch + "other", `not for "127.0.0.1" but for "a.test"`, "set mtls.corp.server_name"},
		{"many names", issue(ca, tlstest.Leaf{Hosts: manyHosts(15)}), only, "", mismatch + "other", `"h9.test" and 5 more`, "the URL"},
		{"a workload's ID", workload.pair(t), workloads, "wiki.test", mismatch + "other", `but for "spiffe://corp.test/wiki"`, "set mtls.corp.server_name to one of these names"},
		{"common name only", issue(ca, tlstest.Leaf{CN: "site.test", Hosts: []string{}}), only, "site.test", mismatch + "none", `its common name "site.test" no longer counts`, `issued with "site.test"`},
		{"not the server name of the entry", issue(ca, tlstest.Leaf{Hosts: []string{"a.test"}}), named, "a.test", mismatch + "server_name", `not for "wiki.test", which mtls.corp.server_name demands, but for "a.test"`, "correct mtls.corp.server_name"},
		{"expired", issue(ca, tlstest.Leaf{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}), only, "", "server_cert_expired.over", "expired on " + day(now.Add(-time.Hour)), "renewed"},
		{"not yet valid", issue(ca, tlstest.Leaf{NotBefore: now.Add(time.Hour)}), only, "", "server_cert_expired.not_yet", "is not valid before", "clock"},
		{"wrong usage", issue(ca, tlstest.Leaf{Client: true}), only, "", "server_cert_invalid.usage", "extended key usage is clientAuth", "serverAuth"},
	}
}

// Go verifies no SHA-1 signature, and reports it as an unknown authority.
func sha1Chain(t *testing.T) (leaf, root *identity) {
	t.Helper()
	root = sign(t, &x509.Certificate{Subject: commonName("Old CA"), IsCA: true, BasicConstraintsValid: true}, rsaKey(t, 2048), nil)
	leaf = sign(t, &x509.Certificate{Subject: commonName("s"), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, SignatureAlgorithm: x509.SHA1WithRSA}, rsaKey(t, 2048), root)
	return leaf, root
}

func manyHosts(n int) (hosts []string) {
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("h%d.test", i))
	}
	return hosts
}

func TestServerCertificateGo(t *testing.T) {
	for _, tt := range serverCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{tt.pair.Cert}})
			m, seen := loadEntry(t, tt.entry), &tlsmat.Seen{}
			check(t, Explain(dial(t, "tcp", addr, m.TLSConfig(tt.wants()), seen), "site.test", m, seen), tt.id, tt.message, tt.hint)
		})
	}
}

// A certificate that the file of roots gives the server makes up for the one that it omits.
func TestOmittedIntermediateInRoots(t *testing.T) {
	ca := tlstest.NewCA("Servers")
	issuing := ca.Intermediate("Issuing")
	addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{leafOnly(issuing.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}})).Cert}})
	if err := dial(t, "tcp", addr, load(t, nil, ca.PEM(), issuing.PEM()).TLSConfig("127.0.0.1"), nil); err != nil {
		t.Errorf("the remedy does not help: %v", err)
	}
}

// Pins, revocation lists and SPIFFE IDs have their own words, here and through a proxy.
func TestOwnRefusals(t *testing.T) {
	ca := tlstest.NewCA("Servers")
	addr, _ := serve(t, ca.ServerConfig("127.0.0.1"))
	m := loadEntry(t, tlsmat.Entry{Name: "corp", CA: []string{write(t, "ca.pem", ca.PEM())}, CAOnly: true,
		Pins: []string{"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}})
	err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), nil)
	for message, f := range map[string]*Failure{
		"the certificate chain of 127.0.0.1":                 Explain(&url.Error{Op: "Get", URL: "x", Err: err}, "127.0.0.1", m, nil),
		"the proxy gate: the certificate chain of 127.0.0.1": ExplainProxy(err, "gate", m, nil),
	} {
		if f == nil || f.Code() != "tls.pin_mismatch" || !strings.HasPrefix(f.Error(), message) || !strings.Contains(f.Hint(), "mtls.corp.pins") {
			t.Fatalf("%v, want %q", f, message)
		}
		wholesome(t, f)
	}
}

// Other refusals of the standard library, which no server of the tables provokes.
func TestServerCertificateOthers(t *testing.T) {
	ca := tlstest.NewCA("CA")
	m := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}))
	for _, tt := range []struct {
		name    string
		err     error
		m       *tlsmat.Material
		id      string
		message string
		hint    string
	}{
		{"no system roots", x509.SystemRootsError{}, nil, "server_ca_unknown.system", "roots are unreadable", "ca-certificates"},
		{"unknown authority of nothing", x509.UnknownAuthorityError{}, nil, "server_ca_unknown.issuer", "trusted are the system's roots", `"mtls"`},
		{"unknown authority, no roots configured", x509.UnknownAuthorityError{Cert: ca.Cert()}, m, "server_ca_unknown.self_signed", "self-signed", "set mtls.corp.ca to"},
		{"another reason", &tls.CertificateVerificationError{Err: errors.New("strange\x1b")}, nil, "server_cert_invalid.other", "strange", "replaced"},
		{"no reason", &tls.CertificateVerificationError{}, nil, "server_cert_invalid.other", "cannot be accepted", "replaced"},
		{"another invalidity", x509.CertificateInvalidError{Cert: ca.Cert(), Reason: x509.TooManyIntermediates}, nil, "server_cert_invalid.other", `the authority "CN=CA"`, "replaced"},
		{"expired, unknown which", x509.CertificateInvalidError{Reason: x509.Expired}, nil, "server_cert_expired.unclear", "has expired or is not valid yet", "clock"},
		{"unfit, unknown which", x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}, nil, "server_cert_invalid.other", "incompatible key usage", "replaced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, Explain(tt.err, "site.test", tt.m, nil), tt.id, tt.message, tt.hint)
		})
	}
}

// Names in certificates are chosen by whoever asked for them.
func TestSafeToPrint(t *testing.T) {
	evil := "\x1b]0;x\x07\n\u202e\"evil {host}"
	ca := tlstest.NewCA(evil)
	for code, leaf := range map[string]tlstest.Leaf{
		"tls.server_ca_unknown": {CN: evil, Hosts: []string{"127.0.0.1"}},
		"tls.hostname_mismatch": {CN: evil, Hosts: []string{"{host}.test"}},
	} {
		t.Run(code, func(t *testing.T) {
			addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.Issue(leaf).Cert}})
			m := load(t, nil, tlstest.NewCA("Trusted").PEM())
			f := Explain(dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), nil), "site"+evil, m, nil)
			if f == nil || f.Code() != code {
				t.Fatalf("%v", f)
			}
			printable(t, f)
			if strings.Contains(f.Error(), "site.test") || strings.ContainsAny(f.Error()+f.Hint(), "\x1b\x07\n\u202e") {
				t.Errorf("unsafe text %q", f)
			}
		})
	}
}
