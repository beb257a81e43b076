package tlsmat

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// block is a PEM block and its place in the file.
type block struct {
	*pem.Block
	number int // from 1
	line   int // of its BEGIN line, from 1
}

func (b block) String() string {
	return fmt.Sprintf("block %d (%s, line %d)", b.number, sanitize.Line(b.Type, 40), b.line)
}

func isCertificate(b block) bool { return b.Type == "CERTIFICATE" || b.Type == "X509 CERTIFICATE" }

func isKey(b block) bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") }

func has(blocks []block, is func(block) bool) bool {
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

// blocks splits the file into PEM blocks. [pem.Decode] skips what it cannot read; here that is an
// error with its position. What text editors and shells do to PEM files is undone: byte order
// mark, foreign line ends, indentation, a file without its last line end before another's first.
func (f *file) blocks() ([]block, error) {
	if err := f.sniff(); err != nil {
		return nil, err
	}
	text := unifyLines(bytes.TrimPrefix(f.data, []byte("\ufeff")))
	var all []block
	line := 1
	for {
		start := bytes.Index(text, beginMark)
		if start < 0 && len(all) == 0 {
			return nil, f.notPEM()
		} else if start < 0 {
			return all, nil
		}
		line += bytes.Count(text[:start], []byte("\n"))
		text = text[start:]
		b := block{number: len(all) + 1, line: line}
		size, reason := b.decode(text)
		if reason != "" {
			return nil, f.fail(nil, "restore the file from its source; each block needs its BEGIN line, its base64 lines and its END line", "block %d (line %d) %s", b.number, b.line, reason)
		}
		line += bytes.Count(text[:size], []byte("\n"))
		text = text[size:]
		all = append(all, b)
	}
}

// decode reads the block that text begins with and returns its length, or what is wrong with it.
func (b *block) decode(text []byte) (size int, reason string) {
	blockType, rest, ok := cutLabel(text, beginMark)
	if !ok {
		return 0, "has a damaged BEGIN line"
	}
	end := bytes.Index(rest, endMark)
	if next := bytes.Index(rest, beginMark); end < 0 || next >= 0 && next < end {
		return 0, "has no END line: the file is cut off or damaged"
	}
	body := bytes.TrimSpace(rest[:end])
	endType, rest, ok := cutLabel(rest[end:], endMark)
	switch {
	case !ok:
		return 0, "has a damaged END line"
	case endType != blockType:
		return 0, "begins as one type and ends as another"
	case bytes.Contains(body, []byte(`\n`)):
		return 0, `contains the characters \n where line breaks belong`
	}
	clean := fmt.Appendf(nil, "-----BEGIN %s-----\n%s\n-----END %s-----\n", blockType, body, blockType)
	if b.Block, _ = pem.Decode(clean); b.Block == nil || len(b.Bytes) == 0 {
		return 0, "is not valid base64"
	}
	return len(text) - len(rest), ""
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

// sniff names the usual files that are not PEM.
func (f *file) sniff() error {
	data := f.data
	quoted := sanitize.Line(f.path, 1000)
	switch {
	case len(data) == 0:
		return f.fail(nil, "write the PEM text into the file", "is empty (0 bytes)")
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}),
		bytes.Contains(data[:min(len(data), 64)], []byte("-\x00-")):
		return f.fail(nil, "save the file again as UTF-8 or ASCII; PowerShell's > writes UTF-16", "is saved as UTF-16")
	case bytes.Contains(data, beginMark):
		return nil
	case isPKCS12(data):
		return f.fail(nil, "convert it: openssl pkcs12 -in "+quoted+" -out FILE.pem", "is PKCS#12, not PEM")
	case isDER(data):
		command := "openssl x509"
		if f.field == "key" {
			command = "openssl pkey"
		}
		return f.fail(nil, "convert it: "+command+" -inform der -in "+quoted+" -out FILE.pem", "is DER, not PEM")
	case len(bytes.TrimSpace(data)) == 0:
		return f.fail(nil, "write the PEM text into the file", "holds only white space (%d bytes)", len(data))
	}
	return f.notPEM()
}

func (f *file) notPEM() *LoadError {
	return f.fail(nil, "name a PEM file, which has a line -----BEGIN ...-----", "is not PEM: it has no BEGIN line")
}

func isDER(data []byte) bool {
	var v asn1.RawValue
	_, err := asn1.Unmarshal(data, &v)
	return err == nil && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagSequence && v.IsCompound
}

// isPKCS12: RFC 7292 §4, a PFX begins with version 3.
func isPKCS12(data []byte) bool {
	var pfx struct {
		Version  int
		AuthSafe asn1.RawValue
	}
	_, err := asn1.Unmarshal(data, &pfx)
	return err == nil && pfx.Version == 3
}

// certificates parses every certificate of the file, at least one.
func (f *file) certificates(blocks []block) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type == "TRUSTED CERTIFICATE" {
			return nil, f.fail(nil, "convert it: openssl x509 -in "+sanitize.Line(f.path, 1000)+" -out FILE.pem",
				"%v is in OpenSSL's own trusted form, not a plain certificate", b)
		}
		if !isCertificate(b) {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, f.fail(err, "restore this block from its source", "%v is not a valid certificate: %v", b, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, f.noCertificate(blocks)
	}
	return certs, nil
}

// noCertificate says what the file holds instead.
func (f *file) noCertificate(blocks []block) *LoadError {
	for _, b := range blocks {
		switch {
		case strings.HasSuffix(b.Type, "CERTIFICATE REQUEST"):
			return f.fail(nil, "have the request signed by your CA and name the certificate it returns", "holds a certificate request, which is not signed yet")
		case isKey(b):
			return f.fail(nil, "name the certificate in "+f.configKey(), "holds a private key, but no certificate")
		case b.Type == "PKCS7":
			return f.fail(nil, "convert it: openssl pkcs7 -print_certs -in "+sanitize.Line(f.path, 1000)+" -out FILE.pem", "holds PKCS#7, not certificates in PEM")
		}
	}
	return f.fail(nil, "name a file with a CERTIFICATE block", "holds no certificate, only %v", blocks[0])
}
