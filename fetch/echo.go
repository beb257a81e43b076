package fetch

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// minEcho is the shortest secret that is looked for: shorter ones stand in pages by chance.
const minEcho = 8

// echoes replaces our own secrets where an answer repeats them, as they are or percent-encoded. It
// keeps an honest mirror (a debug page, an error that quotes the request) from showing them to a
// model; a site that wants to leak what it was given can always encode it.
type echoes [][]byte

func newEchoes(secrets []secret.Text) echoes {
	var e echoes
	for _, s := range secrets {
		plain := s.Reveal()
		if scheme, rest, ok := strings.Cut(plain, " "); ok && !strings.ContainsAny(scheme, ",;=/") {
			plain = rest // "Bearer …", "Basic …": the word before it is no secret
		}
		if len(plain) < minEcho {
			continue
		}
		e = append(e, []byte(plain))
		if q := url.QueryEscape(plain); q != plain {
			e = append(e, []byte(q))
		}
	}
	// A secret may begin with another one.
	slices.SortFunc(e, func(a, b []byte) int { return len(b) - len(a) })
	return e
}

func (e echoes) clear(body []byte) []byte {
	for _, s := range e {
		if bytes.Contains(body, s) {
			body = bytes.ReplaceAll(body, s, []byte(secret.Redacted))
		}
	}
	return body
}

// clearHeader does the same for the headers that are shown or quoted in errors.
func (e echoes) clearHeader(h http.Header) {
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		for i, v := range h[name] {
			h[name][i] = string(e.clear([]byte(v)))
		}
	}
}

// clearURL does the same for a URL that is shown: a site that redirects chooses it.
func (e echoes) clearURL(u *url.URL) *url.URL {
	if u == nil {
		return nil
	}
	text := u.String()
	cleared := string(e.clear([]byte(text)))
	if cleared == text {
		return u
	}
	shown, err := url.Parse(cleared)
	if err != nil { // it stood where a URL has no room for other text
		return &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	return shown
}
