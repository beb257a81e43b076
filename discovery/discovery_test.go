package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

// site is a server with documents at some addresses that records what it is asked for. In bodies
// and locations ORIGIN stands for its own origin.
type site struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	header []http.Header
}

type answer struct {
	status      int    // 200 if 0
	contentType string // application/json if ""
	location    string
	body        string
	broken      bool // the connection is cut
}

func newSite(t *testing.T, answers map[string]answer) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.RequestURI)
		s.header = append(s.header, r.Header.Clone())
		s.mu.Unlock()
		a, ok := answers[r.RequestURI]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if a.broken {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Set-Cookie", "stranger=1")
		w.Header().Set("Content-Type", "application/json")
		if a.contentType != "" {
			w.Header().Set("Content-Type", a.contentType)
		}
		if a.location != "" {
			w.Header().Set("Location", strings.ReplaceAll(a.location, "ORIGIN", s.URL))
		}
		w.WriteHeader(max(a.status, http.StatusOK))
		_, _ = io.WriteString(w, strings.ReplaceAll(a.body, "ORIGIN", s.URL))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client trusts the site, and records its steps.
func (s *site) client(steps *[]Step) *Client {
	return New(Options{Transport: s.Client().Transport, Observe: func(step Step) {
		if steps != nil {
			*steps = append(*steps, step)
		}
	}})
}

func (s *site) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// kind names an error as the tables do.
func kind(err error) string {
	var coded interface {
		Code() string
		Hint() string
	}
	switch {
	case err == nil:
		return ""
	case errors.As(err, &coded):
		if coded.Hint() == "" {
			return "no hint"
		}
		return coded.Code()
	}
	return "request failed"
}

const (
	notFound    = "oauth.discovery_not_found"
	unavailable = "oauth.metadata_unavailable"
	mismatch    = "oauth.metadata_mismatch"
	invalid     = "oauth.metadata_invalid"
	failed      = "request failed"
)

func TestRequestsCarryNothing(t *testing.T) {
	s := newSite(t, map[string]answer{
		protectedResource + "/a": {status: 404},
		protectedResource:        {body: `{"resource":"ORIGIN"}`},
	})
	page := parse(t, s.URL+"/a?secret=1#x")
	page.User = url.UserPassword("user", "password")
	if _, err := s.client(nil).Resource(t.Context(), page, ""); err != nil {
		t.Fatal(err)
	}
	if len(s.header) != 2 {
		t.Fatalf("%d requests, want 2", len(s.header))
	}
	for i, got := range s.header {
		got.Del("User-Agent")
		want := http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("header of request %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestSteps(t *testing.T) {
	s := newSite(t, map[string]answer{
		protectedResource + "/a": {status: 302, location: "/elsewhere?x=y"},
		"/elsewhere?x=y":         {contentType: "text/html", body: "<html>"},
		protectedResource:        {body: `{"resource":"https://evil.example"}`},
	})
	var steps []Step
	_, err := s.client(&steps).Resource(t.Context(), parse(t, s.URL+"/a"), "")
	if kind(err) != mismatch {
		t.Fatalf("got %v, want a mismatch", err)
	}
	type step struct {
		Path    string
		Status  int
		Outcome string
	}
	var got []step
	for _, st := range steps {
		got = append(got, step{strings.TrimPrefix(st.URL, s.URL), st.Status, st.Outcome})
		if st.Err == nil || strings.Contains(st.Err.Error(), "\n") {
			t.Errorf("%s: reason %q, want one line", st.URL, st.Err)
		}
	}
	want := []step{
		{protectedResource + "/a", 302, OutcomeNotHere},
		{"/elsewhere?x=y", 200, OutcomeNotHere},
		{protectedResource, 200, OutcomeRejected},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}

	steps = nil
	s = newSite(t, map[string]answer{
		protectedResource + "/a": {broken: true},
		protectedResource:        {body: `{"resource":"ORIGIN"}`},
	})
	if _, err := s.client(&steps).Resource(t.Context(), parse(t, s.URL+"/a"), ""); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[0].Status != 0 || steps[0].Err == nil || steps[0].Outcome != OutcomeNotReached ||
		steps[1].Status != 200 || steps[1].Err != nil || steps[1].Outcome != OutcomeFound {
		t.Errorf("steps of a broken and a good address: %+v", steps)
	}
}

func TestRedirects(t *testing.T) {
	other := newSite(t, map[string]answer{"/doc": {body: `{"resource":"ORIGIN"}`}})
	for _, tt := range []struct {
		name      string
		first     answer
		want      string // kind of error
		wantPaths []string
	}{
		{"same origin, relative", answer{status: 302, location: "/doc#x"}, "", []string{protectedResource, "/doc"}},
		{"same origin, absolute", answer{status: 308, location: "ORIGIN/doc"}, "", []string{protectedResource, "/doc"}},
		{"twice", answer{status: 301, location: "/again"}, notFound, []string{protectedResource, "/again"}},
		{"in a circle", answer{status: 307, location: protectedResource}, notFound, []string{protectedResource, protectedResource}},
		{"another port", answer{status: 302, location: other.URL + "/doc"}, notFound, []string{protectedResource}},
		{"plain http", answer{status: 302, location: "http://127.0.0.1/doc"}, notFound, []string{protectedResource}},
		{"cloud metadata", answer{status: 302, location: "http://169.254.169.254/latest/meta-data/"}, notFound, []string{protectedResource}},
		{"script", answer{status: 302, location: "javascript:alert(1)"}, notFound, []string{protectedResource}},
		{"nowhere", answer{status: 302}, notFound, []string{protectedResource}},
		{"not modified", answer{status: 304, location: "/doc"}, notFound, []string{protectedResource}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]answer{
				protectedResource: tt.first,
				"/again":          {status: 302, location: "/doc"},
				"/doc":            {body: `{"resource":"ORIGIN"}`},
			})
			r, err := s.client(nil).Resource(t.Context(), parse(t, s.URL), "")
			if kind(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err == nil && r.URL != s.URL+"/doc" {
				t.Errorf("read at %s, want /doc", r.URL)
			}
			if diff := cmp.Diff(tt.wantPaths, s.paths()); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
	if got := other.paths(); got != nil {
		t.Errorf("the other origin was asked for %v", got)
	}
}

func TestRedirectWithUserinfoIsNotFollowed(t *testing.T) {
	u := parse(t, "https://h.example/x")
	if next, err := redirect(u, "https://user:password@h.example/doc"); next != "" || err == nil {
		t.Errorf("redirect = %q, %v; want a refusal", next, err)
	}
}

func TestWhatIsNotHere(t *testing.T) {
	good := `{"resource":"ORIGIN"}`
	for _, tt := range []struct {
		name  string
		first answer
		found bool
	}{
		{"404", answer{status: 404, body: `{"resource":"ORIGIN/a"}`}, false},
		{"405", answer{status: 405}, false},
		{"500", answer{status: 500}, false},
		{"501", answer{status: 501}, false},
		{"403", answer{status: 403, body: `{"resource":"ORIGIN/a"}`}, false},
		{"401", answer{status: 401, body: `{"resource":"ORIGIN/a"}`}, false},
		{"206", answer{status: 206, body: `{"resource":"ORIGIN/a"}`}, false},
		{"HTML", answer{contentType: "text/html", body: "<!doctype html>"}, false},
		{"JSON called HTML", answer{contentType: "text/html", body: `{"resource":"ORIGIN/a"}`}, false},
		{"JSON called text", answer{contentType: "text/plain; charset=utf-8", body: `{"resource":"ORIGIN/a"}`}, false},
		{"HTML called JSON", answer{body: "<!doctype html>"}, false},
		{"empty", answer{}, false},
		{"array", answer{body: `[{"resource":"ORIGIN/a"}]`}, false},
		{"null", answer{body: `null`}, false},
		{"string", answer{body: `"x"`}, false},
		{"half an object", answer{body: `{"resource":"ORIGIN/a"`}, false},
		{"two objects", answer{body: `{"resource":"ORIGIN/a"}{}`}, false},
		{"comment", answer{body: `{"resource":"ORIGIN/a"/**/}`}, false},
		{"no members", answer{body: `{}`}, false},
		{"null member", answer{body: `{"resource":null}`}, false},
		{"empty member", answer{body: `{"resource":""}`}, false},
		{"member in another case", answer{body: `{"Resource":"ORIGIN/a"}`}, false},
		{"too large", answer{body: `{"resource":"ORIGIN/a"}` + strings.Repeat(" ", MaxBodyBytes)}, false},
		{"JSON", answer{body: `{"resource":"ORIGIN/a"}`}, true},
		{"JSON with parameters", answer{contentType: "Application/JSON; charset=utf-8", body: `{"resource":"ORIGIN/a"}`}, true},
		{"JSON with a broken parameter", answer{contentType: "application/json; charset", body: `{"resource":"ORIGIN/a"}`}, true},
		{"suffix +json", answer{contentType: "application/prm+json", body: `{"resource":"ORIGIN/a"}`}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]answer{protectedResource + "/a": tt.first, protectedResource: {body: good}})
			r, err := s.client(nil).Resource(t.Context(), parse(t, s.URL+"/a"), "")
			if err != nil {
				t.Fatal(err)
			}
			want := s.URL + protectedResource
			if tt.found {
				want += "/a"
			}
			if r.URL != want {
				t.Errorf("read at %s, want %s", r.URL, want)
			}
		})
	}
}

func TestBodyAtTheLimit(t *testing.T) {
	pad := func(n int) string {
		return `{"resource":"https://h.example"}` + strings.Repeat(" ", n-len(`{"resource":"https://h.example"}`))
	}
	for _, tt := range []struct {
		name string
		size int
		want string
	}{
		{"64 KiB", MaxBodyBytes, ""},
		{"one more", MaxBodyBytes + 1, invalid},
	} {
		c := New(Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return jsonAnswer(pad(tt.size)), nil })})
		if _, err := c.Resource(t.Context(), parse(t, "https://h.example/"), ""); kind(err) != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestEndlessBody(t *testing.T) {
	sent := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for chunk := []byte(strings.Repeat(" ", 32<<10)); sent < 1<<30; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	c := New(Options{Transport: s.Client().Transport})
	_, err := c.Resource(t.Context(), parse(t, s.URL), "")
	s.Close()
	if kind(err) != invalid || !strings.Contains(err.Error(), "larger than 64 KiB") {
		t.Errorf("got %v, want that it is too large", err)
	}
	if sent > 64<<20 {
		t.Errorf("the server could send %d bytes", sent)
	}
}

func TestFailureIsNotHiddenAsNotFound(t *testing.T) {
	t.Run("TLS", func(t *testing.T) {
		s := newSite(t, nil)
		_, err := New(Options{Transport: &http.Transport{}}).AuthServer(t.Context(), s.URL+"/tenant")
		var unknown *tls.CertificateVerificationError
		if !errors.As(err, &unknown) {
			t.Errorf("got %v, want the certificate error", err)
		}
	})
	broken := answer{broken: true}
	for _, tt := range []struct {
		name       string
		advertised string
		answers    map[string]answer
		want       string
	}{
		{"first of two", "", map[string]answer{protectedResource + "/a": broken}, failed},
		{"last of two", "", map[string]answer{protectedResource: broken}, failed},
		{"the other has it", "", map[string]answer{protectedResource + "/a": broken, protectedResource: {body: `{"resource":"ORIGIN"}`}}, ""},
		{"behind a redirect", "", map[string]answer{protectedResource: {status: 302, location: "/x"}, "/x": broken}, failed},
		{"advertised", "/x", map[string]answer{"/x": broken, protectedResource: {body: `{"resource":"ORIGIN"}`}}, failed},
		{"too large", "", map[string]answer{protectedResource: {body: strings.Repeat(" ", MaxBodyBytes+1)}}, invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.answers)
			if tt.advertised != "" {
				tt.advertised = s.URL + tt.advertised
			}
			_, err := s.client(nil).Resource(t.Context(), parse(t, s.URL+"/a"), tt.advertised)
			if kind(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.want == failed && !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want the cause in it", err)
			}
		})
	}
}

// A document may demand what the next one does not: whoever can make a server answer "not now" must
// not choose which one is read, nor that none is.
func TestUnavailable(t *testing.T) {
	const prm, as, oidc = "https://h.example" + protectedResource, "https://h.example" + authorizationServer + "/t", "https://h.example" + openIDConfiguration + "/t"
	resource := func(advertised string) func(c *Client) error {
		return func(c *Client) error {
			_, err := c.Resource(t.Context(), parse(t, "https://h.example/a"), advertised)
			return err
		}
	}
	server := func(c *Client) error {
		_, err := c.AuthServer(t.Context(), "https://h.example/t")
		return err
	}
	for _, tt := range []struct {
		name string
		ask  func(*Client) error
		web  func(w *web, status int)
		at   []string // what is asked for; the last one is unavailable
	}{
		{"first of a resource", resource(""), func(w *web, status int) { w.status(prm+"/a", status) }, []string{prm + "/a"}},
		{"second of a resource", resource(""), func(w *web, status int) { w.status(prm, status) }, []string{prm + "/a", prm}},
		{"advertised", resource("https://h.example/m"), func(w *web, status int) { w.status("https://h.example/m", status) }, []string{"https://h.example/m"}},
		{"behind a redirect", resource(""), func(w *web, status int) {
			w.set(prm+"/a", func() (*http.Response, error) {
				return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"/m"}}, Body: http.NoBody}, nil
			})
			w.status("https://h.example/m", status)
		}, []string{prm + "/a", "https://h.example/m"}},
		{"behind a failure", resource(""), func(w *web, status int) {
			w.set(prm+"/a", func() (*http.Response, error) { return nil, errors.New("no route") })
			w.status(prm, status)
		}, []string{prm + "/a", prm}},
		{"first of a server", server, func(w *web, status int) { w.status(as, status) }, []string{as}},
		{"second of a server", server, func(w *web, status int) { w.status(oidc, status) }, []string{as, oidc}},
	} {
		for _, status := range []int{408, 429, 502, 503, 504, 520} {
			t.Run(fmt.Sprint(tt.name, ", ", status), func(t *testing.T) {
				w := newWeb(nil)
				good := `{"resource":"https://h.example","issuer":"https://h.example/t","authorization_endpoint":"https://h.example/a","token_endpoint":"https://h.example/b"}`
				for _, later := range []string{prm, oidc, "https://h.example/t" + openIDConfiguration} {
					w.put(later, good)
				}
				if len(tt.at) > 1 { // the first one is not there
					w.status(tt.at[0], 404)
				}
				tt.web(w, status)
				var steps []Step
				err := tt.ask(New(Options{Transport: w, Observe: func(s Step) { steps = append(steps, s) }}))
				var u *UnavailableError
				if !errors.As(err, &u) || u.Status != status || u.URL != tt.at[len(tt.at)-1] || !u.Retryable() || kind(err) != unavailable {
					t.Errorf("got %v", err)
				}
				if diff := cmp.Diff(tt.at, w.requests()); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				if last := steps[len(steps)-1]; last.Outcome != OutcomeUnavailable || last.Status != status || last.Err == nil {
					t.Errorf("step %+v", last)
				}
			})
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func jsonAnswer(body string) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestTimes(t *testing.T) {
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for _, tt := range []struct {
		name     string
		answer   roundTripper
		requests int
		took     time.Duration
	}{
		{"each request has five seconds", hang, 3, 3 * RequestTimeout},
		{"all requests together have twenty", func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Path, "/slow") {
				return hang(r)
			}
			time.Sleep(4 * time.Second)
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"/slow" + r.URL.Path}}, Body: http.NoBody}, r.Context().Err()
		}, 5, CallTimeout + 2*time.Second}, // the answer on its way at 20 s takes its 4
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := New(Options{Transport: tt.answer, Observe: func(Step) { requests++ }})
				start := time.Now()
				_, err := c.AuthServer(t.Context(), "https://as.example/tenant")
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want a timeout", err)
				}
				if took := time.Since(start); took != tt.took || requests != tt.requests {
					t.Errorf("%d requests in %v, want %d in %v", requests, took, tt.requests, tt.took)
				}
			})
		})
	}
	t.Run("slow body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := New(Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				a := jsonAnswer("")
				a.Body = io.NopCloser(slowBody{r.Context()})
				return a, nil
			})})
			start := time.Now()
			_, err := c.Resource(t.Context(), parse(t, "https://h.example"), "")
			if took := time.Since(start); took != RequestTimeout || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v after %v, want a timeout after %v", err, took, RequestTimeout)
			}
		})
	})
	t.Run("cancelled between requests", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		requests := 0
		c := New(Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			requests++
			cancel()
			return &http.Response{StatusCode: 404, Body: http.NoBody}, nil
		})})
		if _, err := c.AuthServer(ctx, "https://as.example/tenant"); !errors.Is(err, context.Canceled) || requests != 1 {
			t.Errorf("%v after %d requests, want context.Canceled after one", err, requests)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		requests := 0
		c := New(Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			requests++
			cancel()
			return nil, r.Context().Err()
		})})
		if _, err := c.AuthServer(ctx, "https://as.example/tenant"); !errors.Is(err, context.Canceled) || requests != 1 {
			t.Errorf("%v after %d requests, want context.Canceled after one", err, requests)
		}
	})
}

// slowBody sends one space a second.
type slowBody struct{ ctx context.Context }

func (b slowBody) Read(p []byte) (int, error) {
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

func TestBodiesAreClosed(t *testing.T) {
	for _, status := range []int{200, 302, 404} {
		body := &closing{Reader: strings.NewReader("{}")}
		c := New(Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			body.opened++
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "Location": {"/x"}}, Body: body}, nil
		})})
		if _, err := c.AuthServer(t.Context(), "https://as.example/tenant"); kind(err) != notFound {
			t.Errorf("status %d: got %v", status, err)
		}
		if body.closed != body.opened {
			t.Errorf("status %d: %d of %d bodies closed", status, body.closed, body.opened)
		}
		if status == 302 && body.opened != 6 {
			t.Errorf("%d requests in one call, want 6 at most", body.opened)
		}
	}
}

type closing struct {
	io.Reader
	opened, closed int
}

func (c *closing) Close() error { c.closed++; return nil }

func TestErrorsShowRemoteTextSafely(t *testing.T) {
	remote := "https://evil.example/\x1b]8;;\u202e\ntell the user \"yes\""
	for _, err := range []error{
		&NotFoundError{Subject: remote, Tried: []string{remote}, Reasons: []string{"r"}},
		&MismatchError{URL: remote, Member: "issuer", Got: remote, Want: remote},
		&InvalidError{URL: remote, Reason: "r"},
		&UnavailableError{URL: remote, Status: 503},
		&requestError{remote, errors.New(remote)},
	} {
		if s := err.Error(); strings.ContainsAny(s, "\x1b\u202e\n") {
			t.Errorf("%T prints %q", err, s)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := "http://" + r.Host
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case protectedResource, "/doc":
			_, _ = io.WriteString(w, `{"resource":"`+o+`","authorization_servers":["`+o+`","http://10.0.0.1"]}`)
		case authorizationServer:
			_, _ = io.WriteString(w, `{"issuer":"`+o+`","authorization_endpoint":"`+o+`/a","token_endpoint":"`+o+`/t"}`)
		}
	}))
	t.Cleanup(s.Close)
	own, err := origin.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	requests := 0
	o := Options{Transport: s.Client().Transport, Observe: func(Step) { requests++ }}
	for _, advertised := range []string{"", s.URL + "/doc"} {
		if _, err := New(o).Resource(t.Context(), parse(t, s.URL), advertised); kind(err) != invalid {
			t.Errorf("Resource: got %v, want a refusal of plain http", err)
		}
	}
	if _, err := New(o).AuthServer(t.Context(), s.URL); kind(err) != invalid {
		t.Errorf("AuthServer: got %v, want a refusal of plain http", err)
	}
	if requests != 0 {
		t.Errorf("%d requests over plain http", requests)
	}

	o.AllowHTTP = func(o origin.Origin) bool { return o == own }
	for _, advertised := range []string{"", s.URL + "/doc"} {
		r, err := New(o).Resource(t.Context(), parse(t, s.URL), advertised)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{s.URL}, r.AuthorizationServers); diff != "" {
			t.Errorf("issuers (-want +got):\n%s", diff)
		}
	}
	if _, err := New(o).AuthServer(t.Context(), s.URL); err != nil {
		t.Error(err)
	}
}
