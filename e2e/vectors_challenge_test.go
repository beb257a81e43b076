package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// challenged is a site that sends these WWW-Authenticate lines with 401, in which {meta} is the
// address of its metadata, and {evil} one at the site too that names the trap as its issuer. At the
// well-known address there is nothing.
func challenged(lines ...string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		o.resource.Metadata = "none"
		o.resource.Handle = map[string]http.HandlerFunc{
			"/meta": s.document("{GOOD}", func() object {
				return object{"resource": s.site.URL, "authorization_servers": []string{s.issuer.URL}}
			}),
			"/evil": s.document("{GOOD}", func() object {
				return object{"resource": s.site.URL, "authorization_servers": []string{s.trap.URL}}
			}),
		}
		o.resource.Challenge = func(*http.Request) []string { return s.lines(lines) }
	}
}

// fallback is the same of a site whose metadata is at the well-known address as well.
func fallback(lines ...string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		challenged(lines...)(s, o)
		o.resource.Metadata = "root"
	}
}

func (s *stage) lines(templates []string) []string {
	r := strings.NewReplacer("{meta}", `"`+s.site.URL+`/meta"`, "{evil}", `"`+s.site.URL+`/evil"`, "{site}", strings.TrimPrefix(s.site.URL, "https"))
	lines := slices.Clone(templates)
	for i := range lines {
		lines[i] = r.Replace(lines[i])
	}
	return lines
}

// askedFor checks which of the two metadata addresses the site was asked for.
func askedFor(meta, evil bool) func(*stage, *agent, answer) {
	return func(s *stage, _ *agent, _ answer) {
		if got := len(s.heardBy("resource", "/meta")) > 0; got != meta {
			s.t.Errorf("/meta was asked for: %t, want %t", got, meta)
		}
		if got := len(s.heardBy("resource", "/evil")) > 0; got != evil {
			s.t.Errorf("/evil was asked for: %t, want %t", got, evil)
		}
	}
}

func challengeVectors() []vector {
	const page = "page"
	good := func(id, what string, lines ...string) row {
		return row{id: id, what: what, set: challenged(lines...), want: page, then: askedFor(true, false)}
	}
	skipped := func(id, what string, lines ...string) row {
		return row{id: id, what: what, set: fallback(lines...), want: page, then: askedFor(false, false)}
	}
	foreign := func(id, what string, lines ...string) row {
		return row{id: id, what: what, set: fallback(lines...), want: "http_401", quiet: true, then: func(s *stage, a *agent, got answer) {
			askedFor(false, false)(s, a, got)
			if n := s.log.Count("resource", "", "/.well-known/"); n > 0 {
				s.t.Errorf("the site was asked for metadata %d times", n)
			}
		}}
	}
	vs := rows(
		good("W01", "Basic and Bearer on two lines", `Basic realm="x"`, `Bearer resource_metadata={meta}`),
		good("W01", "Bearer and Basic on two lines", `Bearer resource_metadata={meta}`, `Basic realm="x"`),
		good("W02", "Basic and Bearer on one line", `Basic realm="x", Bearer resource_metadata={meta}`),
		good("W02", "Digest with lists before Bearer", `Digest realm="x", qop="auth, auth-int", algorithm=SHA-256, nonce="a,b", Bearer error="invalid_token", resource_metadata={meta}`),
		good("W02", "empty elements", `, ,, Bearer ,resource_metadata={meta},,`),
		good("W03", "Negotiate with a token before Bearer", `Negotiate YWJj==, Bearer resource_metadata={meta}`),
		good("W03", "NTLM with a token before Bearer", `NTLM TlRMTVNTUAAB, Bearer resource_metadata={meta}`),
		good("W03", "Bearer before Negotiate with a token", `Bearer resource_metadata={meta}, Negotiate YWJj==`),
		foreign("W04", "Negotiate alone", `Negotiate`),
		foreign("W04", "NTLM and Negotiate alone", `NTLM`, `Negotiate YWJj==`),
		foreign("W04", "Basic alone", `Basic realm="`+plea+`"`),
		foreign("W04", "an unknown scheme alone", `Harbour pilot="`+plea+`"`),
		good("W05", "a backslash at the end of a text", `Bearer realm="a\\", resource_metadata={meta}`),
		good("W05", "an escaped quote", `Bearer realm="a\"b", resource_metadata={meta}`),
		good("W05", "escapes within the address", `Bearer resource_metadata="\h\t\t\p\s{site}/meta"`),
		good("W06", "a parameter within a text", `Bearer realm="x, resource_metadata=/evil, y", resource_metadata={meta}`),
		good("W06", "a challenge within a text", `Basic realm="x\", Bearer resource_metadata=\"/evil", Bearer resource_metadata={meta}`),
		good("W06", "a parameter with a longer name", `Bearer x_resource_metadata={evil}, resource_metadata_x={evil}, resource_metadata={meta}`),
		skipped("W07", "the same parameter twice", `Bearer resource_metadata={meta}, resource_metadata={evil}`),
		skipped("W07", "the same parameter twice, in other case", `Bearer resource_metadata={meta}, RESOURCE_METADATA={evil}`),
		good("W07", "a challenge with a parameter twice before a good one", `Bearer resource_metadata={evil}, resource_metadata={evil}`, `Bearer resource_metadata={meta}`),
		skipped("W08", "a parameter with a star", `Bearer resource_metadata*=UTF-8''https%3A%2F%2Fh.example`),
		good("W09", "a comma left out in another challenge", `Bearer error="x" scope="y" resource_metadata={evil}`, `Bearer resource_metadata={meta}`),
		skipped("W10", "a text without end", `Bearer resource_metadata="https://127.0.0.1/evil`),
		good("W10", "a text without end on another line", `Bearer realm="x, resource_metadata=/evil`, `Bearer resource_metadata={meta}`),
		skipped("W10", "an equals sign and nothing", `Bearer resource_metadata=`),
		good("W11", "bearer", `bearer resource_metadata={meta}`),
		good("W11", "BEARER and its parameter", `BEARER RESOURCE_METADATA={meta}`),
		good("W11", "an unknown scheme before", `Harbour pilot=1, Bearer resource_metadata={meta}`),
		good("W11", "tabs and spaces", "Bearer \t resource_metadata = {meta} \t"),
		foreign("W11", "a scheme that begins with Bearer", `BearerX realm="x"`),
		foreign("W11", "a word of Bearer within another scheme", `Basic realm="Bearer resource_metadata=x"`),
		row{id: "W12", what: "20000 challenges", set: fallback(strings.Repeat(`Basic realm="x", `, 3000) + `Bearer resource_metadata={evil}`), want: "http_401", quiet: true, then: askedFor(false, false)},
		row{id: "W12", what: "60000 commas", set: fallback(strings.Repeat(",", 60000) + `Bearer resource_metadata={meta}`), want: page},
		row{id: "W12", what: "60000 quotes", set: fallback("Bearer " + strings.Repeat(`"`, 60000)), want: page},
		row{id: "W12", what: "a megabyte", set: fallback(`Bearer realm="` + strings.Repeat("a", 1<<20) + `"`), want: "network.protocol", quiet: true},
		row{id: "W15", what: "a challenge with a page that is there", set: func(s *stage, o *scene) {
			challenged()(s, o)
			o.resource.Public = []string{"/"}
			o.resource.Pages = map[string]oauthtest.Page{"/docs/handbook": {Body: []byte("# nothing"), Status: 404, Header: http.Header{"Www-Authenticate": {`Bearer resource_metadata="https://127.0.0.1/evil"`}}}}
		}, want: "http_404", quiet: true, then: askedFor(false, false)},
		row{id: "W16", what: "a description that is a plea", set: challenged(`Bearer error="` + plea + `", error_description="` + plea + `", realm="` + plea + `", error_uri="https://bank.example/` + plea + `", resource_metadata={meta}`), want: page, then: askedFor(true, false)},
		row{id: "W16", what: "a description that is a plea, with no metadata", set: challenged(`Bearer error="invalid_token", error_description="` + plea + `"`), want: "oauth.no_issuer", quiet: true},
	)
	for _, v := range []struct {
		what, scope string
		want        []string
	}{
		{"letters", "docs.read docs.write", []string{"docs.read", "docs.write"}},
		{"the same twice", "a b a", []string{"a", "b"}},
		{"everything", "*", []string{"*"}},
		{"1000", numbered(1000), strings.Fields(numbered(32))},
		{"quotes and backslashes", `a \"b c\\d`, []string{"a"}},
		{"other letters", "a é \u202eb", []string{"a"}},
		{"one that is long", "a " + strings.Repeat("x", 129), []string{"a"}},
		{"of nothing but spaces", "   ", nil},
	} {
		vs = append(vs,
			vector{"W13", "scopes: " + v.what, scopeVector(v.scope, nil, v.want)},
			vector{"W13", "scopes beyond the config's: " + v.what, scopeVector(v.scope, []string{"docs.read"}, []string{"docs.read"})})
	}
	return append(vs, vector{"W14", "more scopes without end", stepsUp})
}

func numbered(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("s%d", i)
	}
	return strings.Join(all, " ")
}

// scopeVector: what the site's challenge asks for, what the config lets it have, and what the issuer is asked for.
func scopeVector(scope string, configured, want []string) func(t *testing.T) {
	return func(t *testing.T) {
		s := newStage(t, func(s *stage, o *scene) {
			challenged(`Bearer scope="`+scope+`", resource_metadata={meta}`)(s, o)
			o.strangers = false
			o.issuer.AutoApprove = true
		})
		if configured != nil {
			s.name("sites", s.site.URL, object{"oauth": object{"scopes": configured}})
		}
		got := s.ask(s.agent())
		s.callback(got.Login.URL)
		asked := s.heardBy("issuer", "/authorize")
		if len(asked) != 1 {
			t.Fatalf("%d authorization requests", len(asked))
		}
		if has := strings.Fields(asked[0].Query.Get("scope")); !slices.Equal(has, want) || asked[0].Query.Has("scope") != (want != nil) {
			t.Errorf("the issuer is asked for %q, want %q", has, want)
		}
	}
}

// stepsUp: a site that always wants one scope more gets no more than two more sign-ins out of the person.
func stepsUp(t *testing.T) {
	s := newStage(t, func(s *stage, o *scene) {
		o.strangers = true
		o.issuer.AutoApprove = true
		n := 0
		o.resource.Handle = map[string]http.HandlerFunc{"/docs/handbook": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+s.site.URL+resourceDocument+`"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			n++
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="s%d", resource_metadata="%s%s"`, n, s.site.URL, resourceDocument))
			w.WriteHeader(http.StatusForbidden)
		}}
	})
	a := s.agent()
	signIns := 0
	for range 6 {
		got := a.fetch(s.page(), 0)
		if got.Status != "login_required" {
			if got.ErrorCode != "http_403" {
				t.Errorf("got %+v in the end, want http_403", got)
			}
			break
		}
		signIns++
		must(t, s.person.Continue(t.Context(), got.Login.URL))
	}
	if signIns < 2 || signIns > 3 {
		t.Errorf("the person had to sign in %d times, want at most 3", signIns)
	}
}
