package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/login"
)

// knownIssuers is docs/issuers.md.
func knownIssuers() string {
	var b strings.Builder
	b.WriteString("# What is particular about well-known issuers\n\n" +
		"Made by `mcp-authfetch config issuers`. These settings hold without being configured; an entry of the issuer under `issuers` in the config\n" +
		"goes first, key by key, and an empty parameter takes one away.\n")
	for _, k := range login.KnownIssuers() {
		var where []string
		for _, host := range k.Hosts {
			if host == "*" {
				host = "any host"
			} else {
				host = "`" + host + "`"
			}
			where = append(where, host)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s", k.Name, strings.Join(where, ", "))
		if len(k.Paths) > 0 {
			fmt.Fprintf(&b, ", below `%s`", strings.Join(k.Paths, "` or `"))
		}
		b.WriteString("\n\n")
		for _, line := range settingLines(k.Settings) {
			fmt.Fprintf(&b, "- `%s`\n", line)
		}
		if len(settingLines(k.Settings)) > 0 {
			b.WriteString("\n")
		}
		b.WriteString(k.Note + "\n\nSources: ")
		for i, source := range k.Sources {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("<" + source + ">")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// settingLines are settings as the config has them.
func settingLines(s login.Settings) []string {
	var lines []string
	for _, one := range []struct{ key, value string }{
		{"resource", s.Resource}, {"redirect_host", s.RedirectHost}, {"redirect_port", s.RedirectPort}, {"pkce", s.PKCE}, {"dpop", s.DPoP},
	} {
		if one.value != "" {
			lines = append(lines, fmt.Sprintf("%s: %q", one.key, one.value))
		}
	}
	for _, many := range []struct {
		key    string
		values map[string]string
	}{{"authorize_params", s.AuthorizeParams}, {"token_params", s.TokenParams}} {
		for _, name := range slices.Sorted(maps.Keys(many.values)) {
			lines = append(lines, fmt.Sprintf("%s.%s: %q", many.key, name, many.values[name]))
		}
	}
	return lines
}
