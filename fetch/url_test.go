package fetch

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/origin"
)

func TestParseURL(t *testing.T) {
	tests := map[string]string{
		"https://host.example":                      "https://host.example/",
		"HTTPS://Host.Example:443/A":                "https://host.example/A",
		"http://host.example:80":                    "http://host.example/",
		"http://host.example:8080/":                 "http://host.example:8080/",
		"https://host.example./":                    "https://host.example/",
		"https://bücher.example/ü?ü#ü":              "https://xn--bcher-kva.example/%C3%BC?%C3%BC#%C3%BC",
		"https://host.example/a/../b/./c":           "https://host.example/b/c",
		"https://host.example/../..":                "https://host.example/",
		"https://host.example/a%2Fb%20c":            "https://host.example/a%2Fb%20c",
		"https://host.example//a//b":                "https://host.example//a//b",
		"https://host.example/?a=b&c=%20+d;e":       "https://host.example/?a=b&c=%20+d;e",
		`https://host.example/?"<x>"`:               "https://host.example/?%22%3Cx%3E%22",
		"https://host.example/p?":                   "https://host.example/p?",
		"https://host.example?q":                    "https://host.example/?q",
		"http://[2606:4700:0::1111]:8443/":          "http://[2606:4700::1111]:8443/",
		"http://１２７.0.0.1/":                         "http://127.0.0.1/",
		"http://exa%E3%80%82mple.com/":              "http://exa.mple.com/",
		"https://host.example/@user:pw@other?a@b#@": "https://host.example/@user:pw@other?a@b#@",
	}
	for raw, want := range tests {
		got, err := ParseURL(raw)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", raw, got, err, want)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	tests := map[string]string{
		"empty":               "",
		"no scheme":           "host.example/path",
		"path":                "/path",
		"other scheme":        "ftp://host.example/",
		"file":                "file:///etc/passwd",
		"script":              "javascript:alert(1)",
		"no slashes":          "https:host.example",
		"empty host":          "http:///path",
		"only a port":         "http://:80/",
		"user name":           "http://user@host.example/",
		"password":            "http://user:canary@host.example/",
		"empty user name":     "http://@host.example/",
		"space":               "http://host.example/a b",
		"leading space":       " http://host.example/",
		"no-break space":      "http://host.example/a\u00a0b",
		"newline":             "http://host.example/\n",
		"CR LF":               "http://host.example/\r\nHost: evil",
		"tab":                 "http://ho\tst.example/",
		"NUL":                 "http://host.example/\x00",
		"DEL":                 "http://host.example/\x7f",
		"C1 control":          "http://host.example/\u009b",
		"line separator":      "http://host.example/\u2028",
		"backslash":           `http://good.example\@evil.example/`,
		"backslash in query":  `http://good.example/?\`,
		"invalid UTF-8":       "http://host.example/\xff",
		"bad escape":          "http://host.example/%zz",
		"zone identifier":     "http://[fe80::1%25eth0]/",
		"number for a host":   "http://2130706433/",
		"octal host":          "http://0177.0.0.1/",
		"port 0":              "http://host.example:0/",
		"port 65536":          "http://host.example:65536/",
		"empty port":          "http://host.example:/",
		"bracketed name":      "http://[host.example]/",
		"2049 bytes, dots":    "http://host.example/" + strings.Repeat("./", 1015),
		"2049 bytes":          "http://host.example/" + strings.Repeat("x", 2029),
		"2049 bytes, encoded": "http://host.example/" + strings.Repeat("é", 700),
	}
	for name, raw := range tests {
		got, err := ParseURL(raw)
		var refused *origin.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: got %v, %v, want an *origin.Error", name, got, err)
			continue
		}
		if refused.Code() != "invalid_url" || strings.Contains(err.Error(), "canary") || strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("%s: error %q with code %s", name, err, refused.Code())
		}
	}
	if _, err := ParseURL("http://host.example/" + strings.Repeat("x", 2028)); err != nil {
		t.Errorf("2048 bytes: %v", err)
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"https://host.example/a/../b?c=d#e", "http://[::1]:8080", "HTTP://ＨＯＳＴ.example.:80/%2e%2e/", "http://a@b", `http://a\b`,
		"http://a/?é\"<>", "http://a/;;//./..//", "http://1.2.3.4:65535/?", "http://xn--a/", "http://a_b/%", "https://a/%2f%c3%bc/ü"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			var refused *origin.Error
			if !errors.As(err, &refused) {
				t.Errorf("error %T", err)
			}
			return
		}
		checkCanonical(t, u)
	})
}

// checkCanonical holds u against what the rest of the house relies on.
func checkCanonical(t *testing.T, u *url.URL) {
	t.Helper()
	s := u.String()
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		t.Errorf("not plain: %q", s)
	}
	o, err := origin.Of(u)
	if err != nil || u.User != nil || !strings.HasPrefix(s, o.String()+"/") {
		t.Errorf("%q: origin %v, %v, user %v", s, o, err, u.User)
	}
	if len(s) > maxURL {
		return
	}
	again, err := ParseURL(s)
	if err != nil || again.String() != s {
		t.Errorf("%q is read again as %v, %v", s, again, err)
	}
	if req, err := http.NewRequest(http.MethodGet, s, nil); err != nil || req.URL.Host != u.Host {
		t.Errorf("%q: request for %v, %v", s, req, err)
	}
}
