package tlsmat

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// check returns the check of that name.
func check(t *testing.T, m *Material, name string) Check {
	t.Helper()
	for _, c := range m.Checks() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q", name)
	return Check{}
}

func TestChecksOfSoundMaterial(t *testing.T) {
	root := tlstest.NewCA("Root")
	p := root.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	m := load(t, p, root.PEM())
	var got []string
	for _, c := range m.Checks() {
		if !c.OK || c.Warn || c.Code != "" || c.Remedy != "" {
			t.Errorf("%+v", c)
		}
		got = append(got, c.Name+": "+c.Result)
	}
	leaf := p.Cert.Leaf
	want := []string{
		"pair: certificate and key belong together (ECDSA P-256)",
		`chain: 2 sent, up to "CN=Issuing" issued by "CN=Root"`,
		"dates: valid from " + day(leaf.NotBefore) + " until " + day(leaf.NotAfter) + ", 23 hours left",
		"usage: extended key usage clientAuth",
		"permissions: the key file has mode 0600",
		"roots: only the 1 in " + m.RootsSource(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var none *Material
	if diff := cmp.Diff([]Check{{Name: "roots", OK: true, Result: "the system's"}}, none.Checks()); diff != "" {
		t.Error(diff)
	}
}

// Each fault is seen by its own check and no other, in the words of Warnings.
func TestChecksOfFaults(t *testing.T) {
	root := tlstest.NewCA("Root")
	issuing := root.Intermediate("Issuing")
	now := time.Now()
	alone := issuing.Issue(tlstest.Leaf{CN: "alice", Client: true})
	alone.CertPEM = block0(alone.CertPEM)
	ca := newAuthority(t, "Old root", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	for _, tt := range []struct {
		name  string
		pair  *tlstest.Pair
		roots []byte
		mode  os.FileMode
		check string
		ok    bool
		code  string
		text  string
	}{
		{name: "expired", pair: root.Issue(tlstest.Leaf{CN: "a", Client: true, NotAfter: now.Add(-time.Minute)}),
			check: "dates", code: "tls.client_cert_expired", text: `the certificate "CN=a" expired on`},
		{name: "not yet valid", pair: root.Issue(tlstest.Leaf{CN: "a", Client: true, NotBefore: now.Add(time.Hour)}),
			check: "dates", code: "tls.client_cert_expired", text: `the certificate "CN=a" is not valid before`},
		{name: "expires", pair: root.Issue(tlstest.Leaf{CN: "a", Client: true, NotBefore: now.Add(-40 * oneDay), NotAfter: now.Add(6 * oneDay)}),
			check: "dates", ok: true, code: "tls.client_cert_expiring", text: "in 5 days"},
		{name: "usage", pair: root.Issue(tlstest.Leaf{CN: "a"}),
			check: "usage", code: "tls.client_cert_rejected", text: "serverAuth, without clientAuth"},
		{name: "intermediate missing", pair: alone, check: "chain", ok: true, code: "tls.chain_incomplete", text: "CN=Issuing"},
		{name: "open key", pair: root.Issue(tlstest.Leaf{CN: "a", Client: true}), mode: 0o644,
			check: "permissions", ok: true, code: "tls.key_permissions", text: "open to every user"},
		{name: "old root", pair: root.Issue(tlstest.Leaf{CN: "a", Client: true}), roots: ca.pem(),
			check: "roots", ok: true, code: "tls.ca_file", text: `the root "CN=Old root" expired on`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := load(t, tt.pair, append(root.PEM(), tt.roots...))
			if tt.mode != 0 {
				if err := os.Chmod(m.keyFile.Path, tt.mode); err != nil {
					t.Fatal(err)
				}
				m = loadEntry(t, Entry{Cert: m.certFile.Path, Key: m.keyFile.Path, CA: []string{m.RootsSource()}})
			}
			for _, c := range m.Checks() {
				if c.Name != tt.check {
					if !c.OK || c.Warn {
						t.Errorf("%s: %+v", tt.name, c)
					}
					continue
				}
				if c.OK != tt.ok || c.Warn != tt.ok || c.Code != tt.code || !strings.Contains(c.Result, tt.text) {
					t.Errorf("%+v", c)
				}
				if diff := cmp.Diff([]string{c.Result}, m.Warnings()); diff != "" {
					t.Error(diff)
				}
				if c.Remedy == "" {
					t.Error("no remedy")
				}
			}
		})
	}
}

func TestSettingsOfTheEnvironmentAreNamed(t *testing.T) {
	root := tlstest.NewCA("Root")
	cert, key, err := root.Issue(tlstest.Leaf{CN: "a"}).Write(t.TempDir(), "client")
	if err != nil {
		t.Fatal(err)
	}
	m := loadEntry(t, Entry{Cert: cert, Key: key, Settings: map[string]string{"cert": "AUTHFETCH_CERT"}})
	c := check(t, m, "usage")
	if !strings.HasPrefix(c.Result, "AUTHFETCH_CERT "+cert) || !strings.Contains(c.Remedy, "AUTHFETCH_CERT") {
		t.Errorf("%+v", c)
	}
}

func TestDescribe(t *testing.T) {
	p := tlstest.NewCA("Root").Intermediate("\x1b[2JIssuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	m := load(t, p)
	want := `"CN=alice" issued by "CN=[2JIssuing", valid until ` + day(p.Cert.Leaf.NotAfter) + ", extended key usage clientAuth, 2 in the chain, from " + m.certFile.Path
	if got := m.Describe(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var none *Material
	if got := none.Describe(); got != "no client certificate" {
		t.Errorf("nil: %q", got)
	}
}

func TestCertSource(t *testing.T) {
	for _, tt := range []struct {
		name  string
		e     Entry
		where string
	}{
		{"file", Entry{Cert: "/c.pem", Key: "/k.pem"}, "mtls.corp.cert /c.pem"},
		{"file beside a token", Entry{Cert: "/c.pem", Key: "pkcs11:object=a?pin-value=1234"}, "mtls.corp.cert /c.pem"},
		{"token", Entry{Cert: "pkcs11:token=t;object=a?module-path=/m.so&pin-source=/run/pin"}, "mtls.corp.cert the token of pkcs11:token=t;object=a"},
		{"token of the key", Entry{Key: "PKCS11:object=a?pin-source=/run/pin"}, "mtls.corp.key the token of pkcs11:object=a"},
		{"token with a PIN", Entry{Cert: "pkcs11:object=a?pin-value=1234"}, "mtls.corp.cert the token of pkcs11:…"},
		{"signer", Entry{Signer: []string{"/opt/bin/signer", "--token=secret"}}, "mtls.corp.signer the signer signer"},
		{"SPIFFE", Entry{SPIFFE: "unix:///a"}, "mtls.corp.spiffe the Workload API unix:///a"},
	} {
		m := &Material{name: "corp", certFrom: tt.e.certFrom()}
		if got := m.certWhere(); got != tt.where || !strings.HasSuffix(got, m.CertSource()) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.where)
		}
	}
}

func TestRootsSource(t *testing.T) {
	root := newAuthority(t, "Root")
	a, b, dir := write(t, "a.pem", root.pem()), write(t, "b.pem", newAuthority(t, "B").pem()), t.TempDir()
	if err := os.WriteFile(dir+"/c.pem", root.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ca   []string
		want string
	}{{nil, ""}, {[]string{a}, a}, {[]string{dir}, dir}, {[]string{a, b}, a + " and 1 more"}, {[]string{a, b, dir}, a + " and 2 more"}} {
		e := Entry{CA: tt.ca}
		if tt.ca == nil {
			cert, key, err := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "a", Client: true}).Write(t.TempDir(), "client")
			if err != nil {
				t.Fatal(err)
			}
			e.Cert, e.Key = cert, key
		}
		if got := loadEntry(t, e).RootsSource(); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.ca, got, tt.want)
		}
	}
}
