package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		documented, full, string(Example()), "", "{", "[[[[", "\xff\xfe{\x00", "\xef\xbb\xbf{}", "{} //", "{\"mtls\": {\"ä\": {\"key\": 1}}}", "{\"login\": {\"port\": 1e400}}",
		`{"sites": {"https://a": {"headers": {"A": "{env:NAME}{env:", "a": "\u0000"}}, "HTTPS://A:443": {"mtls": "x"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// A reference may name any file of the machine, also one that is slow or alive.
		if bytes.Contains(data, []byte("file")) {
			data = bytes.ReplaceAll(data, []byte("file"), []byte("fil"))
		}
		c, err := load(file{path: "c.jsonc", data: data}, testEnv, "/home/u")
		if err == nil {
			for _, s := range c.Sites {
				if exact, ok := s.Pattern.Exact(); ok && c.Site(exact) == nil {
					t.Errorf("the site %s is not found again", s.Pattern)
				}
			}
			return
		}
		all, ok := errors.AsType[Errors](err)
		if !ok || c != nil || len(all) == 0 || len(all) > maxErrors {
			t.Fatalf("config %v, error %#v", c, err)
		}
		lines := strings.Split(strings.TrimPrefix(string(data), "\xef\xbb\xbf"), "\n")
		last := 0
		for _, e := range all {
			if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > utf8.RuneCountInString(lines[e.Line-1])+1 {
				t.Errorf("%v: the position is not in the file", e)
			}
			if e.Line < last {
				t.Errorf("%v: not in the order of the file", e)
			}
			last = e.Line
			if text := e.Error(); strings.ContainsAny(text, "\x00\x1b\n\r") || !utf8.ValidString(text) {
				t.Errorf("the message is not one clean line: %q", text)
			}
		}
	})
}
