package outbound

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/tlsfault"
)

// warnInterval is how long the same TLS failure at the same origin is not warned of again.
const warnInterval = time.Minute

// warned knows which TLS failures were logged as warnings lately.
type warned struct {
	mu sync.Mutex // guards at
	at map[failureOf]time.Time
}

type failureOf struct {
	to   origin.Origin
	code string
}

// due reports whether f is to be warned of, and notes that it was.
func (w *warned) due(f failureOf) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if last, ok := w.at[f]; ok && now.Sub(last) < warnInterval {
		return false
	}
	for g, last := range w.at { // what is kept is of a minute, and of origins with material of their own
		if now.Sub(last) >= warnInterval {
			delete(w.at, g)
		}
	}
	if w.at == nil {
		w.at = make(map[failureOf]time.Time)
	}
	w.at[f] = now
	return true
}

// report logs an error as it is returned; cause is what net/http said. A TLS failure where somebody
// has configured TLS is for the operator; anything else is a matter between caller and site.
func (t *Transport) report(ctx context.Context, rec *record, out, cause error) {
	to := slog.String("host", authority(rec.to))
	if f, ok := out.(*tlsfault.Failure); ok && rec.entry != nil && (rec.entry.key.material != nil || rec.entry.key.proxyMaterial != nil) &&
		t.warned.due(failureOf{rec.to, f.Code()}) {
		t.log.WarnContext(ctx, "TLS failure", to, "code", f.Code(), "error", f, "hint", f.Hint())
		return
	}
	t.log.DebugContext(ctx, "request failed", to, "error", out, "cause", fmt.Sprintf("%T", root(cause)))
}
