package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// gathered is what Prometheus would read, by name; there is one entry.
func gathered(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			all[f.GetName()] = m.GetGauge().GetValue()
			if len(m.GetLabel()) != 1 || m.GetLabel()[0].GetName() != "entry" || m.GetLabel()[0].GetValue() != "corp" {
				t.Errorf("%s has the labels %v", f.GetName(), m.GetLabel())
			}
		}
	}
	return all
}

func TestCertificateMetrics(t *testing.T) {
	ca, dir := tlstest.NewCA("CA"), t.TempDir()
	end := time.Now().Add(7 * time.Hour).Truncate(time.Second)
	pair := ca.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: end.Add(-9 * time.Hour), NotAfter: end})
	cert, key, err := pair.Write(dir, "client")
	if err != nil {
		t.Fatal(err)
	}
	source, err := tlsmat.Open(t.Context(), tlsmat.Entry{Name: "corp", Cert: cert, Key: key}, tlsmat.SourceOptions{Interval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	sources := files{sources: map[string]*tlsmat.Source{"corp": source}}
	defer sources.close()
	defer sources.watch()()
	want := map[string]float64{
		"authfetch_certificate_not_after_seconds": float64(end.Unix()), "authfetch_certificate_not_before_seconds": float64(end.Add(-9 * time.Hour).Unix()),
		"authfetch_certificate_generation": 1, "authfetch_certificate_reload_failing": 0,
	}
	if diff := cmp.Diff(want, gathered(t, certificates(sources.sources))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// A change that cannot be used leaves everything as it was, and is seen.
	if err := os.WriteFile(filepath.Join(dir, "client.key"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	want["authfetch_certificate_reload_failing"] = 1
	var diff string
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if diff = cmp.Diff(want, gathered(t, certificates(sources.sources))); diff == "" {
			return
		}
	}
	t.Errorf("(-want +got):\n%s", diff)
}
