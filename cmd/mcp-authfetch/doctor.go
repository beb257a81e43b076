package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor [URL]", Short: "Check config, certificates and store, then every step towards a URL", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &doctor{}
			if len(args) == 1 {
				d.towards = args[0]
			}
			if a := d.local(cmd.Context(), p); a != nil {
				defer a.close()
				if d.towards != "" {
					d.remote(cmd.Context(), a, d.towards)
				}
			}
			if err := d.print(p, asJSON); err != nil {
				return err
			}
			if d.exit != exitOK {
				return &checkError{d.exit}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// check is one line of doctor.
type check struct {
	Name   string   `json:"name"`
	OK     bool     `json:"ok"`
	Result string   `json:"result"`
	Facts  []string `json:"facts,omitempty"`
	Code   string   `json:"code,omitempty"`
	Remedy string   `json:"remedy,omitempty"`
	// Warning: it works, and the remedy is for what may come.
	Warning bool `json:"warning,omitempty"`
}

// doctor collects checks; the first failure decides the exit code.
type doctor struct {
	towards string // a URL, or ""
	checks  []check
	exit    int
}

func (d *doctor) pass(name, result string, facts ...string) {
	d.add(check{Name: name, OK: true, Result: result, Facts: facts})
}

func (d *doctor) fail(name string, err error, facts ...string) {
	d.add(check{Name: name, Result: err.Error(), Facts: facts, Code: errorCode(err), Remedy: sanitize.Text(errorHint(err))})
	if d.exit == exitOK {
		d.exit = exitCode(err)
	}
}

// add makes the check fit to print: results and facts hold what servers said.
func (d *doctor) add(c check) {
	c.Result = sanitize.Text(c.Result)
	for i, f := range c.Facts {
		c.Facts[i] = sanitize.Line(f, 1000)
	}
	d.checks = append(d.checks, c)
}

// local checks what needs no network. It returns nil where going on makes no sense.
func (d *doctor) local(ctx context.Context, p *program) *app {
	path, _ := p.configPath()
	cfg, err := p.loadConfig()
	if err != nil {
		d.fail("config", err)
		return nil
	}
	where := cfg.Path
	if where == "" {
		where = "no file at " + path
	}
	d.pass("config", where+"; "+contents(cfg), cfg.Warnings...)
	files, err := p.loadFiles(ctx, cfg, atHome)
	for _, name := range slices.Sorted(maps.Keys(cfg.MTLS)) {
		d.entry(name, files, d.needs(cfg, name))
	}
	for _, issuer := range slices.Sorted(maps.Keys(files.keys)) {
		d.pass("signing key of "+action.ShowIssuer(issuer), "loaded")
	}
	for _, note := range files.notes {
		d.pass("signing keys", note)
	}
	if err != nil { // those that can be used are
		for _, failed := range each(err) {
			d.fail(loadedFor(failed), failed)
		}
	}
	if err := cfg.Network.CheckEnvironment(); err != nil {
		d.fail("proxy", err)
		files.close()
		return nil
	}
	a, err := p.assemble(cfg, files, atHome)
	if err != nil {
		d.fail("store", err)
		files.close()
		return nil
	}
	d.checkStore(ctx, a)
	return a
}

func (d *doctor) checkStore(ctx context.Context, a *app) {
	all, err := accounts(ctx, a.store)
	if err != nil {
		d.fail("store", err)
		return
	}
	where := "memory"
	var facts []string
	if onDisk, ok := a.store.(interface {
		Dir() string
		Warnings() []string
	}); ok {
		where, facts = onDisk.Dir(), onDisk.Warnings()
	}
	if _, sealed := a.store.(*tokenstore.Keyring); sealed {
		where += ", sealed with a key in the system's keyring"
	}
	d.pass("store", fmt.Sprintf("%s; records: %d", where, len(all)), facts...)
}

func (d *doctor) print(p *program, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(d.checks)
	}
	var b strings.Builder
	for _, c := range d.checks {
		mark := "✓"
		switch {
		case !c.OK:
			mark = "✗"
		case c.Warning:
			mark = "!"
		}
		fmt.Fprintf(&b, "%s %s: %s%s\n", mark, c.Name, c.Result, inBrackets(c.Code))
		for _, f := range c.Facts {
			fmt.Fprintf(&b, "    %s\n", f)
		}
		if c.Remedy != "" {
			fmt.Fprintf(&b, "    → %s\n", c.Remedy)
		}
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}
