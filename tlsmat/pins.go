package tlsmat

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

const pinPrefix = "sha256//"

// PinError says that no certificate of a server's verified chain has a pinned key.
type PinError struct {
	refusal
	Want []string
	Got  string // the pin of the server's own certificate
}

// Pin is the pin of a certificate's public key, as [Entry.Pins] has it: of its SPKI, so that it
// outlives renewals that keep the key (RFC 7469 §2.4).
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// loadPins checks how the pins are written: one that can never match would only be noticed by its
// effect.
func (m *Material) loadPins(e Entry) error {
	for i, p := range e.Pins {
		digest, ok := strings.CutPrefix(p, pinPrefix)
		sum, err := base64.StdEncoding.Strict().DecodeString(digest)
		if !ok || err != nil || len(sum) != sha256.Size {
			return e.fault(causePinFormat, "pins", nil, "number", fmt.Sprint(i+1), "pin", sanitize.Quote(p))
		}
	}
	m.pins = slices.Clone(e.Pins)
	return nil
}

// checkPins wants a pinned key anywhere in a verified chain (RFC 7469 §2.6), so that the key of an
// authority can be pinned whose servers come and go. An authority that merely was sent does not count.
func (m *Material) checkPins(host string, chain []*x509.Certificate) error {
	if len(m.pins) == 0 {
		return nil
	}
	for _, c := range chain {
		if slices.Contains(m.pins, Pin(c)) {
			return nil
		}
	}
	e := &PinError{Want: slices.Clone(m.pins), Got: Pin(chain[0])}
	e.fill(causePinMismatch, "host", sanitize.Line(host, 300), "pin", e.Got, "setting", m.Setting("pins"))
	return e
}
