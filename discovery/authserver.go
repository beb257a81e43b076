package discovery

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// AuthServer is validated authorization server metadata (RFC 8414 §2). A URL is "" and a list nil
// where the server does not state it.
type AuthServer struct {
	URL    string // where it was read
	Issuer string // identical to the issuer asked for

	AuthorizationEndpoint              string // "" only if there is a grant that does without
	TokenEndpoint                      string // never ""
	DeviceAuthorizationEndpoint        string
	RegistrationEndpoint               string
	RevocationEndpoint                 string
	PushedAuthorizationRequestEndpoint string

	ScopesSupported                   []string
	GrantTypesSupported               []string
	CodeChallengeMethodsSupported     []string
	TokenEndpointAuthMethodsSupported []string

	IssParameterSupported              bool // RFC 9207
	RequirePushedAuthorizationRequests bool // RFC 9126
	ClientIDMetadataDocumentSupported  bool

	TokenEndpointAuthSigningAlgValuesSupported []string  // RFC 8414 §2
	DPoPSigningAlgValuesSupported              []string  // RFC 9449 §5.1
	TLSClientCertificateBoundAccessTokens      bool      // RFC 8705 §3.3
	MTLSEndpointAliases                        Endpoints // RFC 8705 §5

	// SignedMetadata says what became of signed_metadata (RFC 8414 §2.1): "" where there was none,
	// "verified", or "ignored: " and why.
	SignedMetadata string
}

// Endpoints are those that may have another address for clients with a certificate; "" means the usual one.
type Endpoints struct {
	TokenEndpoint                      string `json:"token_endpoint"`
	DeviceAuthorizationEndpoint        string `json:"device_authorization_endpoint"`
	RegistrationEndpoint               string `json:"registration_endpoint"`
	RevocationEndpoint                 string `json:"revocation_endpoint"`
	PushedAuthorizationRequestEndpoint string `json:"pushed_authorization_request_endpoint"`
}

// NamedEndpoint is an endpoint and the member of the document that names it, where the aliases of
// RFC 8705 §5 are "mtls_endpoint_aliases.token_endpoint" and the like.
type NamedEndpoint struct{ Member, URL string }

// Endpoints returns those that requests are sent to, with their aliases. The authorization endpoint
// is not one: a browser goes there.
func (s *AuthServer) Endpoints() []NamedEndpoint {
	alias := s.MTLSEndpointAliases
	all := []NamedEndpoint{
		{"token_endpoint", s.TokenEndpoint},
		{"device_authorization_endpoint", s.DeviceAuthorizationEndpoint},
		{"registration_endpoint", s.RegistrationEndpoint},
		{"revocation_endpoint", s.RevocationEndpoint},
		{"pushed_authorization_request_endpoint", s.PushedAuthorizationRequestEndpoint},
		{"mtls_endpoint_aliases.token_endpoint", alias.TokenEndpoint},
		{"mtls_endpoint_aliases.device_authorization_endpoint", alias.DeviceAuthorizationEndpoint},
		{"mtls_endpoint_aliases.registration_endpoint", alias.RegistrationEndpoint},
		{"mtls_endpoint_aliases.revocation_endpoint", alias.RevocationEndpoint},
		{"mtls_endpoint_aliases.pushed_authorization_request_endpoint", alias.PushedAuthorizationRequestEndpoint},
	}
	return slices.DeleteFunc(all, func(e NamedEndpoint) bool { return e.URL == "" })
}

// authServerDocument is what is read of the JSON, in the order of AuthServer.
type authServerDocument struct {
	URL    string `json:"-"`
	Issuer string `json:"issuer"`

	AuthorizationEndpoint              string `json:"authorization_endpoint"`
	TokenEndpoint                      string `json:"token_endpoint"`
	DeviceAuthorizationEndpoint        string `json:"device_authorization_endpoint"`
	RegistrationEndpoint               string `json:"registration_endpoint"`
	RevocationEndpoint                 string `json:"revocation_endpoint"`
	PushedAuthorizationRequestEndpoint string `json:"pushed_authorization_request_endpoint"`

	ScopesSupported                   []string `json:"scopes_supported"`
	GrantTypesSupported               []string `json:"grant_types_supported"`
	CodeChallengeMethodsSupported     []string `json:"code_challenge_methods_supported"`
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported"`

	IssParameterSupported              bool `json:"authorization_response_iss_parameter_supported"`
	RequirePushedAuthorizationRequests bool `json:"require_pushed_authorization_requests"`
	ClientIDMetadataDocumentSupported  bool `json:"client_id_metadata_document_supported"`

	TokenEndpointAuthSigningAlgValuesSupported []string  `json:"token_endpoint_auth_signing_alg_values_supported"`
	DPoPSigningAlgValuesSupported              []string  `json:"dpop_signing_alg_values_supported"`
	TLSClientCertificateBoundAccessTokens      bool      `json:"tls_client_certificate_bound_access_tokens"`
	MTLSEndpointAliases                        Endpoints `json:"mtls_endpoint_aliases"`

	SignedMetadata string `json:"-"`
}

// AuthServer reads the metadata of an authorization server. The document must name exactly this
// issuer (RFC 8414 §3.3), and every endpoint in it must be an https URL.
//
// The error is a *NotFoundError, *UnavailableError, *MismatchError or *InvalidError, or wraps what
// made a request fail.
func (c *Client) AuthServer(ctx context.Context, issuer string) (*AuthServer, error) {
	id, err := c.checkIssuer(issuer)
	if err != nil {
		return nil, &InvalidError{URL: issuer, Reason: "the issuer is not valid: " + err.Error()}
	}
	f := c.cache.get(ctx, key{principal.From(ctx), issuer, true, ""}, c.fresh, func() finding {
		return c.findAuthServer(ctx, issuer, id)
	})
	return f.server, f.err
}

// findAuthServer asks the addresses that may have the metadata.
func (c *Client) findAuthServer(ctx context.Context, issuer string, id identifier) (f finding) {
	var signedLater bool
	var candidates []candidate
	for _, u := range authServerURLs(id) {
		candidates = append(candidates, candidate{u, func(ctx context.Context, c *Client, at string, body []byte) (err error) {
			f.size += len(body)
			f.server, signedLater, err = c.readAuthServer(ctx, at, body, issuer)
			return err
		}})
	}
	f.brief, f.err = c.first(ctx, "authorization server metadata of "+issuer, candidates)
	f.brief = f.brief || signedLater
	return f
}

// readAuthServer reads a document. brief: its signed metadata may be verified soon.
func (c *Client) readAuthServer(ctx context.Context, at string, body []byte, issuer string) (s *AuthServer, brief bool, err error) {
	members, err := parseObject(at, body)
	if err != nil {
		return nil, false, err
	}
	var plain struct {
		Issuer string `json:"issuer"`
	}
	if err := members.decode(at, &plain); err != nil {
		return nil, false, err
	}
	if plain.Issuer == "" {
		return nil, false, absent("the document has no issuer")
	}
	if plain.Issuer != issuer {
		return nil, false, &MismatchError{URL: at, Member: "issuer", Got: plain.Issuer, Want: issuer}
	}
	status, brief, err := c.verify(ctx, at, members, issuer)
	if err != nil {
		return nil, false, err
	}
	members.optional("scopes_supported", new([]string))
	members.optional("token_endpoint_auth_signing_alg_values_supported", new([]string))
	members.optional("dpop_signing_alg_values_supported", new([]string))
	members.optional("mtls_endpoint_aliases", new(object)) // an empty one is [] where PHP wrote it
	var doc authServerDocument
	if err := members.decode(at, &doc); err != nil {
		return nil, false, err
	}
	if doc.Issuer != issuer { // signed, it is another
		return nil, false, &MismatchError{URL: at, Member: "issuer", Got: doc.Issuer, Want: issuer}
	}
	if err := c.checkEndpoints(at, &doc); err != nil {
		return nil, false, err
	}
	switch {
	case doc.TokenEndpoint == "":
		return nil, brief, absent("the document has no token_endpoint")
	case doc.AuthorizationEndpoint == "" && !doc.doesWithoutAuthorization():
		return nil, brief, absent("the document has no authorization_endpoint")
	}
	found := AuthServer(doc)
	found.URL = at
	found.SignedMetadata = status
	// Not limited like those of a resource: they are looked up here, not asked for.
	found.ScopesSupported = scopes(doc.ScopesSupported, math.MaxInt)
	return &found, brief, nil
}

func (c *Client) checkEndpoints(at string, doc *authServerDocument) error {
	server := AuthServer(*doc)
	all := server.Endpoints()
	if doc.AuthorizationEndpoint != "" {
		all = append(all, NamedEndpoint{"authorization_endpoint", doc.AuthorizationEndpoint})
	}
	for _, e := range all {
		if _, err := c.checkURL(e.URL); err != nil {
			return &InvalidError{URL: at, Reason: fmt.Sprintf("%s is not valid: %v", e.Member, err)}
		}
	}
	return nil
}

// doesWithoutAuthorization reports whether there is a grant that has no authorization request. A
// server that lists no grants has the authorization code (RFC 8414 §2).
func (doc *authServerDocument) doesWithoutAuthorization() bool {
	return doc.DeviceAuthorizationEndpoint != "" ||
		slices.Contains(doc.GrantTypesSupported, "urn:ietf:params:oauth:grant-type:device_code") ||
		slices.Contains(doc.GrantTypesSupported, "client_credentials")
}
