package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const canary = "canary-b91f"

func TestSecretsAreNotPrinted(t *testing.T) {
	path := write(t, "c.jsonc", `{
		"mtls": {"a": {"cert": "c.pem", "passphrase": "canary-b91f-1"}},
		"sites": {"https://a.example": {"mtls": "a", "headers": {"X-Key": "{env:KEY}", "Authorization": "Bearer {file:token}"}}, "https://c.example": {"oauth": {"issuer": "https://i.example"}}},
		"issuers": {"https://i.example": {"client_id": "id", "client_secret": "canary-b91f-2"}},
		"network": {"proxy": {"url": "http://p", "username": "u", "password": "canary-b91f-6"}},
	}`)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "token"), []byte(canary+"-3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, false, variables(map[string]string{
		"KEY": canary + "-4", "AUTHFETCH_CERT": "c", "AUTHFETCH_ORIGINS": "https://b.example", "AUTHFETCH_KEY_PASSPHRASE": canary + "-5",
	}), "/home/u")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.MTLS["a"].Passphrase.Reveal(), c.Issuers["https://i.example"].ClientSecret.Reveal(), c.Sites[0].Headers[0].Value.Reveal(), c.Sites[0].Headers[1].Value.Reveal(), c.MTLS["env"].Passphrase.Reveal(), c.Network.Proxy.Password.Reveal()}
	want := []string{canary + "-1", canary + "-2", "Bearer " + canary + "-3", canary + "-4", canary + "-5", canary + "-6"}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("the secrets are %q, want %q", got, want)
		}
	}
	if len(c.Warnings) != 3 {
		t.Errorf("warnings %q, want one for each of the three literals", c.Warnings)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v\n", "%+v\n", "%#v\n", "%s\n", "%q\n", "%x\n"} {
		fmt.Fprintf(&out, verb, c)
		fmt.Fprintf(&out, verb, *c)
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "config", c, "sites", c.Sites)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "config", c, "mtls", c.MTLS)
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("a secret is printed:\n%s", out.String())
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	header := func(value string) string {
		return `{"sites": {"https://a": {"headers": {"X": ` + value + `}}}}`
	}
	for _, tt := range []struct{ name, text string }{
		{"unquoted", `{"mtls": {"a": {"cert": "c", "passphrase": canary-b91f}}}`},
		{"half quoted", `{"mtls": {"a": {"cert": "c", "passphrase": "canary-b91f}}}`},
		{"bad escape", `{"mtls": {"a": {"cert": "c", "passphrase": "canary-b91f\q"}}}`},
		{"line break", header("\"canary-b91f\n\"")},
		{"line break escaped", header(`"canary-b91f\n"`)},
		{"number", header(`"canary-b91f{env:NO"`)},
		{"reference to itself", header(`"{env:canary-b91f}"`)},
		{"wrong type", `{"issuers": {"https://i": {"client_id": "a", "client_secret": ["canary-b91f"]}}}`},
		{"unset next to it", header(`"canary-b91f {env:NO}"`)},
		{"variable with line break", header(`"{env:BREAK}"`)},
		{"proxy password", `{"network": {"proxy": "http://u:canary-b91f@p:1"}}`},
		{"proxy password that breaks the URL", `{"network": {"proxy": "http://u:canary-b91f%@p:1"}}`},
		{"proxy password of another scheme", `{"network": {"proxy": "socks5://u:canary-b91f@p:1"}}`},
		{"key in place of its file", `{"mtls": {"a": {"cert": "c", "key": "-----BEGIN PRIVATE KEY-----\ncanary-b91f"}}}`},
		{"key in one line", `{"mtls": {"a": {"cert": "-----BEGIN PRIVATE KEY----- canary-b91f"}}}`},
		{"key in base64", `{"mtls": {"a": {"cert": "c", "key": "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcanary-b91fcanary-b91f0000000000000000"}}}`},
		{"key as roots", `{"mtls": {"a": {"ca": ["x", "-----BEGIN PRIVATE KEY-----\ncanary-b91f"], "crl": "-----BEGIN X-----canary-b91f"}}}`},
		{"key as passphrase file", `{"mtls": {"a": {"cert": "c", "passphrase": "{file:-----BEGIN PRIVATE KEY-----\ncanary-b91f}"}}}`},
		{"short key in base64", `{"mtls": {"a": {"cert": "c", "key": "MC4CAQAwBQYDK2VwBCIEIcanary-b91f0000000000000000000000000000"}}}`},
		{"SEC 1 in base64", `{"mtls": {"a": {"cert": "MHcCAQEEIcanary-b91f0000000000000000000000000000"}}}`},
		{"PEM in base64", `{"mtls": {"a": {"cert": "LS0tLS1CRUdJTicanary-b91f"}}}`},
		{"PEM in base64 as passphrase file", `{"mtls": {"a": {"cert": "c", "passphrase": "{file:LS0tLS1CRUdJTicanary-b91f}"}}}`},
		{"PEM in base64 as header", header(`"{file:LS0tLS1CRUdJTicanary-b91f}"`)},
		{"PEM in base64 as signer", `{"mtls": {"a": {"signer": ["LS0tLS1CRUdJTicanary-b91f"]}}}`},
		{"DER in base64 as signer", `{"mtls": {"a": {"signer": ["MC4CAQAwBQYDK2VwBCIEIcanary-b91f0000000000000000000000000000"]}}}`},
		{"key as name of an entry", `{"sites": {"https://a": {"mtls": "-----BEGIN PRIVATE KEY----- canary-b91f"}}}`},
		{"key as name of the proxy's entry", `{"network": {"proxy": {"url": "https://p", "mtls": "LS0tLS1CRUdJTicanary-b91f"}}}`},
		{"key as signer", `{"mtls": {"a": {"signer": ["-----BEGIN PRIVATE KEY-----\ncanary-b91f"]}}}`},
		{"key as argument", `{"mtls": {"a": {"signer": ["x", "-----BEGIN PRIVATE KEY-----\ncanary-b91f"]}}}`},
		{"signing key", `{"issuers": {"https://i": {"client_id": "a", "private_key": "-----BEGIN PRIVATE KEY-----\ncanary-b91f"}}}`},
		{"site password", `{"sites": {"https://u:canary-b91f@a": {"x": 1}}}`},
		{"site password twice", `{"sites": {"https://u:canary-b91f@a": {}, "https://u:canary-b91f@a": {}}}`},
		{"issuer password", `{"issuers": {"https://u:canary-b91f@a": {}}}`},
		{"issuer password in a site", `{"sites": {"https://a": {"oauth": {"issuer": "https://u:canary-b91f@a", "grant": "client_credentials"}}}}`},
		{"allow password", `{"network": {"allow": ["http://u:canary-b91f@a"]}}`},
		{"secret that is never sent", `{"issuers": {"https://i": {"client_id": "a", "client_secret": "canary-b91f", "token_endpoint_auth_method": "none"}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(write(t, "c.jsonc", tt.text), false, variables(map[string]string{
				"BREAK": canary + "\n", "AUTHFETCH_KEY_PASSPHRASE": canary,
			}), "")
			if err == nil {
				t.Fatal("accepted")
			}
			b, jsonErr := json.Marshal(err)
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			all := fmt.Sprintf("%v %+v %s", err, err, b)
			for _, e := range err.(Errors) {
				all += fmt.Sprintf(" %#v %s", *e, e.Hint())
			}
			if strings.Contains(all, canary) {
				t.Errorf("the error shows the secret: %s", all)
			}
		})
	}
}
