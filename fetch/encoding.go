package fetch

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
)

// contentEncoding is "gzip", "deflate" or "" (RFC 9110 §8.4); whatever else a server applied was
// not asked for.
func contentEncoding(h http.Header) (string, error) {
	var codings []string
	for _, value := range h.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(value, ",") {
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding != "" && coding != "identity" {
				codings = append(codings, coding)
			}
		}
	}
	switch {
	case len(codings) == 0:
		return "", nil
	case len(codings) > 1:
		return "", &EncodingError{Encoding: strings.Join(codings, ", "), Reason: "several encodings on top of each other are not accepted"}
	}
	switch codings[0] {
	case "gzip", "x-gzip":
		return "gzip", nil
	case "deflate":
		return "deflate", nil
	}
	return "", &EncodingError{Encoding: codings[0], Reason: "only gzip and deflate were asked for"}
}

// decoder undoes encoding. An empty body needs no frame around it.
func decoder(raw io.Reader, encoding string) (io.Reader, error) {
	in := bufio.NewReader(raw)
	if _, err := in.Peek(1); err == io.EOF {
		return bytes.NewReader(nil), nil
	}
	if encoding == "gzip" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return &gzipMembers{in, z}, nil
	}
	// RFC 9110 §8.4.1.2: "deflate" is the zlib format, though some servers send it without the
	// frame. The frame's first two bytes are a multiple of 31 (RFC 1950 §2.2).
	frame, err := in.Peek(2)
	if err == nil && frame[0]&0x0f == 8 && (int(frame[0])<<8|int(frame[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}

// gzipMembers reads one gzip member after the other (RFC 1952 §2.2) and leaves alone what follows
// the last one, as browsers do.
type gzipMembers struct {
	in *bufio.Reader
	z  *gzip.Reader
}

func (m *gzipMembers) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		if magic, _ := m.in.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			return 0, io.EOF
		}
		if err := m.z.Reset(m.in); err != nil {
			return 0, err
		}
		m.z.Multistream(false)
	}
}
