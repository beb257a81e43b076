package discovery

import (
	"context"
	"net/url"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// Resource is validated protected resource metadata (RFC 9728 §2).
type Resource struct {
	URL                                   string   // where it was read
	Resource                              string   // verbatim
	AuthorizationServers                  []string // issuers, verbatim; those that cannot be used are left out, so there may be none
	ScopesSupported                       []string
	Name                                  string // resource_name, remote text
	DPoPBoundAccessTokensRequired         bool
	TLSClientCertificateBoundAccessTokens bool
	DPoPSigningAlgValuesSupported         []string
	SignedMetadata                        string // RFC 9728 §2.2, as in [AuthServer]
}

// resourceDocument is what is read of the JSON, in the order of Resource.
type resourceDocument struct {
	URL                                   string   `json:"-"`
	Resource                              string   `json:"resource"`
	AuthorizationServers                  []string `json:"authorization_servers"`
	ScopesSupported                       []string `json:"scopes_supported"`
	Name                                  string   `json:"resource_name"`
	DPoPBoundAccessTokensRequired         bool     `json:"dpop_bound_access_tokens_required"`
	TLSClientCertificateBoundAccessTokens bool     `json:"tls_client_certificate_bound_access_tokens"`
	DPoPSigningAlgValuesSupported         []string `json:"dpop_signing_alg_values_supported"`
	SignedMetadata                        string   `json:"-"`
}

// Resource reads the metadata of the resource that a page belongs to. If the page's challenge
// advertised a URL of the page's own origin, only that is asked; otherwise ("" or a URL that cannot
// be used) the well-known addresses of the page's path and of its origin are.
//
// An advertised document must name a resource of the page's origin whose path leads to the page in
// whole segments. RFC 9728 §3.3 asks for the URL of the request itself, which no document can name
// that serves more than one page. A document at a well-known address must name what the address
// was made from.
//
// The error is a *NotFoundError, *UnavailableError, *MismatchError, *InvalidError or *origin.Error,
// or wraps what made a request fail.
func (c *Client) Resource(ctx context.Context, page *url.URL, advertised string) (*Resource, error) {
	id, err := identify(page)
	if err != nil {
		return nil, err
	}
	plain := id
	plain.query = "" // it may hold secrets, and errors are shown
	if id.origin.Scheme() != "https" && !c.allowHTTP(id.origin) {
		return nil, &InvalidError{URL: plain.String(), Reason: "plain http is not allowed for this origin"}
	}
	if !c.isUsable(advertised, id.origin) {
		advertised = ""
	}
	f := c.cache.get(ctx, key{principal.From(ctx), plain.String(), false, advertised}, c.fresh, func() finding {
		return c.findResource(ctx, id, plain, advertised)
	})
	return f.resource, f.err
}

// findResource asks the addresses that may have the metadata. plain is the page without its query.
func (c *Client) findResource(ctx context.Context, page, plain identifier, advertised string) (f finding) {
	var signedLater bool
	var candidates []candidate
	add := func(u string, want identifier, matches func(resource identifier) bool) {
		candidates = append(candidates, candidate{u, func(ctx context.Context, c *Client, at string, body []byte) (err error) {
			f.size += len(body)
			f.resource, signedLater, err = c.readResource(ctx, at, body, want, matches)
			return err
		}})
	}
	if advertised != "" {
		add(advertised, plain, func(resource identifier) bool { return resource.covers(page) })
	} else {
		for _, want := range resourceIdentifiers(page) {
			add(resourceURL(want), want, func(resource identifier) bool { return resource == want })
		}
	}
	f.brief, f.err = c.first(ctx, "protected resource metadata of "+plain.String(), candidates)
	f.brief = f.brief || signedLater
	return f
}

// isUsable reports whether an advertised URL may be asked about a page of this origin. Anywhere
// else it could be anybody's document.
func (c *Client) isUsable(advertised string, page origin.Origin) bool {
	u, err := c.checkURL(advertised)
	if err != nil {
		return false
	}
	o, err := origin.Of(u)
	return err == nil && o == page
}

// readResource reads a document. brief: its signed metadata may be verified soon.
func (c *Client) readResource(ctx context.Context, at string, body []byte, want identifier, matches func(resource identifier) bool) (r *Resource, brief bool, err error) {
	members, err := parseObject(at, body)
	if err != nil {
		return nil, false, err
	}
	var plain struct {
		Resource string `json:"resource"`
	}
	if err := members.decode(at, &plain); err != nil {
		return nil, false, err
	}
	if plain.Resource == "" {
		return nil, false, absent("the document has no resource")
	}
	if id, err := c.checkResource(plain.Resource); err != nil || !matches(id) {
		return nil, false, &MismatchError{URL: at, Member: "resource", Got: plain.Resource, Want: want.String()}
	}
	status, brief, err := c.verify(ctx, at, members, plain.Resource)
	if err != nil {
		return nil, false, err
	}
	members.optional("resource_name", new(string))
	members.optional("scopes_supported", new([]string))
	members.optional("dpop_signing_alg_values_supported", new([]string))
	var doc resourceDocument
	if err := members.decode(at, &doc); err != nil {
		return nil, false, err
	}
	if doc.Resource != plain.Resource { // signed, it is another
		return nil, false, &MismatchError{URL: at, Member: "resource", Got: doc.Resource, Want: plain.Resource}
	}
	found := Resource(doc)
	found.URL = at
	found.SignedMetadata = status
	found.ScopesSupported = scopes(doc.ScopesSupported, MaxResourceScopes)
	found.AuthorizationServers = nil
	for _, issuer := range doc.AuthorizationServers {
		if len(found.AuthorizationServers) == MaxAuthorizationServers {
			break
		}
		if _, err := c.checkIssuer(issuer); err == nil && !slices.Contains(found.AuthorizationServers, issuer) {
			found.AuthorizationServers = append(found.AuthorizationServers, issuer)
		}
	}
	return &found, brief, nil
}

// checkResource reads a resource identifier (RFC 9728 §1.2).
func (c *Client) checkResource(raw string) (identifier, error) {
	u, err := c.checkURL(raw)
	if err != nil {
		return identifier{}, err
	}
	return identify(u)
}
