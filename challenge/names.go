package challenge

import (
	"slices"
	"strings"
)

// OtherScheme stands for every scheme that is not well known.
const OtherScheme = "another scheme"

// wellKnown are the schemes of the IANA HTTP Authentication Scheme Registry, and those that servers
// use besides.
var wellKnown = []string{
	"Basic", "Bearer", "Concealed", "Digest", "DPoP", "GNAP", "HOBA", "Mutual", "Negotiate", "OAuth", "PrivateToken", "SCRAM-SHA-1", "SCRAM-SHA-256", "vapid",
	"AWS4-HMAC-SHA256", "Hawk", "Kerberos", "NTLM",
}

// Names returns the schemes in a form to be shown, each once: the well-known ones as they are
// registered, and [OtherScheme] last for all others, whose names a server can choose to say anything.
func Names(cs []Challenge) (names []string) {
	other := false
	for _, c := range cs {
		i := slices.IndexFunc(wellKnown, func(s string) bool { return strings.EqualFold(s, c.Scheme) })
		switch {
		case i < 0:
			other = true
		case !slices.Contains(names, wellKnown[i]):
			names = append(names, wellKnown[i])
		}
	}
	if other {
		names = append(names, OtherScheme)
	}
	return names
}
