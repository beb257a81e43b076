package keyfile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Block is a PEM block, or what would be one if its part of the file were not DER, and its place in
// the file.
type Block struct {
	*pem.Block
	number int  // from 1
	line   int  // of its BEGIN line, from 1; 0: it has none
	offset int  // of its first byte, in DER
	inside bool // it was inside a PKCS#12
}

func (b Block) String() string {
	place := fmt.Sprintf("line %d", b.line)
	switch {
	case b.inside:
		place = "inside the PKCS#12"
	case b.line == 0:
		place = fmt.Sprintf("at byte %d", b.offset)
	}
	return fmt.Sprintf("block %d (%s, %s)", b.number, sanitize.Line(b.Type, 40), place)
}

// IsCertificate reports a certificate.
func (b Block) IsCertificate() bool { return b.Type == "CERTIFICATE" || b.Type == "X509 CERTIFICATE" }

// IsKey reports a private key.
func (b Block) IsKey() bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") }

func has(blocks []Block, is func(Block) bool) bool {
	for _, b := range blocks {
		if is(b) {
			return true
		}
	}
	return false
}

var (
	beginMark = []byte("-----BEGIN ")
	endMark   = []byte("-----END ")
	dashes    = []byte("-----")
)

// Blocks splits the file, whatever its format: PEM, DER, or several things in DER in a row. A
// PKCS#12 is a single block.
func (f *File) Blocks() ([]Block, error) {
	data := f.data
	switch {
	case len(data) == 0:
		return nil, f.Fault(causeEmpty, nil)
	case isUTF16(data):
		return nil, f.Fault(causeUTF16, nil)
	case isWhole(data), isBinary(data) && !bytes.Contains(data, beginMark):
		f.binary = true
		return f.derBlocks()
	case bytes.Contains(data, beginMark):
		return f.pemBlocks()
	case len(bytes.TrimSpace(data)) == 0:
		return nil, f.Fault(causeBlank, nil, "size", strconv.Itoa(len(data)))
	}
	return nil, f.Fault(causeNoFormat, nil)
}

func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) ||
		bytes.Contains(data[:min(len(data), 64)], []byte("-\x00-"))
}

// pemBlocks splits the file into PEM blocks. [pem.Decode] skips what it cannot read; here that is an
// error with its position. What text editors and shells do to PEM files is undone: byte order
// mark, foreign line ends, indentation, a file without its last line end before another's first.
func (f *File) pemBlocks() ([]Block, error) {
	text := unifyLines(bytes.TrimPrefix(f.data, []byte("\ufeff")))
	var all []Block
	line := 1
	for {
		start := bytes.Index(text, beginMark)
		if start < 0 && len(all) == 0 {
			return nil, f.Fault(causeNoFormat, nil)
		} else if start < 0 {
			return all, nil
		}
		line += bytes.Count(text[:start], []byte("\n"))
		text = text[start:]
		b := Block{number: len(all) + 1, line: line}
		size, wrong, detail := b.decode(text)
		if wrong != nil {
			return nil, f.Fault(*wrong, nil, "block", fmt.Sprintf("block %d (line %d)", b.number, b.line), "detail", detail)
		}
		line += bytes.Count(text[:size], []byte("\n"))
		text = text[size:]
		all = append(all, b)
	}
}

// decode reads the block that text begins with and returns its length, or what is wrong with it.
func (b *Block) decode(text []byte) (size int, wrong *catalogue.Cause, detail string) {
	blockType, rest, ok := cutLabel(text, beginMark)
	if !ok {
		return 0, &causeDamagedPEM, "has a damaged BEGIN line"
	}
	end := bytes.Index(rest, endMark)
	if next := bytes.Index(rest, beginMark); end < 0 || next >= 0 && next < end {
		return 0, &causeCut, ""
	}
	body := bytes.TrimSpace(rest[:end])
	endType, rest, ok := cutLabel(rest[end:], endMark)
	switch {
	case !ok:
		return 0, &causeDamagedPEM, "has a damaged END line"
	case endType != blockType:
		return 0, &causeDamagedPEM, "begins as one type and ends as another"
	case bytes.Contains(body, []byte(`\n`)):
		return 0, &causeEscaped, ""
	}
	clean := fmt.Appendf(nil, "-----BEGIN %s-----\n%s\n-----END %s-----\n", blockType, body, blockType)
	if b.Block, _ = pem.Decode(clean); b.Block == nil || len(b.Bytes) == 0 {
		return 0, &causeDamagedPEM, "is not valid base64"
	}
	return len(text) - len(rest), nil, ""
}

// cutLabel splits "-----BEGIN LABEL-----rest" into label and rest.
func cutLabel(text, mark []byte) (label string, rest []byte, ok bool) {
	name, rest, ok := bytes.Cut(text[len(mark):], dashes)
	if !ok || len(name) > 64 || bytes.ContainsAny(name, "\n") {
		return "", nil, false
	}
	return string(name), rest, true
}

// unifyLines trims every line and ends it with \n.
func unifyLines(data []byte) []byte {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	lines := bytes.Split(data, []byte("\n"))
	for i, l := range lines {
		lines[i] = bytes.Trim(l, " \t")
	}
	return bytes.Join(lines, []byte("\n"))
}

// Certificates parses every certificate of the file, at least one.
func (f *File) Certificates(blocks []Block) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type == "TRUSTED CERTIFICATE" {
			return nil, f.Fault(causeTrusted, nil, "block", b.String())
		}
		if !b.IsCertificate() {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, f.Fault(causeDamagedCert, err, "block", b.String(), "detail", sanitize.Line(err.Error(), 300))
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, f.noCertificate(blocks)
	}
	return certs, nil
}

// noCertificate says what the file holds instead.
func (f *File) noCertificate(blocks []Block) *Error {
	for _, b := range blocks {
		switch {
		case strings.HasSuffix(b.Type, "CERTIFICATE REQUEST"):
			return f.Fault(causeRequest, nil)
		case b.IsKey():
			return f.Fault(causeKeyAsCert, nil)
		case b.Type == "PKCS7":
			return f.Fault(causePKCS7, nil, "inform", b.inform())
		case isPKCS12(b):
			return f.Fault(causePKCS12AsRoots, nil)
		}
	}
	return f.Fault(causeNoCertificate, nil, "block", blocks[0].String())
}

// IsPEM reports that the block stands in a text.
func (b Block) IsPEM() bool { return b.line > 0 }

// inform is the option by which OpenSSL reads the block's format.
func (b Block) inform() string {
	if b.line == 0 {
		return "-inform der "
	}
	return ""
}
