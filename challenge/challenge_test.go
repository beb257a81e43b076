package challenge

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func only(scheme string, params ...string) []Challenge { return []Challenge{of(scheme, params...)} }

func of(scheme string, params ...string) Challenge {
	c := Challenge{Scheme: scheme}
	for i := 0; i < len(params); i += 2 {
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		c.Params[params[i]] = params[i+1]
	}
	return c
}

var vectors = []struct {
	name   string
	values []string
	want   []Challenge
}{
	{"no header", nil, nil},
	{"empty line", []string{""}, nil},
	{"scheme alone", []string{`Bearer`}, only("Bearer")},
	{"scheme case is kept", []string{`bEARER realm="x"`}, only("bEARER", "realm", "x")},
	{"parameter name case", []string{`Bearer REALM="x"`}, only("Bearer", "realm", "x")},
	{"two schemes", []string{`Basic realm="x", Bearer resource_metadata="https://h/m"`},
		[]Challenge{of("Basic", "realm", "x"), of("Bearer", "resource_metadata", "https://h/m")}},
	{"two lines", []string{`Basic realm="x"`, `Bearer resource_metadata="https://h/m"`},
		[]Challenge{of("Basic", "realm", "x"), of("Bearer", "resource_metadata", "https://h/m")}},
	{"same scheme twice", []string{`Bearer a=1, Bearer b=2`}, []Challenge{of("Bearer", "a", "1"), of("Bearer", "b", "2")}},
	{"bare scheme then Bearer", []string{`Negotiate`, `Bearer realm="x"`}, []Challenge{of("Negotiate"), of("Bearer", "realm", "x")}},
	{"bare schemes in one line", []string{`Negotiate, NTLM, Bearer`}, []Challenge{of("Negotiate"), of("NTLM"), of("Bearer")}},
	{"Digest behind Bearer", []string{`Bearer scope="a b", Digest realm="x", qop="auth, auth-int", nonce="n", stale=FALSE`},
		[]Challenge{of("Bearer", "scope", "a b"), of("Digest", "realm", "x", "qop", "auth, auth-int", "nonce", "n", "stale", "FALSE")}},
	{"unknown scheme before Bearer", []string{`Cloudflare-Access resource_metadata="https://h/m", Bearer realm="x"`},
		[]Challenge{of("Cloudflare-Access", "resource_metadata", "https://h/m"), of("Bearer", "realm", "x")}},
	{"Bearer behind an unknown scheme with parameters", []string{`Foo a="1", b=2,BEARER resource_metadata="https://h/m"`},
		[]Challenge{of("Foo", "a", "1", "b", "2"), of("BEARER", "resource_metadata", "https://h/m")}},
	{"RFC 6750", []string{`Bearer realm="example", error="invalid_token", error_description="The access token expired"`},
		only("Bearer", "realm", "example", "error", "invalid_token", "error_description", "The access token expired")},
	{"RFC 9470", []string{`Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR", max_age=5`},
		only("Bearer", "error", "insufficient_user_authentication", "error_description", "A different authentication level is required", "acr_values", "myACR", "max_age", "5")},
	{"RFC 9449, either will do", []string{`Bearer, DPoP algs="ES256", error="invalid_token", scope="a b"`},
		[]Challenge{of("Bearer"), of("DPoP", "algs", "ES256", "error", "invalid_token", "scope", "a b")}},
	{"name of the header in front", []string{`WWW-Authenticate: Bearer realm="x", Basic realm="y"`}, only("Basic", "realm", "y")},
	{"DPoP", []string{`DPoP error="use_dpop_nonce", algs="ES256 PS256"`}, only("DPoP", "error", "use_dpop_nonce", "algs", "ES256 PS256")},

	{"token68 with padding", []string{`Negotiate YIIabc==`}, []Challenge{{Scheme: "Negotiate", Token68: "YIIabc=="}}},
	{"token68 with one pad", []string{`Negotiate YIIab=`}, []Challenge{{Scheme: "Negotiate", Token68: "YIIab="}}},
	{"token68 without padding", []string{`NTLM TlRMTVNTUAACAAAA`}, []Challenge{{Scheme: "NTLM", Token68: "TlRMTVNTUAACAAAA"}}},
	{"token68 first", []string{`Negotiate YWJj==, Bearer scope="a"`}, []Challenge{{Scheme: "Negotiate", Token68: "YWJj=="}, of("Bearer", "scope", "a")}},
	{"token68 last", []string{`Bearer scope="a", NTLM a+/b==`}, []Challenge{of("Bearer", "scope", "a"), {Scheme: "NTLM", Token68: "a+/b=="}}},
	{"parameter behind token68 is left out", []string{`NTLM abc, realm="x"`}, []Challenge{{Scheme: "NTLM", Token68: "abc"}}},
	{"token68 in a line before", []string{`Negotiate YWJj==`, `Bearer resource_metadata="https://h/m"`},
		[]Challenge{{Scheme: "Negotiate", Token68: "YWJj=="}, of("Bearer", "resource_metadata", "https://h/m")}},
	{"token68 and a parameter without a comma", []string{`NTLM abc realm="x", Basic realm="y"`}, only("Basic", "realm", "y")},
	{"token68 twice", []string{`NTLM abc def, Basic realm="y"`}, only("Basic", "realm", "y")},
	{"padding alone is no token68", []string{`NTLM ==, Basic realm="x"`}, []Challenge{of("Basic", "realm", "x")}},

	{"empty quoted value", []string{`Bearer error_description="", scope="a"`}, only("Bearer", "error_description", "", "scope", "a")},
	{"comma in quotes", []string{`Bearer realm="a, Basic b=c", scope="s"`}, only("Bearer", "realm", "a, Basic b=c", "scope", "s")},
	{"escaped quote", []string{`Bearer realm="a \"b\", Basic", scope="s"`}, only("Bearer", "realm", `a "b", Basic`, "scope", "s")},
	{"escaped backslash before the closing quote", []string{`Bearer realm="a\\", resource_metadata="https://h/m"`},
		only("Bearer", "realm", `a\`, "resource_metadata", "https://h/m")},
	{"escaped letter", []string{`Bearer realm="\a\b"`}, only("Bearer", "realm", "ab")},
	{"white space around =", []string{"Bearer realm = \"x\" ,scope\t=\ts"}, only("Bearer", "realm", "x", "scope", "s")},
	{"tab behind the scheme", []string{"Bearer\trealm=\"x\""}, only("Bearer", "realm", "x")},
	{"many spaces behind the scheme", []string{`Bearer    realm="x"`}, only("Bearer", "realm", "x")},
	{"empty list elements", []string{`,, ,Bearer , realm="x",, scope="s" , ,`}, only("Bearer", "realm", "x", "scope", "s")},
	{"unquoted URL", []string{`Bearer resource_metadata=https://h.example/.well-known/x?a=b, scope=s`},
		only("Bearer", "resource_metadata", "https://h.example/.well-known/x?a=b", "scope", "s")},
	{"white space around a quoted value", []string{"Bearer realm=\t \"x\" \t, scope=s"}, only("Bearer", "realm", "x", "scope", "s")},
	{"equals signs in an unquoted value", []string{`Bearer realm=x=y, scope=s`}, only("Bearer", "realm", "x=y", "scope", "s")},
	{"commas first and doubled, no spaces", []string{`,Bearer realm="x",,resource_metadata="https://h/m"`}, only("Bearer", "realm", "x", "resource_metadata", "https://h/m")},
	{"value left empty", []string{`Bearer realm="x", error=, scope=s`}, only("Bearer", "realm", "x", "error", "", "scope", "s")},
	{"UTF-8 value", []string{`Basic realm="Zürich"`}, only("Basic", "realm", "Zürich")},
	{"invalid UTF-8 value", []string{"Basic realm=\"Z\xfcrich\""}, only("Basic", "realm", "Z\uFFFDrich")},
	{"control characters become spaces", []string{"Bearer realm=\"a\x1b[31m\tb\u009b\x7f\""}, only("Bearer", "realm", "a [31m b  ")},

	{"parameter named twice", []string{`Bearer resource_metadata="https://h/1", resource_metadata="https://h/2", Basic realm="x"`}, only("Basic", "realm", "x")},
	{"parameter named twice in two cases", []string{`Bearer scope="a", Scope="b"`}, nil},
	{"parameter named again in another challenge", []string{`Basic realm="a", Bearer realm="b"`}, []Challenge{of("Basic", "realm", "a"), of("Bearer", "realm", "b")}},
	{"no comma between parameters", []string{`Bearer error="x" scope="y", Basic realm="z"`}, only("Basic", "realm", "z")},
	{"no comma between later parameters", []string{`Bearer realm="a", error="x" scope="y", scope="z", Basic realm="b"`}, only("Basic", "realm", "b")},
	{"no comma between unquoted parameters", []string{`Bearer error=x scope=y`, `Basic realm="z"`}, only("Basic", "realm", "z")},
	{"no comma in the challenge behind", []string{`Basic realm="z", Bearer error="x" scope="y"`}, only("Basic", "realm", "z")},
	{"quote left open", []string{`Bearer realm="x, Basic realm=y, Digest`}, nil},
	{"quote left open behind a whole challenge", []string{`Basic realm="x", Bearer realm="y, Digest realm=z`}, only("Basic", "realm", "x")},
	{"quote left open in one of two lines", []string{`Bearer realm="x`, `Basic realm="y"`}, only("Basic", "realm", "y")},
	{"quote left open by a trailing backslash", []string{`Bearer realm="x\`}, nil},
	{"quote closed by an escaped quote only", []string{`Bearer realm="x\", Basic realm=y`}, nil},
	{"quotes inside a quoted value", []string{`Bearer realm="the "x" site", scope="a", Basic realm="y"`}, only("Basic", "realm", "y")},
	{"quote inside an unquoted value", []string{`Bearer realm=a"b, Basic realm="c", Digest`}, nil},
	{"no scheme", []string{`realm="x", Bearer scope="a"`}, only("Bearer", "scope", "a")},
	{"parameters do not cross lines", []string{`Bearer realm="x"`, `scope="a"`}, only("Bearer", "realm", "x")},
	{"not a token", []string{`@@@, Bearer realm="x"`}, only("Bearer", "realm", "x")},
	{"not a token behind a scheme", []string{`Bearer @@@, Basic realm="x"`}, only("Basic", "realm", "x")},
	{"not a token between parameters", []string{`Bearer realm="x", "y", Basic realm="x"`}, only("Basic", "realm", "x")},
	{"scheme with a slash", []string{`Bearer/1 realm="x", scope="a", Basic realm="y"`}, only("Basic", "realm", "y")},
	{"unquoted value beyond ASCII", []string{`Bearer realm=Zürich, Basic realm="x"`}, only("Basic", "realm", "x")},
	{"NUL outside quotes", []string{"Bearer\x00 realm=x, Basic realm=\"x\""}, only("Basic", "realm", "x")},
}

func TestParse(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Parse(tt.values)); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.values, diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Run("challenges", func(t *testing.T) {
		want := MaxChallenges
		if got := len(Parse([]string{strings.Repeat("Basic realm=x,", 100)})); got != want {
			t.Errorf("one line: %d challenges, want %d", got, want)
		}
		if got := len(Parse(slices.Repeat([]string{"Basic realm=x, NTLM"}, 100))); got != want {
			t.Errorf("many lines: %d challenges, want %d", got, want)
		}
	})
	t.Run("skipped challenges do not count", func(t *testing.T) {
		got := Parse([]string{strings.Repeat("Basic a b,", 100) + "Bearer"})
		if diff := cmp.Diff(only("Bearer"), got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("bytes of one line", func(t *testing.T) {
		head := `Bearer scope="a", x="` + strings.Repeat("x", MaxHeaderBytes-30) + `"`
		got := Parse([]string{head + `, resource_metadata=https://h.example/whole`})
		if len(got) != 1 || got[0].Params["scope"] != "a" || len(got[0].Params["x"]) == 0 {
			t.Fatalf("the part within the limit was not kept: %d challenges", len(got))
		}
		if u, ok := got[0].Params["resource_metadata"]; ok {
			t.Errorf("a value cut in the middle was kept: %q", u)
		}
	})
	t.Run("bytes of all lines", func(t *testing.T) {
		got := Parse([]string{"Basic realm=x", strings.Repeat(" ", MaxHeaderBytes), "Bearer"})
		if diff := cmp.Diff(only("Basic", "realm", "x"), got); diff != "" {
			t.Error(diff)
		}
	})
}

// hostile are pieces of headers that parsers have choked on.
var hostile = map[string]string{
	"commas":          ",",
	"open quotes":     `"`,
	"backslashes":     `"\`,
	"equals signs":    "=",
	"spaces":          " ",
	"token":           "a",
	"parameters":      "a=b,",
	"empty quotes":    `a="",`,
	"schemes":         "a,",
	"broken schemes":  "a b c,",
	"open quote each": `a b="`,
	"token68":         "a b==,",
	"percent signs":   "%",
}

// A header twice as long takes twice the work: each byte is in one element, an element is read but
// once, and memory grows with the header at most.
func TestWorkGrowsWithTheHeader(t *testing.T) {
	const small, factor = 4 << 10, 16
	for name, piece := range hostile {
		work := func(size int) (looked int, allocated uint64) {
			line := "Bearer x=" + strings.Repeat(piece, size/len(piece))
			for rest, more := line, true; more; {
				var element string
				element, rest, more = cutElement(rest)
				looked += len(element) + 1
			}
			if looked != len(line)+1 {
				t.Errorf("%s: the elements of %d bytes have %d", name, len(line), looked-1)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var p parser
			p.line(line, false)
			runtime.ReadMemStats(&after)
			return looked, after.TotalAlloc - before.TotalAlloc
		}
		looked, allocated := work(small)
		looked2, allocated2 := work(small * factor)
		if looked2 > factor*looked {
			t.Errorf("%s: %d bytes looked at, and %d in a header %d times as long", name, looked, looked2, factor)
		}
		if allocated2 > 2*factor*(allocated+8<<10) {
			t.Errorf("%s: %d bytes allocated, and %d for a header %d times as long", name, allocated, allocated2, factor)
		}
	}
}

// What lies beyond the limit is not looked at: it cannot change the result, nor cost anything.
func TestBeyondTheLimit(t *testing.T) {
	for name, piece := range hostile {
		header := strings.Repeat(piece, 1<<20/len(piece))
		if diff := cmp.Diff(Parse([]string{header[:MaxHeaderBytes+1]}), Parse([]string{header, `Basic realm="x"`})); diff != "" {
			t.Errorf("%s (-short +long):\n%s", name, diff)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, piece := range hostile {
		b.Run(name, func(b *testing.B) {
			values := []string{strings.Repeat(piece, 1<<20/len(piece))}
			b.ReportAllocs()
			for b.Loop() {
				Parse(values)
			}
		})
	}
}

func TestIsAndFind(t *testing.T) {
	cs := Parse([]string{`Basic realm="x", bearer realm="first", BEARER realm="second"`})
	c, ok := Find(cs, "Bearer")
	if !ok || c.Params["realm"] != "first" || !c.Is("BeArEr") || c.Is("Basic") {
		t.Errorf("Find = %v, %v; want the first bearer", c, ok)
	}
	if c, ok := Find(cs, "DPoP"); ok {
		t.Errorf("Find(DPoP) = %v, want none", c)
	}
}

func TestScopes(t *testing.T) {
	long := strings.Repeat("x", MaxScopeBytes)
	var many, firstMany []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("s%d", i))
	}
	firstMany = many[:MaxScopes]
	for _, tt := range []struct {
		name, header string
		want         []string
	}{
		{"absent", `Bearer`, nil},
		{"empty", `Bearer scope=""`, nil},
		{"two", `Bearer scope="a b"`, []string{"a", "b"}},
		{"unquoted", `Bearer scope=wiki.read`, []string{"wiki.read"}},
		{"spaces", `Bearer scope="  a   b "`, []string{"a", "b"}},
		{"duplicates", `Bearer scope="a b a"`, []string{"a", "b"}},
		{"URL and star", `Bearer scope="https://h/x!y *"`, []string{"https://h/x!y", "*"}},
		{"quote and backslash", `Bearer scope="a \"b c\\d e"`, []string{"a", "e"}},
		{"beyond ASCII", `Bearer scope="a é b"`, []string{"a", "b"}},
		{"long", `Bearer scope="` + long + " " + long + `x b"`, []string{long, "b"}},
		{"many", `Bearer scope="` + strings.Join(many, " ") + `"`, firstMany},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := Find(Parse([]string{tt.header}), "bearer")
			if diff := cmp.Diff(tt.want, c.Scopes()); diff != "" {
				t.Errorf("Scopes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOAuth(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         string // realm
		scopes       []string
	}{
		{"none", `Basic realm="x", Negotiate`, "", nil},
		{"Bearer", `Basic realm="x", bearer realm="y", scope="a b"`, "y", []string{"a", "b"}},
		{"DPoP", `Negotiate, dpop realm="y", scope="a", algs="ES256"`, "y", []string{"a"}},
		{"the first", `DPoP realm="1", scope="a", Bearer realm="2", scope="b"`, "1", []string{"a"}},
		{"the first, the other way round", `Bearer realm="1", scope="b", DPoP realm="2", scope="a"`, "1", []string{"b"}},
		{"of the same scheme", `Bearer realm="1", Bearer realm="2"`, "1", nil},
		{"not one that was skipped", `DPoP realm="1" x, Bearer realm="2"`, "2", nil},
		{"not a name that begins so", `BearerX realm="1", DPoP-2 realm="2"`, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, ok := OAuth(Parse([]string{tt.header}))
			if ok != (tt.want != "") || c.Params["realm"] != tt.want {
				t.Errorf("got %v, %v; want %q", c, ok, tt.want)
			}
			if diff := cmp.Diff(tt.scopes, c.Scopes()); diff != "" {
				t.Errorf("Scopes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestACRValues(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         []string
	}{
		{"absent", `Bearer scope="a"`, nil},
		{"empty", `Bearer acr_values=""`, nil},
		{"in order", `Bearer acr_values="urn:mace:incommon:iap:silver  https://loa.example/2 1 1"`, []string{"urn:mace:incommon:iap:silver", "https://loa.example/2", "1"}},
		{"what is no token", `Bearer acr_values="a\"b c\\d é ok"`, []string{"ok"}},
		{"long", `Bearer acr_values="` + strings.Repeat("x", MaxScopeBytes+1) + ` ok"`, []string{"ok"}},
	} {
		c, _ := OAuth(Parse([]string{tt.header}))
		if diff := cmp.Diff(tt.want, c.ACRValues()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint(i))
	}
	c := of("DPoP", "acr_values", strings.Join(many, " "))
	if diff := cmp.Diff(many[:MaxACRValues], c.ACRValues()); diff != "" {
		t.Errorf("many (-want +got):\n%s", diff)
	}
}

func TestMaxAge(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{`5`, 5 * time.Second, true},
		{`"5"`, 5 * time.Second, true},
		{`0`, 0, true},
		{`007`, 7 * time.Second, true},
		{`31536000`, MaxAuthenticationAge, true},
		{`31536001`, MaxAuthenticationAge, true},
		{`18446744073709551616`, MaxAuthenticationAge, true},
		{strings.Repeat("9", 10_000), MaxAuthenticationAge, true},
		{`""`, 0, false},
		{`-1`, 0, false},
		{`+1`, 0, false},
		{`1.5`, 0, false},
		{`1e3`, 0, false},
		{`0x10`, 0, false},
		{`" 5"`, 0, false},
		{`"٥"`, 0, false},
		{`never`, 0, false},
	} {
		c, _ := OAuth(Parse([]string{`Bearer max_age=` + tt.value}))
		if got, ok := c.MaxAge(); got != tt.want || ok != tt.ok {
			t.Errorf("%.40s: %v, %v; want %v, %v", tt.value, got, ok, tt.want, tt.ok)
		}
	}
	if got, ok := (Challenge{}).MaxAge(); got != 0 || ok {
		t.Errorf("absent: %v, %v", got, ok)
	}
}

func TestResourceMetadata(t *testing.T) {
	for _, tt := range []struct{ name, header, want string }{
		{"absent", `Bearer realm="x"`, ""},
		{"any scheme", `Cloudflare-Access resource_metadata="https://h/m"`, "https://h/m"},
		{"first not empty", `DPoP resource_metadata="", Bearer resource_metadata="https://h/1", Basic resource_metadata="https://h/2"`, "https://h/1"},
		{"not from a skipped challenge", `DPoP resource_metadata="https://h/1" x, Bearer resource_metadata="https://h/2"`, "https://h/2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ResourceMetadata(Parse([]string{tt.header})); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	if len(vectors) == 0 {
		f.Fatal("there are no seeds")
	}
	for _, tt := range vectors {
		f.Add(strings.Join(tt.values, "\n"))
	}
	f.Fuzz(func(t *testing.T, header string) {
		cs := Parse(strings.Split(header, "\n"))
		if len(cs) > MaxChallenges {
			t.Fatalf("%d challenges", len(cs))
		}
		if c, ok := OAuth(cs); ok != (c.Is("Bearer") || c.Is("DPoP")) {
			t.Errorf("OAuth = %v, %v", c, ok)
		}
		for _, c := range cs {
			if token, rest := cutToken(c.Scheme); token == "" || rest != "" {
				t.Errorf("scheme %q is no token", c.Scheme)
			}
			if c.Token68 != "" && (!isToken68(c.Token68) || c.Params != nil) {
				t.Errorf("token68 %q with parameters %q", c.Token68, c.Params)
			}
			for name, value := range c.Params {
				if token, rest := cutToken(name); token == "" || rest != "" || name != strings.ToLower(name) {
					t.Errorf("parameter name %q is no lower-case token", name)
				}
				if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
					t.Errorf("value %q has invalid or control characters", value)
				}
			}
			scopes := c.Scopes()
			for i, s := range scopes {
				if !IsScope(s) || slices.Contains(scopes[:i], s) {
					t.Errorf("scope %q is invalid or there twice", s)
				}
			}
			if len(scopes) > MaxScopes {
				t.Errorf("%d scopes", len(scopes))
			}
			acr := c.ACRValues()
			if len(acr) > MaxACRValues || slices.ContainsFunc(acr, func(s string) bool { return !IsScope(s) }) {
				t.Errorf("acr_values %q", acr)
			}
			if age, ok := c.MaxAge(); age < 0 || age > MaxAuthenticationAge || !ok && age != 0 {
				t.Errorf("max_age %v, %v", age, ok)
			}
			if again := Parse([]string{format(c)}); !cmp.Equal(again, []Challenge{c}) {
				t.Errorf("%q is read again as %q", format(c), again)
			}
		}
	})
}

// format writes a challenge as RFC 9110 has it.
func format(c Challenge) string {
	s := c.Scheme
	if c.Token68 != "" {
		return s + " " + c.Token68
	}
	sep := " "
	for name, value := range c.Params {
		s += sep + name + `="` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(value) + `"`
		sep = ", "
	}
	return s
}
