package pkcs11key

import (
	"errors"
	"slices"
	"strings"
)

// Cause is one thing that can keep a key in a token away. Its fields are those of tlsmat.Cause, to
// which it converts. In Says and Remedy, {module} and {file} are paths, {token}, {tokens}, {key} and
// {keys} describe what is there, {wanted} is the URI without its query and {why} says more.
type Cause struct{ ID, Code, Says, Remedy string }

var (
	notBuilt = Cause{"pkcs11.not_built", "tls.pkcs11_not_built",
		"this build of mcp-authfetch cannot use PKCS #11",
		"build it with CGO_ENABLED=1 go build -tags pkcs11 ./cmd/mcp-authfetch, or use an external signer (docs/signer.md)"}

	badURI = Cause{"pkcs11.uri", "tls.pkcs11_uri",
		"the pkcs11: URI {why}",
		"write it as RFC 7512 has it, such as pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so"}
	pinInURI = Cause{"pkcs11.pin_in_uri", "tls.pkcs11_uri",
		"the pkcs11: URI has pin-value, and a PIN does not belong into a URI",
		"delete pin-value and set passphrase, which can come from the environment, a file or a command"}

	moduleMissing = Cause{"pkcs11.module_missing", "tls.pkcs11_module",
		"the PKCS #11 module {module} cannot be read: {why}",
		"install the module or correct module-path in the pkcs11: URI"}
	moduleForeign = Cause{"pkcs11.module_foreign", "tls.pkcs11_module",
		"{module} cannot be loaded as a PKCS #11 module",
		"check that it is one, is made for this processor and finds its libraries: pkcs11-tool --module {module} --list-slots"}
	moduleFails = Cause{"pkcs11.module_fails", "tls.pkcs11_module",
		"the PKCS #11 module {module} fails: {why}",
		"check what it needs, such as its own configuration, pcscd or the network: pkcs11-tool --module {module} --list-slots"}
	moduleSilent = Cause{"pkcs11.module_silent", "tls.pkcs11_silent",
		"the PKCS #11 module {module} has not answered in time",
		"check the token; one that waits to be touched or for a PIN pad must be answered sooner"}

	tokenNone = Cause{"pkcs11.token_none", "tls.pkcs11_token",
		"no token fits {wanted}; present: {tokens}",
		"plug the token in, or correct the pkcs11: URI"}
	tokenMany = Cause{"pkcs11.token_many", "tls.pkcs11_token",
		"several tokens fit {wanted}: {tokens}",
		"name one of them by serial=… in the pkcs11: URI"}
	tokenSessions = Cause{"pkcs11.token_sessions", "tls.pkcs11_token",
		"the token {token} allows too few sessions at a time",
		"use an external signer (docs/signer.md)"}

	pinMissing = Cause{"pkcs11.pin_missing", "tls.pkcs11_pin",
		"the token {token} wants a PIN, and none is set",
		"set passphrase to where the PIN comes from, or pin-source=file:/PATH in the pkcs11: URI"}
	pinTwice = Cause{"pkcs11.pin_twice", "tls.pkcs11_pin",
		"both passphrase and pin-source say where the PIN comes from",
		"leave one of them out"}
	pinSource = Cause{"pkcs11.pin_source", "tls.pkcs11_pin",
		"the file {file} of pin-source cannot be used: {why}",
		"put the PIN, and nothing else, into a file that this program can read"}
	pinWrong = Cause{"pkcs11.pin_wrong", "tls.pkcs11_pin",
		"the token {token} refused the PIN",
		"correct passphrase; this PIN is not tried again while the program runs, so that the token is not locked"}
	pinKnown = Cause{"pkcs11.pin_known_wrong", "tls.pkcs11_pin",
		"the token {token} refused this PIN before and was not asked again",
		"correct passphrase; if the token's PIN has become this one since, start the program again"}
	pinFinal = Cause{"pkcs11.pin_final_try", "tls.pkcs11_pin",
		"the token {token} is locked after one more wrong PIN, and this try was not made",
		"log in once with the token's own tool, which sets its counter back: pkcs11-tool --module {module} --login --list-objects"}
	pinLocked = Cause{"pkcs11.pin_locked", "tls.pkcs11_pin",
		"the PIN of the token {token} is locked",
		"unlock it with the token's own tool and its PUK or SO PIN"}
	pinUnset = Cause{"pkcs11.pin_unset", "tls.pkcs11_pin",
		"the PIN of the token {token} is not set or has expired",
		"set a new PIN with the token's own tool"}

	keyNone = Cause{"pkcs11.key_none", "tls.pkcs11_key",
		"no private key in the token {token} fits {wanted}; present: {keys}",
		"correct object and id in the pkcs11: URI"}
	keyMany = Cause{"pkcs11.key_many", "tls.pkcs11_key",
		"several private keys in the token {token} fit {wanted}: {keys}",
		"name one of them by id=… in the pkcs11: URI"}
	keyUnusable = Cause{"pkcs11.key_unusable", "tls.pkcs11_key",
		"the key {key} cannot be used: {why}",
		"choose an RSA, EC or Ed25519 key that signs without being asked for its PIN each time (such as slot 9a of a PIV card), or use an external signer (docs/signer.md)"}
	keyPublic = Cause{"pkcs11.key_public", "tls.pkcs11_key",
		"the token {token} has neither the public key nor a certificate of the key {key}",
		"write the public key or the certificate into the token under the same id"}
	keyMismatch = Cause{"pkcs11.key_mismatch", "tls.key_mismatch",
		"the private key {key} does not belong to the public key that the token has under the same id",
		"write the public key, or the certificate, of that private key into the token under its id"}

	signFails = Cause{"pkcs11.sign", "tls.pkcs11_sign",
		"the token {token} does not make the signature that this server and TLS version want: {why}",
		"use an EC key; TLS 1.3 needs RSA-PSS of RSA keys, which some tokens do not have"}
	sessionOver = Cause{"pkcs11.session_over", "tls.pkcs11_gone",
		"the session with the token {token} is over: {why}",
		"plug the token in again, or start its service; a new session is opened then"}
)

// Causes are all that an [Error] can say, in builds of either kind.
func Causes() []Cause {
	return []Cause{
		notBuilt, badURI, pinInURI,
		moduleMissing, moduleForeign, moduleFails, moduleSilent,
		tokenNone, tokenMany, tokenSessions,
		pinMissing, pinTwice, pinSource, pinWrong, pinKnown, pinFinal, pinLocked, pinUnset,
		keyNone, keyMany, keyUnusable, keyPublic, keyMismatch,
		signFails, sessionOver,
	}
}

// ErrNotBuilt says that this build was made without the tag.
var ErrNotBuilt error = fault(notBuilt, nil)

// ErrGone is what errors of a [Token] are (errors.Is) when its session is over, because the token
// was removed or the key deleted, or by Close. Another [Open] may help.
var ErrGone = errors.New("the PKCS #11 session is over")

// Error says why there is no key, or no signature. It never has a PIN in it.
type Error struct {
	Cause Cause // with its placeholders
	Err   error // from below, if any

	says, remedy string
}

// fault fills the placeholders of cause with values, which are pairs of name and text.
func fault(cause Cause, err error, values ...string) *Error {
	pairs := slices.Clone(values)
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	r := strings.NewReplacer(pairs...)
	return &Error{Cause: cause, Err: err, says: r.Replace(cause.Says), remedy: r.Replace(cause.Remedy)}
}

func (e *Error) Error() string { return e.says }

// Code is the stable machine code, such as tls.pkcs11_pin.
func (e *Error) Code() string { return e.Cause.Code }

// Hint says what to do.
func (e *Error) Hint() string { return e.remedy }

// Unwrap returns the cause from below.
func (e *Error) Unwrap() error { return e.Err }

// Is makes the error an [ErrGone] where it is one.
func (e *Error) Is(target error) bool { return target == ErrGone && e.Cause == sessionOver }
