package outbound

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// TestWatch: a silent peer has ten seconds, whenever and however long our key signs in between.
func TestWatch(t *testing.T) {
	const never = time.Hour
	for _, tt := range []struct {
		name        string
		from, until time.Duration // of the signature
		after       time.Duration // when time is up
		err         error
	}{
		{"silent", never, never, 10 * time.Second, nil},
		{"a key in memory", time.Second, time.Second, 10 * time.Second, nil},
		{"a person touches in time", time.Second, 30 * time.Second, 39 * time.Second, nil},
		{"at the last moment", 9990 * time.Millisecond, 39 * time.Second, 39010 * time.Millisecond, nil},
		{"nobody touches", 2 * time.Second, never, 42 * time.Second, tlsfault.ErrUnsigned},
		{"nobody touches, asked late", 9990 * time.Millisecond, never, 49990 * time.Millisecond, tlsfault.ErrUnsigned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err := usual.watch(t.Context(), func() (bool, time.Duration) {
					at := time.Since(begun)
					return at >= tt.from && at < tt.until, max(min(at, tt.until)-tt.from, 0)
				})
				if after := time.Since(begun); err != tt.err || after < tt.after || after > tt.after+110*time.Millisecond {
					t.Errorf("%v after %v, want %v after %v", err, after, tt.err, tt.after)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if err := usual.watch(ctx, new(tlsmat.Seen).Signing); err != context.DeadlineExceeded || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// short has a peer answer at once and a key take three times as long as the peer may.
var short = limits{handshake: 300 * time.Millisecond, signing: 5 * time.Second}

const slowly = 900 * time.Millisecond

// TestSlowKey: a signature may take longer than a handshake, with the origin and with the proxy.
func TestSlowKey(t *testing.T) {
	for name, version := range versions {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, h2), func(t *testing.T) {
				config := testCA().MutualConfig(testCA(), "127.0.0.1")
				config.MaxVersion = version
				site := newSite(t, h2, config)
				token := newToken(t, testCA(), slowly)
				tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }})
				tr.limits = short
				do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
				if got := site.only(t).cn; got != "token" {
					t.Errorf("the site saw the certificate %q", got)
				}
			})
		}
	}
	for _, target := range []string{"https", "http"} {
		t.Run("of the proxy, "+target, func(t *testing.T) {
			var config *tls.Config
			if target == "https" {
				config = askForCertificate()
			}
			site, p := newSite(t, false, config), newSecureProxy(t, testCA().MutualConfig(testCA(), "127.0.0.1"))
			token, roots := newToken(t, testCA(), slowly), rootsMaterial(t)
			way := p.proxy(t, nil)
			way(origin.Origin{}).Material = func() *tlsmat.Material { return token.material }
			tr := newTransport(t, Options{Rules: loopback, Proxy: way, Material: func(origin.Origin) *tlsmat.Material { return roots }})
			tr.limits = short
			do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
			if got := p.certificates(); len(got) != 1 || got[0] != "token" {
				t.Errorf("the proxy saw the certificates %q", got)
			}
		})
	}
}

// TestKeyTooSlow: where nobody touches the token, it is not the network's fault.
func TestKeyTooSlow(t *testing.T) {
	soon := limits{handshake: 200 * time.Millisecond, signing: 500 * time.Millisecond}
	for _, tt := range []struct {
		name    string
		limits  limits
		timeout time.Duration // of the request; 0: none
		proxy   bool          // it is the key for the proxy
	}{
		{"the limit", soon, 0, false},
		{"the limit, proxy", soon, 0, true},
		{"the request's time", usual, 300 * time.Millisecond, false},
		{"the request's time, proxy", usual, 300 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, roots := newToken(t, testCA(), time.Minute), rootsMaterial(t)
			o := Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }}
			site := newSite(t, false, askForCertificate())
			if tt.proxy {
				o.Proxy = newSecureProxy(t, nil).proxy(t, nil)
				o.Proxy(origin.Origin{}).Material = func() *tlsmat.Material { return token.material }
				o.Material = func(origin.Origin) *tlsmat.Material { return roots }
			}
			tr := newTransport(t, o)
			tr.limits = tt.limits
			req := newRequest(t, "alice", http.MethodGet, site.URL, "")
			if tt.timeout != 0 {
				ctx, cancel := context.WithTimeout(req.Context(), tt.timeout)
				defer cancel()
				req = req.WithContext(ctx)
			}
			begun := time.Now()
			wantUnsigned(t, fetch(tr, req), tt.proxy)
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if n := len(site.all()); n != 0 {
				t.Errorf("the site received %d requests", n)
			}
		})
	}
}

func wantUnsigned(t *testing.T, err error, proxy bool) {
	t.Helper()
	f, ok := err.(*tlsfault.Failure)
	if !ok || f.Code() != "tls.signer" || !strings.Contains(f.Error(), "had not signed the handshake with ") ||
		!strings.Contains(f.Hint(), "touched") || strings.Contains(f.Error(), "the proxy ") != proxy {
		t.Errorf("error %T %v, want tls.signer", err, err)
	}
	// It would be taken for the time of the request, and told as that.
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is a deadline", err)
	}
}

// TestLateTouch: a request whose time was up before somebody touched the token leaves a connection to
// the next.
func TestLateTouch(t *testing.T) {
	site, token := newSite(t, false, askForCertificate()), newToken(t, testCA(), slowly)
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }})
	req := newRequest(t, "alice", http.MethodGet, site.URL, "")
	ctx, cancel := context.WithTimeout(req.Context(), slowly/3)
	defer cancel()
	wantUnsigned(t, fetch(tr, req.WithContext(ctx)), false)
	waitFor(t, "the end of the handshake", func() bool {
		for _, el := range tr.pool.entries {
			s := &el.Value.(*entry).origin.session
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.state != nil
		}
		return false
	})
	time.Sleep(50 * time.Millisecond) // until http.Transport has the connection
	do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
	if n := token.signatures(); n != 1 {
		t.Errorf("%d signatures, want 1", n)
	}
}

// TestSilentPeer: who says nothing has the time of a peer, not that of a key.
func TestSilentPeer(t *testing.T) {
	l := listen(t, silent)
	token := newToken(t, testCA(), time.Minute)
	tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }})
	tr.limits = limits{handshake: 100 * time.Millisecond, signing: time.Minute}
	for name, err := range map[string]error{
		"request":  fetch(tr, newRequest(t, "alice", http.MethodGet, "https://"+l.Addr().String(), "")),
		"diagnose": tr.Diagnose(t.Context(), mustOrigin(t, "https://"+l.Addr().String())).Err(),
	} {
		want := "the TLS handshake with " + l.Addr().String() + " took longer than 100ms"
		if e, ok := err.(*Error); !ok || e.Code() != codeTimeout || e.Error() != want {
			t.Errorf("%s: error %T %v, want %q", name, err, err, want)
		}
	}
	if n := token.signatures(); n != 0 {
		t.Errorf("%d signatures", n)
	}
}

// TestSilentProxy: the same, and it is the proxy's fault.
func TestSilentProxy(t *testing.T) {
	l := listen(t, silent)
	tr := newTransport(t, Options{Rules: loopback, Proxy: via(t, "https://"+l.Addr().String(), nil)})
	tr.limits = limits{handshake: 100 * time.Millisecond, signing: time.Minute}
	for name, err := range map[string]error{
		"https":    fetch(tr, newRequest(t, "alice", http.MethodGet, "https://127.0.0.1:9", "")),
		"http":     fetch(tr, newRequest(t, "alice", http.MethodGet, "http://127.0.0.1:9", "")),
		"diagnose": tr.Diagnose(principal.With(t.Context(), "alice"), mustOrigin(t, "https://127.0.0.1:9")).Err(),
	} {
		want := "the TLS handshake with the proxy " + l.Addr().String() + " took longer than 100ms"
		if e, ok := err.(*Error); !ok || e.Code() != codeProxy || e.Error() != want || !e.Retryable() || !strings.Contains(e.Hint(), "network.proxy") {
			t.Errorf("%s: error %T %v, want %q", name, err, err, want)
		}
	}
}

// TestDiagnoseSlowKey: sent is what was signed.
func TestDiagnoseSlowKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		delay  time.Duration
		limits limits
		ctx    time.Duration
		sent   bool
	}{
		{"in time", slowly, short, time.Minute, true},
		{"too late", time.Minute, limits{200 * time.Millisecond, 500 * time.Millisecond}, time.Minute, false},
		{"too late for the caller", time.Minute, usual, 300 * time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site, token := newSite(t, false, testCA().MutualConfig(testCA(), "127.0.0.1")), newToken(t, testCA(), tt.delay)
			tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }})
			tr.limits = tt.limits
			ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
			defer cancel()
			r := tr.Diagnose(principal.With(ctx, "alice"), mustOrigin(t, site.URL))
			last := r.Steps[len(r.Steps)-1]
			want := "client certificate: asked for, and sent"
			if !tt.sent {
				want = "client certificate: asked for, but not sent"
				wantUnsigned(t, r.Err(), false)
			} else if r.Err() != nil {
				t.Error(r.Err())
			}
			if facts := strings.Join(last.Facts(), "\n"); last.Handshake.Sent != tt.sent || !strings.Contains(facts, want) {
				t.Errorf("sent %v, facts\n%s", last.Handshake.Sent, facts)
			}
		})
	}
}

// TestNoProbeByToken: what takes a touch is not done again only to hear why.
func TestNoProbeByToken(t *testing.T) {
	config := testCA().ServerConfig("127.0.0.1")
	config.ClientAuth = tls.RequestClientCert
	hangUp := func(c net.Conn) { // as if the alert had been overtaken
		_ = tls.Server(c, config).Handshake()
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	strangers := tlstest.NewCA("another root")
	t.Run("origin", func(t *testing.T) {
		l, token := listen(t, hangUp), newToken(t, strangers, 0)
		tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }})
		wantUnasked(t, fetch(tr, newRequest(t, "alice", http.MethodPost, "https://"+l.Addr().String(), strings.Repeat("x", 100<<10))), token, false)
	})
	for _, target := range []string{"https://127.0.0.1:9/", "http://127.0.0.1:9/"} {
		t.Run("proxy to "+target, func(t *testing.T) {
			l, token := listen(t, hangUp), newToken(t, strangers, 0)
			way := via(t, "https://"+l.Addr().String(), nil)
			way(origin.Origin{}).Material = func() *tlsmat.Material { return token.material }
			tr := newTransport(t, Options{Rules: loopback, Proxy: way})
			wantUnasked(t, fetch(tr, newRequest(t, "alice", http.MethodPost, target, strings.Repeat("x", 100<<10))), token, true)
		})
	}
	t.Run("origin behind a proxy by token", func(t *testing.T) {
		l, token, m := listen(t, hangUp), newToken(t, testCA(), 0), clientMaterial(t, "client")
		config := testCA().MutualConfig(testCA(), "127.0.0.1")
		config.SessionTicketsDisabled = true // else a session would be resumed
		way := newSecureProxy(t, config).proxy(t, nil)
		way(origin.Origin{}).Material = func() *tlsmat.Material { return token.material }
		tr := newTransport(t, Options{Rules: loopback, Proxy: way, Material: func(origin.Origin) *tlsmat.Material { return m }})
		wantUnasked(t, fetch(tr, newRequest(t, "alice", http.MethodPost, "https://"+l.Addr().String(), strings.Repeat("x", 100<<10))), token, false)
	})
	t.Run("after an answer", func(t *testing.T) {
		site, token := newSite(t, false, askForCertificate()), newToken(t, testCA(), 0)
		var requests atomic.Int64
		site.handle = func(http.ResponseWriter, *http.Request) {
			if requests.Add(1) > 1 {
				panic(http.ErrAbortHandler)
			}
		}
		tr := newTransport(t, Options{Rules: loopback, Material: func(origin.Origin) *tlsmat.Material { return token.material }})
		do(t, tr, newRequest(t, "alice", http.MethodGet, site.URL, ""))
		err := fetch(tr, newRequest(t, "alice", http.MethodPost, site.URL, "x"))
		if e, ok := err.(*Error); !ok || e.Code() != codeReset || site.connections() != 1 {
			t.Errorf("error %T %v on %d connections, want %s: who had answered did not refuse us", err, err, site.connections(), codeReset)
		}
	})
}

func wantUnasked(t *testing.T, err error, token *token, proxy bool) {
	t.Helper()
	f, ok := err.(*tlsfault.Failure)
	if !ok || f.Code() != "tls.handshake" || !strings.Contains(f.Error(), "may have refused it") || !strings.Contains(f.Hint(), "run doctor") ||
		strings.Contains(f.Error(), "the proxy ") != proxy {
		t.Errorf("error %T %v, want what is known", err, err)
	}
	time.Sleep(100 * time.Millisecond)
	if n := token.signatures(); n != 1 {
		t.Errorf("%d signatures, want 1", n)
	}
}

// token is a client certificate "token" whose key lives in another process.
type token struct {
	material *tlsmat.Material
	log      string // a byte for each signature made
}

// newToken has a key that takes so long for a signature.
func newToken(t *testing.T, ca *tlstest.CA, delay time.Duration) *token {
	t.Helper()
	dir := t.TempDir()
	cert, key, err := ca.Issue(tlstest.Leaf{CN: "token", Client: true}).Write(dir, "client")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	source, err := tlsmat.Open(t.Context(), tlsmat.Entry{Name: "token", Signer: []string{os.Args[0], "signer", cert, key, log, delay.String()},
		CA: []string{rootFile(t)}, CAOnly: true}, tlsmat.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return &token{source.Current(), log}
}

func (k *token) signatures() int {
	b, _ := os.ReadFile(k.log)
	return len(b)
}

// sign is an external signer (docs/signer.md). args are the files of the certificate and the key,
// that to log in, and the time that a signature takes.
func sign(args []string) {
	pair, err := tls.LoadX509KeyPair(args[0], args[1])
	if err != nil {
		return
	}
	delay, _ := time.ParseDuration(args[3])
	var mu sync.Mutex // guards the output
	answer := func(members map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(os.Stdout).Encode(members)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var request struct {
			ID     int
			Method string
			Digest []byte
		}
		_ = json.Unmarshal(lines.Bytes(), &request)
		switch request.Method {
		case "hello":
			answer(map[string]any{"id": request.ID, "protocol": 1})
		case "chain":
			answer(map[string]any{"id": request.ID, "chain": pair.Certificate})
		default:
			go func() {
				time.Sleep(delay)
				signature, _ := pair.PrivateKey.(crypto.Signer).Sign(rand.Reader, request.Digest, crypto.SHA256)
				if f, err := os.OpenFile(args[2], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
					_, _ = f.Write([]byte{1})
					_ = f.Close()
				}
				answer(map[string]any{"id": request.ID, "signature": signature})
			}()
		}
	}
}
