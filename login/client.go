package login

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// usesMetadataDocument reports whether we identify ourselves by the URL of our metadata document
// (draft-ietf-oauth-client-id-metadata-document): no registration, nothing to forget. All servers
// then share one client and one redirect URI, so that only the iss of an answer tells them apart
// (RFC 9207): one that nobody configured must promise to send it.
func (f *Flows) usesMetadataDocument(req Request) bool {
	return req.Client.ID == "" && f.opts.ClientMetadataURL != "" && req.Server.ClientIDMetadataDocumentSupported &&
		(req.Trusted || req.Server.IssParameterSupported)
}

// canGetClient reports early, before a person is asked, whether there will be a client.
func (f *Flows) canGetClient(req Request) error {
	if req.Client.ID == "" && req.Server.RegistrationEndpoint == "" && !f.usesMetadataDocument(req) {
		return &ClientError{Issuer: req.Server.Issuer, Reason: "none is configured for this site, and the server does not offer dynamic registration"}
	}
	return nil
}

// redirectURI is the one to sign in with, given the one of all sign-ins. Where we register
// ourselves it is the issuer's own: so a code of another issuer, sent back with our state by a
// dishonest one, arrives at the wrong place (mix-up, RFC 9700 §4.4.2). A configured client has been
// registered with the plain one, which is also the one in our metadata document.
func (f *Flows) redirectURI(req Request, all string) string {
	if req.Client.ID != "" || f.usesMetadataDocument(req) {
		return all
	}
	sum := sha256.Sum256([]byte(req.Server.Issuer))
	return all + "/" + hex.EncodeToString(sum[:16])
}

// client returns the client to use: the configured one, else our metadata document, else the stored
// registration, else a new one (RFC 7591). stored reports that it was registered at an earlier login.
func (f *Flows) client(ctx context.Context, req Request, redirectURI string) (c Credentials, stored bool, err error) {
	if req.Client.ID != "" {
		return req.Client, false, nil
	}
	if f.usesMetadataDocument(req) {
		return Credentials{ID: f.opts.ClientMetadataURL, AuthMethod: "none"}, false, nil
	}
	if c, ok := f.registered(ctx, req); ok {
		return c, true, nil
	}
	unlock, err := f.opts.Store.Lock(ctx, "register "+string(req.Principal)+" "+req.Server.Issuer)
	if err != nil {
		return Credentials{}, false, err
	}
	defer unlock()
	if c, ok := f.registered(ctx, req); ok { // another process was faster
		return c, true, nil
	}
	c, err = f.register(ctx, req, redirectURI)
	return c, false, err
}

// registered returns the client that was registered at the issuer earlier.
func (f *Flows) registered(ctx context.Context, req Request) (Credentials, bool) {
	reg, err := tokenstore.GetClient(ctx, f.opts.Store, tokenstore.ClientKey(req.Principal, req.Server.Issuer))
	if err != nil {
		if !errors.Is(err, tokenstore.ErrNotFound) {
			f.opts.Logger.Warn("the stored client registration cannot be read; a new one is made", "error", err)
		}
		return Credentials{}, false
	}
	if !reg.SecretExpiry.IsZero() && time.Until(reg.SecretExpiry) < time.Minute {
		return Credentials{}, false
	}
	return Credentials{ID: reg.ClientID, Secret: reg.ClientSecret, AuthMethod: reg.AuthMethod}, true
}

// forgetRegistration makes the next login register anew: the server did not know the client any more.
func (f *Flows) forgetRegistration(ctx context.Context, p principal.ID, issuer string, c Credentials) {
	key := tokenstore.ClientKey(p, issuer)
	reg, err := tokenstore.GetClient(ctx, f.opts.Store, key)
	if err != nil || reg.ClientID != c.ID {
		return
	}
	if err := f.opts.Store.Delete(ctx, key); err != nil {
		f.opts.Logger.Warn("the stale client registration cannot be removed", "error", err)
	}
}

// registration is a client registration request (RFC 7591 §2). It asks for no scope: servers
// that know scopes per client would otherwise narrow what later logins may ask for.
type registration struct {
	ClientName              string   `json:"client_name"`
	ApplicationType         string   `json:"application_type"`
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
}

// ClientMetadata is the document to serve at at, for servers that know clients by the URL of their
// metadata (draft-ietf-oauth-client-id-metadata-document §4).
func ClientMetadata(at string) ([]byte, error) {
	return json.Marshal(struct {
		ClientID string `json:"client_id"`
		registration
	}{at, registration{
		ClientName: clientName, ApplicationType: "native",
		RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}, // any port (RFC 8252 §7.3)
		GrantTypes:   []string{"authorization_code", "refresh_token", deviceGrant}, ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: "none",
	}}, jsontext.WithIndent("  "))
}

const clientName = "mcp-authfetch"

func (f *Flows) register(ctx context.Context, req Request, redirectURI string) (Credentials, error) {
	endpoint := req.Server.RegistrationEndpoint
	if endpoint == "" {
		return Credentials{}, f.canGetClient(req)
	}
	grants := []string{"authorization_code", "refresh_token"}
	if req.Server.DeviceAuthorizationEndpoint != "" {
		grants = append(grants, deviceGrant)
	}
	method, err := registrationMethod(req.Server.TokenEndpointAuthMethodsSupported)
	if err != nil {
		return Credentials{}, &UnsupportedError{Issuer: req.Server.Issuer, What: "a client authentication method that we support", Remedy: "register a client there and put it under issuers in the config"}
	}
	body, err := json.Marshal(registration{
		ClientName: clientName, ApplicationType: "native", RedirectURIs: []string{redirectURI},
		GrantTypes: grants, ResponseTypes: []string{"code"}, TokenEndpointAuthMethod: method,
	})
	if err != nil {
		return Credentials{}, err
	}
	status, answer, err := f.post(ctx, endpoint, http.Header{"Content-Type": {"application/json"}}, string(body))
	if err != nil {
		return Credentials{}, err
	}
	// 201 is the standard's; servers that answer 200 are common.
	if status != http.StatusCreated && status != http.StatusOK {
		return Credentials{}, parseError(endpoint, status, answer)
	}
	reg, err := parseRegistration(answer, method)
	if err != nil {
		return Credentials{}, &TokenError{Endpoint: shownEndpoint(endpoint), Status: status, Reason: err.Error()}
	}
	reg.Principal, reg.Issuer, reg.RedirectURIs, reg.GrantTypes, reg.RegisteredAt = req.Principal, req.Server.Issuer, []string{redirectURI}, grants, time.Now()
	if err := tokenstore.PutClient(ctx, f.opts.Store, reg); err != nil {
		return Credentials{}, err
	}
	return Credentials{ID: reg.ClientID, Secret: reg.ClientSecret, AuthMethod: reg.AuthMethod}, nil
}

// authMethods are those that postForm knows, the best for us first.
var authMethods = []string{"none", "client_secret_basic", "client_secret_post"}

// registrationMethod: a native app keeps no secret (RFC 8252 §8.5); where the server insists, the
// secret it gives is used as it wants. No list means client_secret_basic (RFC 8414 §2).
func registrationMethod(supported []string) (string, error) {
	if len(supported) == 0 {
		return "none", nil // what the server gives back decides
	}
	for _, m := range authMethods {
		if slices.Contains(supported, m) {
			return m, nil
		}
	}
	return "", errors.New("none of " + strings.Join(supported, ", ") + " is supported")
}

// maxField bounds what is kept of a registration.
const maxField = 2048

func parseRegistration(answer []byte, asked string) (*tokenstore.Client, error) {
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
	reg := &tokenstore.Client{
		ClientID: a.ClientID, ClientSecret: secret.New(a.ClientSecret), AuthMethod: a.AuthMethod,
		RegistrationAccessToken: secret.New(a.AccessToken), RegistrationClientURI: a.ClientURI,
	}
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
	if !slices.Contains(authMethods, reg.AuthMethod) {
		return nil, errors.New("its token_endpoint_auth_method is not one that was asked for")
	}
	// Seconds since 1970; 0 is never (RFC 7591 §3.2.1).
	if at := number(a.SecretExpiry); at > 0 && at < 1<<40 && a.ClientSecret != "" {
		reg.SecretExpiry = time.Unix(int64(at), 0)
	}
	return reg, nil
}
