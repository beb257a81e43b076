package fetch

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

const (
	// A body that unpacks to more than maxRatio times its size is taken for a bomb, but not
	// before freeDecoded bytes: small repetitive pages do compress that well.
	maxRatio    = 100
	freeDecoded = 1 << 20

	firstBuffer   = 16 << 10
	trustedLength = 1 << 20 // of a Content-Length, until as many bytes have come

	drainBytes = 4 << 10
	drainTime  = 250 * time.Millisecond
)

// readBody reads and decodes a whole body of at most limit bytes, encoded or decoded.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, &TooLargeError{Limit: limit, Declared: resp.ContentLength}
	}
	encoding, err := contentEncoding(resp.Header)
	if err != nil {
		return nil, err
	}
	raw := &source{body: resp.Body, limit: limit}
	if encoding == "" {
		return readAll(raw, raw, resp.ContentLength)
	}
	decoded, err := decoder(raw, encoding)
	if err != nil {
		return nil, raw.blame(encoding, err)
	}
	body, err := readAll(decoded, raw, -1)
	if err != nil {
		return nil, raw.blame(encoding, err)
	}
	return body, nil
}

// source counts and limits the bytes of a body as they were sent, and remembers why they ended.
type source struct {
	body  io.Reader
	limit int64
	n     int64
	err   error // the first one that is not io.EOF
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.body.Read(p)
	s.n += int64(n)
	// An encoding can go on without end and without yielding a byte.
	if s.n > s.limit {
		err = &TooLargeError{Limit: s.limit}
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// blame tells an error of the transfer, or a limit, from one of the encoding.
func (s *source) blame(encoding string, err error) error {
	if s.err != nil {
		return s.err
	}
	if tooLarge, ok := err.(*TooLargeError); ok {
		return tooLarge
	}
	if err == io.ErrUnexpectedEOF {
		return &EncodingError{Encoding: encoding, Reason: "the data ends too early"}
	}
	return &EncodingError{Encoding: encoding, Reason: "the data is damaged"}
}

// readAll reads r, which reads raw, to its end. The buffer grows with what has come: length, the
// Content-Length or -1, is believed in full only after the server has sent trustedLength bytes.
func readAll(r io.Reader, raw *source, length int64) ([]byte, error) {
	size := int64(firstBuffer)
	if length >= 0 {
		size = min(length, trustedLength) + 1 // one more to see the end without growing
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			size = 2 * int64(cap(buf))
			if int64(cap(buf)) <= length {
				size = length + 1
			}
			bigger := make([]byte, len(buf), min(size, raw.limit+1))
			copy(bigger, buf)
			buf = bigger
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		decoded := int64(len(buf))
		switch {
		case decoded > raw.limit:
			return nil, &TooLargeError{Limit: raw.limit}
		case decoded > freeDecoded && decoded > maxRatio*raw.n:
			return nil, &TooLargeError{Limit: raw.limit, Bomb: true}
		case err == io.EOF && raw.err != nil:
			return nil, raw.err
		case err == io.EOF:
			return rightSized(buf), nil
		case err != nil:
			return nil, err
		}
	}
}

// rightSized gives back room that a body kept for some time would waste.
func rightSized(buf []byte) []byte {
	if cap(buf)-len(buf) <= len(buf)/4 {
		return buf
	}
	return bytes.Clone(buf)
}

// discard closes a body after reading the little that may be left of it, without which the
// connection could not be used again. A server that is slow about it is not waited for.
func discard(body io.ReadCloser, cancel context.CancelFunc) {
	late := time.AfterFunc(drainTime, cancel)
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, drainBytes)
	_ = body.Close()
}
