package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"
)

// Path is where MCP is served.
const Path = "/mcp"

const (
	sessionIdle  = 15 * time.Minute
	shutdownTime = 10 * time.Second
	heartbeat    = 20 * time.Second
)

// HTTPOptions configure [ServeHTTP].
type HTTPOptions struct {
	Listen string // host:port; the host must be a loopback address
	// Own is told the listener's address and returns what to call when it is closed. nil: nobody.
	Own    func(netip.AddrPort) (release func())
	Ready  func(url string) // called once requests are taken; nil: nobody
	Logger *slog.Logger     // required
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
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	if opts.Own != nil {
		defer opts.Own(addr)()
	}
	sessions := newSessions(sessionIdle)
	mcp := mcpserver.NewStreamableHTTPServer(s,
		mcpserver.WithEndpointPath(Path),
		mcpserver.WithSessionIdManager(sessions),
		mcpserver.WithSessionIdleTTL(sessionIdle),
		mcpserver.WithHeartbeatInterval(heartbeat),
		mcpserver.WithHTTPContextFunc(func(ctx context.Context, _ *http.Request) context.Context { return local(ctx) }),
		mcpserver.WithStreamableHTTPLogger(opts.Logger),
		mcpserver.WithDisableLocalhostProtection(true), // the gate is stricter
	)
	defer mcp.CloseSessions(context.WithoutCancel(ctx))
	srv := &http.Server{
		Handler:           gate(hosts(addr), mcp),
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
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return srv.Close()
}

// hosts are the names by which this listener may be addressed.
func hosts(addr netip.AddrPort) map[string]bool {
	port := strconv.Itoa(int(addr.Port()))
	return map[string]bool{addr.String(): true, "localhost:" + port: true, "127.0.0.1:" + port: true, "[::1]:" + port: true}
}
