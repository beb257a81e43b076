package keyfile

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strconv"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

const typePKCS12 = "PKCS12"

func isPKCS12(b Block) bool { return b.Type == typePKCS12 }

// unpackTime bounds the opening of a PKCS#12. Its costs are checked before, except where a part is
// itself encrypted inside an encrypted part, which no tool is known to write.
const unpackTime = 30 * time.Second

// maxPKCS12 bounds how many a file may hold; each may take seconds.
const maxPKCS12 = 4

// unpack replaces each PKCS#12 by the certificates and the key inside.
func (f *File) unpack(ctx context.Context, blocks []Block, p *Passphrase) ([]Block, error) {
	var all []Block
	opened := 0
	for _, b := range blocks {
		if !isPKCS12(b) {
			all = append(all, b)
			continue
		}
		if opened++; opened > maxPKCS12 {
			return nil, f.Fault(causeCostly, nil, "block", b.String(), "detail", "it is one of more than "+strconv.Itoa(maxPKCS12)+" in the file")
		}
		inside, err := f.unpackPKCS12(ctx, b, p)
		if err != nil {
			return nil, err
		}
		all = append(all, inside...)
	}
	return all, nil
}

// unpackPKCS12 tries the empty passphrase first: whoever wants none cannot leave it out everywhere.
func (f *File) unpackPKCS12(ctx context.Context, b Block, p *Passphrase) ([]Block, error) {
	sealed, wrong, detail := inspectPKCS12(b.Bytes)
	if wrong != nil {
		return nil, f.Fault(*wrong, nil, "block", b.String(), "detail", detail)
	}
	inside, err := decodePKCS12(ctx, b.Bytes, "", unpackTime)
	switch {
	case err == nil:
		return inside, nil
	case !sealed: // and no passphrase would be checked
		return nil, f.Fault(causeNoMAC, err, "block", b.String())
	case !errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, f.pkcs12Fault(b, err)
	}
	text, err := p.forBlock(ctx, f, b)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(text.Reveal(), func(r rune) bool { return r > 0xffff }) { // RFC 7292 §B.1: BMPString
		return nil, f.Fault(causePKCS12Foreign, nil, "block", b.String(), "detail", "a passphrase with characters beyond the basic plane of Unicode")
	}
	inside, err = decodePKCS12(ctx, b.Bytes, text.Reveal(), unpackTime)
	switch {
	case err == nil:
		return inside, nil
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, p.wrong(f, b)
	}
	return nil, f.pkcs12Fault(b, err)
}

// pkcs12Fault is about one that the passphrase opens, or of which that cannot be said.
func (f *File) pkcs12Fault(b Block, err error) *Error {
	detail := strings.TrimPrefix(sanitize.Line(err.Error(), 300), "pkcs12: ")
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return f.Fault(causeCostly, err, "block", b.String(), "detail", "it did not open in time")
	case errors.Is(err, pkcs12.ErrDecryption):
		detail = "the passphrase fits the file, but not a part of it"
	}
	return f.Fault(causePKCS12Damaged, err, "block", b.String(), "detail", detail)
}

// decodePKCS12 returns certificates and key. When time is up, the work goes on for as long as it
// takes, with nobody to wait for it.
func decodePKCS12(ctx context.Context, der []byte, passphrase string, limit time.Duration) ([]Block, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type outcome struct {
		blocks []Block
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		blocks, err := pkcs12Blocks(der, passphrase)
		done <- outcome{blocks, err}
	}()
	select {
	case o := <-done:
		return o.blocks, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func pkcs12Blocks(der []byte, passphrase string) ([]Block, error) {
	key, leaf, authorities, err := pkcs12.DecodeChain(der, passphrase)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var all []Block
	add := func(label string, der []byte) {
		all = append(all, Block{Block: &pem.Block{Type: label, Bytes: der}, number: len(all) + 1, inside: true})
	}
	for _, c := range append([]*x509.Certificate{leaf}, authorities...) {
		add("CERTIFICATE", c.Raw)
	}
	add("PRIVATE KEY", encoded)
	return all, nil
}
