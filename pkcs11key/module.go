//go:build pkcs11

package pkcs11key

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ThalesGroup/crypto11"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/miekg/pkcs11"
)

// module is the file of module-path, looked at before it is loaded, because loading tells nothing.
func (u *uri) module() (string, error) {
	path, ok := u.query["module-path"]
	_, named := u.query["module-name"]
	switch {
	case !ok && named:
		return "", bad("has module-name, which is looked up nowhere here: write module-path with the module's file")
	case !ok || path == "":
		return "", bad("has no module-path: append ?module-path=/PATH/OF/THE/MODULE.so")
	case !filepath.IsAbs(path):
		return "", bad("has a module-path that is not absolute")
	}
	shown := sanitize.Line(path, 300)
	// One module by two names would be two modules to crypto11, which initializes each once.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fault(moduleMissing, err, "module", shown, "why", reason(err))
	}
	f, err := os.Open(real)
	if err != nil {
		return "", fault(moduleMissing, err, "module", shown, "why", reason(err))
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fault(moduleMissing, err, "module", shown, "why", "it is not a file")
	}
	return real, nil
}

// modules has a lock for each module: it exists once in the process, and so does what it must not be asked twice.
var modules sync.Map // of path to chan struct{}

// lock waits for whoever opens or closes a token of the module.
func lock(ctx context.Context, module string) (unlock func(), err error) {
	value, _ := modules.LoadOrStore(module, make(chan struct{}, 1))
	c := value.(chan struct{})
	if err := ctx.Err(); err != nil {
		return nil, silent(module, err)
	}
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, silent(module, ctx.Err())
	}
}

// present is a token in a slot.
type present struct {
	slot uint
	info pkcs11.TokenInfo
	is   map[string]string // by attribute of RFC 7512
}

func (p present) String() string {
	return fmt.Sprintf("%s (serial %s)", sanitize.Quote(p.is["token"]), sanitize.Line(cmp.Or(p.is["serial"], "unknown"), 40))
}

// start loads the module and opens sessions with the one token that fits.
func (t *Token) start() (present, error) {
	if t.lib = pkcs11.New(t.module); t.lib == nil {
		return present{}, fault(moduleForeign, nil, "module", sanitize.Line(t.module, 300))
	}
	first, err := t.look()
	if err != nil {
		return present{}, err
	}
	n, ok := sessionsFor(first.info)
	if !ok {
		return present{}, fault(tokenSessions, nil, "token", first.String())
	}
	slot := int(first.slot)
	if t.sessions, err = crypto11.Configure(&crypto11.Config{
		Path: t.module, SlotNumber: &slot, MaxSessions: n, PoolWaitTimeout: signTime,
		LoginNotSupported: true, // it would not tell how a login went
	}); err != nil {
		return present{}, t.fails(err)
	}
	// In between, the module was not initialized. What is in the slot now gets the PIN.
	found, err := t.seek()
	if err != nil {
		return present{}, err
	}
	t.slot, t.name = first.slot, found.String()
	if found.slot != first.slot || found.String() != first.String() {
		return present{}, t.over(errors.New("another token has taken its place"))
	}
	t.calls = make(chan struct{}, n-1) // crypto11 keeps one session
	return found, nil
}

// look is [Token.seek] for a module that may not be initialized yet.
func (t *Token) look() (present, error) {
	err := t.lib.Initialize()
	switch {
	case err == nil:
		defer func() { _ = t.lib.Finalize() }()
	case !is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED): // by a Token that is open
		return present{}, t.fails(err)
	}
	return t.seek()
}

// seek finds the one token that fits.
func (t *Token) seek() (present, error) {
	all, err := t.tokens()
	if err != nil {
		return present{}, t.fails(err)
	}
	var fitting []present
	for _, p := range all {
		if t.wanted.fits(p.is) {
			fitting = append(fitting, p)
		}
	}
	switch len(fitting) {
	case 1:
		return fitting[0], nil
	case 0:
		return present{}, fault(tokenNone, nil, "wanted", t.wanted.String(), "tokens", list(all))
	}
	return present{}, fault(tokenMany, nil, "wanted", t.wanted.String(), "tokens", list(fitting))
}

// tokens are those that are initialized.
func (t *Token) tokens() ([]present, error) {
	library, err := t.lib.GetInfo()
	if err != nil {
		return nil, err
	}
	slots, err := t.lib.GetSlotList(true)
	if err != nil {
		return nil, err
	}
	var all []present
	for _, slot := range slots {
		where, err := t.lib.GetSlotInfo(slot)
		if err != nil {
			continue // removed meanwhile
		}
		info, err := t.lib.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		is := map[string]string{
			"token": info.Label, "manufacturer": info.ManufacturerID, "serial": info.SerialNumber, "model": info.Model,
			"library-manufacturer": library.ManufacturerID, "library-description": library.LibraryDescription,
			"library-version":   fmt.Sprintf("%d.%d", library.LibraryVersion.Major, library.LibraryVersion.Minor),
			"slot-manufacturer": where.ManufacturerID, "slot-description": where.SlotDescription,
			"slot-id": strconv.FormatUint(uint64(slot), 10),
		}
		for name, value := range is {
			is[name] = strings.TrimRight(value, " \x00") // blanks in the standard, zeros in some modules
		}
		all = append(all, present{slot, info, is})
	}
	return all, nil
}

// sessionsFor is how many sessions crypto11 may have: two at least, of which it keeps one.
func sessionsFor(info pkcs11.TokenInfo) (int, bool) {
	n := maxCalls + 1
	for _, limit := range []struct{ of, ours uint }{{info.MaxRwSessionCount, 0}, {info.MaxSessionCount, 1}} {
		if limit.of == pkcs11.CK_EFFECTIVELY_INFINITE || limit.of == pkcs11.CK_UNAVAILABLE_INFORMATION {
			continue
		}
		n = int(min(uint(n), limit.of-min(limit.of, limit.ours)))
	}
	return n, n >= 2
}

func (t *Token) fails(err error) *Error {
	return fault(moduleFails, nil, "module", sanitize.Line(t.module, 300), "why", reason(err))
}

func silent(module string, err error) *Error {
	return fault(moduleSilent, err, "module", sanitize.Line(module, 300))
}

// is reports whether err is this answer of a module.
func is(err error, answers ...pkcs11.Error) bool {
	var answer pkcs11.Error
	return errors.As(err, &answer) && slices.Contains(answers, answer)
}

// reason is an error in a few words: for modules, the name of their answer.
func reason(err error) string {
	var answer pkcs11.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &answer):
		if _, name, _ := strings.Cut(answer.Error(), ": 0x"); strings.Contains(name, "CKR_") {
			return name[strings.Index(name, "CKR_"):]
		}
		return fmt.Sprintf("answer 0x%x", uint(answer))
	case errors.As(err, &path):
		return sanitize.Line(path.Err.Error(), 200)
	}
	return sanitize.Line(err.Error(), 200)
}

// list names what is there, in a stable order.
func list[T fmt.Stringer](all []T) string {
	const most = 10
	if len(all) == 0 {
		return "none"
	}
	var names []string
	for _, one := range all {
		names = append(names, one.String())
	}
	slices.Sort(names)
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}
