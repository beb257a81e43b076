package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadRefuses(t *testing.T) {
	site := func(inside string) string { return `{"sites": {"https://a.example": {` + inside + `}}}` } // inside begins at 1:34
	const issuer = "an issuer is an https URL without query or fragment (http on localhost, 127.0.0.1 and [::1] only)"
	for _, tt := range []struct {
		name, text string
		want       []string // without the leading c.jsonc:
	}{
		// Syntax.
		{"empty file", "", []string{"1:1: the file is empty; {} is an empty configuration"}},
		{"only comments", "// a\n", []string{"2:1: the file ends where more is expected, such as a closing bracket"}},
		{"missing comma", "{\n  \"store\": {}\n  \"http\": {}\n}", []string{"3:3: a comma or } is expected here"}},
		{"missing comma in a list", `{"network": {"allow": ["http://a" "http://b"]}}`, []string{"1:35: a comma or ] is expected here"}},
		{"missing colon", `{"store" {}}`, []string{"1:10: a colon is expected here"}},
		{"missing value", `{"store": }`, []string{"1:11: a value is expected here; text stands in double quotes"}},
		{"missing brace", "{\n  \"store\": {}", []string{"2:14: the file ends where more is expected, such as a closing bracket"}},
		{"number as key", `{1: 2}`, []string{"1:2: a key in double quotes is expected here"}},
		{"bare key", `{store: {}}`, []string{"1:2: this is neither a key nor a value; both stand in double quotes, except numbers"}},
		{"single quotes", `{'store': {}}`, []string{"1:2: a value is expected here; text stands in double quotes"}},
		{"two objects", "{}\n{}", []string{"2:1: there is more after the end of the configuration"}},
		{"open string", `{"store": "abc`, []string{"1:15: the file ends inside a string; a closing quote is missing"}},
		{"open comment", `{} /* abc`, []string{"1:4: the file ends inside a comment; */ is missing"}},
		{"separator in a comment", "{ // a\u2028b\n}", []string{"1:7: this comment holds a character that some programs take for a line end"}},
		{"backslashes of Windows", `{"store": {"path": "C:\pki"}}`, []string{`1:20: this string holds a line break or an unknown escape; a backslash is written \\`}},
		{"text in an escape error is not taken for the reason", `{"store": {"path": "at start of value \x"}}`, []string{`1:20: this string holds a line break or an unknown escape; a backslash is written \\`}},
		{"line break in a string", "{\"store\": {\"path\": \"a\nb\"}}", []string{`1:20: this string holds a line break or an unknown escape; a backslash is written \\`}},
		{"UTF-16 with mark", "\xff\xfe{\x00}\x00", []string{"1:1: the file is UTF-16 or UTF-32; save it as UTF-8"}},
		{"UTF-16 without mark", "\x00{\x00}", []string{"1:1: the file is UTF-16 or UTF-32; save it as UTF-8"}},
		{"Latin-1", "{\n// f\xfcr\n}", []string{"2:5: this is not UTF-8; save the file as UTF-8"}},
		{"nested too deep", "// [[\n" + strings.Repeat("[", 40), []string{"2:33: the nesting is too deep"}},
		{"column counts characters", `{"mtls": {"größe": {"cert": "c", "x": 1}}}`, []string{`1:34: unknown key "x"`}},
		{"byte order mark is no column", "\xef\xbb\xbf[]", []string{"1:1: expected an object, found a list"}},

		// Keys and types.
		{"unknown key", "{\n  \"stroe\": {}\n}", []string{`2:3: unknown key "stroe"; did you mean "store"?`}},
		{"unknown key with shared beginning", `{"mtls": {"a": {"certificate": "x", "key": "k"}}}`, []string{`1:17: unknown key "certificate"; did you mean "cert"?`}},
		{"unknown key in other case", `{"issuers": {"https://i": {"clientId": "x"}}}`, []string{`1:28: unknown key "clientId"; did you mean "client_id"?`}},
		{"unknown key like nothing", `{"http": {"zzzzzz": 1}}`, []string{`1:11: unknown key "zzzzzz"`}},
		{"short unknown key", `{"http": {"id": 1}}`, []string{`1:11: unknown key "id"`}},
		{"unknown key with controls", `{"\u001b[31mx": 1}`, []string{`1:2: unknown key "[31mx"`}},
		{"string for object", `{"mtls": "x"}`, []string{"1:10: expected an object, found a string"}},
		{"null", `{"mtls": null}`, []string{"1:10: expected an object, found null"}},
		{"number for string", `{"login": {"timeout": 600}}`, []string{"1:23: expected a string, found a number"}},
		{"string for list", site(`"oauth": {"scopes": "a b"}`), []string{"1:54: expected a list, found a string"}},
		{"string for number", `{"login": {"port": "80"}}`, []string{"1:20: expected a whole number, found a string"}},
		{"boolean for string", `{"login": {"browser": false}}`, []string{"1:23: expected a string, found true or false"}},
		{"object for string", `{"login": {"browser": {}}}`, []string{"1:23: expected a string, found an object"}},
		{"duplicate key", "{\"store\": {},\n \"store\": {}}", []string{`2:2: the key "store" is here twice, first at 1:2`}},
		{"duplicate key with escape", "{\"store\": {},\n \"st\\u006fre\": {}}", []string{`2:2: the key "store" is here twice, first at 1:2`}},
		{"duplicate entry", "{\"mtls\": {\"a\": {\"cert\": \"c\"},\n\"a\": {\"cert\": \"c\"}}}", []string{`2:1: the key "a" is here twice, first at 1:11`}},
		{"all problems at once", "{\n \"htpp\": {},\n \"login\": {\"port\": -1, \"timeout\": \"1s\"},\n \"store\": 7\n}", []string{
			`2:2: unknown key "htpp"; did you mean "http"?`,
			"3:20: expected a whole number from 0 to 65535",
			"3:35: the duration is not from 30s to 1h",
			"4:11: expected an object, found a number"}},

		// mtls.
		{"key without cert", "{\"mtls\": {\"corp\": {\n  \"key\": \"k.pem\" }}}", []string{"2:3: key is half of a pair; cert is missing"}},
		{"passphrase without cert", `{"mtls": {"a": {"ca": "ca.pem", "passphrase": "{env:SET}"}}}`, []string{"1:33: passphrase opens a key, and cert is missing"}},
		{"key and passphrase without cert", `{"mtls": {"a": {"key": "k", "passphrase": "{env:SET}"}}}`, []string{"1:17: key is half of a pair; cert is missing"}},
		{"misspelt cert is one mistake", `{"mtls": {"a": {"crt": "c", "key": "k"}}}`, []string{`1:17: unknown key "crt"; did you mean "cert"?`}},
		{"entry with nothing", `{"mtls": {"a": {}}}`, []string{"1:16: this entry sets nothing; it needs a cert or a ca, for example"}},
		{"ca_mode without ca", `{"mtls": {"a": {"cert": "c", "ca_mode": "only"}}}`, []string{"1:30: ca_mode says what to do with ca, and ca is missing"}},
		{"reference in a path", `{"mtls": {"a": {"cert": "{env:CERT}"}}}`, []string{"1:25: {env:NAME} and {file:PATH} are replaced in secrets only; write the path itself"}},
		{"letters swapped", `{"mtls": {"a": {"cert": "c", "kye": "k"}}}`, []string{`1:30: unknown key "kye"; did you mean "key"?`}},
		{"two passphrases", `{"mtls": {"a": {"cert": "c", "passphrase": "{env:SET}", "passphrase_command": ["x"]}}}`, []string{"1:57: passphrase and passphrase_command exclude each other"}},
		{"empty command", `{"mtls": {"a": {"signer": []}}}`, []string{"1:27: this list is empty; leave it out or put something into it"}},
		{"empty list of roots", `{"mtls": {"a": {"cert": "c", "ca": []}}}`, []string{"1:36: this list is empty; leave it out or put something into it"}},
		{"command without program", `{"mtls": {"a": {"signer": ["", "x"]}}}`, []string{"1:27: the command is empty; its first element is the program"}},
		{"command in one", `{"mtls": {"a": {"signer": "x y"}}}`, []string{"1:27: expected a list, found a string"}},
		{"signer and key", `{"mtls": {"a": {"signer": ["x"], "cert": "c", "key": "k"}}}`, []string{"1:17: a signer has the key; key is another"}},
		{"two identities", `{"mtls": {"a": {"spiffe": "unix:///s", "signer": ["x"]}}}`, []string{"1:17: the Workload API gives the key; signer is another"}},
		{"workload and certificate", `{"mtls": {"a": {"spiffe": "unix:///s", "cert": "c"}}}`, []string{"1:17: the Workload API gives the certificate; cert is another"}},
		{"workload address", `{"mtls": {"a": {"spiffe": "/run/s"}}}`, []string{"1:27: expected unix:///path/to/socket or tcp://address:port"}},
		{"server name", `{"mtls": {"a": {"ca": "c", "server_name": "https://x"}}}`, []string{"1:43: expected a DNS name, an IP address, or a SPIFFE ID such as spiffe://corp.example/wiki"}},
		{"version", `{"mtls": {"a": {"ca": "c", "min_version": "1.1"}}}`, []string{`1:43: "1.1" is not one of 1.2, 1.3; did you mean "1.2"?`}},
		{"pin", `{"mtls": {"a": {"pins": ["sha256//abc"]}}}`, []string{"1:26: expected sha256// and 44 characters of base64"}},
		{"permissions", `{"mtls": {"a": {"cert": "c", "strict_permissions": "yes"}}}`, []string{"1:52: expected true or false, found a string"}},
		{"bad ca_mode", `{"mtls": {"a": {"ca": "c", "ca_mode": "onyl"}}}`, []string{`1:39: "onyl" is not one of add, only; did you mean "only"?`}},
		{"empty cert", `{"mtls": {"a": {"cert": ""}}}`, []string{"1:25: this is empty; leave it out or give it a value"}},
		{"home of another user", `{"mtls": {"a": {"cert": "~bob/c.pem"}}}`, []string{`1:25: "~bob/c.pem": only ~ itself is known, not the home of another user`}},
		{"empty name", `{"mtls": {"": {"cert": "c"}}}`, []string{"1:11: this is empty; leave it out or give it a value"}},

		// sites.
		{"mtls not defined", "{\"mtls\": {\"corp\": {\"cert\": \"c\"}},\n\"sites\": {\"https://a.example\": {\"mtls\": \"crop\"}}}", []string{`2:41: there is no "crop" under mtls; did you mean "corp"?`}},
		{"mtls of a site over http", `{"mtls": {"a": {"cert": "c"}}, "sites": {"http://a.example": {"mtls": "a"}}}`, []string{"1:71: a client certificate or private root has no use over http; the site must be https"}},
		{"site without scheme", `{"sites": {"wiki.corp.example": {}}}`, []string{"1:12: this is not an origin: no scheme; it must start with https:// or http://"}},
		{"site with path", `{"sites": {"https://a.example/x": {}}}`, []string{"1:12: this is not an origin: an origin has no path"}},
		{"site with wide wildcard", `{"sites": {"https://*.com": {}}}`, []string{"1:12: this is not an origin: *.com would cover hosts of different owners"}},
		{"site claimed twice", "{\"sites\": {\"https://a.example\": {},\n \"HTTPS://A.example:443/\": {}}}", []string{"2:2: the site https://a.example is claimed twice, first at 1:12"}},
		{"in the order of the file", "{\"sites\": {\"https://a\": {\"mtls\": \"x\"}},\n\"y\": 1}", []string{`1:34: there is no "x" under mtls`, `2:1: unknown key "y"`}},
		{"bad site, bad content", `{"sites": {"a": {"mtls": "x"}}}`, []string{
			"1:12: this is not an origin: no scheme; it must start with https:// or http://",
			`1:26: there is no "x" under mtls`}},

		// oauth.
		{"issuer over http", site(`"oauth": {"issuer": "http://login.example"}`), []string{"1:54: an issuer must be https (http is for loopback hosts only)"}},
		{"issuer with query", site(`"oauth": {"issuer": "https://login.example?x"}`), []string{"1:54: " + issuer}},
		{"issuer with user", site(`"oauth": {"issuer": "https://u:p@login.example"}`), []string{"1:54: an issuer has no user name or password"}},
		{"issuer without host", site(`"oauth": {"issuer": "https:///x"}`), []string{"1:54: this is not an issuer: the host is empty"}},
		{"metadata document over http", `{"login": {"client_metadata_url": "http://me.example/client.json"}}`, []string{`1:35: expected an https URL with a path, without user name, query and fragment`}},
		{"metadata document without a path", `{"login": {"client_metadata_url": "https://me.example/"}}`, []string{`1:35: expected an https URL with a path, without user name, query and fragment`}},
		{"unknown grant", site(`"oauth": {"grant": "devicecode"}`), []string{`1:53: "devicecode" is not one of authorization_code, device_code, client_credentials, jwt_bearer, token_exchange; did you mean "device_code"?`}},
		{"scopes in one string", site(`"oauth": {"scopes": ["a b"]}`), []string{"1:55: a scope has no spaces, quotes or backslashes; each is an entry of its own"}},
		{"client_credentials without issuer", site(`"oauth": {"grant": "client_credentials"}`), []string{"1:44: this grant needs an issuer"}},
		{"client_credentials with unknown issuer", `{"issuers": {"https://i.example/": {"client_id": "a"}}, "sites": {"https://a": {"oauth": {"grant": "client_credentials", "issuer": "https://i.example"}}}}`,
			[]string{`1:132: client_credentials needs a client of this issuer under issuers, and there is none; did you mean "https://i.example/"?`}},

		// headers.
		{"header name", site(`"headers": {"X Y": "a"}`), []string{"1:46: this is not a header name"}},
		{"header of the connection", site(`"headers": {"host": "a", "CONTENT-length": "1", "te": "x", "Transfer-Encoding": "x", "Proxy-Authorization": "x"}`), []string{
			"1:46: this header is not a site's to set", "1:59: this header is not a site's to set", "1:82: this header is not a site's to set",
			"1:93: this header is not a site's to set", "1:119: this header is not a site's to set"}},
		{"authorization and oauth", site(`"oauth": {}, "headers": {"authorization": "x"}`), []string{"1:59: the header Authorization and oauth exclude each other"}},
		{"header twice in other case", site(`"headers": {"X-A": "a", "x-a": "b"}`), []string{"1:58: the header X-A is here twice, first at 1:46"}},
		{"header value with a line break", site(`"headers": {"X-A": "a\nb"}`), []string{"1:53: the value of a header is visible ASCII with spaces or tabs inside only"}},
		{"header value with a line break from outside", site(`"headers": {"X-A": "{env:BREAK}"}`), []string{"1:53: the value of a header is visible ASCII with spaces or tabs inside only"}},
		{"header value not ASCII", site(`"headers": {"X-A": "ü"}`), []string{"1:53: the value of a header is visible ASCII with spaces or tabs inside only"}},
		{"header value with space at the end", site(`"headers": {"X-A": "a "}`), []string{"1:53: the value of a header is visible ASCII with spaces or tabs inside only"}},

		// Secrets.
		{"variable not set", site(`"headers": {"X-A": "Bearer {env:UNSET}"}`), []string{"1:53: the environment variable UNSET is not set"}},
		{"variable empty", site(`"headers": {"X-A": "{env:EMPTY}"}`), []string{"1:53: this is empty once its references are replaced: {env:EMPTY} is empty"}},
		{"variable name", site(`"headers": {"X-A": "{env:A-B}"}`), []string{"1:53: {env:NAME} takes the name of an environment variable: letters, digits and _"}},
		{"reference not closed", site(`"headers": {"X-A": "{env:SET"}`), []string{"1:53: a reference {env:NAME} or {file:PATH} is not closed by }"}},
		{"secret file missing", site(`"headers": {"X-A": "{file:no/such}"}`), []string{`1:53: there is no secret file "no/such"`}},
		{"secret file is a folder", site(`"headers": {"X-A": "{file:.}"}`), []string{`1:53: the secret file "." is not a regular file`}},
		{"secret file too large", site(`"headers": {"X-A": "{file:large}"}`), []string{`1:53: the secret file "large" is larger than 64 KiB`}},
		{"secret of many files", site(`"headers": {"X-A": "{file:half}{file:half}"}`), []string{"1:53: this is larger than 64 KiB once its references are replaced"}},
		{"secret file without name", site(`"headers": {"X-A": "{file:}"}`), []string{"1:53: {file:PATH} names no file"}},

		// issuers.
		{"secret without client_id", `{"issuers": {"https://i": {"client_secret": "{env:SET}"}}}`, []string{"1:28: client_secret is half of a pair; client_id is missing"}},
		{"method without client_id", `{"issuers": {"https://i": {"token_endpoint_auth_method": "none"}}}`, []string{"1:28: this says how a client identifies itself, and client_id is missing"}},
		{"key without client_id", `{"issuers": {"https://i": {"private_key": "k.pem"}}}`, []string{"1:28: private_key belongs to a client, and client_id is missing"}},
		{"key_id without key", `{"issuers": {"https://i": {"client_id": "a", "key_id": "1"}}}`, []string{"1:46: key_id names a key, and private_key is missing"}},
		{"algorithm without key", `{"issuers": {"https://i": {"client_id": "a", "signing_alg": "ES256"}}}`, []string{"1:46: signing_alg is what private_key signs with, and that is missing"}},
		{"algorithm that is none", `{"issuers": {"https://i": {"client_id": "a", "private_key": "k", "signing_alg": "none"}}}`, []string{`1:81: "none" is not one of ES256, RS256, PS256, EdDSA`}},
		{"passphrase without key", `{"issuers": {"https://i": {"client_id": "a", "private_key_passphrase": "{env:SET}"}}}`, []string{"1:46: private_key_passphrase opens a key, and private_key is missing"}},
		{"method without key", `{"issuers": {"https://i": {"client_id": "a", "token_endpoint_auth_method": "private_key_jwt"}}}`, []string{"1:46: this method signs with private_key, which is missing"}},
		{"key for another method", `{"issuers": {"https://i": {"client_id": "a", "private_key": "k", "token_endpoint_auth_method": "tls_client_auth"}}}`, []string{"1:66: this method has no use for private_key"}},
		{"secret for another method", `{"issuers": {"https://i": {"client_id": "a", "client_secret": "{env:SET}", "token_endpoint_auth_method": "self_signed_tls_client_auth"}}}`, []string{"1:76: this method has no use for client_secret"}},
		{"key and secret", `{"issuers": {"https://i": {"client_id": "a", "client_secret": "{env:SET}", "private_key": "k"}}}`, []string{"1:27: there are both client_secret and private_key; token_endpoint_auth_method says which is used"}},
		{"parameter of ours", `{"issuers": {"https://i": {"authorize_params": {"state": "x"}}}}`, []string{"1:49: this parameter is not a file's to set"}},
		{"parameter name", `{"issuers": {"https://i": {"token_params": {"a b": "x"}}}}`, []string{"1:45: this is not a parameter name"}},
		{"parameter value", `{"issuers": {"https://i": {"token_params": {"a": "\n"}}}}`, []string{"1:50: a parameter is visible ASCII and spaces"}},
		{"misspelt pkce", `{"issuers": {"https://i": {"pkce": "off"}}}`, []string{`1:36: "off" is not one of advertised, unadvertised`}},
		{"subject without grant", site(`"oauth": {"issuer": "https://i", "subject_token": "{env:SET}"}`), []string{"1:67: subject_token is for a grant that names it: jwt_bearer or token_exchange"}},
		{"grant without subject", site(`"oauth": {"issuer": "https://i", "grant": "jwt_bearer"}`), []string{"1:67: this grant starts from a subject_token, which is missing"}},
		{"grant without use for a subject", site(`"oauth": {"grant": "device_code", "subject_token": "{env:SET}"}`), []string{"1:44: this grant has no use for a subject_token"}},
		{"provider for token exchange", site(`"oauth": {"issuer": "https://i", "grant": "token_exchange", "subject_token": "{env:SET}", "subject_issuer": "https://idp"}`), []string{
			"1:67: a subject_issuer makes assertions for the grant jwt_bearer only", "1:142: subject_issuer needs a client of this issuer under issuers, and there is none"}},
		{"subject of no type", site(`"oauth": {"issuer": "https://i", "grant": "jwt_bearer", "subject_token": "{env:SET}", "subject_token_type": "jwt"}`), []string{"1:142: a token type is a URI such as urn:ietf:params:oauth:token-type:jwt"}},
		{"discovery with an issuer", site(`"oauth": {"issuer": "https://i", "discovery": "mcp-2025-03-26"}`), []string{"1:67: with this discovery the site is its own issuer"}},
		{"bad issuer key", `{"issuers": {"https://i#f": {"client_id": "a"}}}`, []string{"1:14: " + issuer}},
		{"method without secret", `{"issuers": {"https://i": {"client_id": "a", "token_endpoint_auth_method": "client_secret_post"}}}`, []string{"1:46: this method sends client_secret, which is missing"}},
		{"secret never sent", `{"issuers": {"https://i": {"client_id": "a", "client_secret": "{env:SET}", "token_endpoint_auth_method": "none"}}}`, []string{`1:76: client_secret is never sent where token_endpoint_auth_method is "none"`}},

		// The rest.
		{"bad private", `{"network": {"private": "alow"}}`, []string{`1:25: "alow" is not one of ask, allow, deny; did you mean "allow"?`}},
		{"allow a wildcard", `{"network": {"allow": ["http://*.a.example"]}}`, []string{"1:24: a wildcard is not accepted here; name an exact origin"}},
		{"allow a host", `{"network": {"allow": ["http://a", "localhost:3000"]}}`, []string{`1:36: this is not an origin: scheme "localhost" is not http or https`}},
		{"socks proxy", `{"network": {"proxy": "socks5://p.example:1"}}`, []string{"1:23: the proxy must be http://host:port or https://host:port, not socks5://"}},
		{"proxy with password", `{"network": {"proxy": "http://u:pw@p.example:1"}}`, []string{"1:23: expected http://host:port or https://host:port: an origin has no user name or password"}},
		{"proxy neither text nor object", `{"network": {"proxy": 1}}`, []string{"1:23: expected a string or an object, found a number"}},
		{"proxy without url", `{"network": {"proxy": {"except": "a"}}}`, []string{"1:23: url is missing"}},
		{"settings of no proxy", `{"network": {"proxy": {"url": "", "except": "a"}}}`, []string{"1:23: url is empty, which means no proxy; the other keys are for one"}},
		{"half of a pair", `{"network": {"proxy": {"url": "http://p", "username": "u"}}}`, []string{"1:43: username is half of a pair; password is missing"}},
		{"other half", `{"network": {"proxy": {"url": "http://p", "password": "{env:SET}"}}}`, []string{"1:43: password is half of a pair; username is missing"}},
		{"proxy entry not defined", `{"mtls": {"corp": {"ca": "c"}}, "network": {"proxy": {"url": "https://p", "mtls": "crop"}}}`, []string{`1:83: there is no "crop" under mtls; did you mean "corp"?`}},
		{"proxy entry over http", `{"mtls": {"corp": {"ca": "c"}}, "network": {"proxy": {"url": "http://p", "mtls": "corp"}}}`, []string{"1:82: a client certificate or private root has no use over http; the proxy must be https"}},
		{"exception with scheme", `{"network": {"proxy": {"url": "http://p", "except": ["http://a"]}}}`, []string{"1:54: expected a host, .domain, address or CIDR block"}},
		{"user name with colon", `{"network": {"proxy": {"url": "http://p", "username": "a:b", "password": "{env:SET}"}}}`, []string{"1:55: a user name has no colon and no control characters"}},
		{"browser empty", `{"login": {"browser": ""}}`, []string{"1:23: the browser command is empty"}},
		{"browser blank", `{"login": {"browser": "  "}}`, []string{"1:23: the browser command is empty"}},
		{"browser empty in quotes", `{"login": {"browser": "\"\" x"}}`, []string{"1:23: the browser command is empty"}},
		{"browser quote", `{"login": {"browser": "\"a b"}}`, []string{"1:23: a double quote in the command is not closed"}},
		{"browser mode in capitals", `{"login": {"browser": "Never"}}`, []string{`1:23: write "never" in lower case`}},
		{"timeout", `{"login": {"timeout": "10"}}`, []string{"1:23: expected a duration such as 90s or 10m"}},
		{"timeout too short", `{"login": {"timeout": "29.9s"}}`, []string{"1:23: the duration is not from 30s to 1h"}},
		{"timeout too long", `{"login": {"timeout": "61m"}}`, []string{"1:23: the duration is not from 30s to 1h"}},
		{"port too high", `{"login": {"port": 65536}}`, []string{"1:20: expected a whole number from 0 to 65535"}},
		{"port a fraction", `{"login": {"port": 80.5}}`, []string{"1:20: expected a whole number, found a fraction"}},
		{"store type", `{"store": {"type": "files"}}`, []string{`1:20: "files" is not one of file, keyring, memory; did you mean "file"?`}},
		{"path of the memory", `{"store": {"type": "memory", "path": "x"}}`, []string{`1:12: path has no meaning where type is "memory"`}},
		{"listen without port", `{"http": {"listen": "127.0.0.1"}}`, []string{"1:21: expected host:port such as 127.0.0.1:8808"}},
		{"listen on a named port", `{"http": {"listen": "127.0.0.1:http"}}`, []string{"1:21: the port is not a number from 0 to 65535"}},
		{"listen on a strange host", `{"http": {"listen": "a b:80"}}`, []string{"1:21: the host name has a character that host names do not have"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "c.jsonc", tt.text)
			for name, size := range map[string]int{"large": maxSecret + 1, "half": maxSecret/2 + 1} {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), make([]byte, size), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			env := variables(map[string]string{"SET": "s", "EMPTY": "", "BREAK": "a\r\nX-B: c"})
			_, err := Load(path, false, env, "/home/u")
			want := "c.jsonc:" + strings.Join(tt.want, "\nc.jsonc:")
			if got := message(err, path); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
