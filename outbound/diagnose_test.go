package outbound

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// steps are the names of the steps, with the code of the error where it is one.
func (r *Report) steps() (names []string) {
	for _, s := range r.Steps {
		name := s.Name
		if s.Err != nil {
			name += " ✗"
			if c, ok := s.Err.(coded); ok {
				name += " " + c.Code()
			}
		}
		names = append(names, name)
	}
	return names
}

func TestDiagnose(t *testing.T) {
	bad := badMaterials(t)
	free := "127.0.0.1:" + freePort(t)
	useResolver(t, map[string][]string{})
	mutual := func(version uint16) *tls.Config {
		return &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: testCA().Pool(), MaxVersion: version}
	}
	for _, tt := range []struct {
		name     string
		url      string      // "": that of a site
		config   *tls.Config // of the site; nil: http
		material *tlsmat.Material
		proxy    string // "http", "https", "refusing"
		want     []string
		facts    []string // of the last step, as far as given
	}{
		{name: "http", want: []string{"tcp"}},
		{name: "refused", url: "https://" + free, want: []string{"tcp ✗ network.refused"}},
		{name: "no such name", url: "https://absent.example", want: []string{"tcp ✗ network.dns"}},
		{name: "all is well", config: mutual(0), material: clientMaterial(t, "client"), want: []string{"tcp", "tls"},
			facts: []string{"client certificate: asked for, and sent", "the server accepts certificates of: CN=test root"}},
		{name: "not asked", config: &tls.Config{}, material: clientMaterial(t, "client"), want: []string{"tcp", "tls"},
			facts: []string{"client certificate: not asked for"}},
		{name: "optional", config: askForCertificate(), material: rootsMaterial(t), want: []string{"tcp", "tls"},
			facts: []string{"client certificate: asked for, and none is configured"}},
		{name: "missing, TLS 1.2", config: mutual(tls.VersionTLS12), material: rootsMaterial(t), want: []string{"tcp", "tls ✗ tls.client_cert_required"}},
		{name: "missing, TLS 1.3", config: mutual(0), material: rootsMaterial(t), want: []string{"tcp", "tls ✗ tls.client_cert_required"},
			facts: []string{"client certificate: asked for, and none is configured"}},
		{name: "unknown authority", config: mutual(0), material: bad["tls.client_ca_unknown"], want: []string{"tcp", "tls ✗ tls.client_ca_unknown"},
			facts: []string{"client certificate: asked for, and sent", "the configured certificate is of none of these"}},
		{name: "expired", config: mutual(0), material: bad["tls.client_cert_expired"], want: []string{"tcp", "tls ✗ tls.client_cert_expired"}},
		{name: "server not trusted", config: mutual(0), want: []string{"tcp", "tls ✗ tls.server_ca_unknown"},
			facts: []string{"server certificate: CN=127.0.0.1, issued by CN=test root, valid until "}},
		{name: "through a proxy", config: mutual(0), material: clientMaterial(t, "client"), proxy: "http", want: []string{"tcp", "proxy", "tls"},
			facts: []string{"client certificate: asked for, and sent"}},
		{name: "through a secure proxy", config: mutual(0), material: clientMaterial(t, "client"), proxy: "https", want: []string{"tcp", "proxy tls", "proxy", "tls"}},
		{name: "refused behind a secure proxy", config: mutual(0), material: rootsMaterial(t), proxy: "https",
			want: []string{"tcp", "proxy tls", "proxy", "tls ✗ tls.client_cert_required"}},
		{name: "by a secure proxy", config: mutual(0), material: clientMaterial(t, "client"), proxy: "refusing", want: []string{"tcp", "proxy tls ✗ tls.client_cert_required"}},
		{name: "nobody behind the proxy", url: "https://" + free, proxy: "http", want: []string{"tcp", "proxy ✗ network.proxy"}},
		{name: "http through a secure proxy", proxy: "https", want: []string{"tcp", "proxy tls"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to, s := tt.url, (*site)(nil)
			if to == "" {
				s = newSite(t, true, tt.config)
				to = s.URL
			}
			o := Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return tt.material }}
			switch tt.proxy {
			case "http":
				o.Proxy = newTestProxy(t).proxy(t, url.UserPassword("u", "s3cret"))
			case "https":
				o.Proxy = newSecureProxy(t, nil).proxy(t, nil)
			case "refusing":
				o.Proxy = newSecureProxy(t, testCA().MutualConfig(testCA(), "127.0.0.1")).proxy(t, nil)
			}
			r := newTransport(t, o).Diagnose(principal.With(t.Context(), "alice"), mustOrigin(t, to))
			if d := cmp.Diff(tt.want, r.steps()); d != "" {
				t.Errorf("steps (-want +got):\n%s\n%v", d, r.Err())
			}
			if (r.Proxy != "") != (tt.proxy != "") || tt.proxy != "" && !strings.HasSuffix(r.Proxy, "(network.proxy)") {
				t.Errorf("proxy %q", r.Proxy)
			}
			last := strings.Join(r.Steps[len(r.Steps)-1].Facts(), "\n")
			for _, fact := range tt.facts {
				if !strings.Contains(last, fact) {
					t.Errorf("no %q in\n%s", fact, last)
				}
			}
			if s != nil && len(s.all()) > 0 {
				t.Errorf("the server received %v", s.all())
			}
		})
	}
}

// TestDiagnoseHandshake: what a server shows is told in full, and is fit to print.
func TestDiagnoseHandshake(t *testing.T) {
	intermediate := testCA().Intermediate("middle \x1b[31m\u202e")
	pair := intermediate.Issue(tlstest.Leaf{CN: "a\nb", Hosts: []string{"127.0.0.1", "a.example"}})
	site := newSite(t, true, &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: tlstest.NewCA("other\x07").Pool(), Certificates: []tls.Certificate{pair.Cert}})
	m := clientMaterial(t, "client")
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, "")) // leaves a session, which is not to be resumed
	r := tr.Diagnose(t.Context(), mustOrigin(t, site.URL))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	until := pair.Cert.Leaf.NotAfter
	leaf := ServerCertificate{Subject: "CN=a b", Issuer: "CN=middle [31m", NotBefore: pair.Cert.Leaf.NotBefore, NotAfter: until, Names: []string{"a.example", "127.0.0.1"}}
	got := r.Steps[1].Handshake
	if len(got.Chain) != 2 {
		t.Fatalf("chain %v", got.Chain)
	}
	if d := cmp.Diff(leaf, got.Chain[0]); d != "" {
		t.Errorf("leaf (-want +got):\n%s", d)
	}
	if got.Chain[1].Subject != "CN=middle [31m" || got.Chain[1].Issuer != "CN=test root" {
		t.Errorf("intermediate %+v", got.Chain[1])
	}
	got.Chain = nil
	want := &Handshake{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", ALPN: "h2", Asked: true, Authorities: []string{"CN=other"}, Configured: true, Sent: true}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("handshake (-want +got):\n%s", d)
	}
	if want := "connected to " + mustURL(t, site.URL).Host; r.Steps[0].Says != want {
		t.Errorf("tcp: %q, want %q", r.Steps[0].Says, want)
	}
}

// TestDiagnoseIsGuarded: what may not be asked may not be diagnosed.
func TestDiagnoseIsGuarded(t *testing.T) {
	l := listen(t, func(net.Conn) { t.Error("a connection") })
	to := mustOrigin(t, "https://"+l.Addr().String())
	r := newTransport(t, Options{}).Diagnose(t.Context(), to)
	if !isA[*netguard.DeniedError](r.Err()) || len(r.Steps) != 1 {
		t.Errorf("steps %v", r.steps())
	}
	p := newTestProxy(t)
	r = newTransport(t, Options{Proxy: p.proxy(t, nil)}).Diagnose(t.Context(), to)
	if !isA[*netguard.DeniedError](r.Err()) || len(p.received()) != 0 {
		t.Errorf("steps %v, the proxy received %v", r.steps(), p.received())
	}
}
