package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// PortError says that the port for login pages cannot be had.
type PortError struct {
	Port   int
	Host   string // the loopback address concerned; "": 127.0.0.1
	Holder string // the program that holds the port, where that can be seen
	Err    error
}

func (e *PortError) Error() string {
	host := e.Host
	if host == "" {
		host = "127.0.0.1"
	}
	text := fmt.Sprintf("the login page cannot listen on %s: %v", net.JoinHostPort(host, strconv.Itoa(e.Port)), e.Err)
	if e.Holder != "" {
		text += "; it is held by " + e.Holder
	}
	return text
}
func (e *PortError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *PortError) Code() string { return "login.port" }

// Hint says what to do.
func (e *PortError) Hint() string {
	if e.Port == 0 {
		return "the machine must allow listening on the loopback address"
	}
	return "stop the program that holds the port, or set login.port to another one (0 takes any free port)"
}

// listener is one port on 127.0.0.1 and, if it could be had, on ::1.
type listener struct {
	port    int
	sockets []net.Listener
	six     error // why ::1 could not be had; nil: it was
	taken   bool  // because another program has the port there
	server  *http.Server
	release []func()
}

// portTries is how many free ports of 127.0.0.1 are tried until one is free on ::1 too.
const portTries = 8

func (d *Desk) open() (*listener, error) {
	var l *listener
	for try := 1; ; try++ {
		var err error
		if l, err = d.bind(); err != nil {
			return nil, err
		}
		if !l.taken || d.opts.Port != 0 || try == portTries {
			break
		}
		l.freePort()
	}
	if l.taken {
		d.opts.Logger.Info("the login page listens on 127.0.0.1 alone, because another program has its port on ::1", "port", l.port)
	}
	l.server = &http.Server{
		Handler:           d.handler(l),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second, // Continue and the callback talk to the issuer
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(d.opts.Logger.Handler(), slog.LevelDebug),
	}
	for _, s := range l.sockets {
		if d.opts.Own != nil {
			l.release = append(l.release, d.opts.Own(s.Addr().(*net.TCPAddr).AddrPort()))
		}
		go func() { // ends with the socket
			if err := l.server.Serve(s); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				d.opts.Logger.Error("the login page stopped", "error", err)
			}
		}()
	}
	return l, nil
}

// bind takes the port on 127.0.0.1, and on ::1 if it can be had: that is where browsers may look for
// localhost first. What is bound is what we say it is: no name is resolved.
func (d *Desk) bind() (*listener, error) {
	four, err := d.listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.opts.Port)))
	if err != nil {
		return nil, &PortError{Port: d.opts.Port, Holder: holder(d.opts.Port), Err: err}
	}
	l := &listener{port: four.Addr().(*net.TCPAddr).Port, sockets: []net.Listener{four}}
	six, err := d.listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(l.port)))
	if err == nil {
		l.sockets = append(l.sockets, six)
		return l, nil
	}
	l.six = err
	if other, err := d.listen("tcp6", "[::1]:0"); err == nil { // so it is not the address that is missing
		l.taken = true
		_ = other.Close()
	}
	return l, nil
}

// host is what browsers send as Host, where name is a loopback address or localhost.
func (l *listener) host(name string) string {
	host := net.JoinHostPort(name, strconv.Itoa(l.port))
	if l.port == 80 { // which http leaves out
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// base is the origin of the pages.
func (l *listener) base() string { return "http://" + l.host("127.0.0.1") }

// arrives returns redirectURI parsed, if an answer sent there arrives here and at nobody else's.
func (l *listener) arrives(redirectURI string) (*url.URL, error) {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme != "http" || !isCallback(u.Path) || u.String() != "http://"+u.Host+u.EscapedPath() {
		return nil, fmt.Errorf("the redirect URI %s is not one of the login page", sanitize.Quote(redirectURI))
	}
	six := &PortError{Port: l.port, Host: "::1", Err: l.six}
	switch u.Host {
	case l.host("127.0.0.1"):
	case l.host("::1"):
		if l.six != nil {
			return nil, six
		}
	case l.host("localhost"):
		if l.taken { // the other program would get the code
			return nil, six
		}
	default:
		return nil, fmt.Errorf("the redirect URI %s is not one of the login page", sanitize.Quote(redirectURI))
	}
	return u, nil
}

// freePort gives the port back at once, so that the next Place can have it while the returned
// listener's connections end; nil without one. The caller holds mu.
func (d *Desk) freePort() *listener {
	srv := d.srv
	d.srv = nil
	if srv != nil {
		srv.freePort()
	}
	return srv
}

func (l *listener) freePort() {
	for _, s := range slices.Backward(l.sockets) {
		_ = s.Close()
	}
}

func (l *listener) close(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		_ = l.server.Close()
	}
	for _, release := range l.release {
		release()
	}
}
