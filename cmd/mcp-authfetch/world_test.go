package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// world is what one script finds on its network, and the config that names it.
type world struct {
	dir    string
	log    *oauthtest.Log
	issuer *oauthtest.Issuer
	site   *oauthtest.Resource
	config map[string]any
	closer []func()

	mu      sync.Mutex // guards secrets
	secrets map[string]string
}

// kinds are the worlds that scripts may ask for.
var kinds = map[string]func(w *world) error{
	// A site and an issuer over plain loopback; a person signs in on a page.
	"plain": func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoDevice: true}, oauthtest.ResourceOptions{Scopes: []string{"docs.read"}})
	},
	// A site that wants a token and does not say from whom.
	"nometadata": func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoDevice: true}, oauthtest.ResourceOptions{Metadata: "none"})
	},
	// Sign-in with a device code alone.
	"device": func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoCode: true}, oauthtest.ResourceOptions{Scopes: []string{"docs.read"}})
	},
	// Either way.
	"both": func(w *world) error { return w.start(oauthtest.IssuerOptions{}, oauthtest.ResourceOptions{}) },
	// No dynamic registration; one client is registered beforehand.
	"noregistration": func(w *world) error {
		const secret = "canary-client-secret"
		w.keep("client secret", secret)
		return w.start(oauthtest.IssuerOptions{NoDevice: true, NoRegistration: true, Clients: map[string]string{"preset": secret}}, oauthtest.ResourceOptions{})
	},
	// An issuer that does not announce PKCE.
	"nopkce": func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoDevice: true, NoPKCEMetadata: true}, oauthtest.ResourceOptions{})
	},
	// An issuer that sends people to sign in at another host than its own.
	"elsewhere": func(w *world) error {
		host := strings.NewReplacer("127.0.0.1", "localhost")
		err := w.start(oauthtest.IssuerOptions{NoDevice: true, AutoApprove: true, Edit: func(_ string, m map[string]any) {
			m["authorization_endpoint"] = host.Replace(m["authorization_endpoint"].(string))
		}}, oauthtest.ResourceOptions{})
		if err == nil {
			w.config["sites"].(map[string]any)[host.Replace(w.issuer.URL)] = map[string]any{}
		}
		return err
	},
	// Refresh tokens work once; a refresh is answered when two requests were refused with the old token.
	"rotating": func(w *world) error {
		w.log = new(oauthtest.Log)
		return w.start(oauthtest.IssuerOptions{NoDevice: true, RotateRefresh: true}, oauthtest.ResourceOptions{})
	},
	// TLS with a private root everywhere, a client certificate and a token for the site.
	"mtls": func(w *world) error {
		ca, err := w.pki()
		if err != nil {
			return err
		}
		err = w.start(oauthtest.IssuerOptions{NoDevice: true, TLS: ca.ServerConfig("127.0.0.1")},
			oauthtest.ResourceOptions{TLS: ca.MutualConfig(ca, "127.0.0.1")})
		w.useCertificate()
		return err
	},
	// A client certificate alone.
	"certificate": func(w *world) error {
		ca, err := w.pki()
		if err != nil {
			return err
		}
		w.log = new(oauthtest.Log)
		w.site, err = oauthtest.NewResource(oauthtest.ResourceOptions{Log: w.log, TLS: ca.MutualConfig(ca, "127.0.0.1"), Handle: pages()})
		if err != nil {
			return err
		}
		w.closer = append(w.closer, w.site.Close)
		w.config["sites"] = map[string]any{w.site.URL: map[string]any{}}
		w.useCertificate()
		return nil
	},
	// An issuer that lets registrations be managed.
	"managed": func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoDevice: true, Management: true, IDToken: true}, oauthtest.ResourceOptions{Scopes: []string{"docs.read"}})
	},
	// Tokens bound to a key, at both ends with nonces.
	"dpop": func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoDevice: true, DPoP: true, DPoPNonce: true}, oauthtest.ResourceOptions{DPoP: true, DPoPNonce: true})
	},
	// Metadata that is signed in a way that nobody can verify.
	"signed": func(w *world) error {
		sign := func(m map[string]any) { m["signed_metadata"] = "canary.canary.canary" }
		return w.start(oauthtest.IssuerOptions{NoDevice: true, Edit: func(_ string, m map[string]any) { sign(m) }}, oauthtest.ResourceOptions{EditMetadata: sign})
	},
	// A page that anybody may read, on a private address that nobody configured.
	"private": func(w *world) error {
		var err error
		w.log = new(oauthtest.Log)
		if w.site, err = oauthtest.NewResource(oauthtest.ResourceOptions{Log: w.log, Handle: pages()}); err != nil {
			return err
		}
		w.closer = append(w.closer, w.site.Close)
		return nil
	},
}

func newWorld(dir string) *world {
	return &world{dir: dir, secrets: map[string]string{}, config: map[string]any{"login": map[string]any{"browser": "never"}}}
}

// start starts both servers and configures them as sites.
func (w *world) start(i oauthtest.IssuerOptions, r oauthtest.ResourceOptions) error {
	if w.log == nil {
		w.log = new(oauthtest.Log)
	}
	var err error
	i.Log, i.EditReply, i.EditRedirect = w.log, w.reply, func(q url.Values) { w.keep("authorization code", q.Get("code")) }
	if w.issuer, err = oauthtest.NewIssuer(i); err != nil {
		return err
	}
	w.closer = append(w.closer, w.issuer.Close)
	r.Log, r.Issuer, r.Handle = w.log, w.issuer, pages()
	if w.site, err = oauthtest.NewResource(r); err != nil {
		return err
	}
	w.closer = append(w.closer, w.site.Close)
	w.config["sites"] = map[string]any{w.site.URL: map[string]any{}, w.issuerSite(): map[string]any{}}
	return nil
}

// issuerSite is the issuer's origin.
func (w *world) issuerSite() string {
	u, err := url.Parse(w.issuer.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// pages are what the site has besides its documentation, for everybody.
func pages() map[string]http.HandlerFunc {
	page := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	challenge := func(value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", value)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte("Members only.\n"))
		}
	}
	return map[string]http.HandlerFunc{
		"/open":   page(200, "text/html", "<title>Open</title><h1>Opening hours</h1><p>Every <b>day</b>."),
		"/broken": page(503, "text/html", "<h1>Down for repairs</h1>"),
		"/escape": page(200, "text/plain", "before\x1b]0;owned\x07\x1b[31mafter\n"),
		"/file":   page(200, "application/pdf", "%PDF-1.7\n\x00\x01\x02\xff"),
		"/image":  page(200, "image/png", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
		"/nginx":  page(400, "text/html", "<h1>400 Bad Request</h1>No required SSL certificate was sent"),
		"/basic":  challenge(`Basic realm="docs"`),
		"/form":   page(200, "text/html", "<title>Sign in</title><form><input name=user><input type=password></form>"),
		"/slow":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"/away": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.invalid/landing?x=1")
			w.WriteHeader(http.StatusFound)
		},
		"/key": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Api-Key") != "canary-api-key" {
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = w.Write([]byte("behind a key\n"))
		},
	}
}

// reply keeps what an issuer's answer must not show up in, and holds the refresh of a rotating world
// until both processes want one.
func (w *world) reply(path string, m map[string]any) {
	for _, name := range []string{"access_token", "refresh_token", "client_secret", "device_code", "registration_access_token"} {
		if value, ok := m[name].(string); ok {
			w.keep(name, value)
		}
	}
	if path == "/token" && w.wantsRefresh() {
		for end := time.Now().Add(10 * time.Second); w.refused() < 2 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (w *world) wantsRefresh() bool {
	events := w.log.Find("issuer", "/token")
	return len(events) > 0 && events[len(events)-1].Form.Get("grant_type") == "refresh_token" && w.refused() > 0
}

// refused counts requests that the site refused although they had a token.
func (w *world) refused() (n int) {
	for _, e := range w.log.Find("resource", "/docs/handbook") {
		if e.Status == http.StatusUnauthorized && e.Header.Get("Authorization") != "" {
			n++
		}
	}
	return n
}

func (w *world) keep(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if value != "" {
		w.secrets[value] = name
	}
}

// allSecrets are those kept and those that the servers received.
func (w *world) allSecrets() map[string]string {
	if w.log != nil {
		for _, e := range w.log.Events() {
			if e.Server == "person" {
				continue
			}
			w.keep("state", e.Query.Get("state"))
			w.keep("code_verifier", e.Form.Get("code_verifier"))
			w.keep("api key", e.Header.Get("X-Api-Key"))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]string{}
	for value, name := range w.secrets {
		all[value] = name
	}
	return all
}

// leaks names the files below dir that hold one of the secrets.
func leaks(dir string, secrets map[string]string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		for value, name := range secrets {
			if strings.Contains(string(data), value) {
				found = append(found, fmt.Sprintf("%s holds a secret (%s)", f.Name(), name))
			}
		}
	}
	return found, nil
}

func (w *world) close() {
	for _, c := range w.closer {
		c()
	}
}

// pki writes client.pem, client.key, ca.pem, and a root that signs nothing here.
func (w *world) pki() (*tlstest.CA, error) {
	ca := tlstest.NewCA("Harbour Root")
	if _, _, err := ca.Issue(tlstest.Leaf{CN: "alice", Client: true}).Write(w.dir, "client"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "other-ca.pem"), tlstest.NewCA("Other Root").PEM(), 0o600); err != nil {
		return nil, err
	}
	return ca, os.WriteFile(filepath.Join(w.dir, "ca.pem"), ca.PEM(), 0o600)
}

func (w *world) useCertificate() {
	w.config["mtls"] = map[string]any{
		"harbour": map[string]any{"cert": "client.pem", "key": "client.key", "ca": "ca.pem", "ca_mode": "only"},
		"root":    map[string]any{"ca": "ca.pem", "ca_mode": "only"},
	}
	sites, _ := w.config["sites"].(map[string]any)
	for origin, site := range sites {
		site.(map[string]any)["mtls"] = "harbour"
		if w.issuer != nil && origin == w.issuerSite() {
			site.(map[string]any)["mtls"] = "root"
		}
	}
}

// set changes one setting: section.key, or site.key for what is said of the site.
func (w *world) set(setting, value string) error {
	section, key, ok := strings.Cut(setting, ".")
	if !ok {
		return fmt.Errorf("%q is not section.key", setting)
	}
	var v any
	if json.Unmarshal([]byte(value), &v) != nil {
		v = value
	}
	var in map[string]any
	if section == "site" {
		in = w.config["sites"].(map[string]any)[w.site.URL].(map[string]any)
	} else {
		if in, ok = w.config[section].(map[string]any); !ok {
			in = map[string]any{}
			w.config[section] = in
		}
	}
	in[key] = v
	return w.write()
}

func (w *world) write() error {
	data, err := json.MarshalIndent(w.config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "config.jsonc"), data, 0o600)
}

// deadAddress is a port that nothing listens on.
func deadAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
