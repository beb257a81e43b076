package oauthtest

import (
	"crypto"
	"encoding/json"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type client struct {
	id, secret   string
	name         string
	methods      []string // token endpoint authentication methods it may use
	redirectURIs []string
	grants       []string
	dynamic      bool

	key         crypto.PublicKey // of private_key_jwt
	certificate string           // as in [IssuerOptions.CertificateClients]
	management  string           // registration access token (RFC 7592), "" for none
	registered  map[string]any   // the reply to the registration
}

func (c *client) mayUse(grantType string) bool { return slices.Contains(c.grants, grantType) }

// isPublic: nothing but the tokens themselves says who presents them.
func (c *client) isPublic() bool { return slices.Contains(c.methods, "none") }

// preregister makes the clients of the options.
func (i *Issuer) preregister() {
	add := func(id string, methods ...string) *client {
		c := &client{id: id, name: id, methods: methods, redirectURIs: i.options.RedirectURIs, grants: i.grantTypes()}
		i.clients[id] = c
		return c
	}
	for id, secret := range i.options.Clients {
		if secret == "" {
			add(id, "none")
		} else {
			add(id, "client_secret_basic", "client_secret_post").secret = secret
		}
	}
	for id, key := range i.options.ClientKeys {
		add(id, "private_key_jwt").key = key
	}
	for id, wanted := range i.options.CertificateClients {
		add(id, certificateMethod(wanted)).certificate = wanted
	}
}

// registration is the client metadata of RFC 7591 §2 that the fake looks at.
type registration struct {
	RedirectURIs    []string `json:"redirect_uris"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	ApplicationType string   `json:"application_type"`
	Name            string   `json:"client_name"`
}

// register is RFC 7591 §3.
func (i *Issuer) register(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		refuse("invalid_client_metadata", "the body must be application/json").write(w)
		return
	}
	var m registration
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRecorded)).Decode(&m); err != nil {
		refuse("invalid_client_metadata", "the body is not client metadata").write(w)
		return
	}
	m.setDefaults()
	if f := m.validate(); f != nil {
		f.write(w)
		return
	}
	// RFC 7591 §3.2.1: what is not offered is left out, and the reply says so.
	offered := i.grantTypes()
	m.GrantTypes = slices.DeleteFunc(m.GrantTypes, func(g string) bool { return !slices.Contains(offered, g) })
	if len(m.GrantTypes) == 0 {
		refuse("invalid_client_metadata", "none of the grant_types is offered").write(w)
		return
	}
	c := &client{
		id: "client-" + random(), name: m.Name, methods: []string{m.AuthMethod}, redirectURIs: m.RedirectURIs, grants: m.GrantTypes, dynamic: true,
	}
	if c.name == "" {
		c.name = c.id
	}
	reply := map[string]any{
		"client_id": c.id, "client_id_issued_at": time.Now().Unix(), "redirect_uris": m.RedirectURIs, "grant_types": m.GrantTypes,
		"response_types": m.ResponseTypes, "token_endpoint_auth_method": m.AuthMethod, "application_type": m.ApplicationType, "client_name": c.name,
	}
	if m.AuthMethod != "none" {
		c.secret = random()
		reply["client_secret"] = c.secret
		reply["client_secret_expires_at"] = 0
	}
	if i.options.Management {
		c.management = random()
		reply["registration_access_token"] = c.management
		reply["registration_client_uri"] = i.URL + managePath + c.id
	}
	c.registered = maps.Clone(reply)
	i.mu.Lock()
	i.clients[c.id] = c
	i.mu.Unlock()
	note(w, "client %s registered (%s, %s)", c.name, m.ApplicationType, m.AuthMethod)
	i.reply(w, r, http.StatusCreated, reply)
}

// setDefaults are those of RFC 7591 §2 and, for application_type, OpenID Connect Registration §2.
func (m *registration) setDefaults() {
	if m.AuthMethod == "" {
		m.AuthMethod = "client_secret_basic"
	}
	if m.GrantTypes == nil {
		m.GrantTypes = []string{"authorization_code"}
	}
	if m.ApplicationType == "" {
		m.ApplicationType = "web"
	}
	if m.ResponseTypes == nil && slices.Contains(m.GrantTypes, "authorization_code") {
		m.ResponseTypes = []string{"code"}
	}
}

func (m *registration) validate() *refusal {
	for _, g := range m.GrantTypes {
		switch g {
		case "authorization_code", "refresh_token", deviceGrant, jwtBearerGrant, exchangeGrant:
		case "client_credentials":
			if m.AuthMethod == "none" {
				return refuse("invalid_client_metadata", "client_credentials needs a client that authenticates")
			}
		default:
			return refuse("invalid_client_metadata", "grant_type %q is unknown", g)
		}
	}
	switch m.AuthMethod {
	case "none", "client_secret_basic", "client_secret_post":
	default:
		return refuse("invalid_client_metadata", "token_endpoint_auth_method %q is not offered", m.AuthMethod)
	}
	if m.ApplicationType != "web" && m.ApplicationType != "native" {
		return refuse("invalid_client_metadata", "application_type %q is unknown", m.ApplicationType)
	}
	// RFC 7591 §2.1: the two lists must agree.
	usesCode := slices.Contains(m.GrantTypes, "authorization_code")
	if hasCode := slices.Contains(m.ResponseTypes, "code"); hasCode != usesCode || len(m.ResponseTypes) > 1 || len(m.ResponseTypes) == 1 && !hasCode {
		return refuse("invalid_client_metadata", "response_types do not agree with grant_types")
	}
	if usesCode && len(m.RedirectURIs) == 0 {
		return refuse("invalid_redirect_uri", "redirect_uris are missing")
	}
	for _, uri := range m.RedirectURIs {
		if !mayRegister(uri, m.ApplicationType) {
			return refuse("invalid_redirect_uri", "redirect URI %q is not for a %s client", uri, m.ApplicationType)
		}
	}
	return nil
}

// mayRegister: a web client is reached over https at a real host, a native one over loopback,
// claimed https or a scheme of its own (OpenID Connect Registration §2, RFC 8252 §7).
func mayRegister(uri, applicationType string) bool {
	u, err := url.Parse(uri)
	if err != nil || strings.Contains(uri, "#") || u.User != nil {
		return false
	}
	loopback := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	switch u.Scheme {
	case "https":
		return u.Host != "" && !(applicationType == "web" && loopback)
	case "http":
		return applicationType == "native" && loopback
	}
	return applicationType == "native" && strings.Contains(u.Scheme, ".")
}
