package signer

import (
	"crypto"
	"crypto/elliptic"
	"path/filepath"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// BenchmarkSign compares a signature by another process with one of our own.
func BenchmarkSign(b *testing.B) {
	dir := b.TempDir()
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true, Key: ecKey(elliptic.P256())})
	if _, _, err := pair.Write(dir, "client"); err != nil {
		b.Fatal(err)
	}
	p, err := Start(b.Context(), argv("good", dir))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	_, key, err := p.Identity(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for name, k := range map[string]crypto.Signer{"signer": key, "own": readKey(filepath.Join(dir, "client.key"))} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
