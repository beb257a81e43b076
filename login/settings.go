package login

import (
	"cmp"
	"maps"
)

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

// standard is what holds at an issuer that nobody said anything about.
var standard = Settings{Resource: "send", RedirectHost: "127.0.0.1", RedirectPort: "any", PKCE: "advertised", DPoP: "auto"}

// Settings is what holds for an issuer, with no field left zero: the configuration, else the table
// of known issuers, else the standard.
func (f *Flows) Settings(issuer string) Settings {
	_, known, _, _ := KnownIssuer(issuer)
	return f.opts.Settings(issuer).over(known).over(standard)
}

// over fills what s leaves open from base.
func (s Settings) over(base Settings) Settings {
	return Settings{
		Resource:        cmp.Or(s.Resource, base.Resource),
		AuthorizeParams: overlay(s.AuthorizeParams, base.AuthorizeParams),
		TokenParams:     overlay(s.TokenParams, base.TokenParams),
		RedirectHost:    cmp.Or(s.RedirectHost, base.RedirectHost),
		RedirectPort:    cmp.Or(s.RedirectPort, base.RedirectPort),
		PKCE:            cmp.Or(s.PKCE, base.PKCE),
		DPoP:            cmp.Or(s.DPoP, base.DPoP),
	}
}

// overlay merges parameters into a new map. An empty value takes one of base away.
func overlay(params, base map[string]string) map[string]string {
	merged := make(map[string]string, len(params)+len(base))
	maps.Copy(merged, base)
	maps.Copy(merged, params)
	maps.DeleteFunc(merged, func(_, value string) bool { return value == "" })
	return merged
}
