package tokenstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Sizes in bytes.
const (
	keySize   = 32 // AES-256
	kidSize   = 9
	nonceSize = 12 // of GCM
	tagSize   = 16 // of GCM
)

// SealKey is a key for [Seal]. Printing, logging or marshalling it yields [secret.Redacted].
type SealKey struct {
	// A pointer: formatted where methods are not called, as within unexported fields, it is an address.
	cipher *sealCipher
}

type sealCipher struct {
	cipher.AEAD
	id string
}

// NewSealKey makes a key of 32 random bytes.
func NewSealKey(key []byte) (SealKey, error) {
	if len(key) != keySize {
		return SealKey{}, fmt.Errorf("a key of %d bytes; it has to be %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return SealKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return SealKey{}, err
	}
	sum := sha256.Sum256(append([]byte("mcp-authfetch key id v1"), key...))
	return SealKey{&sealCipher{aead, encoding.EncodeToString(sum[:kidSize])}}, nil
}

// ID tells keys apart, and nothing of what they are.
func (k SealKey) ID() string {
	if k.cipher == nil {
		return ""
	}
	return k.cipher.id
}

// Format implements [fmt.Formatter] for every verb and flag.
func (SealKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// LogValue implements [slog.LogValuer].
func (SealKey) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText implements [encoding.TextMarshaler], so that JSON and the like are redacted too.
func (SealKey) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }
