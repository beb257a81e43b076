package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// newOffice is a user whose config names sites that trust their own authority alone.
func newOffice(t *testing.T, servers *tlstest.CA, sites ...string) *world {
	t.Helper()
	w := &world{provider: &provider{}, t: t, ca: servers, dir: t.TempDir()}
	must(t, os.WriteFile(filepath.Join(w.dir, "ca.pem"), servers.PEM(), 0o600))
	w.config = object{
		"mtls":  object{"root": object{"ca": "ca.pem", "ca_mode": "only"}},
		"sites": object{}, "login": object{"browser": "never"},
	}
	for _, s := range sites {
		w.config["sites"].(object)[s] = object{"mtls": "root"}
	}
	return w
}

// result is what a command gave.
type result struct {
	stdout, stderr string
	code           int
}

func (w *world) try(args ...string) result {
	w.t.Helper()
	cmd := w.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		w.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// check is a line of doctor --json.
type check struct {
	Name, Result, Code, Remedy string
	OK                         bool
}

func (w *world) doctor(url string) (checks []check, code int) {
	w.t.Helper()
	r := w.try("doctor", url, "--json")
	must(w.t, json.Unmarshal([]byte(r.stdout), &checks))
	return checks, r.code
}

// Every door says the same of a certificate that nginx does not take.
func TestCertificateAtNginx(t *testing.T) {
	t.Parallel()
	servers, clients := tlstest.NewCA("Harbour Root"), tlstest.NewCA("Harbour Staff")
	g := startNginx(t, servers, clients, "127.0.0.1", "on")
	optional := startNginx(t, servers, clients, "127.0.0.1", "optional")
	for _, tt := range []struct {
		name   string
		site   *gateway
		path   string
		pair   *tlstest.Pair // nil: none
		code   string        // "": the page
		remedy string
	}{
		{name: "accepted", site: g, pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true})},
		{name: "none", site: g, code: "tls.client_cert_required", remedy: "mtls.root.cert"},
		{name: "of an unknown authority", site: g, pair: tlstest.NewCA("Stranger").Issue(tlstest.Leaf{CN: "alice", Client: true}), code: "tls.client_ca_unknown", remedy: "mtls.client.cert"},
		{name: "expired", site: g, pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), code: "tls.client_cert_expired", remedy: "mtls.client.cert"},
		{name: "for servers", site: g, pair: clients.Issue(tlstest.Leaf{CN: "alice"}), code: "tls.client_cert_rejected", remedy: "clientAuth"},
		{name: "none where some pages want one", site: optional, path: "/members", code: "tls.client_cert_required", remedy: "mtls.root.cert"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newOffice(t, servers, tt.site.url)
			if tt.pair != nil {
				w.useCertificate(tt.pair, tt.site.url)
			}
			page := tt.site.url + tt.path + "/"
			if tt.path != "" {
				page = tt.site.url + tt.path
			}
			a := w.startAgent()
			got := a.fetch(page, 0)
			fetched := w.try("fetch", page)
			checks, code := w.doctor(page)
			if tt.code == "" {
				if !got.isHandbook() || fetched.code != 0 || code != 0 {
					t.Errorf("webfetch %+v, fetch %+v, doctor %d %+v", got, fetched, code, checks)
				}
				for _, v := range tt.site.visits() {
					if v.serial == serial(tt.pair) && v.status == "200" {
						return
					}
				}
				t.Errorf("nginx did not see the certificate: %+v", tt.site.visits())
				return
			}
			last := checks[len(checks)-1]
			if got.ErrorCode != tt.code || last.Code != tt.code || last.OK || !strings.Contains(last.Remedy, tt.remedy) {
				t.Errorf("webfetch says %s, doctor %+v; want %s, %s", got.ErrorCode, last, tt.code, tt.remedy)
			}
			if fetched.code != 3 || code != 3 {
				t.Errorf("fetch ended with %d, doctor with %d", fetched.code, code)
			}
			for where, text := range map[string]string{"webfetch": got.Text, "fetch": fetched.stderr} {
				if !strings.Contains(text, last.Result) || !strings.Contains(text, last.Remedy) {
					t.Errorf("%s says\n%s\nand doctor\n%s\n%s", where, text, last.Result, last.Remedy)
				}
			}
		})
	}
}

// A renewal is used without a restart, and the former certificate never again.
func TestRenewalAtNginx(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA("Harbour Root")
	g := startNginx(t, ca, ca, "127.0.0.1", "on")
	w := newOffice(t, ca, g.url)
	pairs := []*tlstest.Pair{ca.Issue(tlstest.Leaf{CN: "first", Client: true}), ca.Issue(tlstest.Leaf{CN: "second", Client: true}), ca.Issue(tlstest.Leaf{CN: "third", Client: true})}
	w.useCertificate(pairs[0], g.url)
	a := w.startAgent()
	for i, pair := range pairs {
		if i > 0 { // certificate first, as many tools do: for a moment the pair does not fit
			must(t, os.WriteFile(filepath.Join(w.dir, "client.pem"), pair.CertPEM, 0o600))
			time.Sleep(300 * time.Millisecond)
			if got := a.fetch(g.url+"/", 0); !got.isHandbook() {
				t.Fatalf("in the middle of a renewal: %+v", got)
			}
			must(t, os.WriteFile(filepath.Join(w.dir, "client.key"), pair.KeyPEM, 0o600))
		}
		waitFor(t, "certificate to be used", 15*time.Second, func() bool {
			if got := a.fetch(g.url+"/", 0); !got.isHandbook() {
				t.Fatalf("got %+v", got)
			}
			all := g.visits()
			return len(all) > 0 && all[len(all)-1].serial == serial(pair)
		})
	}
	latest := 0
	for _, v := range g.visits() {
		for i, p := range pairs {
			if v.serial == serial(p) && i < latest {
				t.Errorf("%s was seen after %s", v.subject, pairs[latest].Cert.Leaf.Subject)
			} else if v.serial == serial(p) {
				latest = i
			}
		}
	}
	if latest != len(pairs)-1 {
		t.Errorf("the latest certificate was never seen: %+v", g.visits())
	}
}

// Where a site leads is another site, which may well ask for a certificate.
func TestCertificateStaysWithItsSite(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA("Harbour Root")
	g := startNginx(t, ca, ca, "127.0.0.1", "on")
	var shown atomic.Int32
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Add(int32(len(r.TLS.PeerCertificates)))
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<h1>Elsewhere</h1>"))
	}))
	var asked atomic.Int32
	other.TLS = ca.ServerConfig("127.0.0.1")
	other.TLS.ClientAuth = tls.RequestClientCert
	other.TLS.VerifyConnection = func(tls.ConnectionState) error { asked.Add(1); return nil }
	other.StartTLS()
	defer other.Close()
	w := newOffice(t, ca, g.url, other.URL)
	w.useCertificate(ca.Issue(tlstest.Leaf{CN: "alice", Client: true}), g.url)
	a := w.startAgent()
	if got := a.fetch(g.url+"/", 0); !got.isHandbook() {
		t.Fatalf("got %+v", got)
	}
	a.fetch(g.url+"/away?to="+other.URL+"/", 0)
	if got := a.fetch(other.URL+"/", 0); !strings.Contains(got.Text, "Elsewhere") {
		t.Errorf("got %+v", got)
	}
	if asked.Load() == 0 || shown.Load() != 0 {
		t.Errorf("the other site was asked %d times and saw %d certificates", asked.Load(), shown.Load())
	}
}
