// Package tlsmat loads client certificates, keys and roots, and explains TLS failures.
package tlsmat

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Entry is one entry of the configuration's "mtls".
type Entry struct {
	Name       string      // used in messages
	Cert       string      // PEM file, absolute: the certificate and its intermediates in any order; "": roots only
	Key        string      // PEM file, absolute; "": the key is in Cert
	Passphrase secret.Text // of the key
	CA         string      // PEM file with roots, absolute; "": none
	CAOnly     bool        // trust CA alone instead of CA and the system roots
}

// Material is a loaded [Entry]: a client certificate, roots, or both. It never changes. A nil
// Material is the absence of any: the system roots and no certificate.
type Material struct {
	name   string
	cert   *tls.Certificate // nil: roots only
	roots  *x509.CertPool   // nil: the system's
	bundle []*x509.Certificate
	caOnly bool

	certFile, keyFile, caFile *file // nil: not used

	warnings []string // what cannot change with time
}

// LoadError says why an [Entry], or the key of [LoadKey], cannot be used.
type LoadError struct {
	Entry  string // its name; "" for a key alone
	Path   string // the file at fault; "" when it is the entry itself
	Reason string
	Err    error // the cause from below, if any

	field string // "cert", "key", "passphrase", "ca" or "ca_mode"
	named string // the key of the configuration; "": that of the entry
	code  string
	hint  string
}

func (e *LoadError) Error() string {
	s := cmp.Or(e.named, configKey(e.Entry, e.field))
	if e.Path != "" {
		s += " " + sanitize.Line(e.Path, 1000)
	}
	return s + ": " + e.Reason
}

// Code is the stable machine code, such as tls.key_file.
func (e *LoadError) Code() string { return e.code }

// Hint says what to do.
func (e *LoadError) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// Load reads the files of e and checks that they fit together. Its error is a [*LoadError].
func Load(e Entry) (*Material, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	var in files
	for _, f := range []struct {
		to    **file
		field string
		path  string
	}{{&in.cert, "cert", e.Cert}, {&in.key, "key", e.Key}, {&in.ca, "ca", e.CA}} {
		if f.path == "" {
			continue
		}
		loaded, err := readFile(e.Name, f.field, f.path)
		if err != nil {
			return nil, err
		}
		*f.to = loaded
	}
	m, err := build(e, in)
	if err != nil {
		return nil, err
	}
	for _, f := range []*file{in.cert, in.key, in.ca} {
		if f != nil {
			f.data = nil // a Material lives long and needs no copy of the key
		}
	}
	return m, nil
}

// check refuses entries that no file could make right.
func (e Entry) check() error {
	fail := func(field, code, reason, hint string) error {
		return &LoadError{Entry: e.Name, Reason: reason, field: field, code: code, hint: hint}
	}
	switch {
	case e.Cert == "" && e.Key != "":
		return fail("cert", "tls.cert_file", "is not set, but a key is",
			"set "+configKey(e.Name, "cert")+" to the PEM file of the certificate that belongs to the key")
	case e.CAOnly && e.CA == "":
		return fail("ca_mode", "tls.ca_file", "allows only the roots of ca, but ca is not set",
			"set "+configKey(e.Name, "ca")+", or leave ca_mode out to use the system roots")
	case e.Cert == "" && e.CA == "":
		return fail("cert", "tls.cert_file", "names neither a certificate nor roots",
			"set "+configKey(e.Name, "cert")+" and "+configKey(e.Name, "key")+", or "+configKey(e.Name, "ca"))
	}
	return nil
}

// files are the inputs of build, nil where the entry names none.
type files struct{ cert, key, ca *file }

// build makes the material from bytes already read.
func build(e Entry, in files) (*Material, error) {
	m := &Material{name: e.Name, caOnly: e.CAOnly, certFile: in.cert, caFile: in.ca}
	if in.ca != nil {
		if err := m.loadRoots(); err != nil {
			return nil, err
		}
	}
	if in.cert == nil {
		return m, nil
	}
	if err := m.loadPair(in, e.Passphrase); err != nil {
		return nil, err
	}
	if w := m.keyFile.permissionWarning(); w != "" {
		m.warnings = append(m.warnings, w)
	}
	return m, nil
}

// loadPair fills in the certificate chain and its key.
func (m *Material) loadPair(in files, passphrase secret.Text) error {
	certBlocks, err := in.cert.blocks()
	if err != nil {
		return err
	}
	m.keyFile = in.key
	keyBlocks := certBlocks
	if in.key == nil {
		m.keyFile = in.cert.as("key")
	} else if keyBlocks, err = in.key.blocks(); err != nil {
		return err
	}
	if in.key != nil && !has(certBlocks, isCertificate) && has(certBlocks, isKey) && !has(keyBlocks, isKey) && has(keyBlocks, isCertificate) {
		return in.cert.fail(nil, "swap "+in.cert.configKey()+" and "+in.key.configKey(),
			"holds the private key, and %s holds the certificate", in.key.field)
	}
	certs, err := in.cert.certificates(certBlocks)
	if err != nil {
		return err
	}
	key, encrypted, err := m.keyFile.privateKey(keyBlocks, passphrase)
	if err != nil {
		return err
	}
	if !encrypted && !passphrase.IsZero() {
		m.warnings = append(m.warnings, configKey(m.name, "passphrase")+" is set, but the key is not encrypted")
	}
	chain, unused := orderChain(certs, key.Public())
	if chain == nil {
		return mismatch(in.cert, m.keyFile, certs[0], key)
	}
	m.cert = &tls.Certificate{PrivateKey: newSigner(key), Leaf: chain[0]}
	for _, c := range chain {
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
	m.warnings = append(m.warnings, m.chainWarnings(chain, unused)...)
	return nil
}

// loadRoots fills in the trusted roots. Unlike [x509.CertPool.AppendCertsFromPEM] it refuses a
// bundle of which a single certificate is damaged.
func (m *Material) loadRoots() error {
	blocks, err := m.caFile.blocks()
	if err != nil {
		return err
	}
	if m.bundle, err = m.caFile.certificates(blocks); err != nil {
		return err
	}
	m.roots = x509.NewCertPool()
	if !m.caOnly {
		if m.roots, err = x509.SystemCertPool(); err != nil {
			return m.caFile.fail(err, `install the system's CA certificates, or set `+configKey(m.name, "ca_mode")+` to "only"`,
				"cannot be added to the system roots, which are unreadable: %v", err)
		}
	}
	for _, c := range m.bundle {
		m.roots.AddCert(c)
	}
	return nil
}

func configKey(entry, field string) string { return "mtls." + sanitize.Line(entry, 100) + "." + field }
