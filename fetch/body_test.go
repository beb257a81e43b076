package fetch

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func zlibbed(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func deflated(s string) string {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func TestDecoding(t *testing.T) {
	text := strings.Repeat("some text, and more of it. ", 200)
	damaged := []byte(gzipped(text))
	damaged[len(damaged)-6] ^= 1 // in the checksum
	tests := map[string]struct {
		encoding []string
		body     string
		want     string // or the error's code
		failure  bool
	}{
		"none":                 {nil, text, text, false},
		"identity":             {[]string{"identity"}, text, text, false},
		"gzip":                 {[]string{"gzip"}, gzipped(text), text, false},
		"x-gzip":               {[]string{" X-GZip "}, gzipped(text), text, false},
		"identity and gzip":    {[]string{"identity", "gzip"}, gzipped(text), text, false},
		"gzip, two members":    {[]string{"gzip"}, gzipped(text) + gzipped("end"), text + "end", false},
		"gzip, empty member":   {[]string{"gzip"}, gzipped("") + gzipped("end"), "end", false},
		"gzip and garbage":     {[]string{"gzip"}, gzipped(text) + "\x00\x00garbage", text, false},
		"gzip and one byte":    {[]string{"gzip"}, gzipped(text) + "\x1f", text, false},
		"gzip of nothing":      {[]string{"gzip"}, gzipped(""), "", false},
		"gzip, no body":        {[]string{"gzip"}, "", "", false},
		"deflate with zlib":    {[]string{"deflate"}, zlibbed(text), text, false},
		"deflate, raw":         {[]string{"deflate"}, deflated(text), text, false},
		"deflate and garbage":  {[]string{"deflate"}, zlibbed(text) + "garbage", text, false},
		"deflate, no body":     {[]string{"deflate"}, "", "", false},
		"gzip cut off":         {[]string{"gzip"}, gzipped(text)[:40], "bad_encoding", true},
		"gzip, one byte":       {[]string{"gzip"}, "\x1f", "bad_encoding", true},
		"gzip, half a trailer": {[]string{"gzip"}, gzipped(text)[:len(gzipped(text))-3], "bad_encoding", true},
		"gzip, wrong checksum": {[]string{"gzip"}, string(damaged), "bad_encoding", true},
		"gzip that is not":     {[]string{"gzip"}, text, "bad_encoding", true},
		"deflate cut off":      {[]string{"deflate"}, zlibbed(text)[:30], "bad_encoding", true},
		"brotli":               {[]string{"br"}, "xx", "bad_encoding", true},
		"zstd":                 {[]string{"zstd"}, "xx", "bad_encoding", true},
		"twice in one line":    {[]string{"gzip, gzip"}, gzipped(gzipped(text)), "bad_encoding", true},
		"twice in two lines":   {[]string{"gzip", "deflate"}, deflated(gzipped(text)), "bad_encoding", true},
		"hostile name":         {[]string{"\"]\u202e" + strings.Repeat("x", 1000)}, "xx", "bad_encoding", true},
	}
	for name, test := range tests {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", name, chunked), func(t *testing.T) {
				s := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Encoding"] = test.encoding
					if chunked {
						w.(http.Flusher).Flush()
					} else {
						w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
					}
					_, _ = io.WriteString(w, test.body)
				})
				page, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: s.URL})
				if test.failure {
					wantCode(t, err, test.want)
					if err != nil && (len(err.Error()) > 400 || strings.Contains(err.Error(), "\u202e")) {
						t.Errorf("message %q", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if string(page.Body) != test.want {
					t.Errorf("got %d bytes %.40q, want %d bytes %.40q", len(page.Body), page.Body, len(test.want), test.want)
				}
			})
		}
	}
}

// endless writes until the client goes, and says how much it got rid of.
func endless(w http.ResponseWriter, chunk []byte, sent *atomic.Int64) {
	for {
		n, err := w.Write(chunk)
		sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func TestTooLarge(t *testing.T) {
	const limit = freeDecoded + 200<<10
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 2 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	random := make([]byte, 64<<10)
	for i := range random {
		random[i] = byte(i*i>>3 ^ i)
	}
	tests := map[string]struct {
		encoding string
		serve    func(http.ResponseWriter, *atomic.Int64)
		want     TooLargeError
		most     int64 // bytes the server could send
	}{
		"endless":               {"", func(w http.ResponseWriter, n *atomic.Int64) { endless(w, random, n) }, TooLargeError{Limit: limit}, 16 << 20},
		"endless empty members": {"gzip", func(w http.ResponseWriter, n *atomic.Int64) { endless(w, bytes.Repeat([]byte(gzipped("")), 1000), n) }, TooLargeError{Limit: limit}, 16 << 20},
		"bomb":                  {"gzip", func(w http.ResponseWriter, n *atomic.Int64) { endless(w, bomb.Bytes(), n) }, TooLargeError{Limit: limit, Bomb: true}, 16 << 20},
		"bomb, deflate": {"deflate", func(w http.ResponseWriter, n *atomic.Int64) {
			_, _ = io.WriteString(w, deflated(strings.Repeat("0", limit)))
		}, TooLargeError{Limit: limit, Bomb: true}, 16 << 20},
		"unpacks beyond": {"gzip", func(w http.ResponseWriter, n *atomic.Int64) {
			z := gzip.NewWriter(w)
			for i := range limit / 20 {
				fmt.Fprintf(z, "%x some more text in here\n", i*i)
			}
			_ = z.Close()
		}, TooLargeError{Limit: limit}, 16 << 20},
		"one byte more, declared": {"", func(w http.ResponseWriter, n *atomic.Int64) {
			w.Header().Set("Content-Length", strconv.Itoa(limit+1))
			w.(http.Flusher).Flush()
		}, TooLargeError{Limit: limit, Declared: limit + 1}, 0},
		"one byte more, chunked": {"", func(w http.ResponseWriter, n *atomic.Int64) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(make([]byte, limit+1))
		}, TooLargeError{Limit: limit}, 16 << 20},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			s := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) {
				if test.encoding != "" {
					w.Header().Set("Content-Encoding", test.encoding)
				}
				test.serve(w, &sent)
			})
			_, err := New(Options{Transport: transport(t, nil), MaxBody: limit}).Get(t.Context(), Request{URL: s.URL})
			wantCode(t, err, "too_large")
			var got *TooLargeError
			if errors.As(err, &got) && *got != test.want {
				t.Errorf("got %+v, want %+v", *got, test.want)
			}
			s.Close()
			if n := sent.Load(); n > test.most {
				t.Errorf("the server got rid of %d bytes", n)
			}
		})
	}
}

func TestExactlyTheLimit(t *testing.T) {
	const limit = 1<<20 + 77
	for _, chunked := range []bool{false, true} {
		s := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) {
			if chunked {
				w.(http.Flusher).Flush()
			} else {
				w.Header().Set("Content-Length", strconv.Itoa(limit))
			}
			_, _ = w.Write(make([]byte, limit))
		})
		page, err := New(Options{Transport: transport(t, nil), MaxBody: limit}).Get(t.Context(), Request{URL: s.URL})
		if err != nil || len(page.Body) != limit {
			t.Errorf("chunked %v: got %v, %v", chunked, page, err)
		}
	}
}

// Text that repeats itself is not a bomb as long as it stays small.
func TestSmallBodyMayCompressWell(t *testing.T) {
	text := strings.Repeat("0", freeDecoded)
	s := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, gzipped(text))
	})
	page, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: s.URL})
	if err != nil || string(page.Body) != text {
		t.Errorf("got %v", err)
	}
}

func TestContentLengthThatLies(t *testing.T) {
	t.Run("too long", func(t *testing.T) {
		addr := rawListener(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
		})
		page, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: "http://" + addr})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, %v, want an unexpected end", page, err)
		}
	})
	t.Run("too long, after a whole gzip member", func(t *testing.T) {
		addr := rawListener(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"+gzipped("x"))
		})
		page, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: "http://" + addr})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, %v, want an unexpected end", page, err)
		}
	})
	t.Run("too short", func(t *testing.T) {
		addr := raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage, and more of it")
		page, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: "http://" + addr})
		if err != nil || string(page.Body) != "page" {
			t.Errorf("got %v, %v", page, err)
		}
	})
	t.Run("memory", func(t *testing.T) {
		resp := &http.Response{ContentLength: 9 << 20, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("short"))}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := readBody(resp, 10<<20)
		runtime.ReadMemStats(&after)
		if err != nil || string(body) != "short" {
			t.Fatalf("got %q, %v", body, err)
		}
		allocated := after.TotalAlloc - before.TotalAlloc
		if allocated > 2*trustedLength {
			t.Errorf("%d bytes allocated because a header said so", allocated)
		}
	})
}

func TestBufferIsOfTheBodysSize(t *testing.T) {
	for _, length := range []int{0, 1, 5000, 1 << 20, 3<<20 + 5, 10 << 20} {
		for _, declared := range []bool{true, false} {
			resp := &http.Response{ContentLength: -1, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(make([]byte, length)))}
			if declared {
				resp.ContentLength = int64(length)
			}
			body, err := readBody(resp, 10<<20)
			if err != nil || len(body) != length {
				t.Fatalf("%d bytes: got %d, %v", length, len(body), err)
			}
			if room := cap(body) - len(body); room > length/4+64 {
				t.Errorf("%d bytes, declared %v: %d bytes too many kept", length, declared, room)
			}
		}
	}
}

func TestTimeoutNamesThePhase(t *testing.T) {
	silent := rawListener(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	stalled := raw(t, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+gzipped("some text")[:12])
	drip := func(head string) string {
		return rawListener(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, head)
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	unreachable := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	tests := map[string]struct {
		transport *http.Transport
		url       string
		phase     string
	}{
		"connecting":        {unreachable, "http://a.example/", "connecting"},
		"TLS handshake":     {transport(t, nil), "https://" + silent, "TLS handshake"},
		"no answer":         {transport(t, nil), "http://" + silent, "waiting for the response"},
		"slow headers":      {transport(t, nil), "http://" + drip("HTTP/1.1 200 OK\r\nX: "), "waiting for the response"},
		"slow body":         {transport(t, nil), "http://" + drip("HTTP/1.1 200 OK\r\n\r\n"), "reading the body"},
		"stalled, decoding": {transport(t, nil), "http://" + stalled, "reading the body"},
		"transport's own":   {&http.Transport{ResponseHeaderTimeout: 100 * time.Millisecond}, "http://" + silent, "waiting for the response"},
		"transport's TLS":   {&http.Transport{TLSHandshakeTimeout: 100 * time.Millisecond, TLSClientConfig: &tls.Config{}}, "https://" + silent, "TLS handshake"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(test.transport.CloseIdleConnections)
			limit := 400 * time.Millisecond
			if strings.HasPrefix(name, "transport") {
				limit = 20 * time.Second
			}
			_, err := New(Options{Transport: test.transport}).Get(t.Context(), Request{URL: test.url, Timeout: limit})
			var timeout *TimeoutError
			if !errors.As(err, &timeout) || timeout.Phase != test.phase || timeout.After > 10*time.Second {
				t.Errorf("got %v, want a timeout while %s", err, test.phase)
			}
		})
	}
}

func TestCancelWhileReading(t *testing.T) {
	started := make(chan struct{})
	s := newSite(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begin")
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err := New(Options{Transport: transport(t, nil)}).Get(ctx, Request{URL: s.URL})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
