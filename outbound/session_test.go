package outbound

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// handshakeSeen is a request with the handshake it came by, as the server saw it.
type handshakeSeen struct {
	URI, CN string
	Resumed bool
}

func (s *site) handshakes() (all []handshakeSeen) {
	for _, r := range s.all() {
		all = append(all, handshakeSeen{r.URI, r.cn, r.resumed})
	}
	return all
}

// onNewConnection sends a GET on a connection of its own.
func onNewConnection(t *testing.T, tr *Transport, who principal.ID, rawURL string) *http.Response {
	t.Helper()
	resp, err := tr.RoundTrip(newRequest(t, who, http.MethodGet, rawURL, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	tr.CloseIdleConnections()
	return resp
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// TestResumption: a second connection of the same key resumes the session of the first, and what
// is told of it is what the handshake of the first showed.
func TestResumption(t *testing.T) {
	for name, version := range versions {
		for _, h2 := range []bool{false, true} {
			for _, tt := range []struct {
				name        string
				material    func(*testing.T) *tlsmat.Material
				auth        tls.ClientAuthType
				cn          string
				asked, sent bool
			}{
				{"certificate", func(t *testing.T) *tlsmat.Material { return clientMaterial(t, "client") }, tls.RequireAndVerifyClientCert, "client", true, true},
				{"asked, none", rootsMaterial, tls.RequestClientCert, "", true, false},
				{"not asked", func(t *testing.T) *tlsmat.Material { return clientMaterial(t, "client") }, tls.NoClientCert, "", false, false},
			} {
				t.Run(name+" "+tt.name, func(t *testing.T) {
					site := newSite(t, h2, &tls.Config{ClientAuth: tt.auth, ClientCAs: testCA().Pool(), MaxVersion: version})
					m := tt.material(t)
					tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
					for i := range 3 {
						resp := onNewConnection(t, tr, "alice", site.URL+"/")
						if resp.TLS.DidResume != (i > 0) {
							t.Errorf("request %d: resumed %v", i, resp.TLS.DidResume)
						}
						if seen := Seen(resp); seen.Asked() != tt.asked || seen.Sent() != tt.sent || Certificate(resp) != tt.sent {
							t.Errorf("request %d: asked %v, sent %v, want %v, %v", i, seen.Asked(), seen.Sent(), tt.asked, tt.sent)
						}
						if got, want := len(Seen(resp).AcceptableCAs()), map[bool]int{true: 1}[tt.asked]; got != want {
							t.Errorf("request %d: %d authorities, want %d", i, got, want)
						}
					}
					want := []handshakeSeen{{"/", tt.cn, false}, {"/", tt.cn, true}, {"/", tt.cn, true}}
					if d := cmp.Diff(want, site.handshakes()); d != "" {
						t.Errorf("the server saw (-want +got):\n%s", d)
					}
				})
			}
		}
	}
}

// TestSessionsAreNotShared: whatever differs between two requests, the second makes a handshake of
// its own. All servers have the same ticket keys and the same certificate.
func TestSessionsAreNotShared(t *testing.T) {
	useResolver(t, map[string][]string{"a.corp.example.": {"127.0.0.1"}, "b.corp.example.": {"127.0.0.1"}})
	wildcard := testCA().Issue(tlstest.Leaf{CN: "wildcard", Hosts: []string{"*.corp.example"}}).Cert
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := askForCertificate()
			config.MaxVersion, config.Certificates = version, []tls.Certificate{wildcard}
			site, elsewhere := newSite(t, true, config), newSite(t, true, config)
			port, port2 := ":"+mustURL(t, site.URL).Port(), ":"+mustURL(t, elsewhere.URL).Port()
			first, second, roots := clientMaterial(t, "first"), clientMaterial(t, "second"), rootsMaterial(t)
			m, rules := first, netguard.Rules{Loopback: true}
			tr := newTransport(t, Options{Material: func(origin.Origin) *tlsmat.Material { return m },
				Rules: func(context.Context, origin.Origin) (netguard.Rules, error) { return rules, nil }})

			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/alice")
			onNewConnection(t, tr, "bob", "https://a.corp.example"+port+"/bob")
			onNewConnection(t, tr, "alice", "https://b.corp.example"+port+"/other-host")
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/again")
			rules.Private = true
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/other-rules")
			m = second
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/renewed")
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/renewed-again")
			m = roots
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/without")
			m = first
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port+"/back")
			onNewConnection(t, tr, "alice", "https://a.corp.example"+port2+"/other-port")

			want := []handshakeSeen{
				{"/alice", "first", false}, {"/bob", "first", false}, {"/other-host", "first", false}, {"/again", "first", true},
				{"/other-rules", "first", false}, {"/renewed", "second", false}, {"/renewed-again", "second", true},
				{"/without", "", false}, {"/back", "first", false},
			}
			if d := cmp.Diff(want, site.handshakes()); d != "" {
				t.Errorf("the server saw (-want +got):\n%s", d)
			}
			if d := cmp.Diff([]handshakeSeen{{"/other-port", "first", false}}, elsewhere.handshakes()); d != "" {
				t.Errorf("the server on the other port saw (-want +got):\n%s", d)
			}
		})
	}
}

// TestSessionKeepsItsRecord: a session is told by the handshake that began it, not by the one that
// came last.
func TestSessionKeepsItsRecord(t *testing.T) {
	var s session
	began, later := new(tlsmat.Seen), new(tlsmat.Seen)
	first, second := &sessionView{session: &s, seen: began}, &sessionView{session: &s, seen: later}
	if _, ok := first.Get(""); ok {
		t.Fatal("a session that nobody began")
	}
	second.Get("")
	state := new(tls.ClientSessionState)
	first.Put("", state) // a ticket may come long after the handshake
	third := &sessionView{session: &s, seen: new(tlsmat.Seen)}
	if got, ok := third.Get(""); !ok || got != state || third.began != began {
		t.Errorf("resumed %p of %p, want %p of %p", got, third.began, state, began)
	}
	third.Put("", nil) // crypto/tls: it did not work
	if _, ok := second.Get(""); ok {
		t.Error("a session was offered again after it had failed")
	}
}

// TestHints: a list of authorities that does not name ours is noted, and changes nothing.
func TestHints(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			site := newSite(t, false, &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: tlstest.NewCA("another root").Pool(), MaxVersion: version})
			m := clientMaterial(t, "client")
			tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return m }})
			resp := onNewConnection(t, tr, "alice", site.URL)
			if got := site.only(t).cn; got != "client" {
				t.Errorf("the server saw the certificate %q", got)
			}
			seen := Seen(resp)
			if d := cmp.Diff([]string{"CN=another root"}, seen.AcceptableCAs()); d != "" || seen.Fits() || !seen.Sent() {
				t.Errorf("fits %v, sent %v, authorities (-want +got):\n%s", seen.Fits(), seen.Sent(), d)
			}
		})
	}
}
