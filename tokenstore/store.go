// Package tokenstore keeps tokens, client registrations and approvals between runs, processes and replicas.
package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

// Kind says what a record is.
type Kind string

// The kinds of records.
const (
	KindToken    Kind = "token"     // a [Token]
	KindClient   Kind = "client"    // a [Client]
	KindApproval Kind = "approval"  // an [Approval]
	KindProofKey Kind = "proof_key" // a [ProofKey]
)

// Key names one record. Kind and Principal are never empty; a Resource or Issuer that plays no
// part for the kind is.
type Key struct {
	Kind      Kind
	Principal principal.ID
	Resource  string
	Issuer    string
}

// Entry is a record as stored. Value is a JSON object.
type Entry struct {
	Key   Key
	Value []byte
}

// Store keeps records. [Memory], [File] and [Keyring] implement it; [Seal] adds encryption to any.
//
// Values returned and given belong to the caller. A read sees every write that returned before it
// began, whichever process wrote.
type Store interface {
	// Get returns the value of k as compact JSON, or [ErrNotFound].
	Get(ctx context.Context, k Key) ([]byte, error)
	// Put stores value, a JSON object of at most 1 MiB or what [Seal] makes of one, in place of what k held.
	Put(ctx context.Context, k Key, value []byte) error
	// Delete forgets k. That k is absent is no error.
	Delete(ctx context.Context, k Key) error
	// List returns all records of one kind and principal, sorted by key.
	List(ctx context.Context, kind Kind, p principal.ID) ([]Entry, error)
	// Lock waits for the exclusive lock called name, shared by all users of the store: goroutines,
	// processes, replicas. When ctx ends first it returns a [*LockError]. Locking excludes nobody
	// from reading and writing, and what the caller read before it may be out of date: read again.
	// unlock may be called more than once.
	Lock(ctx context.Context, name string) (unlock func(), err error)
}

// ErrNotFound reports that the store holds no such record.
var ErrNotFound = errors.New("not in the token store")

// maxValue bounds one value in bytes.
const maxValue = 1 << 20

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Principal, o.Principal),
		cmp.Compare(k.Resource, o.Resource), cmp.Compare(k.Issuer, o.Issuer))
}

// checked returns value in its compact form. Its errors never show any of it.
func checked(k Key, value []byte) ([]byte, error) {
	switch {
	case k.Kind == "":
		return nil, errors.New("storing a record without a kind")
	case k.Principal == "":
		return nil, fmt.Errorf("storing a %s without a principal", k.Kind)
	case !utf8.ValidString(string(k.Kind) + string(k.Principal) + k.Resource + k.Issuer):
		return nil, errors.New("storing a record whose key is not valid UTF-8")
	case len(value) > maxValue && !isEnvelope(value):
		return nil, fmt.Errorf("storing a %s of %d bytes; at most %d are kept", k.Kind, len(value), maxValue)
	}
	v := jsontext.Value(value).Clone()
	if !v.IsValid() || v.Kind() != '{' {
		return nil, fmt.Errorf("storing a %s whose value is not a JSON object", k.Kind)
	}
	if err := v.Compact(); err != nil {
		return nil, fmt.Errorf("storing a %s whose value is not a JSON object", k.Kind)
	}
	return v, nil
}
