package action

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// sockets stands in for net.Listen: it listens on any port of 127.0.0.1, and says no on ::1.
type sockets struct {
	mu     sync.Mutex
	opened []*socket
	six    func(port string) error // whether ::1 can be had; nil: always
	port   int                     // that 127.0.0.1 seems to have; 0: the true one
}

// socket is a listener that nothing arrives at by itself.
type socket struct {
	addr   *net.TCPAddr
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (s *sockets) listen(network, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if network == "tcp6" && s.six != nil {
		if err := s.six(port); err != nil {
			return nil, err
		}
	}
	addr := &net.TCPAddr{IP: net.ParseIP(host).To16(), Port: s.port}
	if addr.IP.To4() != nil {
		addr.IP = addr.IP.To4()
	}
	if addr.Port == 0 {
		addr.Port = 40000 + len(s.opened)
	}
	l := &socket{addr: addr, accept: make(chan net.Conn), closed: make(chan struct{})}
	s.opened = append(s.opened, l)
	return l, nil
}

func (s *sockets) open() (open []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.opened {
		select {
		case <-l.closed:
		default:
			open = append(open, l.addr.String())
		}
	}
	return open
}

// client connects to the first socket that is open.
func (s *sockets) client() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, l := range s.opened {
				here, there := net.Pipe()
				select {
				case <-l.closed:
				case l.accept <- there:
					return here, nil
				}
			}
			return nil, errors.New("nobody listens")
		}},
	}
}

func (l *socket) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *socket) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *socket) Addr() net.Addr { return l.addr }

var errMissing, errTaken = errors.New("cannot assign requested address"), errors.New("address already in use")

// missing: there is no ::1. takenOn: there is, but these ports of it are another program's.
func missing(string) error { return errMissing }
func takenOn(ports ...string) func(string) error {
	return func(port string) error {
		for _, p := range ports {
			if p == port || p == "*" && port != "0" {
				return errTaken
			}
		}
		return nil
	}
}

// redirectTo is what becomes of a sign-in whose redirect URI has this host.
func redirectTo(t *testing.T, d *Desk, host string) error {
	t.Helper()
	a := placeForm(t, d, Form{Continue: func(_ context.Context, redirectURI string) (Next, error) {
		u, err := url.Parse(redirectURI)
		if err != nil {
			return Next{}, err
		}
		return Next{URL: toIssuer, State: "right", RedirectURI: strings.Replace(redirectURI, u.Hostname(), host, 1)}, nil
	}})
	defer a.End(nil)
	next, err := d.Continue(t.Context(), a)
	if err == nil && next != toIssuer {
		t.Errorf("goes on to %q", next)
	}
	return err
}

func TestPortOnBothAddresses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fixed int
		six   func(string) error
		open  int    // sockets
		tries int    // sockets that were opened and closed again
		names string // hosts that a redirect URI may have
	}{
		{"both are free", 0, nil, 2, 0, "127.0.0.1 localhost [::1]"},
		{"there is no ::1", 0, missing, 1, 0, "127.0.0.1 localhost"},
		{"a port is taken on ::1", 0, takenOn("40000"), 2, 2, "127.0.0.1 localhost [::1]"},
		{"every port is taken on ::1", 0, takenOn("*"), 1, 2*portTries - 1, "127.0.0.1"},
		{"the fixed port is taken on ::1", 4711, takenOn("4711"), 1, 1, "127.0.0.1"},
		{"the fixed port, without ::1", 4711, missing, 1, 0, "127.0.0.1 localhost"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &sockets{six: tc.six, port: tc.fixed}
			d := newDesk(t, DeskOptions{Port: tc.fixed})
			d.listen = s.listen
			page := place(t, d, Next{})
			if open := s.open(); len(open) != tc.open || !strings.HasPrefix(open[0], "127.0.0.1:") || "http://"+open[0] != base(t, page) {
				t.Errorf("open are %v, want %d, and the page is at %s", open, tc.open, base(t, page))
			}
			if got := len(s.opened) - tc.open; got != tc.tries {
				t.Errorf("%d sockets were opened in vain, want %d", got, tc.tries)
			}
			for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
				err := redirectTo(t, d, host)
				if !strings.Contains(tc.names, host) {
					var port *PortError
					if !errors.As(err, &port) || port.Host != "::1" || port.Port == 0 || port.Err == nil || !strings.Contains(err.Error(), "[::1]:") {
						t.Errorf("a redirect URI at %s: %v, want that the port is another program's", host, err)
					}
				} else if err != nil {
					t.Errorf("a redirect URI at %s: %v", host, err)
				}
			}
			d.Close()
			if open := s.open(); len(open) != 0 {
				t.Errorf("open after Close: %v", open)
			}
		})
	}
}

// Browsers leave out the port that http has anyway.
func TestPort80(t *testing.T) {
	d := newDesk(t, DeskOptions{Port: 80})
	d.listen = (&sockets{port: 80}).listen
	a := place(t, d, Next{})
	if !strings.HasPrefix(a.Prompt().URL, "http://127.0.0.1/l/") {
		t.Errorf("page at %s", a.Prompt().URL)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
		if err := redirectTo(t, d, host); err != nil {
			t.Errorf("a redirect URI at %s: %v", host, err)
		}
	}
}

// An answer that would arrive elsewhere, at us or at others, is not asked for.
func TestRedirectURIOfOthers(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	for _, tc := range []struct{ name, redirectURI string }{
		{"another port", "http://127.0.0.1:1/callback"},
		{"no port", "http://localhost/callback"},
		{"another host", "http://evil.example:PORT/callback"},
		{"a host that begins like ours", "http://localhost.evil.example:PORT/callback"},
		{"another loopback address", "http://127.0.0.2:PORT/callback"},
		{"https", "https://127.0.0.1:PORT/callback"},
		{"a user name", "http://x@127.0.0.1:PORT/callback"},
		{"a query", "http://127.0.0.1:PORT/callback?x=y"},
		{"an empty query", "http://127.0.0.1:PORT/callback?"},
		{"a fragment", "http://127.0.0.1:PORT/callback#x"},
		{"a page", "http://127.0.0.1:PORT/l/x"},
		{"a path that begins like ours", "http://127.0.0.1:PORT/callbacks"},
		{"no path", "http://127.0.0.1:PORT"},
		{"nothing readable", "http://127.0.0.1:PORT/callback%zz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := placeForm(t, d, Form{Continue: func(_ context.Context, redirectURI string) (Next, error) {
				u, err := url.Parse(redirectURI)
				if err != nil {
					return Next{}, err
				}
				return Next{URL: toIssuer, State: "right", RedirectURI: strings.Replace(tc.redirectURI, "PORT", u.Port(), 1)}, nil
			}})
			if got := press(t, a, "continue"); got.status != http.StatusBadGateway || got.header.Get("Location") != "" {
				t.Errorf("%d to %q", got.status, got.header.Get("Location"))
			}
			if err := wait(t, a); err == nil || !strings.Contains(err.Error(), "redirect URI") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestHostNames(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	a := place(t, d, Next{})
	page, port := "/l/"+a.ID(), ":"+port(t, a)
	for _, tc := range []struct {
		host, path string
		want       int
	}{
		{"127.0.0.1" + port, page, 200},
		{"127.0.0.1" + port, "/callback", 400},
		{"localhost" + port, "/callback", 400},
		{"localhost" + port, "/callback/abc", 400},
		{"[::1]" + port, "/callback", 400},
		{"[::1]" + port, "/callback/abc", 400},
		// The page itself has one address.
		{"localhost" + port, page, 403},
		{"[::1]" + port, page, 403},
		{"localhost" + port, "/", 403},
		{"localhost" + port, "/callbacks", 403},
		{"localhost" + port, "/l/../callback", 403},
		// Names that others can have resolve to us, and other spellings.
		{"evil.example" + port, "/callback", 403},
		{"localhost.evil.example" + port, "/callback", 403},
		{"localhost.evil" + port, "/callback", 403},
		{"127.0.0.1.evil.example" + port, "/callback", 403},
		{"localhost." + port, "/callback", 403},
		{"LOCALHOST" + port, "/callback", 403},
		{"x.localhost" + port, "/callback", 403},
		{"127.1" + port, "/callback", 403},
		{"127.0.0.2" + port, "/callback", 403},
		{"0.0.0.0" + port, "/callback", 403},
		{"[::]" + port, "/callback", 403},
		{"[0:0:0:0:0:0:0:1]" + port, "/callback", 403},
		{"[::ffff:127.0.0.1]" + port, "/callback", 403},
		{"localhost", "/callback", 403},
		{"[::1]", "/callback", 403},
		{"127.0.0.1", "/callback", 403},
		{"localhost:1", "/callback", 403},
		{"localhost" + port + "0", "/callback", 403},
	} {
		if got := send(t, http.MethodGet, base(t, a)+tc.path, "", "Host", tc.host); got.status != tc.want {
			t.Errorf("%s at %s: %d, want %d", tc.path, tc.host, got.status, tc.want)
		}
	}
}

// An answer arrives at the redirect URI that the issuer was given, by whatever name that goes.
func TestCallbackByOtherNames(t *testing.T) {
	for _, own := range []string{"127.0.0.1", "localhost", "[::1]"} {
		t.Run(own, func(t *testing.T) {
			if own == "[::1]" && !hasSix() { // then nobody is sent there
				if err := redirectTo(t, newDesk(t, DeskOptions{}), "[::1]"); err == nil {
					t.Error("a redirect URI at an address that this machine does not have")
				}
				return
			}
			var at string
			var called int
			a := placeForm(t, newDesk(t, DeskOptions{}), Form{Continue: func(_ context.Context, redirectURI string) (Next, error) {
				at = strings.Replace(redirectURI, "127.0.0.1", own, 1) + "/abc"
				return Next{URL: toIssuer, State: "right", RedirectURI: at, Callback: func(context.Context, url.Values) error { called++; return nil }}, nil
			}})
			press(t, a, "continue")
			for _, other := range []string{"127.0.0.1", "localhost", "[::1]"} {
				if other == own {
					continue
				}
				host := other + ":" + port(t, a)
				if got := send(t, http.MethodGet, base(t, a)+"/callback/abc?state=right&code=C", "", "Host", host); got.status != http.StatusBadRequest {
					t.Errorf("at %s: %d", host, got.status)
				}
				mustWait(t, a, host)
			}
			if got := send(t, http.MethodGet, strings.Replace(at, "/abc", "/ab%63", 1)+"?state=right&code=C", ""); got.status != http.StatusBadRequest {
				t.Errorf("the path in other words: %d", got.status)
			}
			if got := send(t, http.MethodGet, at+"?state=right&code=C", ""); got.status != http.StatusOK {
				t.Errorf("the right answer: %d\n%s", got.status, got.body)
			}
			if err := wait(t, a); err != nil || called != 1 {
				t.Errorf("error %v, ran %d times", err, called)
			}
		})
	}
}

// A port that another program took first is an error that names it, and no reason to take another.
func TestSquattedPort(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			if network == "tcp6" && !hasSix() { // then nobody can be there
				if err := redirectTo(t, newDesk(t, DeskOptions{}), "localhost"); err != nil {
					t.Errorf("a redirect URI that nobody else can get: %v", err)
				}
				return
			}
			squatter, err := net.Listen(network, map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network])
			if err != nil {
				t.Fatal(err)
			}
			defer squatter.Close()
			port := squatter.Addr().(*net.TCPAddr).Port
			d := newDesk(t, DeskOptions{Port: port})
			var taken *PortError
			if network == "tcp6" {
				if err := redirectTo(t, d, "localhost"); !errors.As(err, &taken) || taken.Host != "::1" || taken.Port != port {
					t.Errorf("a redirect URI that the other program would get: %v", err)
				}
				if err := redirectTo(t, d, "127.0.0.1"); err != nil {
					t.Errorf("a redirect URI of ours: %v", err)
				}
				return
			}
			a, err := d.Place(Form{})
			if a != nil || !errors.As(err, &taken) || taken.Port != port || taken.Host != "" {
				t.Fatalf("%v, %v", a, err)
			}
			if runtime.GOOS == "linux" && !strings.HasSuffix(err.Error(), fmt.Sprintf("held by action.test (process %d)", os.Getpid())) {
				t.Errorf("it does not say who holds the port: %v", err)
			}
		})
	}
}

func TestHolderOfNothing(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	if got := holder(port); got != "" {
		t.Errorf("a free port is held by %q", got)
	}
}
