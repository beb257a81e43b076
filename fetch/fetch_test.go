package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGetSendsOnlyWhatItMust(t *testing.T) {
	s := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	})
	c := New(Options{Transport: transport(t, nil), UserAgent: "fetch-test/1"})
	for range 2 { // the second must not have learnt from the first
		page, err := c.Get(t.Context(), Request{URL: s.URL + "/a/./b?q=é#part"})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := page.URL.String(), s.URL+"/a/b?q=%C3%A9"; got != want {
			t.Errorf("URL: got %s, want %s", got, want)
		}
		if page.FinalURL.String() != page.URL.String() || page.Redirects != nil {
			t.Errorf("FinalURL %s, Redirects %v without any redirect", page.FinalURL, page.Redirects)
		}
		if page.Fragment != "part" || page.Status != 418 || page.ContentType != "text/plain; charset=utf-8" ||
			page.RetryAfter != 7*time.Second || string(page.Body) != "short and stout" || page.Response.Header.Get("Set-Cookie") != "a=b" {
			t.Errorf("unexpected page %+v", page)
		}
	}
	want := received{
		Method: "GET", URI: "/a/b?q=%C3%A9", Host: hostOf(s),
		Header: http.Header{"Accept": {defaultAccept}, "Accept-Encoding": {"gzip, deflate"}, "User-Agent": {"fetch-test/1"}},
	}
	if diff := cmp.Diff([]received{want, want}, s.requests()); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

func TestGetAcceptAndDefaultUserAgent(t *testing.T) {
	s := newSite(t, false, func(http.ResponseWriter, *http.Request) {})
	_, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: s.URL, Accept: "image/png"})
	if err != nil {
		t.Fatal(err)
	}
	got := s.requests()[0].Header
	if got.Get("Accept") != "image/png" || !strings.HasPrefix(got.Get("User-Agent"), "Go-http-client") {
		t.Errorf("got %v, want the Accept of the request and the transport's User-Agent", got)
	}
}

func TestGetRefusesURLBeforeSending(t *testing.T) {
	s := newSite(t, false, func(http.ResponseWriter, *http.Request) {})
	c := New(Options{Transport: transport(t, nil)})
	for _, u := range []string{"http://user:pw@" + hostOf(s) + "/", "ftp://" + hostOf(s), s.URL + "\\x", s.URL + "/\r\nX: y"} {
		_, err := c.Get(t.Context(), Request{URL: u})
		wantCode(t, err, "invalid_url")
	}
	if got := s.requests(); got != nil {
		t.Errorf("received %v, want nothing", got)
	}
}

func TestGetOverTLS(t *testing.T) {
	s := newSite(t, true, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "private") })
	page, err := New(Options{Transport: transport(t, nil, s)}).Get(t.Context(), Request{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if page.Response.TLS == nil || len(page.Response.TLS.PeerCertificates) == 0 || string(page.Body) != "private" {
		t.Errorf("got TLS %v and body %q", page.Response.TLS, page.Body)
	}
	_, err = New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: s.URL})
	if err == nil || !strings.HasPrefix(err.Error(), "getting "+s.URL+": ") {
		t.Errorf("untrusted certificate: got %v, want an error naming the origin", err)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	s := newSite(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			w.Header().Set("Location", "/page")
			w.WriteHeader(http.StatusFound)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 3000))
	})
	c := New(Options{Transport: transport(t, nil)})
	for range 4 {
		if _, err := c.Get(t.Context(), Request{URL: s.URL + "/moved"}); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) != 8 || s.conns != 1 {
		t.Errorf("got %d requests on %d connections, want 8 on 1", len(s.received), s.conns)
	}
}

// roundTrip is a transport inside the process, for tests in which time is not real.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type loginNeeded struct{ url string }

func (e *loginNeeded) Error() string { return "login needed" }
func (e *loginNeeded) Code() string  { return "login" }

func TestErrorsOfTheTransportAreReachable(t *testing.T) {
	sentinel := errors.New("no route\x1b[31m\nto host")
	tests := map[string]error{
		"typed with a code": &loginNeeded{"https://login.example"},
		"plain":             sentinel,
	}
	for name, cause := range tests {
		t.Run(name, func(t *testing.T) {
			c := New(Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, cause })})
			_, err := c.Get(t.Context(), Request{URL: "https://a.example/secret-path"})
			if !errors.Is(err, cause) {
				t.Errorf("got %v, want %v within reach", err, cause)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "secret-path") {
				t.Errorf("message %q", err)
			}
		})
	}
	c := New(Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, tests["typed with a code"] })})
	_, err := c.Get(t.Context(), Request{URL: "https://a.example/"})
	var login *loginNeeded
	if !errors.As(err, &login) || login.url != "https://login.example" {
		t.Errorf("errors.As found %v in %v", login, err)
	}
	wantCode(t, err, "login")
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests := map[string]struct {
			value string
			want  time.Duration
		}{
			"absent":         {"", 0},
			"seconds":        {" 120 ", 2 * time.Minute},
			"zero":           {"0", 0},
			"negative":       {"-5", 0},
			"fraction":       {"1.5", 0},
			"words":          {"soon", 0},
			"too large":      {"99999999999", maxRetryAfter},
			"not an int64":   {"99999999999999999999999999", maxRetryAfter},
			"date":           {time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat), 90 * time.Second},
			"date gone by":   {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
			"date far ahead": {"Sun, 06 Nov 2994 08:49:37 GMT", maxRetryAfter},
		}
		for name, test := range tests {
			if got := retryAfter(test.value); got != test.want {
				t.Errorf("%s: got %v, want %v", name, got, test.want)
			}
		}
	})
}

func TestTimeoutsByTheClock(t *testing.T) {
	hang := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	tests := map[string]struct{ timeout, want time.Duration }{
		"default":  {0, 30 * time.Second},
		"negative": {-1, 30 * time.Second},
		"given":    {90 * time.Second, 90 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := New(Options{Transport: hang}).Get(t.Context(), Request{URL: "https://a.example/x", Timeout: test.timeout})
				var timeout *TimeoutError
				if !errors.As(err, &timeout) || timeout.After != test.want || timeout.Origin != "https://a.example" {
					t.Fatalf("got %#v, want a TimeoutError after %v", err, test.want)
				}
				wantCode(t, err, "timeout")
			})
		})
	}
}

// One timeout covers all hops: a server cannot win time with redirects.
func TestTimeoutCoversRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, hops := time.Now(), 0
		slow := roundTrip(func(r *http.Request) (*http.Response, error) {
			hops++
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(12 * time.Second):
				return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"/next"}}, Body: http.NoBody, Request: r}, nil
			}
		})
		_, err := New(Options{Transport: slow}).Get(t.Context(), Request{URL: "https://a.example/"})
		wantCode(t, err, "timeout")
		if hops != 3 || time.Since(start) != 30*time.Second {
			t.Errorf("got %d hops in %v, want the third cut off at 30 s", hops, time.Since(start))
		}
	})
}

// A part below may have a shorter limit of its own, and more to say about it.
func TestTimeoutWithACodeStaysWhatItIs(t *testing.T) {
	c := New(Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.Join(&loginNeeded{}, context.DeadlineExceeded)
	})})
	_, err := c.Get(t.Context(), Request{URL: "https://a.example/"})
	wantCode(t, err, "login")
}

func TestTimeoutOfTheCallCoversWhatWasBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, errors.Join(&loginNeeded{}, r.Context().Err())
		})})
		_, err := c.Get(t.Context(), Request{URL: "https://a.example/"})
		wantCode(t, err, "timeout")
		var below *loginNeeded
		if !errors.As(err, &below) {
			t.Errorf("%v does not lead to the error below", err)
		}
	})
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestEveryBodyIsClosed(t *testing.T) {
	tests := map[string]http.Response{
		"page":              {StatusCode: 200, ContentLength: -1},
		"redirect":          {StatusCode: 302, Header: http.Header{"Location": {"/next"}}},
		"bad redirect":      {StatusCode: 302, Header: http.Header{"Location": {"ftp://a.example"}}},
		"too large":         {StatusCode: 200, ContentLength: 1 << 40},
		"unknown encoding":  {StatusCode: 200, Header: http.Header{"Content-Encoding": {"br"}}},
		"damaged encoding":  {StatusCode: 200, Header: http.Header{"Content-Encoding": {"gzip"}}},
		"nothing, an error": {StatusCode: 500},
	}
	for name, resp := range tests {
		t.Run(name, func(t *testing.T) {
			body := &closeCounter{Reader: strings.NewReader("some text")}
			first := true
			c := New(Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if !first {
					return nil, io.ErrClosedPipe
				}
				first = false
				resp.Body, resp.Request = body, r
				return &resp, nil
			})})
			_, _ = c.Get(t.Context(), Request{URL: "https://a.example/"})
			if body.closed != 1 {
				t.Errorf("closed %d times, want once", body.closed)
			}
		})
	}
}

func TestCallersContextWins(t *testing.T) {
	hang := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, errors.New("use of closed network connection")
	})
	t.Run("cancel", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := New(Options{Transport: hang}).Get(ctx, Request{URL: "https://a.example/"})
			if err != context.Canceled {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := New(Options{Transport: hang}).Get(ctx, Request{URL: "https://a.example/"})
			if err != context.DeadlineExceeded {
				t.Errorf("got %v, want context.DeadlineExceeded", err)
			}
		})
	})
	t.Run("not over a coded error", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := New(Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				cancel()
				return nil, &loginNeeded{}
			})})
			_, err := c.Get(ctx, Request{URL: "https://a.example/"})
			wantCode(t, err, "login")
		})
	})
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	var coded interface{ Code() string }
	if !errors.As(err, &coded) || coded.Code() != want {
		t.Errorf("got error %v, want one with the code %s", err, want)
		return
	}
	if hinted, ok := coded.(interface{ Hint() string }); ok && hinted.Hint() == "" {
		t.Errorf("the error %v has an empty hint", err)
	}
}
