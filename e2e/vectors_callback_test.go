package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// awaiting is a sign-in of which the answer has not come back yet, and that answer.
func awaiting(t *testing.T, set func(s *stage, o *scene)) (s *stage, a *agent, link string, answer *url.URL) {
	t.Helper()
	s = newStage(t, func(s *stage, o *scene) {
		o.strangers, o.issuer.AutoApprove = true, true
		if set != nil {
			set(s, o)
		}
	})
	a = s.agent()
	link = s.ask(a).Login.URL
	return s, a, link, s.callback(link)
}

// noToken: the answer was not used.
func (s *stage) noToken() {
	s.t.Helper()
	if n := len(s.tokens()); n != 0 {
		s.t.Errorf("%d token requests", n)
	}
}

// finish: the right answer still counts.
func (s *stage) finish(a *agent, answer *url.URL) {
	s.t.Helper()
	if status, _, body := s.visit(http.MethodGet, answer.String(), nil, nil); status != http.StatusOK {
		s.t.Fatalf("the right answer gets %d: %s", status, body)
	}
	s.read(a)
}

func callbackVectors() []vector {
	vs := []vector{
		{"A23", "an answer comes again", replayed},
		{"A24", "an answer comes after a no", afterNo},
		{"A26", "an error that is a script", scriptInError},
		{"A28", "the program ends", programEnds},
		{"A29", "the fixed port is taken", portTaken},
		{"A32", "no iss and none promised", func(t *testing.T) {
			s, a, _, cb := awaiting(t, func(_ *stage, o *scene) { o.issuer.NoISS = true })
			s.finish(a, cb)
		}},
		{"A34", "a no of another issuer", refusalOfAnother},
		{"A34", "a no of the issuer", func(t *testing.T) {
			s, a, _, cb := awaiting(t, nil)
			s.visit(http.MethodGet, with(cb, func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }), nil, nil)
			if got := a.fetch(s.page(), 0); got.Status != "login_denied" {
				t.Errorf("got %+v, want login_denied", got)
			}
			s.noToken()
		}},
		{"A35", "an answer arrives where another issuer's do", otherPath},
		{"A36", "a code that is no code", func(t *testing.T) {
			for _, code := range []string{"", "a\r\nb", "a\x00b", strings.Repeat("a", 9000)} {
				s, _, _, cb := awaiting(t, nil)
				if status, _, _ := s.visit(http.MethodGet, with(cb, func(q url.Values) { q.Set("code", code) }), nil, nil); status < 400 {
					t.Errorf("%.20q: %d", code, status)
				}
				s.noToken()
			}
		}},
	}
	evil := func(name, value string) func(q url.Values) { return func(q url.Values) { q.Set(name, value) } }
	for _, tt := range []struct {
		id, what string
		edit     func(q url.Values)
	}{
		{"A20", "nothing but a code", func(q url.Values) { code := q.Get("code"); clear(q); q.Set("code", code) }},
		{"A20", "nothing", func(q url.Values) { clear(q) }},
		{"A20", "nothing but an error", func(q url.Values) { clear(q); q.Set("error", "access_denied") }},
		{"A21", "no state", func(q url.Values) { q.Del("state") }},
		{"A21", "an empty state", evil("state", "")},
		{"A21", "another state", evil("state", "AAAAAAAAAAAAAAAAAAAAAAAAAA")},
		{"A21", "the state in small letters", func(q url.Values) { q.Set("state", strings.ToLower(q.Get("state"))) }},
		{"A21", "part of the state", func(q url.Values) { q.Set("state", q.Get("state")[:20]) }},
		{"A21", "State", func(q url.Values) { q.Set("State", q.Get("state")); q.Del("state") }},
		{"A21", "the state twice", func(q url.Values) { q.Add("state", q.Get("state")) }},
		{"A21", "another state after it", func(q url.Values) { q.Add("state", "x") }},
		{"A21", "another state before it", func(q url.Values) { q["state"] = []string{"x", q.Get("state")} }},
		{"A21", "the code twice", func(q url.Values) { q.Add("code", q.Get("code")) }},
		{"A21", "another code after it", func(q url.Values) { q.Add("code", "x") }},
		{"A21", "iss twice", func(q url.Values) { q.Add("iss", q.Get("iss")) }},
		{"A21", "error twice", func(q url.Values) { q["error"] = []string{"a", "b"} }},
	} {
		vs = append(vs, vector{tt.id, tt.what, func(t *testing.T) {
			s, a, _, cb := awaiting(t, nil)
			if status, _, _ := s.visit(http.MethodGet, with(cb, tt.edit), nil, nil); status != http.StatusBadRequest {
				t.Errorf("answered with %d, want 400", status)
			}
			s.noToken()
			s.finish(a, cb)
		}})
	}
	vs = append(vs, vector{"A21", "an address that cannot be read", func(t *testing.T) {
		s, a, _, cb := awaiting(t, nil)
		bad := *cb
		bad.RawQuery = "x=%zz&" + cb.RawQuery
		if status, _, _ := s.visit(http.MethodGet, bad.String(), nil, nil); status != http.StatusBadRequest {
			t.Errorf("answered with %d, want 400", status)
		}
		s.noToken()
		s.finish(a, cb)
	}})
	for _, tt := range []struct {
		what, method string
		path         func(string) string
	}{
		{"the callback of all", http.MethodGet, func(string) string { return "/callback" }},
		{"another callback", http.MethodGet, func(p string) string { return p[:len(p)-4] + "0000" }},
		{"a path below", http.MethodGet, func(p string) string { return p + "/x" }},
		{"a slash more", http.MethodGet, func(p string) string { return p + "/" }},
		{"the root", http.MethodGet, func(string) string { return "/" }},
		{"a head", http.MethodHead, func(p string) string { return p }},
		{"a post", http.MethodPost, func(p string) string { return p }},
	} {
		vs = append(vs, vector{"A22", tt.what, func(t *testing.T) {
			s, a, _, cb := awaiting(t, nil)
			wrong := *cb
			wrong.Path = tt.path(cb.Path)
			if status, _, _ := s.visit(tt.method, wrong.String(), nil, nil); status < 400 || status > 405 {
				t.Errorf("answered with %d", status)
			}
			s.noToken()
			s.finish(a, cb)
		}})
	}
	for _, host := range []string{
		"evil.test:PORT", "localhost.evil:PORT", "127.0.0.1.evil.test:PORT", "127.0.0.1", "127.0.0.1:1", "127.0.0.2:PORT", "0.0.0.0:PORT", "127.1:PORT", "2130706433:PORT",
		"[::ffff:127.0.0.1]:PORT", "127.0.0.1.:PORT", "user@127.0.0.1:PORT", "evil.test",
	} {
		vs = append(vs, vector{"A25", "host " + host, func(t *testing.T) {
			s, a, link, cb := awaiting(t, nil)
			header := http.Header{"Host": {strings.Replace(host, "PORT", cb.Port(), 1)}}
			for _, address := range []string{cb.String(), link} {
				if status, _, body := s.visit(http.MethodGet, address, nil, header); status != http.StatusForbidden && status != http.StatusBadRequest || strings.Contains(body, s.site.URL) {
					t.Errorf("%s answers %d: %s", address, status, body)
				}
			}
			s.noToken()
			s.finish(a, cb)
		}})
	}
	for _, tt := range []struct {
		id, what string
		edit     func(s *stage, q url.Values)
	}{
		{"A30", "iss of another", func(s *stage, q url.Values) { q.Set("iss", s.other.URL) }},
		{"A30", "iss that is a plea", func(s *stage, q url.Values) { q.Set("iss", plea) }},
		{"A31", "iss promised and absent", func(s *stage, q url.Values) { q.Del("iss") }},
		{"A31", "iss promised and empty", func(s *stage, q url.Values) { q.Set("iss", "") }},
		{"A33", "iss with a slash more", func(s *stage, q url.Values) { q.Set("iss", q.Get("iss")+"/") }},
		{"A33", "iss in capitals", func(s *stage, q url.Values) { q.Set("iss", strings.ToUpper(q.Get("iss"))) }},
		{"A33", "iss by another name", func(s *stage, q url.Values) { q.Set("iss", strings.Replace(q.Get("iss"), "127.0.0.1", "localhost", 1)) }},
		{"A33", "iss with a zero before its port", func(s *stage, q url.Values) {
			q.Set("iss", strings.Replace(q.Get("iss"), "127.0.0.1:", "127.0.0.1:0", 1))
		}},
		{"A33", "iss with a space more", func(s *stage, q url.Values) { q.Set("iss", q.Get("iss")+" ") }},
		{"A33", "iss with an escape", func(s *stage, q url.Values) { q.Set("iss", strings.Replace(q.Get("iss"), "127", "%3127", 1)) }},
		{"A33", "iss with a fragment", func(s *stage, q url.Values) { q.Set("iss", q.Get("iss")+"#") }},
	} {
		for _, promised := range []bool{true, false} {
			what := tt.what
			if !promised {
				if tt.id == "A31" {
					continue
				}
				what += ", not promised"
			}
			vs = append(vs, vector{tt.id, what, func(t *testing.T) {
				s, a, _, cb := awaiting(t, func(_ *stage, o *scene) {
					if !promised {
						o.issuer.Edit = func(_ string, m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
					}
				})
				status, _, body := s.visit(http.MethodGet, with(cb, func(q url.Values) { tt.edit(s, q) }), nil, nil)
				if status < 400 || strings.Contains(body, plea) {
					t.Errorf("answered with %d: %s", status, body)
				}
				s.noToken()
				if got := a.fetch(s.page(), 0); got.Status == "ok" || strings.Contains(got.Text, plea) {
					t.Errorf("got %+v", got)
				}
				s.noToken()
			}})
		}
	}
	return vs
}

func replayed(t *testing.T) {
	s, a, _, cb := awaiting(t, nil)
	s.finish(a, cb)
	for _, address := range []string{cb.String(), with(cb, func(q url.Values) { q.Set("code", "another") }), with(cb, func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") })} {
		if status, _, _ := s.visit(http.MethodGet, address, nil, nil); status != http.StatusBadRequest {
			t.Errorf("answered with %d, want 400", status)
		}
	}
	if n := len(s.tokens()); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	s.read(a)
}

func afterNo(t *testing.T) {
	s, a, link, cb := awaiting(t, nil)
	s.visit(http.MethodPost, link, url.Values{"action": {"cancel"}}, nil)
	if status, _, _ := s.visit(http.MethodGet, cb.String(), nil, nil); status != http.StatusBadRequest {
		t.Errorf("answered with %d, want 400", status)
	}
	s.noToken()
	if got := a.fetch(s.page(), 0); got.Status != "login_denied" {
		t.Errorf("got %+v, want login_denied", got)
	}
	s.noToken()
}

func scriptInError(t *testing.T) {
	s, a, _, cb := awaiting(t, nil)
	script := "</p><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J" + plea
	req, err := http.NewRequest(http.MethodGet, with(cb, func(q url.Values) {
		q.Del("code")
		q.Set("error", script)
		q.Set("error_description", script+strings.Repeat("x", 4000))
		q.Set("error_uri", "javascript:alert(1)")
	}), nil)
	must(t, err)
	resp, err := s.person.Client.Transport.RoundTrip(req)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	if strings.Contains(string(body), "<script") || strings.Contains(string(body), "<img") || strings.Contains(string(body), "\x1b") || len(body) > 8<<10 {
		t.Errorf("the page has what the issuer wrote: %s", body)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src") || resp.StatusCode < 400 {
		t.Errorf("%d with the policy %q", resp.StatusCode, csp)
	}
	got := a.fetch(s.page(), 0)
	s.checkText(got)
	s.noToken()
}

// lateAnswer waits as long as the shortest sign-in may take.
func lateAnswer(t *testing.T) {
	s := newStage(t, func(_ *stage, o *scene) { o.strangers, o.issuer.AutoApprove = true, true })
	s.config["login"].(object)["timeout"] = "30s"
	a := s.agent()
	cb := s.callback(s.ask(a).Login.URL)
	time.Sleep(30*time.Second + 500*time.Millisecond)
	if status, _, _ := s.visit(http.MethodGet, cb.String(), nil, nil); status != http.StatusGone {
		t.Errorf("answered with %d, want 410", status)
	}
	s.noToken()
}

func programEnds(t *testing.T) {
	s, a, _, cb := awaiting(t, nil)
	a.stop()
	if c, err := net.Dial("tcp", cb.Host); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			c.Close()
		}
		t.Errorf("the port of the callback: %v, want it closed", err)
	}
	s.noToken()
}

func portTaken(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	var visits atomic.Int32
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	port := l.Addr().(*net.TCPAddr).Port
	s := newStage(t, func(_ *stage, o *scene) { o.strangers = true })
	s.config["login"].(object)["port"] = port
	got := s.agent().fetch(s.page(), 0)
	if got.ErrorCode != "login.port" || !strings.Contains(got.Text, strconv.Itoa(port)) {
		t.Errorf("got %+v, want login.port", got)
	}
	s.checkUntouched()
	if visits.Load() != 0 {
		t.Error("who holds the port was asked")
	}
}

func refusalOfAnother(t *testing.T) {
	s, a, _, cb := awaiting(t, nil)
	status, _, body := s.visit(http.MethodGet, with(cb, func(q url.Values) {
		q.Del("code")
		q.Set("iss", s.other.URL)
		q.Set("error", "access_denied")
		q.Set("error_description", plea)
		q.Set("error_uri", "https://bank.example/"+plea)
	}), nil, nil)
	if status < 400 || strings.Contains(body, plea) || strings.Contains(body, "access_denied") || strings.Contains(body, s.other.URL) {
		t.Errorf("answered with %d: %s", status, body)
	}
	got := a.fetch(s.page(), 0)
	if got.Status == "login_denied" || strings.Contains(got.Text, plea) || strings.Contains(got.Text, "access_denied") {
		t.Errorf("the answer of another counts: %+v", got)
	}
	s.noToken()
}

// otherPath: where a person signs in at two issuers, an answer counts at the address of its own alone.
func otherPath(t *testing.T) {
	var second atomic.Bool
	s := newStage(t, func(s *stage, o *scene) {
		o.strangers, o.issuer.AutoApprove, o.issuer.NoISS = true, true, true
		o.resource.EditMetadata = func(m map[string]any) {
			if !second.Load() {
				m["authorization_servers"] = []string{s.other.URL}
			}
		}
	})
	a := s.agent()
	asked, err := url.Parse(s.press(s.ask(a).Login.URL))
	must(t, err)
	theirs, err := url.Parse(asked.Query().Get("redirect_uri"))
	must(t, err)
	a.stop()
	second.Store(true)
	a = s.agent()
	cb := s.callback(s.ask(a).Login.URL)
	if cb.Path == theirs.Path {
		t.Fatalf("both issuers answer at %s", cb.Path)
	}
	wrong := *cb
	wrong.Path = theirs.Path
	if status, _, _ := s.visit(http.MethodGet, wrong.String(), nil, nil); status != http.StatusBadRequest {
		t.Errorf("answered with %d, want 400", status)
	}
	s.noToken()
	s.finish(a, cb)
}
