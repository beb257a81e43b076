// Package keyfile reads certificates and private keys from files in every usual format.
package keyfile

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Names are how messages call settings.
type Names struct {
	Entry    string            // of "mtls" in the configuration; "" for what belongs to none
	Settings map[string]string // by field, such as "key", where they are not those of the entry
}

// Setting is how the configuration calls a field, such as mtls.corp.key.
func (n Names) Setting(field string) string {
	return cmp.Or(n.Settings[field], "mtls."+sanitize.Line(n.Entry, 100)+"."+field)
}

// Fault is that c is the case for a field itself.
func (n Names) Fault(c catalogue.Cause, field string, err error, values ...string) *Error {
	return &Error{Entry: n.Entry, Field: field, Setting: n.Setting(field), Err: err, Cause: c.Fill(append(slices.Clone(values), n.known(field)...)...)}
}

// known are the values of causes that are known of every field.
func (n Names) known(field string) []string {
	return []string{"field", field, "setting", n.Setting(field), "passphrase", n.Setting("passphrase"),
		"command", n.Setting("passphrase_command"), "cert", n.Setting("cert"), "key", n.Setting("key")}
}

// Error says why something cannot be used.
type Error struct {
	Entry   string // the entry's name; "" for what belongs to none
	Field   string // such as "cert", "key", "passphrase" or "ca"
	Setting string // how the configuration calls it
	Path    string // the file at fault; "" when it is the setting itself
	Cause   catalogue.Cause
	Err     error // from below, if any
}

func (e *Error) Error() string {
	s := e.Setting
	if e.Path != "" {
		s += " " + sanitize.Line(e.Path, 1000)
	}
	return s + ": " + e.Cause.Says
}

// Code is the stable machine code, such as tls.key_file.
func (e *Error) Code() string { return e.Cause.Code }

// Hint says what to do.
func (e *Error) Hint() string { return e.Cause.Remedy }

// Unwrap returns the cause from below.
func (e *Error) Unwrap() error { return e.Err }

// Pair reads the certificates of one file, in the order of the file, and the private key of another
// or, where key is nil, of the same. Whether they belong together is not its concern.
func Pair(ctx context.Context, cert, key *File, p *Passphrase) ([]*x509.Certificate, crypto.Signer, error) {
	certBlocks, err := cert.Blocks()
	if err != nil {
		return nil, nil, err
	}
	keyBlocks := certBlocks
	if key != nil {
		if keyBlocks, err = key.Blocks(); err != nil {
			return nil, nil, err
		}
		if has(certBlocks, Block.IsKey) && !has(certBlocks, Block.IsCertificate) && has(keyBlocks, Block.IsCertificate) && !has(keyBlocks, Block.IsKey) {
			return nil, nil, cert.Fault(causeSwapped, nil)
		}
	}
	if certBlocks, err = cert.unpack(ctx, certBlocks, p); err != nil {
		return nil, nil, err
	}
	if key == nil {
		key, keyBlocks = cert.As("key"), certBlocks
	} else if keyBlocks, err = key.unpack(ctx, keyBlocks, p); err != nil {
		return nil, nil, err
	}
	certs, err := cert.Certificates(certBlocks)
	if err != nil {
		return nil, nil, err
	}
	signer, err := key.privateKey(ctx, keyBlocks, p)
	if err != nil {
		return nil, nil, err
	}
	return certs, Opaque(signer), nil
}
