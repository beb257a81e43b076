package tlsmat

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// ownCauses are those of entries and pairs; those of files, of trust and of homes have tests of their
// own.
func ownCauses() []catalogue.Cause { return slices.Concat(entryCauses, pairCauses) }

// TestEveryCause has each cause come true. The remedy must name the file or the setting, by the name
// that the user gave it: the entry comes from the environment in half of the runs.
func TestEveryCause(t *testing.T) {
	ca := tlstest.NewCA("Corp CA")
	pair := ca.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	other := ca.Issue(tlstest.Leaf{CN: "bob", Client: true})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pair.CertPEM, pair.KeyPEM
	put := func(data ...[]byte) string { return write(t, "file", data...) }
	good := put(cert)
	keyed := func(data ...[]byte) Entry { return Entry{Cert: good, Key: put(data...)} }
	older := put(other.CertPEM)
	if err := os.Chtimes(older, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	combined := put(other.CertPEM, encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)))

	cases := []struct {
		cause catalogue.Cause
		entry Entry
	}{
		{causeNoCert, Entry{Key: good}},
		{causeNoRoots, Entry{Cert: good, CAOnly: true}},
		{causeNothing, Entry{}},
		{causeHome, Entry{Cert: good, Signer: []string{"x"}}},
		{causeTwoKeys, Entry{Cert: good, Key: good, Signer: []string{"x"}}},
		{causeTwoPassphrases, Entry{Cert: good, Passphrase: pass("x"), PassphraseCommand: []string{"x"}}},

		{causeMismatch, keyed(other.KeyPEM)},
		{causeMismatchKind, Entry{Cert: combined}},
		{causeHalfRenewed, Entry{Cert: older, Key: put(key)}},
		{causeIncomplete, Entry{Cert: put(block0(cert)), Key: put(key)}},
		{causeStranger, Entry{Cert: put(cert, tlstest.NewCA("Stranger").PEM()), Key: put(key)}},
	}
	tested := map[string]bool{causeNoChain.ID: true, causeMismatchHome.ID: true} // TestKeyOfAHome
	for _, tt := range cases {
		tested[tt.cause.ID] = true
		t.Run(tt.cause.ID, func(t *testing.T) {
			for _, settings := range []map[string]string{nil, {"cert": "AUTHFETCH_CERT", "key": "AUTHFETCH_KEY", "passphrase": "AUTHFETCH_KEY_PASSPHRASE", "ca": "AUTHFETCH_CA"}} {
				e := tt.entry
				e.Name, e.Settings = "corp", settings
				comesTrue(t, tt.cause, e)
			}
		})
	}
	for _, c := range ownCauses() {
		if !tested[c.ID] {
			t.Errorf("%s has no test", c.ID)
		}
	}
}

// fromEnvironment are the names of settings that must not be told when the environment sets them.
var fromEnvironment = regexp.MustCompile(`mtls\.corp\.(cert|key|passphrase|ca)\b`)

func comesTrue(t *testing.T, c catalogue.Cause, e Entry) {
	t.Helper()
	m, err := Load(t.Context(), e)
	var text, remedy string
	var ok bool
	if err != nil {
		le := err.(*LoadError)
		text, remedy = le.Error(), le.Hint()
		ok = produced(c, le.Field, le.Code(), le.Cause.Says, remedy)
	} else {
		for _, f := range m.doubts {
			if f.code == c.Code && !ok {
				_, says, _ := strings.Cut(f.says, ": ")
				text, remedy = f.says, f.remedy
				ok = produced(c, "", f.code, says, remedy) || produced(c, "", f.code, f.says, remedy)
			}
		}
	}
	if !ok {
		t.Fatalf("%v, %q, want %s", err, text, c.ID)
	}
	names := []string{e.Cert, e.Key, "mtls.corp.", "AUTHFETCH_"}
	if e.Key != "" {
		names = append(names, filepath.Dir(e.Key))
	}
	if !slices.ContainsFunc(names, func(name string) bool { return name != "" && strings.Contains(remedy, name) }) {
		t.Errorf("the remedy %q names neither file nor setting", remedy)
	}
	if all := text + remedy; e.Settings != nil && fromEnvironment.MatchString(all) || e.Settings == nil && strings.Contains(all, "AUTHFETCH_") {
		t.Errorf("a setting goes by the wrong name: %s; %s", text, remedy)
	}
}
