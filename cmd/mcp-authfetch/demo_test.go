package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// TestDemoNamesTheStepThatBreaks breaks the world before each step in turn.
func TestDemoNamesTheStepThatBreaks(t *testing.T) {
	self, err := exec.LookPath("mcp-authfetch") // put there by testscript
	if err != nil {
		t.Fatal(err)
	}
	dead, err := deadAddress()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, before string
		sabotage     func(d *demo)
		says         string // on stderr
	}{
		{name: "no config for the server", before: "starting the MCP server", sabotage: func(d *demo) { d.config = filepath.Join(d.dir, "gone") }, says: "there is no such file"},
		{name: "no server", before: "starting the MCP server", sabotage: func(d *demo) { d.self = filepath.Join(d.dir, "gone") }},
		{name: "no site", before: "calling webfetch for the first time", sabotage: func(d *demo) { d.site.Close() }},
		{name: "no issuer", before: "calling webfetch for the first time", sabotage: func(d *demo) { d.issuer.Close() }},
		{name: "no link", before: "signing in", sabotage: func(d *demo) { d.link = "http://" + dead + "/l/X" }},
		{name: "no server any more", before: "calling webfetch again", sabotage: func(d *demo) { _ = d.agent.Close() }},
		{name: "no login", before: "calling webfetch again", sabotage: func(d *demo) {
			d.issuer.RevokeTokens()
			d.issuer.RevokeRefreshTokens()
		}},
		{name: "nothing on the wire", before: "checking what went over the wire", sabotage: func(d *demo) { d.log.Reset() }},
		{name: "a step on the wire is missing", before: "checking what went over the wire", sabotage: func(d *demo) {
			all := d.log.Events()
			d.log.Reset()
			for _, e := range all {
				if e.Path != "/token" {
					d.log.Add(e)
				}
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			p := &program{surroundings: surroundings{stdout: &stdout, stderr: &stderr, env: os.LookupEnv}}
			d := &demo{program: p, self: self}
			defer d.close()

			steps := d.steps()
			at := slices.IndexFunc(steps, func(s step) bool { return s.name == test.before })
			if at < 0 {
				t.Fatalf("there is no step %q", test.before)
			}
			steps = slices.Insert(steps, at, step{"sabotage", func(context.Context) error { test.sabotage(d); return nil }})
			err := d.take(ctx, steps)

			var broken *stepError
			if !errors.As(err, &broken) || broken.step != test.before {
				t.Fatalf("got %v, want the step %q to break\n%s", err, test.before, stdout.String())
			}
			if code := p.report(nil, err); code != exitOther {
				t.Errorf("exit code %d, want %d", code, exitOther)
			}
			for _, want := range []string{"demo: " + test.before + ": ", test.says} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr does not say %q:\n%s", want, stderr.String())
				}
			}
			if _, err := os.Stat(d.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s was left behind (%v)", d.dir, err)
			}
		})
	}
}

// TestDemoAccountWantsOrder: the account is of a handshake, not of a set of requests.
func TestDemoAccountWantsOrder(t *testing.T) {
	var stdout bytes.Buffer
	d := &demo{program: &program{surroundings: surroundings{stdout: &stdout}}, log: new(oauthtest.Log)}
	d.log.Add(oauthtest.Event{Server: "resource", Method: "GET", Path: "/docs/handbook", Status: 200})
	d.log.Add(oauthtest.Event{Server: "resource", Method: "GET", Path: "/docs/handbook", Status: 401})
	err := d.account(t.Context())
	if err == nil || !strings.Contains(err.Error(), `"resource metadata" is missing`) {
		t.Errorf("got %v, want the resource metadata to be missing", err)
	}
}

// TestDemoInREADME: the session that the README shows is what a run prints, but for the lines at "…".
func TestDemoInREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, session, ok := strings.Cut(string(readme), "\n```\n== ")
	session, _, ended := strings.Cut("== "+session, "\n```\n")
	if !ok || !ended {
		t.Fatal("README.md has no session")
	}
	self, err := exec.LookPath("mcp-authfetch") // put there by testscript
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	p := &program{surroundings: surroundings{stdout: &stdout, stderr: &stderr, env: os.LookupEnv}}
	d := &demo{program: p, self: self}
	defer d.close()
	if err := d.take(t.Context(), d.steps()); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	ran := strings.Split(masked(stdout.String()), "\n")
	at, gap := -1, true // the run's line of the one before; whether others may come between
	for _, line := range strings.Split(masked(session), "\n") {
		if line == "…" {
			gap = true
			continue
		}
		next := slices.Index(ran[at+1:], line)
		if next < 0 || next > 0 && !gap {
			t.Fatalf("after line %d of the run, the README has\n%s\nand the run\n%s", at+1, line, strings.Join(ran[at+1:], "\n"))
		}
		at, gap = at+1+next, false
	}
	if rest := strings.TrimSpace(strings.Join(ran[at+1:], "\n")); rest != "" {
		t.Errorf("the README leaves out the end of the run:\n%s", rest)
	}
}

// masked is text without what is another in every run.
func masked(text string) string {
	for mask, re := range map[string]string{"127.0.0.1:PORT": `127\.0\.0\.1:\d+`, "HH:MM": `\b\d\d:\d\d UTC`, "WORD": `\b[A-Z2-7]{26}\b`} {
		text = regexp.MustCompile(re).ReplaceAllString(text, mask)
	}
	return text
}
