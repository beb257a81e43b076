package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/pkg/browser"

	"github.com/mcp-authfetch/mcp-authfetch/config"
)

// opener returns how a page is shown in a browser, or nil where none is to be opened.
func (p *program) opener(cfg *config.Config) func(context.Context, string) error {
	switch cfg.Login.Browser {
	case "never":
		return nil
	case "command":
		return func(_ context.Context, url string) error {
			argv := cfg.Login.BrowserCommand
			err := start(func() error {
				cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], url)...)
				cmd.Stdout, cmd.Stderr = p.stderr, p.stderr
				return cmd.Run()
			})
			if err != nil {
				p.log.Warn("the command of login.browser failed", "command", argv[0], "error", err)
			}
			return err
		}
	}
	if p.headless(cfg) {
		return nil
	}
	// Under stdio our stdout is the protocol's.
	browser.Stdout, browser.Stderr = p.stderr, p.stderr
	return func(_ context.Context, raw string) error {
		// Only our own pages are opened: an address that a server names never gets here.
		if u, err := url.Parse(raw); err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" {
			return fmt.Errorf("%q is not a page of ours", raw)
		}
		return start(func() error { return browser.OpenURL(raw) })
	}
}

// startTime is how long a browser command may take to fail: real ones return or stay.
const startTime = 2 * time.Second

// start runs open and waits only long enough to see it fail.
func start(open func() error) error {
	done := make(chan error, 1)
	go func() { done <- open() }()
	select {
	case err := <-done:
		return err
	case <-time.After(startTime):
		return nil
	}
}

// headless reports whether no browser on the person's screen can reach a page on our loopback
// address: over SSH, in a container, or without a display. A configured command is trusted to.
func (p *program) headless(cfg *config.Config) bool {
	if cfg.Login.Browser == "command" {
		return false
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if v, ok := p.env(n); ok && v != "" {
				return true
			}
		}
		return false
	}
	if has("SSH_CONNECTION", "SSH_TTY") {
		return true
	}
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return runtime.GOOS != "windows" && runtime.GOOS != "darwin" && !has("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
}
