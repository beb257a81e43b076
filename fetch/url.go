package fetch

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

const (
	maxURL = 2048
	// maxLocation is more than maxURL: links signed by storage services are long, and no model
	// has to carry a target that is followed.
	maxLocation = 8192
)

// ParseURL reads an absolute http or https URL of at most 2048 bytes without user name, control
// character, space or backslash. What it returns is canonical: host as [origin.Of] has it, default
// port left out, a path of at least "/" without dot segments, everything else percent-encoded. The
// fragment is kept. Errors are *origin.Error, with the code "invalid_url".
func ParseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, &origin.Error{Input: raw, Reason: "it is longer than " + strconv.Itoa(maxURL) + " bytes"}
	}
	if !utf8.ValidString(raw) {
		return nil, &origin.Error{Input: raw, Reason: "it is not valid UTF-8"}
	}
	if strings.ContainsFunc(raw, unicode.IsSpace) {
		return nil, &origin.Error{Input: raw, Reason: "it contains a space or line break"}
	}
	u, err := parseReference(raw)
	if err != nil {
		return nil, err
	}
	if u, err = canonical(u, u); err != nil {
		return nil, err
	}
	if len(u.String()) > maxURL { // percent-encoding made it longer
		return nil, &origin.Error{Input: raw, Reason: "it is longer than " + strconv.Itoa(maxURL) + " bytes when encoded"}
	}
	return u, nil
}

// parseReference parses a URL or a relative reference and refuses the characters in which
// parsers of URLs disagree about where the host ends.
func parseReference(raw string) (*url.URL, error) {
	if strings.ContainsFunc(raw, unicode.IsControl) {
		return nil, &origin.Error{Input: raw, Reason: "it contains a control character"}
	}
	if strings.Contains(raw, `\`) {
		return nil, &origin.Error{Input: raw, Reason: "it contains a backslash"}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, &origin.Error{Input: raw, Reason: "it cannot be parsed"}
	}
	if u.User != nil {
		return nil, &origin.Error{Input: raw, Reason: "it contains a user name or password"}
	}
	return u, nil
}

// canonical resolves ref against base (RFC 3986 §5.2) and brings the result into canonical form.
func canonical(base, ref *url.URL) (*url.URL, error) {
	u := base.ResolveReference(ref)
	o, err := origin.Of(u)
	if err != nil {
		return nil, err
	}
	u.Scheme = o.Scheme()
	u.Host = strings.TrimPrefix(o.String(), o.Scheme()+"://")
	if u.Path == "" {
		u.Path, u.RawPath = "/", ""
	}
	u.RawQuery = escapeQuery(u.RawQuery)
	return u, nil
}

// escapeQuery percent-encodes what net/url would leave as it is in a query and no server expects
// to see there.
func escapeQuery(query string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func withoutFragment(u *url.URL) *url.URL {
	c := *u
	c.Fragment, c.RawFragment = "", ""
	return &c
}
