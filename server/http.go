package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"
)

// Path is where MCP is served.
const Path = "/mcp"

const (
	// sessionIdle outlasts a day's work: hosts do not greet again after a pause.
	sessionIdle  = 12 * time.Hour
	shutdownTime = 10 * time.Second
	heartbeat    = 20 * time.Second
)

// HTTPOptions configure [ServeHTTP].
type HTTPOptions struct {
	Listen string // host:port; the host must be a loopback address
	// Own is told the listener's address and returns what to call when it is closed. nil: nobody.
	Own   func(netip.AddrPort) (release func())
	Ready func(url string) // called once requests are taken; nil: nobody
	// Documents are JSON documents that anybody may read, by path; nil: none.
	Documents map[string][]byte
	Logger    *slog.Logger // required
}

// ListenError says why an address cannot be listened on.
type ListenError struct {
	Listen, Reason, Remedy string
	Err                    error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("cannot serve on %s: %s", e.Listen, e.Reason)
}
func (e *ListenError) Unwrap() error { return e.Err }

// Code is the stable machine code of this error.
func (e *ListenError) Code() string { return "http.listen" }

// Hint says what to do.
func (e *ListenError) Hint() string { return e.Remedy }

// CheckListen refuses what is not a loopback address: whoever can reach this server acts with the
// logins and certificates of the person who started it.
func CheckListen(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return &ListenError{listen, "it is not host:port", "use something like 127.0.0.1:8808", err}
	}
	if host == "localhost" {
		return nil
	}
	if a, err := netip.ParseAddr(host); err != nil || !a.Unmap().IsLoopback() {
		return &ListenError{listen, "it is not a loopback address, and this version has no way to tell callers apart: anyone who reached it would act with your logins and certificates",
			"listen on 127.0.0.1 or [::1]", nil}
	}
	return nil
}

// ServeHTTP serves MCP over streamable HTTP until ctx ends.
func ServeHTTP(ctx context.Context, s *mcpserver.MCPServer, opts HTTPOptions) error {
	if err := CheckListen(opts.Listen); err != nil {
		return err
	}
	l, err := net.Listen("tcp", opts.Listen)
	if err != nil {
		return &ListenError{opts.Listen, err.Error(), "stop the program that holds the port, or use --listen with another one", err}
	}
	if err := CheckListen(l.Addr().String()); err != nil { // what localhost turned out to be
		_ = l.Close()
		return err
	}
	return serve(ctx, l, s, opts)
}

// serve serves on l, which has a TCP address, and closes it.
func serve(ctx context.Context, l net.Listener, s *mcpserver.MCPServer, opts HTTPOptions) error {
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	if opts.Own != nil {
		defer opts.Own(addr)()
	}
	var mcp *mcpserver.StreamableHTTPServer
	known := newSessions(func(id string) { endSession(mcp, id) })
	mcp = mcpserver.NewStreamableHTTPServer(s,
		mcpserver.WithEndpointPath(Path),
		mcpserver.WithSessionIdManager(known),
		mcpserver.WithSessionIdleTTL(sessionIdle),
		mcpserver.WithHeartbeatInterval(heartbeat),
		mcpserver.WithHTTPContextFunc(func(ctx context.Context, _ *http.Request) context.Context { return local(ctx) }),
		mcpserver.WithStreamableHTTPLogger(opts.Logger),
		mcpserver.WithDisableLocalhostProtection(true), // the gate is stricter
	)
	paths := http.NewServeMux()
	paths.Handle(Path, mcp)
	srv := &http.Server{
		Handler:           documents(opts.Documents, gate(hosts(addr), known, paths)),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	if opts.Ready != nil {
		opts.Ready("http://" + addr.String() + Path)
	}
	select {
	case err := <-failed:
		return errors.Join(err, mcp.Shutdown(context.WithoutCancel(ctx)))
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	// Ends the streams that only listen; they would keep the server open.
	err := mcp.Shutdown(stop)
	if e := srv.Shutdown(stop); e != nil && !errors.Is(e, context.DeadlineExceeded) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, srv.Close())
}

// hosts are the names by which this listener may be addressed.
func hosts(addr netip.AddrPort) map[string]bool {
	port := ":" + strconv.Itoa(int(addr.Port()))
	names := map[string]bool{addr.String(): true}
	for _, name := range []string{"localhost", "127.0.0.1", "[::1]"} {
		names[name+port] = true
		if port == ":80" { // not written out by those who send it
			names[name] = true
		}
	}
	return names
}

// endSession frees what the library keeps for a session: as if the client had ended it.
func endSession(h http.Handler, id string) {
	r := &http.Request{Method: http.MethodDelete, URL: &url.URL{Path: Path}, Header: http.Header{}}
	r.Header.Set("Mcp-Session-Id", id)
	h.ServeHTTP(&unread{header: http.Header{}}, r)
}

// unread is an answer that nobody reads.
type unread struct{ header http.Header }

func (u *unread) Header() http.Header         { return u.header }
func (u *unread) Write(p []byte) (int, error) { return len(p), nil }
func (u *unread) WriteHeader(int)             {}
