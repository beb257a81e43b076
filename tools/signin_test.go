package tools

import (
	"net/http"
	"strings"
	"testing"
)

// A sign-in page is never given as the content without the line that says so.
func TestSignInPage(t *testing.T) {
	form := `<title>Sign in</title><form><input name="user"><input type="password"></form>`
	direct := serving(200, "text/html", form)
	elsewhere := &site{answer: func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "docs.example" {
			return page(302, "text/html", "", "Location", "https://id.example/authorize?client_id=a&response_type=code"), nil
		}
		return page(200, "text/html", "<title>Who are you?</title><input name=email>"), nil
	}}
	for name, s := range map[string]*site{"in place of the page": direct, "at an identity provider": elsewhere} {
		for _, format := range []string{"markdown", "text", "html", "raw"} {
			t.Run(name+" as "+format, func(t *testing.T) {
				res := handle(t, newTool(s, Options{}), map[string]any{"url": "https://docs.example/page", "format": format})
				first, rest, _ := strings.Cut(textOf(t, res), "\n")
				if !strings.HasPrefix(first, "SIGN-IN PAGE, not the page you asked for: ") {
					t.Errorf("the first line is %q", first)
				}
				if header, _, _ := strings.Cut(rest, "\n"); !strings.HasPrefix(header, "https://") || !strings.Contains(header, "status 200") {
					t.Errorf("the second line is %q", header)
				}
				if got := factsOf(t, res)["sign_in_page"]; got != true {
					t.Errorf("sign_in_page is %v", got)
				}
			})
		}
	}
	res := handle(t, newTool(serving(200, "text/html", "<h1>Hello</h1>"), Options{}), map[string]any{"url": "https://docs.example/"})
	if strings.Contains(textOf(t, res), "SIGN-IN") || factsOf(t, res)["sign_in_page"] != nil {
		t.Errorf("a page is told as a sign-in page: %s", textOf(t, res))
	}
}
