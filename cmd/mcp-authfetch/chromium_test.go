package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// TestChromium: the pages that a person sees, in a real browser, put up by the real program.
func TestChromium(t *testing.T) {
	browser := startChromium(t)
	t.Run("sign in", func(t *testing.T) { testSignIn(t, browser, kinds["plain"], true) })
	t.Run("sign in without JavaScript", func(t *testing.T) { testSignIn(t, browser, kinds["plain"], false) })
	t.Run("sign in at an https issuer", func(t *testing.T) { testSignIn(t, browser, kinds["mtls"], true) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, browser) })
	t.Run("deny", func(t *testing.T) { testDeny(t, browser) })
	t.Run("allow an address", func(t *testing.T) { testAllow(t, browser) })
	t.Run("markup in names", func(t *testing.T) { testMarkup(t, browser) })
	t.Run("in a frame", func(t *testing.T) { testFrame(t, browser) })
}

func testSignIn(t *testing.T, browser context.Context, kind func(*world) error, javascript bool) {
	w := chromiumWorld(t, kind)
	p := startFetch(t, w, w.site.URL+"/docs/handbook")
	tab := openTab(t, browser, javascript)

	tab.open(p.link)
	tab.screenshot("sign-in.png")
	tab.wantText("h1", "Sign in so that your agent can read a page?")
	tab.wantText("dl", w.site.URL)
	tab.wantText("dl", w.issuer.URL)
	tab.wantText("footer", "mcp-authfetch")
	// The style sheet of page.css, let through by its hash.
	tab.wantStyle(".yes", "background-color", "rgb(26, 86, 219)")
	tab.wantStyle("dl", "display", "grid")

	tab.click("button.yes")
	tab.wantText("h1", "Sign in as alice")
	tab.wantAddress(w.issuer.URL + "/authorize?")
	tab.click(`button[value="approve"]`)
	tab.wantText("h1", "Done")
	tab.wantText("p", "You can close this window and go back to your agent.")
	tab.wantStyle("h1", "font-size", "22.4px")
	tab.screenshot("done.png")
	tab.wantQuiet()

	code, stdout, stderr := p.wait()
	if code != exitOK || !strings.Contains(stdout, "# Operations handbook") {
		t.Errorf("exit code %d, want %d\n%s\n%s", code, exitOK, stdout, stderr)
	}
	if got := w.log.Count("issuer", http.MethodGet, "/authorize"); got != 1 {
		t.Errorf("the issuer was asked %d times, want once", got)
	}
}

func testCancel(t *testing.T, browser context.Context) {
	w := chromiumWorld(t, kinds["plain"])
	p := startFetch(t, w, w.site.URL+"/docs/handbook")
	tab := openTab(t, browser, true)
	tab.open(p.link)
	tab.click(`button[value="cancel"]`)
	tab.wantText("h1", "Cancelled")
	tab.wantText("p", "Nothing was allowed.")
	tab.screenshot("cancelled.png")
	tab.wantQuiet()
	p.wantRefused()
	if got := w.log.Count("issuer", http.MethodPost, "/"); got != 0 {
		t.Errorf("the issuer got %d requests, want none", got)
	}
}

func testDeny(t *testing.T, browser context.Context) {
	w := chromiumWorld(t, kinds["plain"])
	p := startFetch(t, w, w.site.URL+"/docs/handbook")
	tab := openTab(t, browser, true)
	tab.open(p.link)
	tab.click("button.yes")
	tab.click(`button[value="deny"]`)
	tab.wantText("h1", "Refused")
	tab.wantQuiet()
	p.wantRefused()
}

func testAllow(t *testing.T, browser context.Context) {
	w := chromiumWorld(t, kinds["private"])
	p := startFetch(t, w, w.site.URL+"/open")
	tab := openTab(t, browser, true)
	tab.open(p.link)
	tab.wantText("h1", "Let your agent read a page on your network?")
	tab.wantText("dl", w.site.URL)
	tab.screenshot("allow.png")
	tab.click("button.yes")
	tab.wantText("h1", "Done")
	tab.wantQuiet()
	if code, stdout, stderr := p.wait(); code != exitOK || !strings.Contains(stdout, "Opening hours") {
		t.Errorf("exit code %d, want %d\n%s\n%s", code, exitOK, stdout, stderr)
	}
}

// testMarkup: what servers name themselves and their scopes is text.
func testMarkup(t *testing.T, browser context.Context) {
	scopes := []string{"<img/src=x/onerror=document.title='owned'>", "</dd><script>document.title='owned'</script>", "&lt;b&gt;", "javascript:alert(1)"}
	w := chromiumWorld(t, func(w *world) error {
		return w.start(oauthtest.IssuerOptions{NoDevice: true, Path: "/&lt;b&gt;tenant"}, oauthtest.ResourceOptions{Scopes: scopes})
	})
	p := startFetch(t, w, w.site.URL+"/docs/handbook")
	tab := openTab(t, browser, true)
	tab.open(p.link)
	tab.screenshot("markup.png")
	tab.wantText("dl", strings.Join(scopes, ", "))
	tab.wantText("dl", w.issuerSite()+"/")
	count := eval[int](tab, `document.querySelectorAll("img, script, b, dd *, dt *").length`)
	if title := eval[string](tab, `document.title`); count != 0 || title != "Sign in so that your agent can read a page?" {
		t.Errorf("%d elements were injected, and the title is %q", count, title)
	}
	tab.wantQuiet()
	tab.click(`button[value="cancel"]`)
	tab.wantText("h1", "Cancelled")
	p.wantRefused()
}

// testFrame: a page of another origin cannot show ours and lure the person into clicking.
func testFrame(t *testing.T, browser context.Context) {
	w := chromiumWorld(t, kinds["plain"])
	p := startFetch(t, w, w.site.URL+"/docs/handbook")
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(rw, `<h1>Win a prize</h1><iframe src="%s" width="600" height="600"></iframe>`, p.link)
	}))
	defer evil.Close()
	tab := openTab(t, browser, true)
	tab.open(evil.URL)
	tab.wantText("h1", "Win a prize")
	tree, err := chromedp.Call(tab.ctx, page.GetFrameTree, cdp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.FrameTree.ChildFrames) != 1 {
		t.Fatalf("%d frames, want one", len(tree.FrameTree.ChildFrames))
	}
	if got := tree.FrameTree.ChildFrames[0].Frame.URL; got != "chrome-error://chromewebdata/" {
		t.Errorf("the frame shows %s, want an error page", got)
	}
	if said := tab.said(); !strings.Contains(said, "frame") {
		t.Errorf("the console does not say that framing was refused: %q", said)
	}
	// The person is still asked where they can see who asks.
	tab.open(p.link)
	tab.click(`button[value="cancel"]`)
	tab.wantText("h1", "Cancelled")
	p.wantRefused()
}

func chromiumWorld(t *testing.T, kind func(*world) error) *world {
	t.Helper()
	w := newWorld(t.TempDir())
	t.Cleanup(w.close)
	if err := kind(w); err != nil {
		t.Fatal(err)
	}
	if err := w.write(); err != nil {
		t.Fatal(err)
	}
	return w
}

// startChromium starts one browser for all tests.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		cannot(t, "there is no chromium, chromium-browser or google-chrome in PATH")
	}
	// Its own, because the browser leaves directories behind, and may still write when it is told to end.
	temporary, err := os.MkdirTemp("", "authfetch-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temporary) })
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.WindowSize(900, 700), chromedp.Env("TMPDIR="+temporary))
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "no-first-run"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s cannot be started: %v", path, err)
	}
	return ctx
}

// tab is a window without cookies of others.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards messages
	messages []string   // of the console
}

func openTab(t *testing.T, browser context.Context, javascript bool) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	go func() { // ends with the context
		for m, err := range console {
			if err != nil {
				return
			}
			tb.mu.Lock()
			tb.messages = append(tb.messages, m.URL+" "+m.String())
			tb.mu.Unlock()
		}
	}()
	if !javascript {
		if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
			t.Fatal(err)
		}
	}
	return tb
}

func (tb *tab) do(what string, action chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := chromedp.Do(tb.ctx, action); err != nil {
		tb.t.Fatalf("%s: %v\nconsole: %s", what, err, tb.said())
	}
}

func (tb *tab) open(url string) {
	tb.t.Helper()
	tb.do("opening "+url, chromedp.Navigate(url))
}

// click clicks and waits for the page that the form leads to.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	if _, err := chromedp.RunResponse(tb.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		tb.t.Fatalf("clicking %s: %v\nconsole: %s", selector, err, tb.said())
	}
}

func (tb *tab) wantText(selector, want string) {
	tb.t.Helper()
	got, err := chromedp.Run(tb.ctx, chromedp.Text(chromedp.CSS(selector)))
	if err != nil || !strings.Contains(got, want) {
		tb.t.Errorf("%s says %q (%v), want %q", selector, got, err, want)
	}
}

func (tb *tab) wantAddress(prefix string) {
	tb.t.Helper()
	if got, err := chromedp.Run(tb.ctx, chromedp.Location()); err != nil || !strings.HasPrefix(got, prefix) {
		tb.t.Errorf("the browser is at %s (%v), want %s…", got, err, prefix)
	}
}

func (tb *tab) wantStyle(selector, property, want string) {
	tb.t.Helper()
	styles, err := chromedp.Run(tb.ctx, chromedp.ComputedStyle(chromedp.CSS(selector)))
	if err != nil {
		tb.t.Fatal(err)
	}
	got := ""
	for _, s := range styles {
		if s.Name == property {
			got = s.Value
		}
	}
	if got != want {
		tb.t.Errorf("%s of %s is %q, want %q", property, selector, got, want)
	}
}

func eval[T any](tb *tab, expression string) T {
	tb.t.Helper()
	v, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		tb.t.Fatal(err)
	}
	return v
}

// wantQuiet: no Content-Security-Policy was violated, and nothing else went wrong in the page.
func (tb *tab) wantQuiet() {
	tb.t.Helper()
	if said := tb.said(); said != "" {
		tb.t.Errorf("the console says: %s", said)
	}
}

func (tb *tab) said() string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return strings.Join(tb.messages, "\n")
}

// screenshot keeps a picture where `go test -artifacts` puts it.
func (tb *tab) screenshot(name string) {
	tb.t.Helper()
	png, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
	if err != nil || len(png) == 0 {
		tb.t.Fatalf("no picture: %v", err)
	}
	if err := os.WriteFile(filepath.Join(tb.t.ArtifactDir(), name), png, 0o600); err != nil {
		tb.t.Fatal(err)
	}
}

// fetchProcess is a `mcp-authfetch fetch` that waits for a person.
type fetchProcess struct {
	t              *testing.T
	link           string
	cmd            *exec.Cmd
	ended          chan struct{}
	stdout, stderr lockedBuffer
}

var linkLine = regexp.MustCompile(`(?m)^  (http://127\.0\.0\.1:\d+/l/\w+)$`)

func startFetch(t *testing.T, w *world, url string) *fetchProcess {
	t.Helper()
	self, err := exec.LookPath("mcp-authfetch") // put there by testscript
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	p := &fetchProcess{t: t, cmd: exec.CommandContext(ctx, self, "fetch", url)}
	env := map[string]string{"HOME": w.dir, "XDG_STATE_HOME": filepath.Join(w.dir, "state"), "AUTHFETCH_CONFIG": filepath.Join(w.dir, "config.jsonc"), "GORACE": "atexit_sleep_ms=0"}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		p.cmd.Env = append(p.cmd.Env, name+"="+env[name])
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // the code says it
		close(p.ended)
	}()
	limit := time.After(20 * time.Second)
	for {
		if m := linkLine.FindStringSubmatch(p.stderr.String()); m != nil {
			p.link = m[1]
			return p
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.ended:
			t.Fatalf("it ended without a link: %s", p.stderr.String())
		case <-limit:
			t.Fatalf("no link: %s", p.stderr.String())
		}
	}
}

func (p *fetchProcess) wait() (code int, stdout, stderr string) {
	<-p.ended
	return p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()
}

func (p *fetchProcess) wantRefused() {
	p.t.Helper()
	if code, stdout, stderr := p.wait(); code != exitLogin || stdout != "" || !strings.Contains(stderr, "refused") {
		p.t.Errorf("exit code %d, want %d\n%s\n%s", code, exitLogin, stdout, stderr)
	}
}

// lockedBuffer may be read while a process writes.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
