package discovery

import (
	"errors"
	"net/url"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

const (
	protectedResource   = "/.well-known/oauth-protected-resource"   // RFC 9728 §3
	authorizationServer = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	openIDConfiguration = "/.well-known/openid-configuration"       // OpenID Connect Discovery §4
)

// identifier is what metadata is about. Two are the same when they are equal: the path "/" is held
// to be no path (RFC 3986 §6.2.3), nothing else is normalised behind the origin.
type identifier struct {
	origin origin.Origin
	path   string // escaped; "" instead of "/"
	query  string // with its question mark
}

func (id identifier) String() string { return id.origin.String() + id.path + id.query }

// identify returns the identifier in a URL, leaving out its fragment.
func identify(u *url.URL) (identifier, error) {
	o, err := origin.Of(u)
	if err != nil {
		return identifier{}, err
	}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	if path != "" {
		path = "/" + path
	}
	query := u.RawQuery
	if query != "" || u.ForceQuery {
		query = "?" + query
	}
	return identifier{o, path, query}, nil
}

// resourceIdentifiers returns what the well-known addresses for a page are made from: the page
// without its query, and its whole origin.
func resourceIdentifiers(page identifier) []identifier {
	root := identifier{origin: page.origin}
	page.query = ""
	// A server resolves dot segments; what they are part of is not the path that is asked for.
	if page == root || climbs(page.path) {
		return []identifier{root}
	}
	return []identifier{page, root}
}

// resourceURL is the well-known address for a resource (RFC 9728 §3.1).
func resourceURL(id identifier) string { return id.origin.String() + protectedResource + id.path }

// authServerURLs returns the well-known addresses for an issuer: RFC 8414 §3.1, the same for
// OpenID Connect (RFC 8414 §5), and OpenID Connect Discovery §4.1. Each wants a slash at the end of
// the issuer removed.
func authServerURLs(issuer identifier) []string {
	base, path := issuer.origin.String(), strings.TrimSuffix(issuer.path, "/")
	urls := []string{base + authorizationServer + path, base + openIDConfiguration + path}
	if path != "" {
		urls = append(urls, base+path+openIDConfiguration)
	}
	return urls
}

// checkURL reads a URL that a stranger wrote and that we would ask: it is https, or http where that
// is allowed.
func (c *Client) checkURL(raw string) (*url.URL, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	if o, err := origin.Of(u); err != nil || o.Scheme() != "https" && !c.allowHTTP(o) {
		return nil, errors.New("it is not https")
	}
	return u, nil
}

// parseURL reads a URL that a stranger wrote. It is absolute, without userinfo, fragment or
// characters that URLs do not have (RFC 3986 §2).
func parseURL(raw string) (*url.URL, error) {
	if len(raw) > MaxURLBytes {
		return nil, errors.New("it is too long")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return nil, errors.New("it has a character that URLs do not have")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("it is no URL")
	}
	_, err = origin.Of(u)
	switch {
	case err != nil:
		return nil, errors.New("it is no absolute https URL")
	case u.User != nil:
		return nil, errors.New("it has a user name or password")
	case strings.Contains(raw, "#"):
		return nil, errors.New("it has a fragment")
	case !isASCII(strings.Replace(raw, u.Host, "", 1)): // a host may be an internationalised name
		return nil, errors.New("it has a character that URLs do not have")
	}
	return u, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// checkIssuer reads an issuer identifier (RFC 8414 §2).
func (c *Client) checkIssuer(raw string) (identifier, error) {
	u, err := c.checkURL(raw)
	switch {
	case err != nil:
		return identifier{}, err
	case strings.Contains(raw, "?"):
		return identifier{}, errors.New("it has a query")
	case climbs(u.EscapedPath()):
		return identifier{}, errors.New("its path has . or .. in it")
	}
	return identify(u)
}
