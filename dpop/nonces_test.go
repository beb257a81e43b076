package dpop_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/dpop"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
)

func at(t *testing.T, raw string) origin.Origin {
	t.Helper()
	o, err := origin.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func given(values ...string) http.Header { return http.Header{"Dpop-Nonce": values} }

func TestNoncesAreForOnePrincipalAndOrigin(t *testing.T) {
	var n dpop.Nonces
	site := at(t, "https://site.example")
	if got := n.Get("alice", site); got != "" {
		t.Errorf("before any: got %q", got)
	}
	n.Note("alice", site, given("one"), "")
	for _, tt := range []struct {
		principal principal.ID
		origin    string
		want      string
	}{
		{"alice", "https://site.example", "one"},
		{"alice", "https://site.example:443", "one"},
		{"bob", "https://site.example", ""},
		{"", "https://site.example", ""},
		{"alice", "http://site.example", ""},
		{"alice", "https://site.example:8443", ""},
		{"alice", "https://www.site.example", ""},
	} {
		if got := n.Get(tt.principal, at(t, tt.origin)); got != tt.want {
			t.Errorf("%s at %s: got %q, want %q", tt.principal, tt.origin, got, tt.want)
		}
	}
	n.Note("alice", site, given("two"), "one")
	n.Note("alice", site, http.Header{}, "two") // an answer without one changes nothing
	if got := n.Get("alice", site); got != "two" {
		t.Errorf("the newest: got %q, want two", got)
	}
}

func TestNoncesSayWhatIsFresh(t *testing.T) {
	site := at(t, "https://site.example")
	for _, tt := range []struct {
		name   string
		header http.Header
		used   string
		fresh  bool
		kept   string
	}{
		{"first", given("new"), "", true, "new"},
		{"another", given("new"), "old", true, "new"},
		{"the same", given("old"), "old", false, "old"},
		{"none", http.Header{}, "old", false, "before"},
		{"empty", given(""), "old", false, "before"},
		{"two", given("new", "newer"), "old", false, "before"},
		{"the same twice", given("new", "new"), "old", false, "before"},
		{"space", given("a b"), "old", false, "before"},
		{"quote", given(`a"b`), "old", false, "before"},
		{"backslash", given(`a\b`), "old", false, "before"},
		{"control", given("a\x7f"), "old", false, "before"},
		{"line break", given("a\r\nX: y"), "old", false, "before"},
		{"not ASCII", given("é"), "old", false, "before"},
		{"every sign that is allowed", given("!#$%&'()*+,-./:;<=>?@[]^_`{|}~aZ09"), "old", true, "!#$%&'()*+,-./:;<=>?@[]^_`{|}~aZ09"},
		{"as long as may be", given(strings.Repeat("n", 1024)), "old", true, strings.Repeat("n", 1024)},
		{"longer", given(strings.Repeat("n", 1025)), "old", false, "before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n dpop.Nonces
			n.Note("alice", site, given("before"), "")
			if got := n.Note("alice", site, tt.header, tt.used); got != tt.fresh {
				t.Errorf("fresh: got %v, want %v", got, tt.fresh)
			}
			if got := n.Get("alice", site); got != tt.kept {
				t.Errorf("kept %q, want %q", got, tt.kept)
			}
		})
	}
}

func TestNoncesAreBounded(t *testing.T) {
	var n dpop.Nonces
	var origins []origin.Origin
	for k := range 2000 {
		o := at(t, fmt.Sprintf("https://site%d.example", k))
		origins = append(origins, o)
		n.Note("alice", o, given("x"), "")
		if n.Get("alice", o) != "x" {
			t.Fatalf("the newest of %d is not kept", k)
		}
	}
	kept := 0
	for _, o := range origins {
		if n.Get("alice", o) != "" {
			kept++
		}
	}
	if kept != 512 {
		t.Errorf("kept %d, want 512", kept)
	}
	last := origins[len(origins)-1]
	n.Note("alice", last, given("y"), "x") // one that is known displaces no other
	after := 0
	for _, o := range origins {
		if n.Get("alice", o) != "" {
			after++
		}
	}
	if after != kept || n.Get("alice", last) != "y" {
		t.Errorf("after a renewal: %d kept, want %d", after, kept)
	}
}

func TestNoncesConcurrently(t *testing.T) {
	var n dpop.Nonces
	var wg sync.WaitGroup
	site := at(t, "https://site.example")
	for k := range 8 {
		wg.Go(func() {
			for range 100 {
				n.Note(principal.ID(fmt.Sprint(k)), site, given("x"), "")
				n.Get("0", site)
			}
		})
	}
	wg.Wait()
}
