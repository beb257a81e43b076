package tlsfault

import (
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

func TestCauses(t *testing.T) {
	seen := map[string]bool{}
	code := regexp.MustCompile(`^tls\.[a-z_]+$`)
	for _, c := range tlsmat.Causes() {
		if seen[c.ID] {
			t.Errorf("%s stands twice", c.ID)
		}
		seen[c.ID] = true
	}
	for _, c := range Causes() {
		if seen[c.ID] {
			t.Errorf("%s stands twice", c.ID)
		}
		seen[c.ID] = true
		if first, rest, ok := strings.Cut(c.ID, "."); !ok || rest == "" || "tls."+first != c.Code || !code.MatchString(c.Code) {
			t.Errorf("%s has the code %s", c.ID, c.Code)
		}
		for _, s := range []string{c.Says, c.Remedy} {
			if s == "" || strings.HasSuffix(s, ".") || strings.Contains(s, "  ") {
				t.Errorf("%s says %q", c.ID, s)
			}
		}
	}
}

func TestTable(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(table([]cause{
		{ID: "b.second", Code: "tls.b", Says: "{host} sent a|b{alert}{facts}", Remedy: "set {cert} to {other_thing}"},
		{ID: "b.third", Code: "tls.b", Says: "x", Remedy: "<y>"},
		{ID: "file.x", Code: "tls.{field}_file", Says: "is odd", Remedy: "look"},
		{ID: "a.first", Code: "tls.a", Says: "{which} is old", Remedy: "{set}"},
	}), "\n"), "\n")
	for i, want := range []string{
		"| code | what happened | what to do |",
		"|---|---|---|",
		"| `tls.a` | the certificate is old | set `mtls.NAME.cert` and `mtls.NAME.key` of an entry that the site names |",
		"| `tls.b` | the server sent a\\|b | set `mtls.NAME.cert` to *other thing* |",
		"| `tls.b` | x | &lt;y> |",
		"| `tls.cert_file` `tls.key_file` `tls.ca_file` `tls.crl_file` | is odd | look |",
	} {
		if i >= len(lines) || lines[i] != want {
			t.Errorf("line %d of %q, want %q", i, lines, want)
		}
	}
	if lines := strings.Count(Table(), "\n"); lines < 2+len(Causes())+len(tlsmat.Causes()) {
		t.Errorf("the table has %d lines", lines)
	}
	cells := regexp.MustCompile(`(?m)^\| [^|]+ \| [^|]+ \| [^|]+ \|$`)
	for _, line := range strings.Split(strings.TrimSuffix(Table(), "\n"), "\n")[2:] {
		if !cells.MatchString(strings.ReplaceAll(line, `\|`, "")) || placeholder.MatchString(line) {
			t.Errorf("bad row %q", line)
		}
	}
}
