package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestServeMetrics(t *testing.T) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "authfetch_test", Help: "A test."})
	gauge.Set(7)
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	var owned, released []netip.AddrPort
	own := func(a netip.AddrPort) func() {
		owned = append(owned, a)
		return func() { released = append(released, a) }
	}
	go func() {
		done <- ServeMetrics(ctx, "127.0.0.1:0", own, func(url string) { ready <- url }, slog.New(slog.DiscardHandler), gauge)
	}()
	url := <-ready
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", MetricsPath, 200, "authfetch_test 7"},
		{"GET", MetricsPath, 200, "go_goroutines"},
		{"POST", MetricsPath, 405, ""},
		{"GET", Path, 404, ""},
	} {
		req, err := http.NewRequestWithContext(ctx, tt.method, strings.TrimSuffix(url, MetricsPath)+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
			t.Errorf("%s %s: %d %s", tt.method, req.URL, resp.StatusCode, body)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(owned) != 1 || len(released) != 1 || !strings.Contains(url, owned[0].String()) {
		t.Errorf("owned %v, released %v at %s", owned, released, url)
	}
}

func TestServeMetricsOnATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = ServeMetrics(t.Context(), l.Addr().String(), func(netip.AddrPort) func() { return func() {} }, func(string) {}, slog.New(slog.DiscardHandler))
	var refused *ListenError
	if !errors.As(err, &refused) || !strings.Contains(refused.Hint(), "http.metrics") {
		t.Errorf("got %v", err)
	}
}
