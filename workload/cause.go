package workload

import (
	"slices"
	"strings"
)

// Cause is one thing that can keep an identity away. Its fields are those of tlsmat.Cause, to which
// it converts. In Says and Remedy, {address} is the configured one, {answer} what the other side or
// the system said, {uid} the user that this process runs as and {time} how long was waited.
type Cause struct{ ID, Code, Says, Remedy string }

// CodeDenied is the code where the Workload API has no identity for this process, or has it no longer.
const CodeDenied = "tls.spiffe_denied"

var (
	notBuilt = Cause{"spiffe.not_built", "tls.spiffe_not_built",
		"this build of mcp-authfetch cannot use the SPIFFE Workload API",
		"build it with the tag (go build -tags spiffe ./cmd/mcp-authfetch), or let spiffe-helper write the identity to files and name them in cert, key and ca"}
	badAddress = Cause{"spiffe.address", "tls.spiffe_address",
		"the address of the Workload API is none that can be used here",
		"write unix:///path/to/socket (not on Windows), such as unix:///run/spire/sockets/agent.sock, or tcp://IP:PORT"}

	noSocket = Cause{"spiffe.no_socket", "tls.spiffe_unavailable",
		"there is no socket of a Workload API at {address}",
		"start the SPIRE agent on this host or correct the address; a container needs the socket's directory mounted"}
	nobodyListens = Cause{"spiffe.refused", "tls.spiffe_unavailable",
		"no Workload API listens at {address}",
		"start the SPIRE agent on this host or correct the address"}
	unreachable = Cause{"spiffe.unreachable", "tls.spiffe_unavailable",
		"the Workload API at {address} cannot be reached: {answer}",
		"check the address, and that the SPIRE agent runs"}
	silent = Cause{"spiffe.silent", "tls.spiffe_unavailable",
		"the Workload API at {address} has not answered within {time}",
		"check that the SPIRE agent is healthy (spire-agent healthcheck) and that the address is its own"}
	failing = Cause{"spiffe.failing", "tls.spiffe_unavailable",
		"the Workload API at {address} fails and says {answer}",
		"check that the SPIRE agent is healthy (spire-agent healthcheck) and reaches its server"}

	socketClosed = Cause{"spiffe.socket_permission", "tls.spiffe_forbidden",
		"the user with ID {uid}, as whom this process runs, may not open the socket at {address}",
		"give that user write access to the socket and search access to the directories above it"}

	denied = Cause{"spiffe.denied", CodeDenied,
		"the Workload API at {address} has no identity for this process and says {answer}",
		"register this workload at the SPIRE server with selectors that fit it, such as unix:uid:{uid}; a new entry takes some seconds to reach the agent"}
	withdrawn = Cause{"spiffe.withdrawn", CodeDenied,
		"the Workload API at {address} has withdrawn the identity of this process and says {answer}",
		"if that was not meant, register this workload again at the SPIRE server with selectors that fit it, such as unix:uid:{uid}"}

	foreign = Cause{"spiffe.foreign", "tls.spiffe_answer",
		"what answers at {address} gives no X.509 identities and says {answer}",
		"correct the address: it must be that of a SPIFFE Workload API, such as the SPIRE agent's api.sock"}
	unusable = Cause{"spiffe.unusable", "tls.spiffe_answer",
		"the Workload API at {address} has sent an identity that cannot be used: its certificate, key or bundle is missing, damaged or another's",
		"check the entry of this workload at the SPIRE server, and the SPIRE agent's log"}
)

// Causes are all that an [Error] can say, in builds of either kind.
func Causes() []Cause {
	return []Cause{notBuilt, badAddress, noSocket, nobodyListens, unreachable, silent, failing, socketClosed, denied, withdrawn, foreign, unusable}
}

// ErrNotBuilt says that this build was made without the tag.
var ErrNotBuilt error = fault(notBuilt, nil)

// Error says why there is no identity.
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

// Code is the stable machine code, such as tls.spiffe_denied.
func (e *Error) Code() string { return e.Cause.Code }

// Hint says what to do.
func (e *Error) Hint() string { return e.remedy }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
