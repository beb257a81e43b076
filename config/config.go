// Package config loads one file and the environment, checks them and explains what is wrong; it owns the JSON Schema.
package config

import (
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Config is a configuration that has passed every check. Defaults are filled in.
type Config struct {
	Path     string            // the file it came from, as given to [Load]; "" when there was no file
	MTLS     map[string]MTLS   // by name
	Sites    []Site            // in file order, then those of AUTHFETCH_ORIGINS
	Issuers  map[string]Issuer // by exact issuer string
	Network  Network
	Login    Login
	Store    Store
	HTTP     HTTP
	Warnings []string // accepted, but worth a line in the log
}

// MTLS names a client certificate, roots, or both. Paths are absolute.
type MTLS struct {
	Cert              string // file or pkcs11: URI; with the key in it where Key is ""
	Key               string
	Passphrase        secret.Text // as it was when the file was read
	PassphraseCommand []string    // argv
	Signer            []string    // argv
	SPIFFE            string      // address of a Workload API
	StrictPermissions bool
	CA                []string // files and directories; none means the system's roots
	CAMode            string   // "add": CA and the system's roots; "only": CA alone
	ServerName        string
	MinVersion        string // 1.2 or 1.3
	Pins              []string
	CRL               []string

	// Environment: the entry is that of the AUTHFETCH_ variables.
	Environment bool

	read func() (secret.Text, error)
}

// ReadPassphrase reads it anew, as it may have changed with the key; zero where there is none.
func (m MTLS) ReadPassphrase() (secret.Text, error) {
	if m.read == nil {
		return m.Passphrase, nil
	}
	return m.read()
}

// Site is what is configured for one origin or one wildcard of origins.
type Site struct {
	Pattern origin.Pattern
	MTLS    string // a key of Config.MTLS, or ""
	OAuth   *OAuth // nil: nothing configured
	Headers []Header
}

// Header is sent with every request to its site. Name is in canonical form; a site's headers are
// sorted by it.
type Header struct {
	Name  string
	Value secret.Text
}

// OAuth says how to sign in to a site.
type OAuth struct {
	Issuer string   // "" means discovered
	Scopes []string // nil means whatever the server proposes, empty means none
	Grant  string   // as in the file; "" lets the surroundings decide

	Subject   *Subject // for the grants jwt_bearer and token_exchange, else nil
	Discovery string   // rfc9728 or mcp-2025-03-26
}

// Subject is the token that a grant starts from.
type Subject struct {
	Type   string // token type URI; "" means an ID token
	Issuer string // the identity provider that makes an assertion of it first, or ""

	read func() (secret.Text, error)
}

// Token reads it anew: such tokens rotate.
func (s *Subject) Token() (secret.Text, error) { return s.read() }

// Issuer is what is configured for an authorization server: a client registered there beforehand
// (none where ClientID is ""), and what is particular about it, "" where the file does not say.
type Issuer struct {
	ClientID                string
	ClientSecret            secret.Text
	TokenEndpointAuthMethod string // as in the file, "" only without a client
	PrivateKey              string // absolute path
	PrivateKeyPassphrase    secret.Text
	KeyID                   string
	SigningAlg              string

	PKCE, Resource, RedirectHost, RedirectPort, DPoP string
	AuthorizeParams, TokenParams                     map[string]string
}

// Network says which addresses may be reached, and how.
type Network struct {
	Private string          // ask, allow or deny; "" means not set, the caller's mode decides
	Allow   []origin.Origin // private or loopback origins allowed without being a site
	Proxy   *Proxy          // nil means not set: [Network.ProxyFor] asks the environment

	environment environmentProxies
}

// Login says how a person is asked to sign in.
type Login struct {
	Browser        string        // auto, never or command
	BrowserCommand []string      // the argv, without the URL, where Browser is command
	Timeout        time.Duration // 30 s to 1 h
	Port           int           // of the loopback listener; 0 means a random one

	ClientMetadataURL string // where our client metadata document is served; "" means nowhere
}

// Store says where tokens are kept.
type Store struct {
	Type string // file, keyring or memory
	Path string // absolute; "" means the default place
}

// HTTP is for the streamable HTTP server.
type HTTP struct {
	Listen  string // host:port
	Metrics string // host:port; "" means none
}

// Site returns the most specific site for o: an exact origin before a wildcard. Nil means that
// nothing is configured for o.
func (c *Config) Site(o origin.Origin) *Site {
	var wildcard *Site
	for i := range c.Sites {
		s := &c.Sites[i]
		if !s.Pattern.Match(o) {
			continue
		}
		if _, exact := s.Pattern.Exact(); exact {
			return s
		}
		wildcard = s
	}
	return wildcard
}
