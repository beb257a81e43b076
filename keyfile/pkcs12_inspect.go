package keyfile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
)

// What is known of a PKCS#12 before it is opened (RFC 7292 §4), so that no file makes us count for
// hours: the library has no bounds.

// maxPKCS12Iterations bounds each part, of which there are few. Tools write 1 to 600,000.
const (
	maxPKCS12Iterations = 2_000_000
	maxPKCS12Parts      = 8
)

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

type algorithmAndData struct { // EncryptedPrivateKeyInfo
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type encryptedData struct { // RFC 2315 §13
	Version int
	Content struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte `asn1:"tag:0,optional"`
	}
}

type safeBag struct {
	Type       asn1.ObjectIdentifier
	Value      asn1.RawValue `asn1:"tag:0,explicit"`
	Attributes asn1.RawValue `asn1:"set,optional"`
}

const (
	idData          = "1.2.840.113549.1.7.1"
	idEncryptedData = "1.2.840.113549.1.7.6"
	idShroudedKey   = "1.2.840.113549.1.12.10.1.2"
	idPBMAC1        = "1.2.840.113549.1.5.14"
	idPBES2         = "1.2.840.113549.1.5.13"
	idPBKDF2        = "1.2.840.113549.1.5.12"
)

// inspectPKCS12 reports whether there is a MAC, or why the file is better not opened.
func inspectPKCS12(der []byte) (sealed bool, wrong *catalogue.Cause, detail string) {
	var pfx struct {
		Version  int
		AuthSafe contentInfo
		MAC      asn1.RawValue `asn1:"optional"`
	}
	if rest, err := asn1.Unmarshal(der, &pfx); err != nil || len(rest) > 0 {
		return false, &causePKCS12Damaged, "its outer structure is damaged"
	}
	if pfx.AuthSafe.Type.String() != idData {
		return false, &causePKCS12Foreign, "protection by a public key"
	}
	x := &inspection{}
	x.safe(pfx.AuthSafe.Content.Bytes)
	if sealed = len(pfx.MAC.FullBytes) > 0; sealed {
		x.mac(pfx.MAC.FullBytes)
	}
	return sealed, x.wrong, x.detail
}

// inspection keeps the first thing that is wrong.
type inspection struct {
	parts  int
	wrong  *catalogue.Cause
	detail string
}

func (x *inspection) fail(c *catalogue.Cause, detail string) {
	if x.wrong == nil {
		x.wrong, x.detail = c, detail
	}
}

// parse is false for what is damaged.
func (x *inspection) parse(der []byte, to any) bool {
	rest, err := asn1.Unmarshal(der, to)
	if err != nil || len(rest) > 0 {
		x.fail(&causePKCS12Damaged, "its structure is damaged")
		return false
	}
	return true
}

// safe looks into what is not encrypted, and at how the rest is.
func (x *inspection) safe(der []byte) {
	var octets []byte
	var contents []contentInfo
	if !x.parse(der, &octets) || !x.parse(octets, &contents) {
		return
	}
	for _, c := range contents {
		switch c.Type.String() {
		case idData:
			x.bags(c.Content.Bytes)
		case idEncryptedData:
			var data encryptedData
			if x.parse(c.Content.Bytes, &data) {
				x.encryption(data.Content.Algorithm)
			}
		default:
			x.fail(&causePKCS12Foreign, "protection by a public key")
		}
	}
	if len(contents) > 2 {
		x.fail(&causePKCS12Foreign, fmt.Sprintf("a PKCS#12 of %d parts", len(contents)))
	}
}

func (x *inspection) bags(der []byte) {
	var octets []byte
	var bags []safeBag
	if !x.parse(der, &octets) || !x.parse(octets, &bags) {
		return
	}
	for _, b := range bags {
		var key algorithmAndData
		if b.Type.String() == idShroudedKey && x.parse(b.Value.Bytes, &key) {
			x.encryption(key.Algorithm)
		}
	}
}

// mac is RFC 7292 §4, or RFC 9579.
func (x *inspection) mac(der []byte) {
	var mac struct {
		Digest     algorithmAndData
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	if !x.parse(der, &mac) {
		return
	}
	switch id := mac.Digest.Algorithm.Algorithm.String(); id {
	case "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.3":
		x.count(mac.Iterations)
	case idPBMAC1:
		var params struct{ KDF, MAC pkix.AlgorithmIdentifier }
		if x.parse(mac.Digest.Algorithm.Parameters.FullBytes, &params) {
			x.derivation(params.KDF)
		}
	default:
		x.fail(&causePKCS12Foreign, "a MAC with "+algorithmName(id))
	}
}

// encryption is one of those the library knows, at a bearable price.
func (x *inspection) encryption(a pkix.AlgorithmIdentifier) {
	if x.parts++; x.parts > maxPKCS12Parts {
		x.fail(&causeCostly, fmt.Sprintf("it has more than %d encrypted parts", maxPKCS12Parts))
	}
	switch id := a.Algorithm.String(); id {
	case "1.2.840.113549.1.12.1.3", "1.2.840.113549.1.12.1.5", "1.2.840.113549.1.12.1.6": // triple DES, RC2
		var params struct {
			Salt       []byte
			Iterations int
		}
		if x.parse(a.Parameters.FullBytes, &params) {
			x.count(params.Iterations)
		}
	case idPBES2:
		var params struct{ KDF, Cipher pkix.AlgorithmIdentifier }
		if !x.parse(a.Parameters.FullBytes, &params) {
			return
		}
		x.derivation(params.KDF)
		switch id := params.Cipher.Algorithm.String(); id {
		case "2.16.840.1.101.3.4.1.2", "2.16.840.1.101.3.4.1.22", "2.16.840.1.101.3.4.1.42":
		default:
			x.fail(&causePKCS12Foreign, "the encryption "+schemeName(id))
		}
	default:
		x.fail(&causePKCS12Foreign, "the encryption "+schemeName(id))
	}
}

func (x *inspection) derivation(a pkix.AlgorithmIdentifier) {
	if id := a.Algorithm.String(); id != idPBKDF2 {
		x.fail(&causePKCS12Foreign, "the key derivation "+algorithmName(id))
		return
	}
	var params struct {
		Salt       asn1.RawValue
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if !x.parse(a.Parameters.FullBytes, &params) {
		return
	}
	x.count(params.Iterations)
	if len(params.PRF.Algorithm) == 0 {
		return
	}
	switch id := params.PRF.Algorithm.String(); id {
	case "1.2.840.113549.2.7", "1.2.840.113549.2.9", "1.2.840.113549.2.11":
	default:
		x.fail(&causePKCS12Foreign, "PBKDF2 with "+algorithmName(id))
	}
}

func (x *inspection) count(iterations int) {
	if iterations < 1 || iterations > maxPKCS12Iterations {
		x.fail(&causeCostly, fmt.Sprintf("%d iterations, of which at most %d are allowed", iterations, maxPKCS12Iterations))
	}
}
