package tlsfault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// A server that answers the first message with an alert of its choice.
func TestAlerts(t *testing.T) {
	ca, others := tlstest.NewCA("Clients"), tlstest.NewCA("Others")
	with := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}), ca.PEM())
	weak := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: rsaKey(t, 1024)}))
	encipherment := load(t, onlyEncipherment(t, sign(t, &x509.Certificate{Subject: commonName("CA"), IsCA: true, BasicConstraintsValid: true}, nil, nil)))
	roots := load(t, nil, ca.PEM())
	strict := loadEntry(t, tlsmat.Entry{Name: "corp", CA: []string{write(t, "ca.pem", ca.PEM())}, MinVersion: tls.VersionTLS13})
	notAsked := &tlsmat.Seen{}
	sent, listed, foreign := asked(t, with), asked(t, with, ca), asked(t, with, others)
	for _, tt := range []struct {
		name    string
		alert   byte
		m       *tlsmat.Material
		seen    *tlsmat.Seen
		id      string
		message string
		hint    string
	}{
		{"40, nothing known", 40, nil, nil, "handshake.unclear", "needs a client certificate, or shares no cipher", "mtls"},
		{"40, not asked", 40, with, notAsked, "no_cipher.refused", "alert 40 handshake_failure", "ECDHE"},
		{"71, not asked", 71, with, notAsked, "no_cipher.refused", "alert 71 insufficient_security", "ECDHE"},
		{"40, asked, none sent", 40, roots, asked(t, roots), "client_cert_required.none", "none is configured", "mtls.corp.cert"},
		{"40, asked, no material", 40, nil, asked(t, nil), "client_cert_required.none", "none is configured", `"mtls"`},
		{"40, asked and sent", 40, with, sent, "client_cert_rejected.other", "alert 40", "mtls.corp.cert"},
		{"42", 42, with, listed, "client_cert_rejected.other", `alert 42 bad_certificate); it accepts certificates of "CN=Clients"`, "mtls.corp.cert"},
		{"42, another authority is listed", 42, with, foreign, "client_ca_unknown.issuer", `it accepts certificates of "CN=Others"`, "mtls.corp.cert"},
		{"46, another authority is listed", 46, with, foreign, "client_ca_unknown.issuer", `it accepts certificates of "CN=Others"`, "mtls.corp.cert"},
		{"42, weak, another authority is listed", 42, weak, asked(t, weak, others), "client_ca_unknown.intermediate", `it accepts certificates of "CN=Others"`, "mtls.corp.cert"},
		{"42, none sent", 42, nil, asked(t, nil), "client_cert_required.none", "none is configured", "mtls"},
		{"42, not asked", 42, nil, notAsked, "handshake.alert", "alert 42", "log"},
		{"43", 43, with, nil, "client_cert_rejected.other", "alert 43", "mtls.corp.cert"},
		{"43, weak", 43, weak, nil, "client_cert_rejected.weak", "RSA key of 1024 bits", "2048"},
		{"43, for no signatures", 43, encipherment, nil, "client_cert_rejected.key_usage", "allows no signatures", "digitalSignature"},
		{"44", 44, with, sent, "client_cert_rejected.revoked", "revoked", "new certificate"},
		{"45", 45, with, sent, "client_cert_expired.clock", "by this machine's clock, ", "clocks"},
		{"46", 46, with, sent, "client_cert_rejected.other", "alert 46", "mtls.corp.cert"},
		{"48", 48, with, sent, "client_ca_unknown.issuer", `"CN=Clients"`, "mtls.corp.cert"},
		{"49", 49, with, sent, "client_cert_denied.alert", "denies it access", "administrator"},
		{"49, not asked", 49, with, notAsked, "handshake.alert", "access_denied", "log"},
		{"51", 51, with, sent, "key_mismatch.signature", "signature", "mtls.corp.key belongs to mtls.corp.cert"},
		{"70", 70, nil, nil, "version.old", "share no TLS version", "TLS 1.2"},
		{"70, 1.3 wanted", 70, strict, nil, "version.min_version", "mtls.corp.min_version demands", `set mtls.corp.min_version to "1.2"`},
		{"86", 86, nil, nil, "version.old", "share no TLS version", "TLS 1.2"},
		{"112", 112, nil, nil, "unrecognized_name.refused", "no site of that name", "host name"},
		{"116", 116, nil, nil, "client_cert_required.none", "none is configured", "mtls"},
		{"116, though sent", 116, with, sent, "client_cert_required.lost", "says that it got none", "does not pass the certificate on"},
		{"120", 120, with, sent, "no_alpn.refused", "no_application_protocol", "port"},
		{"80", 80, with, sent, "handshake.alert", "alert 80 internal_error", "log"},
		{"an unknown one", 200, with, sent, "handshake.alert", "(alert 200)", "log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := answer(t, []byte{21, 3, 3, 0, 2, 2, tt.alert})
			_, err := (&http.Transport{}).RoundTrip(get(t, "https://"+addr+"/"))
			f := Explain(&url.Error{Op: "Get", URL: "https://x/", Err: err}, "site.test", tt.m, tt.seen)
			check(t, f, tt.id, tt.message, tt.hint)
			if !errors.Is(f, err) {
				t.Error("the cause is lost")
			}
		})
	}
}

func TestNotTLS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, tt := range []struct{ name, addr, id string }{
		{"HTTP", plain.Listener.Addr().String(), "not_tls.http"},
		{"SSH", answer(t, []byte("SSH-2.0-OpenSSH_9.9\r\n")), "not_tls.other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transport := &http.Transport{DisableKeepAlives: true}
			_, err := transport.RoundTrip(get(t, "https://"+tt.addr+"/"))
			check(t, Explain(err, "site.test", nil, nil), tt.id, "does not speak TLS", "http:// in the URL")
			_, err = (&http.Client{Transport: transport}).Get("https://" + tt.addr + "/")
			check(t, Explain(err, "site.test", nil, nil), tt.id, "does not speak TLS", "http:// in the URL")
			err = dial(t, "tcp", tt.addr, &tls.Config{ServerName: "x"}, nil)
			check(t, Explain(err, "site.test", nil, nil), tt.id, "does not speak TLS", "http:// in the URL")
		})
	}
	t.Run("TLS asked over HTTP", func(t *testing.T) {
		addr := answer(t, []byte{21, 3, 3, 0, 2, 2, 70})
		_, err := (&http.Transport{}).RoundTrip(get(t, "http://"+addr+"/"))
		check(t, Explain(err, "site.test", nil, nil), "not_tls.plain", "speaks TLS on this port", "https:// in the URL")
	})
}

func TestTimeout(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, err = (&http.Transport{TLSHandshakeTimeout: 20 * time.Millisecond}).RoundTrip(get(t, "https://"+ln.Addr().String()+"/"))
	check(t, Explain(err, "site.test", nil, nil), "handshake.timeout", "in time", "firewall")
}

// A server that asks for a certificate and then just goes away.
func TestClosed(t *testing.T) {
	servers := tlstest.NewCA("Servers")
	for name, ending := range map[string]func(net.Conn){
		"EOF":   func(c net.Conn) { _ = c.Close() },
		"reset": func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
	} {
		config := servers.ServerConfig("127.0.0.1")
		config.ClientAuth, config.MaxVersion = tls.RequestClientCert, tls.VersionTLS12
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				mine := config.Clone()
				mine.VerifyConnection = func(tls.ConnectionState) error { ending(conn); return nil }
				_ = tls.Server(conn, mine).Handshake()
			}
		}()
		for _, tt := range []struct {
			m    *tlsmat.Material
			id   string
			hint string
		}{
			{load(t, nil, servers.PEM()), "client_cert_required.closed", "set mtls.corp.cert"},
			{load(t, tlstest.NewCA("Clients").Issue(tlstest.Leaf{CN: "alice", Client: true}), servers.PEM()), "handshake.closed", "log"},
		} {
			t.Run(name+" "+tt.id, func(t *testing.T) {
				seen := &tlsmat.Seen{}
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				err = tls.Client(conn, tt.m.TLSConfig("127.0.0.1")).HandshakeContext(tlsmat.WithSeen(t.Context(), seen))
				check(t, Explain(err, "site.test", tt.m, seen), tt.id, "closed the connection", tt.hint)
			})
		}
	}
}

// coded is an error with words of its own, such as that of a signer.
type coded struct{ text, code, hint string }

func (c *coded) Error() string { return c.text }
func (c *coded) Code() string  { return c.code }
func (c *coded) Hint() string  { return c.hint }

func TestOthers(t *testing.T) {
	m := load(t, tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true}))
	sent := asked(t, m)
	_, noFile := tlsmat.Load(t.Context(), tlsmat.Entry{Name: "corp", Cert: "/nowhere/alice.pem"})
	var le *tlsmat.LoadError
	if !errors.As(noFile, &le) {
		t.Fatal(noFile)
	}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	for _, tt := range []struct {
		name    string
		err     error
		m       *tlsmat.Material
		seen    *tlsmat.Seen
		code    string
		id      string
		message string
		hint    string
	}{
		{"a file", noFile, nil, nil, le.Code(), "", le.Error(), le.Hint()},
		{"explained before", &Failure{Message: "x", code: "tls.version", remedy: "y"}, nil, nil, "tls.version", "", "x", "y"},
		{"a refusal", &coded{"x", "tls.pin_mismatch", "y"}, nil, nil, "tls.pin_mismatch", "", "x", "y"},
		{"the code of another part", &coded{"x", "network.dns", "y"}, m, sent, "", "", "", ""},
		{"unsupported version", errors.New("tls: server selected unsupported protocol version 301"), m, nil, "", "version.old", "share no TLS version", "TLS 1.2"},
		{"another local complaint", errors.New("tls: server sent a cookie in a normal ServerHello"), m, nil, "", "handshake.local", "server sent a cookie", "log"},
		{"signatures, nothing known", errors.New("tls: peer doesn't support any of the certificate's signature algorithms"), m, nil, "", "client_cert_rejected.algorithms", "ECDSA P-256 key can make (ECDSAWithP256AndSHA256)", "mtls.corp.cert"},
		{"renegotiation", localAlert(t, 100), m, sent, "", "client_cert_required.later", "renegotiation", "when the connection starts"},
		{"local alert", localAlert(t, 20), m, sent, "", "handshake.refused", "on this side (alert 20 bad_record_mac)", "log"},
		{"broken pipe", syscall.EPIPE, m, sent, "", "handshake.closed", "may have refused it", "log"},
		{"h2", errors.New("http2: client conn could not be established"), m, sent, "", "handshake.closed", "may have refused it", "log"},
		{"reset, not asked", reset, m, &tlsmat.Seen{}, "", "", "", ""},
		{"reset, nothing known", reset, m, nil, "", "", "", ""},
		{"refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, m, sent, "", "", "", ""},
		{"name not found", &net.DNSError{Err: "no such host", Name: "x"}, m, sent, "", "", "", ""},
		{"nil", nil, m, sent, "", "", "", ""},
	} {
		for _, wrapped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s wrapped %v", tt.name, wrapped), func(t *testing.T) {
				err := tt.err
				if wrapped && err != nil {
					err = errors.Join(errors.New("first"), fmt.Errorf("get: %w", &url.Error{Op: "Get", URL: "x", Err: err}))
				}
				f := Explain(err, "site.test", tt.m, tt.seen)
				switch {
				case tt.id != "":
					check(t, f, tt.id, tt.message, tt.hint)
				case tt.code == "" && f != nil:
					t.Fatalf("explained as %s: %v", f.Code(), f)
				case tt.code != "" && (f == nil || f.Code() != tt.code || f.Error() != tt.message || f.Hint() != tt.hint):
					t.Errorf("%v, want %s", f, tt.message)
				}
			})
		}
	}
}

// localAlert provokes the error in which crypto/tls wraps an alert and gives it another direction:
// there is no other way to make a value of that type.
func localAlert(t *testing.T, number byte) error {
	t.Helper()
	err := dial(t, "tcp", answer(t, []byte{21, 3, 3, 0, 2, 2, number}), &tls.Config{ServerName: "x"}, nil)
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Fatalf("%T", err)
	}
	local := *op
	local.Op = "local error"
	return &local
}

// What was said is not said again in other words.
func TestExplainedBefore(t *testing.T) {
	m := load(t, tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true}))
	said := newExchange("site.test", m, nil).fail(requiredNone)
	for _, f := range []*Failure{Explain(fmt.Errorf("asking: %w", said), "other.test", m, nil), ExplainProxy(said, "gate", m, nil)} {
		if f != said {
			t.Errorf("%v", f)
		}
	}
}

func TestFindAlertQUIC(t *testing.T) {
	if a, remote, ok := findAlert(fmt.Errorf("quic: %w", tls.AlertError(48))); a != alertUnknownCA || !remote || !ok {
		t.Errorf("%v %v %v", a, remote, ok)
	}
}
