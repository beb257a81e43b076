package workload

import "github.com/mcp-authfetch/mcp-authfetch/catalogue"

// CodeDenied is the code where the Workload API has no identity for this process, or has it no longer.
const CodeDenied = "tls.spiffe_denied"

// What can keep an identity away. {address} is the configured one, {answer} what the other side or
// the system said, {uid} the user that this process runs as and {time} how long was waited.
var (
	notBuilt = catalogue.Cause{ID: "spiffe.not_built", Code: "tls.spiffe_not_built",
		Says:   "this build of mcp-authfetch cannot use the SPIFFE Workload API",
		Remedy: "build it with the tag (go build -tags spiffe ./cmd/mcp-authfetch), or let spiffe-helper write the identity to files and name them in cert, key and ca"}
	badAddress = catalogue.Cause{ID: "spiffe.address", Code: "tls.spiffe_address",
		Says:   "the address of the Workload API is none that can be used here",
		Remedy: "write unix:///path/to/socket (not on Windows), such as unix:///run/spire/sockets/agent.sock, or tcp://IP:PORT"}

	noSocket = catalogue.Cause{ID: "spiffe.no_socket", Code: "tls.spiffe_unavailable",
		Says:   "there is no socket of a Workload API at {address}",
		Remedy: "start the SPIRE agent on this host or correct the address; a container needs the socket's directory mounted"}
	nobodyListens = catalogue.Cause{ID: "spiffe.refused", Code: "tls.spiffe_unavailable",
		Says:   "no Workload API listens at {address}",
		Remedy: "start the SPIRE agent on this host or correct the address"}
	unreachable = catalogue.Cause{ID: "spiffe.unreachable", Code: "tls.spiffe_unavailable",
		Says:   "the Workload API at {address} cannot be reached: {answer}",
		Remedy: "check the address, and that the SPIRE agent runs"}
	silent = catalogue.Cause{ID: "spiffe.silent", Code: "tls.spiffe_unavailable",
		Says:   "the Workload API at {address} has not answered within {time}",
		Remedy: "check that the SPIRE agent is healthy (spire-agent healthcheck) and that the address is its own"}
	failing = catalogue.Cause{ID: "spiffe.failing", Code: "tls.spiffe_unavailable",
		Says:   "the Workload API at {address} fails and says {answer}",
		Remedy: "check that the SPIRE agent is healthy (spire-agent healthcheck) and reaches its server"}

	socketClosed = catalogue.Cause{ID: "spiffe.socket_permission", Code: "tls.spiffe_forbidden",
		Says:   "the user with ID {uid}, as whom this process runs, may not open the socket at {address}",
		Remedy: "give that user write access to the socket and search access to the directories above it"}

	denied = catalogue.Cause{ID: "spiffe.denied", Code: CodeDenied,
		Says:   "the Workload API at {address} has no identity for this process and says {answer}",
		Remedy: "register this workload at the SPIRE server with selectors that fit it, such as unix:uid:{uid}; a new entry takes some seconds to reach the agent"}
	withdrawn = catalogue.Cause{ID: "spiffe.withdrawn", Code: CodeDenied,
		Says:   "the Workload API at {address} has withdrawn the identity of this process and says {answer}",
		Remedy: "if that was not meant, register this workload again at the SPIRE server with selectors that fit it, such as unix:uid:{uid}"}

	foreign = catalogue.Cause{ID: "spiffe.foreign", Code: "tls.spiffe_answer",
		Says:   "what answers at {address} gives no X.509 identities and says {answer}",
		Remedy: "correct the address: it must be that of a SPIFFE Workload API, such as the SPIRE agent's api.sock"}
	unusable = catalogue.Cause{ID: "spiffe.unusable", Code: "tls.spiffe_answer",
		Says:   "the Workload API at {address} has sent an identity that cannot be used: its certificate, key or bundle is missing, damaged or another's",
		Remedy: "check the entry of this workload at the SPIRE server, and the SPIRE agent's log"}
)

// Causes are all that an [Error] can say, in builds of either kind.
func Causes() []catalogue.Cause {
	return []catalogue.Cause{notBuilt, badAddress, noSocket, nobodyListens, unreachable, silent, failing, socketClosed, denied, withdrawn, foreign, unusable}
}

// ErrNotBuilt says that this build was made without the tag.
var ErrNotBuilt error = fault(notBuilt, nil)

// Error says why there is no identity.
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

// Code is the stable machine code, such as tls.spiffe_denied.
func (e *Error) Code() string { return e.Cause.Code }

// Hint says what to do.
func (e *Error) Hint() string { return e.told.Remedy }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
