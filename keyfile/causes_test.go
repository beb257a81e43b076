package keyfile

import (
	"bytes"
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

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// TestEveryCause has each cause come true. The remedy must name the file or the setting, by the name
// that the user gave it: the entry comes from the environment in half of the runs.
func TestEveryCause(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions and shells are different on Windows")
	}
	ca := tlstest.NewCA("Corp CA")
	pair := ca.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
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
	keyed := func(data ...[]byte) entry { return entry{Cert: good, Key: put(data...)} }
	asked := func(argv []string) entry { return entry{Cert: good, Key: put(encrypted), PassphraseCommand: argv} }
	huge := put()
	if err := os.Truncate(huge, maxFile+1); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		cause catalogue.Cause
		entry entry
	}{

		{causePasted, entry{Cert: good, Key: "/etc/" + string(key)}},
		{causeMissing, entry{Cert: good + ".gone"}},
		{causeDangling, entry{Cert: link}},
		{causeDirectory, entry{Cert: t.TempDir()}},
		{causeIrregular, entry{Cert: os.DevNull}},
		{causeUnreadable, entry{Cert: good + "/below"}},
		{causeLarge, entry{Cert: huge}},
		{causeEmpty, entry{Cert: put()}},
		{causeBlank, entry{Cert: put([]byte(" \n"))}},
		{causeUTF16, entry{Cert: put([]byte("\xff\xfe-\x00"))}},
		{causeNoFormat, entry{Cert: put([]byte("hello"))}},
		{causeCut, entry{Cert: put(cert[:60])}},
		{causeEscaped, entry{Cert: put(bytes.ReplaceAll(cert, []byte("\n"), []byte(`\n`)))}},
		{causeDamagedPEM, entry{Cert: put([]byte("-----BEGIN CERTIFICATE"))}},
		{causeCutDER, entry{Cert: put(leaf[:60])}},
		{causeDamagedDER, entry{Cert: put(leaf, []byte("x"))}},
		{causeBER, entry{Cert: put([]byte{0x30, 0x80, 0, 0})}},

		{causeDamagedCert, entry{Cert: put(encode("CERTIFICATE", []byte{0x30, 0}), key)}},
		{causeTrusted, entry{Cert: put(encode("TRUSTED CERTIFICATE", leaf))}},
		{causeRequest, entry{Cert: put(encode("CERTIFICATE REQUEST", leaf))}},
		{causeKeyAsCert, entry{Cert: put(key)}},
		{causePKCS7, entry{Cert: put(encode("PKCS7", leaf))}},
		{causePKCS12AsRoots, entry{CA: []string{put(p12)}}},
		{causeNoCertificate, entry{Cert: put(encode("X509 CRL", leaf))}},

		{causeCertAsKey, keyed(cert)},
		{causePublicKey, keyed(public)},
		{causeNoKey, keyed(encode("X509 CRL", leaf))},
		{causeDamagedKey, keyed(encode("PRIVATE KEY", []byte{0x30, 0}))},
		{causeForeignKey, keyed(encode("TSS2 PRIVATE KEY", []byte{0x30, 0}))},
		{causeOpenSSH, keyed(encode("OPENSSH PRIVATE KEY", []byte{0x30, 0}))},
		{causeForeignCipher, entry{Cert: good, Key: put(encode("ENCRYPTED PRIVATE KEY", camellia.marshal(t))), Passphrase: pass("x")}},

		{causePassphraseRequired, keyed(encrypted)},
		{causePassphraseEmpty, entry{Cert: good, Key: put(encrypted), Passphrase: pass("")}},
		{causePassphraseWrong, entry{Cert: good, Key: put(encrypted), Passphrase: pass("wrong")}},
		{causePassphraseWrong, entry{Cert: put(p12), Passphrase: pass("wrong")}},
		{causePassphraseUnavailable, entry{Cert: good, Key: put(encrypted), Passphrase: unavailable}},
		{causePassphraseNeedless, entry{Cert: good, Key: put(key), Passphrase: pass("x")}},
		{causeCommandStart, asked([]string{"/no/such/program"})},
		{causeCommandStatus, asked(shell("exit 3"))},
		{causeCommandTime, asked(shell("exec sleep 60"))},
		{causeCommandLong, asked(shell("while :; do echo 0123456789; done"))},
		{causeCommandSilent, asked(shell(":"))},

		{causeNoMAC, entry{Cert: put(spoil(t, p12, func(p *pfx) { p.MAC = macData{} })), Passphrase: pass("right")}},
		{causeCostly, entry{Cert: put(spoil(t, p12, func(p *pfx) { p.MAC.Iterations = 1 << 40 }))}},
		{causePKCS12Foreign, entry{Cert: put(spoil(t, p12, func(p *pfx) { p.AuthSafe.sign() }))}},
		{causePKCS12Damaged, entry{Cert: put(spoil(t, p12, func(p *pfx) { p.AuthSafe.Content = explicit([]byte{4, 0}) }))}},

		{causeSwapped, entry{Cert: put(key), Key: good}},

		{causeOpenToAll, entry{Cert: good, Key: modes(put(key), 0o644, 0o700)}},
		{causeOpenToAll, entry{Cert: good, Key: modes(put(key), 0o644, 0o700), StrictPermissions: true}},
		{causeOpenToGroup, entry{Cert: good, Key: modes(put(key), 0o660, 0o700)}},
		{causeOpenToGroup, entry{Cert: good, Key: modes(put(key), 0o660, 0o700), StrictPermissions: true}},
		{causeGroupReadable, entry{Cert: good, Key: modes(put(key), 0o440, 0o700), StrictPermissions: true}},
		{causeOpenDirectory, entry{Cert: good, Key: modes(put(key), 0o600, 0o777), StrictPermissions: true}},
	}
	tested := map[string]bool{causeForeignOwner.ID: true, causeDenied.ID: true, causeSlow.ID: true} // TestForeignOwner, TestLoadUnreadable, TestSlowFile
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
	for _, c := range Causes() {
		if !tested[c.ID] {
			t.Errorf("%s has no test", c.ID)
		}
	}
}

// fromEnvironment are the names of settings that must not be told when the environment sets them.
var fromEnvironment = regexp.MustCompile(`mtls\.corp\.(cert|key|passphrase|ca)\b`)

func comesTrue(t *testing.T, c catalogue.Cause, e entry) {
	t.Helper()
	start := time.Now()
	l, err := load(t.Context(), e)
	if took := time.Since(start); took > 11*time.Second {
		t.Errorf("it took %v", took)
	}
	var text, remedy string
	var ok bool
	if err != nil {
		le := err.(*Error)
		text, remedy = le.Error(), le.Hint()
		ok = produced(c, le.Field, le.Code(), le.Cause.Says, remedy)
	} else {
		for _, w := range l.warnings {
			if w.Code == c.Code && !ok {
				_, says, _ := strings.Cut(w.Says, ": ")
				text, remedy = w.Says, w.Remedy
				ok = produced(c, "", w.Code, says, remedy) || produced(c, "", w.Code, w.Says, remedy)
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
