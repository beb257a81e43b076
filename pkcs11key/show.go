package pkcs11key

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// String is the URI without its query, for messages.
func (u *uri) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(u.path)) {
		parts = append(parts, name+"="+encode(name, u.path[name]))
	}
	return sanitize.Line(scheme+strings.Join(parts, ";"), 300)
}

// Redact returns what of a pkcs11: URI, which need not be a right one, may be shown: the known
// attributes that say which token and key are meant.
func Redact(s string) string {
	if len(s) > maxURI || len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) || hasPIN(s[len(scheme):]) {
		return scheme + "…"
	}
	path, _, _ := strings.Cut(s[len(scheme):], "?")
	var parts []string
	for _, text := range strings.Split(path, ";") {
		name, value, _ := strings.Cut(text, "=")
		if !slices.Contains(tokenAttributes, name) && !slices.Contains(objectAttributes, name) {
			continue
		}
		if decoded, err := decode(name, value, inPath); err == nil {
			parts = append(parts, name+"="+encode(name, decoded))
		}
	}
	return sanitize.Line(scheme+strings.Join(parts, ";"), 300)
}

// encode writes a value as it may stand in a URI; of an id, every byte is encoded.
func encode(name, value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if c := value[i]; name != "id" && (alphanumeric(rune(c)) || strings.IndexByte("-._~", c) >= 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
