package tlsmat

import (
	"crypto"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// LoadKey reads a private key that has no certificate from the PEM file at path, which is
// absolute: PKCS#8, encrypted or not, PKCS#1 or SEC 1. The signer prints no secret. Warnings are
// sentences about what may go wrong, an error is a [*LoadError]; both name the keys of the
// configuration that path and passphrase come from.
func LoadKey(path string, passphrase secret.Text, pathKey, passphraseKey string) (key crypto.Signer, warnings []string, err error) {
	f := &file{field: "key", path: path, named: setting{pathKey, passphraseKey}}
	if _, err := f.read(); err != nil {
		return nil, nil, err
	}
	blocks, err := f.blocks()
	if err != nil {
		return nil, nil, err
	}
	decoded, encrypted, err := f.privateKey(blocks, passphrase)
	if err != nil {
		return nil, nil, err
	}
	if w := f.permissionWarning(); w != "" {
		warnings = append(warnings, w)
	}
	if !encrypted && !passphrase.IsZero() {
		warnings = append(warnings, passphraseKey+" is set, but the key is not encrypted")
	}
	return newSigner(decoded), warnings, nil
}
