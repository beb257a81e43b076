package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// loaded is a config of this text.
func loaded(t *testing.T, text string, env map[string]string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.jsonc")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, false, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, "/home/u")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Nothing of an entry is lost on the way to where it is used.
func TestEntryIsPassedOn(t *testing.T) {
	const pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	for _, tt := range []struct {
		name, entry string
		want        tlsmat.Entry
	}{
		{"files", `{"cert": "/c", "key": "/k", "passphrase_command": ["p", "q"], "strict_permissions": true, "ca": ["/a", "/b"], "ca_mode": "only", "crl": "/l"}`,
			tlsmat.Entry{Cert: "/c", Key: "/k", PassphraseCommand: []string{"p", "q"}, StrictPermissions: true, CA: []string{"/a", "/b"}, CAOnly: true, CRL: []string{"/l"}, MinVersion: tls.VersionTLS12}},
		{"demands", `{"ca": "/a", "server_name": "n", "min_version": "1.3", "pins": "` + pin + `"}`,
			tlsmat.Entry{CA: []string{"/a"}, ServerName: "n", MinVersion: tls.VersionTLS13, Pins: []string{pin}}},
		{"signer", `{"signer": ["s", "t"], "cert": "/c"}`, tlsmat.Entry{Signer: []string{"s", "t"}, Cert: "/c", MinVersion: tls.VersionTLS12}},
		{"workload", `{"spiffe": "unix:///s"}`, tlsmat.Entry{SPIFFE: "unix:///s", MinVersion: tls.VersionTLS12}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := loaded(t, `{"mtls": {"corp": `+tt.entry+`}}`, nil)
			tt.want.Name = "corp"
			if diff := cmp.Diff(tt.want, mtlsEntry("corp", cfg.MTLS["corp"]), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	cfg := loaded(t, `{"mtls": {"corp": {"cert": "/c", "passphrase": "{env:P}"}}}`, map[string]string{"P": "open"})
	got, err := mtlsEntry("corp", cfg.MTLS["corp"]).Passphrase(t.Context())
	if err != nil || got.Reveal() != "open" {
		t.Errorf("passphrase %q, %v", got.Reveal(), err)
	}
	cfg = loaded(t, `{}`, map[string]string{"AUTHFETCH_CERT": "/c", "AUTHFETCH_ORIGINS": "https://a.example"})
	if s := mtlsEntry("env", cfg.MTLS["env"]).Settings["cert"]; s != "AUTHFETCH_CERT" {
		t.Errorf("the certificate of the environment is called %q", s)
	}
}

// The proxy variables are those of the person who started the process, not of a service.
func TestProxyVariablesAtHomeOnly(t *testing.T) {
	to, err := origin.Parse("https://a.example")
	if err != nil {
		t.Fatal(err)
	}
	cfg := loaded(t, `{}`, map[string]string{"HTTPS_PROXY": "http://me:pw@p.example:3128"})
	for _, tt := range []struct {
		where setting
		want  string
	}{{atHome, "https://a.example by HTTPS_PROXY http://p.example:3128 me pw"}, {serving, ""}} {
		p, err := newProxies(cfg, files{}, tt.where.proxies)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if via := p.on(to); via != nil {
			got = to.String() + " by " + via.Setting + " " + via.At.String() + " " + via.Username + " " + via.Password.Reveal()
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	bad := loaded(t, `{}`, map[string]string{"HTTPS_PROXY": "socks5://p.example"})
	if _, err := newProxies(bad, files{}, serving.proxies); err != nil {
		t.Errorf("a service stumbles over a variable that it does not use: %v", err)
	}
	if _, err := newProxies(bad, files{}, atHome.proxies); err == nil {
		t.Error("a variable that cannot be used is passed over")
	}
}
