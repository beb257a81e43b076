package fetch

import (
	"net/url"
	"strings"
	"testing"
)

const (
	form    = `<form method="post"><input name="user"><input type="password" name="pw"><button>OK</button></form>`
	article = `<html><title>Harbour handbook</title><h1>Moorings</h1>`
)

var prose = "<p>" + strings.Repeat("Boats are moored at the quay in the order in which they arrive. ", 20) + "</p>"

func TestSignIn(t *testing.T) {
	const asked = "https://wiki.example/page"
	for _, tt := range []struct {
		name        string
		url         string   // "": asked
		redirects   []string // the last is the final URL
		contentType string   // "": text/html
		status      int      // 0: 200
		body        string
		want        bool
	}{
		{name: "a page", body: article + prose},
		{name: "a form in place of the page", body: `<title>Sign in - Harbour</title>` + form, want: true},
		{name: "a form that says so in its heading", body: `<title>Harbour</title><h1>Please log in</h1>` + form + prose, want: true},
		{name: "a form that says so in another language", body: `<title>Anmeldung</title><h1>Anmelden</h1>` + form + prose, want: true},
		{name: "a form that says so in Japanese", body: `<title>ログイン</title>` + form + prose, want: true},
		{name: "a form and nothing else", body: `<title>Harbour</title>` + form, want: true},
		{name: "an article with a form at the side", body: article + prose + form},
		{name: "a field that nobody sees", body: `<title>Log in</title><input type="password" style="display:none">` + prose},
		{name: "a field in a hidden part", body: `<title>Log in</title><div hidden><div>x</div>` + form + `</div>` + prose},
		{name: "a field after a hidden part", body: `<title>Log in</title><div hidden><div>x</div></div>` + form + prose, want: true},
		{name: "a field in a template", body: `<title>Log in</title><template>` + form + `</template>` + prose},
		{name: "a field in a comment", body: `<title>Log in</title><!-- ` + form + ` -->` + prose},
		{name: "an article about signing in", body: `<title>How to log in</title>` + prose + `<p>Enter your password.</p>`},
		{name: "the form was asked for", url: "https://wiki.example/account/login", body: `<title>Sign in</title>` + form},
		{name: "a form by another path", redirects: []string{"https://wiki.example/login?next=%2Fpage"}, body: article + prose + form, want: true},
		{name: "a page that moved, with a form at the side", redirects: []string{"https://wiki.example/pages/1"}, body: article + prose + form},
		{name: "a login page that leads to another", url: "https://wiki.example/login", redirects: []string{"https://sso.example/signin"}, body: form, want: true},
		{name: "OpenID Connect, the name first", redirects: []string{"https://id.example/authorize?client_id=a&response_type=code&redirect_uri=x"}, body: `<title>Who are you?</title><input name="email">`, want: true},
		{name: "pushed request", redirects: []string{"https://id.example/authorize?client_id=a&request_uri=urn:x"}, body: `<p>x</p>`, want: true},
		{name: "by way of a provider, onwards", redirects: []string{"https://id.example/authorize?client_id=a&response_type=code", "https://id.example/u/identifier"}, body: `<input name="email">`, want: true},
		{name: "by way of a provider, and back", redirects: []string{"https://id.example/authorize?client_id=a&response_type=code", "https://wiki.example/page?code=1"}, body: article + prose},
		{name: "SAML by redirect", redirects: []string{"https://id.example/sso?SAMLRequest=abc"}, body: `<p>x</p>`, want: true},
		{name: "SAML by a form that sends itself", body: `<body onload="document.forms[0].submit()"><form action="https://id.example/sso" method="post"><input type="hidden" name="SAMLRequest" value="abc"></form>`, want: true},
		{name: "WS-Federation", redirects: []string{"https://adfs.example/adfs/ls/?wa=wsignin1.0&wtrealm=x"}, body: `<p>x</p>`, want: true},
		{name: "CAS", redirects: []string{"https://cas.example/cas/login?service=https%3A%2F%2Fwiki.example"}, body: `<p>x</p>`, want: true},
		{name: "Cloudflare Access", redirects: []string{"https://team.cloudflareaccess.com/cdn-cgi/access/login/wiki.example?kid=1"}, body: `<p>code by mail</p>`, want: true},
		{name: "a page that moved to another site", redirects: []string{"https://harbour.example/wiki/page"}, body: article + prose},
		{name: "an API that takes a client_id", redirects: []string{"https://cdn.example/image?client_id=1"}, body: article + prose},
		{name: "text that shows a form", contentType: "text/plain", body: `<title>Sign in</title>` + form},
		{name: "no type, and a form", contentType: "none", body: `<title>Sign in</title>` + form, want: true},
		{name: "an error page", status: 403, body: `<title>Sign in</title>` + form},
		{name: "UTF-16", body: utf16le(`<title>Sign in</title>` + form), want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Page{URL: parse(t, asked), Redirects: tt.redirects, Status: 200, ContentType: "text/html; charset=utf-8", Body: []byte(tt.body)}
			if tt.url != "" {
				p.URL = parse(t, tt.url)
			}
			p.FinalURL = p.URL
			if n := len(tt.redirects); n > 0 {
				p.FinalURL = parse(t, tt.redirects[n-1])
			}
			if tt.contentType != "" {
				p.ContentType = strings.TrimPrefix(tt.contentType, "none")
			}
			if tt.status != 0 {
				p.Status = tt.status
			}
			if got := p.SignIn(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRedirectToSignIn(t *testing.T) {
	for _, tt := range []struct {
		to     string
		reason RedirectReason
		want   bool
	}{
		{"https://id.example/authorize?client_id=a&response_type=code", CrossOrigin, true},
		{"https://id.example/login", CrossOrigin, true},
		{"https://cdn.example/file", CrossOrigin, false},
		{"https://id.example/login", TooMany, false},
	} {
		e := &RedirectError{From: parse(t, "https://wiki.example/"), To: parse(t, tt.to), Status: 302, Reason: tt.reason}
		if got := e.SignIn(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.to, got, tt.want)
		}
		if got := strings.Contains(e.Hint(), "sign in at"); got != tt.want {
			t.Errorf("%s: the hint is %q", tt.to, e.Hint())
		}
	}
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, r := range s {
		b = append(b, byte(r), byte(r>>8))
	}
	return string(b)
}

func BenchmarkSignIn(b *testing.B) {
	for name, body := range map[string]string{
		"1 MB without a word": strings.Repeat("<p>"+prose, 800),
		"1 MB with the word":  strings.Repeat("<p>password "+prose, 800),
	} {
		b.Run(name, func(b *testing.B) {
			p := &Page{URL: &url.URL{Scheme: "https", Host: "a", Path: "/"}, Status: 200, ContentType: "text/html", Body: []byte(body)}
			p.FinalURL = p.URL
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				p.SignIn()
			}
		})
	}
}
