package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pkg/browser"

	"github.com/mcp-authfetch/mcp-authfetch/config"
)

// opener returns how a page is shown in a browser, or nil where none is to be opened.
func (p *program) opener(cfg *config.Config) func(context.Context, string) error {
	if p.flags.paste {
		return nil
	}
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
	return p.openPage
}

// openPage shows a page of ours; an address that a server names never gets here.
func (p *program) openPage(_ context.Context, address string) error {
	if !ourPage.MatchString(address) {
		return fmt.Errorf("%q is not a page of ours", address)
	}
	if openers := p.windowsOpeners(); len(openers) > 0 {
		return p.openWindows(openers, address)
	}
	return start(func() error { return browser.OpenURL(address) })
}

// ourPage is what every page of ours looks like: nothing in it means anything to any shell.
var ourPage = regexp.MustCompile(`^http://127\.0\.0\.1(:[0-9]{1,5})?/l/[A-Za-z0-9]+$`)

// openWindows tries one opener after the other. The address is the last argument; there is no shell.
func (p *program) openWindows(openers [][]string, address string) error {
	var failed []error
	for _, argv := range openers {
		err := start(func() error {
			cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], address)...)
			cmd.Stdout, cmd.Stderr = p.stderr, p.stderr
			return cmd.Run()
		})
		if err == nil {
			return nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", argv[0], err))
	}
	return errors.Join(failed...)
}

// windowsOpeners are the commands that open a page in the browser of the Windows around us, the best
// one first. There is none outside of WSL, and none where BROWSER names a browser: xdg-open knows that.
func (p *program) windowsOpeners() [][]string {
	if p.has("BROWSER") || !p.wsl() {
		return nil
	}
	const system = "/mnt/c/Windows/System32/" // where Windows keeps them, if PATH is without its directories
	var found [][]string
	for _, argv := range [][]string{
		{"wslview"},
		{"rundll32.exe", "url.dll,FileProtocolHandler"},
		{system + "rundll32.exe", "url.dll,FileProtocolHandler"},
		// PowerShell reads its arguments as a script; ourPage is a plain word there.
		{"powershell.exe", "-NoProfile", "-NonInteractive", "-Command", "Start-Process", "-FilePath"},
		{system + "WindowsPowerShell/v1.0/powershell.exe", "-NoProfile", "-NonInteractive", "-Command", "Start-Process", "-FilePath"},
	} {
		if path, err := exec.LookPath(argv[0]); err == nil {
			found = append(found, append([]string{path}, argv[1:]...))
		}
	}
	return found
}

// wsl reports whether this is the Windows Subsystem for Linux.
func (p *program) wsl() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	if p.has("WSL_DISTRO_NAME", "WSL_INTEROP") {
		return true
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return err == nil && wslKernel(string(release))
}

// wslKernel: WSL 1 calls its kernel 4.4.0-19041-Microsoft, WSL 2 5.15.90.1-microsoft-standard-WSL2.
func wslKernel(release string) bool {
	return strings.Contains(strings.ToLower(release), "microsoft") || strings.Contains(release, "WSL")
}

// has reports whether one of these variables is set to something.
func (p *program) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		v, ok := p.env(name)
		return ok && v != ""
	})
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
	return cfg.Login.Browser != "command" && (p.has("SSH_CONNECTION", "SSH_TTY") || inContainer() || !p.hasDisplay())
}

func inContainer() bool {
	return slices.ContainsFunc([]string{"/.dockerenv", "/run/.containerenv"}, func(mark string) bool {
		_, err := os.Stat(mark)
		return !errors.Is(err, os.ErrNotExist)
	})
}

// hasDisplay reports whether there is a screen for windows. Under WSL that of Windows counts, whose
// browser reaches 127.0.0.1 of the distribution.
func (p *program) hasDisplay() bool {
	switch {
	case windowsOrMac:
		return true
	case p.wsl() && !p.has("BROWSER"):
		return len(p.windowsOpeners()) > 0
	}
	return p.has("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
}
