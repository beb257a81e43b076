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
		{"issuers", &shape{kind: dict, about: "Clients registered beforehand, and what is particular, by issuer.",
			key: issuerURL(""), each: issuerShape()}},
		{"network", networkShape()},
		{"login", loginShape()},
		{"store", storeShape()},
		{"http", &shape{kind: object, about: "The streamable HTTP server.", fields: []field{
			{"listen", &shape{kind: text, about: "Address and port to listen on.", def: "127.0.0.1:8808",
				pattern: regexp.MustCompile(`^([^:\[\]]*|\[[0-9A-Fa-f:.]+\]):[0-9]+$`), why: "expected host:port such as 127.0.0.1:8808", parse: parseListen}},
			{"metrics", &shape{kind: text, empty: true, about: "Address and port of the metrics for Prometheus; empty means none.", def: "",
				pattern: regexp.MustCompile(`^(([^:\[\]]*|\[[0-9A-Fa-f:.]+\]):[0-9]+)?$`), why: "expected host:port such as 127.0.0.1:9464", parse: parseListen}},
		}}},
	}}
}

func mtlsShape() *shape {
	files := func(about, each string) *shape {
		return &shape{kind: list, one: true, some: true, about: about, each: &shape{kind: text, about: each}}
	}
	command := func(about string) *shape {
		return &shape{kind: list, some: true, about: about, each: &shape{kind: text, empty: true, about: "The program, then its arguments; no shell is used."}}
	}
	return &shape{kind: object, about: "A client certificate, private roots, or both.",
		anyOf: []string{"cert", "signer", "spiffe", "ca", "pins", "crl", "server_name"}, anyWhy: "this entry sets nothing; it needs a cert or a ca, for example",
		rules: []rule{
			{when: "key", need: "cert", why: "key is half of a pair; cert is missing"},
			{when: "passphrase", need: "cert", why: "passphrase opens a key, and cert is missing"},
			{when: "passphrase_command", need: "cert", why: "passphrase_command opens a key, and cert is missing"},
			{when: "passphrase_command", forbid: "passphrase", why: "passphrase and passphrase_command exclude each other"},
			{when: "signer", forbid: "key", why: "a signer has the key; key is another"},
			{when: "spiffe", forbid: "cert", why: "the Workload API gives the certificate; cert is another"},
			{when: "spiffe", forbid: "signer", why: "the Workload API gives the key; signer is another"},
			{when: "ca_mode", need: "ca", why: "ca_mode says what to do with ca, and ca is missing"},
		},
		fields: []field{
			{"cert", &shape{kind: text, about: "File with the certificate and its chain: PEM, DER or PKCS#12, recognised by its bytes; or a pkcs11: URI. With the key in it, leave key out."}},
			{"key", &shape{kind: text, about: "File with the private key: PEM or DER; or a pkcs11: URI."}},
			{"passphrase", &shape{kind: text, secret: true, about: "Passphrase of the key or the PKCS#12 file, or the PIN of the token; read anew when the key changes."}},
			{"passphrase_command", command("A program that prints the passphrase; it has 10 seconds.")},
			{"signer", command("An external signer: a program that has the key and signs with it (docs/signer.md).")},
			{"spiffe", &shape{kind: text, about: "Address of a SPIFFE Workload API, such as unix:///run/spire/sockets/agent.sock (builds with the tag spiffe).",
				pattern: regexp.MustCompile(`^(unix:///?[^?# ]+|tcp://[0-9A-Fa-f.:\[\]]+:[0-9]+)$`), why: "expected unix:///path/to/socket or tcp://address:port"}},
			{"strict_permissions", &shape{kind: boolean, about: "Refuse a key file that others can read, instead of warning."}},
			{"ca", files("The roots that sign the server's certificate.", "A file (PEM or DER) or a directory of such files.")},
			{"ca_mode", &shape{kind: text, about: "Whether ca adds to the system's roots or replaces them.", def: "add", enum: []string{"add", "only"}}},
			{"server_name", &shape{kind: text, about: "What the server's certificate must name, instead of the host of the URL: a DNS name, an IP address or a SPIFFE ID.",
				pattern: regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|spiffe://[a-z0-9._-]+/[A-Za-z0-9/._-]+)$`), why: "expected a DNS name, an IP address, or a SPIFFE ID such as spiffe://corp.example/wiki"}},
			{"min_version", &shape{kind: text, about: "The oldest TLS version to use.", def: "1.2", enum: []string{"1.2", "1.3"}}},
			{"pins", &shape{kind: list, one: true, some: true, about: "Public keys of which the server's chain must have one.",
				each: &shape{kind: text, about: "sha256// and the base64 of the SHA-256 of the key's SPKI.", pattern: regexp.MustCompile(`^sha256//[A-Za-z0-9+/]{43}=$`), why: "expected sha256// and 44 characters of base64"}}},
			{"crl", files("Revocation lists that the server's chain is checked against.", "A file, PEM or DER.")},
		}}
}

func siteShape() *shape {
	return &shape{kind: object, about: "One site.", fields: []field{
		{"mtls", &shape{kind: text, about: "The entry under mtls that this site uses."}},
		{"oauth", &shape{kind: object, about: "How to sign in.",
			rules: []rule{
				{when: "grant", is: []string{"client_credentials", "jwt_bearer", "token_exchange"}, need: "issuer", why: "this grant needs an issuer"},
				{when: "grant", is: []string{"jwt_bearer", "token_exchange"}, need: "subject_token", why: "this grant starts from a subject_token, which is missing"},
				{when: "grant", is: []string{"authorization_code", "device_code", "client_credentials"}, forbid: "subject_token", why: "this grant has no use for a subject_token"},
				{when: "grant", is: []string{"token_exchange"}, forbid: "subject_issuer", why: "a subject_issuer makes assertions for the grant jwt_bearer only"},
				{when: "subject_token", need: "grant", why: "subject_token is for a grant that names it: jwt_bearer or token_exchange"},
				{when: "subject_token_type", need: "subject_token", why: "subject_token_type tells what subject_token is, and that is missing"},
				{when: "subject_issuer", need: "subject_token", why: "subject_issuer takes a subject_token, which is missing"},
				{when: "discovery", is: []string{"mcp-2025-03-26"}, forbid: "issuer", why: "with this discovery the site is its own issuer"},
			},
			fields: []field{
				{"issuer", issuerURL("The authorization server; without it the site's own metadata decides.")},
				{"scopes", &shape{kind: list, about: "Scopes to ask for; without them the server's proposal is used.",
					each: &shape{kind: text, about: "One scope.", pattern: regexp.MustCompile(`^[!#-\[\]-~]+$`), why: "a scope has no spaces, quotes or backslashes; each is an entry of its own"}}},
				{"grant", &shape{kind: text, about: "How a token is obtained. Without it: a device code where no browser can be opened and the server offers one, else the authorization code.",
					enum: []string{"authorization_code", "device_code", "client_credentials", "jwt_bearer", "token_exchange"}}},
				{"subject_token", &shape{kind: text, secret: true, about: "What jwt_bearer and token_exchange start from, such as a workload's token; read anew at each use."}},
				{"subject_token_type", &shape{kind: text, about: "Its token type URI (RFC 8693); by default an ID token.",
					pattern: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$`), why: "a token type is a URI such as urn:ietf:params:oauth:token-type:jwt"}},
				{"subject_issuer", issuerURL("The identity provider that turns it into an assertion for the issuer first (enterprise-managed authorization).")},
				{"discovery", &shape{kind: text, about: "How the issuer is found: by protected resource metadata, or as MCP servers of the protocol 2025-03-26 want it, which are their own issuers.", def: "rfc9728",
					enum: []string{"rfc9728", "mcp-2025-03-26"}}},
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
	withSecret, withKey, withCertificate := []string{"client_secret_basic", "client_secret_post"}, []string{"private_key_jwt"}, []string{"tls_client_auth", "self_signed_tls_client_auth"}
	return &shape{kind: object, about: "One issuer: the client registered there, and what is particular about it.",
		rules: []rule{
			{when: "token_endpoint_auth_method", need: "client_id", why: "this says how a client identifies itself, and client_id is missing"},
			{when: "token_endpoint_auth_method", is: withSecret, need: "client_secret", why: "this method sends client_secret, which is missing"},
			{when: "token_endpoint_auth_method", is: withKey, need: "private_key", why: "this method signs with private_key, which is missing"},
			{when: "token_endpoint_auth_method", is: []string{"none"}, forbid: "client_secret", why: `client_secret is never sent where token_endpoint_auth_method is "none"`},
			{when: "token_endpoint_auth_method", is: append(withKey, withCertificate...), forbid: "client_secret", why: "this method has no use for client_secret"},
			{when: "token_endpoint_auth_method", is: append(append([]string{"none"}, withSecret...), withCertificate...), forbid: "private_key", why: "this method has no use for private_key"},
			{when: "client_secret", need: "client_id", why: "client_secret is half of a pair; client_id is missing"},
			{when: "private_key", need: "client_id", why: "private_key belongs to a client, and client_id is missing"},
			{when: "private_key_passphrase", need: "private_key", why: "private_key_passphrase opens a key, and private_key is missing"},
			{when: "key_id", need: "private_key", why: "key_id names a key, and private_key is missing"},
			{when: "signing_alg", need: "private_key", why: "signing_alg is what private_key signs with, and that is missing"},
		},
		fields: []field{
			{"client_id", &shape{kind: text, about: "The client's identifier; without it we register ourselves."}},
			{"client_secret", &shape{kind: text, secret: true, about: "The client's secret; a public client has none."}},
			{"token_endpoint_auth_method", &shape{kind: text, about: "How the client identifies itself; by default private_key_jwt where there is a key, client_secret_basic where there is a secret, none otherwise. The two with a certificate show that of the site which the token endpoint is.",
				enum: []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"}}},
			{"private_key", &shape{kind: text, about: "PEM file with the key of private_key_jwt."}},
			{"private_key_passphrase", &shape{kind: text, secret: true, about: "Passphrase of that key."}},
			{"key_id", &shape{kind: text, about: "The kid by which the issuer knows the key."}},
			{"signing_alg", &shape{kind: text, about: "What it signs with; by default what key and issuer allow.", enum: []string{"ES256", "RS256", "PS256", "EdDSA"}}},
			{"pkce", &shape{kind: text, about: "unadvertised: the issuer supports PKCE with S256, though its metadata does not say so.", enum: []string{"advertised", "unadvertised"}}},
			{"resource", &shape{kind: text, about: "omit: the issuer does not take the resource parameter (RFC 8707).", enum: []string{"send", "omit"}}},
			{"redirect_host", &shape{kind: text, about: "The host in the redirect URI.", enum: []string{"127.0.0.1", "localhost", "[::1]"}}},
			{"redirect_port", &shape{kind: text, about: "exact: the issuer compares the port of the redirect URI too.", enum: []string{"any", "exact"}}},
			{"authorize_params", parameters("More parameters for the browser to bring to the issuer.")},
			{"token_params", parameters("More parameters for requests for tokens.")},
			{"dpop", &shape{kind: text, about: "When tokens are bound to a key (RFC 9449): where the resource asks for it, always, or never.", enum: []string{"auto", "always", "never"}}},
		}}
}

// parameters shapes what is added to requests. What we set ourselves is not for a file to change.
func parameters(about string) *shape {
	return &shape{kind: dict, about: about + " {resource} stands for the resource, an empty value takes away what is added by default.",
		key: &shape{kind: text, pattern: regexp.MustCompile(`^[A-Za-z0-9_.-]+$`), why: "this is not a parameter name",
			except:    regexp.MustCompile(`^(client_id|client_secret|client_assertion|client_assertion_type|redirect_uri|response_type|response_mode|state|scope|resource|code|code_challenge|code_challenge_method|code_verifier|grant_type|refresh_token|device_code|assertion|subject_token|subject_token_type|requested_token_type|dpop_jkt|request|request_uri)$`),
			exceptWhy: "this parameter is not a file's to set"},
		each: &shape{kind: text, empty: true, about: "The parameter's value.", pattern: regexp.MustCompile(`^[ -~]*$`), why: "a parameter is visible ASCII and spaces"}}
}

func networkShape() *shape {
	return &shape{kind: object, about: "Which addresses may be reached. A configured site is allowed where it lives.", fields: []field{
		{"private", &shape{kind: text, about: "What happens at private and loopback addresses that no site and no entry of allow names; by default ask over stdio and deny over HTTP.",
			enum: []string{"ask", "allow", "deny"}}},
		{"allow", &shape{kind: list, about: "Origins allowed at private and loopback addresses.",
			each: &shape{kind: text, about: "An exact origin.", pattern: regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@* ]+/?$`), why: "expected an exact origin such as http://localhost:3000", parse: parseOrigin}}},
		{"proxy", &shape{kind: object, short: "url", about: "The proxy for every request; \"\" means none, whatever the environment says.",
			rules: []rule{
				{when: "username", need: "password", why: "username is half of a pair; password is missing"},
				{when: "password", need: "username", why: "password is half of a pair; username is missing"},
			},
			required: []string{"url"},
			fields: []field{
				{"url", &shape{kind: text, empty: true, about: "http://host:port or https://host:port.",
					pattern: regexp.MustCompile(`^([Hh][Tt][Tt][Pp][Ss]?://[^/?#@ ]+/?)?$`), why: "expected http://host:port or https://host:port", parse: parseProxy}},
				{"username", &shape{kind: text, about: "For the Basic scheme.", pattern: regexp.MustCompile(`^[^:\x00-\x1f]+$`), why: "a user name has no colon and no control characters"}},
				{"password", &shape{kind: text, secret: true, about: "For the Basic scheme."}},
				{"mtls", &shape{kind: text, about: "The entry under mtls that an https proxy gets."}},
				{"except", &shape{kind: list, one: true, about: "What is reached without the proxy, as in NO_PROXY.",
					each: &shape{kind: text, about: "A host, a domain with its subdomains, an address or a CIDR block, with or without a port; * for all.",
						pattern: regexp.MustCompile(`^(\*|[^,/*@ ]+(/[0-9]+)?|\*\.[^,/*@ ]+)$`), why: "expected a host, .domain, address or CIDR block"}}},
			}}},
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
			{"type", &shape{kind: text, about: "file keeps logins between runs; keyring does so too, sealed with a key that the system's keyring holds; memory forgets them.", def: "file", enum: []string{"file", "keyring", "memory"}}},
			{"path", &shape{kind: text, empty: true, about: "Folder of the store; empty means the default place.", def: ""}},
		}}
}
