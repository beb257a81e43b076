package fetch

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// minEcho is the shortest secret that is looked for: shorter ones stand in pages by chance.
const minEcho = 8

// echoes replaces our own secrets where an answer repeats them, as [secret.Conceal] does. It
// keeps an honest mirror (a debug page, an error that quotes the request) from showing them to a
// model; a site that wants to leak what it was given can always encode it.
type echoes []secret.Text

func newEchoes(secrets []secret.Text) echoes {
	return slices.DeleteFunc(slices.Clone(secrets), func(s secret.Text) bool { return len(s.Reveal()) < minEcho })
}

func (e echoes) clear(body []byte) []byte {
	if len(e) == 0 {
		return body
	}
	return []byte(e.clearText(string(body)))
}

func (e echoes) clearText(s string) string { return secret.Conceal(s, e...) }

// clearHeader does the same for what else the answer says: headers are shown, and quoted in errors.
func (e echoes) clearHeader(resp *http.Response) {
	resp.Status = e.clearText(resp.Status)
	for _, values := range resp.Header {
		for i, v := range values {
			values[i] = e.clearText(v)
		}
	}
}

// clearURL does the same for a URL that is shown: a site that redirects chooses it.
func (e echoes) clearURL(u *url.URL) *url.URL {
	if u == nil {
		return nil
	}
	text := u.String()
	cleared := e.clearText(text)
	if cleared == text {
		return u
	}
	shown, err := url.Parse(cleared)
	if err != nil { // it stood where a URL has no room for other text
		return &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	return shown
}
