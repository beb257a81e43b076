package main

import (
	"context"
	"errors"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// needs reports whether an entry is of consequence: towards a URL, only that of the site and that of
// the proxy are.
func (d *doctor) needs(cfg *config.Config, name string) bool {
	o, err := origin.OfURL(d.towards)
	if err != nil {
		return true
	}
	site, proxy := cfg.Site(o), cfg.Network.ProxyFor(o, true)
	return site != nil && site.MTLS == name || proxy != nil && proxy.MTLS == name
}

// entry tells of one entry under mtls, side by side. One that cannot be loaded is told as an error.
func (d *doctor) entry(name string, f files, needed bool) {
	source := f.sources[name]
	if source == nil {
		return
	}
	m := source.Current()
	var facts []string
	if m.Leaf() != nil {
		facts = m.Facts()
	}
	d.pass("mtls "+name, "loaded", facts...)
	for _, c := range m.Checks() {
		line := check{Name: "mtls " + name + " " + c.Name, OK: c.OK, Warning: c.Warn, Result: c.Result, Code: c.Code, Remedy: c.Remedy}
		d.add(line)
		if !c.OK && needed && d.exit == exitOK {
			d.exit = exitNetwork
		}
	}
}

// loadedFor names the line of a file that cannot be used.
func loadedFor(err error) string {
	if bad, ok := errors.AsType[*tlsmat.LoadError](err); ok && bad.Entry != "" {
		return "mtls " + bad.Entry
	}
	return "signing keys"
}

// connection goes up to the TLS handshake, a line for each step.
func (d *doctor) connection(ctx context.Context, a *app, o origin.Origin) bool {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second) // a key may wait for a touch
	defer cancel()
	report := a.base.Diagnose(ctx, o)
	for _, step := range report.Steps {
		if step.Err != nil {
			d.fail(step.Name, step.Err, step.Facts()...)
			return false
		}
		d.pass(step.Name, step.Says, step.Facts()...)
	}
	return true
}
