package tlsfault

import (
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// Table is the troubleshooting table of docs/mtls.md, in Markdown: what can go wrong with the files
// of an mtls entry, with what has its key, and with TLS, by code. The setting and the file with which
// messages about files begin are left out.
func Table() string {
	return table(slices.Concat(tlsmat.Causes(), tlsmat.ServerCauses(), tlsmat.HomeCauses(), Causes()))
}

func table(causes []catalogue.Cause) string {
	causes = slices.Clone(causes)
	slices.SortStableFunc(causes, func(a, b catalogue.Cause) int { return strings.Compare(codes(a)[0], codes(b)[0]) })
	var b strings.Builder
	b.WriteString("| code | what happened | what to do |\n|---|---|---|\n")
	for _, c := range causes {
		told := c.Fill(documented...)
		b.WriteString("| `" + strings.Join(codes(c), "` `") + "` | " + cell(told.Says) + " | " + cell(told.Remedy) + " |\n")
	}
	return b.String()
}

// codes of a cause: those about files are one for each kind of file.
func codes(c catalogue.Cause) []string {
	if !strings.Contains(c.Code, "{field}") {
		return []string{c.Code}
	}
	var all []string
	for _, field := range []string{"cert", "key", "ca", "crl"} {
		all = append(all, strings.ReplaceAll(c.Code, "{field}", field))
	}
	return all
}

// documented are the words for what is known only when it happens; what ends a sentence with facts
// is left out.
var documented = []string{
	"accepted", "", "alert", "", "chain", "", "common_name", "", "facts", "", "inform", "", "makes", "", "owner", "", "space", "", "trusted", "", "wants", "",
	"host", "the server", "whose", "the certificate", "which", "the certificate", "server_cert", "the server's certificate", "block", "a block",
	"file", "FILE", "setting", "the setting", "this", "the setting", "where", "*setting and file*",
	"url", "the URL", "advice", "do what the message says",
	"append", "append its certificate to `mtls.NAME.cert`",
	"set", "set `mtls.NAME.cert` and `mtls.NAME.key` of an entry that the site names",
	"trust", "add the authority's certificate to `mtls.NAME.ca` of an entry that the site names",
	"cert", "`mtls.NAME.cert`", "key", "`mtls.NAME.key`", "passphrase", "`mtls.NAME.passphrase`", "ca", "`mtls.NAME.ca`", "ca_mode", "`mtls.NAME.ca_mode`",
	"server_name", "`mtls.NAME.server_name`", "min_version", "`mtls.NAME.min_version`", "signer", "`mtls.NAME.signer`", "spiffe", "`mtls.NAME.spiffe`",
}

var placeholder = regexp.MustCompile(`\{([a-z0-9_]+)\}`)

// cell fits a text into one cell: | and line ends would end it, and < may begin HTML.
func cell(s string) string {
	s = placeholder.ReplaceAllStringFunc(s, func(p string) string {
		return "*" + strings.ReplaceAll(strings.Trim(p, "{}"), "_", " ") + "*"
	})
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s)
}
