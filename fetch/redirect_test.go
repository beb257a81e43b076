package fetch

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRedirectIsANewRequest(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			last := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "arrived") })
			first := newSite(t, false, redirectTo(status, last.URL+"/new page?q=ü#there"))
			page, err := New(Options{Transport: transport(t, nil), UserAgent: "u"}).Get(t.Context(),
				Request{URL: first.URL + "/old?token=canary#here", Accept: "text/html"})
			if err != nil {
				t.Fatal(err)
			}
			target := last.URL + "/new%20page?q=%C3%BC"
			if page.FinalURL.String() != target || string(page.Body) != "arrived" || page.Fragment != "here" {
				t.Errorf("got %+v", page)
			}
			if diff := cmp.Diff([]string{target}, page.Redirects); diff != "" {
				t.Errorf("Redirects (-want +got):\n%s", diff)
			}
			want := []received{{
				Method: "GET", URI: "/new%20page?q=%C3%BC", Host: hostOf(last),
				Header: http.Header{"Accept": {"text/html"}, "Accept-Encoding": {"gzip, deflate"}, "User-Agent": {"u"}},
			}}
			if diff := cmp.Diff(want, last.requests()); diff != "" {
				t.Errorf("received (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNotEveryThreeHundredIsARedirect(t *testing.T) {
	tests := map[string]struct {
		status   int
		location string
	}{
		"multiple choices":        {300, "/x"},
		"use proxy":               {305, "http://proxy.example:3128/"},
		"found without location":  {302, ""},
		"created with a location": {201, "/x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, false, redirectTo(test.status, test.location))
			page, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			if page.Status != test.status || len(s.requests()) != 1 {
				t.Errorf("got status %d after %v, want the answer as a page", page.Status, s.uris())
			}
		})
	}
}

// What a page says about other addresses is not followed.
func TestOtherPointersAreNotFollowed(t *testing.T) {
	other := newSite(t, false, func(http.ResponseWriter, *http.Request) {})
	s := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Refresh", "0; url="+other.URL)
		w.Header().Set("Link", "<"+other.URL+">; rel=preload")
		w.Header().Set("Alt-Svc", `http/1.1="`+hostOf(other)+`"`)
		fmt.Fprintf(w, `<base href=%q><meta http-equiv=refresh content="0; url=%s">`, other.URL, other.URL)
	})
	c := New(Options{Transport: transport(t, nil)})
	for range 2 {
		if _, err := c.Get(t.Context(), Request{URL: s.URL}); err != nil {
			t.Fatal(err)
		}
	}
	if got := other.requests(); got != nil {
		t.Errorf("received %v, want nothing", got)
	}
}

func TestCredentialStaysAtItsOrigin(t *testing.T) {
	other := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") })
	var location string
	s := newSite(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/start" {
			redirectTo(307, location)(w, r)
		}
	})
	// The names stand for other hosts; the port stays that of the site.
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	names := map[string]*site{"wiki.example" + port: s, "sub.wiki.example" + port: other, "evil.example" + port: other}
	start := "http://wiki.example" + port + "/start"

	leaving := map[string]string{
		"other port":           other.URL + "/x?code=canary",
		"subdomain":            "http://sub.wiki.example" + port + "/",
		"other site":           "http://evil.example" + port + "/",
		"other site, no slash": "//evil.example" + port,
		"https, same name":     "https://wiki.example" + port + "/",
		"suffix":               "http://wiki.example.evil.example" + port + "/",
	}
	for name, target := range leaving {
		t.Run("leaving: "+name, func(t *testing.T) {
			location = target
			c := New(Options{Transport: bearer{transport(t, names), "wiki.example" + port}, Credentialed: hasBearer})
			_, err := c.Get(t.Context(), Request{URL: start})
			wantCode(t, err, "redirect.cross_origin")
			var redirect *RedirectError
			if !errors.As(err, &redirect) || redirect.Reason != CrossOrigin || redirect.Status != 307 || redirect.From.String() != start {
				t.Fatalf("got %#v", err)
			}
			if !strings.Contains(redirect.Target(), strings.TrimSuffix(strings.TrimPrefix(target, "http:"), "/")) {
				t.Errorf("Target() = %s, want %s", redirect.Target(), target)
			}
			if text := err.Error() + redirect.Hint(); strings.Contains(text, "canary") || strings.Contains(text, "/start") {
				t.Errorf("the message shows more than origins: %s", text)
			}
		})
	}
	if got := other.requests(); got != nil {
		t.Errorf("the other origins received %v, want nothing", got)
	}

	staying := map[string]string{
		"relative":      "page",
		"same spelling": "http://wiki.example" + port + "/page",
		"upper case":    "http://WIKI.Example" + port + "/page",
		"trailing dot":  "http://wiki.example." + port + "/page",
		"full width":    "http://ｗｉｋｉ.example" + port + "/page",
	}
	for name, target := range staying {
		t.Run("staying: "+name, func(t *testing.T) {
			location = target
			before := len(s.requests())
			c := New(Options{Transport: bearer{transport(t, names), "wiki.example" + port}, Credentialed: hasBearer})
			page, err := c.Get(t.Context(), Request{URL: start})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := page.FinalURL.String(), "http://wiki.example"+port+"/page"; got != want {
				t.Errorf("FinalURL: got %s, want %s", got, want)
			}
			got := s.requests()[before:]
			if len(got) != 2 || got[1].Host != "wiki.example"+port || !cmp.Equal(got[1].Header.Values("Authorization"), []string{"Bearer canary"}) {
				t.Errorf("received %+v, want the second request at the canonical host, with one token", got)
			}
		})
	}
}

func TestUncredentialedRedirectMayLeave(t *testing.T) {
	other := newSite(t, false, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") })
	s := newSite(t, false, redirectTo(302, other.URL+"/x"))
	// The token is for a third origin.
	c := New(Options{Transport: bearer{transport(t, nil), "wiki.example"}, Credentialed: hasBearer})
	page, err := c.Get(t.Context(), Request{URL: s.URL})
	if err != nil || string(page.Body) != "other" {
		t.Fatalf("got %v, %v", page, err)
	}
	for _, r := range other.requests() {
		for _, name := range []string{"Authorization", "Referer", "Cookie"} {
			if r.Header.Get(name) != "" {
				t.Errorf("received %s: %s", name, r.Header.Get(name))
			}
		}
	}
}

func TestNoDowngrade(t *testing.T) {
	plain := newSite(t, false, func(http.ResponseWriter, *http.Request) {})
	s := newSite(t, true, redirectTo(301, plain.URL+"/x"))
	_, err := New(Options{Transport: transport(t, nil, s)}).Get(t.Context(), Request{URL: s.URL})
	wantCode(t, err, "redirect.insecure")
	if got := plain.requests(); got != nil {
		t.Errorf("received %v, want nothing", got)
	}
	// The other direction is what sites do.
	up := newSite(t, false, redirectTo(301, s.URL+"/up"))
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "safe") })
	page, err := New(Options{Transport: transport(t, nil, s)}).Get(t.Context(), Request{URL: up.URL})
	if err != nil || string(page.Body) != "safe" {
		t.Errorf("http to https: got %v, %v", page, err)
	}
}

func TestRedirectsEnd(t *testing.T) {
	var a, b *site
	a = newSite(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/self":
			redirectTo(302, "/self")(w, r)
		case "/pingpong":
			redirectTo(302, b.URL+"/pingpong")(w, r)
		case "/growing":
			redirectTo(302, "/growing?"+r.URL.RawQuery+"x")(w, r)
		default: // /5 leads to /4 and so on
			if n := r.URL.Path[1] - '0'; n > 0 {
				redirectTo(302, fmt.Sprintf("/%d", n-1))(w, r)
			}
		}
	})
	b = newSite(t, false, func(w http.ResponseWriter, r *http.Request) { redirectTo(302, a.URL+r.URL.Path)(w, r) })
	c := New(Options{Transport: transport(t, nil)})

	for _, path := range []string{"/self", "/pingpong", "/growing", "/6"} {
		before := len(a.requests()) + len(b.requests())
		_, err := c.Get(t.Context(), Request{URL: a.URL + path})
		wantCode(t, err, "redirect.too_many")
		if got := len(a.requests()) + len(b.requests()) - before; got != 6 {
			t.Errorf("%s: got %d requests, want 6", path, got)
		}
	}
	page, err := c.Get(t.Context(), Request{URL: a.URL + "/5"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{a.URL + "/4", a.URL + "/3", a.URL + "/2", a.URL + "/1", a.URL + "/0"}
	if diff := cmp.Diff(want, page.Redirects); diff != "" {
		t.Errorf("Redirects (-want +got):\n%s", diff)
	}
}

// A redirect whose body never ends costs a moment, not the whole time of the call.
func TestBodyOfARedirectIsNotWaitedFor(t *testing.T) {
	s := newSite(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			redirectTo(302, "/page")(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	start := time.Now()
	if _, err := New(Options{Transport: transport(t, nil)}).Get(t.Context(), Request{URL: s.URL}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestRedirectTarget(t *testing.T) {
	long := "/" + strings.Repeat("x", 3000)
	tests := map[string]struct {
		from         string
		locations    []string
		credentialed bool
		followed     int
		want         string // or the code of the error
	}{
		"relative":             {from: "https://a.example/x/y?q", locations: []string{"../z"}, want: "https://a.example/z"},
		"query only":           {from: "https://a.example/x?q", locations: []string{"?r"}, want: "https://a.example/x?r"},
		"fragment dropped":     {from: "https://a.example/", locations: []string{"/x#secret"}, want: "https://a.example/x"},
		"default port":         {from: "https://a.example/", locations: []string{"https://a.example:443"}, credentialed: true, want: "https://a.example/"},
		"same twice":           {from: "https://a.example/", locations: []string{"/x", "/x"}, want: "https://a.example/x"},
		"two targets":          {from: "https://a.example/", locations: []string{"/x", "/y"}, want: "redirect.invalid"},
		"none":                 {from: "https://a.example/", want: "redirect.invalid"},
		"long":                 {from: "https://a.example/", locations: []string{long}, want: "https://a.example" + long},
		"too long":             {from: "https://a.example/", locations: []string{long + long + long}, want: "redirect.invalid"},
		"user name":            {from: "https://a.example/", locations: []string{"https://a.example@b.example/"}, want: "redirect.invalid"},
		"empty user name":      {from: "https://a.example/", locations: []string{"https://@a.example/"}, want: "redirect.invalid"},
		"backslash":            {from: "https://a.example/", locations: []string{`\\b.example/`}, want: "redirect.invalid"},
		"script":               {from: "https://a.example/", locations: []string{"javascript:alert(1)"}, want: "redirect.invalid"},
		"file":                 {from: "https://a.example/", locations: []string{"file:///etc/passwd"}, want: "redirect.invalid"},
		"data":                 {from: "https://a.example/", locations: []string{"data:text/html,x"}, want: "redirect.invalid"},
		"no slashes":           {from: "https://a.example/", locations: []string{"https:b.example"}, want: "redirect.invalid"},
		"empty host":           {from: "http://a.example/", locations: []string{"http://:80/"}, want: "redirect.invalid"},
		"zone identifier":      {from: "http://a.example/", locations: []string{"http://[::1%25lo]/"}, want: "redirect.invalid"},
		"number for a host":    {from: "http://a.example/", locations: []string{"http://2130706433/"}, want: "redirect.invalid"},
		"C1 control":           {from: "https://a.example/", locations: []string{"/\u0085"}, want: "redirect.invalid"},
		"downgrade":            {from: "https://a.example/", locations: []string{"http://a.example/"}, want: "redirect.insecure"},
		"downgrade first":      {from: "https://a.example/", locations: []string{"http://b.example/"}, credentialed: true, followed: 5, want: "redirect.insecure"},
		"leaving":              {from: "https://a.example/", locations: []string{"https://b.example/"}, credentialed: true, want: "redirect.cross_origin"},
		"leaving, last hop":    {from: "https://a.example/", locations: []string{"https://b.example/"}, credentialed: true, followed: 5, want: "redirect.cross_origin"},
		"leaving without":      {from: "https://a.example/", locations: []string{"https://b.example/"}, want: "https://b.example/"},
		"the fifth":            {from: "https://a.example/", locations: []string{"/x"}, followed: 4, want: "https://a.example/x"},
		"the sixth":            {from: "https://a.example/", locations: []string{"/x"}, followed: 5, want: "redirect.too_many"},
		"looks like a host":    {from: "https://a.example/", locations: []string{"///b.example/"}, credentialed: true, want: "https://a.example///b.example/"},
		"upgrade, credentials": {from: "http://a.example/", locations: []string{"https://a.example/"}, credentialed: true, want: "redirect.cross_origin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			from, err := url.Parse(test.from)
			if err != nil {
				t.Fatal(err)
			}
			to, err := redirectTarget(from, 302, test.locations, test.credentialed, test.followed)
			var redirect *RedirectError
			switch {
			case errors.As(err, &redirect):
				if redirect.Code() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if (redirect.Target() == "") != (redirect.Reason == Invalid) {
					t.Errorf("Target() = %q", redirect.Target())
				}
			case to.String() != test.want:
				t.Errorf("got %s, want %s", to, test.want)
			}
		})
	}
}

func TestTargetTooLongToBeGiven(t *testing.T) {
	from, _ := url.Parse("https://a.example/")
	_, err := redirectTarget(from, 302, []string{"https://b.example/" + strings.Repeat("x", maxURL)}, true, 0)
	var redirect *RedirectError
	if !errors.As(err, &redirect) || redirect.Target() != "" || !strings.Contains(redirect.Hint(), "too long") {
		t.Errorf("got %#v", err)
	}
}

func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{"/x", "../../y?z#f", "//b.example", "https://a.example:443/", "http://a.example/", "https://u:p@b.example",
		`https:\\b.example`, "https://[::1%25lo]/", "https://ａ.example/", "?é \"<>", "https:b", "///b.example", "https://b.example/%zz", "/a/%2e%2e/b", "\x00", ""} {
		f.Add("https://a.example/dir/page?q=1", seed, true, 0)
		f.Add("http://a.example:8080", seed, false, 4)
	}
	f.Fuzz(func(t *testing.T, base, location string, credentialed bool, followed int) {
		from, err := ParseURL(base)
		if err != nil {
			return // no page to come from
		}
		from = withoutFragment(from)
		to, err := redirectTarget(from, 302, []string{location}, credentialed, followed)
		if err != nil {
			var redirect *RedirectError
			if !errors.As(err, &redirect) {
				t.Fatalf("error %T", err)
			}
			if text := err.Error() + redirect.Target(); len(redirect.Target()) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("not fit to be shown: %q", text)
			}
			return
		}
		if followed >= maxRedirects || from.Scheme == "https" && to.Scheme != "https" || credentialed && !sameOrigin(from, to) {
			t.Errorf("%s, credentialed %v, after %d: %q was followed to %s", from, credentialed, followed, location, to)
		}
		checkCanonical(t, to)
	})
}
