package config

import (
	"path/filepath"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// envName is the entry of Config.MTLS that the environment makes.
const envName = "env"

// environment adds the AUTHFETCH_* variables; an empty one is as good as unset, because agents
// pass on blanks that were never filled in.
func (b *builder) environment() {
	if v := b.variable("AUTHFETCH_BROWSER"); v != "" {
		if parsed, ok := b.accept("AUTHFETCH_BROWSER", v, b.root.shape.lookup("login").lookup("browser")); ok {
			chosen := parsed.(browser)
			b.cfg.Login.Browser, b.cfg.Login.BrowserCommand = chosen.mode, chosen.command
		}
	}
	if v := b.variable("AUTHFETCH_PRIVATE"); v != "" {
		if parsed, ok := b.accept("AUTHFETCH_PRIVATE", v, b.root.shape.lookup("network").lookup("private")); ok {
			b.cfg.Network.Private = parsed.(string)
		}
	}
	b.envMTLS()
	b.envProxies()
}

func (b *builder) variable(name string) string {
	v, _ := b.env(name)
	return v
}

func (b *builder) wrong(name, reason, suggestion string) {
	b.variables = append(b.variables, &Error{Path: environment, Key: name, Reason: reason, Suggestion: suggestion})
}

func (b *builder) accept(name, value string, s *shape) (any, bool) {
	parsed, p := s.accept(value)
	if p != nil {
		b.wrong(name, p.reason, p.suggestion)
		return nil, false
	}
	return parsed, true
}

// envMTLS makes the entry "env" and gives it to the origins of AUTHFETCH_ORIGINS.
func (b *builder) envMTLS() {
	cert, key, ca := b.variable("AUTHFETCH_CERT"), b.variable("AUTHFETCH_KEY"), b.variable("AUTHFETCH_CA")
	passphrase, origins := b.variable("AUTHFETCH_KEY_PASSPHRASE"), b.variable("AUTHFETCH_ORIGINS")
	if key != "" && cert == "" {
		b.wrong("AUTHFETCH_KEY", "the key is half of a pair; AUTHFETCH_CERT is missing", "")
	}
	if passphrase != "" && cert == "" {
		b.wrong("AUTHFETCH_KEY_PASSPHRASE", "it opens a key, and AUTHFETCH_CERT is missing", "")
	}
	if cert == "" && ca == "" {
		if origins != "" {
			b.wrong("AUTHFETCH_ORIGINS", "it names the sites of AUTHFETCH_CERT or AUTHFETCH_CA, and neither is set", "")
		}
		return
	}
	source := "AUTHFETCH_CERT"
	if cert == "" {
		source = "AUTHFETCH_CA"
	}
	if origins == "" {
		b.wrong("AUTHFETCH_ORIGINS", source+" is set, so this must name the sites it is for", "")
	}
	for _, e := range b.root.section("mtls").entries {
		if e.name == envName {
			b.doc.add(problem{offset: e.offset, key: e.key, reason: "the name " + sanitize.Quote(envName) + " is taken by " + source + "; choose another"})
		}
	}
	m := MTLS{
		Cert:       b.envPath("AUTHFETCH_CERT", cert),
		Key:        b.envPath("AUTHFETCH_KEY", key),
		Passphrase: secret.New(passphrase),
		CAMode:     "add", MinVersion: "1.2",
		Environment: true,
	}
	if ca != "" {
		m.CA = []string{b.envPath("AUTHFETCH_CA", ca)}
	}
	b.cfg.MTLS[envName] = m
	for _, s := range strings.Split(origins, ",") {
		if s = strings.TrimSpace(s); s != "" {
			b.envSite(s)
		}
	}
}

func (b *builder) envSite(s string) {
	const name = "AUTHFETCH_ORIGINS"
	parsed, p := b.root.shape.lookup("sites").key.accept(s)
	if p != nil {
		if !strings.Contains(s, "@") { // else it may hold a password
			p.reason = sanitize.Quote(s) + ": " + p.reason
		}
		b.wrong(name, p.reason, p.suggestion)
		return
	}
	pattern := parsed.(origin.Pattern)
	if plain(pattern) {
		b.wrong(name, "a client certificate or private root has no use over http; "+pattern.String()+" must be https", "")
		return
	}
	for i := range b.cfg.Sites {
		site := &b.cfg.Sites[i]
		switch {
		case site.Pattern != pattern:
		case site.MTLS == "" || site.MTLS == envName:
			site.MTLS = envName
			return
		default:
			b.wrong(name, pattern.String()+" is claimed twice; the file gives it "+sanitize.Quote(site.MTLS), "")
			return
		}
	}
	b.cfg.Sites = append(b.cfg.Sites, Site{Pattern: pattern, MTLS: envName})
}

func (b *builder) envPath(name, value string) string {
	if value == "" {
		return ""
	}
	dir, err := filepath.Abs("")
	if err != nil {
		b.wrong(name, err.Error(), "")
		return ""
	}
	path, err := places{dir: dir, home: b.home}.path(value)
	if err != nil {
		b.wrong(name, err.Error(), "")
	}
	return path
}
