package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func requestVectors() []vector {
	const invalid = "oauth.metadata_invalid"
	vs := []vector{
		{"A01", "state, verifier and resource of three sign-ins", freshRequests},
		{"A02", "a pushed request shows the browser nothing", pushedRequest},
		{"A04", "the endpoint's own query does not count before ours", ownQuery},
		{"A09", "the browser's command has spaces and %s", browserCommand},
		{"A11", "an international host of a configured issuer", configuredIDN},
		{"A13", "two pages at once, one window, and nothing before the person agreed", oneWindow},
		{"A14", "only the person's own click on our page goes on", onlyOurPage},
	}
	endpoint := func(id, what, url string) vector {
		return row{id: id, what: what, set: issuerSays(member("authorization_endpoint", url)), config: (*stage).browse, want: invalid}.vector()
	}
	for _, e := range []string{"authorization_endpoint", "token_endpoint", "registration_endpoint", "device_authorization_endpoint", "revocation_endpoint"} {
		vs = append(vs, row{id: "A03", what: e + " has a fragment", set: issuerSays(func(s *stage, m object) { m[e] = s.issuer.URL + "/x#y" }), config: (*stage).browse, want: invalid}.vector())
	}
	for _, bad := range []struct{ id, url string }{
		{"A05", "http://127.0.0.1/authorize"}, {"A05", "http://login.example/authorize"}, {"A05", "HTTP://login.example/authorize"},
		{"A06", "javascript:alert(1)//https://127.0.0.1"}, {"A06", "data:text/html,<script>"}, {"A06", "vbscript:x"}, {"A06", "file:///bin/sh"}, {"A06", "ftp://127.0.0.1/"},
		{"A06", "ms-msdt:/id"}, {"A06", "about:blank"}, {"A06", "view-source:https://127.0.0.1/"}, {"A06", "blob:https://127.0.0.1/x"},
		{"A07", "https://$(touch measured)/"}, {"A07", "https://127.0.0.1/`touch measured`"}, {"A07", "https://127.0.0.1/a|touch measured"}, {"A07", "https://127.0.0.1/^calc"},
		{"A07", "https://127.0.0.1/%COMSPEC%"}, {"A07", `https://127.0.0.1/"&calc&"`}, {"A07", "https://127.0.0.1;calc/"}, {"A07", "https://127.0.0.1&calc/"}, {"A07", "https://$(id)/"},
		{"A08", "--new-window=https://127.0.0.1/"}, {"A08", "-e calc"}, {"A08", `\\127.0.0.1\share`}, {"A08", "//127.0.0.1/authorize"}, {"A08", "/authorize"}, {"A08", "https:/authorize"},
		{"A10", "https://127.0.0.1/" + strings.Repeat("a", 3000)}, {"A10", "https://user:password@127.0.0.1/authorize"}, {"A10", "https://127.0.0.1:0x1bb/authorize"},
		{"A12", "https://127.0.0.1/authorize\ncalc"}, {"A12", "https://127.0.0.1/authorize\r\nX: y"}, {"A12", "https://127.0.0.1/\x00"}, {"A12", "https://127.0.0.1\n.example/"},
		{"A12", "https://127.0.0.1/\u202eabc"}, {"A12", " https://127.0.0.1/authorize"},
	} {
		what := bad.url
		if len(what) > 60 {
			what = what[:60]
		}
		vs = append(vs, endpoint(bad.id, url.QueryEscape(what), bad.url))
	}
	vs = append(vs, row{id: "A11", what: "an international host of a stranger", set: issuerSays(member("authorization_endpoint", "https://b\u00fccher.example/authorize")), config: (*stage).browse,
		want: "oauth.unsupported", then: func(s *stage, _ *agent, got answer) {
			if strings.Contains(got.Text, "b\u00fccher") || !strings.Contains(got.Text, "xn--bcher-kva.example") {
				s.t.Errorf("the host is not shown as it is asked for: %s", got.Text)
			}
		}}.vector())
	// What is harmless in a URL gets there as it is, and never into a command.
	for _, path := range []string{"/$(id)", "/;touch%20measured", "/a&calc", "/a%7Cid", "/'id'", "/$IFS!x", "/a%0Aid", "/%24%28id%29", "/--flag", "/a?x=$(id)&y=;id", "/~/%60id%60"} {
		vs = append(vs, vector{"A07", url.QueryEscape(path), func(t *testing.T) { literalEndpoint(t, path) }})
	}
	return vs
}

var verifier = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

func freshRequests(t *testing.T) {
	s := newStage(t, func(s *stage, o *scene) { o.strangers = true; o.issuer.AutoApprove = true })
	const attempts = 3
	for range attempts {
		a := s.agent()
		s.signIn(a)
		a.stop()
		s.run("logout", s.site.URL)
	}
	asked, redeemed := s.heardBy("issuer", "/authorize"), s.tokens()
	if len(asked) != attempts || len(redeemed) != attempts {
		t.Fatalf("%d authorization requests and %d token requests, want %d", len(asked), len(redeemed), attempts)
	}
	seen := map[string]bool{}
	for i, e := range asked {
		q, form := e.Query, redeemed[i].Form
		for name, values := range q {
			if len(values) != 1 {
				t.Errorf("%s is there %d times", name, len(values))
			}
		}
		if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("resource") != s.site.URL || q.Has("code_verifier") || q.Has("client_secret") {
			t.Errorf("authorization request %v", q)
		}
		// 26 letters of base32 are 130 bits.
		if state := q.Get("state"); len(state) < 26 || seen[state] {
			t.Errorf("state %q", state)
		}
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		if v := form.Get("code_verifier"); !verifier.MatchString(v) || seen[v] || q.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			t.Errorf("verifier %q for the challenge %q", v, q.Get("code_challenge"))
		}
		if form.Get("resource") != s.site.URL || form.Get("redirect_uri") != q.Get("redirect_uri") || form.Get("client_id") != q.Get("client_id") || form.Has("state") {
			t.Errorf("token request %v after %v", form, q)
		}
		seen[q.Get("state")], seen[form.Get("code_verifier")] = true, true
	}
}

func pushedRequest(t *testing.T) {
	s := newStage(t, func(s *stage, o *scene) { o.strangers = true; o.issuer.PAR = "required" })
	s.signIn(s.agent())
	asked := s.heardBy("issuer", "/authorize")
	if len(asked) != 1 || len(asked[0].Query) != 2 || !asked[0].Query.Has("client_id") || !asked[0].Query.Has("request_uri") {
		t.Fatalf("authorization requests: %s", heard(asked))
	}
	if pushed := s.heardBy("issuer", "/par"); len(pushed) != 1 || pushed[0].Form.Get("resource") != s.site.URL || pushed[0].Form.Get("code_challenge_method") != "S256" {
		t.Errorf("pushed requests: %s", heard(pushed))
	}
}

func ownQuery(t *testing.T) {
	s := newStage(t, issuerSays(at("authorization_endpoint", func(s *stage) string {
		return s.issuer.URL + "/authorize?tenant=quay&client_id=evil&redirect_uri=https%3A%2F%2Fevil.example&state=known&code_challenge=x&code_challenge_method=plain&response_type=token&resource=https%3A%2F%2Fbank.example&scope=all"
	})))
	s.signIn(s.agent())
	q := s.heardBy("issuer", "/authorize")[0].Query
	if q.Get("tenant") != "quay" || q.Get("client_id") == "evil" || q.Get("state") == "known" || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" ||
		q.Get("resource") != s.site.URL || !strings.HasPrefix(q.Get("redirect_uri"), "http://127.0.0.1:") {
		t.Errorf("authorization request %v", q)
	}
	for name, values := range q {
		if len(values) != 1 {
			t.Errorf("%s is there %d times", name, len(values))
		}
	}
}

// opening fetches the page, for which a browser is opened, and returns the page that it shows; the
// fetch goes on until end, which presses Cancel.
func (s *stage) opening(a *agent) (link string, end func() answer) {
	s.t.Helper()
	got := make(chan answer, 1)
	go func() { got <- a.fetch(s.page(), 0) }()
	for late := time.Now().Add(20 * time.Second); len(s.opens()) == 0; time.Sleep(20 * time.Millisecond) {
		select {
		case early := <-got:
			s.t.Fatalf("got %+v, want a browser opened", early)
		default:
		}
		if time.Now().After(late) {
			s.t.Fatal("no browser was opened")
		}
	}
	link = strings.TrimSuffix(s.opens()[0][strings.LastIndex(s.opens()[0], "<")+1:], ">")
	return link, func() answer {
		s.visit(http.MethodPost, link, url.Values{"action": {"cancel"}}, nil)
		return <-got
	}
}

func browserCommand(t *testing.T) {
	s := newStage(t, func(_ *stage, o *scene) { o.strangers = true })
	s.browse()
	link, end := s.opening(s.agent())
	s.checkOpened(link)
	s.checkUntouched()
	if got := end(); got.Status != "login_denied" {
		t.Errorf("got %+v, want login_denied", got)
	}
	s.checkUntouched()
}

func literalEndpoint(t *testing.T, path string) {
	s := newStage(t, issuerSays(func(s *stage, m object) { m["authorization_endpoint"] = s.issuer.URL + path }))
	s.browse()
	link, end := s.opening(s.agent())
	s.checkOpened(link)
	location := s.press(link)
	end()
	u, err := url.Parse(location)
	must(t, err)
	want, err := url.Parse(s.issuer.URL + path)
	must(t, err)
	if u.Scheme != "https" || u.Host != want.Host || u.EscapedPath() != want.EscapedPath() || u.Fragment != "" || strings.ContainsAny(location, " \t\r\n\"<>\\^`{|}") {
		t.Errorf("Continue leads to %q, want %q", location, want)
	}
	for name := range want.Query() {
		if u.Query().Get(name) != want.Query().Get(name) {
			t.Errorf("%s of the endpoint's query is %q", name, u.Query().Get(name))
		}
	}
	s.checkOpened(link)
	for _, dir := range []string{".", s.dir} {
		if _, err := os.Stat(filepath.Join(dir, "measured")); err == nil {
			t.Error("a command was run")
		}
	}
}

func configuredIDN(t *testing.T) {
	s := newStage(t, known(issuerSays(member("authorization_endpoint", "https://b\u00fccher.example/authorize"))))
	s.name("sites", s.site.URL, object{"oauth": object{"issuer": s.issuer.URL}})
	got := s.ask(s.agent())
	_, _, page := s.visit(http.MethodGet, got.Login.URL, nil, nil)
	location := s.press(got.Login.URL)
	if strings.Contains(page, "b\u00fccher") {
		t.Errorf("the page shows a host as it is not asked for: %s", page)
	}
	if !strings.HasPrefix(location, "https://xn--bcher-kva.example/authorize?") && !strings.HasPrefix(location, "https://b%C3%BCcher.example/authorize?") {
		t.Errorf("Continue leads to %q", location)
	}
}

func oneWindow(t *testing.T) {
	s := newStage(t, func(_ *stage, o *scene) { o.strangers = true })
	s.browse()
	a := s.agent()
	for id, path := range map[int]string{101: "/docs/handbook", 102: "/", 103: "/docs/handbook"} {
		a.send(object{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": object{"name": "webfetch", "arguments": object{"url": s.site.URL + path}}})
	}
	for late := time.Now().Add(20 * time.Second); len(s.opens()) == 0 && time.Now().Before(late); {
		time.Sleep(20 * time.Millisecond)
	}
	for late := time.Now().Add(10 * time.Second); s.log.Count("resource", "", "/") < 3+1 && time.Now().Before(late); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond)
	if n := len(s.opens()); n != 1 {
		t.Fatalf("%d windows: %q", n, s.opens())
	}
	s.checkUntouched()
	link := strings.TrimSuffix(s.opens()[0][strings.LastIndex(s.opens()[0], "<")+1:], ">")
	s.visit(http.MethodPost, link, url.Values{"action": {"cancel"}}, nil)
	s.checkUntouched()
}

func onlyOurPage(t *testing.T) {
	s := newStage(t, func(_ *stage, o *scene) { o.strangers = true })
	a := s.agent()
	link := s.ask(a).Login.URL
	yes := url.Values{"action": {"continue"}}
	for _, tt := range []struct {
		what, method, address string
		form                  url.Values
		header                http.Header
		want                  int
	}{
		{"looking", http.MethodGet, link, nil, nil, 200},
		{"a head", http.MethodHead, link, nil, nil, 200},
		{"looking with the answer in the address", http.MethodGet, link + "?action=continue", nil, nil, 200},
		{"posting with the answer in the address", http.MethodPost, link + "?action=continue", url.Values{}, nil, 400},
		{"another answer", http.MethodPost, link, url.Values{"action": {"yes"}}, nil, 400},
		{"another site's form", http.MethodPost, link, yes, http.Header{"Origin": {"https://evil.example"}}, 403},
		{"a sandboxed page's form", http.MethodPost, link, yes, http.Header{"Origin": {"null"}}, 403},
		{"a cross-site request", http.MethodPost, link, yes, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"a request of another port", http.MethodPost, link, yes, http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		{"a method of another kind", http.MethodPut, link, yes, nil, 404},
		{"another id", http.MethodPost, link[:len(link)-1] + "1", yes, nil, 404},
	} {
		if status, location, _ := s.visit(tt.method, tt.address, tt.form, tt.header); status != tt.want || location != "" {
			t.Errorf("%s: %d to %q, want %d", tt.what, status, location, tt.want)
		}
	}
	s.checkUntouched()
	if one, two := s.press(link), s.press(link); one != two || !strings.HasPrefix(one, s.issuer.URL+"/authorize?") {
		t.Errorf("Continue leads to %q, then to %q", one, two)
	}
	if n := s.log.Count("issuer", http.MethodPost, "/register"); n != 1 {
		t.Errorf("%d registrations", n)
	}
}
