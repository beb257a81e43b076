package tlsmat

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// check compares a failure with what is wanted of it.
func check(t *testing.T, f *Failure, code, message, hint string) {
	t.Helper()
	if f == nil {
		t.Fatalf("not explained, want %s", code)
	}
	t.Logf("%s\n%s\n→ %s", f.Code(), f, f.Hint())
	if f.Code() != code {
		t.Errorf("code %s, want %s", f.Code(), code)
	}
	if !strings.Contains(f.Error(), message) {
		t.Errorf("message %q, want %q", f, message)
	}
	if f.Hint() == "" || !strings.Contains(f.Hint(), hint) {
		t.Errorf("hint %q, want %q", f.Hint(), hint)
	}
}

func TestExplainClientCertificate(t *testing.T) {
	servers, clients, others := tlstest.NewCA("Servers"), tlstest.NewCA("Clients"), tlstest.NewCA("Others")
	now := time.Now()
	incomplete := clients.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	incomplete.CertPEM = block0(incomplete.CertPEM)
	for _, tt := range []struct {
		name    string
		pair    *tlstest.Pair // nil: roots only
		code    string
		message string
		hint    string
	}{
		{"no certificate", nil, "tls.client_cert_required", `site.test requires a client certificate, and none is configured for it; it accepts certificates of "CN=Clients"`, "set mtls.corp.cert and mtls.corp.key"},
		{"unknown authority", others.Issue(tlstest.Leaf{CN: "alice", Client: true}), "tls.client_ca_unknown", `site.test does not know the authority "CN=Others"`, "mtls.corp.cert"},
		{"missing intermediate", incomplete, "tls.client_ca_unknown", `"CN=Issuing"`, `append its certificate to mtls.corp.cert`},
		{"expired", clients.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}), "tls.client_cert_expired", "expired on " + day(now.Add(-time.Hour)), "renew the certificate in mtls.corp.cert"},
		{"not yet valid", clients.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(time.Hour)}), "tls.client_cert_expired", "not valid before", "clock"},
		{"wrong usage", clients.Issue(tlstest.Leaf{CN: "alice"}), "tls.client_cert_rejected", "extended key usage is serverAuth", "clientAuth"},
	} {
		for name, version := range versions {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				config := servers.MutualConfig(clients, "127.0.0.1")
				config.MaxVersion = version
				addr, got := serve(t, config)
				m, seen := load(t, tt.pair, servers.PEM()), &Seen{}
				client := m.TLSConfig(seen)
				client.ServerName = "127.0.0.1"
				err := dial(t, addr, client)
				if s := <-got; s.err == nil {
					t.Error("the server accepted it")
				}
				f := Explain(fmt.Errorf("fetching: %w", err), "site.test", m, seen)
				check(t, f, tt.code, tt.message, tt.hint)
				if tt.pair != nil && !strings.Contains(f.Message, m.certFile.path) {
					t.Errorf("message does not name the file: %q", f)
				}
				if !errors.Is(f, err) {
					t.Error("the cause is lost")
				}
			})
		}
	}
}

func TestExplainNoMaterial(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, got := serve(t, config)
			var none *Material
			seen := &Seen{}
			client := none.TLSConfig(seen)
			client.RootCAs, client.ServerName = servers.Pool(), "127.0.0.1"
			err := dial(t, addr, client)
			<-got
			check(t, Explain(err, "site.test", nil, seen), "tls.client_cert_required", "none is configured", `"mtls" and name it in the site for site.test`)
		})
	}
}

func TestExplainServerCertificate(t *testing.T) {
	ca, other := tlstest.NewCA("Servers"), tlstest.NewCA("Others")
	now := time.Now()
	config := func(issuer *tlstest.CA, l tlstest.Leaf, usage bool) *tls.Config {
		l.Client = !usage
		if l.Hosts == nil {
			l.Hosts = []string{"127.0.0.1"}
		}
		return &tls.Config{Certificates: []tls.Certificate{issuer.Issue(l).Cert}}
	}
	legacy := config(ca, tlstest.Leaf{CN: "127.0.0.1", Hosts: []string{}}, true)
	noIntermediate := config(ca.Intermediate("Issuing"), tlstest.Leaf{CN: "s"}, true)
	noIntermediate.Certificates[0].Certificate = noIntermediate.Certificates[0].Certificate[:1]
	old := ca.ServerConfig("127.0.0.1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	cipher := ca.ServerConfig("127.0.0.1")
	cipher.MaxVersion, cipher.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	alpn := ca.ServerConfig("127.0.0.1")
	alpn.NextProtos = []string{"strange"}

	for _, tt := range []struct {
		name    string
		config  *tls.Config
		code    string
		message string
		hint    string
	}{
		{"unknown authority", config(other, tlstest.Leaf{CN: "s"}, true), "tls.server_ca_unknown", `its issuer is "CN=Others"`, "add the authority's certificate to mtls.corp.ca"},
		{"known name, other key", config(tlstest.NewCA("Servers"), tlstest.Leaf{CN: "s"}, true), "tls.server_ca_unknown", "whose name is trusted here, but not its key", "the old one"},
		{"self-signed", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}, "tls.server_ca_unknown", "is self-signed", "mtls.corp.ca"},
		{"intermediate not sent", noIntermediate, "tls.server_ca_unknown", `"CN=Issuing"`, "sends no intermediate"},
		{"unknown authority with a chain", config(other.Intermediate("Issuing"), tlstest.Leaf{CN: "s"}, true), "tls.server_ca_unknown", `its issuer is "CN=Others"`, "mtls.corp.ca"},
		{"other name", config(ca, tlstest.Leaf{CN: "s", Hosts: []string{"a.test", "b.test", "::1"}}, true), "tls.hostname_mismatch", `not for "127.0.0.1" but for "a.test", "b.test", ::1`, "URL"},
		{"many names", config(ca, tlstest.Leaf{CN: "s", Hosts: manyHosts(15)}, true), "tls.hostname_mismatch", "and 5 more", "URL"},
		{"common name only", legacy, "tls.hostname_mismatch", `the common name "127.0.0.1" no longer counts`, "URL"},
		{"expired", config(ca, tlstest.Leaf{CN: "s", NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}, true), "tls.server_cert_expired", "expired on " + day(now.Add(-time.Hour)), "renewed"},
		{"not yet valid", config(ca, tlstest.Leaf{CN: "s", NotBefore: now.Add(time.Hour)}, true), "tls.server_cert_expired", "is not valid before", "clock"},
		{"wrong usage", config(ca, tlstest.Leaf{CN: "s"}, false), "tls.server_cert_invalid", "extended key usage is clientAuth", "serverAuth"},
		{"old versions only", old, "tls.version", "share no TLS version", "TLS 1.2"},
		{"no common cipher", cipher, "tls.handshake", "alert 40 handshake_failure", "log"},
		{"no common protocol", alpn, "tls.handshake", "alert 120 no_application_protocol", "log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serve(t, tt.config)
			m, seen := load(t, nil, ca.PEM()), &Seen{}
			client := m.TLSConfig(seen)
			client.ServerName, client.NextProtos = "127.0.0.1", []string{"http/1.1"}
			check(t, Explain(dial(t, addr, client), "site.test", m, seen), tt.code, tt.message, tt.hint)
		})
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "self"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Go verifies no SHA-1 signature, and reports it as an unknown authority.
func TestExplainSHA1(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "Old CA"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "s"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, SignatureAlgorithm: x509.SHA1WithRSA}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: key}}})
	m := load(t, nil, encode("CERTIFICATE", rootDER))
	client := m.TLSConfig(nil)
	client.ServerName = "127.0.0.1"
	check(t, Explain(dial(t, addr, client), "site.test", m, nil), "tls.server_cert_invalid", "no longer safe", "SHA-256")
}

func manyHosts(n int) (hosts []string) {
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("h%d.test", i))
	}
	return hosts
}

// TestExplainAlerts has a server that answers the first message with an alert of its choice.
func TestExplainAlerts(t *testing.T) {
	ca := tlstest.NewCA("Clients")
	withCert := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}))
	serversOnly := load(t, nil, ca.PEM())
	asked := func(m *Material, names ...[]byte) *Seen {
		s := &Seen{}
		s.note(&tls.CertificateRequestInfo{AcceptableCAs: names}, m.Certificate())
		return s
	}
	for _, tt := range []struct {
		name    string
		alert   byte
		m       *Material
		seen    *Seen
		code    string
		message string
		hint    string
	}{
		{"40, nothing known", 40, nil, nil, "tls.handshake", "needs a client certificate, or shares no cipher", "mtls"},
		{"40, not asked", 40, withCert, &Seen{}, "tls.handshake", "alert 40 handshake_failure", "log"},
		{"40, asked, none sent", 40, serversOnly, asked(serversOnly), "tls.client_cert_required", "none is configured", "mtls.corp.cert"},
		{"40, asked, no material", 40, nil, asked(nil), "tls.client_cert_required", "none is configured", "mtls"},
		{"40, asked and sent", 40, withCert, asked(withCert), "tls.client_cert_rejected", "alert 40", "mtls.corp.cert"},
		{"42", 42, withCert, asked(withCert), "tls.client_cert_rejected", "alert 42 bad_certificate", "mtls.corp.cert"},
		{"42, none sent", 42, nil, asked(nil), "tls.client_cert_required", "none is configured", "mtls"},
		{"42, not asked", 42, nil, &Seen{}, "tls.handshake", "alert 42", "log"},
		{"43", 43, withCert, nil, "tls.client_cert_rejected", "alert 43", "mtls.corp.cert"},
		{"44", 44, withCert, asked(withCert), "tls.client_cert_rejected", "revoked", "new certificate"},
		{"45", 45, withCert, asked(withCert), "tls.client_cert_expired", "by this machine's clock it is valid", "clocks"},
		{"46", 46, withCert, asked(withCert), "tls.client_cert_rejected", "alert 46", "mtls.corp.cert"},
		{"48", 48, withCert, asked(withCert), "tls.client_ca_unknown", `"CN=Clients"`, "mtls.corp.cert"},
		{"49", 49, withCert, asked(withCert), "tls.client_cert_rejected", "denies it access", "administrator"},
		{"51", 51, withCert, asked(withCert), "tls.key_mismatch", "signature", "mtls.corp.key belongs to mtls.corp.cert"},
		{"70", 70, nil, nil, "tls.version", "share no TLS version", "TLS 1.2"},
		{"86", 86, nil, nil, "tls.version", "share no TLS version", "TLS 1.2"},
		{"112", 112, nil, nil, "tls.unrecognized_name", "no site of that name", "host name"},
		{"116", 116, nil, nil, "tls.client_cert_required", "none is configured", "mtls"},
		{"116, though sent", 116, withCert, asked(withCert), "tls.client_cert_required", "says that it got none", "may not pass the certificate on"},
		{"120", 120, withCert, asked(withCert), "tls.handshake", "no_application_protocol", "log"},
		{"an unknown one", 200, withCert, asked(withCert), "tls.handshake", "(alert 200)", "log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := answer(t, []byte{21, 3, 3, 0, 2, 2, tt.alert})
			_, err := (&http.Transport{}).RoundTrip(httptest.NewRequest("GET", "https://"+addr+"/", nil))
			check(t, Explain(&url.Error{Op: "Get", URL: "https://x/", Err: err}, "site.test", tt.m, tt.seen), tt.code, tt.message, tt.hint)
		})
	}
}

// answer starts a server that writes these bytes to whoever has said something.
func answer(t *testing.T, reply []byte) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = conn.Read(make([]byte, 16<<10))
			_, _ = conn.Write(reply)
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	return ln.Addr().String()
}

func TestExplainNotTLS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	for name, addr := range map[string]string{"HTTP": plain.Listener.Addr().String(), "SSH": answer(t, []byte("SSH-2.0-OpenSSH_9.9\r\n"))} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{DisableKeepAlives: true}
			_, err := transport.RoundTrip(httptest.NewRequest("GET", "https://"+addr+"/", nil))
			check(t, Explain(err, "site.test", nil, nil), "tls.not_tls", "does not speak TLS", "http://")
			_, err = (&http.Client{Transport: transport}).Get("https://" + addr + "/")
			check(t, Explain(err, "site.test", nil, nil), "tls.not_tls", "does not speak TLS", "http://")
		})
	}
}

// An https proxy that is not trusted must not be taken for the host.
func TestExplainProxy(t *testing.T) {
	addr, _ := serve(t, tlstest.NewCA("Proxies").ServerConfig("127.0.0.1"))
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: addr})}
	m := load(t, tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true}))
	transport.TLSClientConfig = m.TLSConfig(nil)
	_, err := transport.RoundTrip(httptest.NewRequest("GET", "https://site.test/", nil))
	check(t, Explain(err, "site.test", m, nil), "tls.server_ca_unknown", "the proxy on the way to site.test", "the proxy's certificate")
}

func TestExplainOthers(t *testing.T) {
	ca := tlstest.NewCA("CA")
	m := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}))
	sent, unsent := &Seen{}, &Seen{}
	sent.note(&tls.CertificateRequestInfo{}, m.Certificate())
	unsent.note(&tls.CertificateRequestInfo{}, nil)
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	for _, tt := range []struct {
		name    string
		err     error
		m       *Material
		seen    *Seen
		code    string
		message string
		hint    string
	}{
		{"own load error", &LoadError{Entry: "corp", Reason: "x", field: "cert", code: "tls.cert_file", hint: "y"}, nil, nil, "tls.cert_file", "mtls.corp.cert: x", "y"},
		{"already explained", &Failure{Message: "x", code: "tls.version", remedy: "y"}, nil, nil, "tls.version", "x", "y"},
		{"signature algorithms", errors.New("tls: peer doesn't support any of the certificate's signature algorithms"), m, nil, "tls.client_cert_rejected", "ECDSA P-256", "mtls.corp.cert"},
		{"unsupported version", errors.New("tls: server selected unsupported protocol version 301"), m, nil, "tls.version", "share no TLS version", "TLS 1.2"},
		{"another local complaint", errors.New("tls: server sent a cookie in a normal ServerHello"), m, nil, "tls.handshake", "server sent a cookie", "log"},
		{"time-out", errors.New("net/http: TLS handshake timeout"), m, nil, "tls.handshake", "in time", "firewall"},
		{"no system roots", x509.SystemRootsError{}, nil, nil, "tls.server_ca_unknown", "system's roots are unreadable", "ca-certificates"},
		{"bare unknown authority", x509.UnknownAuthorityError{}, nil, nil, "tls.server_ca_unknown", "trusted are the system's roots", "mtls"},
		{"unknown authority, entry without roots", x509.UnknownAuthorityError{Cert: ca.Cert()}, m, nil, "tls.server_ca_unknown", "self-signed", "set mtls.corp.ca to"},
		{"verification for another reason", &tls.CertificateVerificationError{Err: errors.New("strange")}, nil, nil, "tls.server_cert_invalid", "strange", "replaced"},
		{"other invalidity", x509.CertificateInvalidError{Cert: ca.Cert(), Reason: x509.TooManyIntermediates}, nil, nil, "tls.server_cert_invalid", `the authority "CN=CA"`, "replaced"},
		{"expired, unknown which", x509.CertificateInvalidError{Reason: x509.Expired}, nil, nil, "tls.server_cert_expired", "has expired or is not valid yet", "renewed"},
		{"renegotiation", localAlert(t, 100), m, sent, "tls.client_cert_required", "renegotiation", "TLS 1.3"},
		{"local alert", localAlert(t, 20), m, sent, "tls.handshake", "refused on this side (alert 20 bad_record_mac)", "log"},
		{"reset, asked, none sent", reset, nil, unsent, "tls.client_cert_required", "closed the connection after it had asked", "mtls"},
		{"reset, asked and sent", reset, m, sent, "tls.handshake", "may have refused it", "log"},
		{"EOF, asked, none sent", io.EOF, nil, unsent, "tls.client_cert_required", "closed the connection after it had asked", "mtls"},
		{"reset, not asked", reset, m, &Seen{}, "", "", ""},
		{"reset, nothing known", reset, m, nil, "", "", ""},
		{"refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, m, sent, "", "", ""},
		{"name not found", &net.DNSError{Err: "no such host", Name: "x"}, m, sent, "", "", ""},
		{"nil", nil, m, sent, "", "", ""},
	} {
		for _, wrapped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s wrapped %v", tt.name, wrapped), func(t *testing.T) {
				err := tt.err
				if wrapped && err != nil {
					err = errors.Join(errors.New("first"), fmt.Errorf("get: %w", &url.Error{Op: "Get", URL: "x", Err: err}))
				}
				f := Explain(err, "site.test", tt.m, tt.seen)
				if tt.code == "" {
					if f != nil {
						t.Fatalf("explained as %s: %v", f.Code(), f)
					}
					return
				}
				check(t, f, tt.code, tt.message, tt.hint)
			})
		}
	}
}

// localAlert provokes the error in which crypto/tls wraps an alert and gives it another number and
// direction: there is no other way to make a value of that type.
func localAlert(t *testing.T, number byte) error {
	t.Helper()
	addr := answer(t, []byte{21, 3, 3, 0, 2, 2, number})
	err := dial(t, addr, &tls.Config{ServerName: "x"})
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Fatalf("%T", err)
	}
	local := *op
	local.Op = "local error"
	return &local
}

func TestExplainStatus(t *testing.T) {
	ca := tlstest.NewCA("CA")
	now := time.Now()
	good := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}), ca.PEM())
	expired := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}))
	unfit := &Seen{}
	foreign, err := asn1.Marshal(pkix.Name{CommonName: "Foreign"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	unfit.note(&tls.CertificateRequestInfo{AcceptableCAs: [][]byte{foreign}}, good.Certificate())
	nginx := func(text string) string {
		return "<html><head><title>400 " + text + "</title></head><body><center><h1>400 Bad Request</h1></center><center>" + text + "</center><hr><center>nginx</center></body></html>"
	}
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		m       *Material
		seen    *Seen
		code    string
		message string
	}{
		{"none sent", 400, nginx("No required SSL certificate was sent"), nil, nil, "tls.client_cert_required", "site.test requires a client certificate"},
		{"496", 496, "", nil, nil, "tls.client_cert_required", "site.test requires a client certificate"},
		{"bad", 400, nginx("The SSL certificate error"), good, nil, "tls.client_cert_rejected", "rejected the client certificate"},
		{"bad, expired here", 400, nginx("The SSL certificate error"), expired, nil, "tls.client_cert_expired", "expired on"},
		{"bad, hints name others", 400, nginx("The SSL certificate error"), good, unfit, "tls.client_ca_unknown", `; it accepts certificates of "CN=Foreign"`},
		{"495", 495, "", good, nil, "tls.client_cert_rejected", "rejected the client certificate"},
		{"495, none configured", 495, "", nil, nil, "tls.client_cert_required", "none is configured"},
		{"plain HTTP to nginx", 400, nginx("The plain HTTP request was sent to HTTPS port"), nil, nil, "tls.not_tls", "over plain HTTP"},
		{"497", 497, "", nil, nil, "tls.not_tls", "over plain HTTP"},
		{"plain HTTP to Go", 400, "Client sent an HTTP request to an HTTPS server.\n", nil, nil, "tls.not_tls", "over plain HTTP"},
		{"ordinary 400", 400, "bad request", good, unfit, "", ""},
		{"a page about it", 200, nginx("No required SSL certificate was sent"), nil, nil, "", ""},
		{"403", 403, "forbidden", good, unfit, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := ExplainStatus(tt.status, []byte(tt.body), "site.test", tt.m, tt.seen)
			if tt.code == "" {
				if f != nil {
					t.Fatalf("explained as %s: %v", f.Code(), f)
				}
				return
			}
			check(t, f, tt.code, tt.message, "")
		})
	}
}

// Go's own server says it in an HTTP answer on the TLS port.
func TestExplainStatusOfGoServer(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	resp, err := http.Get("http://" + srv.Listener.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		t.Fatal(err)
	}
	check(t, ExplainStatus(resp.StatusCode, body, "site.test", nil, nil), "tls.not_tls", "over plain HTTP", "https://")
}

func TestExplainIsSafeToPrint(t *testing.T) {
	evil := "\x1b]0;x\x07\n\u202e\"evil"
	ca := tlstest.NewCA(evil)
	addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{CN: evil, Hosts: []string{"127.0.0.1"}}).Cert}})
	m := load(t, nil, tlstest.NewCA("Trusted").PEM())
	client := m.TLSConfig(nil)
	client.ServerName = "127.0.0.1"
	f := Explain(dial(t, addr, client), "site"+evil, m, nil)
	if f == nil || f.Code() != "tls.server_ca_unknown" {
		t.Fatalf("%v", f)
	}
	for _, s := range []string{f.Error(), f.Hint()} {
		if strings.ContainsAny(s, "\x1b\x07\n\u202e") {
			t.Errorf("unsafe text %q", s)
		}
	}
	if n := slices.Max([]int{len(f.Error()), len(f.Hint())}); n > 2000 {
		t.Errorf("%d bytes of text", n)
	}
}
