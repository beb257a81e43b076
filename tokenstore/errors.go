package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// LockError reports a lock that was not obtained.
type LockError struct {
	Name   string        // of the lock, or the path of the store's file
	Holder string        // who had it, "" where that is not known
	Waited time.Duration // before giving up
	Err    error         // the context's error, or why locking is impossible
}

// Error says which lock, who has it and how long the wait was.
func (e *LockError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("locking %s: %v", sanitize.Quote(e.Name), e.Err)
	}
	return fmt.Sprintf("waited %v for the lock %s, held by %s: %v",
		e.Waited.Round(time.Millisecond), sanitize.Quote(e.Name), e.Holder, e.Err)
}

// Unwrap returns what ended the wait.
func (e *LockError) Unwrap() error { return e.Err }

// Code is the stable name of this error.
func (*LockError) Code() string { return "store.locked" }

// Hint says what to do.
func (e *LockError) Hint() string {
	switch {
	case e.Holder == "" && (errors.Is(e.Err, context.Canceled) || errors.Is(e.Err, context.DeadlineExceeded)):
		return "try again, with more time"
	case e.Holder == "":
		return "try again; if it stays so, check that the file system of the token store supports file locks"
	}
	return "try again when " + e.Holder + " has finished, or end it if it hangs"
}

// PermissionError reports a store that other users of the machine could read or have prepared.
type PermissionError struct {
	Path   string
	Reason string
	remedy string
}

// Error says what is wrong with which path.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("token store: %s %s", e.Path, e.Reason)
}

// Code is the stable name of this error.
func (*PermissionError) Code() string { return "store.permissions" }

// Hint says what to do.
func (e *PermissionError) Hint() string { return e.remedy }

// WriteError reports that nothing was written; what was stored before is intact.
type WriteError struct {
	Path string
	Err  error
}

// Error says what could not be written and why.
func (e *WriteError) Error() string {
	return fmt.Sprintf("token store: writing %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// Code is the stable name of this error.
func (*WriteError) Code() string { return "store.write" }

// Hint says what to do.
func (e *WriteError) Hint() string {
	return "check that the disk of " + quoted(e.Path) + " has space and that its directory may be written, or choose another with store.path"
}

// VersionError reports a file that a newer release wrote. It is left alone.
type VersionError struct {
	Path      string
	Got, Want int64
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("token store: %s has version %d; this release reads version %d", e.Path, e.Got, e.Want)
}

// Code is the stable name of this error.
func (*VersionError) Code() string { return "store.version" }

// Hint says what to do.
func (e *VersionError) Hint() string {
	return "upgrade mcp-authfetch, or choose another directory with store.path"
}

// DamagedError reports a record that is there but is not what its key says. It counts as not
// found: errors.Is(err, [ErrNotFound]) holds, and storing the record anew repairs it.
type DamagedError struct {
	Key    Key
	Reason string
}

// Error names the record, and shows nothing of its value.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("stored %s for %s is damaged: %s", sanitize.Line(string(e.Key.Kind), 20), sanitize.Quote(cmp.Or(e.Key.Resource, e.Key.Issuer)), e.Reason)
}

// Is makes a damaged record count as absent.
func (*DamagedError) Is(target error) bool { return target == ErrNotFound }

// Code is the stable name of this error.
func (*DamagedError) Code() string { return "store.damaged" }

// Hint says what to do.
func (*DamagedError) Hint() string { return "sign in again; that replaces the record" }
