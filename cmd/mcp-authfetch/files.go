package main

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// files is what the files hold that the config names.
type files struct {
	materials map[string]*tlsmat.Material  // by name under mtls
	keys      map[string]*login.SigningKey // by issuer
	notes     []string                     // about the keys
}

// loadFiles reads them all. With an error it returns those that can be used.
func loadFiles(cfg *config.Config) (files, error) {
	all := files{materials: map[string]*tlsmat.Material{}, keys: map[string]*login.SigningKey{}}
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(cfg.MTLS)) {
		e := cfg.MTLS[name]
		m, err := tlsmat.Load(tlsmat.Entry{
			Name: name, Cert: e.Cert, Key: e.Key, Passphrase: e.Passphrase, CA: e.CA, CAOnly: e.CAMode == "only",
		})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all.materials[name] = m
	}
	for _, issuer := range slices.Sorted(maps.Keys(cfg.Issuers)) {
		c := cfg.Issuers[issuer]
		if c.TokenEndpointAuthMethod != "private_key_jwt" {
			continue
		}
		in := `issuers."` + issuer + `".`
		signer, warnings, err := tlsmat.LoadKey(c.PrivateKey, c.PrivateKeyPassphrase, in+"private_key", in+"private_key_passphrase")
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all.keys[issuer] = &login.SigningKey{Signer: signer, ID: c.KeyID, Algorithm: c.SigningAlg}
		all.notes = append(all.notes, warnings...)
	}
	return all, errors.Join(failed...)
}

func (f files) warnings() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(f.materials)) {
		for _, w := range f.materials[name].Warnings() {
			if !strings.HasPrefix(w, "mtls.") { // most name the setting
				w = "mtls." + name + ": " + w
			}
			all = append(all, w)
		}
	}
	return append(all, f.notes...)
}
