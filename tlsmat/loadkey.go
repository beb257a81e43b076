package tlsmat

import (
	"context"
	"crypto"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// LoadKey reads a private key that needs no certificate from the file at path, which is absolute:
// PKCS#8, encrypted or not, PKCS#1 or SEC 1, in PEM or DER, or PKCS#12. The signer prints no
// secret. Warnings are sentences about what may go wrong, an error is a [*LoadError]; both name the
// keys of the configuration that path and passphrase come from.
func LoadKey(path string, text secret.Text, pathKey, passphraseKey string) (key crypto.Signer, warnings []string, err error) {
	f := &file{field: "key", path: path, settings: map[string]string{"key": pathKey, "passphrase": passphraseKey}}
	if _, err := f.read(); err != nil {
		return nil, nil, err
	}
	ctx, p := context.Background(), fixed(text, passphraseKey) // nobody is asked
	blocks, err := f.blocks()
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
	open, err := f.checkPermissions(false)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range append(open, p.needless()...) {
		warnings = append(warnings, w.says+"; "+w.remedy)
	}
	return newSigner(decoded), warnings, nil
}
