package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/auth"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// given is what a scenario tells beforehand: what the operator of a client would know when writing
// its configuration.
type given struct {
	Scenario     string `json:"name"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`

	PrivateKey string `json:"private_key_pem"` // PKCS#8
	Algorithm  string `json:"signing_algorithm"`

	WorkloadJWT string `json:"valid_jwt"`

	IDToken          string `json:"idp_id_token"`
	IdentityProvider string `json:"idp_issuer"`
	ClientIDThere    string `json:"idp_client_id"`
}

func readGiven() (given, error) {
	var g given
	text := os.Getenv("MCP_CONFORMANCE_CONTEXT")
	if text == "" {
		return g, nil
	}
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		return g, fmt.Errorf("reading the scenario's context: %w", err)
	}
	return g, nil
}

// configure returns what the configuration would say of the site, and of our client at its issuer.
func (g given) configure() (auth.Site, login.Credentials, error) {
	site := auth.Site{Configured: true}
	client := login.Credentials{ID: g.ClientID, Secret: secret.New(g.ClientSecret)}
	if g.PrivateKey != "" {
		key, err := parseKey(g.PrivateKey)
		if err != nil {
			return site, client, err
		}
		client.AuthMethod, client.Key = "private_key_jwt", &login.SigningKey{Signer: key, Algorithm: g.Algorithm}
	}
	switch {
	case strings.HasPrefix(g.Scenario, "auth/client-credentials-"):
		site.Grant = login.ClientCredentials
	case g.WorkloadJWT != "":
		site.Grant = login.JWTBearer
		site.Subject = login.Subject{Token: constant(g.WorkloadJWT), Type: "urn:ietf:params:oauth:token-type:jwt"}
	case g.IDToken != "":
		site.Grant = login.JWTBearer
		site.Subject = login.Subject{Token: constant(g.IDToken), At: g.IdentityProvider, Client: login.Credentials{ID: g.ClientIDThere}}
	}
	return site, client, nil
}

func constant(token string) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return secret.New(token), nil }
}

func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the scenario's private key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}
