package oauthtest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// server is a started HTTP server that leaves nothing behind when it is closed.
type server struct {
	http   http.Server
	cancel context.CancelFunc
	served chan struct{}
	conns  sync.WaitGroup
}

// listen opens addr ("" for a random port of 127.0.0.1) and returns the base URL, which has the
// host as it was given. Call serve next.
func listen(addr string, config *tls.Config) (net.Listener, string, error) {
	if config != nil && len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		return nil, "", errors.New("the TLS configuration has no certificate")
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", fmt.Errorf("listen address: %w", err)
	}
	if host == "" {
		return nil, "", fmt.Errorf("listen address %q has no host", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		_ = l.Close()
		return nil, "", err
	}
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	return l, scheme + "://" + net.JoinHostPort(host, port), nil
}

func serve(l net.Listener, config *tls.Config, h http.Handler) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{cancel: cancel, served: make(chan struct{})}
	s.http = http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // failed handshakes are what tests are about
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.conns.Done()
			}
		},
	}
	if config != nil {
		s.http.TLSConfig = config.Clone()
	}
	go func() {
		defer close(s.served)
		if config == nil {
			_ = s.http.Serve(l)
			return
		}
		_ = s.http.ServeTLS(l, "", "")
	}()
	return s
}

// close drops all connections and waits for their handlers, whose context has ended.
func (s *server) close() {
	s.cancel()
	_ = s.http.Close()
	<-s.served
	s.conns.Wait()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
