// Package tlsmat keeps TLS material current: client certificates with their keys, and trusted roots.
package tlsmat

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Entry is one entry of the configuration's "mtls". Paths are absolute.
type Entry struct {
	Name string // used in messages

	// Cert is a file with the certificate and its intermediates in any order: PEM, DER or PKCS#12,
	// whatever it is called; or a pkcs11: URI. "": roots only, or an identity from elsewhere.
	Cert string
	// Key is a file with the private key, in the same formats, or a pkcs11: URI (RFC 7512). "": it is where Cert is.
	Key string
	// Passphrase opens the key or the PKCS#12; it is asked at every load that finds something
	// encrypted, and only then. Nil: none.
	Passphrase func(context.Context) (secret.Text, error)
	// PassphraseCommand is a program that prints the passphrase instead; it has 10 seconds. It is run
	// without a shell and without input. Nil: none.
	PassphraseCommand []string
	// Signer is the command of an external signer, which has the key and, where Cert is "", the chain.
	Signer []string
	// SPIFFE is the address of a Workload API, which has chain, key and further roots.
	SPIFFE string
	// StrictPermissions refuses a key that others can read, which is else a warning.
	StrictPermissions bool

	CA     []string // files (PEM or DER) and directories of such files, with roots
	CAOnly bool     // trust CA alone instead of CA and the system roots
	// ServerName is what servers must prove to be, instead of the host of the URL: a DNS name, or a
	// SPIFFE ID such as spiffe://corp.example/wiki.
	ServerName string
	MinVersion uint16   // tls.VersionTLS12, which is also 0, or tls.VersionTLS13
	Pins       []string // sha256//BASE64 of public keys (SPKI), one of which the server's chain must have
	CRL        []string // files with revocation lists, PEM or DER

	// Settings are the names of the entry's settings, by field ("cert", "key", "passphrase", "ca"),
	// where they do not come from the configuration file, such as AUTHFETCH_CERT.
	Settings map[string]string
}

// Material is a loaded [Entry], of one moment: a client certificate, roots, or both. It never
// changes. A nil Material is the absence of any: the system roots and no certificate.
type Material struct {
	name     string
	settings map[string]string
	cert     *tls.Certificate // nil: roots only
	certFrom certPlace
	trust

	certFile, keyFile *keyfile.File // nil: not used

	withdrawn coded // why the certificate must not be used any more; nil: it may be
}

// LoadError says why an [Entry] cannot be used.
type LoadError = keyfile.Error

// Load reads the files of e and checks that they fit together. Its error is a [*LoadError].
//
// What keeps its key to itself ([Entry.Signer], [Entry.SPIFFE], a pkcs11: URI) is for [Open].
func Load(ctx context.Context, e Entry) (*Material, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if e.keepsKey() {
		return nil, e.fault(causeHome, "key", nil)
	}
	in, err := read(e)
	if err != nil {
		return nil, err
	}
	defer in.forget()
	return build(ctx, e, in)
}

// check refuses entries that no file could make right.
func (e Entry) check() error {
	homes := 0
	for _, has := range []bool{isURI(e.Cert) && !isURI(e.Key), e.Key != "", len(e.Signer) > 0, e.SPIFFE != ""} {
		if has {
			homes++
		}
	}
	switch {
	case homes > 1:
		return e.fault(causeTwoKeys, "key", nil)
	case e.Cert == "" && e.Key != "" && !isURI(e.Key):
		return e.fault(causeNoCert, "cert", nil)
	case e.CAOnly && len(e.CA) == 0 && e.SPIFFE == "":
		return e.fault(causeNoRoots, "ca_mode", nil)
	case e.Cert == "" && len(e.CA) == 0 && homes == 0 && !e.asksMore():
		return e.fault(causeNothing, "cert", nil)
	case e.Passphrase != nil && len(e.PassphraseCommand) > 0:
		return e.fault(causeTwoPassphrases, "passphrase", nil)
	}
	return nil
}

// asksMore reports whether the entry asks more of servers than crypto/tls does by itself.
func (e Entry) asksMore() bool {
	return e.ServerName != "" || len(e.Pins) > 0 || len(e.CRL) > 0 || e.MinVersion > tls.VersionTLS12
}

// inputs are what material is made of; nil where the entry names none.
type inputs struct {
	cert, key *keyfile.File
	ca        []rootFile
	crl       []*keyfile.File

	// From a home that keeps its key to itself: the chain, leaf first, which may be empty where the
	// entry names a file for it, the key, and further roots.
	chain  []*x509.Certificate
	signer crypto.Signer
	roots  []*x509.Certificate
}

// read reads the files.
func read(e Entry) (*inputs, error) {
	in := &inputs{}
	for _, f := range []struct {
		to    **keyfile.File
		field string
		path  string
	}{{&in.cert, "cert", e.Cert}, {&in.key, "key", e.Key}} {
		if f.path == "" || isURI(f.path) {
			continue
		}
		loaded, err := keyfile.Read(e.names(), f.field, f.path)
		if err != nil {
			return nil, err
		}
		*f.to = loaded
	}
	for _, path := range e.CRL {
		list, err := keyfile.Read(e.names(), "crl", path)
		if err != nil {
			return nil, err
		}
		in.crl = append(in.crl, list)
	}
	var err error
	in.ca, err = readRoots(e)
	return in, err
}

// isURI reports a pkcs11: URI. The case of a scheme does not count (RFC 3986 §3.1).
func isURI(location string) bool {
	const scheme = "pkcs11:"
	return len(location) >= len(scheme) && strings.EqualFold(location[:len(scheme)], scheme)
}

// all are the files among the inputs.
func (in *inputs) all() []*keyfile.File {
	var out []*keyfile.File
	for _, f := range append([]*keyfile.File{in.cert, in.key}, in.crl...) {
		if f != nil {
			out = append(out, f)
		}
	}
	for _, f := range in.ca {
		out = append(out, f.File)
	}
	return out
}

// forget drops the bytes: a Material lives long and needs no copy of the key.
func (in *inputs) forget() {
	for _, f := range in.all() {
		f.Forget()
	}
}

// build makes the material from what was read.
func build(ctx context.Context, e Entry, in *inputs) (*Material, error) {
	m := &Material{name: e.Name, settings: e.Settings, certFile: in.cert, certFrom: e.certFrom()}
	if err := m.loadTrust(e, in); err != nil {
		return nil, err
	}
	var err error
	switch {
	case in.signer != nil:
		err = m.useHome(e, in)
	case in.cert != nil:
		err = m.loadPair(ctx, e, in)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// names are how messages call the entry's settings.
func (e Entry) names() keyfile.Names { return keyfile.Names{Entry: e.Name, Settings: e.Settings} }

// passphrase is that of the entry.
func (e Entry) passphrase() *keyfile.Passphrase {
	return keyfile.NewPassphrase(e.names(), e.Passphrase, e.PassphraseCommand)
}
