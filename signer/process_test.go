package signer

import (
	"crypto"
	"crypto/elliptic"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestIdentity(t *testing.T) {
	ca := tlstest.NewCA("Root").Intermediate("Issuing")
	for _, how := range []string{"good", "no chain", "stderr", "slow", "backwards"} {
		t.Run(how, func(t *testing.T) {
			dir, pair := home(t, ca, nil)
			p := started(t, how, dir, impatient)
			chain, key, err := p.Identity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got [][]byte
			for _, c := range chain {
				got = append(got, c.Raw)
			}
			want := pair.Cert.Certificate
			if how == "no chain" {
				want = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("chain (-want +got):\n%s", diff)
			}
			if !equal(key.Public(), pair.Cert.Leaf.PublicKey) {
				t.Error("the key is another one")
			}
			if how != "backwards" {
				if err := signs(key); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMisbehaviour(t *testing.T) {
	ca := tlstest.NewCA("CA")
	for _, tt := range []struct {
		how, id string
		says    string // part of the error
		status  string
		line    int
		atStart bool
		retry   bool
	}{
		{how: "dies at once", id: "signer.ended", says: "exit status 3", status: "exit status 3", atStart: true},
		{how: "banner", id: "signer.line", says: "line 1 ", line: 1, atStart: true},
		{how: "silent", id: "signer.timeout", says: "hello within 2s", atStart: true, retry: true},
		{how: "reads nothing", id: "signer.timeout", says: "hello within 2s", atStart: true, retry: true},
		{how: "new", id: "signer.version", says: "version 2", atStart: true},
		{how: "no key", id: "signer.no_key", says: "neither a certificate nor a public key", atStart: true},
		{how: "dies", id: "signer.ended", says: "exit status 3", status: "exit status 3"},
		{how: "half a line", id: "signer.ended", says: "exit status 6", status: "exit status 6"},
		{how: "closes its output", id: "signer.ended", says: "its output closed", status: "its output closed"},
		{how: "hangs", id: "signer.timeout", says: "sign within 2s", retry: true},
		{how: "garbage", id: "signer.line", says: "line 4 of what the signer", line: 4},
		{how: "garbage in JSON", id: "signer.line", says: "has a member signature of the wrong type", line: 4},
		{how: "huge line", id: "signer.line", says: "is longer than 1 MiB", line: 4},
		{how: "wrong id", id: "signer.line", says: "has no id of a request", line: 4},
		{how: "no id", id: "signer.line", says: "has no id of a request", line: 4},
		{how: "no signature", id: "signer.answer", says: "sign with no signature"},
		{how: "refuses", id: "signer.refused", says: `refused sign: "the card [31mwas 'removed'"`},
		{how: "refuses for now", id: "signer.refused_for_now", says: `could not sign this time: "nobody touched it"`, retry: true},
		{how: "wrong key", id: "signer.wrong_key", says: "is not one of the ECDSA P-256 key of the certificate"},
		{how: "spoilt", id: "signer.wrong_key", says: "is not one of the ECDSA P-256 key"},
	} {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			dir, _ := home(t, ca, nil)
			p, err := start(t.Context(), argv(tt.how, dir), impatient)
			if (err != nil) != tt.atStart {
				t.Fatalf("start: %v", err)
			}
			if err == nil {
				t.Cleanup(func() { _ = p.Close() })
				if err = signs(keyOf(t, p)); err == nil {
					t.Fatal("there is a signature")
				}
			}
			e := fault(t, err)
			if e.ID != tt.id || !strings.Contains(e.Error(), tt.says) || e.Status != tt.status || e.Line != tt.line || e.Retryable != tt.retry {
				t.Errorf("%s %q (status %q, line %d, retryable %v): %v\nwant %+v", e.ID, tt.how, e.Status, e.Line, e.Retryable, e, tt)
			}
			if e.Hint() == "" || !strings.HasPrefix(e.Code(), "tls.") || strings.ContainsAny(e.Error()+e.Hint(), "{}") {
				t.Errorf("code %q, hint %q", e.Code(), e.Hint())
			}
			if strings.Contains(e.Error()+e.Hint(), canary) || strings.Contains(e.Error(), dir) {
				t.Errorf("the error tells too much: %v", e)
			}
		})
	}
}

func TestCannotStart(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		argv []string
		says string
	}{
		{"nothing", nil, `the signer "" cannot be started: no program is named`},
		{"an empty name", []string{""}, `the signer "" cannot be started: no program is named`},
		{"missing", []string{dir + "/missing", "--pin", canary}, `the signer "missing" cannot be started: no such file or directory`},
		{"not in PATH", []string{"no-such-signer-here", canary}, `the signer "no-such-signer-here" cannot be started: executable file not found in $PATH`},
		{"not executable", []string{plain, canary}, `the signer "plain" cannot be started: permission denied`},
	} {
		_, err := Start(t.Context(), tt.argv)
		if e := fault(t, err); e.ID != "signer.start" || e.Error() != tt.says {
			t.Errorf("%s: %s: %v", tt.name, e.ID, e)
		}
	}
}

func TestFiftyAtOnce(t *testing.T) {
	ca := tlstest.NewCA("CA")
	for _, how := range []string{"good", "backwards"} {
		for name, key := range map[string]crypto.Signer{"RSA": rsaKey(), "ECDSA": ecKey(elliptic.P256()), "Ed25519": edKey()} {
			t.Run(how+" "+name, func(t *testing.T) {
				dir, _ := home(t, ca, key)
				k := keyOf(t, started(t, how, dir, usual))
				var all sync.WaitGroup
				for i := range 50 {
					all.Go(func() {
						digest := make([]byte, 32)
						digest[0] = byte(i) // each its own: an answer to another would not verify
						opts := crypto.SignerOpts(crypto.SHA256)
						if name == "Ed25519" {
							opts = crypto.Hash(0)
						}
						if _, err := k.Sign(nil, digest, opts); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if got := len(noted(t, dir, "requests")); got != 53 {
					t.Errorf("the signer got %d requests, want 53", got)
				}
			})
		}
	}
}
