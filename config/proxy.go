package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Proxy is an HTTP proxy.
type Proxy struct {
	At       origin.Origin // zero: no proxy, whatever the environment says
	Username string
	Password secret.Text
	MTLS     string   // a key of Config.MTLS for an https proxy, or ""
	Except   []string // as in NO_PROXY
	Setting  string   // what names it: network.proxy or the variable
}

// environmentProxies are those of HTTPS_PROXY and HTTP_PROXY, less what NO_PROXY names.
type environmentProxies struct {
	http, https *Proxy // nil: none
	wrong       []*Error
}

// CheckEnvironment says what is wrong with the proxy variables, for those who use them.
func (n *Network) CheckEnvironment() error {
	if len(n.environment.wrong) == 0 {
		return nil
	}
	return Errors(n.environment.wrong)
}

// Proxies are all that [Network.ProxyFor] can return.
func (n *Network) Proxies() []*Proxy {
	var all []*Proxy
	for _, p := range []*Proxy{n.Proxy, n.environment.http, n.environment.https} {
		if p != nil && p.At != (origin.Origin{}) {
			all = append(all, p)
		}
	}
	return all
}

// ProxyFor is the proxy on the way to an origin, nil where there is none. That of the file counts
// for all; where the file has none and environment is set, those of the environment count.
func (n *Network) ProxyFor(to origin.Origin, environment bool) *Proxy {
	p := n.Proxy
	if p == nil && environment {
		p = n.environment.http
		if to.Scheme() == "https" {
			p = n.environment.https
		}
	}
	if p == nil || p.At == (origin.Origin{}) || p.excepts(to) {
		return nil
	}
	return p
}

// excepts follows what curl and the like make of NO_PROXY, as golang.org/x/net has it.
func (p *Proxy) excepts(to origin.Origin) bool {
	if len(p.Except) == 0 {
		return false
	}
	any := "http://proxy.invalid" // only whether there is one matters
	c := httpproxy.Config{HTTPProxy: any, HTTPSProxy: any, NoProxy: strings.Join(p.Except, ",")}
	via, err := c.ProxyFunc()(&url.URL{Scheme: to.Scheme(), Host: to.HostPort()})
	return err == nil && via == nil
}

func (b *builder) proxy(n *node) {
	if n == nil || n.field("url") == nil {
		return
	}
	p := &Proxy{At: n.field("url").parsed.(origin.Origin), Username: n.value("username"), Setting: "network.proxy",
		Password: b.password(n.field("password"), "password")}
	if except := n.field("except"); except != nil {
		for _, item := range except.items {
			p.Except = append(p.Except, item.text)
		}
	}
	if entry := n.field("mtls"); entry != nil {
		p.MTLS = entry.text
		known := names(b.root.section("mtls").entries)
		if !slices.Contains(known, entry.text) {
			b.noEntry(entry, known)
		}
		if p.At.Scheme() == "http" {
			b.doc.fail(entry, "a client certificate or private root has no use over http; the proxy must be https")
		}
	}
	if p.At == (origin.Origin{}) && (p.MTLS != "" || p.Username != "" || p.Except != nil) {
		b.doc.fail(n, "url is empty, which means no proxy; the other keys are for one")
	}
	b.cfg.Network.Proxy = p
}

// parseProxy accepts no userinfo: a password in the URL would show wherever the URL does. The
// zero origin is no proxy.
func parseProxy(s string) (any, error) {
	if s == "" {
		return origin.Origin{}, nil
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok && !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return nil, fmt.Errorf("the proxy must be http://host:port or https://host:port, not %s://", sanitize.Line(scheme, 20))
	}
	o, err := origin.Parse(s)
	if err != nil {
		if bad, ok := errors.AsType[*origin.Error](err); ok {
			return nil, errors.New("expected http://host:port or https://host:port: " + sanitize.Line(bad.Reason, 200))
		}
		return nil, err
	}
	return o, nil
}

// envProxies reads the variables that most programs know, in either case; lower case counts first,
// as it does for curl. HTTP_PROXY is not read where a web server has made it from a header.
func (b *builder) envProxies() {
	if b.cfg.Network.Proxy != nil {
		return
	}
	env := &b.cfg.Network.environment
	env.https = b.envProxy("https_proxy", "HTTPS_PROXY")
	if b.variable("REQUEST_METHOD") == "" {
		env.http = b.envProxy("http_proxy", "HTTP_PROXY")
	}
	_, list := b.firstSet("no_proxy", "NO_PROXY")
	for _, s := range strings.Split(list, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		for _, p := range []*Proxy{env.http, env.https} {
			if p != nil {
				p.Except = append(p.Except, s)
			}
		}
	}
}

func (b *builder) firstSet(names ...string) (name, value string) {
	for _, name := range names {
		if v := b.variable(name); v != "" {
			return name, v
		}
	}
	return "", ""
}

// envProxy reads one of them. Name and password stand in such URLs, where they are percent-encoded.
// Nothing of the value is shown: it may hold a password.
func (b *builder) envProxy(names ...string) *Proxy {
	name, value := b.firstSet(names...)
	if value == "" {
		return nil
	}
	if !strings.Contains(value, "://") {
		value = "http://" + value // as host:port alone is usual
	}
	const remedy = `; correct it, or set network.proxy in the config ("" means none)`
	u, err := url.Parse(value)
	if err != nil {
		b.wrongProxy(name, "this is not the URL of a proxy"+remedy)
		return nil
	}
	user := u.User
	parsed, err := parseProxy((&url.URL{Scheme: u.Scheme, Host: u.Host}).String())
	if err != nil {
		b.wrongProxy(name, err.Error()+remedy)
		return nil
	}
	p := &Proxy{At: parsed.(origin.Origin), Setting: name}
	if user != nil {
		password, _ := user.Password()
		p.Username, p.Password = user.Username(), secret.New(password)
	}
	return p
}

func (b *builder) wrongProxy(name, reason string) {
	env := &b.cfg.Network.environment
	env.wrong = append(env.wrong, &Error{Path: environment, Key: name, Reason: reason})
}
