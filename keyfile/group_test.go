//go:build unix

package keyfile

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program that gives a passphrase is asked again and again; what it leaves behind ends with it.
func TestNothingIsLeftBehind(t *testing.T) {
	for name, script := range map[string]string{
		"by one that answers":  "sleep 60 >/dev/null & echo $! >pid; echo right",
		"by one that does not": "sleep 60 & echo $! >pid; sleep 60 | cat",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := "cd " + dir + "; " + script
			_, _ = runPassphrase(t.Context(), []string{"sh", "-c", script}, commandDelay+300*time.Millisecond)
			data, err := os.ReadFile(filepath.Join(dir, "pid"))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil {
				t.Fatal(err)
			}
			for until := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
				if syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(status), ") Z ") {
					return // gone, or waiting for its parent to look
				}
				if time.Now().After(until) {
					t.Fatalf("the child %d goes on", pid)
				}
			}
		})
	}
}
