package keyfile

import (
	"context"
	"crypto"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// LoadKey reads a private key that needs no certificate from the file at path, which is absolute:
// PKCS#8, encrypted or not, PKCS#1 or SEC 1, in PEM or DER, or PKCS#12. The signer prints no
// secret. Warnings are sentences about what may go wrong, an error is an [*Error]; both name the
// keys of the configuration that path and passphrase come from.
func LoadKey(path string, text secret.Text, pathKey, passphraseKey string) (key crypto.Signer, warnings []string, err error) {
	f, err := Read(Names{Settings: map[string]string{"key": pathKey, "passphrase": passphraseKey}}, "key", path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Forget()
	ctx, p := context.Background(), fixed(text, passphraseKey) // nobody is asked
	blocks, err := f.Blocks()
	if err != nil {
		return nil, nil, err
	}
	if blocks, err = f.unpack(ctx, blocks, p); err != nil {
		return nil, nil, err
	}
	decoded, err := f.privateKey(ctx, blocks, p)
	if err != nil {
		return nil, nil, err
	}
	all, err := f.CheckPermissions(false)
	if err != nil {
		return nil, nil, err
	}
	if needless, ok := p.Needless(); ok {
		all = append(all, needless)
	}
	for _, w := range all {
		warnings = append(warnings, w.Says+"; "+w.Remedy)
	}
	return Opaque(decoded), warnings, nil
}
