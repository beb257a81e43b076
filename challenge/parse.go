package challenge

import (
	"strings"
	"unicode"
)

// parser holds the challenge that the list elements read next belong to. Challenges and their
// parameters are separated by the same comma, so only the next element tells where one ends.
type parser struct {
	kept   []Challenge
	cur    Challenge
	open   bool // cur is being read
	broken bool // cur is being read, and will not be kept
}

// line reads one header line. A challenge never reaches into the next line, so a quote left open
// spoils no other line. Of a line that was cut, the last element is not whole and is left out.
func (p *parser) line(line string, cut bool) {
	for more := true; more; {
		var element string
		element, line, more = cutElement(line)
		if !more && cut {
			break
		}
		p.element(strings.Trim(element, " \t"))
	}
	p.end()
}

// cutElement cuts s around the first comma outside a quoted-string.
func cutElement(s string) (element, rest string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// element reads one list element: nothing, a parameter of the current challenge, or the start of
// the next challenge.
func (p *parser) element(s string) {
	if s == "" {
		return
	}
	name, rest := cutToken(s)
	if name == "" {
		p.broken = true
		return
	}
	if strings.HasPrefix(trimLeft(rest), "=") {
		p.param(s)
		return
	}
	p.end()
	p.open, p.cur.Scheme = true, name
	after := trimLeft(rest)
	switch {
	case rest == "":
	case after == rest: // something other than white space ends the scheme
		p.broken = true
	case isToken68(after):
		p.cur.Token68 = after
	default:
		p.param(after)
	}
}

// param reads name=value into the current challenge. A parameter that no challenge can have,
// being first in its line or behind a token68, is left out.
func (p *parser) param(s string) {
	name, rest := cutToken(s)
	raw, found := strings.CutPrefix(trimLeft(rest), "=")
	value, ok := parseValue(trimLeft(raw))
	if name == "" || !found || !ok {
		p.broken = true
		return
	}
	if !p.open || p.cur.Token68 != "" {
		return
	}
	name = strings.ToLower(name)
	if _, twice := p.cur.Params[name]; twice {
		p.broken = true
		return
	}
	if p.cur.Params == nil {
		p.cur.Params = map[string]string{}
	}
	p.cur.Params[name] = value
}

// end keeps the current challenge, if there is one worth keeping.
func (p *parser) end() {
	if p.open && !p.broken && len(p.kept) < MaxChallenges {
		p.kept = append(p.kept, p.cur)
	}
	p.cur, p.open, p.broken = Challenge{}, false, false
}

// parseValue reads a whole quoted-string, or a token taken generously: visible ASCII, because
// servers forget to quote URLs.
func parseValue(s string) (string, bool) {
	if strings.HasPrefix(s, `"`) {
		return unquote(s[1:])
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return "", false
		}
	}
	return s, true
}

// unquote reads a quoted-string behind its first quote (RFC 9110 §5.6.4); nothing may follow it.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return printable(b.String()), i == len(s)-1
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// isToken68 is RFC 9110 §11.2.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && !strings.ContainsRune("-._~+/", rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// cutToken cuts the token (RFC 9110 §5.6.2) that s starts with.
func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(s[i])) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func trimLeft(s string) string { return strings.TrimLeft(s, " \t") }
