package main

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// files is what the files hold that the config names.
type files struct {
	sources map[string]*tlsmat.Source    // by name under mtls
	keys    map[string]*login.SigningKey // by issuer
	notes   []string                     // about the keys
}

// loadFiles reads them all. With an error it returns those that can be used. What it returns must
// be closed.
func (p *program) loadFiles(ctx context.Context, cfg *config.Config, where setting) (files, error) {
	all := files{sources: map[string]*tlsmat.Source{}, keys: map[string]*login.SigningKey{}}
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(cfg.MTLS)) {
		s, err := tlsmat.Open(ctx, mtlsEntry(name, cfg.MTLS[name]), tlsmat.SourceOptions{Logger: p.background(where)})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all.sources[name] = s
	}
	for _, issuer := range slices.Sorted(maps.Keys(cfg.Issuers)) {
		c := cfg.Issuers[issuer]
		if c.TokenEndpointAuthMethod != "private_key_jwt" {
			continue
		}
		in := `issuers."` + issuer + `".`
		signer, warnings, err := keyfile.LoadKey(c.PrivateKey, c.PrivateKeyPassphrase, in+"private_key", in+"private_key_passphrase")
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all.keys[issuer] = &login.SigningKey{Signer: signer, ID: c.KeyID, Algorithm: c.SigningAlg}
		all.notes = append(all.notes, warnings...)
	}
	return all, errors.Join(failed...)
}

// mtlsEntry is an entry of the config as tlsmat wants it.
func mtlsEntry(name string, e config.MTLS) tlsmat.Entry {
	out := tlsmat.Entry{
		Name: name, Cert: e.Cert, Key: e.Key, PassphraseCommand: e.PassphraseCommand, Signer: e.Signer, SPIFFE: e.SPIFFE,
		StrictPermissions: e.StrictPermissions, CA: e.CA, CAOnly: e.CAMode == "only",
		ServerName: e.ServerName, Pins: e.Pins, CRL: e.CRL, MinVersion: tls.VersionTLS12,
	}
	if e.MinVersion == "1.3" {
		out.MinVersion = tls.VersionTLS13
	}
	if !e.Passphrase.IsZero() {
		out.Passphrase = func(context.Context) (secret.Text, error) { return e.ReadPassphrase() }
	}
	if e.Environment {
		out.Settings = map[string]string{"cert": "AUTHFETCH_CERT", "key": "AUTHFETCH_KEY", "passphrase": "AUTHFETCH_KEY_PASSPHRASE", "ca": "AUTHFETCH_CA"}
		for _, field := range []string{"server_name", "min_version", "ca_mode", "pins", "crl", "signer", "spiffe", "passphrase_command", "strict_permissions"} {
			out.Settings[field] = field + " of an entry in a config file, instead of the variables,"
		}
	}
	return out
}

// warning is what may go wrong with a file, and what to do.
type warning struct{ says, code, remedy string }

func (w warning) String() string {
	if w.remedy == "" {
		return w.says
	}
	return w.says + "; " + w.remedy
}

func (f files) warnings() []warning {
	var all []warning
	for _, name := range slices.Sorted(maps.Keys(f.sources)) {
		for _, c := range f.sources[name].Current().Checks() {
			if c.OK && !c.Warn {
				continue
			}
			w := warning{c.Result, c.Code, c.Remedy}
			if !strings.HasPrefix(w.says, "mtls.") && !strings.HasPrefix(w.says, "AUTHFETCH_") { // most name the setting
				w.says = "mtls." + name + ": " + w.says
			}
			all = append(all, w)
		}
	}
	for _, note := range f.notes {
		all = append(all, warning{says: note})
	}
	return all
}

// watch keeps what the files hold current until stop is called.
func (f files) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background()) // outlives every request
	var group sync.WaitGroup
	for _, s := range f.sources {
		group.Go(func() { s.Watch(ctx) })
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// close ends what keys live in.
func (f files) close() {
	for _, s := range f.sources {
		_ = s.Close()
	}
}
