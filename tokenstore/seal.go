package tokenstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// Seal returns a store that keeps every value in s encrypted and bound to its key: AES-256-GCM
// with a random nonce, and the four parts of the [Key] as additional data. The keys of records are
// not encrypted.
//
// The first of keys seals, any of them opens. What another than the first has sealed is sealed
// anew when it is put the next time. A value that is not sealed, or does not open, is a
// [*DamagedError] to Get and skipped by List; it stays as it is until it is put or deleted.
func Seal(s Store, keys ...SealKey) (Store, error) {
	if len(keys) == 0 {
		return nil, errors.New("sealing a token store without a key")
	}
	for _, k := range keys {
		if k.cipher == nil {
			return nil, errors.New("sealing a token store with an empty key")
		}
	}
	return &sealed{s, keys}, nil
}

type sealed struct {
	Store
	keys []SealKey
}

// Get implements [Store].
func (s *sealed) Get(ctx context.Context, k Key) ([]byte, error) {
	value, err := s.Store.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	return s.open(k, value)
}

// Put implements [Store].
func (s *sealed) Put(ctx context.Context, k Key, value []byte) error {
	value, err := checked(k, value)
	if err != nil {
		return err
	}
	sealed, err := s.keys[0].seal(k, value)
	if err != nil {
		return fmt.Errorf("sealing a %s: %w", k.Kind, err)
	}
	return s.Store.Put(ctx, k, sealed)
}

// List implements [Store].
func (s *sealed) List(ctx context.Context, kind Kind, p principal.ID) ([]Entry, error) {
	entries, err := s.Store.List(ctx, kind, p)
	if err != nil {
		return nil, err
	}
	var opened []Entry
	for _, e := range entries {
		if value, err := s.open(e.Key, e.Value); err == nil {
			opened = append(opened, Entry{e.Key, value})
		}
	}
	return opened, nil
}

// open returns what was sealed for k. Its errors are all [*DamagedError].
func (s *sealed) open(k Key, value []byte) ([]byte, error) {
	kid, nonce, ciphertext, ok := parseEnvelope(value)
	if !ok {
		return nil, &DamagedError{k, "it is not sealed"}
	}
	known := false
	for _, key := range s.keys {
		if key.ID() != kid {
			continue
		}
		known = true
		if plain, err := key.cipher.Open(nil, nonce, ciphertext, additionalData(k)); err == nil {
			return plain, nil
		}
	}
	if !known {
		return nil, &DamagedError{k, "it is sealed with a key that is not here"}
	}
	return nil, &DamagedError{k, "its seal is broken: it was changed, or sealed for another key of the store"}
}

// envelope is the form of a sealed value in the store below. The members are base64url.
type envelope struct {
	KeyID      string `json:"kid"`
	Nonce      string `json:"nonce"`
	Ciphertext string `json:"ct"`
}

// maxEnvelope is the size of a sealed value of maxValue bytes.
var maxEnvelope = len(`{"kid":"","nonce":"","ct":""}`) + encoding.EncodedLen(kidSize) +
	encoding.EncodedLen(nonceSize) + encoding.EncodedLen(maxValue+tagSize)

var encoding = base64.RawURLEncoding.Strict()

// isEnvelope lets stores take sealed values, which are larger than what is in them.
func isEnvelope(value []byte) bool {
	if len(value) > maxEnvelope {
		return false
	}
	_, _, _, ok := parseEnvelope(value)
	return ok
}

func parseEnvelope(value []byte) (kid string, nonce, ciphertext []byte, ok bool) {
	var e envelope
	if json.Unmarshal(value, &e, json.RejectUnknownMembers(true)) != nil {
		return "", nil, nil, false
	}
	nonce, nonceErr := encoding.DecodeString(e.Nonce)
	ciphertext, err := encoding.DecodeString(e.Ciphertext)
	return e.KeyID, nonce, ciphertext, nonceErr == nil && err == nil && len(nonce) == nonceSize && len(ciphertext) >= tagSize
}

// seal returns value as an envelope that opens for the key to alone.
func (k SealKey) seal(to Key, value []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	return json.Marshal(envelope{
		k.ID(), encoding.EncodeToString(nonce),
		encoding.EncodeToString(k.cipher.Seal(nil, nonce, value, additionalData(to))),
	})
}

// additionalData has the length before each part, so that no two keys share it.
func additionalData(k Key) []byte {
	data := []byte("mcp-authfetch record v1")
	for _, part := range []string{string(k.Kind), string(k.Principal), k.Resource, k.Issuer} {
		data = binary.BigEndian.AppendUint64(data, uint64(len(part)))
		data = append(data, part...)
	}
	return data
}
