package pkcs11key

import (
	"errors"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
)

// What can keep a key in a token away. {module} and {file} are paths, {token}, {tokens}, {key} and
// {keys} describe what is there, {wanted} is the URI without its query and {why} says more.
var (
	notBuilt = catalogue.Cause{ID: "pkcs11.not_built", Code: "tls.pkcs11_not_built",
		Says:   "this build of mcp-authfetch cannot use PKCS #11",
		Remedy: "build it with CGO_ENABLED=1 go build -tags pkcs11 ./cmd/mcp-authfetch, or use an external signer (docs/signer.md)"}

	badURI = catalogue.Cause{ID: "pkcs11.uri", Code: "tls.pkcs11_uri",
		Says:   "the pkcs11: URI {why}",
		Remedy: "write it as RFC 7512 has it, such as pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so"}
	pinInURI = catalogue.Cause{ID: "pkcs11.pin_in_uri", Code: "tls.pkcs11_uri",
		Says:   "the pkcs11: URI has pin-value, and a PIN does not belong into a URI",
		Remedy: "delete pin-value and set passphrase, which can come from the environment, a file or a command"}

	moduleMissing = catalogue.Cause{ID: "pkcs11.module_missing", Code: "tls.pkcs11_module",
		Says:   "the PKCS #11 module {module} cannot be read: {why}",
		Remedy: "install the module or correct module-path in the pkcs11: URI"}
	moduleForeign = catalogue.Cause{ID: "pkcs11.module_foreign", Code: "tls.pkcs11_module",
		Says:   "{module} cannot be loaded as a PKCS #11 module",
		Remedy: "check that it is one, is made for this processor and finds its libraries: pkcs11-tool --module {module} --list-slots"}
	moduleFails = catalogue.Cause{ID: "pkcs11.module_fails", Code: "tls.pkcs11_module",
		Says:   "the PKCS #11 module {module} fails: {why}",
		Remedy: "check what it needs, such as its own configuration, pcscd or the network: pkcs11-tool --module {module} --list-slots"}
	moduleSilent = catalogue.Cause{ID: "pkcs11.module_silent", Code: "tls.pkcs11_silent",
		Says:   "the PKCS #11 module {module} has not answered in time",
		Remedy: "check the token; one that waits to be touched or for a PIN pad must be answered sooner"}

	tokenNone = catalogue.Cause{ID: "pkcs11.token_none", Code: "tls.pkcs11_token",
		Says:   "no token fits {wanted}; present: {tokens}",
		Remedy: "plug the token in, or correct the pkcs11: URI"}
	tokenMany = catalogue.Cause{ID: "pkcs11.token_many", Code: "tls.pkcs11_token",
		Says:   "several tokens fit {wanted}: {tokens}",
		Remedy: "name one of them by serial=… in the pkcs11: URI"}
	tokenSessions = catalogue.Cause{ID: "pkcs11.token_sessions", Code: "tls.pkcs11_token",
		Says:   "the token {token} allows too few sessions at a time",
		Remedy: "use an external signer (docs/signer.md)"}

	pinMissing = catalogue.Cause{ID: "pkcs11.pin_missing", Code: "tls.pkcs11_pin",
		Says:   "the token {token} wants a PIN, and none is set",
		Remedy: "set passphrase to where the PIN comes from, or pin-source=file:/PATH in the pkcs11: URI"}
	pinTwice = catalogue.Cause{ID: "pkcs11.pin_twice", Code: "tls.pkcs11_pin",
		Says:   "both passphrase and pin-source say where the PIN comes from",
		Remedy: "leave one of them out"}
	pinSource = catalogue.Cause{ID: "pkcs11.pin_source", Code: "tls.pkcs11_pin",
		Says:   "the file {file} of pin-source cannot be used: {why}",
		Remedy: "put the PIN, and nothing else, into a file that this program can read"}
	pinWrong = catalogue.Cause{ID: "pkcs11.pin_wrong", Code: "tls.pkcs11_pin",
		Says:   "the token {token} refused the PIN",
		Remedy: "correct passphrase; this PIN is not tried again while the program runs, so that the token is not locked"}
	pinKnown = catalogue.Cause{ID: "pkcs11.pin_known_wrong", Code: "tls.pkcs11_pin",
		Says:   "the token {token} refused this PIN before and was not asked again",
		Remedy: "correct passphrase; if the token's PIN has become this one since, start the program again"}
	pinFinal = catalogue.Cause{ID: "pkcs11.pin_final_try", Code: "tls.pkcs11_pin",
		Says:   "the token {token} is locked after one more wrong PIN, and this try was not made",
		Remedy: "log in once with the token's own tool, which sets its counter back: pkcs11-tool --module {module} --login --list-objects"}
	pinLocked = catalogue.Cause{ID: "pkcs11.pin_locked", Code: "tls.pkcs11_pin",
		Says:   "the PIN of the token {token} is locked",
		Remedy: "unlock it with the token's own tool and its PUK or SO PIN"}
	pinUnset = catalogue.Cause{ID: "pkcs11.pin_unset", Code: "tls.pkcs11_pin",
		Says:   "the PIN of the token {token} is not set or has expired",
		Remedy: "set a new PIN with the token's own tool"}

	keyNone = catalogue.Cause{ID: "pkcs11.key_none", Code: "tls.pkcs11_key",
		Says:   "no private key in the token {token} fits {wanted}; present: {keys}",
		Remedy: "correct object and id in the pkcs11: URI"}
	keyMany = catalogue.Cause{ID: "pkcs11.key_many", Code: "tls.pkcs11_key",
		Says:   "several private keys in the token {token} fit {wanted}: {keys}",
		Remedy: "name one of them by id=… in the pkcs11: URI"}
	keyUnusable = catalogue.Cause{ID: "pkcs11.key_unusable", Code: "tls.pkcs11_key",
		Says:   "the key {key} cannot be used: {why}",
		Remedy: "choose an RSA, EC or Ed25519 key that signs without being asked for its PIN each time (such as slot 9a of a PIV card), or use an external signer (docs/signer.md)"}
	keyPublic = catalogue.Cause{ID: "pkcs11.key_public", Code: "tls.pkcs11_key",
		Says:   "the token {token} has neither the public key nor a certificate of the key {key}",
		Remedy: "write the public key or the certificate into the token under the same id"}
	keyMismatch = catalogue.Cause{ID: "pkcs11.key_mismatch", Code: "tls.key_mismatch",
		Says:   "the private key {key} does not belong to the public key that the token has under the same id",
		Remedy: "write the public key, or the certificate, of that private key into the token under its id"}

	signFails = catalogue.Cause{ID: "pkcs11.sign", Code: "tls.pkcs11_sign",
		Says:   "the token {token} does not make the signature that this server and TLS version want: {why}",
		Remedy: "use an EC key; TLS 1.3 needs RSA-PSS of RSA keys, which some tokens do not have"}
	sessionOver = catalogue.Cause{ID: "pkcs11.session_over", Code: "tls.pkcs11_gone",
		Says:   "the session with the token {token} is over: {why}",
		Remedy: "plug the token in again, or start its service; a new session is opened then"}
)

// Causes are all that an [Error] can say, in builds of either kind.
func Causes() []catalogue.Cause {
	return []catalogue.Cause{
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
	Cause catalogue.Cause // with its placeholders
	Err   error           // from below, if any

	told catalogue.Cause // without them
}

// fault fills the placeholders of cause with values, which are pairs of name and text.
func fault(cause catalogue.Cause, err error, values ...string) *Error {
	return &Error{Cause: cause, Err: err, told: cause.Fill(values...)}
}

func (e *Error) Error() string { return e.told.Says }

// Code is the stable machine code, such as tls.pkcs11_pin.
func (e *Error) Code() string { return e.Cause.Code }

// Hint says what to do.
func (e *Error) Hint() string { return e.told.Remedy }

// Unwrap returns the cause from below.
func (e *Error) Unwrap() error { return e.Err }

// Is makes the error an [ErrGone] where it is one.
func (e *Error) Is(target error) bool { return target == ErrGone && e.Cause == sessionOver }
