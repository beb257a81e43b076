package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/config"
)

// recorder is a command that writes down its arguments and who started it, and exits with $2 if its
// name begins with $1.
const recorder = `#!/bin/sh
{ printf '%%s\0' "$PPID" "${0##*/}"; printf '%%s\0' "$@"; printf '\n'; } >>%q
exit %d
`

// desktop makes PATH a directory that has just these commands, "name" or "name=exit code".
func desktop(t *testing.T, commands ...string) (record string) {
	t.Helper()
	dir := t.TempDir()
	record = filepath.Join(dir, "record")
	for _, c := range commands {
		name, code := c, 0
		if before, after, ok := strings.Cut(c, "="); ok {
			name = before
			if _, err := fmt.Sscan(after, &code); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, recorder, record, code), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return record
}

// started are the commands of a record, each with its arguments. All must have been started by us,
// with nothing in between.
func started(t *testing.T, record string) (commands [][]string) {
	t.Helper()
	data, err := os.ReadFile(record)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		argv := strings.Split(strings.TrimSuffix(line, "\x00\n"), "\x00")
		if argv[0] != fmt.Sprint(os.Getpid()) {
			t.Errorf("%q was started by process %s, not by us", argv[1:], argv[0])
		}
		commands = append(commands, argv[1:])
	}
	return commands
}

func surroundedBy(env ...string) *program {
	return &program{log: slog.New(slog.DiscardHandler), surroundings: surroundings{stdout: io.Discard, stderr: new(bytes.Buffer), env: func(name string) (string, bool) {
		for _, e := range env {
			if n, v, _ := strings.Cut(e, "="); n == name {
				return v, true
			}
		}
		return "", false
	}}}
}

const aPage = "http://127.0.0.1:40123/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func TestBrowserUnderWSL(t *testing.T) {
	onLinux(t)
	wsl := []string{"WSL_DISTRO_NAME=Debian"}
	start := []string{"-NoProfile", "-NonInteractive", "-Command", "Start-Process", "-FilePath"}
	for _, tc := range []struct {
		name     string
		env      []string
		commands []string
		want     [][]string
		fails    bool
	}{
		{"wslview before all", wsl, []string{"powershell.exe", "rundll32.exe", "wslview", "xdg-open"}, [][]string{{"wslview", aPage}}, false},
		{"rundll32", wsl, []string{"powershell.exe", "rundll32.exe", "xdg-open"}, [][]string{{"rundll32.exe", "url.dll,FileProtocolHandler", aPage}}, false},
		{"PowerShell", wsl, []string{"powershell.exe", "xdg-open"}, [][]string{append(append([]string{"powershell.exe"}, start...), aPage)}, false},
		{"by its interpreter", []string{"WSL_INTEROP=/run/WSL/8_interop"}, []string{"wslview"}, [][]string{{"wslview", aPage}}, false},
		{"the next one if one fails", wsl, []string{"wslview=1", "rundll32.exe"}, [][]string{{"wslview", aPage}, {"rundll32.exe", "url.dll,FileProtocolHandler", aPage}}, false},
		{"all fail", wsl, []string{"wslview=1", "rundll32.exe=2", "xdg-open"}, [][]string{{"wslview", aPage}, {"rundll32.exe", "url.dll,FileProtocolHandler", aPage}}, true},
		{"BROWSER names one", append(wsl, "BROWSER=firefox", "DISPLAY=:0"), []string{"wslview", "xdg-open"}, [][]string{{"xdg-open", aPage}}, false},
		{"elsewhere", []string{"DISPLAY=:0"}, []string{"wslview", "rundll32.exe", "powershell.exe", "xdg-open"}, [][]string{{"xdg-open", aPage}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			record := desktop(t, tc.commands...)
			if err := surroundedBy(tc.env...).openPage(t.Context(), aPage); (err != nil) != tc.fails {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, started(t, record)); diff != "" {
				t.Errorf("started (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is not a page of ours is opened by nothing.
func TestOnlyOurPagesAreOpened(t *testing.T) {
	onLinux(t)
	for _, env := range []string{"WSL_DISTRO_NAME=Debian", "DISPLAY=:0"} {
		record := desktop(t, "wslview", "rundll32.exe", "powershell.exe", "xdg-open")
		open := surroundedBy(env).openPage
		for _, address := range []string{
			"https://login.example/authorize", "http://localhost:1/l/A", "http://127.0.0.1.evil.example/l/A", "http://127.0.0.1:1@evil.example/l/A",
			aPage + "&calc.exe", aPage + ";calc", aPage + "$(touch x)", aPage + "`x`", aPage + "|x", aPage + "^x", aPage + "%COMSPEC%", aPage + "\nx", aPage + "\n",
			aPage + "?x=y", aPage + "#x", aPage + "/x", aPage + " x", aPage + `"`, aPage + "'", "\n" + aPage, "-x", "file:///etc/passwd", "javascript:alert(1)", `\\evil.example\x`, "",
			"http://127.0.0.1:1/callback", "http://127.0.0.1:123456/l/A", "http://127.0.0.1:/l/A", "http://127.0.0.1:1/l/",
		} {
			if err := open(t.Context(), address); err == nil {
				t.Errorf("%s: opened %q", env, address)
			}
		}
		if got := started(t, record); got != nil {
			t.Errorf("%s: started %q", env, got)
		}
		if err := open(t.Context(), aPage); err != nil || len(started(t, record)) != 1 {
			t.Errorf("%s: a page of ours: %v", env, err)
		}
	}
}

func TestHasDisplay(t *testing.T) {
	onLinux(t)
	for _, tc := range []struct {
		name     string
		env      []string
		commands []string
		want     bool
	}{
		{"none", nil, []string{"xdg-open"}, false},
		{"X11", []string{"DISPLAY=:0"}, nil, true},
		{"Wayland", []string{"WAYLAND_DISPLAY=wayland-0"}, nil, true},
		{"set to nothing", []string{"DISPLAY="}, nil, false},
		{"WSL with an opener", []string{"WSL_DISTRO_NAME=Debian"}, []string{"rundll32.exe"}, true},
		{"WSL without one", []string{"WSL_DISTRO_NAME=Debian", "DISPLAY=:0"}, []string{"xdg-open"}, false},
		{"WSL with BROWSER", []string{"WSL_DISTRO_NAME=Debian", "BROWSER=firefox"}, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			desktop(t, tc.commands...)
			if got := surroundedBy(tc.env...).hasDisplay(); got != tc.want {
				t.Errorf("display: %v, want %v", got, tc.want)
			}
			over := surroundedBy(append(tc.env, "SSH_TTY=/dev/pts/0")...)
			for browser, want := range map[string]bool{"auto": true, "never": true, "command": false} {
				if got := over.headless(&config.Config{Login: config.Login{Browser: browser}}); got != want {
					t.Errorf("headless over SSH with browser %q: %v, want %v", browser, got, want)
				}
			}
		})
	}
}

func TestWSLKernel(t *testing.T) {
	for release, want := range map[string]bool{
		"4.4.0-19041-Microsoft": true, "5.15.90.1-microsoft-standard-WSL2": true, "6.1.21.2-custom-WSL2+": true,
		"6.12.0-amd64": false, "5.15.0-1053-azure": false, "": false,
	} {
		if got := wslKernel(release); got != want {
			t.Errorf("%q: %v, want %v", release, got, want)
		}
	}
}

// A browser that stays in the foreground holds nobody up, and counts as opened.
func TestBrowserThatStays(t *testing.T) {
	began := time.Now()
	stay := make(chan struct{})
	defer close(stay)
	if err := start(func() error { <-stay; return nil }); err != nil || time.Since(began) > startTime+10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		cannot(t, "the openers are those of Linux")
	}
}
