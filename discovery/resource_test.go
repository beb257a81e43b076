package discovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResourceAddresses(t *testing.T) {
	doc := func(resource string) answer { return answer{body: `{"resource":"` + resource + `"}`} }
	wellKnown := protectedResource
	for _, tt := range []struct {
		name       string
		page       string
		advertised string
		answers    map[string]answer
		want       string // resource, or the kind of error
		wantPaths  []string
	}{
		{"advertised", "/a/b?q", "ORIGIN/odd/place?v=1", map[string]answer{"/odd/place?v=1": doc("ORIGIN/a")}, "ORIGIN/a", []string{"/odd/place?v=1"}},
		{"advertised comes before well-known", "/a", "ORIGIN/x", map[string]answer{"/x": doc("ORIGIN"), wellKnown + "/a": doc("ORIGIN/a")}, "ORIGIN", []string{"/x"}},
		{"path", "/a/b?q=1", "", map[string]answer{wellKnown + "/a/b": doc("ORIGIN/a/b")}, "ORIGIN/a/b", []string{wellKnown + "/a/b"}},
		{"path with a slash behind", "/a/", "", map[string]answer{wellKnown + "/a/": doc("ORIGIN/a/")}, "ORIGIN/a/", []string{wellKnown + "/a/"}},
		{"escaped path", "/a%2Fb/%C3%A9", "", map[string]answer{wellKnown + "/a%2Fb/%C3%A9": doc("ORIGIN/a%2Fb/%C3%A9")}, "ORIGIN/a%2Fb/%C3%A9", []string{wellKnown + "/a%2Fb/%C3%A9"}},
		{"root behind path", "/a/b/c", "", map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a/b/c", wellKnown}},
		{"root, resource with a slash", "/a", "", map[string]answer{wellKnown: doc("ORIGIN/")}, "ORIGIN/", []string{wellKnown + "/a", wellKnown}},
		{"page is the root", "/", "", map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown}},
		{"page has no path", "", "", map[string]answer{wellKnown: doc("ORIGIN/")}, "ORIGIN/", []string{wellKnown}},
		{"page with dot segments", "/a/%2e%2e/b", "", map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown}},
		{"nowhere", "/a", "", nil, notFound, []string{wellKnown + "/a", wellKnown}},

		{"advertised relative", "/a", "/x", map[string]answer{"/x": doc("ORIGIN"), wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a", wellKnown}},
		{"advertised script", "/a", "javascript:alert(1)", map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a", wellKnown}},
		{"advertised data", "/a", `data:application/json,{"resource":"x"}`, map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a", wellKnown}},
		{"advertised elsewhere", "/a", "https://other.example/x", map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a", wellKnown}},
		{"advertised with a fragment", "/a", "ORIGIN/x#f", map[string]answer{"/x": doc("ORIGIN"), wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a", wellKnown}},
		{"advertised with a control character", "/a", "ORIGIN/x\n", map[string]answer{wellKnown: doc("ORIGIN")}, "ORIGIN", []string{wellKnown + "/a", wellKnown}},

		{"advertised 404 is final", "/a", "ORIGIN/x", map[string]answer{wellKnown: doc("ORIGIN")}, notFound, []string{"/x"}},
		{"advertised HTML is final", "/a", "ORIGIN/x", map[string]answer{"/x": {contentType: "text/html"}, wellKnown: doc("ORIGIN")}, notFound, []string{"/x"}},
		{"advertised without members is final", "/a", "ORIGIN/x", map[string]answer{"/x": {body: `{}`}, wellKnown: doc("ORIGIN")}, notFound, []string{"/x"}},
		{"advertised redirect away is final", "/a", "ORIGIN/x", map[string]answer{"/x": {status: 302, location: "https://other.example"}, wellKnown: doc("ORIGIN")}, notFound, []string{"/x"}},
		{"advertised mismatch is final", "/a", "ORIGIN/x", map[string]answer{"/x": doc("ORIGIN/b"), wellKnown: doc("ORIGIN")}, mismatch, []string{"/x"}},
		{"mismatch stops", "/a", "", map[string]answer{wellKnown + "/a": doc("ORIGIN/b"), wellKnown: doc("ORIGIN")}, mismatch, []string{wellKnown + "/a"}},
		{"the origin's document at the path stops", "/a", "", map[string]answer{wellKnown + "/a": doc("ORIGIN"), wellKnown: doc("ORIGIN")}, mismatch, []string{wellKnown + "/a"}},
		{"a page's document at the root stops", "/a", "", map[string]answer{wellKnown: doc("ORIGIN/a")}, mismatch, []string{wellKnown + "/a", wellKnown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.answers)
			here := func(s2 string) string { return strings.ReplaceAll(s2, "ORIGIN", s.URL) }
			r, err := s.client(nil).Resource(t.Context(), parse(t, s.URL+tt.page), here(tt.advertised))
			got := kind(err)
			if err == nil {
				got = r.Resource
			}
			if got != here(tt.want) {
				t.Errorf("got %q (%v), want %q", got, err, here(tt.want))
			}
			if diff := cmp.Diff(tt.wantPaths, s.paths()); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAdvertisedUserinfoAndPort(t *testing.T) {
	other := newSite(t, map[string]answer{"/x": {body: `{"resource":"ORIGIN"}`}})
	s := newSite(t, map[string]answer{protectedResource: {body: `{"resource":"ORIGIN"}`}})
	for _, advertised := range []string{
		other.URL + "/x", // same host, another port
		strings.Replace(s.URL, "https", "http", 1) + "/", // another scheme
		strings.Replace(s.URL, "://", "://u@", 1) + "/x",
		strings.Replace(s.URL, "127.0.0.1", "127.1", 1) + "/x",
	} {
		r, err := s.client(nil).Resource(t.Context(), parse(t, s.URL), advertised)
		if err != nil || r.URL != s.URL+protectedResource {
			t.Errorf("%s: got %v, %v; want the well-known document", advertised, r, err)
		}
	}
	if got := other.paths(); got != nil {
		t.Errorf("the other origin was asked for %v", got)
	}
}

func TestResourceMatch(t *testing.T) {
	const page = "https://h.example/a/b?q=1"
	for _, tt := range []struct {
		name       string
		page       string
		resource   string
		advertised bool
		wellKnown  bool // at the address of the page's path
	}{
		{"the page", page, "https://h.example/a/b", true, true},
		{"another spelling of the origin", page, "HTTPS://H.example:443/a/b", true, true},
		{"one segment less", page, "https://h.example/a", true, false},
		{"one segment less, with a slash", page, "https://h.example/a/", true, false},
		{"the origin", page, "https://h.example", true, false},
		{"the origin with a slash", page, "https://h.example/", true, false},
		{"half a segment", page, "https://h.example/a/bb", false, false},
		{"half a segment less", "https://h.example/a/bb", "https://h.example/a/b", false, false},
		{"one segment more", page, "https://h.example/a/b/c", false, false},
		{"a slash more", page, "https://h.example/a/b/", false, false},
		{"another case", page, "https://h.example/A", false, false},
		{"below by dot segments", "https://h.example/a/../b", "https://h.example/a", false, false},
		{"below by escaped dot segments", "https://h.example/a/%2E%2e/b", "https://h.example/a", false, false},
		{"below by escaped slashes", "https://h.example/a/..%2fb", "https://h.example/a", false, false},
		{"with the page's query", page, "https://h.example/a/b?q=1", true, false},
		{"with another query", page, "https://h.example/a/b?q=2", false, false},
		{"with the page's query on another path", page, "https://h.example/a?q=1", false, false},
		{"with the page's query, the page has a query more", "https://h.example/a/b?q=1&r", "https://h.example/a/b?q=1", false, false},
		{"with a query of the root", "https://h.example?q=1", "https://h.example/?q=1", true, false},
		{"with an empty query", page, "https://h.example/a/b?", false, false},
		{"with a fragment", page, "https://h.example/a/b#f", false, false},
		{"with an empty fragment", page, "https://h.example/a/b#", false, false},
		{"with a user name", page, "https://u@h.example/a/b", false, false},
		{"another host", page, "https://evil.example/a/b", false, false},
		{"a host below", page, "https://x.h.example/a/b", false, false},
		{"a host above", page, "https://example/a/b", false, false},
		{"another port", page, "https://h.example:8443/a/b", false, false},
		{"another scheme", page, "http://h.example/a/b", false, false},
		{"no URL", page, "h.example", false, false},
		{"a path", page, "/a/b", false, false},
		{"with a space", page, "https://h.example/a/b ", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := func(advertised string) string {
				doc := fmt.Sprintf(`{"resource":%q}`, tt.resource)
				c := New(Options{Transport: inProcess(doc)})
				_, err := c.Resource(t.Context(), parse(t, tt.page), advertised)
				var m *MismatchError
				if errors.As(err, &m) && (m.Got != tt.resource || m.Member != "resource" || m.URL == "" || m.Want == "") {
					t.Errorf("error %+v", m)
				}
				return kind(err)
			}
			want := map[bool]string{true: "", false: mismatch}
			if got := s("https://h.example/x"); got != want[tt.advertised] {
				t.Errorf("advertised: got %q, want %q", got, want[tt.advertised])
			}
			if got := s(""); got != want[tt.wellKnown] {
				t.Errorf("well-known: got %q, want %q", got, want[tt.wellKnown])
			}
		})
	}
}

func TestResourceDocument(t *testing.T) {
	long := strings.Repeat("s", 129)
	var manyIssuers, firstIssuers, manyScopes, firstScopes []string
	for i := range 2000 {
		manyIssuers = append(manyIssuers, fmt.Sprintf(`"https://as%d.example"`, i))
	}
	for i := range MaxAuthorizationServers {
		firstIssuers = append(firstIssuers, fmt.Sprintf("https://as%d.example", i))
	}
	for i := range 1000 {
		manyScopes = append(manyScopes, fmt.Sprintf(`"s%d"`, i))
	}
	for i := range MaxResourceScopes {
		firstScopes = append(firstScopes, fmt.Sprintf("s%d", i))
	}
	for _, tt := range []struct {
		name string
		doc  string // without resource
		want *Resource
		err  string
	}{
		{"minimal", ``, &Resource{}, ""},
		{"full", `,"authorization_servers":["https://as.example/t"],"scopes_supported":["a","b"],"resource_name":"Wiki \u003c3","dpop_bound_access_tokens_required":true,
			"tls_client_certificate_bound_access_tokens":true,"unknown":{"x":[1,null]},"resource_name#de":"W"`,
			&Resource{AuthorizationServers: []string{"https://as.example/t"}, ScopesSupported: []string{"a", "b"}, Name: "Wiki <3",
				DPoPBoundAccessTokensRequired: true, TLSClientCertificateBoundAccessTokens: true}, ""},
		{"no issuers", `,"authorization_servers":[]`, &Resource{}, ""},
		{"null issuers", `,"authorization_servers":null`, &Resource{}, ""},
		{"issuers that cannot be used", `,"authorization_servers":["http://10.0.0.1","https://a.example?q","https://a.example#","https://u@a.example","https://a.example/../b",
			"file:///etc/passwd","","a.example","https://2130706433","https://[fe80::1%25lo]","https://a.example/ ","https://ok.example/"]`,
			&Resource{AuthorizationServers: []string{"https://ok.example/"}}, ""},
		{"issuers named twice", `,"authorization_servers":["https://a.example","https://a.example","https://b.example"]`,
			&Resource{AuthorizationServers: []string{"https://a.example", "https://b.example"}}, ""},
		{"many issuers", `,"authorization_servers":[` + strings.Join(manyIssuers, ",") + `]`,
			&Resource{AuthorizationServers: firstIssuers}, ""},
		{"odd scopes", `,"scopes_supported":["a","","a b","c\"","é","\u0000","a","` + long + `","*"]`, &Resource{ScopesSupported: []string{"a", "*"}}, ""},
		{"many scopes", `,"scopes_supported":[` + strings.Join(manyScopes, ",") + `]`, &Resource{ScopesSupported: firstScopes}, ""},
		{"members in another case", `,"RESOURCE":"https://evil.example","Authorization_Servers":["https://evil.example"],"re\u017fource":"https://evil.example"`, &Resource{}, ""},
		{"resource twice", `,"resource":"https://h.example"`, nil, invalid},
		{"resource twice, once escaped", `,"\u0072esource":"https://h.example"`, nil, invalid},
		{"unknown member twice", `,"x":1,"x":2`, nil, invalid},
		{"name twice in an inner object", `,"x":{"y":1,"y":2}`, nil, invalid},
		{"issuers a string", `,"authorization_servers":"https://as.example"`, nil, invalid},
		{"issuers with a number", `,"authorization_servers":[1]`, nil, invalid},
		{"what we can do without, of the wrong type", `,"scopes_supported":"a b","resource_name":1,"dpop_signing_alg_values_supported":{},"jwks_uri":7,"bearer_methods_supported":0`, &Resource{}, ""},
		{"scopes with a number", `,"scopes_supported":["a",1]`, &Resource{}, ""},
		{"algorithms", `,"dpop_signing_alg_values_supported":["ES256","PS256"]`, &Resource{DPoPSigningAlgValuesSupported: []string{"ES256", "PS256"}}, ""},
		{"flag a string", `,"dpop_bound_access_tokens_required":"true"`, nil, invalid},
		{"invalid UTF-8", ",\"resource_name\":\"\xff\"", nil, invalid},
		{"deep", `,"x":` + strings.Repeat("[", MaxJSONDepth-1) + strings.Repeat("]", MaxJSONDepth-1), &Resource{}, ""},
		{"too deep", `,"x":` + strings.Repeat("[", MaxJSONDepth) + strings.Repeat("]", MaxJSONDepth), nil, invalid},
		{"far too deep", `,"x":` + strings.Repeat(`{"":`, 10_000), nil, invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New(Options{Transport: inProcess(`{"resource":"https://h.example"` + tt.doc + `}`)})
			got, err := c.Resource(t.Context(), parse(t, "https://h.example"), "")
			if kind(err) != tt.err {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if tt.want != nil {
				tt.want.Resource, tt.want.URL = "https://h.example", "https://h.example"+protectedResource
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResourceOfAWrongType(t *testing.T) {
	for _, resource := range []string{`["https://h.example"]`, `1`, `{}`, `true`} {
		c := New(Options{Transport: inProcess(`{"resource":` + resource + `}`)})
		if _, err := c.Resource(t.Context(), parse(t, "https://h.example"), ""); kind(err) != invalid {
			t.Errorf("%s: got %v, want a refusal", resource, err)
		}
	}
}

func TestErrorsDoNotShowTheQuery(t *testing.T) {
	for _, doc := range []string{`{}`, `{"resource":"https://evil.example"}`} {
		for _, page := range []string{"https://h.example/a?token=secret", "http://h.example/a?token=secret"} {
			for _, advertised := range []string{"", "https://h.example/x"} {
				c := New(Options{Transport: inProcess(doc)})
				if _, err := c.Resource(t.Context(), parse(t, page), advertised); err == nil || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: error %v", page, err)
				}
			}
		}
	}
}

func TestPageIsNoWebPage(t *testing.T) {
	for _, page := range []string{"file:///etc/passwd", "https:///x", "https://[fe80::1%25lo]/"} {
		c := New(Options{Transport: inProcess(`{}`)})
		if r, err := c.Resource(t.Context(), parse(t, page), ""); kind(err) != "invalid_url" {
			t.Errorf("%s: got %v, %v; want a refusal", page, r, err)
		}
	}
}
