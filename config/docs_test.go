package config

import (
	"os"
	"strings"
	"testing"
)

// The reference names every key of the schema and every variable.
func TestReferenceNamesEveryKey(t *testing.T) {
	data, err := os.ReadFile("../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var walk func(s *shape)
	keys := 0
	walk = func(s *shape) {
		if s == nil {
			return
		}
		for _, f := range s.fields {
			keys++
			if f.name != "$schema" && !strings.Contains(text, "`"+f.name+"`") && !strings.Contains(text, "."+f.name+"`") && !strings.Contains(text, "`"+f.name+".") && !strings.Contains(text, "## "+f.name) {
				t.Errorf("docs/config.md does not name the key %s", f.name)
			}
			walk(f.shape)
		}
		walk(s.each)
	}
	walk(settings())
	if keys < 20 {
		t.Errorf("only %d keys were found in the schema", keys)
	}
	for _, v := range []string{"CERT", "KEY", "KEY_PASSPHRASE", "CA", "ORIGINS", "BROWSER", "PRIVATE", "CONFIG"} {
		if !strings.Contains(text, "`AUTHFETCH_"+v+"`") {
			t.Errorf("docs/config.md does not name AUTHFETCH_%s", v)
		}
	}
}
