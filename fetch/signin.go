package fetch

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/render"
)

// fewLetters is how little text a page has that is nothing but a form.
const fewLetters = 400

// SignIn reports whether the page is one to sign in at, given in place of the page that was asked
// for by a site that sends no challenge. It goes by signs, so it can err: a page that holds a
// password field beside much else, and says nothing of signing in, is taken for a page.
func (p *Page) SignIn() bool {
	if p.Status >= 400 {
		return false
	}
	if len(p.Redirects) == 0 && signInPath(p.URL) { // it is what was asked for
		return false
	}
	if leadsToProvider(p.URL, p.Redirects) && !sameOrigin(p.URL, p.FinalURL) {
		return true
	}
	signs := render.FindSignIn(p.Body, p.ContentType)
	if signs.Forwards {
		return true
	}
	return signs.Password && (len(p.Redirects) > 0 && signInPath(p.FinalURL) ||
		signInWords.MatchString(signs.About) || signs.Letters < fewLetters)
}

// SignIn reports whether the redirect leads to an identity provider: the credential that the
// request carried was not what the site wants.
func (e *RedirectError) SignIn() bool {
	return e.Reason == CrossOrigin && e.To != nil && (isProvider(e.To) || signInPath(e.To))
}

// leadsToProvider reports whether one of the redirects is a request to an identity provider.
func leadsToProvider(from *url.URL, redirects []string) bool {
	for _, raw := range redirects {
		if u, err := url.Parse(raw); err == nil && !sameOrigin(from, u) && isProvider(u) {
			return true
		}
	}
	return false
}

// isProvider recognises a request to sign in by what standards have in it: OAuth and OpenID Connect
// (RFC 6749 §4.1.1), SAML 2.0 (bindings §3.4), WS-Federation (§13.2.1), CAS (§2.1); and by the path
// that Cloudflare Access documents.
func isProvider(u *url.URL) bool {
	q := u.Query()
	switch {
	case q.Has("client_id") && (q.Has("response_type") || q.Has("redirect_uri")), q.Has("client_id") && q.Has("request_uri"):
		return true
	case q.Has("SAMLRequest"), strings.HasPrefix(q.Get("wa"), "wsignin"):
		return true
	case q.Has("service") && signInPath(u):
		return true
	}
	return strings.HasPrefix(u.Path, "/cdn-cgi/access/login/")
}

var (
	signInSegment = regexp.MustCompile(`(?i)^(log|sign)[-_.]?(in|on)(\.[a-z]{2,5})?$|^(sso|saml2?|oidc|oauth2?|users?[-_]sign[-_]in|authenticate|authorize|auth|account[-_]?login|wp-login\.php)$`)
	signInWords   = regexp.MustCompile(`\b(log|sign)[ -]?(in|on)\b|\banmeld(en|ung)\b|\beinloggen\b|\bse connecter\b|\bconnexion\b|\biniciar sesi[oó]n\b|\bacceder\b|\baccedi\b|\bfazer login\b|\binloggen\b|\baanmelden\b|\blogga in\b|\blog(g)? ind?\b|\bkirjaudu\b|\bzaloguj\b|\bpřihlásit\b|giriş|вход|войти|увійти|登录|登入|登錄|ログイン|サインイン|로그인`)
)

// signInPath reports whether the last segments of a path say that one signs in there.
func signInPath(u *url.URL) bool {
	segments := strings.Split(strings.Trim(u.Path, "/"), "/")
	for i := len(segments) - 1; i >= 0 && i >= len(segments)-2; i-- {
		if signInSegment.MatchString(segments[i]) {
			return true
		}
	}
	return false
}
