package discovery

import (
	"context"
	"fmt"
	"math"
	"slices"
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
	JWKSURI                            string

	ScopesSupported                   []string
	ResponseTypesSupported            []string
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
	TokenEndpoint                      string
	DeviceAuthorizationEndpoint        string
	RegistrationEndpoint               string
	RevocationEndpoint                 string
	PushedAuthorizationRequestEndpoint string
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
	JWKSURI                            string `json:"jwks_uri"`

	ScopesSupported                   []string `json:"scopes_supported"`
	ResponseTypesSupported            []string `json:"response_types_supported"`
	GrantTypesSupported               []string `json:"grant_types_supported"`
	CodeChallengeMethodsSupported     []string `json:"code_challenge_methods_supported"`
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported"`

	IssParameterSupported              bool `json:"authorization_response_iss_parameter_supported"`
	RequirePushedAuthorizationRequests bool `json:"require_pushed_authorization_requests"`
	ClientIDMetadataDocumentSupported  bool `json:"client_id_metadata_document_supported"`

	TokenEndpointAuthSigningAlgValuesSupported []string  `json:"token_endpoint_auth_signing_alg_values_supported"`
	DPoPSigningAlgValuesSupported              []string  `json:"dpop_signing_alg_values_supported"`
	TLSClientCertificateBoundAccessTokens      bool      `json:"tls_client_certificate_bound_access_tokens"`
	MTLSEndpointAliases                        Endpoints `json:"-"`

	SignedMetadata string `json:"-"`
}

// AuthServer reads the metadata of an authorization server. The document must name exactly this
// issuer (RFC 8414 §3.3), and every endpoint in it must be an https URL.
//
// The error is a *NotFoundError, *MismatchError or *InvalidError, or wraps what made a request fail.
func (c *Client) AuthServer(ctx context.Context, issuer string) (*AuthServer, error) {
	id, err := c.checkIssuer(issuer)
	if err != nil {
		return nil, &InvalidError{URL: issuer, Reason: "the issuer is not valid: " + err.Error()}
	}
	var found *AuthServer
	var candidates []candidate
	for _, u := range authServerURLs(id) {
		candidates = append(candidates, candidate{u, func(at string, body []byte) (err error) {
			found, err = c.readAuthServer(at, body, issuer)
			return err
		}})
	}
	if err := c.first(ctx, "authorization server metadata of "+issuer, candidates); err != nil {
		return nil, err
	}
	return found, nil
}

func (c *Client) readAuthServer(at string, body []byte, issuer string) (*AuthServer, error) {
	var doc authServerDocument
	if err := decode(at, body, &doc); err != nil {
		return nil, err
	}
	if doc.Issuer == "" {
		return nil, absent("the document has no issuer")
	}
	if doc.Issuer != issuer {
		return nil, &MismatchError{URL: at, Member: "issuer", Got: doc.Issuer, Want: issuer}
	}
	if err := c.checkEndpoints(at, &doc); err != nil {
		return nil, err
	}
	switch {
	case doc.TokenEndpoint == "":
		return nil, absent("the document has no token_endpoint")
	case doc.AuthorizationEndpoint == "" && !doc.doesWithoutAuthorization():
		return nil, absent("the document has no authorization_endpoint")
	}
	s := AuthServer(doc)
	s.URL = at
	// Not limited like those of a resource: they are looked up here, not asked for.
	s.ScopesSupported = scopes(doc.ScopesSupported, math.MaxInt)
	return &s, nil
}

func (c *Client) checkEndpoints(at string, doc *authServerDocument) error {
	for _, e := range []struct{ member, url string }{
		{"authorization_endpoint", doc.AuthorizationEndpoint},
		{"token_endpoint", doc.TokenEndpoint},
		{"device_authorization_endpoint", doc.DeviceAuthorizationEndpoint},
		{"registration_endpoint", doc.RegistrationEndpoint},
		{"revocation_endpoint", doc.RevocationEndpoint},
		{"pushed_authorization_request_endpoint", doc.PushedAuthorizationRequestEndpoint},
		{"jwks_uri", doc.JWKSURI},
	} {
		if e.url == "" {
			continue
		}
		if _, err := c.checkURL(e.url); err != nil {
			return &InvalidError{URL: at, Reason: fmt.Sprintf("%s is not valid: %v", e.member, err)}
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
