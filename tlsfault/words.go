package tlsfault

import (
	"fmt"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// cause is a line of the catalogue.
type cause = catalogue.Cause

// fail fills a cause with what is known. values are further pairs of name and text.
func (x exchange) fail(c cause, values ...string) *Failure {
	values = append(values,
		"host", x.host,
		"url", x.url(),
		"cert", x.key("cert"),
		"append", x.howToAppend(),
		"key", x.key("key"),
		"ca", x.key("ca"),
		"server_name", x.key("server_name"),
		"min_version", x.key("min_version"),
		"set", x.howToSet(),
		"trust", x.howToTrust(),
		"trusted", x.trusted(),
		"accepted", x.accepted(),
		"facts", x.facts(),
		"alert", "",
	)
	told := c.Fill(values...)
	return &Failure{Message: told.Says, Err: x.err, id: c.ID, code: told.Code, remedy: told.Remedy}
}

// key is a key of the entry in use, as it stands in the configuration.
func (x exchange) key(field string) string {
	switch {
	case x.m == nil:
		return field + " of an mtls entry"
	case field == "cert":
		return x.m.CertSetting() // a signer or the Workload API may have it
	}
	return x.m.Setting(field)
}

func (x exchange) howToAppend() string {
	if x.m.Leaf() == nil {
		return ""
	}
	return x.m.HowToAppend()
}

func (x exchange) url() string {
	if x.proxy {
		return "the proxy's URL"
	}
	return "the URL"
}

// named is what names an mtls entry.
func (x exchange) named() string {
	if x.proxy {
		return "as mtls of network.proxy"
	}
	return "in the site for " + x.host
}

// howToSet is what to do so that a certificate is sent.
func (x exchange) howToSet() string {
	switch {
	case x.m == nil:
		return `add an entry with cert and key to "mtls" and name it ` + x.named()
	case x.m.Leaf() == nil:
		return "set " + x.key("cert") + " and " + x.key("key")
	}
	return "check " + x.key("cert")
}

// howToTrust is what to do so that an authority is trusted.
func (x exchange) howToTrust() string {
	switch {
	case x.m == nil:
		return `add the authority's certificate as ca of an entry in "mtls" and name it ` + x.named()
	case x.m.RootsSource() == "":
		return "set " + x.key("ca") + " to the authority's certificate"
	}
	return "add the authority's certificate to " + x.key("ca")
}

// trusted ends a sentence with the roots that were consulted.
func (x exchange) trusted() string {
	switch {
	case x.m.RootsSource() == "":
		return "; trusted are the system's roots"
	case x.m.OnlyRoots():
		return "; trusted are only those in " + x.m.RootsSource()
	}
	return "; trusted are the system's roots and those in " + x.m.RootsSource()
}

// accepted ends a sentence with the authorities the server named.
func (x exchange) accepted() string {
	names := x.seen.AcceptableCAs()
	if len(names) == 0 {
		return ""
	}
	return "; it accepts certificates of " + listed(names, 5)
}

// listed are the first few of names that somebody else chose.
func listed(names []string, most int) string {
	var quoted []string
	for _, n := range names[:min(len(names), most)] {
		quoted = append(quoted, sanitize.Quote(n))
	}
	s := strings.Join(quoted, ", ")
	if more := len(names) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// facts ends a sentence with our certificate.
func (x exchange) facts() string {
	if x.m.Leaf() == nil {
		return ""
	}
	return "; the client certificate is " + x.m.Describe()
}

// offered reports whether the server got a client certificate, as far as is known.
func (x exchange) offered() bool {
	if x.seen == nil {
		return x.m.Leaf() != nil
	}
	return x.seen.Sent()
}

// ownServerName is the server_name of the entry, "" where the name is that of the URL.
func (x exchange) ownServerName() string { return x.m.TLSConfig("").ServerName }

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
