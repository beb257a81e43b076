package auth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
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
	switch forProxy := challenge.Parse(resp.Header.Values("Proxy-Authenticate")); { // the same grammar (RFC 9110 §11.7.1)
	case resp.StatusCode == http.StatusProxyAuthRequired, resp.StatusCode == http.StatusUnauthorized && len(cs) == 0 && len(forProxy) > 0:
		e.LikeProxy, cs = true, forProxy
	case resp.StatusCode != http.StatusUnauthorized:
		return nil
	}
	_, isOAuth := oauth(cs, nil)
	if !e.LikeProxy && (len(cs) == 0 || isOAuth || challenge.ResourceMetadata(cs) != "") {
		return nil
	}
	e.Schemes = challenge.Names(cs)
	for _, c := range cs {
		if e.Realm == "" {
			// It may repeat what was sent; a cut must not spare a part of that.
			e.Realm = sanitize.Line(secret.Conceal(sanitize.Text(c.Params["realm"]), Secrets(resp)...), 100)
		}
	}
	return e
}

// SchemeError: a site wants a sign-in that is not OAuth.
type SchemeError struct {
	Origin  origin.Origin
	Status  int
	Schemes []string // as of [challenge.Names]
	Realm   string   // sanitized, without what the request carried; what the first scheme with a realm calls the place
	// LikeProxy: it asks as a proxy does (RFC 9110 §11.7). It is none of ours: what the configured
	// proxy wants is an error of package outbound.
	LikeProxy bool
}

func (e *SchemeError) Error() string {
	wants := "a sign-in"
	if len(e.Schemes) > 0 {
		wants += " by " + strings.Join(e.Schemes, " or ")
	}
	if e.Realm != "" {
		wants += " for " + sanitize.Quote(e.Realm)
	}
	if e.LikeProxy {
		return fmt.Sprintf("%s, or a gateway in front of it, answered with status %d as if it were a proxy: it wants %s", e.Origin, e.Status, wants)
	}
	return fmt.Sprintf("%s answered with status %d: it wants %s, which is not OAuth", e.Origin, e.Status, wants)
}

// Code is the stable machine code of this error.
func (e *SchemeError) Code() string { return fmt.Sprintf("http_%d", e.Status) }

// Hint says what to do.
func (e *SchemeError) Hint() string {
	switch {
	case e.LikeProxy:
		return "this is not the proxy of this computer: give no password for it, and ask the operator of the site why it answers so"
	case e.offers("Basic"):
		return `the site asks for a name and password; if you have them, put an Authorization header under sites."` + e.Origin.String() + `".headers in the config`
	case e.offers("Negotiate") || e.offers("NTLM") || e.offers("Kerberos"):
		return "the site, or a gateway before it, asks for a Windows integrated login (Kerberos or NTLM), which is not supported here; ask its operator for OAuth or for a key"
	}
	return `the site asks for a login that is not supported here; if it also takes a key in a header, put that under sites."` + e.Origin.String() + `".headers in the config`
}

func (e *SchemeError) offers(scheme string) bool { return slices.Contains(e.Schemes, scheme) }

// isIntegrated reports whether c is Windows integrated authentication (RFC 4559).
func isIntegrated(c challenge.Challenge) bool {
	return c.Is("Negotiate") || c.Is("NTLM") || c.Is("Kerberos")
}
