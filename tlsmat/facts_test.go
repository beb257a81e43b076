package tlsmat

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestWarningsFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ca := tlstest.NewCA("CA")
		m := load(t, ca.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(oneDay), NotAfter: now.Add(101 * oneDay)}), ca.PEM())
		for _, tt := range []struct {
			after time.Duration
			want  string
		}{
			{0, "is not valid before"},
			{2 * oneDay, ""},
			{72 * oneDay, "in 29 days"},
			{100 * oneDay, "in 24 hours"},
			{102 * oneDay, "alice\" expired on"},
		} {
			time.Sleep(time.Until(now.Add(tt.after)))
			var got []string
			for _, w := range m.Warnings() {
				if !strings.Contains(w, "the root ") {
					got = append(got, w)
				}
			}
			if tt.want == "" && len(got) > 0 || !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("after %v: %q, want %q", tt.after, got, tt.want)
			}
		}
		if got := strings.Join(m.Warnings(), "\n"); !strings.Contains(got, `the root "CN=CA" expired on`) {
			t.Errorf("no word of the expired root: %q", got)
		}
	})
}

func TestWarningsOfWeakness(t *testing.T) {
	ca := tlstest.NewCA("CA")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		leaf tlstest.Leaf
		want string
	}{
		{"RSA 1024", tlstest.Leaf{CN: "alice", Client: true, Key: weak}, "RSA key of 1024 bits"},
		{"server certificate", tlstest.Leaf{CN: "alice"}, "extended key usage is serverAuth, without clientAuth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(load(t, ca.Issue(tt.leaf)).Warnings(), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("warnings %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("needless passphrase", func(t *testing.T) {
		cert, key, err := ca.Issue(tlstest.Leaf{CN: "alice", Client: true}).Write(t.TempDir(), "client")
		if err != nil {
			t.Fatal(err)
		}
		m, err := Load(t.Context(), Entry{Name: "corp", Cert: cert, Key: key, Passphrase: pass("needless")})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(m.Warnings(), "\n"); !strings.Contains(got, "mtls.corp.passphrase is set, but") {
			t.Errorf("warnings %q", got)
		}
	})
}

func TestKnownRootIsNotAMissingIntermediate(t *testing.T) {
	root := tlstest.NewCA("Root")
	issuing := root.Intermediate("Issuing")
	const text = "is not in the file"
	if got := strings.Join(load(t, root.Issue(tlstest.Leaf{CN: "a", Client: true}), root.PEM()).Warnings(), "\n"); strings.Contains(got, text) {
		t.Errorf("issued by a known root: %q", got)
	}
	p := issuing.Issue(tlstest.Leaf{CN: "a", Client: true})
	p.CertPEM = block0(p.CertPEM)
	if got := strings.Join(load(t, p, issuing.PEM()).Warnings(), "\n"); !strings.Contains(got, text) {
		t.Errorf("issued by a known intermediate: %q", got)
	}
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	ca := tlstest.NewCA("CA")
	for _, tt := range []struct {
		mode os.FileMode
		want string
	}{
		{0o600, ""},
		{0o400, ""},
		{0o440, "readable by its group (mode 0440); tolerated"},
		{0o640, "readable by its group (mode 0640); tolerated"},
		{0o660, "open to its group (mode 0660)"},
		{0o644, "open to every user of this machine (mode 0644)"},
		{0o604, "open to every user of this machine (mode 0604)"},
	} {
		for _, combined := range []bool{false, true} {
			t.Run(fmt.Sprintf("%04o combined %v", tt.mode, combined), func(t *testing.T) {
				p := ca.Issue(tlstest.Leaf{CN: "alice", Client: true})
				e := Entry{Name: "corp", Cert: write(t, "cert.pem", p.CertPEM), Key: write(t, "key.pem", p.KeyPEM)}
				if combined {
					e.Cert, e.Key = write(t, "both.pem", p.CertPEM, p.KeyPEM), ""
				}
				secretFile := e.Key
				if combined {
					secretFile = e.Cert
				}
				if err := os.Chmod(secretFile, tt.mode); err != nil {
					t.Fatal(err)
				}
				m, err := Load(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				var got string
				for _, w := range m.Warnings() {
					if strings.Contains(w, "private key") {
						got += w
					}
				}
				if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || got != "" && !strings.Contains(got, secretFile) {
					t.Errorf("warning %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func TestFacts(t *testing.T) {
	root := tlstest.NewCA("Root")
	p := root.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true, Organization: "Corp"})
	m := load(t, p, root.PEM())
	got := strings.Join(m.Facts(), "\n")
	for _, want := range []string{
		"subject: CN=alice,O=Corp", "issuer: CN=Issuing", fmt.Sprintf("serial: %x", p.Cert.Leaf.SerialNumber),
		"valid from: " + day(p.Cert.Leaf.NotBefore), "valid until: " + day(p.Cert.Leaf.NotAfter),
		"key: ECDSA P-256", "extended key usage: clientAuth", "chain: 2 sent", "SPKI sha256: " + spki(p.Cert.Leaf),
		"certificate file: " + m.certFile.Path, "key file: " + m.keyFile.Path, "roots: only the 1 in " + m.RootsSource(),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("facts lack %q:\n%s", want, got)
		}
	}
	var none *Material
	if got := strings.Join(none.Facts(), "\n"); got != "roots: the system's" {
		t.Errorf("facts of nothing: %q", got)
	}
	if none.Warnings() != nil || none.Leaf() != nil || none.Certificate() != nil || none.Name() != "" {
		t.Error("a nil Material has something")
	}
}

func TestFactsAreSafeToPrint(t *testing.T) {
	p := tlstest.NewCA("\x1b[31mred\u202e").Issue(tlstest.Leaf{CN: "\x1b]0;title\x07alice\nforged: line", Client: true})
	m := load(t, p)
	for _, line := range append(m.Facts(), m.Warnings()...) {
		if strings.ContainsAny(line, "\x1b\x07\n\u202e") {
			t.Errorf("unsafe line %q", line)
		}
	}
}

func TestThumbprint(t *testing.T) {
	c := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true}).Cert.Leaf
	got, err := base64.RawURLEncoding.DecodeString(Thumbprint(c))
	if want := sha256.Sum256(c.Raw); err != nil || string(got) != string(want[:]) {
		t.Errorf("Thumbprint = %x, %v, want %x", got, err, want)
	}
	if got := Thumbprint(nil); got != "" {
		t.Errorf("Thumbprint(nil) = %q", got)
	}
}
