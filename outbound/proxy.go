package outbound

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// Proxy is an HTTP proxy. It is compared by its address: keep one per proxy.
type Proxy struct {
	// At is where it listens. Over https it is itself reached by TLS.
	At origin.Origin
	// Username and Password are for the Basic scheme (RFC 7617). An empty Username: none.
	Username string
	Password secret.Text
	// Material is the client certificate and the roots for an https proxy; it never sees those of
	// an origin. Nil, or a nil result: no client certificate and the system's roots.
	Material func() *tlsmat.Material
	// Setting is how the configuration calls it, such as network.proxy or HTTPS_PROXY.
	Setting string
}

func (p *Proxy) String() string { return "the proxy " + p.At.HostPort() }

// current is the material for the connection to the proxy.
func (p *Proxy) current() *tlsmat.Material {
	if p == nil || p.Material == nil {
		return nil
	}
	return p.Material()
}

func (p *Proxy) setting() string { return cmp.Or(p.Setting, "network.proxy") }

// url is for [http.Transport], which need not know that the proxy is reached by TLS: it is to
// connect by its DialContext.
func (p *Proxy) url() *url.URL {
	u := &url.URL{Scheme: "http", Host: p.At.HostPort()}
	if p.Username != "" {
		u.User = url.UserPassword(p.Username, p.Password.Reveal())
	}
	return u
}

// authorization is the value of Proxy-Authorization (RFC 7617 §2), "" without credentials.
func (p *Proxy) authorization() string {
	if p.Username == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.Username+":"+p.Password.Reveal()))
}

// refused says what an answer of the proxy's own means.
func (p *Proxy) refused(to origin.Origin, resp *http.Response) *Error {
	e := &Error{code: codeProxy}
	status := resp.StatusCode
	switch {
	case status == http.StatusProxyAuthRequired:
		p.wantsCredentials(e, challenge.Parse(resp.Header.Values("Proxy-Authenticate")))
	case status == http.StatusUnauthorized: // what tinyproxy answers to a wrong password
		p.wantsCredentials(e, challenge.Parse(resp.Header.Values("WWW-Authenticate")))
	case status >= 500:
		e.message = fmt.Sprintf("%v could not reach %s: it answered with status %d", p, authority(to), status)
		e.hint = "check the host name and port; the proxy that " + p.setting() + " names may not be able to reach them"
		e.retryable = true
	default:
		e.message = fmt.Sprintf("%v does not let requests through to %s: it answered with status %d", p, authority(to), status)
		e.hint = "ask whoever runs the proxy that " + p.setting() + " names to allow this host and port"
	}
	return e
}

// wantsCredentials explains a 407 (RFC 9110 §15.5.8).
func (p *Proxy) wantsCredentials(e *Error, offered []challenge.Challenge) {
	by := ""
	if names := challenge.Names(offered); len(names) > 0 {
		by = " by " + strings.Join(names, " or ")
	}
	_, basic := challenge.Find(offered, "Basic")
	switch {
	case len(offered) > 0 && !basic:
		e.message = p.String() + " wants credentials" + by + ", which is not supported"
		e.hint = "have the proxy accept Basic credentials or let this computer in without, or set " + p.setting() +
			" to a local proxy that signs in to it"
	case p.Username == "":
		e.message = p.String() + " wants credentials" + by
		e.hint = "set " + p.howToSignIn()
	default:
		e.message = p.String() + " does not accept the configured credentials"
		e.hint = "correct " + p.howToSignIn()
	}
}

// howToSignIn names the settings that hold the credentials.
func (p *Proxy) howToSignIn() string {
	if strings.HasPrefix(p.setting(), "network.") {
		return p.setting() + ".username and " + p.setting() + ".password"
	}
	return "the user name and password in " + p.setting() + " (http://user:password@host:port, special characters percent-encoded)"
}
