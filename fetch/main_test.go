package fetch

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a server that records what it received.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	received []received
	conns    int
}

type received struct {
	Method, URI, Host string
	Header            http.Header
}

func newSite(t *testing.T, tls bool, h http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.received = append(s.received, received{r.Method, r.RequestURI, r.Host, r.Header.Clone()})
		s.mu.Unlock()
		h(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
		}
	}
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *site) requests() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

func (s *site) uris() []string {
	var uris []string
	for _, r := range s.requests() {
		uris = append(uris, r.URI)
	}
	return uris
}

// transport reaches sites: by their own address, or by one of the names given as "name:port" and
// site in turn. It trusts their certificates.
func transport(t *testing.T, names map[string]*site, trusted ...*site) *http.Transport {
	t.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if s, ok := names[addr]; ok {
				addr = s.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	if len(trusted) > 0 { // httptest has one certificate for all
		tr.TLSClientConfig = trusted[0].Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// bearer attaches a token to requests that go to one host and port, as a credential bound to its
// origin is.
type bearer struct {
	base http.RoundTripper
	host string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == b.host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer canary")
	}
	return b.base.RoundTrip(r)
}

func hasBearer(resp *http.Response) bool { return resp.Request.Header.Get("Authorization") != "" }

func redirectTo(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// raw answers the first request of a connection with bytes of our choice and leaves it open until the client closes.
func raw(t *testing.T, answer string) string {
	t.Helper()
	return rawListener(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		_, _ = io.WriteString(c, answer)
		_, _ = io.Copy(io.Discard, c)
	})
}

func rawListener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func hostOf(s *site) string {
	return strings.TrimPrefix(strings.TrimPrefix(s.URL, "https://"), "http://")
}
