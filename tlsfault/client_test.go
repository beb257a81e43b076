package tlsfault

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// The kinds of server that the tables are run against.
const (
	goServer      = "Go"
	opensslServer = "OpenSSL"
	nginxServer   = "nginx"
)

// clientCase is a client certificate that a server may refuse, and what we make of it.
type clientCase struct {
	name    string
	pair    *tlstest.Pair // nil: roots only
	wrong   crypto.Signer // signs in place of the pair's own key
	id      string        // "": accepted
	message string
	hint    string
	but     map[string]string // another id by kind of server
}

// clientCases are for servers that trust clients.
func clientCases(t *testing.T, clients *tlstest.CA) []clientCase {
	t.Helper()
	now := time.Now()
	issue := func(l tlstest.Leaf) *tlstest.Pair {
		l.CN, l.Client = "alice", true
		return clients.Issue(l)
	}
	alone := sign(t, &x509.Certificate{Subject: commonName("alice"), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil, nil)
	return []clientCase{
		{name: "accepted", pair: issue(tlstest.Leaf{})},
		{name: "accepted with its intermediate", pair: clients.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})},
		{name: "none", id: "client_cert_required.none", message: `site.test requires a client certificate, and none is configured for it`, hint: "set mtls.corp.cert and mtls.corp.key"},
		{name: "unknown authority", pair: tlstest.NewCA("Others").Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true}),
			id: "client_ca_unknown.issuer", message: `does not know the authority "CN=Issuing"`, hint: "mtls.corp.cert"},
		{name: "self-signed", pair: alone.pair(t), id: "client_ca_unknown.self_signed", message: `"CN=alice", which is self-signed`, hint: "mtls.corp.cert"},
		{name: "missing intermediate", pair: leafOnly(clients.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})),
			id: "client_ca_unknown.intermediate", message: `"CN=Issuing"`, hint: "append its certificate to mtls.corp.cert"},
		{name: "expired", pair: issue(tlstest.Leaf{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}),
			id: "client_cert_expired.over", message: "expired on " + day(now.Add(-time.Hour)), hint: "renew the certificate in mtls.corp.cert"},
		{name: "not yet valid", pair: issue(tlstest.Leaf{NotBefore: now.Add(time.Hour)}),
			id: "client_cert_expired.not_yet", message: "not valid before " + day(now.Add(time.Hour)), hint: "check the clock of this machine"},
		{name: "wrong usage", pair: clients.Issue(tlstest.Leaf{CN: "alice"}),
			id: "client_cert_rejected.usage", message: "extended key usage is serverAuth", hint: "clientAuth"},
		{name: "key of another certificate", pair: issue(tlstest.Leaf{}), wrong: tlstest.NewCA("X").Issue(tlstest.Leaf{}).Cert.PrivateKey.(crypto.Signer),
			id: "key_mismatch.signature", message: "could not verify the signature", hint: "mtls.corp.key belongs to mtls.corp.cert"},
		{name: "RSA 1024", pair: issue(tlstest.Leaf{Key: rsaKey(t, 1024)}), id: "client_cert_rejected.weak", message: "RSA key of 1024 bits", hint: "2048",
			but: map[string]string{goServer: ""}},
	}
}

// client is the configuration for a case, whose roots are servers.
func (c clientCase) client(t *testing.T, servers *tlstest.CA) (*tlsmat.Material, *tls.Config) {
	t.Helper()
	m := load(t, c.pair, servers.PEM())
	config := m.TLSConfig("127.0.0.1")
	if c.wrong != nil {
		get := config.GetClientCertificate
		config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := get(info)
			cert.PrivateKey = another{cert.PrivateKey.(crypto.Signer), c.wrong}
			return cert, err
		}
	}
	return m, config
}

func (c clientCase) check(t *testing.T, kind string, f *Failure, m *tlsmat.Material) {
	t.Helper()
	id, other := c.but[kind]
	if !other {
		id = c.id
	}
	if id == "" {
		if f != nil {
			t.Errorf("not accepted: %v", f)
		}
		return
	}
	check(t, f, id, c.message, c.hint)
	if c.pair != nil && c.id != "" {
		wantFacts(t, f, m)
	}
}

// wantFacts: whoever has to find the certificate gets its file, and what it says.
func wantFacts(t *testing.T, f *Failure, m *tlsmat.Material) {
	t.Helper()
	leaf := m.Leaf()
	for _, fact := range []string{m.CertSource(), leaf.Subject.String(), leaf.Issuer.String(), day(leaf.NotAfter), tlsmat.KeyUsages(leaf), fmt.Sprintf("%d in the chain", m.ChainLength())} {
		if !strings.Contains(f.Error(), fact) {
			t.Errorf("%q lacks %q", f, fact)
		}
	}
}

// another signs with one key and hands out the signature of the other.
type another struct {
	crypto.Signer
	key crypto.Signer
}

func (a another) Public() crypto.PublicKey { return a.key.Public() }

func (a another) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, err := a.Signer.Sign(rand, digest, opts); err != nil {
		return nil, err
	}
	return a.key.Sign(rand, digest, opts)
}

func TestClientCertificateGo(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	for _, tt := range clientCases(t, clients) {
		for name, version := range versions {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				config := servers.MutualConfig(clients, "127.0.0.1")
				config.MaxVersion = version
				addr, got := serve(t, config)
				m, client := tt.client(t, servers)
				seen := &tlsmat.Seen{}
				err := dial(t, "tcp", addr, client, seen)
				if serverErr := <-got; (serverErr == nil) != (err == nil) {
					t.Errorf("the server says %v, the client %v", serverErr, err)
				}
				tt.check(t, goServer, Explain(err, "site.test", m, seen), m)
			})
		}
	}
}

// A server that names signatures that our key cannot make gets none, whatever it is.
func TestSignatureAlgorithms(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	m := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: rsaKey(t, 2048)}), servers.PEM())
	addr := sServer(t, servers, clients, "-Verify", "5", "-client_sigalgs", "ECDSA+SHA256:ECDSA+SHA384")
	seen := &tlsmat.Seen{}
	err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen)
	f := Explain(err, "site.test", m, seen)
	check(t, f, "client_cert_rejected.algorithms", "RSA 2048 key", "set mtls.corp.cert")
	for _, list := range []string{"PSSWithSHA256", "only ECDSAWithP256AndSHA256, ECDSAWithP384AndSHA384"} {
		if !strings.Contains(f.Error(), list) {
			t.Errorf("%q lacks %q", f, list)
		}
	}
}

// An intermediate's end is the end of what it issued.
func TestExpiredIntermediate(t *testing.T) {
	servers := tlstest.NewCA("Servers")
	ca := &x509.Certificate{Subject: commonName("Clients"), IsCA: true, BasicConstraintsValid: true}
	root := sign(t, ca, nil, nil)
	issuing := sign(t, &x509.Certificate{Subject: commonName("Issuing"), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, nil, root)
	leaf := sign(t, &x509.Certificate{Subject: commonName("alice"), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil, issuing)
	config := servers.ServerConfig("127.0.0.1")
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	config.ClientCAs.AddCert(root.cert)
	addr, _ := serve(t, config)
	m, seen := load(t, leaf.pair(t, issuing), servers.PEM()), &tlsmat.Seen{}
	err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen)
	check(t, Explain(err, "site.test", m, seen), "client_cert_expired.over", `its intermediate "CN=Issuing", which expired on`, "mtls.corp.cert")
}

// onlyEncipherment is a client certificate whose key usage allows no signatures.
func onlyEncipherment(t *testing.T, issuer *identity) *tlstest.Pair {
	t.Helper()
	return sign(t, &x509.Certificate{Subject: commonName("alice"), KeyUsage: x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, rsaKey(t, 2048), issuer).pair(t)
}

func TestKeyUsage(t *testing.T) {
	servers := tlstest.NewCA("Servers")
	root := sign(t, &x509.Certificate{Subject: commonName("Clients"), IsCA: true, BasicConstraintsValid: true}, nil, nil)
	m := load(t, onlyEncipherment(t, root), servers.PEM())
	server := servers.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}})
	addr := sServerPair(t, server, "-CAfile", write(t, "clients.pem", root.pem()), "-verify_return_error", "-Verify", "5")
	seen := &tlsmat.Seen{}
	err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen)
	check(t, Explain(err, "site.test", m, seen), "client_cert_rejected.key_usage", "alert 43", "digitalSignature")
}

// Go's static Certificates are withheld from a server that names other authorities, which then
// complains of none. Ours are not.
func TestCertificateIsNeverWithheld(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	addr, _ := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
	m, seen := load(t, tlstest.NewCA("Others").Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM()), &tlsmat.Seen{}
	err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen)
	f := Explain(err, "site.test", m, seen)
	check(t, f, "client_ca_unknown.intermediate", `it accepts certificates of "CN=Clients"`, "")
}

// Where the config has nothing at all, the remedy is an entry; where it comes from the environment,
// the variable.
func TestWhereToSet(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	addr, _ := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
	explain := func(m *tlsmat.Material) *Failure {
		seen, client := &tlsmat.Seen{}, m.TLSConfig("127.0.0.1")
		client.RootCAs = servers.Pool()
		return Explain(dial(t, "tcp", addr, client, seen), "site.test", m, seen)
	}
	check(t, explain(nil), "client_cert_required.none", "none is configured", `add an entry with cert and key to "mtls" and name it in the site for site.test`)
	roots := loadEntry(t, tlsmat.Entry{Name: "environment", CA: []string{write(t, "ca.pem", servers.PEM())}, CAOnly: true,
		Settings: map[string]string{"cert": "AUTHFETCH_CERT", "key": "AUTHFETCH_KEY"}})
	check(t, explain(roots), "client_cert_required.none", "none is configured", "set AUTHFETCH_CERT and AUTHFETCH_KEY")
}

// The proxy has an entry of its own, and is not the host.
func TestExplainProxy(t *testing.T) {
	servers, clients := tlstest.NewCA("Proxies"), tlstest.NewCA("Clients")
	addr, _ := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
	for _, tt := range []struct {
		name    string
		m       *tlsmat.Material
		trust   bool
		id      string
		message string
		hint    string
	}{
		{"not trusted", nil, false, "server_ca_unknown.intermediate", "the proxy gate:8443 sends its certificate", `ca of an entry in "mtls" and name it as mtls of network.proxy`},
		{"not trusted, entry", load(t, nil, clients.PEM()), false, "server_ca_unknown.intermediate", "the proxy gate:8443 sends its certificate", "add the authority's certificate to mtls.corp.ca"},
		{"no certificate", nil, true, "client_cert_required.none", "the proxy gate:8443 requires a client certificate", "name it as mtls of network.proxy"},
		{"another certificate", load(t, tlstest.NewCA("Others").Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM()), false, "client_ca_unknown.intermediate", "the proxy gate:8443 does not know", "mtls.corp.cert"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, client := &tlsmat.Seen{}, tt.m.TLSConfig("127.0.0.1")
			if tt.trust {
				client.RootCAs = servers.Pool()
			}
			err := dial(t, "tcp", addr, client, seen)
			check(t, ExplainProxy(err, "gate:8443", tt.m, seen), tt.id, tt.message, tt.hint)
		})
	}
	if f := ExplainProxy(nil, "gate:8443", nil, nil); f != nil {
		t.Errorf("no error explained as %v", f)
	}
}

// An https proxy that net/http itself connects to must not be taken for the host either, nor the
// host's certificate for what it was sent.
func TestExplainThroughProxy(t *testing.T) {
	servers, clients := tlstest.NewCA("Proxies"), tlstest.NewCA("Clients")
	addr, _ := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
	m := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true}))
	proxy := func(config *tls.Config) error {
		transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: addr}), TLSClientConfig: config}
		_, err := transport.RoundTrip(get(t, "https://site.test/"))
		return err
	}
	check(t, Explain(proxy(m.TLSConfig("")), "site.test", m, asked(t, m)), "server_ca_unknown.intermediate", "the proxy on the way to site.test", "network.proxy")
	// In TLS 1.3 net/http takes the refusal for a failure of the CONNECT that follows.
	f := Explain(proxy(&tls.Config{RootCAs: servers.Pool(), MaxVersion: tls.VersionTLS12}), "site.test", m, asked(t, m))
	check(t, f, "handshake.unclear", "the proxy on the way to site.test", "network.proxy")
	if strings.Contains(f.Error(), "alice") {
		t.Errorf("the host's certificate is told of: %v", f)
	}
}
