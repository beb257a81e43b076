package login

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// Known is a row of the table of known issuers: what an authorization server is documented or
// reported to do otherwise than the standards say.
type Known struct {
	Name string
	// Hosts of the issuer identifier: a name, "*.name" for every name below it, or "*" for any
	// host. What stands at any host says nothing about who runs it: such a row has no settings.
	Hosts []string
	// Paths of the issuer identifier, by whole segments: itself and all below it; nil: any.
	Paths    []string
	Settings Settings
	Note     string   // what the settings are for, or why there are none
	Sources  []string // URLs of public documentation or reports
}

// KnownIssuers lists the table in its order.
func KnownIssuers() []Known {
	return []Known{
		{
			Name:  "Microsoft Entra ID",
			Hosts: []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"},
			Settings: Settings{
				Resource:     "omit",
				RedirectHost: "localhost",
				PKCE:         "unadvertised",
			},
			Note: "The v2.0 endpoints take the resource from the scopes and refuse the resource parameter beside them. " +
				"S256 is supported but not announced in the metadata. The portal takes http redirect URIs only for localhost, whose port is not compared.",
			Sources: []string{
				"https://learn.microsoft.com/en-us/entra/identity-platform/reply-url",
				"https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow",
				"https://learn.microsoft.com/en-us/entra/identity-platform/authentication-national-cloud",
				"https://github.com/punkpeye/mcp-remote/issues/217",
				"https://github.com/modelcontextprotocol/typescript-sdk/issues/832",
			},
		},
		{
			Name:     "Okta",
			Hosts:    []string{"*.okta.com", "*.oktapreview.com"},
			Settings: Settings{RedirectPort: "exact"},
			Note:     "Redirect URIs are compared with their port, also those of native apps.",
			Sources:  []string{"https://github.com/openid/AppAuth-iOS/issues/357"},
		},
		{
			Name:  "Auth0",
			Hosts: []string{"*.auth0.com"},
			Settings: Settings{
				AuthorizeParams: map[string]string{"audience": "{resource}"},
				TokenParams:     map[string]string{"audience": "{resource}"},
				RedirectPort:    "exact",
			},
			Note: "The API is chosen by audience; resource counts only where a tenant has the compatibility profile, and then audience comes first. " +
				"Redirect URIs are compared with their port.",
			Sources: []string{
				"https://auth0.com/ai/docs/mcp/guides/resource-param-compatibility-profile",
				"https://github.com/github/copilot-cli/issues/4793",
				"https://github.com/openid/AppAuth-iOS/issues/357",
			},
		},
		{
			Name:     "Google",
			Hosts:    []string{"accounts.google.com"},
			Settings: Settings{AuthorizeParams: map[string]string{"access_type": "offline", "prompt": "consent"}},
			Note: "A refresh token is given only for access_type=offline, and after the first time only with prompt=consent; there is no offline_access scope. " +
				"Clients are registered beforehand, and have a secret.",
			Sources: []string{
				"https://developers.google.com/identity/protocols/oauth2/web-server#offline",
				"https://developers.google.com/identity/protocols/oauth2/native-app",
				"https://github.com/can1357/oh-my-pi/issues/12438",
				"https://github.com/onyx-dot-app/onyx/pull/13924",
			},
		},
		{
			Name:  "GitHub",
			Hosts: []string{"github.com"},
			Paths: []string{"/login/oauth"},
			Note: "Nothing particular is needed: the port of a loopback address is not compared. " +
				"Clients are registered beforehand, and have a secret; the device grant must be enabled for each.",
			Sources: []string{"https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#loopback-redirect-urls"},
		},
		{
			Name:  "Keycloak",
			Hosts: []string{"*"},
			Paths: []string{"/realms", "/auth/realms"},
			Note: "Nothing particular is needed: for http://127.0.0.1 the port is not compared. " +
				"The resource parameter is an experimental feature of it; without that, the audience of tokens is configured in the realm.",
			Sources: []string{
				"https://www.keycloak.org/securing-apps/mcp-authz-server",
				"https://docs.redhat.com/en/documentation/red_hat_build_of_keycloak/26.0/html/securing_applications_and_services_guide/oidc-layers-recommendations",
			},
		},
		{
			Name:     "Atlassian",
			Hosts:    []string{"auth.atlassian.com", "mcp.atlassian.com", "cf.mcp.atlassian.com"},
			Settings: Settings{RedirectPort: "exact"},
			Note: "Redirect URIs are compared with their port. A client registered beforehand for the REST APIs (3LO) needs " +
				"authorize_params audience=api.atlassian.com too, which would be wrong for its MCP server.",
			Sources: []string{
				"https://github.com/atlassian/atlassian-mcp-server/issues/246",
				"https://github.com/github/copilot-cli/issues/4926",
				"https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/",
			},
		},
		{
			Name:    "Cloudflare Access",
			Hosts:   []string{"*.cloudflareaccess.com"},
			Note:    "Nothing particular is needed: it wants the resource parameter, and its administrator allows loopback clients (127.0.0.1) in the application's managed OAuth settings.",
			Sources: []string{"https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/managed-oauth/"},
		},
	}
}

// KnownIssuer finds the row of an issuer. source is the first of its sources.
func KnownIssuer(issuer string) (name string, s Settings, source string, ok bool) {
	for _, k := range KnownIssuers() {
		if k.matches(issuer) {
			return k.Name, k.Settings, k.Sources[0], true
		}
	}
	return "", Settings{}, "", false
}

// matches compares the issuer as a URL, never as text: https at its own port, the host by whole
// labels, the path by whole segments.
func (k Known) matches(issuer string) bool {
	u, err := url.Parse(issuer)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	o, err := origin.Of(u)
	if err != nil || o.Scheme() != "https" {
		return false
	}
	hosted := slices.ContainsFunc(k.Hosts, func(pattern string) bool {
		suffix, below := strings.CutPrefix(pattern, "*")
		switch {
		case pattern == "*":
			return true
		case o.Port() != 443:
			return false
		case below:
			return strings.HasSuffix(o.Host(), suffix)
		}
		return o.Host() == pattern
	})
	return hosted && (k.Paths == nil || slices.ContainsFunc(k.Paths, func(path string) bool {
		rest, ok := strings.CutPrefix(u.EscapedPath(), path)
		return ok && (rest == "" || rest[0] == '/')
	}))
}
