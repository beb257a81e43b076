package action

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const toIssuer = "https://login.example/authorize?client_id=c&state=right"

// login is a page whose callbacks are counted.
type login struct {
	*Action
	desk      *Desk
	continued atomic.Int32
	called    atomic.Int32
	answers   chan url.Values
	redirect  string // given to Continue
}

func newLogin(t *testing.T, d *Desk) *login {
	t.Helper()
	l := &login{desk: d, answers: make(chan url.Values, 10)}
	l.Action = placeForm(t, d, Form{Continue: func(_ context.Context, redirectURI string) (Next, error) {
		l.continued.Add(1)
		l.redirect = redirectURI
		return Next{URL: toIssuer, State: "right", Callback: func(_ context.Context, v url.Values) error {
			l.called.Add(1)
			l.answers <- v
			return nil
		}}, nil
	}})
	return l
}

func TestSignInEndToEnd(t *testing.T) {
	l := newLogin(t, newDesk(t, DeskOptions{}))
	for n := range 3 {
		got := press(t, l.Action, "continue")
		if got.status != http.StatusSeeOther || got.header.Get("Location") != toIssuer {
			t.Fatalf("press %d: %d to %q", n, got.status, got.header.Get("Location"))
		}
	}
	if l.continued.Load() != 1 {
		t.Errorf("Continue ran %d times", l.continued.Load())
	}
	if want := base(t, l.Action) + "/callback"; l.redirect != want {
		t.Errorf("redirect URI %q, want %q", l.redirect, want)
	}
	mustWait(t, l.Action, "Continue was pressed")
	got := callback(t, l.Action, "code=C&state=right&iss=https%3A%2F%2Flogin.example")
	if got.status != http.StatusOK || !strings.Contains(got.body, "close this window") {
		t.Errorf("callback: %d\n%s", got.status, got.body)
	}
	if err := wait(t, l.Action); err != nil {
		t.Errorf("ended with %v", err)
	}
	if v := <-l.answers; v.Get("code") != "C" || v.Get("iss") != "https://login.example" {
		t.Errorf("answer %v", v)
	}
	for _, u := range []string{"GET", "HEAD"} {
		if got := send(t, u, l.Prompt().URL, ""); got.status != http.StatusOK {
			t.Errorf("%s of the page afterwards: %d", u, got.status)
		}
	}
}

func TestYesMayBeAllThatIsNeeded(t *testing.T) {
	ran := 0
	d := newDesk(t, DeskOptions{})
	a := placeForm(t, d, Form{
		Prompt:   Prompt{Kind: AllowAddress, Origin: mustOrigin(t, "http://10.0.0.1")},
		Continue: func(context.Context, string) (Next, error) { ran++; return Next{}, nil },
	})
	for range 2 {
		if got := press(t, a, "continue"); got.status != http.StatusOK || !strings.Contains(got.body, "Done") {
			t.Errorf("%d\n%s", got.status, got.body)
		}
	}
	if err := wait(t, a); err != nil || ran != 1 {
		t.Errorf("error %v, Continue ran %d times", err, ran)
	}
}

func TestContinueFails(t *testing.T) {
	broken := errors.New("registration was refused")
	a := placeForm(t, newDesk(t, DeskOptions{}), Form{Continue: func(context.Context, string) (Next, error) { return Next{}, broken }})
	if got := press(t, a, "continue"); got.status != http.StatusBadGateway || !strings.Contains(got.body, "registration was refused") {
		t.Errorf("%d\n%s", got.status, got.body)
	}
	if err := wait(t, a); err != broken {
		t.Errorf("ended with %v", err)
	}
}

// The browser may go away while Continue talks to the issuer.
func TestContinueOutlivesItsBrowser(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	started, finish := make(chan struct{}), make(chan struct{})
	a := placeForm(t, d, Form{Continue: func(ctx context.Context, _ string) (Next, error) {
		close(started)
		<-finish
		return Next{}, ctx.Err()
	}})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Prompt().URL, strings.NewReader("action=continue"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := browser.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-started
	leave()
	<-gone
	close(finish)
	if err := wait(t, a); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestCancel(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before []string
	}{{"at once", nil}, {"after Continue", []string{"continue"}}} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLogin(t, newDesk(t, DeskOptions{}))
			for _, b := range tc.before {
				press(t, l.Action, b)
			}
			if got := press(t, l.Action, "cancel"); got.status != http.StatusOK || !strings.Contains(got.body, "Cancelled") {
				t.Errorf("%d\n%s", got.status, got.body)
			}
			if err := wait(t, l.Action); err != ErrDenied {
				t.Errorf("ended with %v", err)
			}
			// It stays a no, whatever is pressed or comes back.
			if got := press(t, l.Action, "continue"); got.status != http.StatusOK || !strings.Contains(got.body, "Cancelled") {
				t.Errorf("Continue afterwards: %d\n%s", got.status, got.body)
			}
			if got := send(t, http.MethodGet, l.Prompt().URL, ""); !strings.Contains(got.body, "Cancelled") {
				t.Errorf("the page afterwards:\n%s", got.body)
			}
			if got := callback(t, l.Action, "state=right&code=C"); got.status != http.StatusBadRequest || l.called.Load() != 0 {
				t.Errorf("callback afterwards: %d, ran %d times", got.status, l.called.Load())
			}
			if want := int32(len(tc.before)); l.continued.Load() != want {
				t.Errorf("Continue ran %d times, want %d", l.continued.Load(), want)
			}
		})
	}
}

// Cancelling in a second window while the first one's Continue runs leads nobody to the issuer.
func TestCancelWhileContinuing(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	started, finish := make(chan struct{}), make(chan struct{})
	a := placeForm(t, d, Form{Continue: func(context.Context, string) (Next, error) {
		close(started)
		<-finish
		return Next{URL: toIssuer, State: "right"}, nil
	}})
	first := make(chan answer)
	go func() { first <- press(t, a, "continue") }()
	<-started
	press(t, a, "cancel")
	close(finish)
	if got := <-first; got.status != http.StatusOK || got.header.Get("Location") != "" {
		t.Errorf("%d to %q", got.status, got.header.Get("Location"))
	}
	if got := callback(t, a, "state=right&code=C"); got.status != http.StatusBadRequest {
		t.Errorf("callback: %d", got.status)
	}
	eventually(t, "nothing is left of it", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.states) == 0 && len(d.pending) == 0
	})
}

func TestStrangersChangeNothing(t *testing.T) {
	l := newLogin(t, newDesk(t, DeskOptions{}))
	u, at := l.Prompt().URL, base(t, l.Action)
	port := at[strings.LastIndex(at, ":"):]
	for _, tc := range []struct {
		name, method, form string
		header             []string
		want               int
	}{
		{"rebinding", "POST", "action=continue", []string{"Host", "evil.example" + port}, 403},
		{"rebinding, own origin", "POST", "action=continue", []string{"Host", "evil.example" + port, "Origin", "http://evil.example" + port}, 403},
		{"localhost", "GET", "", []string{"Host", "localhost" + port}, 403},
		{"host that begins like ours", "GET", "", []string{"Host", "127.0.0.1" + port + ".evil.example"}, 403},
		{"no port", "GET", "", []string{"Host", "127.0.0.1"}, 403},
		{"other site", "POST", "action=continue", []string{"Origin", "https://evil.example"}, 403},
		{"other port of ours", "POST", "action=cancel", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"https", "POST", "action=cancel", []string{"Origin", "https://127.0.0.1" + port}, 403},
		{"null origin", "POST", "action=continue", []string{"Origin", "null"}, 403},
		{"cross-site", "POST", "action=continue", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site", "POST", "action=continue", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"cross-site with our origin", "POST", "action=continue", []string{"Origin", at, "Sec-Fetch-Site", "cross-site"}, 403},
		{"no answer", "POST", "", nil, 400},
		{"other answer", "POST", "action=CONTINUE", nil, 400},
		{"answer in the query", "POST", "x=y", nil, 400},
		{"not a form", "POST", "action=continue", []string{"Content-Type", "text/plain"}, 400},
		{"large body", "POST", "action=continue&x=" + strings.Repeat("x", 4<<10), nil, 400},
		{"PUT", "PUT", "action=continue", nil, 404},
		{"DELETE", "DELETE", "", nil, 404},
		{"OPTIONS", "OPTIONS", "", nil, 404},
		{"preview", "GET", "", []string{"User-Agent", "linkpreview"}, 200},
		{"HEAD", "HEAD", "", nil, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := u
			if tc.name == "answer in the query" || tc.method == "GET" || tc.method == "HEAD" {
				target += "?action=continue"
			}
			got := send(t, tc.method, target, tc.form, tc.header...)
			if got.status != tc.want {
				t.Errorf("status %d, want %d", got.status, tc.want)
			}
			if tc.method == "HEAD" && got.body != "" {
				t.Errorf("HEAD has a body")
			}
			mustWait(t, l.Action, tc.name)
		})
	}
	if l.continued.Load() != 0 {
		t.Errorf("Continue ran %d times", l.continued.Load())
	}
	// A browser that sends neither header, and the right one after all.
	if got := send(t, "POST", u, "action=continue"); got.status != http.StatusSeeOther {
		t.Errorf("the person's own answer: %d", got.status)
	}
}

func TestLargeBodyIsNotRead(t *testing.T) {
	a := place(t, newDesk(t, DeskOptions{}), Next{URL: toIssuer})
	read := &counter{r: io.LimitReader(zeros{}, 64<<20)}
	req, err := http.NewRequest(http.MethodPost, a.Prompt().URL, read)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err := browser.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if n := read.n.Load(); n > 32<<20 {
		t.Errorf("%d bytes were taken", n)
	}
	mustWait(t, a, "a large body")
}

type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

func TestCallbackThatIsNotTheAnswer(t *testing.T) {
	l := newLogin(t, newDesk(t, DeskOptions{}))
	press(t, l.Action, "continue")
	for _, tc := range []struct {
		name, path string
		want       int
	}{
		{"no parameters", "/callback", 400},
		{"no state", "/callback?code=C", 400},
		{"empty state", "/callback?state=&code=C", 400},
		{"wrong state", "/callback?state=wrong&code=C", 400},
		{"state in another case", "/callback?state=RIGHT&code=C", 400},
		{"state twice", "/callback?state=right&state=right&code=C", 400},
		{"right state second", "/callback?state=wrong&state=right&code=C", 400},
		{"code twice", "/callback?state=right&code=C&code=D", 400},
		{"iss twice", "/callback?state=right&code=C&iss=a&iss=b", 400},
		{"error twice", "/callback?state=right&error=a&error=b", 400},
		{"broken escape", "/callback?state=right&code=%zz", 400},
		{"semicolon", "/callback?state=right;code=C", 400},
		{"another issuer's address", "/callback/0123456789abcdef?state=right&code=C", 400},
		{"deeper", "/callback/a/b?state=right&code=C", 404},
		{"slash", "/callback/?state=right&code=C", 404},
		{"the page's id for a state", "/callback?code=C&state=" + l.ID(), 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := send(t, http.MethodGet, base(t, l.Action)+tc.path, ""); got.status != tc.want {
				t.Errorf("status %d, want %d", got.status, tc.want)
			}
			mustWait(t, l.Action, tc.name)
		})
	}
	for _, tc := range []struct {
		method string
		want   int
	}{{"HEAD", 405}, {"POST", 404}, {"PUT", 404}} {
		if got := send(t, tc.method, base(t, l.Action)+"/callback?state=right&code=C", ""); got.status != tc.want {
			t.Errorf("%s: %d, want %d", tc.method, got.status, tc.want)
		}
		mustWait(t, l.Action, tc.method)
	}
	if got := send(t, http.MethodGet, base(t, l.Action)+"/callback?state=right&code=C", "", "Host", "evil.example"); got.status != http.StatusForbidden {
		t.Errorf("rebinding: %d", got.status)
	}
	if l.called.Load() != 0 {
		t.Fatalf("the callback ran %d times", l.called.Load())
	}
	// None of it used up the flow.
	if got := callback(t, l.Action, "state=right&code=C"); got.status != http.StatusOK {
		t.Errorf("the right answer: %d", got.status)
	}
	if err := wait(t, l.Action); err != nil || l.called.Load() != 1 {
		t.Errorf("error %v, ran %d times", err, l.called.Load())
	}
}

func TestCallbackOnlyWhereItBelongs(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	a := placeForm(t, d, Form{Continue: func(_ context.Context, redirectURI string) (Next, error) {
		return Next{URL: toIssuer, State: "right", RedirectURI: redirectURI + "/abc",
			Callback: func(context.Context, url.Values) error { return nil }}, nil
	}})
	press(t, a, "continue")
	for _, path := range []string{"/callback", "/callback/abd", "/callback/ABC"} {
		if got := send(t, http.MethodGet, base(t, a)+path+"?state=right&code=C", ""); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, got.status)
		}
		mustWait(t, a, path)
	}
	if got := send(t, http.MethodGet, base(t, a)+"/callback/abc?state=right&code=C", ""); got.status != http.StatusOK {
		t.Errorf("status %d", got.status)
	}
}

func TestCallbackIsTakenOnce(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	var called atomic.Int32
	finish := make(chan struct{})
	a := place(t, d, Next{URL: toIssuer, State: "right", Callback: func(context.Context, url.Values) error {
		called.Add(1)
		<-finish
		return nil
	}})
	press(t, a, "continue")
	statuses := make(chan int, 20)
	for range 20 {
		go func() { statuses <- callback(t, a, "state=right&code=C").status }()
	}
	for range 19 {
		if got := <-statuses; got != http.StatusBadRequest {
			t.Errorf("a replay during the exchange: %d", got)
		}
	}
	close(finish)
	if got := <-statuses; got != http.StatusOK {
		t.Errorf("the first: %d", got)
	}
	if got := callback(t, a, "state=right&code=C"); got.status != http.StatusBadRequest {
		t.Errorf("a replay afterwards: %d", got.status)
	}
	if called.Load() != 1 {
		t.Errorf("the callback ran %d times", called.Load())
	}
	eventually(t, "nothing is left of it", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.states) == 0 && len(d.pending) == 0
	})
}

// A window that is closed during the exchange does not lose the token.
func TestCallbackOutlivesItsBrowser(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	a := place(t, newDesk(t, DeskOptions{}), Next{URL: toIssuer, State: "right", Callback: func(ctx context.Context, _ url.Values) error {
		close(started)
		<-finish
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond): // the server learns a moment later that its client has gone
		}
		return ctx.Err()
	}})
	press(t, a, "continue")
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base(t, a)+"/callback?state=right&code=C", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := browser.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-started
	leave()
	<-gone
	close(finish)
	if err := wait(t, a); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// An action that ended before anybody was sent to the issuer has no answer that could be late.
func TestEndedBeforeContinue(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	a := place(t, d, Next{})
	a.End(ErrExpired)
	eventually(t, "it is removed", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.pending) == 0
	})
	for _, query := range []string{"code=C", "state=&code=C", "state=right&code=C"} {
		if got := callback(t, a, query); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, got.status)
		}
	}
}

// What has ended takes no answer, also before it is removed.
func TestEndedAtOnce(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	for range 200 {
		a := place(t, d, Next{})
		d.mu.Lock()
		p := d.pending[a.ID()]
		d.mu.Unlock()
		if err := d.expect(p, d.srv, Next{State: a.ID(), RedirectURI: base(t, a) + "/callback"}); err != nil {
			t.Fatal(err)
		}
		if p := d.byState(a.ID()); p == nil || !p.waits() {
			t.Fatal("the state is unknown")
		}
		a.End(ErrDenied)
		if p := d.byState(a.ID()); p != nil && p.waits() {
			t.Fatal("a callback would be taken")
		}
		if p, waiting := d.find(a.ID()); p == nil || waiting {
			t.Fatal("an answer would be taken")
		}
		for left := 1; left > 0; runtime.Gosched() { // only the last few are remembered
			d.mu.Lock()
			left = len(d.pending)
			d.mu.Unlock()
		}
	}
}

func TestSprayedCallbacks(t *testing.T) {
	l := newLogin(t, newDesk(t, DeskOptions{}))
	press(t, l.Action, "continue")
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: soon}
	var wg sync.WaitGroup
	var others atomic.Int32
	for worker := range 8 {
		wg.Go(func() {
			for n := range 1250 {
				resp, err := client.Get(base(t, l.Action) + "/callback?code=C&state=" + strings.Repeat("x", n%200) + string(rune('a'+worker)))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusBadRequest {
					others.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if others.Load() != 0 {
		t.Errorf("%d were not answered 400", others.Load())
	}
	mustWait(t, l.Action, "spraying")
	if got := callback(t, l.Action, "state=right&code=C"); got.status != http.StatusOK {
		t.Errorf("the right answer: %d", got.status)
	}
}

func TestNobodyAnswers(t *testing.T) {
	d := newDesk(t, DeskOptions{Timeout: 300 * time.Millisecond})
	l := newLogin(t, d)
	if got, want := time.Until(l.Prompt().ExpiresAt), d.Timeout(); got > want || got < want/10 {
		t.Errorf("expires in %v, want about %v", got, want)
	}
	press(t, l.Action, "continue")
	if err := wait(t, l.Action); err != ErrExpired {
		t.Errorf("ended with %v", err)
	}
	for _, tc := range []struct {
		name, query string
		want        int
	}{{"late", "state=right&code=C", 410}, {"another state", "state=wrong&code=C", 400}, {"no state", "code=C", 400}} {
		if got := callback(t, l.Action, tc.query); got.status != tc.want || l.called.Load() != 0 {
			t.Errorf("%s callback: %d, want %d; ran %d times", tc.name, got.status, tc.want, l.called.Load())
		}
	}
	if got := send(t, http.MethodGet, base(t, l.Action)+"/callback/other?state=right&code=C", ""); got.status != http.StatusBadRequest {
		t.Errorf("late callback elsewhere: %d", got.status)
	}
	if got := send(t, http.MethodGet, l.Prompt().URL, ""); got.status != http.StatusGone {
		t.Errorf("page: %d", got.status)
	}
	if got := press(t, l.Action, "continue"); got.status != http.StatusGone {
		t.Errorf("Continue: %d", got.status)
	}
}

func TestTimeoutDefault(t *testing.T) {
	if got := NewDesk(DeskOptions{}).Timeout(); got != 10*time.Minute {
		t.Errorf("got %v", got)
	}
}

// hasSix reports whether this machine has the address ::1.
func hasSix() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

// free reports whether nobody listens on the addresses of a page.
func free(t *testing.T, a *Action) bool {
	t.Helper()
	hosts := []string{"127.0.0.1"}
	if hasSix() {
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, port(t, a)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func port(t testing.TB, a *Action) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(base(t, a), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestClose(t *testing.T) {
	var owned []netip.AddrPort
	released := 0
	d := NewDesk(DeskOptions{Own: func(ap netip.AddrPort) func() {
		owned = append(owned, ap)
		return func() { released++ }
	}})
	l, other := newLogin(t, d), place(t, d, Next{})
	press(t, l.Action, "continue")
	want := []netip.AddrPort{netip.MustParseAddrPort(strings.TrimPrefix(base(t, l.Action), "http://"))}
	if hasSix() {
		want = append(want, netip.AddrPortFrom(netip.IPv6Loopback(), want[0].Port()))
	}
	if diff := cmp.Diff(want, owned, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("own addresses, for the page %s:\n%s", base(t, l.Action), diff)
	}
	d.Close()
	for _, a := range []*Action{l.Action, other} {
		if err := wait(t, a); err != ErrClosed {
			t.Errorf("ended with %v", err)
		}
	}
	if !free(t, other) || released != len(want) {
		t.Errorf("port free %v, released %d times", free(t, other), released)
	}
	if a, err := d.Place(Form{}); err != ErrClosed {
		t.Errorf("Place after Close: %v, %v", a, err)
	}
	d.Close()
	if released != len(want) {
		t.Errorf("released %d times", released)
	}
}

func TestCloseWithoutAPage(t *testing.T) {
	NewDesk(DeskOptions{}).Close()
}

// A connection that never sends anything does not hold up Close.
func TestCloseWithAnIdleConnection(t *testing.T) {
	d := NewDesk(DeskOptions{})
	a := place(t, d, Next{})
	c, err := net.Dial("tcp4", strings.TrimPrefix(base(t, a), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	d.Close()
	if took := time.Since(start); took > soon {
		t.Errorf("Close took %v", took)
	}
}

func TestFixedPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	d := newDesk(t, DeskOptions{Port: port})
	d.linger = time.Millisecond
	var taken *PortError
	if a, err := d.Place(Form{}); a != nil || !errors.As(err, &taken) || taken.Port != port || taken.Unwrap() == nil {
		t.Fatalf("a taken port: %v, %v", a, err)
	}
	l.Close()
	// The port is free as soon as the desk has let go of it, while connections may still end.
	first := place(t, d, Next{})
	d.mu.Lock()
	srv := d.freePort()
	d.mu.Unlock()
	if !free(t, first) {
		t.Error("the port is not free")
	}
	srv.close(soon)
	first.End(nil)
	// The listener goes and comes on the same port without ever standing in its own way.
	for range 50 {
		a, err := d.Place(Form{Continue: func(context.Context, string) (Next, error) { return Next{}, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(a.Prompt().URL, "http://"+l.Addr().String()+"/l/") {
			t.Fatalf("page at %s", a.Prompt().URL)
		}
		a.End(nil)
		time.Sleep(time.Duration(1+time.Now().UnixNano()%2) * time.Millisecond)
	}
}

func TestOpenBrowser(t *testing.T) {
	for _, tc := range []struct {
		name string
		open func(context.Context, string) error
		want bool
	}{
		{"nobody", nil, false},
		{"works", func(context.Context, string) error { return nil }, true},
		{"fails", func(context.Context, string) error { return errors.New("no display") }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var shown []string
			opts := DeskOptions{}
			if tc.open != nil {
				opts.Open = func(ctx context.Context, u string) error {
					shown = append(shown, u)
					return tc.open(ctx, u)
				}
			}
			d := newDesk(t, opts)
			a := placeForm(t, d, Form{Prompt: Prompt{Kind: SignIn, Opened: true}})
			if a.Prompt().Opened {
				t.Error("Opened before anything was opened")
			}
			if got := d.OpenBrowser(t.Context(), a); got != tc.want || a.Prompt().Opened != tc.want {
				t.Errorf("got %v, Opened %v", got, a.Prompt().Opened)
			}
			if tc.open != nil && (len(shown) != 1 || shown[0] != a.Prompt().URL) {
				t.Errorf("opened %q", shown)
			}
		})
	}
}

func TestAddressesCannotBeGuessed(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	seen := map[string]bool{}
	for range 100 {
		a := place(t, d, Next{})
		id := a.ID()
		if len(id) < 26 || seen[id] || !strings.HasSuffix(a.Prompt().URL, "/l/"+id) || len(a.Prompt().URL) > 60 {
			t.Fatalf("id %q, page %s", id, a.Prompt().URL)
		}
		seen[id] = true
	}
}

// The desk remembers a bounded number of ended pages.
func TestEndedPagesAreForgotten(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	first := place(t, d, Next{})
	first.End(nil)
	for range 100 {
		place(t, d, Next{}).End(ErrDenied)
	}
	eventually(t, "all are removed", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.pending) == 0
	})
	if len(d.recent) > 16 {
		t.Errorf("%d are kept", len(d.recent))
	}
}

// The log never has a state, a code or the address of a page.
func TestQuietLog(t *testing.T) {
	var log bytes.Buffer
	d := newDesk(t, DeskOptions{Logger: debugLog(&log), Open: func(context.Context, string) error { return errors.New("no display") }})
	l := newLogin(t, d)
	d.OpenBrowser(t.Context(), l.Action)
	press(t, l.Action, "continue")
	callback(t, l.Action, "state=right&code=CANARY")
	d.Close()
	if got := log.String(); strings.Contains(got, "CANARY") || strings.Contains(got, l.ID()) || strings.Contains(got, "state=") || strings.Contains(got, "ERROR") {
		t.Errorf("log:\n%s", got)
	}
}
