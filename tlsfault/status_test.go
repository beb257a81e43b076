package tlsfault

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// nginxPage is nginx's own page, as of 1.22.
func nginxPage(reason string) string {
	return "<html>\r\n<head><title>400 " + reason + "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>" + reason +
		"</center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
}

func TestStatus(t *testing.T) {
	ca := tlstest.NewCA("CA")
	now := time.Now()
	good := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}), ca.PEM())
	expired := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}))
	alone := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true}))
	weak := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: rsaKey(t, 1024)}))
	unsent, sent, foreign, quiet := asked(t, nil, ca), asked(t, good, ca), asked(t, good, tlstest.NewCA("Foreign")), &tlsmat.Seen{}
	const (
		none   = "No required SSL certificate was sent"
		bad    = "The SSL certificate error"
		plain  = "The plain HTTP request was sent to HTTPS port"
		apache = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n<h1>Bad Request</h1>\n" +
			"<p>Your browser sent a request that this server could not understand.<br />\nReason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n</p>\n</body></html>\n"
	)
	// The page of Apache httpd 2.4.71, and one with the older document type and a signature.
	const (
		postHandshake = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n<html><head>\n<title>403 Forbidden</title>\n" +
			"</head><body>\n<h1>Forbidden</h1>\n<p>You don't have permission to access this resource.Reason: Cannot perform Post-Handshake Authentication.<br /></p>\n</body></html>\n"
		formerly = "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>403 Forbidden</title>\n" +
			"</head><body>\n<h1>Forbidden</h1>\n<p>You don't have permission to access this resource.Reason: Cannot perform Post-Handshake Authentication.<br /></p>\n" +
			"<hr>\n<address>Apache/2.4.41 Server at site.test Port 443</address>\n</body></html>\n"
	)
	essay := "<p>What nginx says:</p>" + nginxPage(none) + strings.Repeat("<p>and why</p>", 200)
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		m       *tlsmat.Material
		seen    *tlsmat.Seen
		id      string
		message string
		hint    string
	}{
		{"none sent", 400, nginxPage(none), nil, unsent, "client_cert_required.none", `site.test requires a client certificate, and none is configured for it; it accepts certificates of "CN=CA"`, `"mtls"`},
		{"none sent, it says", 400, nginxPage(none), good, sent, "client_cert_required.lost", "says that it got none", "log"},
		{"496", 496, "", nil, unsent, "client_cert_required.none", "site.test requires a client certificate", `"mtls"`},
		{"bad", 400, nginxPage(bad), good, sent, "client_cert_rejected.other", "rejected the client certificate", "mtls.corp.cert"},
		{"bad, expired here", 400, nginxPage(bad), expired, asked(t, expired, ca), "client_cert_expired.over", "expired on", "renew"},
		{"bad, hints name others", 400, nginxPage(bad), good, foreign, "client_ca_unknown.issuer", `; it accepts certificates of "CN=Foreign"`, "have the server trust"},
		{"bad, perhaps without its intermediate", 400, nginxPage(bad), alone, asked(t, alone), "client_ca_unknown.intermediate", `"CN=CA"`, "append"},
		{"bad, weak", 400, nginxPage(bad), weak, asked(t, weak, ca), "client_cert_rejected.weak", "1024", "2048"},
		{"495", 495, "", good, sent, "client_cert_rejected.other", "rejected the client certificate", "mtls.corp.cert"},
		{"401, none sent", 401, "who are you?", nil, unsent, "client_cert_required.status", "answered 401 after it had asked for a client certificate and got none, so it may require one", "if the site is for holders"},
		{"403, none sent", 403, "no", nil, unsent, "client_cert_required.status", "answered 403", "if the site is for holders"},
		{"403, sent", 403, "no", good, sent, "client_cert_denied.status", `answered 403 to the holder of the client certificate "CN=alice", so it may not allow it`, "allow this subject"},
		{"401, sent", 401, "no", good, sent, "client_cert_denied.status", "answered 401", "allow this subject"},
		{"plain HTTP to nginx", 400, nginxPage(plain), nil, nil, "not_tls.plain", "over plain HTTP", "https://"},
		{"plain HTTP to Apache", 400, apache, nil, nil, "not_tls.plain", "over plain HTTP", "https://"},
		{"plain HTTP to Tomcat", 400, "Bad Request\r\nThis combination of host and port requires TLS.\r\n", nil, nil, "not_tls.plain", "over plain HTTP", "https://"},
		{"497", 497, "", nil, nil, "not_tls.plain", "over plain HTTP", "https://"},

		{"Apache would ask later", 403, postHandshake, good, quiet, "client_cert_required.after", "site.test wants to ask for a client certificate in the middle of a TLS 1.3 connection", "when the connection starts"},
		{"Apache would ask later, formerly", 403, formerly, nil, quiet, "client_cert_required.after", "post-handshake", "when the connection starts"},
		{"Apache asked, and would ask again", 403, postHandshake, good, sent, "client_cert_required.after", "post-handshake", "when the connection starts"},

		{"not by this status", 404, postHandshake, good, quiet, "", "", ""},
		{"not over plain HTTP", 403, postHandshake, good, nil, "", "", ""},
		{"an essay about Apache", 403, postHandshake + strings.Repeat("x", 2<<10), good, quiet, "", "", ""},
		{"another page that quotes Apache", 403, strings.Replace(postHandshake, "403 Forbidden", "Forbidden", 1), good, quiet, "", "", ""},
		{"ordinary 400", 400, "bad request", good, sent, "", "", ""},
		{"404", 404, nginxPage(none), good, sent, "", "", ""},
		{"a page about it", 200, nginxPage(none), nil, unsent, "", "", ""},
		{"an essay about it", 400, essay, nil, unsent, "", "", ""},
		{"a form that quotes it", 400, "<title>400 Your comment</title><p>" + none + "</p>", nil, unsent, "", "", ""},
		{"a page that quotes a part of it", 400, "<title>400 Your comment</title><center>" + none + "</center>", nil, unsent, "", "", ""},
		{"the page where nobody asked", 400, nginxPage(none), good, quiet, "", "", ""},
		{"the page over plain HTTP", 400, nginxPage(none), nil, nil, "", "", ""},
		{"496 where nobody asked", 496, "", good, quiet, "", "", ""},
		{"403 where nobody asked", 403, "no", good, quiet, "", "", ""},
		{"403 over plain HTTP", 403, "no", nil, nil, "", "", ""},
		{"of plain HTTP, over TLS", 400, nginxPage(plain), good, quiet, "", "", ""},
		{"an essay about plain HTTP", 400, apache + strings.Repeat("x", 2<<10), nil, nil, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: tt.status, Header: http.Header{}}
			f := ExplainStatus(resp, []byte(tt.body), "site.test", tt.m, tt.seen)
			if tt.id == "" {
				if f != nil {
					t.Fatalf("explained as %s: %v", f.Code(), f)
				}
				return
			}
			check(t, f, tt.id, tt.message, tt.hint)
			if (tt.status == 401 || tt.status == 403) && tt.id != "client_cert_required.after" {
				resp.Header.Set("WWW-Authenticate", `Bearer realm="x"`)
				if f := ExplainStatus(resp, []byte(tt.body), "site.test", tt.m, tt.seen); f != nil {
					t.Errorf("explained despite its challenge: %v", f)
				}
			}
		})
	}
	if f := ExplainStatus(nil, nil, "site.test", nil, unsent); f != nil {
		t.Errorf("no answer explained as %v", f)
	}
}

// Go's own server says it in an HTTP answer on the TLS port.
func TestStatusOfGoServer(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	resp, body := read(t, http.DefaultTransport, "http://"+srv.Listener.Addr().String()+"/")
	check(t, ExplainStatus(resp, body, "site.test", nil, nil), "not_tls.plain", "over plain HTTP", "https://")
	resp.TLS = &tls.ConnectionState{}
	if f := ExplainStatus(resp, body, "site.test", nil, nil); f != nil {
		t.Errorf("the same words over TLS are explained: %v", f)
	}
}

// read gets a page.
func read(t *testing.T, by http.RoundTripper, address string) (*http.Response, []byte) {
	t.Helper()
	resp, err := by.RoundTrip(get(t, address))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}
