package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tailscale/hujson"
)

// documented is the file as the manual shows it.
const documented = `{
  "mtls": {                              // client certificates and private roots, by name
    "corp": { "cert": "~/pki/client.pem", "key": "~/pki/client.key",     // combined PEM: leave key out; leave both out for roots only
              "passphrase": "{env:CORP_KEY_PASSPHRASE}",                 // {env:NAME} and {file:PATH} work in every secret
              "ca": "~/pki/ca.pem", "ca_mode": "add",                    // add to the system roots (default) | only
              "strict_permissions": true, "server_name": "wiki.corp.example", "min_version": "1.3",
              "pins": ["sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="], "crl": ["~/pki/crl.pem"] },
    "card": { "signer": ["card-signer"], "ca": ["~/pki/ca.pem", "~/pki/more"] },
    "mesh": { "spiffe": "unix:///run/agent.sock" },
    "file": { "cert": "x.p12", "passphrase_command": ["pass", "x"] },
    "way":  { "ca": "~/pki/proxy.pem" }
  },
  "sites": {                             // exact origin, or one-label wildcard https://*.corp.example[:port]; most specific wins
    "https://wiki.corp.example": {
      "mtls": "corp",
      "oauth": { "issuer": "https://login.corp.example", "scopes": ["wiki.read"], "grant": "authorization_code" },  // or device_code, client_credentials
      "headers": { "X-Api-Key": "{env:WIKI_KEY}" } },
    "https://login.corp.example": { "mtls": "corp" },                    // an authorization server is a site too, where TLS is concerned
    "https://build.corp.example": { "oauth": { "issuer": "https://sts.corp.example", "grant": "jwt_bearer", "subject_token": "{env:NAME}",
      "subject_token_type": "urn:ietf:params:oauth:token-type:id_token", "subject_issuer": "https://login.corp.example" } },
    "https://mcp.corp.example": { "oauth": { "discovery": "mcp-2025-03-26" } }
  },
  "issuers": {                           // clients registered beforehand, keyed by issuer
    "https://login.corp.example": { "client_id": "abc", "client_secret": "{env:WIKI_KEY}", "token_endpoint_auth_method": "client_secret_basic" },
    "https://sts.corp.example": { "client_id": "abc", "private_key": "sts.key", "private_key_passphrase": "{env:NAME}", "key_id": "1", "signing_alg": "ES256",
      "pkce": "unadvertised", "resource": "omit", "redirect_host": "localhost", "redirect_port": "exact", "dpop": "always",
      "authorize_params": { "audience": "{resource}" }, "token_params": { "audience": "x" } }
  },
  "network": { "private": "ask", "allow": ["http://localhost:3000"], "proxy": { "url": "https://p.corp.example:3129", "username": "u", "password": "{env:NAME}", "mtls": "way", "except": ["localhost", ".corp.example", "10.0.0.0/8"] } },   // a configured site is allowed where it lives, private or loopback
  "login":   { "browser": "auto", "timeout": "10m", "port": 0 },         // auto | never | a command (exec, no shell) given the URL as last argument
  "store":   { "type": "file", "path": "" },                             // file | memory
  "http":    { "listen": "127.0.0.1:8808" }
}
`

var testEnv = variables(map[string]string{"CORP_KEY_PASSPHRASE": "p", "WIKI_KEY": "w", "NAME": "n"})

// beyond lists the reasons of refusals that no JSON Schema can give: they tie parts of the file
// together, or look into a text deeper than a pattern does.
var beyond = []string{
	"under mtls", "under issuers", "has no use over http", "is claimed twice", "is here twice", "exclude each other",
	"not an origin", "not an issuer", "an issuer has no user name", "an origin has no",
	"from 30s to 1h", "the port is not a number", "the host name has", "the browser command is empty", "in lower case", "in the command is not closed",
	"visible ASCII", "the command is empty", "the text of a file", "which means no proxy", "in secrets only", "environment variable", "secret file", "is not closed by }", "names no file", "only ~ itself",
}

// compare holds the schema against the decoder for one document.
func compare(t *testing.T, schema *jsonschema.Schema, doc any) (accepted bool) {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	valid := schema.Validate(doc) == nil
	_, err = load(file{path: "c.jsonc", data: text}, testEnv, "/home/u")
	switch {
	case err == nil && !valid:
		t.Errorf("the schema refuses what the decoder accepts: %s", text)
	case err != nil && valid:
		for line := range strings.Lines(err.Error()) {
			if !slices.ContainsFunc(beyond, func(s string) bool { return strings.Contains(line, s) }) {
				t.Errorf("the schema accepts what the decoder refuses: %s\n%s", text, line)
			}
		}
	}
	return err == nil
}

func TestSchemaAgainstDecoder(t *testing.T) {
	schema := compiled(t)
	var base any
	standard, err := hujson.Standardize([]byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(standard, &base); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(base); err != nil || !compare(t, schema, base) {
		t.Fatalf("the documented file is refused: %v", err)
	}
	accepted, refused := 0, 0
	for doc := range mutations(base) {
		if compare(t, schema, doc) {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 50 || refused < 300 {
		t.Errorf("%d mutations accepted, %d refused: the test has lost its teeth", accepted, refused)
	}
}

// What the schema must refuse by itself, so that an editor shows it.
func TestSchemaRefuses(t *testing.T) {
	schema := compiled(t)
	for _, tt := range []struct{ name, doc string }{
		{"no object", `[]`},
		{"unknown key", `{"htpp": {}}`},
		{"unknown key inside", `{"mtls": {"a": {"cert": "c", "passphrse": "x"}}}`},
		{"wrong type", `{"login": {"port": "1"}}`},
		{"enum", `{"store": {"type": "disk"}}`},
		{"key without cert", `{"mtls": {"a": {"key": "k", "ca": "c"}}}`},
		{"passphrase without cert", `{"mtls": {"a": {"passphrase": "k", "ca": "c"}}}`},
		{"ca_mode without ca", `{"mtls": {"a": {"cert": "c", "ca_mode": "only"}}}`},
		{"entry with nothing", `{"mtls": {"a": {}}}`},
		{"site is no origin", `{"sites": {"wiki.example": {}}}`},
		{"site with path", `{"sites": {"https://wiki.example/x": {}}}`},
		{"issuer over http", `{"sites": {"https://a": {"oauth": {"issuer": "http://i.example"}}}}`},
		{"issuer key with query", `{"issuers": {"https://i?x": {"client_id": "a"}}}`},
		{"grant without issuer", `{"sites": {"https://a": {"oauth": {"grant": "client_credentials"}}}}`},
		{"scopes in one", `{"sites": {"https://a": {"oauth": {"scopes": ["a b"]}}}}`},
		{"header name", `{"sites": {"https://a": {"headers": {"a:": "b"}}}}`},
		{"reserved header", `{"sites": {"https://a": {"headers": {"hOST": "b"}}}}`},
		{"reserved header by prefix", `{"sites": {"https://a": {"headers": {"proxy-x": "b"}}}}`},
		{"secret without client_id", `{"issuers": {"https://i": {"client_secret": "s"}}}`},
		{"method without key", `{"issuers": {"https://i": {"client_id": "a", "token_endpoint_auth_method": "private_key_jwt"}}}`},
		{"parameter of ours", `{"issuers": {"https://i": {"authorize_params": {"redirect_uri": "x"}}}}`},
		{"subject without grant", `{"sites": {"https://a": {"oauth": {"issuer": "https://i", "subject_token": "s"}}}}`},
		{"method without secret", `{"issuers": {"https://i": {"client_id": "a", "token_endpoint_auth_method": "client_secret_basic"}}}`},
		{"secret never sent", `{"issuers": {"https://i": {"client_id": "a", "client_secret": "s", "token_endpoint_auth_method": "none"}}}`},
		{"proxy scheme", `{"network": {"proxy": "socks5://p:1"}}`},
		{"proxy without url", `{"network": {"proxy": {"mtls": "a"}}}`},
		{"signer and key", `{"mtls": {"a": {"signer": ["x"], "cert": "c", "key": "k"}}}`},
		{"two passphrases", `{"mtls": {"a": {"cert": "c", "passphrase": "p", "passphrase_command": ["x"]}}}`},
		{"two identities", `{"mtls": {"a": {"spiffe": "unix:///s", "signer": ["x"]}}}`},
		{"pin", `{"mtls": {"a": {"pins": "sha256//abc"}}}`},
		{"empty command", `{"mtls": {"a": {"signer": []}}}`},
		{"no roots", `{"mtls": {"a": {"cert": "c", "ca": []}}}`},
		{"number in a list of files", `{"mtls": {"a": {"ca": ["x", 1]}}}`},
		{"wildcard in allow", `{"network": {"allow": ["http://*.a.example"]}}`},
		{"timeout syntax", `{"login": {"timeout": "10"}}`},
		{"browser empty", `{"login": {"browser": ""}}`},
		{"port range", `{"login": {"port": 65536}}`},
		{"memory with path", `{"store": {"type": "memory", "path": "x"}}`},
		{"listen", `{"http": {"listen": "localhost"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var doc any
			if err := json.Unmarshal([]byte(tt.doc), &doc); err != nil {
				t.Fatal(err)
			}
			if schema.Validate(doc) == nil {
				t.Error("the schema accepts it")
			}
			if compare(t, schema, doc) {
				t.Error("the decoder accepts it")
			}
		})
	}
}

// Every object and every setting says what it is for.
func TestSchemaDescribesAll(t *testing.T) {
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if about, _ := s["description"].(string); about == "" {
			t.Errorf("%s has no description", path)
		}
		properties, _ := s["properties"].(map[string]any)
		for name, sub := range properties {
			walk(path+"."+name, sub.(map[string]any))
		}
		if each, ok := s["additionalProperties"].(map[string]any); ok {
			walk(path+".*", each)
		}
		if each, ok := s["items"].(map[string]any); ok {
			walk(path+"[]", each)
		}
	}
	walk("", schemaMap(t))
	if !bytes.Equal(Schema(), Schema()) {
		t.Error("two calls differ")
	}
}

// The defaults that the schema names are what an empty file means.
func TestSchemaDefaults(t *testing.T) {
	doc, named := map[string]any{}, 0
	for name, section := range schemaMap(t)["properties"].(map[string]any) {
		values := map[string]any{}
		properties, _ := section.(map[string]any)["properties"].(map[string]any)
		for key, sub := range properties {
			if def, ok := sub.(map[string]any)["default"]; ok {
				values[key] = def
				named++
			}
		}
		if len(values) > 0 {
			doc[name] = values
		}
	}
	if named < 6 {
		t.Errorf("only %d defaults are named: %v", named, doc)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := load(file{path: "/c.jsonc", data: text}, testEnv, "")
	if err != nil {
		t.Fatal(err)
	}
	want, err := load(file{path: "/c.jsonc", data: []byte("{}")}, testEnv, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-empty file +defaults):\n%s", diff)
	}
}

// compiled is the schema as an independent validator reads it, checked against the metaschema.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", schemaMap(t)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func schemaMap(t *testing.T) map[string]any {
	t.Helper()
	m, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	schema := m.(map[string]any)
	if got, want := schema["$schema"], "https://json-schema.org/draft/2020-12/schema"; got != want {
		t.Fatalf("$schema is %v, want %v", got, want)
	}
	return schema
}

// mutations yields copies of doc, each with one thing removed, replaced or added.
func mutations(doc any) func(yield func(any) bool) {
	values := []any{nil, true, 0.0, 443.0, -1.0, 1.5, 65536.0, "", " ", "x", "a b", "add", "corp", "ask", "deny", "auto", "Never", "memory", "none", "client_secret_post",
		"client_credentials", "device_code", "30s", "2h", "1", "https://login.corp.example", "https://a.example/x", "http://a.example", "http://127.0.0.1:3000/", "HTTP://Localhost",
		"https://u:p@a.example", "https://*.corp.example", "127.0.0.1:0", ":1", "a:b:1", "{env:NAME}", "{env:OTHER}", "~", "~x", "\u00e4", "a\nb", `"`, []any{}, []any{1.0}, []any{"x"}, map[string]any{}, map[string]any{"x": "y"}}
	names := []string{"x", "cert", "key", "Host", "Authorization", "authorization", "X-Api-Key", "x-api-key", "proxy-a", "https://a.example", "HTTPS://wiki.corp.example/", "http://a.example",
		"https://a.example/x", "https://*.corp.example", "https://*.com", ""}
	return func(yield func(any) bool) {
		var walk func(part any, rebuild func(any) any) bool
		walk = func(part any, rebuild func(any) any) bool {
			for _, v := range values {
				if !yield(rebuild(v)) {
					return false
				}
			}
			switch part := part.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(part)) {
					without := maps.Clone(part)
					delete(without, name)
					if !yield(rebuild(without)) || !walk(part[name], func(v any) any {
						with := maps.Clone(part)
						with[name] = v
						return rebuild(with)
					}) {
						return false
					}
					// The same value under another name.
					for _, other := range names {
						with := maps.Clone(without)
						with[other] = part[name]
						if !yield(rebuild(with)) {
							return false
						}
					}
				}
			case []any:
				for i := range part {
					if !walk(part[i], func(v any) any {
						with := slices.Clone(part)
						with[i] = v
						return rebuild(with)
					}) {
						return false
					}
				}
			}
			return true
		}
		walk(doc, func(v any) any { return v })
	}
}

// The file to start from sets nothing, and every line that is commented out is valid.
func TestExampleUncommented(t *testing.T) {
	setting := regexp.MustCompile(`(?m)^  //("|  |\})`)
	live := setting.ReplaceAllString(string(Example()), "  $1")
	if strings.Count(live, "\n  \"") != 7 {
		t.Fatalf("not every section came alive:\n%s", live)
	}
	live = strings.ReplaceAll(live, "{file:~/secrets/wiki-client}", "{env:WIKI_KEY}")
	c, err := load(file{path: "/etc/c.jsonc", data: []byte(live)}, testEnv, "/home/u")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(len(c.MTLS), len(c.Sites), len(c.Issuers), len(c.Network.Allow), c.Network.Proxy.At); got != "1 3 1 1 http://proxy.corp.example:3128" {
		t.Errorf("loaded %s", got)
	}
	for _, f := range settings().fields {
		if !strings.Contains(live, `"`+f.name+`": {`) && f.name != "$schema" {
			t.Errorf("the example does not show %q", f.name)
		}
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"cert", "key", "passphrase", "ca", "ca_mode"}
	for _, tt := range []struct{ name, want string }{
		{"passphrse", "passphrase"}, {"pass", "passphrase"}, {"CERT", "cert"}, {"crt", "cert"}, {"ky", "key"}, {"camode", "ca_mode"},
		{"certificate", "cert"}, {"id", ""}, {"zzz", ""}, {"", ""}, {"k", ""}, {"passphrases_and_more", "passphrase"},
	} {
		if diff := cmp.Diff(tt.want, nearest(tt.name, keys)); diff != "" {
			t.Errorf("nearest(%q) (-want +got):\n%s", tt.name, diff)
		}
	}
}
