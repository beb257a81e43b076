package tlsfault

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
)

// alert is a TLS alert, RFC 8446 §6.
type alert uint8

const (
	alertHandshakeFailure       alert = 40
	alertBadCertificate         alert = 42
	alertUnsupportedCertificate alert = 43
	alertCertificateRevoked     alert = 44
	alertCertificateExpired     alert = 45
	alertCertificateUnknown     alert = 46
	alertUnknownCA              alert = 48
	alertAccessDenied           alert = 49
	alertDecryptError           alert = 51
	alertProtocolVersion        alert = 70
	alertInsufficientSecurity   alert = 71
	alertInappropriateFallback  alert = 86
	alertNoRenegotiation        alert = 100
	alertUnrecognizedName       alert = 112
	alertCertificateRequired    alert = 116
	alertNoApplicationProtocol  alert = 120
)

var alertNames = map[alert]string{
	10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
	42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
	46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied",
	50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security",
	80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation",
	109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
	113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required",
	120: "no_application_protocol",
}

func (a alert) String() string {
	if name, ok := alertNames[a]; ok {
		return fmt.Sprintf("alert %d %s", uint8(a), name)
	}
	return fmt.Sprintf("alert %d", uint8(a))
}

// findAlert returns the alert that err is about and whether the other side sent it.
//
// crypto/tls exports [tls.AlertError] for QUIC only. Over TCP the alert is the unexported type
// tls.alert inside a [net.OpError], whose number can only be read by reflection.
func findAlert(err error) (a alert, remote, ok bool) {
	walk(err, func(err error) bool {
		switch e := err.(type) {
		case tls.AlertError:
			a, remote, ok = alert(e), true, true
		case *net.OpError:
			v := reflect.ValueOf(e.Err)
			if v.IsValid() && v.Kind() == reflect.Uint8 && v.Type().PkgPath() == "crypto/tls" {
				a, remote, ok = alert(v.Uint()), e.Op == "remote error", true
			}
		}
		return ok
	})
	return a, remote, ok
}

// walk visits err and everything it wraps until visit returns true.
func walk(err error, visit func(error) bool) bool {
	if err == nil {
		return false
	}
	if visit(err) {
		return true
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			if walk(e, visit) {
				return true
			}
		}
		return false
	}
	return walk(errors.Unwrap(err), visit)
}
