package login

// Settings are what is particular about an authorization server. The zero value of each is what
// the table of known issuers says, else the standard's rule.
type Settings struct {
	Resource        string            // "send" or "omit" the resource parameter (RFC 8707)
	AuthorizeParams map[string]string // added to authorization requests; {resource} stands for the resource
	TokenParams     map[string]string // added to requests for new tokens, likewise
	RedirectHost    string            // "127.0.0.1", "localhost" or "[::1]"
	RedirectPort    string            // "any" or "exact": whether the issuer compares the port (RFC 8252 §7.3 says any)
	PKCE            string            // "advertised", or "unadvertised" where S256 works without being announced
	DPoP            string            // "auto", "always" or "never"
}

// settings is what holds for an issuer: the configuration, else the table, else the standard.
func (f *Flows) settings(issuer string) Settings { return f.opts.Settings(issuer) }
