package tlsmat

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// ownCauses are those of files, keys and passphrases; those of trust and of homes have tests of
// their own.
func ownCauses() []Cause {
	return slices.Concat(entryCauses, fileCauses, encodingCauses, certificateCauses, keyCauses, passphraseCauses, pkcs12Causes, pairCauses, permissionCauses)
}

// TestEveryCause has each cause come true. The remedy must name the file or the setting, by the name
// that the user gave it: the entry comes from the environment in half of the runs.
func TestEveryCause(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions and shells are different on Windows")
	}
	ca := tlstest.NewCA("Corp CA")
	pair := ca.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	other := ca.Issue(tlstest.Leaf{CN: "bob", Client: true})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, leaf := pair.CertPEM, pair.KeyPEM, pair.Cert.Certificate[0]
	keyDER := block1(t, key).Bytes
	public, err := x509.MarshalPKIXPublicKey(pair.Cert.Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, keyDER).marshal(t))
	camellia := encryptedKey(t, keyDER)
	camellia.cipher = []int{1, 2, 392, 200011, 61, 1, 1, 1, 4}
	p12 := makePKCS12(t, pkcs12.Modern2023, pair, "right")
	modes := func(path string, file, dir fs.FileMode) string {
		for p, m := range map[string]fs.FileMode{path: file, filepath.Dir(path): dir} {
			if err := os.Chmod(p, m); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	put := func(data ...[]byte) string { return write(t, "file", data...) }
	shell := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	good := put(cert)
	keyed := func(data ...[]byte) Entry { return Entry{Cert: good, Key: put(data...)} }
	asked := func(argv []string) Entry { return Entry{Cert: good, Key: put(encrypted), PassphraseCommand: argv} }
	huge := put()
	if err := os.Truncate(huge, maxFile+1); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	older := put(other.CertPEM)
	if err := os.Chtimes(older, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	combined := put(other.CertPEM, encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)))

	cases := []struct {
		cause Cause
		entry Entry
	}{
		{causeNoCert, Entry{Key: good}},
		{causeNoRoots, Entry{Cert: good, CAOnly: true}},
		{causeNothing, Entry{}},
		{causeHome, Entry{Cert: good, Signer: []string{"x"}}},
		{causeTwoKeys, Entry{Cert: good, Key: good, Signer: []string{"x"}}},
		{causeTwoPassphrases, Entry{Cert: good, Passphrase: pass("x"), PassphraseCommand: []string{"x"}}},

		{causeMissing, Entry{Cert: good + ".gone"}},
		{causeDangling, Entry{Cert: link}},
		{causeDirectory, Entry{Cert: t.TempDir()}},
		{causeIrregular, Entry{Cert: os.DevNull}},
		{causeUnreadable, Entry{Cert: good + "/below"}},
		{causeLarge, Entry{Cert: huge}},
		{causeEmpty, Entry{Cert: put()}},
		{causeBlank, Entry{Cert: put([]byte(" \n"))}},
		{causeUTF16, Entry{Cert: put([]byte("\xff\xfe-\x00"))}},
		{causeNoFormat, Entry{Cert: put([]byte("hello"))}},
		{causeCut, Entry{Cert: put(cert[:60])}},
		{causeEscaped, Entry{Cert: put(bytes.ReplaceAll(cert, []byte("\n"), []byte(`\n`)))}},
		{causeDamagedPEM, Entry{Cert: put([]byte("-----BEGIN CERTIFICATE"))}},
		{causeCutDER, Entry{Cert: put(leaf[:60])}},
		{causeDamagedDER, Entry{Cert: put(leaf, []byte("x"))}},
		{causeBER, Entry{Cert: put([]byte{0x30, 0x80, 0, 0})}},

		{causeDamagedCert, Entry{Cert: put(encode("CERTIFICATE", []byte{0x30, 0}), key)}},
		{causeTrusted, Entry{Cert: put(encode("TRUSTED CERTIFICATE", leaf))}},
		{causeRequest, Entry{Cert: put(encode("CERTIFICATE REQUEST", leaf))}},
		{causeKeyAsCert, Entry{Cert: put(key)}},
		{causePKCS7, Entry{Cert: put(encode("PKCS7", leaf))}},
		{causePKCS12AsRoots, Entry{CA: []string{put(p12)}}},
		{causeNoCertificate, Entry{Cert: put(encode("X509 CRL", leaf))}},

		{causeCertAsKey, keyed(cert)},
		{causePublicKey, keyed(public)},
		{causeNoKey, keyed(encode("X509 CRL", leaf))},
		{causeDamagedKey, keyed(encode("PRIVATE KEY", []byte{0x30, 0}))},
		{causeForeignKey, keyed(encode("TSS2 PRIVATE KEY", []byte{0x30, 0}))},
		{causeOpenSSH, keyed(encode("OPENSSH PRIVATE KEY", []byte{0x30, 0}))},
		{causeForeignCipher, Entry{Cert: good, Key: put(encode("ENCRYPTED PRIVATE KEY", camellia.marshal(t))), Passphrase: pass("x")}},

		{causePassphraseRequired, keyed(encrypted)},
		{causePassphraseEmpty, Entry{Cert: good, Key: put(encrypted), Passphrase: pass("")}},
		{causePassphraseWrong, Entry{Cert: good, Key: put(encrypted), Passphrase: pass("wrong")}},
		{causePassphraseWrong, Entry{Cert: put(p12), Passphrase: pass("wrong")}},
		{causePassphraseUnavailable, Entry{Cert: good, Key: put(encrypted), Passphrase: unavailable}},
		{causePassphraseNeedless, Entry{Cert: good, Key: put(key), Passphrase: pass("x")}},
		{causeCommandStart, asked([]string{"/no/such/program"})},
		{causeCommandStatus, asked(shell("exit 3"))},
		{causeCommandTime, asked(shell("exec sleep 60"))},
		{causeCommandLong, asked(shell("while :; do echo 0123456789; done"))},
		{causeCommandSilent, asked(shell(":"))},

		{causeNoMAC, Entry{Cert: put(spoil(t, p12, func(p *pfx) { p.MAC = macData{} })), Passphrase: pass("right")}},
		{causeCostly, Entry{Cert: put(spoil(t, p12, func(p *pfx) { p.MAC.Iterations = 1 << 40 }))}},
		{causePKCS12Foreign, Entry{Cert: put(spoil(t, p12, func(p *pfx) { p.AuthSafe.sign() }))}},
		{causePKCS12Damaged, Entry{Cert: put(spoil(t, p12, func(p *pfx) { p.AuthSafe.Content = explicit([]byte{4, 0}) }))}},

		{causeSwapped, Entry{Cert: put(key), Key: good}},
		{causeMismatch, keyed(other.KeyPEM)},
		{causeMismatchKind, Entry{Cert: combined}},
		{causeHalfRenewed, Entry{Cert: older, Key: put(key)}},
		{causeIncomplete, Entry{Cert: put(block0(cert)), Key: put(key)}},
		{causeStranger, Entry{Cert: put(cert, tlstest.NewCA("Stranger").PEM()), Key: put(key)}},

		{causeOpenToAll, Entry{Cert: good, Key: modes(put(key), 0o644, 0o700)}},
		{causeOpenToAll, Entry{Cert: good, Key: modes(put(key), 0o644, 0o700), StrictPermissions: true}},
		{causeOpenToGroup, Entry{Cert: good, Key: modes(put(key), 0o660, 0o700)}},
		{causeOpenToGroup, Entry{Cert: good, Key: modes(put(key), 0o660, 0o700), StrictPermissions: true}},
		{causeGroupReadable, Entry{Cert: good, Key: modes(put(key), 0o440, 0o700), StrictPermissions: true}},
		{causeOpenDirectory, Entry{Cert: good, Key: modes(put(key), 0o600, 0o777), StrictPermissions: true}},
	}
	tested := map[string]bool{causeDenied.ID: true, causeNoChain.ID: true, causeMismatchHome.ID: true} // TestLoadUnreadable, TestKeyOfAHome
	for _, tt := range cases {
		tested[tt.cause.ID] = true
		t.Run(tt.cause.ID, func(t *testing.T) {
			t.Parallel() // some wait
			for _, settings := range []map[string]string{nil, {"cert": "AUTHFETCH_CERT", "key": "AUTHFETCH_KEY", "passphrase": "AUTHFETCH_KEY_PASSPHRASE", "ca": "AUTHFETCH_CA"}} {
				if settings != nil && tt.cause.ID == causeCommandTime.ID {
					continue // once is enough to wait for
				}
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

func comesTrue(t *testing.T, c Cause, e Entry) {
	t.Helper()
	start := time.Now()
	m, err := Load(t.Context(), e)
	if took := time.Since(start); took > 11*time.Second {
		t.Errorf("it took %v", took)
	}
	var text, remedy string
	var ok bool
	if err != nil {
		le := err.(*LoadError)
		text, remedy = le.Error(), le.Hint()
		ok = produced(c, le.field, le.Code(), le.Reason, remedy)
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
