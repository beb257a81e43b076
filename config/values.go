package config

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// browser is the parsed value of login.browser.
type browser struct {
	mode    string
	command []string
}

func parsePattern(s string) (any, error) {
	p, err := origin.ParsePattern(s)
	return p, originReason(err)
}

func parseOrigin(s string) (any, error) {
	if strings.Contains(s, "*") {
		return nil, errors.New("a wildcard is not accepted here; name an exact origin")
	}
	o, err := origin.Parse(s)
	return o, originReason(err)
}

// originReason leaves the words about URLs in general to other users of package origin.
func originReason(err error) error {
	if bad, ok := errors.AsType[*origin.Error](err); ok {
		return errors.New("this is not an origin: " + sanitize.Line(bad.Reason, 200))
	}
	return err
}

// parseIssuer follows RFC 8414 §2: https, no query, no fragment. Plain http is for a loopback
// server only.
func parseIssuer(s string) (any, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("this issuer is not a URL")
	}
	o, err := origin.Of(u)
	if err != nil {
		if bad, ok := errors.AsType[*origin.Error](err); ok {
			return nil, errors.New("this is not an issuer: " + sanitize.Line(bad.Reason, 200))
		}
		return nil, err
	}
	switch {
	case u.User != nil:
		return nil, errors.New("an issuer has no user name or password")
	case o.Scheme() != "https" && !o.IsLoopback():
		return nil, errors.New("an issuer must be https (http is for loopback hosts only)")
	}
	return s, nil
}

// parseMetadataURL: the URL is a client identifier, compared as it stands.
func parseMetadataURL(s string) (any, error) {
	if s == "" {
		return s, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("this is not a URL")
	}
	if _, err := origin.Of(u); err != nil {
		if bad, ok := errors.AsType[*origin.Error](err); ok {
			return nil, errors.New("this is not a URL for a document: " + sanitize.Line(bad.Reason, 200))
		}
		return nil, err
	}
	return s, nil
}

func parseListen(s string) (any, error) {
	if s == "" {
		return s, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, errors.New("expected host:port such as 127.0.0.1:8808")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, errors.New("the port is not a number from 0 to 65535")
	}
	if host != "" {
		if _, err := origin.CanonicalHost(host); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parseTimeout(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil, errors.New("expected a duration such as 90s or 10m")
	}
	if d < 30*time.Second || d > time.Hour {
		return nil, errors.New("the duration is not from 30s to 1h")
	}
	return d, nil
}

func parseBrowser(s string) (any, error) {
	for _, mode := range []string{"auto", "never"} {
		if s == mode {
			return browser{mode: mode}, nil
		}
		if strings.EqualFold(s, mode) {
			return nil, fmt.Errorf("write %q in lower case", mode)
		}
	}
	argv, err := split(s)
	if err != nil {
		return nil, err
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("the browser command is empty")
	}
	return browser{mode: "command", command: argv}, nil
}

// split cuts a command at spaces; double quotes hold a part together. Nothing is an escape, so
// Windows paths stand as they are.
func split(s string) ([]string, error) {
	var argv []string
	var word strings.Builder
	var inWord, quoted bool
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
			inWord = true
		case r == ' ' && !quoted:
			if inWord {
				argv = append(argv, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quoted {
		return nil, errors.New("a double quote in the command is not closed")
	}
	if inWord {
		argv = append(argv, word.String())
	}
	return argv, nil
}

// reservedHeaders belong to the connection or the framing (RFC 9110 §7.6.1, RFC 9112 §6), not to
// a site's owner. Names that begin with Proxy- are reserved as well.
var reservedHeaders = []string{"Host", "Content-Length", "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"}

func parseHeaderName(s string) (any, error) {
	return http.CanonicalHeaderKey(s), nil
}

// reservedHeader matches the reserved names in any case; ECMA-262 has no flag for that inside a
// pattern, hence the letter classes.
func reservedHeader() *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^(")
	for _, name := range append(reservedHeaders[:len(reservedHeaders):len(reservedHeaders)], "Proxy-") {
		for _, c := range name {
			lower, upper := strings.ToLower(string(c)), strings.ToUpper(string(c))
			if lower == upper {
				b.WriteRune(c)
			} else {
				b.WriteString("[" + upper + lower + "]")
			}
		}
		if name == "Proxy-" {
			b.WriteString(".*")
		} else {
			b.WriteString("|")
		}
	}
	b.WriteString(")$")
	return regexp.MustCompile(b.String())
}
