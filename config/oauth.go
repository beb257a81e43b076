package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func (b *builder) oauth(n *node) *OAuth {
	if n == nil {
		return nil
	}
	o := &OAuth{Issuer: n.value("issuer"), Grant: n.value("grant"), Discovery: n.value("discovery"), Subject: b.subject(n)}
	if scopes := n.field("scopes"); scopes != nil {
		o.Scopes = []string{} // an empty list asks for none
		for _, item := range scopes.items {
			o.Scopes = append(o.Scopes, item.text)
		}
	}
	if issuer := n.field("issuer"); issuer != nil && o.Grant == "client_credentials" {
		b.needsClient(issuer, "client_credentials")
	}
	if issuer := n.field("subject_issuer"); issuer != nil {
		b.needsClient(issuer, "subject_issuer")
	}
	return o
}

// needsClient checks that a client of the issuer in n is configured.
func (b *builder) needsClient(n *node, who string) {
	var known []string
	for _, e := range b.root.section("issuers").entries {
		if e.value.field("client_id") != nil {
			known = append(known, e.name)
		}
	}
	if !slices.Contains(known, n.text) {
		b.doc.add(problem{offset: n.offset, key: n.key, reason: who + " needs a client of this issuer under issuers, and there is none", suggestion: nearest(n.text, known)})
	}
}

// subject leaves the references in the token for the moment of use: workloads have theirs renewed.
func (b *builder) subject(n *node) *Subject {
	token := n.field("subject_token")
	if token == nil {
		return nil
	}
	if !strings.Contains(token.text, "{env:") && !strings.Contains(token.text, "{file:") {
		b.literal = true
		b.doc.warn(token, "subject_token stands in the file itself; {env:NAME} or {file:PATH} keeps it elsewhere")
	}
	text, places, key := token.text, b.places(), token.key
	return &Subject{
		read: func() (secret.Text, error) {
			value, _, err := places.resolve(text)
			if err != nil {
				return secret.Text{}, fmt.Errorf("%s: %w", key, err)
			}
			return secret.New(strings.TrimSpace(value)), nil
		},
		Type: n.value("subject_token_type"), Issuer: n.value("subject_issuer"),
	}
}

func (b *builder) issuers() {
	b.cfg.Issuers = make(map[string]Issuer)
	for _, e := range b.root.section("issuers").entries {
		if e.value == nil || e.parsed == nil {
			continue
		}
		v := e.value
		issuer := Issuer{
			ClientID:                v.value("client_id"),
			ClientSecret:            b.password(v.field("client_secret"), "client_secret"),
			TokenEndpointAuthMethod: v.value("token_endpoint_auth_method"),
			PrivateKey:              b.path(v.field("private_key")),
			PrivateKeyPassphrase:    b.password(v.field("private_key_passphrase"), "private_key_passphrase"),
			KeyID:                   v.value("key_id"), SigningAlg: v.value("signing_alg"),
			PKCE: v.value("pkce"), Resource: v.value("resource"), DPoP: v.value("dpop"),
			RedirectHost: v.value("redirect_host"), RedirectPort: v.value("redirect_port"),
			AuthorizeParams: texts(v.field("authorize_params")), TokenParams: texts(v.field("token_params")),
		}
		switch {
		case issuer.TokenEndpointAuthMethod != "" || issuer.ClientID == "":
		case issuer.PrivateKey != "" && !issuer.ClientSecret.IsZero():
			b.doc.fail(v, "there are both client_secret and private_key; token_endpoint_auth_method says which is used")
		case issuer.PrivateKey != "":
			issuer.TokenEndpointAuthMethod = "private_key_jwt"
		case !issuer.ClientSecret.IsZero():
			issuer.TokenEndpointAuthMethod = "client_secret_basic"
		default:
			issuer.TokenEndpointAuthMethod = "none"
		}
		b.cfg.Issuers[e.name] = issuer
		if issuer.ClientID != "" && !b.isNamed(e.name) {
			b.doc.warn(v, "no site's oauth.issuer is "+sanitize.Quote(e.name)+", so this client is never used")
		}
	}
}

// isNamed reports whether a site names the issuer, which is compared as it stands.
func (b *builder) isNamed(issuer string) bool {
	return slices.ContainsFunc(b.cfg.Sites, func(s Site) bool {
		return s.OAuth != nil && (s.OAuth.Issuer == issuer || s.OAuth.Subject != nil && s.OAuth.Subject.Issuer == issuer ||
			s.OAuth.Discovery == "mcp-2025-03-26" && s.Pattern.String() == issuer)
	})
}

// texts is a dict of texts.
func texts(n *node) map[string]string {
	if n == nil {
		return nil
	}
	all := make(map[string]string, len(n.entries))
	for _, e := range n.entries {
		if e.value != nil {
			all[e.name] = e.value.text
		}
	}
	return all
}
