package oauthtest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestLogRecordsWhatArrived(t *testing.T) {
	log := new(oauthtest.Log)
	i := newIssuer(t, oauthtest.IssuerOptions{Log: log, Path: "/t"})
	r := newResource(t, oauthtest.ResourceOptions{Log: log, Issuer: i})
	before := time.Now()
	get(t, r.URL+"/docs/handbook?q=1&q=2", "X-Canary", "c")
	post(t, i.URL+"/token", map[string][]string{"grant_type": {"magic"}, "client_id": {"public"}})
	get(t, r.URL+"/docs/handbook")

	events := log.Events()
	if len(events) != 3 || events[0].Server != "resource" || events[1].Server != "issuer" {
		t.Fatalf("got %d events: %+v", len(events), events)
	}
	e := events[0]
	if e.Method != "GET" || e.Path != "/docs/handbook" || e.RawQuery != "q=1&q=2" || len(e.Query["q"]) != 2 || e.Header.Get("X-Canary") != "c" ||
		e.Header.Get("Host") != strings.TrimPrefix(r.URL, "http://") || e.Status != 401 || e.Note != "401 (no token): challenge with resource_metadata" ||
		e.Time.Before(before) || e.Form != nil {
		t.Errorf("got %+v", e)
	}
	if e := events[1]; e.Form.Get("grant_type") != "magic" || string(e.Body) != "client_id=public&grant_type=magic" || e.Status != 400 ||
		!strings.HasPrefix(e.Note, "refused, unsupported_grant_type") {
		t.Errorf("got %+v", e)
	}
	for _, tt := range []struct {
		server, method, prefix string
		want                   int
	}{
		{"", "", "", 3}, {"resource", "", "", 2}, {"resource", "POST", "", 0}, {"", "GET", "/docs", 2}, {"issuer", "POST", "/t", 1}, {"", "", "/nothing", 0},
	} {
		if got := log.Count(tt.server, tt.method, tt.prefix); got != tt.want {
			t.Errorf("Count(%q, %q, %q) = %d, want %d", tt.server, tt.method, tt.prefix, got, tt.want)
		}
	}
	if got := len(log.Find("resource", "/docs/handbook")); got != 2 {
		t.Errorf("Find: got %d events, want 2", got)
	}
	if got := len(log.Find("resource", "/docs")); got != 0 {
		t.Errorf("Find is exact: got %d events, want 0", got)
	}
	log.Reset()
	if got := len(log.Events()); got != 0 {
		t.Errorf("after Reset: got %d events", got)
	}
	log.Add(oauthtest.Event{Server: "resource"})
	if e := log.Events(); len(e) != 1 || e[0].Time.IsZero() {
		t.Errorf("after Add: got %+v", e)
	}
}

// A body is recorded up to a bound and reaches the handler whole.
func TestLogBoundsBodies(t *testing.T) {
	body, got := strings.Repeat("x", 200_000), 0
	r := newResource(t, oauthtest.ResourceOptions{Handle: map[string]http.HandlerFunc{"/in": func(w http.ResponseWriter, req *http.Request) {
		buf := make([]byte, 300_000)
		for {
			n, err := req.Body.Read(buf)
			if got += n; err != nil {
				return
			}
		}
	}}})
	resp, err := plain.Post(r.URL+"/in", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if e := r.Log.Find("resource", "/in"); len(e) != 1 || len(e[0].Body) != 64<<10 || e[0].Status != 200 || got != len(body) {
		t.Errorf("recorded %d bytes, handler read %d", len(e[0].Body), got)
	}
}

func TestLogConcurrently(t *testing.T) {
	r := newResource(t, oauthtest.ResourceOptions{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if resp, err := plain.Get(r.URL + "/"); err != nil {
				t.Error(err)
			} else {
				resp.Body.Close()
			}
			r.Log.Events()
		})
	}
	wg.Wait()
	if got := r.Log.Count("resource", "GET", "/"); got != 20 {
		t.Errorf("got %d events, want 20", got)
	}
}

// newCertificate is self-signed, for 127.0.0.1 and for clients.
func newCertificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func TestLogNamesTheClientCertificate(t *testing.T) {
	serverCert, roots := newCertificate(t, "server")
	clientCert, clients := newCertificate(t, "build-agent-7")
	r := newResource(t, oauthtest.ResourceOptions{TLS: &tls.Config{
		Certificates: []tls.Certificate{serverCert}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven,
	}})
	if !strings.HasPrefix(r.URL, "https://127.0.0.1:") {
		t.Fatalf("URL is %s", r.URL)
	}
	for _, tt := range []struct {
		certs []tls.Certificate
		want  string
	}{{nil, ""}, {[]tls.Certificate{clientCert}, "build-agent-7"}} {
		r.Log.Reset()
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: tt.certs}}}
		resp, err := c.Get(r.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if e := r.Log.Events(); len(e) != 1 || e[0].ClientCertificate != tt.want {
			t.Errorf("got %+v, want certificate %q", e, tt.want)
		}
	}
	if bad, err := oauthtest.NewResource(oauthtest.ResourceOptions{TLS: &tls.Config{}}); err == nil {
		bad.Close()
		t.Error("TLS without a certificate was accepted")
	}
}
