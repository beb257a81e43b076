package action

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// holder names the process that listens on a port of this machine, as far as Linux's /proc shows it:
// processes of other users stay hidden. "" where it cannot be seen.
func holder(port int) string {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			// sl local_address rem_address st … uid timeout inode; 0A is LISTEN.
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return ""
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, f := range files {
		if target, err := os.Readlink(f); err != nil || !sockets[target] {
			continue
		}
		process := filepath.Dir(filepath.Dir(f))
		name, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (process %s)", sanitize.Line(string(name), 40), filepath.Base(process))
	}
	return ""
}
