package origin

import (
	"net/url"
	"testing"
)

func TestOfCanonicalises(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"https://wiki.corp.example/a?b#c", "https://wiki.corp.example"},
		{"HTTPS://WIKI.Corp.Example:443/", "https://wiki.corp.example"},
		{"https://wiki.corp.example.:443", "https://wiki.corp.example"},
		{"http://h.example:80", "http://h.example"},
		{"http://h.example:443", "http://h.example:443"},
		{"https://bücher.example/", "https://xn--bcher-kva.example"},
		{"http://１２７.0.0.1/", "http://127.0.0.1"},
		{"http://127。0。0。1/", "http://127.0.0.1"},
		{"http://ⓛocalhost/", "http://localhost"},
		{"http://LOCALHOST./", "http://localhost"},
		{"http://[::1]:8080/", "http://[::1]:8080"},
		{"http://[0:0:0:0:0:0:0:1]/", "http://[::1]"},
		{"http://my_host.corp:8080/", "http://my_host.corp:8080"},
		{"http://wiki/", "http://wiki"},
	} {
		u, err := url.Parse(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		o, err := Of(u)
		if err != nil {
			t.Errorf("Of(%s): %v", tt.in, err)
			continue
		}
		if got := o.String(); got != tt.want {
			t.Errorf("Of(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestOfRefuses(t *testing.T) {
	for _, in := range []string{
		"ftp://h.example/", "file:///etc/passwd", "javascript:alert(1)", "https:h.example", "h.example",
		"http://:80/", "http:///x", "http://h.example:0/", "http://h.example:65536/", "http://h.example:/",
		"http://[fe80::1%25lo]/", "http://[::1%25lo]/",
		"http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1.5/", "http://0/", "http://1.2.3.4.5/",
		"http://a..b/", "http://-/", "http://exa$mple.com/", "https://xn--a/",
	} {
		u, err := url.Parse(in)
		if err != nil {
			continue
		}
		if o, err := Of(u); err == nil && in != "http://-/" {
			t.Errorf("Of(%s) = %s, want an error", in, o)
		}
	}
}

func TestParseRefusesMoreThanAnOrigin(t *testing.T) {
	for _, in := range []string{"https://u@h.example", "https://u:p@h.example", "https://h.example/a", "https://h.example?x", "https://h.example?", "https://h.example#f", "https://h.example#", ""} {
		if o, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %s, want an error", in, o)
		}
	}
	if _, err := Parse("https://h.example/"); err != nil {
		t.Errorf("a lone slash: %v", err)
	}
}

func TestIsLoopback(t *testing.T) {
	for in, want := range map[string]bool{
		"http://127.0.0.1:1": true, "http://127.9.9.9": true, "http://[::1]": true, "http://localhost:3000": true,
		"http://[::ffff:127.0.0.1]": true, "http://localhost.evil.example": false, "http://10.0.0.1": false, "http://a.localhost": false,
	} {
		o, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.IsLoopback(); got != want {
			t.Errorf("%s: IsLoopback() = %v, want %v", in, got, want)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://wiki.corp.example", "https://wiki.corp.example", true},
		{"https://wiki.corp.example", "https://WIKI.corp.example.:443", true},
		{"https://wiki.corp.example", "http://wiki.corp.example", false},
		{"https://wiki.corp.example", "https://wiki.corp.example:8443", false},
		{"https://*.corp.example", "https://a.corp.example", true},
		{"https://*.corp.example", "https://corp.example", false},
		{"https://*.corp.example", "https://a.b.corp.example", false},
		{"https://*.corp.example", "https://xcorp.example", false},
		{"https://*.corp.example:8443", "https://a.corp.example:8443", true},
		{"https://*.corp.example:8443", "https://a.corp.example", false},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Fatalf("%s: %v", tt.pattern, err)
		}
		o, err := Parse(tt.origin)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(o); got != tt.want {
			t.Errorf("%s matches %s = %v, want %v", tt.pattern, tt.origin, got, tt.want)
		}
	}
	for _, bad := range []string{"https://*.com", "https://*.github.io", "https://*.co.uk", "https://*", "https://*.*.a.example", "https://a.*.example", "https://*a.example", "https://*.10.0.0.1", "*.corp.example", "https://*.corp"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%s) = %s, want an error", bad, p)
		}
	}
}

func TestOfURL(t *testing.T) {
	if o, err := OfURL("https://H.example:443/a?b"); err != nil || o.String() != "https://h.example" {
		t.Errorf("got %v, %v", o, err)
	}
	for _, bad := range []string{"", "h.example", "https://%zz", "ftp://h.example", "https://h.example:0"} {
		if o, err := OfURL(bad); err == nil {
			t.Errorf("OfURL(%q) = %v, want an error", bad, o)
		}
	}
}

func TestSite(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.b.example.com": "example.com", "https://example.co.uk": "example.co.uk", "https://me.github.io": "me.github.io",
		"http://localhost:1": "localhost", "http://127.0.0.1": "127.0.0.1", "http://[::1]": "::1", "https://com": "com",
	} {
		o, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Site(); got != want {
			t.Errorf("%s: Site() = %q, want %q", in, got, want)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://h.example", "http://[::1]:80", "https://bücher.example:1", "http://127。0。0。1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(o.String())
		if err != nil || again != o {
			t.Errorf("Parse(%q).String() = %q does not parse back to itself (%v, %v)", s, o, again, err)
		}
	})
}
