package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

var (
	certNotAfter = prometheus.NewDesc("authfetch_certificate_not_after_seconds",
		"When the certificate of an mtls entry ends, or one of its intermediates before it, in seconds since 1970.", []string{"entry"}, nil)
	certNotBefore = prometheus.NewDesc("authfetch_certificate_not_before_seconds",
		"When the certificate of an mtls entry begins, in seconds since 1970.", []string{"entry"}, nil)
	certGeneration = prometheus.NewDesc("authfetch_certificate_generation",
		"How often the files of an mtls entry were loaded, from 1.", []string{"entry"}, nil)
	certFailing = prometheus.NewDesc("authfetch_certificate_reload_failing",
		"1 where the files of an mtls entry have changed and cannot be used; what was loaded before them still is.", []string{"entry"}, nil)
)

// certificates tells Prometheus about the entries under mtls.
type certificates map[string]*tlsmat.Source

// Describe implements [prometheus.Collector].
func (c certificates) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{certNotAfter, certNotBefore, certGeneration, certFailing} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c certificates) Collect(out chan<- prometheus.Metric) {
	for name, source := range c {
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		m := source.Current()
		if end, ok := m.Expiry(); ok {
			gauge(certNotAfter, float64(end.Unix()))
			gauge(certNotBefore, float64(m.Leaf().NotBefore.Unix()))
		}
		status := source.Status()
		gauge(certGeneration, float64(status.Generation))
		failing := 0.0
		if status.Failure != nil {
			failing = 1
		}
		gauge(certFailing, failing)
	}
}
