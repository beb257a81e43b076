package auth

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/login"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// childEnv makes this test binary get a page instead of running tests: "directory of the store|URL".
const childEnv = "AUTH_TEST_CHILD"

// child says "ready", waits for a line and gets the page.
func child(spec string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, url, _ := strings.Cut(spec, "|")
	store, err := tokenstore.OpenFile(dir, tokenstore.FileOptions{})
	if err != nil {
		return fail(err)
	}
	zones := &Zones{Store: store, Private: AllowPrivate}
	base := outbound.New(outbound.Options{Rules: zones.Rules})
	t := New(Options{
		Base: base, Store: store, Zones: zones, Login: login.New(login.Options{Transport: base, Store: store}),
		Site: func(origin.Origin) Site { return Site{Configured: true} },
	})
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(principal.With(context.Background(), principal.Local), soon)
	defer cancel()
	req, err := newGet(ctx, url)
	if err != nil {
		return fail(err)
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fail(fmt.Errorf("status %d", resp.StatusCode))
	}
	return 0
}

func TestOneRefreshAmongProcesses(t *testing.T) {
	const processes = 10
	for _, tt := range []struct {
		name string
		end  func(w *world, i *oauthtest.Issuer)
	}{
		{"before expiry", func(w *world, _ *oauthtest.Issuer) {
			w.change(func(tok *tokenstore.Token) {
				tok.ObtainedAt, tok.Expiry = time.Now().Add(-time.Hour), time.Now().Add(10*time.Second)
			})
		}},
		{"after expiry", func(w *world, _ *oauthtest.Issuer) {
			w.change(func(tok *tokenstore.Token) {
				tok.ObtainedAt, tok.Expiry = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
			})
		}},
		{"on 401", func(_ *world, i *oauthtest.Issuer) { i.RevokeTokens() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			store, err := tokenstore.OpenFile(dir, tokenstore.FileOptions{})
			must(t, err)
			w := newWorld(t, options{store: store})
			i := w.issuer(oauthtest.IssuerOptions{RotateRefresh: true})
			r := w.resource(oauthtest.ResourceOptions{Issuer: i})
			w.signIn(r.URL + handbook)
			before := w.token()
			tt.end(w, i)

			var ready, done sync.WaitGroup
			start := make(chan struct{})
			for n := range processes {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), childEnv+"="+dir+"|"+r.URL+handbook)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				stdin, err := cmd.StdinPipe()
				must(t, err)
				stdout, err := cmd.StdoutPipe()
				must(t, err)
				must(t, cmd.Start())
				ready.Add(1)
				done.Go(func() {
					_, err := io.ReadFull(stdout, make([]byte, len("ready")))
					ready.Done()
					<-start
					_, _ = io.WriteString(stdin, "\n")
					_, _ = io.Copy(io.Discard, stdout)
					if waited := cmd.Wait(); err != nil || waited != nil {
						t.Errorf("process %d: %v, %v\n%s", n, err, waited, stderr.String())
					}
				})
			}
			ready.Wait()
			close(start)
			done.Wait()

			if n := len(w.grants("refresh_token")); n != 1 || i.RefreshReuseDetected() != 0 {
				t.Errorf("%d refreshes, %d with a used token; want 1 and none", n, i.RefreshReuseDetected())
			}
			after := w.token()
			if after.RefreshToken.Equal(before.RefreshToken.Reveal()) {
				t.Error("the store has the refresh token that was used")
			}
			w.page(r.URL+handbook, 200)
		})
	}
}
