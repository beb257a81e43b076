package config

import "regexp"

// settings describes the whole file.
func settings() *shape {
	return &shape{kind: object, about: "Configuration of mcp-authfetch.", fields: []field{
		{"$schema", &shape{kind: text, about: "Where an editor finds this schema; otherwise ignored."}},
		{"mtls", &shape{kind: dict, about: "Client certificates and private roots, by name.",
			key: &shape{kind: text}, each: mtlsShape()}},
		{"sites", &shape{kind: dict, about: "What is known about a site, by exact origin or one-label wildcard such as https://*.corp.example; the most specific wins.",
			key:  &shape{kind: text, pattern: regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@ ]+/?$`), why: "a site is an origin such as https://wiki.corp.example", parse: parsePattern},
			each: siteShape()}},
		{"issuers", &shape{kind: dict, about: "Clients registered beforehand, by issuer.",
			key: issuerURL(""), each: issuerShape()}},
		{"network", networkShape()},
		{"login", loginShape()},
		{"store", storeShape()},
		{"http", &shape{kind: object, about: "The streamable HTTP server.", fields: []field{
			{"listen", &shape{kind: text, about: "Address and port to listen on.", def: "127.0.0.1:8808",
				pattern: regexp.MustCompile(`^([^:\[\]]*|\[[0-9A-Fa-f:.]+\]):[0-9]+$`), why: "expected host:port such as 127.0.0.1:8808", parse: parseListen}},
		}}},
	}}
}

func mtlsShape() *shape {
	return &shape{kind: object, about: "A client certificate, private roots, or both.",
		anyOf: []string{"cert", "ca"}, anyWhy: "this entry names neither cert nor ca",
		rules: []rule{
			{when: "key", need: "cert", why: "key is half of a pair; cert is missing"},
			{when: "passphrase", need: "cert", why: "passphrase opens a key, and cert is missing"},
			{when: "ca_mode", need: "ca", why: "ca_mode says what to do with ca, and ca is missing"},
		},
		fields: []field{
			{"cert", &shape{kind: text, about: "PEM file with the certificate and its chain; with the key in it, leave key out."}},
			{"key", &shape{kind: text, about: "PEM file with the private key."}},
			{"passphrase", &shape{kind: text, secret: true, about: "Passphrase of the key."}},
			{"ca", &shape{kind: text, about: "PEM file with the roots that sign the server's certificate."}},
			{"ca_mode", &shape{kind: text, about: "Whether ca adds to the system's roots or replaces them.", def: "add", enum: []string{"add", "only"}}},
		}}
}

func siteShape() *shape {
	return &shape{kind: object, about: "One site.", fields: []field{
		{"mtls", &shape{kind: text, about: "The entry under mtls that this site uses."}},
		{"oauth", &shape{kind: object, about: "How to sign in.",
			rules: []rule{{when: "grant", is: []string{"client_credentials"}, need: "issuer", why: "client_credentials needs an issuer"}},
			fields: []field{
				{"issuer", issuerURL("The authorization server; without it the site's own metadata decides.")},
				{"scopes", &shape{kind: list, about: "Scopes to ask for; without them the server's proposal is used.",
					each: &shape{kind: text, about: "One scope.", pattern: regexp.MustCompile(`^[!#-\[\]-~]+$`), why: "a scope has no spaces, quotes or backslashes; each is an entry of its own"}}},
				{"grant", &shape{kind: text, about: "How a token is obtained. Without it: a device code where no browser can be opened and the server offers one, else the authorization code.",
					enum: []string{"authorization_code", "device_code", "client_credentials"}}},
			}}},
		{"headers", &shape{kind: dict, about: "Headers sent to this site only.",
			key: &shape{kind: text, pattern: regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), why: "this is not a header name",
				except: reservedHeader(), exceptWhy: "this header is not a site's to set", parse: parseHeaderName},
			each: &shape{kind: text, secret: true, about: "The header's value."}}},
	}}
}

func issuerURL(about string) *shape {
	return &shape{kind: text, about: about, parse: parseIssuer,
		pattern: regexp.MustCompile(`^(https://[^/?#]+|http://(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?)(/[^?#]*)?$`),
		why:     "an issuer is an https URL without query or fragment (http on localhost, 127.0.0.1 and [::1] only)"}
}

func issuerShape() *shape {
	return &shape{kind: object, about: "One client.", required: []string{"client_id"},
		rules: []rule{
			{when: "token_endpoint_auth_method", is: []string{"client_secret_basic", "client_secret_post"}, need: "client_secret", why: "this method sends client_secret, which is missing"},
			{when: "token_endpoint_auth_method", is: []string{"none"}, forbid: "client_secret", why: `client_secret is never sent where token_endpoint_auth_method is "none"`},
		},
		fields: []field{
			{"client_id", &shape{kind: text, about: "The client's identifier."}},
			{"client_secret", &shape{kind: text, secret: true, about: "The client's secret; a public client has none."}},
			{"token_endpoint_auth_method", &shape{kind: text, about: "How the client identifies itself; by default client_secret_basic where there is a secret, none otherwise.",
				enum: []string{"none", "client_secret_basic", "client_secret_post"}}},
		}}
}

func networkShape() *shape {
	return &shape{kind: object, about: "Which addresses may be reached. A configured site is allowed where it lives.", fields: []field{
		{"private", &shape{kind: text, about: "What happens at private and loopback addresses that no site and no entry of allow names; by default ask over stdio and deny over HTTP.",
			enum: []string{"ask", "allow", "deny"}}},
		{"allow", &shape{kind: list, about: "Origins allowed at private and loopback addresses.",
			each: &shape{kind: text, about: "An exact origin.", pattern: regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@* ]+/?$`), why: "expected an exact origin such as http://localhost:3000", parse: parseOrigin}}},
		{"proxy", &shape{kind: text, empty: true, about: "Proxy for every request, as http://host:port; empty means none.",
			pattern: regexp.MustCompile(`^(http://[^/?#@ ]+/?)?$`), why: "expected http://host:port", parse: parseProxy}},
	}}
}

func loginShape() *shape {
	return &shape{kind: object, about: "How a person is asked to sign in.", fields: []field{
		{"browser", &shape{kind: text, about: "auto, never, or a command that is given the URL as its last argument (split at spaces, double quotes group, no shell).", def: "auto",
			pattern: regexp.MustCompile(`[^ ]`), why: "the browser command is empty", parse: parseBrowser}},
		{"timeout", &shape{kind: text, about: "How long a login may take, from 30s to 1h.", def: "10m",
			pattern: regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`), why: "expected a duration such as 90s or 10m", parse: parseTimeout}},
		{"port", &shape{kind: integer, about: "Loopback port for the answer of the authorization server; 0 means a random one.", def: 0, min: 0, max: 65535}},
		{"client_metadata_url", &shape{kind: text, empty: true, about: "Where you serve the document that config client-metadata prints, for issuers that know clients by such a URL; empty means nowhere.",
			pattern: regexp.MustCompile(`^(https://[^/?#@ ]+/[^?#@ ]+)?$`), why: "expected an https URL with a path, without user name, query and fragment", parse: parseMetadataURL}},
	}}
}

func storeShape() *shape {
	return &shape{kind: object, about: "Where tokens are kept.",
		rules: []rule{{when: "type", is: []string{"memory"}, forbid: "path", why: `path has no meaning where type is "memory"`}},
		fields: []field{
			{"type", &shape{kind: text, about: "file keeps logins between runs, memory forgets them.", def: "file", enum: []string{"file", "memory"}}},
			{"path", &shape{kind: text, empty: true, about: "Folder of the store; empty means the default place.", def: ""}},
		}}
}
