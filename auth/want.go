package auth

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// want is what a response asks of us.
type want int

const (
	nothing     want = iota
	wantsToken       // there was none, or it was not accepted
	wantsScope       // the token was accepted and does not reach far enough (RFC 6750 §3.1)
	wantsSignIn      // the token was accepted, and the person must sign in anew, or in another way (RFC 9470 §3)
)

// question is what a response asks, and how it says so.
type question struct {
	want       want
	challenges []challenge.Challenge
	said       challenge.Challenge // the OAuth one that counts; zero: there is none
}

// question reads what resp, the answer to a request with tok, asks for: a token where it is a 401
// that does not only speak of other schemes, or a 403 or redirect that says so in a challenge. A
// bare 403 is a no, not a question.
func (t *Transport) question(w *work, resp *http.Response, tok *tokenstore.Token) question {
	status := resp.StatusCode
	if status != http.StatusUnauthorized && status != http.StatusForbidden && (status < 300 || status > 399) {
		return question{}
	}
	q := question{challenges: challenge.Parse(resp.Header.Values("Www-Authenticate"))}
	var isOAuth bool
	q.said, isOAuth = oauth(q.challenges, tok)
	q.said.Params = withoutEchoes(q.said.Params, Secrets(resp))
	q.want = t.wanted(w, resp, tok, q, isOAuth || challenge.ResourceMetadata(q.challenges) != "")
	return q
}

// minEcho: what is shorter, such as the value of a configured header, may well be a scope's name.
const minEcho = 8

// withoutEchoes drops what repeats the secrets that the request carried from the lists of a challenge
// that are shown, and sent to an issuer.
func withoutEchoes(params map[string]string, secrets []secret.Text) map[string]string {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s secret.Text) bool { return len(s.Reveal()) < minEcho })
	if len(secrets) == 0 || len(params) == 0 {
		return params
	}
	clean := maps.Clone(params)
	for _, list := range []string{"scope", "acr_values"} {
		if value, ok := clean[list]; ok {
			kept := slices.DeleteFunc(strings.Fields(value), func(s string) bool { return secret.Conceal(s, secrets...) != s })
			clean[list] = strings.Join(kept, " ")
		}
	}
	return clean
}

func (t *Transport) wanted(w *work, resp *http.Response, tok *tokenstore.Token, q question, isOAuth bool) want {
	code := q.said.Params["error"]
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized && !isOAuth && w.site.Issuer == "" && isGateway(resp, q.challenges):
		return nothing // it would say the same to any token
	case isDPoP(tok) && asksForNonce(resp, tok):
		return nothing // the token is as good as before; the proof was not, twice or for good
	case status == http.StatusUnauthorized && tok != nil && code == "insufficient_user_authentication":
		return wantsSignIn
	case status == http.StatusUnauthorized && (len(q.challenges) == 0 || isOAuth || tok != nil || w.site.Issuer != ""):
		return wantsToken
	case status == http.StatusForbidden && isOAuth && (tok == nil || code == "invalid_token"):
		return wantsToken
	case status == http.StatusForbidden && code == "insufficient_scope" && t.mayStepUp(w, q.said.Scopes(), tok):
		return wantsScope
	case status < 400 && challenge.ResourceMetadata(q.challenges) != "":
		return wantsToken
	}
	return nothing
}

// oauth returns the OAuth challenge that speaks of a request with tok: of several, one with an error
// goes before one without, and one of the token's own scheme before another.
func oauth(cs []challenge.Challenge, tok *tokenstore.Token) (best challenge.Challenge, ok bool) {
	own := "Bearer"
	if isDPoP(tok) {
		own = "DPoP"
	}
	rank := func(c challenge.Challenge) (n int) {
		if c.Params["error"] != "" {
			n += 2
		}
		if c.Is(own) {
			n++
		}
		return n
	}
	best, ok = challenge.OAuth(cs)
	for _, c := range cs {
		if (c.Is("Bearer") || c.Is("DPoP")) && rank(c) > rank(best) {
			best = c
		}
	}
	return best, ok
}

// isGateway reports whether it is a proxy, or Windows integrated authentication, that wants to know
// who we are: what stands before a site, rather than the site.
func isGateway(resp *http.Response, cs []challenge.Challenge) bool {
	if len(cs) == 0 {
		return resp.Header.Get("Proxy-Authenticate") != ""
	}
	return slices.ContainsFunc(cs, isIntegrated)
}
