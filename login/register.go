package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// registration is a client registration request (RFC 7591 §2). It asks for no scope: servers
// that know scopes per client would otherwise narrow what later logins may ask for.
type registration struct {
	ClientName              string   `json:"client_name"`
	ApplicationType         string   `json:"application_type"`
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`

	DPoPBound        bool `json:"dpop_bound_access_tokens,omitzero"`                   // RFC 9449 §5.2
	CertificateBound bool `json:"tls_client_certificate_bound_access_tokens,omitzero"` // RFC 8705 §3.4
}

// ClientMetadata is the document to serve at at, for servers that know clients by the URL of their
// metadata (draft-ietf-oauth-client-id-metadata-document §4). It holds no secret and no key.
func ClientMetadata(at string) ([]byte, error) {
	m := registration{
		ClientName: clientName, ApplicationType: "native",
		GrantTypes: []string{"authorization_code", "refresh_token", deviceGrant}, ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: "none",
	}
	for _, host := range loopbackHosts { // without a port: any (RFC 8252 §7.3)
		m.RedirectURIs = append(m.RedirectURIs, atHost(callback, host))
	}
	return json.Marshal(struct {
		ClientID string `json:"client_id"`
		registration
	}{at, m}, jsontext.WithIndent("  "))
}

const clientName = "mcp-authfetch"

// register gets a client of our own at the server (RFC 7591 §3).
func (f *Flows) register(ctx context.Context, req Request, redirectURI string) (*tokenstore.Client, error) {
	if req.Server.RegistrationEndpoint == "" {
		return nil, f.canGetClient(req)
	}
	method, err := registrationMethod(req.Server.TokenEndpointAuthMethodsSupported)
	if err != nil {
		return nil, &UnsupportedError{Issuer: req.Server.Issuer, What: "a client authentication method that we support", Remedy: "register a client there and put it under issuers in the config"}
	}
	wanted := registration{
		ClientName: clientName, ApplicationType: "native", RedirectURIs: redirectURIs(redirectURI),
		GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: method,
		// The server then takes no request of this client without a proof, whichever resource it is
		// for: only where the configuration says that all have one.
		DPoPBound:        f.Settings(req.Server.Issuer).DPoP == "always",
		CertificateBound: req.CertificateBound,
	}
	if req.Server.DeviceAuthorizationEndpoint != "" {
		wanted.GrantTypes = append(wanted.GrantTypes, deviceGrant)
	}
	reg, err := f.askRegistration(ctx, req, wanted)
	if refusesMetadata(err) { // some take one redirect URI only, or none with an IPv6 address
		wanted.RedirectURIs = []string{redirectURI}
		reg, err = f.askRegistration(ctx, req, wanted)
	}
	if err != nil {
		return nil, err
	}
	reg.Principal, reg.Issuer, reg.RegisteredAt = req.Principal, req.Server.Issuer, time.Now()
	reg.RedirectURIs, reg.GrantTypes = wanted.RedirectURIs, wanted.GrantTypes
	return reg, nil
}

func (f *Flows) askRegistration(ctx context.Context, req Request, wanted registration) (*tokenstore.Client, error) {
	issuer, endpoint := req.Server.Issuer, req.Server.RegistrationEndpoint
	body, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	to := call{principal: req.Principal, issuer: issuer, endpoint: endpoint}
	r, err := f.send(ctx, to, http.Header{"Content-Type": {"application/json"}}, string(body))
	if err != nil {
		return nil, err
	}
	// 201 is the standard's; servers that answer 200 are common.
	if r.status != http.StatusCreated && r.status != http.StatusOK {
		return nil, to.fail(r)
	}
	reg, err := parseRegistration(r.body, wanted.TokenEndpointAuthMethod, issuer, endpoint)
	if err != nil {
		return nil, &TokenError{Endpoint: shownEndpoint(endpoint), Status: r.status, Reason: err.Error()}
	}
	return reg, nil
}

// refusesMetadata: the server wants other metadata (RFC 7591 §3.2.2).
func refusesMetadata(err error) bool {
	var e *TokenError
	return errors.As(err, &e) && (e.ErrorCode == "invalid_redirect_uri" || e.ErrorCode == "invalid_client_metadata")
}

// registeredMethods are the methods that a client of our own may have, the best for us first.
var registeredMethods = methods[:3]

// registrationMethod: a native app keeps no secret (RFC 8252 §8.5); where the server insists, the
// secret it gives is used as it wants. No list means client_secret_basic (RFC 8414 §2).
func registrationMethod(supported []string) (string, error) {
	if len(supported) == 0 {
		return "none", nil // what the server gives back decides
	}
	for _, m := range registeredMethods {
		if slices.Contains(supported, m) {
			return m, nil
		}
	}
	return "", errors.New("none of " + strings.Join(supported, ", ") + " is supported")
}

// maxField bounds what is kept of a registration.
const maxField = 2048

// parseRegistration reads a client information response (RFC 7591 §3.2.1) of a server that was asked
// at endpoint for a client with the authentication method asked.
func parseRegistration(answer []byte, asked, issuer, endpoint string) (*tokenstore.Client, error) {
	var a struct {
		ClientID     string         `json:"client_id"`
		ClientSecret string         `json:"client_secret"`
		SecretExpiry jsontext.Value `json:"client_secret_expires_at"`
		AuthMethod   string         `json:"token_endpoint_auth_method"`
		AccessToken  string         `json:"registration_access_token"`
		ClientURI    string         `json:"registration_client_uri"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, errors.New("the answer is not a valid JSON object")
	}
	if !usableToken(a.ClientID) || len(a.ClientID) > maxField {
		return nil, errors.New("the client_id is missing or unusable")
	}
	reg := &tokenstore.Client{ClientID: a.ClientID, ClientSecret: secret.New(a.ClientSecret), AuthMethod: a.AuthMethod}
	// A stranger's server must not fill the store.
	if len(a.ClientSecret) > maxField || len(a.AccessToken) > maxField || len(a.ClientURI) > maxField {
		return nil, errors.New("a member of it is longer than 2 KiB")
	}
	switch {
	case a.ClientSecret == "":
		reg.AuthMethod = "none" // whatever it says: there is nothing to authenticate with
	case reg.AuthMethod == "" && asked == "none":
		reg.AuthMethod = "client_secret_basic"
	case reg.AuthMethod == "":
		reg.AuthMethod = asked
	}
	if !slices.Contains(registeredMethods, reg.AuthMethod) {
		return nil, errors.New("its token_endpoint_auth_method is not one that was asked for")
	}
	// Seconds since 1970; 0 is never (RFC 7591 §3.2.1).
	if at := number(a.SecretExpiry); at > 0 && at < 1<<40 && a.ClientSecret != "" {
		reg.SecretExpiry = time.Unix(int64(at), 0)
	}
	if usableToken(a.AccessToken) && isManagement(a.ClientURI, issuer, endpoint) {
		reg.RegistrationAccessToken, reg.RegistrationClientURI = secret.New(a.AccessToken), a.ClientURI
	}
	return reg, nil
}

// isManagement reports whether a server may name uri as the place to manage a registration
// (RFC 7592 §3): at its own origin or that of its registration endpoint. A stranger's server must
// not make us send anything elsewhere; without such a place the registration just stays there.
func isManagement(uri, issuer, endpoint string) bool {
	at, ok := managementOrigin(uri)
	if !ok {
		return false
	}
	return slices.ContainsFunc([]string{issuer, endpoint}, func(of string) bool {
		own, err := origin.OfURL(of)
		return err == nil && own == at
	})
}

// managementOrigin is where uri leads to: over https, or within this machine.
func managementOrigin(uri string) (origin.Origin, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Fragment != "" {
		return origin.Origin{}, false
	}
	o, err := origin.Of(u)
	if err != nil || o.Scheme() != "https" && !o.IsLoopback() {
		return origin.Origin{}, false
	}
	return o, true
}
