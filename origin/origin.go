// Package origin is the canonical form of a web origin (RFC 6454): scheme, host and port.
// Every decision about who receives a credential compares values of this package, never strings.
package origin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Origin is an http or https origin. The host is lower-case, in IDNA A-label form without a
// trailing dot, or a canonical IP address literal; the port is always set. The zero Origin is
// no origin. Origins are comparable with ==.
type Origin struct {
	scheme string
	host   string
	port   uint16
}

// Error says why a text is not an acceptable origin or URL.
type Error struct {
	Input  string // as given; may hold a userinfo, so it is never printed whole
	Reason string
}

func (e *Error) Error() string { return "invalid URL: " + e.Reason }

// Code is the stable machine code of this error.
func (e *Error) Code() string { return "invalid_url" }

// Hint says what to do.
func (e *Error) Hint() string {
	return "use a URL such as https://host.example/path, without user name, password or control characters"
}

// Of returns the origin of an absolute http or https URL.
func Of(u *url.URL) (Origin, error) {
	bad := func(format string, args ...any) (Origin, error) {
		return Origin{}, &Error{Input: u.Redacted(), Reason: fmt.Sprintf(format, args...)}
	}
	scheme := strings.ToLower(u.Scheme)
	var port uint16
	switch scheme {
	case "https":
		port = 443
	case "http":
		port = 80
	case "":
		return bad("no scheme; it must start with https:// or http://")
	default:
		return bad("scheme %q is not http or https", scheme)
	}
	if u.Opaque != "" {
		return bad("%s must be followed by //", scheme)
	}
	host, err := CanonicalHost(u.Hostname())
	if err != nil {
		return bad("%v", err)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return bad("port %q is not between 1 and 65535", p)
		}
		port = uint16(n)
	} else if strings.HasSuffix(u.Host, ":") {
		return bad("the port is empty")
	}
	return Origin{scheme, host, port}, nil
}

// OfURL returns the origin of an absolute http or https URL as it is written, [*Error] where it has none.
func OfURL(raw string) (Origin, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Origin{}, &Error{Input: raw, Reason: "it cannot be parsed"}
	}
	return Of(u)
}

// Parse reads an origin written as scheme://host[:port]. A lone trailing slash is accepted;
// userinfo, path, query and fragment are not.
func Parse(s string) (Origin, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Origin{}, &Error{Input: s, Reason: "it cannot be parsed"}
	}
	o, err := Of(u)
	if err != nil {
		return Origin{}, err
	}
	switch {
	case u.User != nil:
		err = errors.New("an origin has no user name or password")
	case u.Path != "" && u.Path != "/":
		err = errors.New("an origin has no path")
	case u.RawQuery != "" || u.ForceQuery:
		err = errors.New("an origin has no query")
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		err = errors.New("an origin has no fragment")
	}
	if err != nil {
		return Origin{}, &Error{Input: s, Reason: err.Error()}
	}
	return o, nil
}

// String is scheme://host[:port]; the port is left out where it is the scheme's own.
func (o Origin) String() string {
	if o == (Origin{}) {
		return ""
	}
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.scheme == "https" && o.port == 443 || o.scheme == "http" && o.port == 80 {
		return o.scheme + "://" + host
	}
	return o.scheme + "://" + host + ":" + strconv.Itoa(int(o.port))
}

// Scheme is "http" or "https".
func (o Origin) Scheme() string { return o.scheme }

// Host is the canonical host, without brackets.
func (o Origin) Host() string { return o.host }

// Port is the port, the scheme's own where none was written.
func (o Origin) Port() uint16 { return o.port }

// HostPort is what a dialer takes: host:port, an IPv6 address in brackets.
func (o Origin) HostPort() string { return net.JoinHostPort(o.host, strconv.Itoa(int(o.port))) }

// Site is the registrable domain of the host (example.com of a.b.example.com), or the host itself
// where it has none: an address, a name without a public suffix.
func (o Origin) Site() string {
	if s, err := publicsuffix.EffectiveTLDPlusOne(o.host); err == nil {
		return s
	}
	return o.host
}

// IsZero reports whether o is no origin.
func (o Origin) IsZero() bool { return o == Origin{} }

// IsLoopback reports whether the host is a loopback IP literal or the name localhost.
func (o Origin) IsLoopback() bool {
	if o.host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(o.host)
	return err == nil && a.Unmap().IsLoopback()
}

// CanonicalHost returns host as the network will use it: an IP literal in its canonical form, a
// name in lower-case A-labels without the trailing dot. Zone identifiers, empty hosts and the
// inet_aton spellings of IPv4 addresses (127.1, 0x7f.1, 2130706433) are errors.
func CanonicalHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("the host is empty")
	}
	if strings.ContainsAny(host, "%") {
		return "", errors.New("a host with a zone identifier or percent sign is not accepted")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String(), nil
	}
	if strings.Contains(host, ":") {
		return "", errors.New("the IPv6 address cannot be parsed")
	}
	name := strings.ToLower(host)
	if !plainASCII(name) || strings.Contains(name, "xn--") {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", errors.New("the host is not a valid internationalised name")
		}
		name = ascii
	}
	name = strings.TrimSuffix(name, ".")
	if a, err := netip.ParseAddr(name); err == nil {
		return a.String(), nil
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return name, nil
}

func plainASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// checkName accepts letters, digits, hyphens and underscores (intranets have them) in labels of
// 1 to 63 bytes, at most 253 in all (RFC 1035 §2.3.4), the last label not being a number.
func checkName(name string) error {
	if name == "" || len(name) > 253 {
		return errors.New("the host name is empty or longer than 253 bytes")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return errors.New("the host name has a label that is empty or longer than 63 bytes")
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
				continue
			}
			return errors.New("the host name has a character that host names do not have")
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.HasPrefix(last, "0x") || allDigits(last) {
		return errors.New("the host looks like a number but is not an IP address in its usual form")
	}
	return nil
}

func allDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
