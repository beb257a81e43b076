package outbound

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/netguard"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// BenchmarkWarm is a request on an open connection with a client certificate: ours against a bare
// [http.Transport] with the same certificate and limits, taking turns. ns/op is both together.
func BenchmarkWarm(b *testing.B) {
	for _, proto := range []string{"h1", "h2"} {
		b.Run(proto, func(b *testing.B) {
			server := benchServer(b, proto == "h2")
			pair, m := benchMaterial(b, nil)
			ours := New(Options{Material: func(origin.Origin) *tlsmat.Material { return m },
				Rules: func(context.Context, origin.Origin) (netguard.Rules, error) {
					return netguard.Rules{Loopback: true}, nil
				}})
			bare := &http.Transport{TLSClientConfig: benchConfig(pair), ForceAttemptHTTP2: true, DisableCompression: true}
			limits := ours.newEntry(key{}).http // timeouts cost the same whoever sets them
			bare.MaxIdleConnsPerHost, bare.MaxConnsPerHost, bare.IdleConnTimeout = limits.MaxIdleConnsPerHost, limits.MaxConnsPerHost, limits.IdleConnTimeout
			bare.ResponseHeaderTimeout, bare.MaxResponseHeaderBytes, bare.HTTP2 = limits.ResponseHeaderTimeout, limits.MaxResponseHeaderBytes, limits.HTTP2
			b.Cleanup(ours.CloseIdleConnections)
			b.Cleanup(bare.CloseIdleConnections)
			req, err := http.NewRequestWithContext(principal.With(b.Context(), "alice"), http.MethodGet, server.URL+"/path?query", nil)
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("User-Agent", "mcp-authfetch") // as fetch does
			req.Header.Set("Accept", "text/html")
			req.Header.Set("Authorization", "Bearer "+strings.Repeat("t", 40))
			// Connections differ by chance, by more than what is measured: many are compared.
			compare(b, func() { ours.CloseIdleConnections(); bare.CloseIdleConnections() }, func() { benchGet(b, ours, req) }, func() { benchGet(b, bare, req) })
		})
	}
}

// BenchmarkHandshake is a new connection with a full handshake: ours against crypto/tls.
func BenchmarkHandshake(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name string
		key  crypto.Signer // nil: P-256
	}{{"P-256", nil}, {"RSA-2048", rsaKey}} {
		b.Run(kind.name, func(b *testing.B) {
			server := benchServer(b, false)
			address := server.Listener.Addr().String()
			pair, m := benchMaterial(b, kind.key)
			config := benchConfig(pair)
			config.ServerName = "127.0.0.1"
			tr := New(Options{})
			k := key{who: "alice", to: benchOrigin(b, server.URL), material: m, rules: netguard.Rules{Loopback: true}}
			connect := func(dial func() (net.Conn, error)) {
				c, err := dial()
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
			compare(b, func() {},
				func() {
					connect(func() (net.Conn, error) { return tr.dialTLS(b.Context(), tr.newEntry(k)) })
				},
				func() {
					connect(func() (net.Conn, error) {
						raw, err := net.Dial("tcp", address)
						if err != nil {
							return nil, err
						}
						c := tls.Client(raw, config)
						return c, c.HandshakeContext(b.Context())
					})
				})
		})
	}
}

// compare has both do the same in turns, and reports the medians and how they relate. Every now and
// then it begins anew, the other one first.
func compare(b *testing.B, anew func(), ours, bare func()) {
	b.Helper()
	do := []func(){ours, bare}
	var times [2][]time.Duration
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			anew()
			for first, j := mathrand.IntN(2), 0; j < 10; j++ {
				do[(first+j)%2]()
			}
		}
		for first, j := mathrand.IntN(2), 0; j < 2; j++ { // neither always goes first, nor by a rhythm
			which := (first + j) % 2
			begun := time.Now()
			do[which]()
			times[which] = append(times[which], time.Since(begun))
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2]) }
	a, c := median(times[0]), median(times[1])
	b.ReportMetric(a, "ours-ns")
	b.ReportMetric(c, "bare-ns")
	b.ReportMetric(100*(a/c-1), "%over")
}

func benchGet(b *testing.B, tr http.RoundTripper, req *http.Request) {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
}

// benchServer demands a certificate and answers with 1 KiB.
func benchServer(b *testing.B, h2 bool) *httptest.Server {
	page := []byte(strings.Repeat("x", 1<<10))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }))
	s.EnableHTTP2 = h2
	s.TLS = testCA().MutualConfig(testCA(), "127.0.0.1")
	s.StartTLS()
	b.Cleanup(s.Close)
	return s
}

func benchMaterial(b *testing.B, key crypto.Signer) (*tlstest.Pair, *tlsmat.Material) {
	dir := b.TempDir()
	pair := testCA().Issue(tlstest.Leaf{CN: "client", Client: true, Key: key})
	cert, keyFile, err := pair.Write(dir, "client")
	if err != nil {
		b.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, testCA().PEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	m, err := tlsmat.Load(b.Context(), tlsmat.Entry{Name: "bench", Cert: cert, Key: keyFile, CA: []string{ca}, CAOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	return pair, m
}

func benchConfig(pair *tlstest.Pair) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair.Cert}, RootCAs: testCA().Pool()}
}

func benchOrigin(b *testing.B, s string) origin.Origin {
	o, err := origin.Parse(s)
	if err != nil {
		b.Fatal(err)
	}
	return o
}
