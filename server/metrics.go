package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MetricsPath is where [ServeMetrics] serves.
const MetricsPath = "/metrics"

// ServeMetrics serves what the collectors know, and what there is to know of the process, to
// Prometheus until ctx ends. Unlike MCP it may be listened to from elsewhere: it tells no secret.
// own is told the listener's address, as in [HTTPOptions]; ready is called once requests are taken.
func ServeMetrics(ctx context.Context, listen string, own func(netip.AddrPort) (release func()), ready func(url string), log *slog.Logger, all ...prometheus.Collector) error {
	registry := prometheus.NewRegistry()
	for _, c := range append(all, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &ListenError{listen, err.Error(), "stop the program that holds the port, or set http.metrics to another one", err}
	}
	defer own(l.Addr().(*net.TCPAddr).AddrPort())()
	mux := http.NewServeMux()
	mux.Handle("GET "+MetricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	ready("http://" + l.Addr().String() + MetricsPath)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err = srv.Close()
	<-failed
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
