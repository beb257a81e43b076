package action

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds what should happen at once.
const soon = 10 * time.Second

func mustOrigin(t testing.TB, s string) origin.Origin {
	t.Helper()
	o, err := origin.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func newDesk(t testing.TB, opts DeskOptions) *Desk {
	t.Helper()
	d := NewDesk(opts)
	t.Cleanup(d.Close)
	return d
}

// place puts up a sign-in page that leads to next.
func place(t testing.TB, d *Desk, next Next) *Action {
	t.Helper()
	return placeForm(t, d, Form{Continue: func(context.Context, string) (Next, error) { return next, nil }})
}

func placeForm(t testing.TB, d *Desk, f Form) *Action {
	t.Helper()
	if f.Prompt.Kind == "" {
		f.Prompt.Kind, f.Prompt.Issuer = SignIn, "https://login.example"
	}
	if f.Prompt.Origin.IsZero() {
		f.Prompt.Origin = mustOrigin(t, "https://wiki.example")
	}
	a, err := d.Place(f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// answer is what a browser gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// browser follows nothing and keeps no connection.
var browser = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       soon,
}

// send makes a request; header is a list of names and values, "Host" among them.
func send(t testing.TB, method, rawURL, form string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, rawURL, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// press presses a button of the page, as a browser does.
func press(t testing.TB, a *Action, button string) answer {
	t.Helper()
	u := a.Prompt().URL
	return send(t, http.MethodPost, u, "action="+button, "Origin", base(t, a), "Sec-Fetch-Site", "same-origin")
}

func base(t testing.TB, a *Action) string {
	t.Helper()
	u, err := url.Parse(a.Prompt().URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Scheme + "://" + u.Host
}

func callback(t testing.TB, a *Action, query string) answer {
	t.Helper()
	return send(t, http.MethodGet, base(t, a)+"/callback?"+query, "")
}

func wait(t testing.TB, a *Action) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	err := a.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatal("the action has not ended")
	}
	return err
}

func mustWait(t testing.TB, a *Action, why string) {
	t.Helper()
	select {
	case <-a.Done():
		t.Fatalf("%s: the action ended: %v", why, a.Err())
	default:
	}
}

// eventually polls what happens a moment later.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func debugLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
