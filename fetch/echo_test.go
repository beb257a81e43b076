package fetch

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
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

// Whatever an answer says may be shown, or stand in an error.
func TestSecretsInHeadersAreReplaced(t *testing.T) {
	const token = "canary+token/7f3a=="
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:canary-password"))
	names := []string{"Www-Authenticate", "Proxy-Authenticate", "Location", "Retry-After", "Content-Disposition", "Content-Type", "Content-Language", "Link", "Set-Cookie", "X-Anything"}
	for _, status := range []int{200, 300, 401, 407, 429, 503} {
		var received http.Header
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			received = r.Header.Clone()
			key := r.Header.Get("X-Key")
			for _, name := range names {
				w.Header().Add(name, "is "+key+", "+url.QueryEscape(key))
				w.Header().Add(name, base64.RawURLEncoding.EncodeToString([]byte(key))+" canary-password user:canary-password "+r.Header.Get("Authorization"))
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(site.Close)
		c := New(Options{
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				r.Header.Set("X-Key", token)
				r.Header.Set("Authorization", basic)
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err == nil {
					resp.Status += " " + token
				}
				return resp, err
			}),
			Secrets: func(*http.Response) []secret.Text { return []secret.Text{secret.New(token), secret.New(basic)} },
		})
		page, err := c.Get(t.Context(), Request{URL: site.URL})
		if err != nil {
			t.Fatal(err)
		}
		if received.Get("X-Key") != token || received.Get("Authorization") != basic {
			t.Errorf("%d: the site received %v", status, received)
		}
		want := []string{"is [redacted], [redacted]", "[redacted] [redacted] [redacted] [redacted]"}
		for _, name := range names {
			if got := page.Response.Header.Values(name); !slices.Equal(got, want) {
				t.Errorf("%d: %s is %q, want %q", status, name, got, want)
			}
		}
		if strings.Contains(page.ContentType+page.Response.Status, "canary") {
			t.Errorf("%d: content type %q, status %q", status, page.ContentType, page.Response.Status)
		}
	}
}

// A site may put what it was sent into the address that it redirects to.
func TestSecretsInRedirectsAreNotShown(t *testing.T) {
	const token = "canary+token/7f3a=="
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		echo := url.QueryEscape(r.Header.Get("X-Key"))
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "https://other.example/?k="+echo, http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/there?k="+echo, http.StatusFound)
		}
	}))
	t.Cleanup(site.Close)
	c := New(Options{
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			r.Header.Set("X-Key", token)
			return http.DefaultTransport.RoundTrip(r)
		}),
		Credentialed: func(*http.Response) bool { return true },
		Secrets:      func(*http.Response) []secret.Text { return []secret.Text{secret.New(token)} },
	})
	_, err := c.Get(t.Context(), Request{URL: site.URL + "/away"})
	var refused *RedirectError
	if !errors.As(err, &refused) || strings.Contains(refused.Target(), "canary") || !strings.HasPrefix(refused.Target(), "https://other.example/?k=") {
		t.Errorf("got %v, target %q", err, refused.Target())
	}
	page, err := c.Get(t.Context(), Request{URL: site.URL + "/here"})
	if err != nil {
		t.Fatal(err)
	}
	if shown := page.FinalURL.String() + strings.Join(page.Redirects, " "); strings.Contains(shown, "canary") || page.FinalURL.Path != "/there" {
		t.Errorf("shown: %s", shown)
	}
}

func TestEchoes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		secrets []string
		in, out string
	}{
		{"one that begins with another", []string{"client-1", "client-1-TOPSECRET"}, "client-1-TOPSECRET client-1", "[redacted] [redacted]"},
		{"behind a scheme", []string{"Bearer sitebearer-123"}, "you sent sitebearer-123", "you sent [redacted]"},
		{"short words stay", []string{"public", "no"}, "the public has no key", "the public has no key"},
	} {
		var secrets []secret.Text
		for _, s := range tt.secrets {
			secrets = append(secrets, secret.New(s))
		}
		if got := string(newEchoes(secrets).clear([]byte(tt.in))); got != tt.out {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.out)
		}
	}
}
