package pkcs11key

import (
	"regexp"
	"strings"
	"testing"
)

func TestCauses(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Causes() {
		if seen[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		seen[c.ID] = true
		if !strings.HasPrefix(c.ID, "pkcs11.") || !strings.HasPrefix(c.Code, "tls.") || c.Says == "" || c.Remedy == "" || strings.HasSuffix(c.Says, ".") {
			t.Errorf("%+v is not of the form", c)
		}
		for _, name := range regexp.MustCompile(`\{\w*\}`).FindAllString(c.Says+c.Remedy, -1) {
			if !strings.Contains("{module} {file} {token} {tokens} {key} {keys} {wanted} {why}", name) {
				t.Errorf("%s: %s is not documented", c.ID, name)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("there are none")
	}
}
