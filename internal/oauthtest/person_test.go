package oauthtest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// loginPage stands in for the page that sends a person to the issuer.
type loginPage struct {
	*httptest.Server
	issuer   *oauthtest.Issuer
	policy   string // Referrer-Policy
	callback int    // status of the callback page
	cancel   int    // status of the page after Cancel
	log      oauthtest.Log
	got      url.Values // query of the callback
}

func newLoginPage(t *testing.T, i *oauthtest.Issuer) *loginPage {
	l := &loginPage{issuer: i, callback: 200, cancel: 200}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Server.Close)
	return l
}

func (l *loginPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.log.Add(oauthtest.Event{Server: "login", Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone()})
	if l.policy != "" {
		w.Header().Set("Referrer-Policy", l.policy)
	}
	switch {
	case r.URL.Path == "/callback":
		l.got = r.URL.Query()
		http.Redirect(w, r, "/done", http.StatusSeeOther)
	case r.URL.Path == "/done":
		w.WriteHeader(l.callback)
	case r.Method == http.MethodGet:
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
		fmt.Fprint(w, `<form method="get" action="/help"><button>Help</button></form>
<form method="post" action="/l/ID"><input type="hidden" name="csrf" value="a&amp;b"><input type="checkbox" name="off">
<button name="action" value="continue">Go on</button> <button name="action" value="cancel">No</button></form>`)
	case r.PostFormValue("action") == "continue" && r.PostFormValue("csrf") == "a&b":
		q := authorizeQuery("v", "redirect_uri", l.URL+"/callback")
		http.Redirect(w, r, l.issuer.URL+"/authorize?"+q.Encode(), http.StatusSeeOther)
	case r.PostFormValue("action") == "cancel":
		w.WriteHeader(l.cancel)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func TestPersonContinues(t *testing.T) {
	for _, auto := range []bool{false, true} {
		i := newIssuer(t, oauthtest.IssuerOptions{AutoApprove: auto})
		l := newLoginPage(t, i)
		if err := oauthtest.NewPerson(nil).Continue(t.Context(), l.URL+"/l/ID"); err != nil {
			t.Fatal(err)
		}
		if l.got.Get("code") == "" || l.got.Get("state") != "st-1" || l.got.Get("iss") != i.URL {
			t.Errorf("callback got %v", l.got)
		}
		want := 1
		if auto {
			want = 0
		}
		if got := i.Log.Count("issuer", "POST", "/authorize/decision"); got != want {
			t.Errorf("auto %v: %d decisions, want %d", auto, got, want)
		}
	}
}

func TestPersonSaysNo(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	l := newLoginPage(t, i)
	p := new(oauthtest.Person) // the zero Person works
	if err := p.Cancel(t.Context(), l.URL+"/l/ID"); err != nil {
		t.Error(err)
	}
	if got := i.Log.Count("issuer", "", ""); got != 0 {
		t.Errorf("after Cancel the issuer got %d requests, want 0", got)
	}
	l.callback = http.StatusForbidden
	if err := p.Deny(t.Context(), l.URL+"/l/ID"); err != nil {
		t.Error(err)
	}
	if l.got.Get("error") != "access_denied" || l.got.Get("code") != "" {
		t.Errorf("callback got %v", l.got)
	}
}

func TestPersonNotices(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	for _, tt := range []struct {
		name string
		edit func(*loginPage)
		do   func(*oauthtest.Person, context.Context, string) error
		path string
	}{
		{"callback that fails", func(l *loginPage) { l.callback = 500 }, (*oauthtest.Person).Continue, "/l/ID"},
		{"callback with an error", func(l *loginPage) {
			l.issuer = newIssuer(t, oauthtest.IssuerOptions{EditRedirect: func(q url.Values) { q.Set("error", "server_error"); q.Del("code") }})
		}, (*oauthtest.Person).Continue, "/l/ID"},
		{"cancel that fails", func(l *loginPage) { l.cancel = 500 }, (*oauthtest.Person).Cancel, "/l/ID"},
		{"page without the form", func(*loginPage) {}, (*oauthtest.Person).Continue, "/done"},
		{"cancel without the form", func(*loginPage) {}, (*oauthtest.Person).Cancel, "/done"},
		{"issuer that answers with a page", func(l *loginPage) {
			l.issuer = newIssuer(t, oauthtest.IssuerOptions{Clients: map[string]string{}, NoCode: true})
		}, (*oauthtest.Person).Continue, "/l/ID"},
		{"approved instead of denied", func(l *loginPage) {
			l.issuer = newIssuer(t, oauthtest.IssuerOptions{AutoApprove: true})
		}, (*oauthtest.Person).Deny, "/l/ID"},
	} {
		l := newLoginPage(t, i)
		tt.edit(l)
		if err := tt.do(oauthtest.NewPerson(nil), t.Context(), l.URL+tt.path); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

// Servers see the headers that a browser would send.
func TestPersonSendsBrowserHeaders(t *testing.T) {
	for _, tt := range []struct{ policy, origin, referer, decisionReferer string }{
		{"", "LOGIN", "LOGIN/l/ID", "LOGIN/"},
		{"no-referrer", "null", "", ""},
		{"same-origin", "LOGIN", "LOGIN/l/ID", ""},
		{"strict-origin", "LOGIN", "LOGIN/", "LOGIN/"},
	} {
		t.Run(tt.policy, func(t *testing.T) {
			i := newIssuer(t, oauthtest.IssuerOptions{})
			l := newLoginPage(t, i)
			l.policy = tt.policy
			if err := oauthtest.NewPerson(nil).Continue(t.Context(), l.URL+"/l/ID"); err != nil {
				t.Fatal(err)
			}
			pick := func(e oauthtest.Event) map[string]string {
				got := map[string]string{}
				for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site", "Cookie"} {
					if v := e.Header.Get(name); v != "" {
						got[name] = v
					}
				}
				return got
			}
			want := func(values ...string) map[string]string {
				m := map[string]string{}
				for n := 0; n < len(values); n += 2 {
					if v := strings.Replace(values[n+1], "LOGIN", l.URL, 1); v != "" {
						m[values[n]] = v
					}
				}
				return m
			}
			short, callback := l.log.Find("login", "/l/ID"), l.log.Find("login", "/callback")
			if d := cmp.Diff(want("Sec-Fetch-Site", "none"), pick(short[0])); d != "" {
				t.Errorf("address typed in: %s", d)
			}
			if d := cmp.Diff(want("Origin", tt.origin, "Referer", tt.referer, "Sec-Fetch-Site", "same-origin", "Cookie", "seen=1"), pick(short[1])); d != "" {
				t.Errorf("form: %s", d)
			}
			// The issuer is another port of the same host: cookies go there, as in a browser.
			if d := cmp.Diff(want("Referer", tt.decisionReferer, "Sec-Fetch-Site", "same-site"), without(pick(i.Log.Find("issuer", "/authorize")[0]), "Cookie")); d != "" {
				t.Errorf("redirect to the issuer: %s", d)
			}
			if d := cmp.Diff(want("Origin", i.URL), map[string]string{"Origin": i.Log.Find("issuer", "/authorize/decision")[0].Header.Get("Origin")}); d != "" {
				t.Errorf("form of the issuer: %s", d)
			}
			if got := pick(callback[0]); got["Origin"] != "" || got["Sec-Fetch-Site"] != "same-site" {
				t.Errorf("callback: %v", got)
			}
		})
	}
}

func without(m map[string]string, name string) map[string]string {
	delete(m, name)
	return m
}

func TestPersonAnswersDeviceCodes(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{Path: "/t"})
	p := oauthtest.NewPerson(nil)
	for _, tt := range []struct {
		name, uri string
		answer    func(context.Context, string, string) error
		want      any
	}{
		{"approve", "verification_uri", p.EnterCode, nil},
		{"approve from the complete URI", "verification_uri_complete", p.EnterCode, nil},
		{"refuse", "verification_uri", p.RefuseCode, "access_denied"},
	} {
		d := post(t, i.URL+"/device_authorization", url.Values{"client_id": {"public"}, "resource": {audience}}).json
		if err := tt.answer(t.Context(), d[tt.uri].(string), d["user_code"].(string)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if a := post(t, i.URL+"/token", pollForm(d["device_code"])); a.json["error"] != tt.want {
			t.Errorf("%s: poll: got %d %s, want error %v", tt.name, a.status, a.body, tt.want)
		}
	}
	if err := p.EnterCode(t.Context(), i.URL+"/device", "BBBB-BBBB"); err == nil {
		t.Error("unknown code: no error")
	}
}

func TestPersonGets(t *testing.T) {
	cert, roots := newCertificate(t, "server")
	r := newResource(t, oauthtest.ResourceOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Pages: map[string]oauthtest.Page{
		"/a":    {Status: 307, Header: http.Header{"Location": {"/b"}}},
		"/b":    {Body: []byte("here"), Status: 418},
		"/loop": {Status: 302, Header: http.Header{"Location": {"/loop"}}},
		"/app":  {Status: 302, Header: http.Header{"Location": {"javascript:alert(1)"}}},
	}})
	p := oauthtest.NewPerson(roots)
	p.Log = new(oauthtest.Log)
	if status, body, err := p.Get(t.Context(), r.URL+"/a"); err != nil || status != 418 || body != "here" {
		t.Errorf("got %d %q %v", status, body, err)
	}
	if e := p.Log.Events(); len(e) != 2 || e[0].Server != "person" || e[0].Note != "opens a page" || e[1].Note != "is redirected" || e[1].Status != 418 {
		t.Errorf("log: %+v", e)
	}
	for _, path := range []string{"/loop", "/app"} {
		if _, _, err := p.Get(t.Context(), r.URL+path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	if _, _, err := oauthtest.NewPerson(nil).Get(t.Context(), r.URL+"/b"); err == nil {
		t.Error("unknown root: no error")
	}
}
