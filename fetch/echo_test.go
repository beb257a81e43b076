package fetch

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

func TestEchoedSecretsAreReplaced(t *testing.T) {
	const token = "canary+token/7f3a=="
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; note="+r.Header.Get("X-Key"))
		if r.URL.Path == "/encoding" {
			w.Header().Set("Content-Encoding", r.Header.Get("X-Key"))
		}
		fmt.Fprintf(w, "you sent %s, that is %s; short: no", r.Header.Get("X-Key"), url.QueryEscape(r.Header.Get("X-Key")))
	}))
	t.Cleanup(site.Close)
	c := New(Options{
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			r.Header.Set("X-Key", token)
			return http.DefaultTransport.RoundTrip(r)
		}),
		Secrets: func(*http.Response) []secret.Text { return []secret.Text{secret.New(token), secret.New("no"), {}} },
	})
	page, err := c.Get(t.Context(), Request{URL: site.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	want := "you sent [redacted], that is [redacted]; short: no"
	if got := string(page.Body); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	if strings.Contains(page.ContentType, token) {
		t.Errorf("content type %q", page.ContentType)
	}
	if _, err := c.Get(t.Context(), Request{URL: site.URL + "/encoding"}); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("error %v, want one without the token", err)
	}
}
