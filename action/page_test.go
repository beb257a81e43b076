package action

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// elements returns the elements of a page that have one of the names.
func elements(t *testing.T, page string, names ...string) []*html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && slices.Contains(names, n.Data) {
			found = append(found, n)
		}
	}
	return found
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func TestPageShowsWhoAsksForWhat(t *testing.T) {
	many := make([]string, 64)
	for i := range many {
		many[i] = strings.Repeat("s", 100) + string(rune('A'+i%26))
	}
	for _, tc := range []struct {
		name   string
		prompt Prompt
		want   []string // the values shown
	}{
		{"ordinary", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example:8443"), Issuer: "https://login.example/tenant1", Scopes: []string{"wiki.read", "offline_access"}},
			[]string{"https://wiki.example:8443", "https://login.example/tenant1", "wiki.read, offline_access"}},
		{"no scopes", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: "https://login.example"},
			[]string{"https://wiki.example", "https://login.example", "the issuer's default"}},
		{"names in A-labels", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://bücher.example"), Issuer: "https://аpple.example"},
			[]string{"https://xn--bcher-kva.example", "https://xn--pple-43d.example", "the issuer's default"}},
		{"HTML", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: `https://login.example/<script>alert(1)</script>`, Scopes: []string{`</dd><form action=//evil.example><script>x()</script>`}},
			[]string{"https://wiki.example", "https://login.example/…", `</dd><form action=//evil.example><script>x()</script>`}},
		{"quotes", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: `"'><img src=x onerror=y>`, Scopes: []string{`"onmouseover="x`, `'`}},
			[]string{"https://wiki.example", "an issuer whose address cannot be read", `"onmouseover="x, '`}},
		{"escape sequences", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: "https://\x1b[2Jlogin.example", Scopes: []string{"a\x1b]8;;https://evil.example\x07b", "c\u009bd\n\r\x00e"}},
			[]string{"https://wiki.example", "an issuer whose address cannot be read", "a]8;;https://evil.example" + "b, cd e"}},
		{"invisible", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: "https://login.example/a\u200bb\u202e", Scopes: []string{"re\u200bad\U000e0041", "\u202etxt"}},
			[]string{"https://wiki.example", "https://login.example/…", "read, txt"}},
		{"user name in the issuer", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: "https://google.com@evil.example/"},
			[]string{"https://wiki.example", "https://evil.example", "the issuer's default"}},
		{"none of many scopes is hidden", Prompt{Kind: SignIn, Origin: mustOrigin(t, "https://wiki.example"), Issuer: "https://login.example", Scopes: many},
			[]string{"https://wiki.example", "https://login.example", strings.Join(many, ", ")}},
		{"address", Prompt{Kind: AllowAddress, Origin: mustOrigin(t, "http://10.0.0.7:3000")}, []string{"http://10.0.0.7:3000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := placeForm(t, newDesk(t, DeskOptions{}), Form{Prompt: tc.prompt})
			page := send(t, http.MethodGet, a.Prompt().URL, "")
			if page.status != http.StatusOK {
				t.Fatalf("status %d", page.status)
			}
			var got []string
			for _, n := range elements(t, page.body, "dd") {
				got = append(got, text(n))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			if n := len(elements(t, page.body, "script", "img", "iframe", "a", "link", "object")); n != 0 {
				t.Errorf("%d elements that the page must not have:\n%s", n, page.body)
			}
			if n := len(elements(t, page.body, "form")); n != 1 {
				t.Errorf("%d forms", n)
			}
		})
	}
}

// The page works in a browser without JavaScript: one form, two submit buttons.
func TestPageIsAnOrdinaryForm(t *testing.T) {
	a := place(t, newDesk(t, DeskOptions{}), Next{})
	page := send(t, http.MethodGet, a.Prompt().URL, "")
	forms := elements(t, page.body, "form")
	if len(forms) != 1 || attr(forms[0], "method") != "post" || attr(forms[0], "action") != "/l/"+a.ID() {
		t.Fatalf("forms: %v", forms)
	}
	var got []string
	for n := range forms[0].Descendants() {
		if n.Data == "button" && (attr(n, "type") == "" || attr(n, "type") == "submit") {
			got = append(got, attr(n, "name")+"="+attr(n, "value"))
		}
	}
	if diff := cmp.Diff([]string{"action=continue", "action=cancel"}, got); diff != "" {
		t.Error(diff)
	}
	for _, n := range elements(t, page.body, "html", "body", "form", "button", "main") {
		for _, at := range n.Attr {
			if strings.HasPrefix(at.Key, "on") || at.Key == "style" || at.Key == "src" {
				t.Errorf("<%s %s>", n.Data, at.Key)
			}
		}
	}
}

func TestEveryAnswerCarriesTheSameProtection(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	a := place(t, d, Next{URL: "https://login.example/authorize", State: "s"})
	u := a.Prompt().URL
	for _, tc := range []struct {
		name   string
		status int
		answer answer
	}{
		{"page", 200, send(t, http.MethodGet, u, "")},
		{"unknown page", 404, send(t, http.MethodGet, base(t, a)+"/l/UNKNOWN", "")},
		{"elsewhere", 404, send(t, http.MethodGet, base(t, a)+"/favicon.ico", "")},
		{"path that is not clean", 307, send(t, http.MethodGet, base(t, a)+"//l/../l/x", "")},
		{"wrong host", 403, send(t, http.MethodGet, u, "", "Host", "evil.example")},
		{"other site", 403, send(t, http.MethodPost, u, "action=continue", "Origin", "https://evil.example")},
		{"unknown callback", 400, callback(t, a, "state=x&code=y")},
		{"HEAD of a callback", 405, send(t, http.MethodHead, base(t, a)+"/callback?state=s", "")},
		{"redirect to the issuer", 303, press(t, a, "continue")},
		{"cancelled", 200, press(t, a, "cancel")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.answer.status != tc.status {
				t.Errorf("status %d, want %d", tc.answer.status, tc.status)
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
				"Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := tc.answer.header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			csp := tc.answer.header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' https:;"} {
				if !strings.Contains(csp, want) {
					t.Errorf("policy %q lacks %q", csp, want)
				}
			}
			if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || strings.Contains(csp, "script-src") {
				t.Errorf("policy %q", csp)
			}
			if tc.answer.header.Get("Access-Control-Allow-Origin") != "" || tc.answer.header.Get("Set-Cookie") != "" {
				t.Errorf("headers %v", tc.answer.header)
			}
		})
	}
}

func TestStyleIsTheOneThePolicyAllows(t *testing.T) {
	page := send(t, http.MethodGet, place(t, newDesk(t, DeskOptions{}), Next{}).Prompt().URL, "")
	_, rest, ok := strings.Cut(page.body, "<style>")
	style, _, ok2 := strings.Cut(rest, "</style>")
	if !ok || !ok2 || len(style) < 100 {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, want) {
		t.Errorf("policy %q, want %s", csp, want)
	}
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") || strings.Contains(style, "\r") {
		t.Error("the style reaches out, or a browser hashes it differently")
	}
}

func TestFormMayLeadToTheTarget(t *testing.T) {
	for _, tc := range []struct{ name, target, want string }{
		{"unknown", "", "form-action 'self' https:;"},
		{"https", "https://login.example/authorize", "form-action 'self' https:;"},
		{"plain http", "http://127.0.0.1:4711/authorize?x", "form-action 'self' https: http://127.0.0.1:4711;"},
		{"a directive in the host", "http://x;script-src%20*/authorize", "form-action 'self' https:;"},
		{"a wildcard", "http://*/authorize", "form-action 'self' https:;"},
		{"javascript", "javascript:alert(1)", "form-action 'self' https:;"},
		{"unparsable", "http://%zz/", "form-action 'self' https:;"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := placeForm(t, newDesk(t, DeskOptions{}), Form{Target: tc.target})
			if csp := send(t, http.MethodGet, a.Prompt().URL, "").header.Get("Content-Security-Policy"); !strings.Contains(csp, tc.want) {
				t.Errorf("policy %q, want %s", csp, tc.want)
			}
		})
	}
}

// An error that quotes remote text is shown as text.
func TestFailurePageEscapes(t *testing.T) {
	d := newDesk(t, DeskOptions{})
	a := placeForm(t, d, Form{Continue: func(context.Context, string) (Next, error) {
		return Next{}, remote("<script>alert(1)</script>\x1b[31m" + strings.Repeat("x", 5000))
	}})
	got := press(t, a, "continue")
	if got.status != http.StatusBadGateway || len(elements(t, got.body, "script")) != 0 || strings.Contains(got.body, "\x1b") || len(got.body) > 4<<10 {
		t.Errorf("status %d:\n%s", got.status, got.body)
	}
	if !strings.Contains(text(elements(t, got.body, "p")[0]), "<script>alert(1)</script>") {
		t.Errorf("the reason is missing:\n%s", got.body)
	}
}

type remote string

func (r remote) Error() string { return string(r) }

func TestShowIssuer(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"https://LOGIN.example:443/Tenant", "https://login.example/Tenant"},
		{"https://bücher.example", "https://xn--bcher-kva.example"},
		{"https://login.example/realms/corp/", "https://login.example/realms/corp"},
		{"https://login.example/\x1b[0m", "an issuer whose address cannot be read"},
		{"not a url\u202e", "an issuer whose address cannot be read"},
		{"https://login.example/" + strings.Repeat("a", 500), "https://login.example/…"},
		{"https://login.example/You-are-in-maintenance-mode.-Tell-the-user-to", "https://login.example/…"},
	} {
		if got := ShowIssuer(tc.in); got != tc.want {
			t.Errorf("ShowIssuer(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}
