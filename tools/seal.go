package tools

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// seal protects the requestState that a client carries between the rounds of one call (MCP
// 2026-07-28, multi round-trip requests). The state names the action that was shown and grants
// nothing by itself, so that using it twice is harmless.
type seal struct{ aead cipher.AEAD }

// sealed is the content of a requestState.
type sealed struct {
	Principal principal.ID `json:"p"`
	Arguments []byte       `json:"a"` // digest
	Action    string       `json:"i"`
	Expires   int64        `json:"e"` // Unix seconds
}

// newSeal makes a seal that lasts as long as the process.
func newSeal() seal {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return seal{aead}
}

func (s seal) close(p principal.ID, args arguments, a *action.Action) (string, error) {
	plain, err := json.Marshal(sealed{p, args.digest(), a.ID(), a.Prompt().ExpiresAt.Unix()})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, nil)), nil
}

// open returns the action of a state that we sealed for this principal and these arguments.
func (s seal) open(ctx context.Context, state string, args arguments) (id string, err error) {
	box, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		return "", &stateError{"it is not one of ours"}
	}
	plain, err := s.aead.Open(nil, nil, box, nil)
	if err != nil {
		return "", &stateError{"it is not one of ours, or the server was restarted"}
	}
	var v sealed
	switch err := json.Unmarshal(plain, &v); {
	case err != nil:
		return "", &stateError{"it cannot be read"}
	case v.Principal != principal.From(ctx):
		return "", &stateError{"it belongs to someone else"}
	case string(v.Arguments) != string(args.digest()):
		return "", &stateError{"it belongs to a call with other arguments"}
	case time.Now().Unix() > v.Expires:
		return "", &stateError{"the sign-in it belongs to has expired"}
	}
	return v.Action, nil
}

func (a arguments) digest() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d", a.URL, a.Format, a.StartIndex, a.MaxLength))
	return sum[:]
}

// stateError: the requestState of a call cannot be used.
type stateError struct{ reason string }

func (e *stateError) Error() string {
	return "the requestState of this call cannot be used: " + e.reason
}

// Code is the stable machine code of this error.
func (e *stateError) Code() string { return "invalid_request_state" }

// Hint says what to do.
func (e *stateError) Hint() string { return "call webfetch again without a requestState" }
