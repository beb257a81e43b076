package login

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strconv"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// callback is where browsers come back to, at a loopback address of any port.
const callback = "http://127.0.0.1/callback"

// loopbackHosts are the hosts that a redirect URI may have (RFC 8252 §7.3, §8.3): the code must not
// leave this machine.
var loopbackHosts = []string{"127.0.0.1", "[::1]", "localhost"}

// RedirectURI is the one to register for a client of one's own at issuer, without a port where the
// issuer takes any. port is login.port; it is 0 where that is not set, which is a
// [*RedirectPortError] at an issuer that compares it.
func (f *Flows) RedirectURI(issuer string, port int) (string, error) {
	s := f.Settings(issuer)
	uri := atHost(callback, s.RedirectHost)
	switch {
	case s.RedirectPort != "exact":
		return uri, nil
	case port == 0:
		return "", &RedirectPortError{Issuer: issuer, RedirectURI: withPort(uri, "PORT")}
	}
	return withPort(uri, strconv.Itoa(port)), nil
}

// RedirectPortError says that a client registered beforehand cannot be used with a port that changes.
type RedirectPortError struct {
	Issuer      string
	RedirectURI string // to register, with PORT for the port
}

func (e *RedirectPortError) Error() string {
	return action.ShowIssuer(e.Issuer) + " compares the port of the redirect URI, and login.port is not set"
}

// Code is the stable machine code of this error.
func (e *RedirectPortError) Code() string { return "oauth.redirect_port" }

// Hint says what to do.
func (e *RedirectPortError) Hint() string {
	return "set login.port to a free port of this machine, and register the redirect URI " + e.RedirectURI + " there, with that PORT"
}

// shownRedirectURI is [Flows.RedirectURI] in words, for somebody whose login.port is not known.
func (f *Flows) shownRedirectURI(issuer string) string {
	var compared *RedirectPortError
	uri, err := f.RedirectURI(issuer, 0)
	if errors.As(err, &compared) {
		return compared.RedirectURI + " (PORT is login.port, which must be set)"
	}
	return uri + " (any port)"
}

// redirectURI is the one to sign in with, given the one of all sign-ins. Where we register
// ourselves it is the issuer's own: so a code of another issuer, sent back with our state by a
// dishonest one, arrives at the wrong place (mix-up, RFC 9700 §4.4.2). A configured client has been
// registered with the plain one, which is also the one in our metadata document.
func (f *Flows) redirectURI(req Request, all string) string {
	all = atHost(all, f.Settings(req.Server.Issuer).RedirectHost)
	if req.Client.ID != "" || f.usesMetadataDocument(req) {
		return all
	}
	sum := sha256.Sum256([]byte(req.Server.Issuer))
	return all + "/" + hex.EncodeToString(sum[:16])
}

// redirectURIs are those to register: the needed one first, then its like at both loopback
// addresses, since a server may compare the host (RFC 8252 §7.3).
func redirectURIs(needed string) []string {
	uris := []string{needed}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		if uri := atHost(needed, host); !slices.Contains(uris, uri) {
			uris = append(uris, uri)
		}
	}
	return uris
}

// covers reports whether a login with redirectURI can use the registration: an issuer that
// compares the port wants exactly what was registered. One without a port is of a device login,
// which comes back to nowhere.
func covers(reg *tokenstore.Client, redirectURI string, exact bool) bool {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Port() == "" {
		return true
	}
	return slices.ContainsFunc(reg.RedirectURIs, func(registered string) bool {
		return registered == redirectURI || !exact && withPort(registered, "") == withPort(redirectURI, "")
	})
}

// atHost returns a loopback URI with another loopback host; the port stays.
func atHost(uri, host string) string {
	u, err := url.Parse(uri)
	if err != nil || !slices.Contains(loopbackHosts, host) {
		return uri
	}
	port := u.Port()
	u.Host = host
	return withPort(u.String(), port)
}

// withPort returns a URI with another port, "" for none.
func withPort(uri, port string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	host := u.Host
	if p := u.Port(); p != "" {
		host = host[:len(host)-len(p)-1]
	}
	if port != "" {
		host += ":" + port
	}
	return u.Scheme + "://" + host + u.EscapedPath()
}
