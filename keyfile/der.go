package keyfile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strconv"
)

// isBinary reports bytes that begin as DER or BER does: no text has a zero or control byte, or
// one of the high bit, right after the digit 0.
func isBinary(data []byte) bool {
	return len(data) >= 2 && data[0] == 0x30 && (data[1] < ' ' && !bytes.ContainsAny(data[1:2], "\t\n\r") || data[1] >= 0x80) || isDER(data)
}

// isDER reports a sequence at the beginning.
func isDER(data []byte) bool {
	var v asn1.RawValue
	_, err := asn1.Unmarshal(data, &v)
	return err == nil && isSequence(v)
}

// isWhole reports a single sequence: a certificate may have any text inside.
func isWhole(data []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(data, &v)
	return err == nil && isSequence(v) && len(rest) == 0
}

func isSequence(v asn1.RawValue) bool {
	return v.Class == asn1.ClassUniversal && v.Tag == asn1.TagSequence && v.IsCompound
}

// derBlocks splits a file of DER.
func (f *File) derBlocks() ([]Block, error) {
	var all []Block
	for rest := f.data; len(bytes.TrimSpace(rest)) > 0; {
		var v asn1.RawValue
		b := Block{number: len(all) + 1, offset: len(f.data) - len(rest)}
		name := fmt.Sprintf("block %d (at byte %d)", b.number, b.offset)
		if bytes.HasPrefix(rest, []byte{0x30, 0x80}) {
			return nil, f.Fault(causeBER, nil)
		}
		if want := derLength(rest); want > len(rest) {
			return nil, f.Fault(causeCutDER, nil, "block", name, "want", strconv.Itoa(want), "size", strconv.Itoa(len(rest)))
		}
		after, err := asn1.Unmarshal(rest, &v)
		if err != nil || !isSequence(v) {
			return nil, f.Fault(causeDamagedDER, err, "block", name)
		}
		b.Block = &pem.Block{Type: derType(v), Bytes: v.FullBytes}
		all, rest = append(all, b), after
	}
	return all, nil
}

// derLength is how many bytes a sequence with a length of up to four bytes takes (X.690 §8.1.3); 0: it is none.
func derLength(data []byte) int {
	if len(data) < 2 || data[0] != 0x30 {
		return 0
	}
	n := int(data[1])
	if n < 0x80 {
		return 2 + n
	}
	if n &= 0x7f; n == 0 || n > 4 || len(data) < 2+n {
		return 0
	}
	size := 0
	for _, b := range data[2 : 2+n] {
		size = size<<8 | int(b)
	}
	return 2 + n + size
}

// derType is the label that PEM would give to a sequence, by its first parts. What looks like a
// certificate or a key and is none is found out when it is parsed.
func derType(v asn1.RawValue) string {
	var parts []asn1.RawValue
	for rest := v.Bytes; len(rest) > 0 && len(parts) < 10; {
		var part asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return "DATA"
		}
		parts = append(parts, part)
	}
	switch shape := shapeOf(parts); shape {
	case "ssb": // RFC 5280 §4.1 and §5.1, RFC 2986 §4.2
		return signedType(v.FullBytes)
	case "sb": // RFC 5280 §4.1.2.7
		return "PUBLIC KEY"
	case "so": // RFC 5958 §3
		return "ENCRYPTED PRIVATE KEY"
	case "iiiiiiiii", "iiiiiiiiis": // RFC 8017 §A.1.2
		return "RSA PRIVATE KEY"
	case "iiiiii":
		return "DSA PRIVATE KEY"
	default:
		return typeByBeginning(shape, parts)
	}
}

// typeByBeginning is for what has optional parts at its end.
func typeByBeginning(shape string, parts []asn1.RawValue) string {
	begins := func(with string) bool { return len(shape) >= len(with) && shape[:len(with)] == with }
	switch {
	case begins("is") && bytes.Equal(parts[0].Bytes, []byte{3}): // RFC 7292 §4
		return typePKCS12
	case begins("iso"): // RFC 5958 §2
		return "PRIVATE KEY"
	case begins("io"): // RFC 5915 §3
		return "EC PRIVATE KEY"
	case begins("dx"): // RFC 2315 §7
		return "PKCS7"
	}
	return "DATA"
}

// signedType tells apart what consists of content, algorithm and signature.
func signedType(der []byte) string {
	if _, err := x509.ParseCertificate(der); err == nil {
		return "CERTIFICATE"
	}
	if _, err := x509.ParseRevocationList(der); err == nil {
		return "X509 CRL"
	}
	if _, err := x509.ParseCertificateRequest(der); err == nil {
		return "CERTIFICATE REQUEST"
	}
	return "CERTIFICATE" // a damaged one
}

// shapeOf writes a letter for the type of each part.
func shapeOf(parts []asn1.RawValue) string {
	shape := make([]byte, len(parts))
	for i, p := range parts {
		shape[i] = '?'
		if p.Class == asn1.ClassContextSpecific {
			shape[i] = 'x'
		} else if letter, ok := letters[p.Tag]; ok && p.Class == asn1.ClassUniversal {
			shape[i] = letter
		}
	}
	return string(shape)
}

var letters = map[int]byte{
	asn1.TagSequence: 's', asn1.TagInteger: 'i', asn1.TagBitString: 'b', asn1.TagOctetString: 'o', asn1.TagOID: 'd',
}
