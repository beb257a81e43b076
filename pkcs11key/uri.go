package pkcs11key

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

const scheme = "pkcs11:"

// maxURI bounds the work; what PKCS #11 calls things has some hundred bytes together.
const maxURI = 4096

// What RFC 7512 §2.3 allows in values unencoded, beside letters, digits and "-._~".
const inPath, inQuery = ":[]@!$'()*+,=&", ":[]@!$'()*+,=/?|"

// The attributes of RFC 7512 §2.3.
var (
	tokenAttributes = []string{
		"token", "manufacturer", "serial", "model",
		"library-manufacturer", "library-version", "library-description",
		"slot-manufacturer", "slot-description", "slot-id",
	}
	objectAttributes = []string{"object", "id", "type"}
	queryAttributes  = []string{"module-path", "module-name", "pin-source"}
)

// uri is a URI of RFC 7512 that names a private key.
type uri struct {
	path  map[string]string // decoded; an absent attribute fits everything, an empty one what is empty
	query map[string]string // decoded, without those that nobody knows
}

// parse refuses what it does not understand, and never repeats a value.
func parse(s string) (*uri, error) {
	if len(s) > maxURI {
		return nil, bad("is longer than %d bytes", maxURI)
	}
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return nil, bad("does not begin with %q", scheme)
	}
	s = s[len(scheme):]
	if hasPIN(s) {
		return nil, fault(pinInURI, nil)
	}
	path, query, _ := strings.Cut(s, "?")
	u := &uri{path: map[string]string{}, query: map[string]string{}}
	if path != "" {
		for _, text := range strings.Split(path, ";") {
			if err := u.addPath(text); err != nil {
				return nil, err
			}
		}
	}
	if query != "" {
		for _, text := range strings.Split(query, "&") {
			if err := u.addQuery(text); err != nil {
				return nil, err
			}
		}
	}
	return u, u.check()
}

// hasPIN looks wherever an attribute could begin, so that a misplaced one is found too: before
// anything else is said, lest a part of a PIN be taken for a name. x-pin-value is of older drafts.
func hasPIN(s string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(";&?#", r) }), func(text string) bool {
		name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), "=")
		name = strings.TrimSpace(name)
		return name == "pin-value" || name == "x-pin-value"
	})
}

// addPath refuses unknown attributes: RFC 7512 §2.5 wants a URI with one to find nothing.
func (u *uri) addPath(text string) error {
	name, value, err := split(text)
	switch {
	case err != nil:
		return err
	case slices.Contains(queryAttributes, name):
		return bad("has %s before the ?, where it does not belong", name)
	case !slices.Contains(tokenAttributes, name) && !slices.Contains(objectAttributes, name):
		return bad("has the attribute %s, which is not known", sanitize.Quote(name))
	}
	return add(u.path, name, value, inPath)
}

// addQuery ignores unknown attributes, as RFC 7512 §2.5 wants it. Those of the path it refuses:
// without them the URI would fit more than was meant.
func (u *uri) addQuery(text string) error {
	name, value, err := split(text)
	switch {
	case err != nil:
		return err
	case slices.Contains(tokenAttributes, name) || slices.Contains(objectAttributes, name):
		return bad("has %s after the ?, where it does not belong", name)
	case !slices.Contains(queryAttributes, name):
		_, err := decode("an attribute", value, inQuery)
		return err
	}
	return add(u.query, name, value, inQuery)
}

// split does not repeat the text when it is no attribute: it might be anything.
func split(text string) (name, value string, err error) {
	if text == "" {
		return "", "", bad("has an empty attribute; is there one separator too many?")
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return "", "", bad("has an attribute without a value")
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r != '-' && r != '_' && !alphanumeric(r) }) {
		return "", "", bad("has an attribute whose name is not of letters, digits, - and _")
	}
	return name, value, nil
}

// add refuses attributes that stand twice (RFC 7512 §2.3).
func add(to map[string]string, name, value, allowed string) error {
	if _, twice := to[name]; twice {
		return bad("has %s twice", name)
	}
	decoded, err := decode(name, value, allowed)
	if err != nil {
		return err
	}
	if name != "id" && !utf8.ValidString(decoded) {
		return bad("has in %s what is not UTF-8", name)
	}
	to[name] = decoded
	return nil
}

// decode undoes percent-encoding (RFC 3986 §2.1).
func decode(name, value, allowed string) (string, error) {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '%':
			if i+2 >= len(value) {
				return "", bad("has in %s a %% without two hexadecimal digits", name)
			}
			b, err := hex.DecodeString(value[i+1 : i+3])
			if err != nil {
				return "", bad("has in %s a %% without two hexadecimal digits", name)
			}
			out = append(out, b[0])
			i += 2
		case alphanumeric(rune(c)) || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(allowed, c) >= 0:
			out = append(out, c)
		default:
			return "", bad("has in %s a character that must be percent-encoded, as a space must be written %%20", name)
		}
	}
	return string(out), nil
}

// check looks at values that have a form of their own.
func (u *uri) check() error {
	if t, ok := u.path["type"]; ok && t != "private" {
		switch t {
		case "cert":
			return bad("names a certificate (type=cert), but must name the private key, by which its certificates are found: leave type out")
		case "public", "secret-key", "data":
			return bad("has type=%s, but must name a private key: leave type out", t)
		}
		return bad("has a type that RFC 7512 does not know")
	}
	if s, ok := u.path["slot-id"]; ok {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return bad("has a slot-id that is not a number")
		}
		u.path["slot-id"] = strconv.FormatUint(n, 10)
	}
	if s, ok := u.path["library-version"]; ok {
		// RFC 7512 §2.3: without its second number, that is 0.
		major, minor, dotted := strings.Cut(s, ".")
		if !dotted {
			minor = "0"
		}
		a, errA := strconv.ParseUint(major, 10, 8)
		b, errB := strconv.ParseUint(minor, 10, 8)
		if errA != nil || errB != nil {
			return bad("has a library-version that is not of one or two numbers")
		}
		u.path["library-version"] = fmt.Sprintf("%d.%d", a, b)
	}
	return nil
}

// fits reports whether what a token is (by attribute) is what the URI asks for.
func (u *uri) fits(token map[string]string) bool {
	for _, name := range tokenAttributes {
		if want, ok := u.path[name]; ok && want != token[name] {
			return false
		}
	}
	return true
}

// fitsKey does so for a key.
func (u *uri) fitsKey(label, id string) bool {
	wantLabel, hasLabel := u.path["object"]
	wantID, hasID := u.path["id"]
	return (!hasLabel || wantLabel == label) && (!hasID || wantID == id)
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func bad(format string, args ...any) *Error {
	return fault(badURI, nil, "why", fmt.Sprintf(format, args...))
}
