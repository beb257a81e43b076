package netguard

import (
	"net/netip"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// DeniedError says that an address may not be connected to.
type DeniedError struct {
	Host string     // as it was asked for: a name or an address
	Addr netip.Addr // what it stands for; not printed, since a name's addresses tell about the network inside
	Zone Zone
}

func (e *DeniedError) Error() string {
	host := sanitize.Line(e.Host, 253)
	if host == "" {
		host = "an empty host"
	}
	return "connecting to " + host + " is not allowed: it is a " + e.Zone.String() + " address"
}

// Code is the stable machine code of this error.
func (e *DeniedError) Code() string { return "network.address_denied" }

// Hint says what to do.
func (e *DeniedError) Hint() string {
	switch e.Zone {
	case Loopback:
		return "if this is meant, add the origin to \"sites\" or to network.allow in the configuration"
	case Private:
		return "if this host is yours to reach, add its origin to \"sites\" or to network.allow in the configuration"
	}
	return "no setting opens this address; use another address of the host if it has one"
}
