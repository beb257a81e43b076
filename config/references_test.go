package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{
		filepath.Join(dir, "none"):  "value",
		filepath.Join(dir, "one"):   "value\n",
		filepath.Join(dir, "two"):   "value\n\n",
		filepath.Join(dir, "crlf"):  "value\r\n",
		filepath.Join(dir, "inner"): "a\nb{env:A}\n",
		filepath.Join(dir, "most"):  strings.Repeat("x", maxSecret),
		filepath.Join(home, "home"): "at home\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := places{env: variables(map[string]string{"A": "1", "B_2": "{file:none}", "EMPTY": ""}), dir: dir, home: home}
	for _, tt := range []struct {
		name, in, want string
		literal        bool
	}{
		{"literal", "plain", "plain", true},
		{"other braces", "{x}{", "{x}{", true},
		{"variable", "{env:A}", "1", false},
		{"embedded", "a {env:A} b {env:A}", "a 1 b 1", false},
		{"what comes in is not read again", "{env:B_2}", "{file:none}", false},
		{"empty part", "a{env:EMPTY}", "a", false},
		{"file without line end", "{file:none}", "value", false},
		{"file with one", "{file:one}", "value", false},
		{"file with two keeps one", "{file:two}", "value\n", false},
		{"file with carriage return", "{file:crlf}", "value", false},
		{"file with references keeps them", "{file:inner}", "a\nb{env:A}", false},
		{"absolute", "{file:" + filepath.Join(dir, "one") + "}", "value", false},
		{"home", "{file:~/home}", "at home", false},
		{"largest", "{file:most}", strings.Repeat("x", maxSecret), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, literal, err := p.resolve(tt.in)
			if err != nil || got != tt.want || literal != tt.literal {
				t.Errorf("resolve = %q, %v, %v, want %q, %v", got, literal, err, tt.want, tt.literal)
			}
		})
	}
}
