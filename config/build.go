package config

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// builder turns the decoded file and the environment into a Config, and checks what ties one part
// of it to another.
type builder struct {
	doc  *document
	root *node
	env  Env
	home string
	dir  string // folder of the file
	cfg  *Config

	literal   bool // a secret or a header value stands in the file itself
	variables []*Error
}

func (b *builder) build() {
	b.mtls()
	b.sites()
	b.issuers()
	b.rest()
	b.environment()
}

func (b *builder) mtls() {
	b.cfg.MTLS = make(map[string]MTLS)
	for _, e := range b.root.section("mtls").entries {
		if e.value == nil {
			continue
		}
		b.cfg.MTLS[e.name] = b.mtlsEntry(e.value)
	}
}

func (b *builder) mtlsEntry(v *node) MTLS {
	m := MTLS{
		Cert: b.location(v.field("cert")), Key: b.location(v.field("key")),
		Passphrase: b.password(v.field("passphrase"), "passphrase"), PassphraseCommand: b.command(v.field("passphrase_command")),
		Signer: b.command(v.field("signer")), SPIFFE: v.value("spiffe"), StrictPermissions: v.yesOrNo("strict_permissions"),
		CA: b.paths(v.field("ca")), CAMode: v.value("ca_mode"), ServerName: v.value("server_name"), MinVersion: v.value("min_version"),
		CRL: b.paths(v.field("crl")),
	}
	if pins := v.field("pins"); pins != nil {
		for _, item := range pins.items {
			m.Pins = append(m.Pins, item.text)
		}
	}
	if n := v.field("passphrase"); n != nil {
		text, places := n.text, b.places()
		m.read = func() (secret.Text, error) {
			value, _, err := places.resolve(text)
			return secret.New(value), err
		}
	}
	return m
}

// location is a path, unless it names an object in a PKCS #11 token (RFC 7512).
func (b *builder) location(n *node) string {
	if n != nil && len(n.text) > 7 && strings.EqualFold(n.text[:7], "pkcs11:") {
		return n.text
	}
	return b.path(n)
}

func (b *builder) paths(n *node) []string {
	if n == nil {
		return nil
	}
	var all []string
	for _, item := range n.items {
		if path := b.path(item); path != "" {
			all = append(all, path)
		}
	}
	return all
}

// command is an argv. A program named by a path is found from the config file, as files are.
func (b *builder) command(n *node) []string {
	if n == nil {
		return nil
	}
	var argv []string
	for _, item := range n.items {
		argv = append(argv, item.text)
	}
	if slices.ContainsFunc(argv, keyText.MatchString) || len(argv) > 0 && pasted(argv[0]) {
		b.doc.fail(n, "the text of a file stands in the command; save it, and give the command its name")
		return nil
	}
	if len(argv) == 0 || argv[0] == "" {
		b.doc.fail(n, "the command is empty; its first element is the program")
		return nil
	}
	if strings.ContainsRune(argv[0], os.PathSeparator) || strings.HasPrefix(argv[0], "~") {
		argv[0] = b.path(n.items[0])
	}
	return argv
}

func (b *builder) sites() {
	first := make(map[string]int)
	for _, e := range b.root.section("sites").entries {
		pattern, ok := e.parsed.(origin.Pattern)
		site := Site{Pattern: pattern}
		if e.value != nil {
			site.MTLS = b.material(e.value.field("mtls"), pattern)
			site.OAuth = b.oauth(e.value.field("oauth"))
			site.Headers = b.headers(e.value)
		}
		if !ok {
			continue
		}
		name := pattern.String()
		if at, twice := first[name]; twice {
			b.doc.add(problem{offset: e.offset, key: e.key, reason: "the site " + name + " is claimed twice", first: at})
			continue
		}
		first[name] = e.offset
		b.cfg.Sites = append(b.cfg.Sites, site)
	}
}

// material checks that the entry is there and that the site can use it.
func (b *builder) material(n *node, pattern origin.Pattern) string {
	if n == nil {
		return ""
	}
	names := names(b.root.section("mtls").entries)
	if !slices.Contains(names, n.text) {
		b.noEntry(n, names)
	}
	if plain(pattern) {
		b.doc.fail(n, "a client certificate or private root has no use over http; the site must be https")
	}
	return n.text
}

// noEntry says that an mtls entry is not there; its name may be a key that was put into its place.
func (b *builder) noEntry(n *node, known []string) {
	name := sanitize.Quote(n.text)
	if pasted(n.text) {
		name = "such entry"
	}
	b.doc.add(problem{offset: n.offset, key: n.key, reason: "there is no " + name + " under mtls", suggestion: nearest(n.text, known)})
}

func plain(p origin.Pattern) bool { return strings.HasPrefix(p.String(), "http://") }

func names(entries []entry) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.name
	}
	return all
}

func (b *builder) headers(site *node) []Header {
	dict := site.field("headers")
	if dict == nil {
		return nil
	}
	var headers []Header
	first := make(map[string]int)
	for _, e := range dict.entries {
		name, ok := e.parsed.(string)
		if !ok {
			continue
		}
		if at, twice := first[name]; twice {
			b.doc.add(problem{offset: e.offset, key: e.key, reason: "the header " + name + " is here twice", first: at})
			continue
		}
		first[name] = e.offset
		if name == "Authorization" && site.field("oauth") != nil {
			b.doc.add(problem{offset: e.offset, key: e.key, reason: "the header Authorization and oauth exclude each other"})
		}
		value, literal := b.secret(e.value)
		b.literal = b.literal || literal
		if !value.IsZero() && !fieldValue(value.Reveal()) {
			b.doc.fail(e.value, "the value of a header is visible ASCII with spaces or tabs inside only")
			continue
		}
		headers = append(headers, Header{Name: name, Value: value})
	}
	slices.SortFunc(headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return headers
}

// fieldValue is RFC 9110 §5.5 without obs-text.
func fieldValue(s string) bool {
	if strings.Trim(s, " \t") != s {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

// rest is the sections that are fixed keys only.
func (b *builder) rest() {
	network := b.root.section("network")
	b.cfg.Network.Private = network.value("private")
	if allow := network.field("allow"); allow != nil {
		for _, item := range allow.items {
			b.cfg.Network.Allow = append(b.cfg.Network.Allow, item.parsed.(origin.Origin))
		}
	}
	b.proxy(network.field("proxy"))

	login := b.root.section("login")
	chosen := login.parsedField("browser").(browser)
	b.cfg.Login = Login{Browser: chosen.mode, BrowserCommand: chosen.command, Timeout: login.parsedField("timeout").(time.Duration)}
	if port := login.field("port"); port != nil {
		b.cfg.Login.Port = port.number
	}

	b.cfg.Login.ClientMetadataURL = login.value("client_metadata_url")

	store := b.root.section("store")
	b.cfg.Store = Store{Type: store.value("type"), Path: b.path(store.field("path"))}
	b.cfg.HTTP = HTTP{Listen: b.root.section("http").value("listen"), Metrics: b.root.section("http").value("metrics")}
}

func (b *builder) path(n *node) string {
	if n == nil || n.text == "" {
		return ""
	}
	path, err := b.places().path(n.text)
	if err != nil {
		b.doc.fail(n, "%v", err)
	}
	return path
}

// password is a secret that nobody should keep in the file itself.
func (b *builder) password(n *node, name string) secret.Text {
	value, literal := b.secret(n)
	if literal {
		b.literal = true
		b.doc.warn(n, name+" stands in the file itself; {env:NAME} or {file:PATH} keeps it elsewhere")
	}
	return value
}

func (b *builder) secret(n *node) (value secret.Text, literal bool) {
	if n == nil {
		return secret.Text{}, false
	}
	s, literal, err := b.places().resolve(n.text)
	if err != nil {
		b.doc.fail(n, "%v", err)
		return secret.Text{}, false
	}
	return secret.New(s), literal
}

func (b *builder) places() places { return places{env: b.env, dir: b.dir, home: b.home} }
