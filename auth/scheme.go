package auth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Explain says who wants a sign-in that we cannot do: a [*SchemeError] where resp is a 401 or 407
// whose challenges speak of other schemes than OAuth's; nil where there is nothing to say.
func Explain(resp *http.Response) error {
	if resp == nil || resp.Request == nil || resp.Request.URL == nil {
		return nil
	}
	o, err := origin.Of(resp.Request.URL)
	if err != nil {
		return nil
	}
	e := &SchemeError{Origin: o, Status: resp.StatusCode}
	cs := challenge.Parse(resp.Header.Values("Www-Authenticate"))
	switch byProxy := challenge.Parse(resp.Header.Values("Proxy-Authenticate")); { // the same grammar (RFC 9110 §11.7.1)
	case resp.StatusCode == http.StatusProxyAuthRequired, resp.StatusCode == http.StatusUnauthorized && len(cs) == 0 && len(byProxy) > 0:
		e.Proxy, cs = true, byProxy
	case resp.StatusCode != http.StatusUnauthorized:
		return nil
	}
	_, isOAuth := oauth(cs, nil)
	if !e.Proxy && (len(cs) == 0 || isOAuth || challenge.ResourceMetadata(cs) != "") {
		return nil
	}
	for _, c := range cs {
		if scheme := sanitize.Line(c.Scheme, 40); !slices.ContainsFunc(e.Schemes, func(s string) bool { return strings.EqualFold(s, scheme) }) {
			e.Schemes = append(e.Schemes, scheme)
		}
		if e.Realm == "" {
			e.Realm = sanitize.Line(c.Params["realm"], 100)
		}
	}
	return e
}

// SchemeError: a site, or a proxy before it, wants a sign-in that is not OAuth.
type SchemeError struct {
	Origin  origin.Origin
	Status  int
	Schemes []string // sanitized; none where a proxy does not say
	Realm   string   // sanitized; what the first scheme with a realm calls the place
	Proxy   bool     // a proxy asks, not the site
}

func (e *SchemeError) Error() string {
	who, wants := e.Origin.String(), "a sign-in"
	if e.Proxy {
		who = "a proxy on the way to " + who
	}
	if len(e.Schemes) > 0 {
		wants += " by " + strings.Join(e.Schemes, " or ")
	}
	if e.Realm != "" {
		wants += " for " + sanitize.Quote(e.Realm)
	}
	return fmt.Sprintf("%s answered with status %d: it wants %s, which is not OAuth", who, e.Status, wants)
}

// Code is the stable machine code of this error.
func (e *SchemeError) Code() string {
	if e.Proxy {
		return "network.proxy"
	}
	return fmt.Sprintf("http_%d", e.Status)
}

// Hint says what to do.
func (e *SchemeError) Hint() string {
	basic, integrated := e.offers("Basic"), e.integrated()
	switch {
	case e.Proxy && integrated && !basic:
		return "the proxy asks for a Windows integrated login, which is not supported here; ask its operator for another way through, and name that in network.proxy"
	case e.Proxy:
		return "the proxy asks for a name and password; put them into network.proxy in the config, or ask its operator"
	case basic:
		return `the site asks for a name and password; if you have them, put an Authorization header under sites."` + e.Origin.String() + `".headers in the config`
	case integrated:
		return "the site, or a gateway before it, asks for a Windows integrated login (Kerberos or NTLM), which is not supported here; ask its operator for OAuth or for a key"
	}
	return `the site asks for a login that is not supported here; if it also takes a key in a header, put that under sites."` + e.Origin.String() + `".headers in the config`
}

func (e *SchemeError) offers(scheme string) bool {
	return slices.ContainsFunc(e.Schemes, func(s string) bool { return strings.EqualFold(s, scheme) })
}

func (e *SchemeError) integrated() bool {
	return slices.ContainsFunc(e.Schemes, func(s string) bool { return isIntegrated(challenge.Challenge{Scheme: s}) })
}

// isIntegrated reports whether c is Windows integrated authentication (RFC 4559).
func isIntegrated(c challenge.Challenge) bool {
	return c.Is("Negotiate") || c.Is("NTLM") || c.Is("Kerberos")
}
