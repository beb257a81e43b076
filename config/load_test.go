package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const full = `{
  "mtls": {                              // client certificates and private roots, by name
    "corp": { "cert": "~/pki/client.pem", "key": "pki/client.key",
              "passphrase": "{env:CORP_KEY_PASSPHRASE}",
              "ca": "/etc/pki/ca.pem", "ca_mode": "only" }
  },
  "sites": {                             // the most specific wins
    "https://*.corp.example": {},
    "https://wiki.corp.example": {
      "mtls": "corp",
      "oauth": { "issuer": "https://login.corp.example", "scopes": ["wiki.read"], "grant": "authorization_code" },
      "headers": { "x-trace": "on", "X-Api-Key": "key {env:WIKI_KEY}!" } },
    "https://login.corp.example": { "mtls": "corp" }
  },
  "issuers": {
    "https://login.corp.example": { "client_id": "abc", "client_secret": "{file:~/secret}", "token_endpoint_auth_method": "client_secret_post" }
  },
  "network": { "private": "ask", "allow": ["http://localhost:3000"], "proxy": "http://proxy.corp.example:3128" },
  "login":   { "browser": "\"/opt/my browser\" --new", "timeout": "5m", "port": 7777 },
  "store":   { "type": "file", "path": "tokens" },
  "http":    { "listen": "[::1]:9000" },   /* trailing comma and comment */
}`

// variables makes an Env of a map.
func variables(m map[string]string) Env {
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// write puts a file into a new folder and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func patterns(t *testing.T, texts ...string) []origin.Pattern {
	t.Helper()
	var all []origin.Pattern
	for _, s := range texts {
		p, err := origin.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func mustOrigin(t *testing.T, s string) origin.Origin {
	t.Helper()
	o, err := origin.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// comparable lets cmp look into the value types of other packages.
var comparable = cmp.Options{
	cmp.Comparer(func(a, b origin.Pattern) bool { return a == b }),
	cmp.Comparer(func(a, b origin.Origin) bool { return a == b }),
	cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b.Reveal()) }),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreUnexported(MTLS{}, Network{}),
}

func TestLoadFull(t *testing.T) {
	path, home := write(t, "config.jsonc", full), t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "secret"), []byte("client-secret\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path, false, variables(map[string]string{"CORP_KEY_PASSPHRASE": "open", "WIKI_KEY": "w1"}), home)
	if err != nil {
		t.Fatal(err)
	}
	dir, p := filepath.Dir(path), patterns(t, "https://*.corp.example", "https://wiki.corp.example", "https://login.corp.example")
	want := &Config{
		Path: path,
		MTLS: map[string]MTLS{"corp": {
			Cert: filepath.Join(home, "pki/client.pem"), Key: filepath.Join(dir, "pki/client.key"),
			Passphrase: secret.New("open"), CA: []string{"/etc/pki/ca.pem"}, CAMode: "only", MinVersion: "1.2",
		}},
		Sites: []Site{
			{Pattern: p[0]},
			{
				Pattern: p[1], MTLS: "corp",
				OAuth:   &OAuth{Issuer: "https://login.corp.example", Scopes: []string{"wiki.read"}, Grant: "authorization_code", Discovery: "rfc9728"},
				Headers: []Header{{"X-Api-Key", secret.New("key w1!")}, {"X-Trace", secret.New("on")}},
			},
			{Pattern: p[2], MTLS: "corp"},
		},
		Issuers: map[string]Issuer{"https://login.corp.example": {
			ClientID: "abc", ClientSecret: secret.New("client-secret"), TokenEndpointAuthMethod: "client_secret_post",
		}},
		Network: Network{Private: "ask", Allow: []origin.Origin{mustOrigin(t, "http://localhost:3000")}, Proxy: &Proxy{At: mustOrigin(t, "http://proxy.corp.example:3128"), Setting: "network.proxy"}},
		Login:   Login{Browser: "command", BrowserCommand: []string{"/opt/my browser", "--new"}, Timeout: 5 * time.Minute, Port: 7777},
		Store:   Store{Type: "file", Path: filepath.Join(dir, "tokens")},
		HTTP:    HTTP{Listen: "[::1]:9000"},
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoadDefaults(t *testing.T) {
	want := func(path string) *Config {
		return &Config{
			Path:  path,
			Login: Login{Browser: "auto", Timeout: 10 * time.Minute},
			Store: Store{Type: "file"},
			HTTP:  HTTP{Listen: "127.0.0.1:8808"},
		}
	}
	missing := filepath.Join(t.TempDir(), "none.jsonc")
	for _, tt := range []struct{ name, path, wantPath string }{
		{"no path", "", ""},
		{"missing file", missing, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Load(tt.path, true, nil, "/home/u")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want(tt.wantPath), got, comparable); diff != "" {
				t.Errorf("Load (-want +got):\n%s", diff)
			}
		})
	}
	for _, tt := range []struct{ name, text string }{
		{"empty object", `{}`},
		{"byte order mark", "\xef\xbb\xbf{}\n"},
		{"comment without line end", "{} // end"},
		{"carriage returns", "// a\r\n{\r\n}\r\n"},
		{"example", string(Example())},
		{"empty texts where they mean nothing", `{"store": {"path": ""}, "login": {"client_metadata_url": ""}}`},
		{"schema reference", `{"$schema": "./schema.json"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "config.jsonc", tt.text)
			got, err := Load(path, false, nil, "/home/u")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want(path), got, comparable); diff != "" {
				t.Errorf("Load (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadAccepts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		got        func(*Config) any
		want       any
	}{
		{"combined PEM", `{"mtls": {"a": {"cert": "/c.pem"}}}`, func(c *Config) any { return c.MTLS["a"] }, MTLS{Cert: "/c.pem", CAMode: "add", MinVersion: "1.2"}},
		{"roots only", `{"mtls": {"a": {"ca": "/ca.pem"}}}`, func(c *Config) any { return c.MTLS["a"] }, MTLS{CA: []string{"/ca.pem"}, CAMode: "add", MinVersion: "1.2"}},
		{"an entry with everything", `{"mtls": {"a": {"cert": "c.p12", "passphrase_command": ["~/bin/pass", "show", ""], "strict_permissions": true, "ca": ["/ca", "more.pem"],
			"server_name": "wiki.corp.example", "min_version": "1.3", "pins": "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "crl": "/crl.pem"}}}`, func(c *Config) any {
			m := c.MTLS["a"]
			m.Cert = filepath.Base(m.Cert)
			m.CA[1] = filepath.Base(m.CA[1])
			return m
		},
			MTLS{Cert: "c.p12", PassphraseCommand: []string{"/home/u/bin/pass", "show", ""}, StrictPermissions: true, CA: []string{"/ca", "more.pem"}, CAMode: "add",
				ServerName: "wiki.corp.example", MinVersion: "1.3", Pins: []string{"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, CRL: []string{"/crl.pem"}}},
		{"a signer", `{"mtls": {"a": {"signer": ["age-signer", "--slot", "9a"], "cert": "/chain.pem"}}}`, func(c *Config) any { return c.MTLS["a"] },
			MTLS{Signer: []string{"age-signer", "--slot", "9a"}, Cert: "/chain.pem", CAMode: "add", MinVersion: "1.2"}},
		{"a token", `{"mtls": {"a": {"cert": "pkcs11:token=corp;object=alice?module-path=/usr/lib/x.so", "passphrase": "{env:S}"}}}`, func(c *Config) any { return c.MTLS["a"] },
			MTLS{Cert: "pkcs11:token=corp;object=alice?module-path=/usr/lib/x.so", Passphrase: secret.New("s3"), CAMode: "add", MinVersion: "1.2"}},
		{"a workload", `{"mtls": {"a": {"spiffe": "unix:///run/agent.sock", "server_name": "spiffe://corp.example/wiki"}}}`, func(c *Config) any { return c.MTLS["a"] },
			MTLS{SPIFFE: "unix:///run/agent.sock", ServerName: "spiffe://corp.example/wiki", CAMode: "add", MinVersion: "1.2"}},
		{"no permissions are strict unless said", `{"mtls": {"a": {"cert": "/c", "strict_permissions": false}}}`, func(c *Config) any { return c.MTLS["a"].StrictPermissions }, false},
		{"a proxy with everything", `{"mtls": {"p": {"ca": "/ca"}}, "network": {"proxy": {"url": "HTTPS://Proxy.example", "username": "u", "password": "{env:S}", "mtls": "p", "except": ".corp.example"}}}`, func(c *Config) any { return c.Network.Proxy },
			&Proxy{At: mustOrigin(t, "https://proxy.example"), Username: "u", Password: secret.New("s3"), MTLS: "p", Except: []string{".corp.example"}, Setting: "network.proxy"}},
		{"no proxy whatever the environment says", `{"network": {"proxy": ""}}`, func(c *Config) any { return c.Network.Proxy }, &Proxy{Setting: "network.proxy"}},
		{"home itself", `{"store": {"path": "~"}}`, func(c *Config) any { return c.Store.Path }, "/home/u"},
		{"secret sets the method", `{"issuers": {"https://i": {"client_id": "a", "client_secret": "x{env:S}"}}}`, func(c *Config) any { return c.Issuers["https://i"].TokenEndpointAuthMethod }, "client_secret_basic"},
		{"no secret sets the method", `{"issuers": {"https://i": {"client_id": "a"}}}`, func(c *Config) any { return c.Issuers["https://i"].TokenEndpointAuthMethod }, "none"},
		{"empty oauth", `{"sites": {"https://a": {"oauth": {}}}}`, func(c *Config) any { return c.Sites[0].OAuth }, &OAuth{Discovery: "rfc9728"}},
		{"the site is its issuer", `{"sites": {"https://a": {"oauth": {"discovery": "mcp-2025-03-26"}}}}`, func(c *Config) any { return c.Sites[0].OAuth }, &OAuth{Discovery: "mcp-2025-03-26"}},
		{"key sets the method", `{"issuers": {"https://i": {"client_id": "a", "private_key": "/k.pem", "private_key_passphrase": "{env:S}", "key_id": "1", "signing_alg": "PS256"}}}`, func(c *Config) any { return c.Issuers["https://i"] },
			Issuer{ClientID: "a", TokenEndpointAuthMethod: "private_key_jwt", PrivateKey: "/k.pem", PrivateKeyPassphrase: secret.New("s3"), KeyID: "1", SigningAlg: "PS256"}},
		{"certificate as the client's", `{"issuers": {"https://i": {"client_id": "a", "token_endpoint_auth_method": "tls_client_auth"}}}`, func(c *Config) any { return c.Issuers["https://i"] }, Issuer{ClientID: "a", TokenEndpointAuthMethod: "tls_client_auth"}},
		{"an issuer without a client", `{"issuers": {"https://i": {"pkce": "unadvertised", "resource": "omit", "dpop": "never", "redirect_host": "[::1]", "redirect_port": "exact", "authorize_params": {"audience": "{resource}", "prompt": ""}, "token_params": {"a": "b"}}}}`,
			func(c *Config) any { return c.Issuers["https://i"] }, Issuer{PKCE: "unadvertised", Resource: "omit", DPoP: "never", RedirectHost: "[::1]", RedirectPort: "exact",
				AuthorizeParams: map[string]string{"audience": "{resource}", "prompt": ""}, TokenParams: map[string]string{"a": "b"}}},
		{"loopback issuer", `{"sites": {"http://127.0.0.1:1": {"oauth": {"issuer": "http://[::1]:2/x"}}}}`, func(c *Config) any { return c.Sites[0].OAuth.Issuer }, "http://[::1]:2/x"},
		{"authorization without oauth", `{"sites": {"https://a": {"headers": {"authorization": "Basic {env:S}"}}}}`, func(c *Config) any { return c.Sites[0].Headers }, []Header{{"Authorization", secret.New("Basic s3")}}},
		{"cookie", `{"sites": {"https://a": {"headers": {"Cookie": "s={env:S}"}}}}`, func(c *Config) any { return c.Sites[0].Headers }, []Header{{"Cookie", secret.New("s=s3")}}},
		{"braces that are no reference", `{"sites": {"https://a": {"headers": {"X": "{a}{env{env:S}"}}}}`, func(c *Config) any { return c.Sites[0].Headers }, []Header{{"X", secret.New("{a}{envs3")}}},
		{"browser never", `{"login": {"browser": "never"}}`, func(c *Config) any { return c.Login }, Login{Browser: "never", Timeout: 10 * time.Minute}},
		{"browser with empty argument", `{"login": {"browser": " C:\\b.exe  \"\" a\"b c\"d "}}`, func(c *Config) any { return c.Login.BrowserCommand }, []string{`C:\b.exe`, "", "ab cd"}},
		{"longest timeout", `{"login": {"timeout": "1h"}}`, func(c *Config) any { return c.Login.Timeout }, time.Hour},
		{"shortest timeout", `{"login": {"timeout": "0.5m"}}`, func(c *Config) any { return c.Login.Timeout }, 30 * time.Second},
		{"port as JSON may write it", `{"login": {"port": 1.0e3}}`, func(c *Config) any { return c.Login.Port }, 1000},
		{"key written with an escape", `{"http": {"l\u0069sten": "127.0.0.1:0"}}`, func(c *Config) any { return c.HTTP.Listen }, "127.0.0.1:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(write(t, "c.jsonc", tt.text), false, variables(map[string]string{"S": "s3"}), "/home/u")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.got(c), comparable); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSite(t *testing.T) {
	c, err := Load(write(t, "c.jsonc", `{"sites": {
		"https://first.corp.example": {"oauth": {"issuer": "https://first"}},
		"https://*.corp.example": {"oauth": {"issuer": "https://wild"}},
		"https://wiki.corp.example": {"oauth": {"issuer": "https://exact"}},
		"https://*.corp.example:8443": {"oauth": {"issuer": "https://port"}},
	}}`), false, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ origin, want string }{
		{"https://wiki.corp.example", "https://exact"},
		{"https://first.corp.example", "https://first"},
		{"https://docs.corp.example", "https://wild"},
		{"https://wiki.corp.example:8443", "https://port"},
		{"https://a.b.corp.example", ""},
		{"http://wiki.corp.example", ""},
		{"https://corp.example", ""},
	} {
		got := ""
		if s := c.Site(mustOrigin(t, tt.origin)); s != nil {
			got = s.OAuth.Issuer
		}
		if got != tt.want {
			t.Errorf("Site(%s) = %q, want %q", tt.origin, got, tt.want)
		}
	}
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps permissions elsewhere")
	}
	const literal = `{"mtls": {"a": {"cert": "/c.pem", "passphrase": "written here"}}}`
	const header = `{"sites": {"https://a": {"headers": {"X-Key": "written here"}}}}`
	const stands = "c.jsonc:1:49: passphrase stands in the file itself; {env:NAME} or {file:PATH} keeps it elsewhere"
	const open = "c.jsonc: others can read this file, and it holds passphrases, client secrets or header values; chmod go-r closes it"
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		warnings   []string
		err        string
	}{
		{"private, literal secret", literal, 0o600, []string{stands}, ""},
		{"group reads, literal secret", literal, 0o640, []string{stands, open}, ""},
		{"all read, literal secret", literal, 0o644, []string{stands, open}, ""},
		{"all read, literal header", header, 0o644, []string{open}, ""},
		{"all read, no secret", `{}`, 0o644, nil, ""},
		{"all read, referenced secret", `{"mtls": {"a": {"cert": "/c.pem", "passphrase": "{env:P}"}}}`, 0o644, nil, ""},
		{"group writes", `{}`, 0o660, nil, "c.jsonc: others can change this file (mode 0660) and so send your credentials elsewhere; remove that with chmod go-w"},
		{"all write", `{}`, 0o602, nil, "c.jsonc: others can change this file (mode 0602) and so send your credentials elsewhere; remove that with chmod go-w"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "c.jsonc", tt.text)
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			c, err := Load(path, false, variables(map[string]string{"P": "p"}), "")
			if got := message(err, path); got != tt.err {
				t.Errorf("error %q, want %q", got, tt.err)
			}
			if err != nil {
				return
			}
			for i := range c.Warnings {
				c.Warnings[i] = strings.ReplaceAll(c.Warnings[i], path, "c.jsonc")
			}
			if diff := cmp.Diff(tt.warnings, c.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// message is the error's text with the file's folder taken off; "" for nil.
func message(err error, path string) string {
	switch {
	case err == nil:
		return ""
	case path == "":
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), path, filepath.Base(path))
}

func TestLoadFileTrouble(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, path string
		optional   bool
		want       string
	}{
		{"missing", filepath.Join(dir, "c.jsonc"), false, "c.jsonc: there is no such file"},
		{"folder", dir, true, filepath.Base(dir) + ": this is a folder, not a file"},
		{"too large", write(t, "c.jsonc", "{}"+strings.Repeat(" ", maxFile)), true, "c.jsonc: the file is larger than 1 MiB"},
		{"none named", "", false, "no configuration file is named"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.path, tt.optional, nil, "")
			if got := message(err, tt.path); got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := Load(write(t, "c.jsonc", "{}"+strings.Repeat(" ", maxFile-2)), false, nil, ""); err != nil {
		t.Errorf("a file of exactly 1 MiB is refused: %v", err)
	}
}

func TestErrorForCallers(t *testing.T) {
	_, err := Load(write(t, "c.jsonc", "{\n  \"mtls\": {\"corp\": {\"cert\": \"c\", \"passphrse\": \"x\"}}, \"htpp\": 1 }"), false,
		variables(map[string]string{"AUTHFETCH_PRIVATE": "no"}), "")
	all, ok := errors.AsType[Errors](err)
	if !ok || len(all) != 3 {
		t.Fatalf("error %#v, want three Errors", err)
	}
	one, _ := errors.AsType[*Error](err)
	want := &Error{Path: all[0].Path, Line: 2, Column: 34, Key: "mtls.corp.passphrse", Reason: `unknown key "passphrse"`, Suggestion: "passphrase"}
	if diff := cmp.Diff(want, one); diff != "" {
		t.Errorf("first error (-want +got):\n%s", diff)
	}
	if got := all[2]; got.Path != "environment" || got.Key != "AUTHFETCH_PRIVATE" || got.Line != 0 {
		t.Errorf("last error %+v, want one about AUTHFETCH_PRIVATE", got)
	}
	for _, e := range []interface {
		Code() string
		Hint() string
	}{all, all[:1], one, all[2], &Error{Path: "f"}, &Error{Path: "f", Line: 1}} {
		if e.Code() != "config" || e.Hint() == "" {
			t.Errorf("%v: code %q, hint %q", e, e.Code(), e.Hint())
		}
	}
}

func TestAtMostTwentyErrors(t *testing.T) {
	_, err := Load(write(t, "c.jsonc", "{"+strings.Repeat("\"nothing\": 1,\n", 30)+"}"), false,
		variables(map[string]string{"AUTHFETCH_PRIVATE": "no"}), "")
	all, _ := errors.AsType[Errors](err)
	if len(all) != 20 || all[19].Line != 20 {
		t.Errorf("%d errors, want the first 20:\n%v", len(all), err)
	}
}

// A workload's token is renewed while we run.
func TestSubjectIsReadAnew(t *testing.T) {
	path := write(t, "c.jsonc", `{"issuers": {"https://idp": {"client_id": "a"}}, "sites": {"https://a": {"oauth": {"issuer": "https://i", "grant": "jwt_bearer",
		"subject_token": "{file:token}", "subject_token_type": "urn:x:y", "subject_issuer": "https://idp"}}}}`)
	c, err := Load(path, false, nil, "/home/u")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Sites[0].OAuth.Subject
	if s.Type != "urn:x:y" || s.Issuer != "https://idp" {
		t.Errorf("got type %q and issuer %q", s.Type, s.Issuer)
	}
	if _, err := s.Token(); err == nil || !strings.Contains(err.Error(), `subject_token: there is no secret file "token"`) {
		t.Errorf("got error %v for a file that is not there yet", err)
	}
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "token"), []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Token(); err != nil || !got.Equal(want) {
			t.Errorf("got an error %v or another token than the %s", err, want)
		}
	}
}

// An issuer is compared as it stands: one slash too many, and its client is never used.
func TestIssuerThatNoSiteNames(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want bool
	}{
		"a slash too many":  {`{"sites": {"https://a": {"oauth": {"issuer": "https://i"}}}, "issuers": {"https://i/": {"client_id": "a"}}}`, true},
		"named":             {`{"sites": {"https://a": {"oauth": {"issuer": "https://i"}}}, "issuers": {"https://i": {"client_id": "a"}}}`, false},
		"no client":         {`{"issuers": {"https://i": {"pkce": "unadvertised"}}}`, false},
		"its own issuer":    {`{"sites": {"https://i": {"oauth": {"discovery": "mcp-2025-03-26"}}}, "issuers": {"https://i": {"client_id": "a"}}}`, false},
		"identity provider": {`{"sites": {"https://a": {"oauth": {"issuer": "https://x", "grant": "jwt_bearer", "subject_token": "{env:S}", "subject_issuer": "https://i"}}}, "issuers": {"https://i": {"client_id": "a"}}}`, false},
	} {
		c, err := Load(write(t, "c.jsonc", tt.text), false, variables(map[string]string{"S": "s"}), "/home/u")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := strings.Contains(strings.Join(c.Warnings, "\n"), "so this client is never used"); got != tt.want {
			t.Errorf("%s: warnings %q", name, c.Warnings)
		}
	}
}
