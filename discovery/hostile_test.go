package discovery

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const hostilePRM = "https://h.example" + protectedResource

// reply is what one address answers.
type reply struct {
	status      int    // 200 if 0
	contentType string // application/json if ""
	location    string
	body        string
}

// What strangers may try with metadata, and what reaches which server then. The addresses that are
// not asked for would all answer, with a document that suits the attacker.
var attacks = []struct {
	name       string
	page       string // asked about; "": an issuer is
	advertised string
	issuer     string
	replies    map[string]reply
	want       string // what is found: the resource and its issuers, or the token endpoint; or the kind of error
	asked      []string
}{
	// A resource that is not the one asked for (RFC 9728 §7.3).
	{"D01 another origin", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://honest.example"}`}}, mismatch, []string{hostilePRM}},
	{"D01 another origin, advertised", "https://h.example/", "https://h.example/m", "", map[string]reply{"https://h.example/m": {body: `{"resource":"https://honest.example"}`}}, mismatch, []string{"https://h.example/m"}},
	{"D02 a site below", "https://h.example/", "https://h.example/m", "", map[string]reply{"https://h.example/m": {body: `{"resource":"https://x.h.example"}`}}, mismatch, []string{"https://h.example/m"}},
	{"D02 a site above", "https://x.h.example/", "", "", map[string]reply{"https://x.h.example" + protectedResource: {body: `{"resource":"https://h.example"}`}}, mismatch, []string{"https://x.h.example" + protectedResource}},
	{"D03 another port", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example:8443"}`}}, mismatch, []string{hostilePRM}},
	{"D03 another scheme", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"http://h.example"}`}}, mismatch, []string{hostilePRM}},
	{"D04 another path", "https://h.example/a", "https://h.example/m", "", map[string]reply{"https://h.example/m": {body: `{"resource":"https://h.example/b"}`}}, mismatch, []string{"https://h.example/m"}},
	{"D04 half a segment", "https://h.example/ab", "https://h.example/m", "", map[string]reply{"https://h.example/m": {body: `{"resource":"https://h.example/a"}`}}, mismatch, []string{"https://h.example/m"}},
	{"D04 a path that climbs", "https://h.example/a/%252e%252e/b", "https://h.example/m", "", map[string]reply{"https://h.example/m": {body: `{"resource":"https://h.example/a"}`}}, mismatch, []string{"https://h.example/m"}},
	{"D04 a user in front", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example@evil.example"}`}}, mismatch, []string{hostilePRM}},
	{"D05 no resource", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"authorization_servers":["https://evil.example"]}`}}, notFound, []string{hostilePRM}},
	{"D05 an array", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":["https://h.example"]}`}}, invalid, []string{hostilePRM}},
	{"D05 a number", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":7}`}}, invalid, []string{hostilePRM}},
	{"D05 null", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":null}`}}, notFound, []string{hostilePRM}},

	// An address that is not the resource's.
	{"D07 another port", "https://h.example/", "https://h.example:8443/m", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM}},
	{"D07 another scheme", "https://h.example/", "http://h.example/m", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM}},
	{"D08 another host", "https://h.example/", "https://evil.example/m", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM}},
	{"D08 a cloud's metadata", "https://h.example/", "http://169.254.169.254/latest/meta-data/", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM}},
	{"D08 a user in front", "https://h.example/", "https://h.example@evil.example/m", "", nil, notFound, []string{hostilePRM}},
	{"D09 relative", "https://h.example/", "/m", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM}},
	{"D09 without a scheme", "https://h.example/", "//h.example/m", "", nil, notFound, []string{hostilePRM}},
	{"D09 script", "https://h.example/", "javascript:fetch('https://h.example')", "", nil, notFound, []string{hostilePRM}},
	{"D09 data", "https://h.example/", `data:application/json,{"resource":"https://h.example"}`, "", nil, notFound, []string{hostilePRM}},
	{"D09 file", "https://h.example/", "file:///etc/passwd", "", nil, notFound, []string{hostilePRM}},
	{"D09 header splitting", "https://h.example/", "https://h.example/m\r\nX: y", "", nil, notFound, []string{hostilePRM}},
	{"D10 too long", "https://h.example/", "https://h.example/" + strings.Repeat("m", MaxURLBytes), "", nil, notFound, []string{hostilePRM}},

	// Redirects.
	{"D15 to a cloud's metadata", "https://h.example/", "", "", map[string]reply{hostilePRM: {status: 302, location: "http://169.254.169.254/latest/"}}, notFound, []string{hostilePRM}},
	{"D15 within the origin", "https://h.example/", "", "", map[string]reply{hostilePRM: {status: 302, location: "/m"}, "https://h.example/m": {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM, "https://h.example/m"}},
	{"D15 twice within the origin", "https://h.example/", "", "", map[string]reply{hostilePRM: {status: 302, location: "/1"}, "https://h.example/1": {status: 302, location: "/2"}}, notFound, []string{hostilePRM, "https://h.example/1"}},
	{"D15 to another origin", "https://h.example/", "", "", map[string]reply{hostilePRM: {status: 307, location: "https://evil.example/m"}}, notFound, []string{hostilePRM}},
	{"D16 away, then back", "https://h.example/", "", "", map[string]reply{hostilePRM: {status: 302, location: "/1"}, "https://h.example/1": {status: 302, location: "https://evil.example"}}, notFound, []string{hostilePRM, "https://h.example/1"}},
	{"D16 down to plain http", "https://h.example/", "", "", map[string]reply{hostilePRM: {status: 308, location: "http://h.example" + protectedResource}}, notFound, []string{hostilePRM}},
	{"D16 of an issuer, to its site below", "", "", asIssuer, map[string]reply{asAt: {status: 302, location: "https://login.as.example/"}}, notFound, []string{asAt, asIssuer + openIDConfiguration}},

	// Issuers: all of them are the resource's word, and none is asked for here.
	{"D17 a hundred", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example","authorization_servers":[` + issuers(100) + `]}`}},
		"https://h.example [" + strings.NewReplacer(`"`, "", ",", " ").Replace(issuers(MaxAuthorizationServers)) + "]", []string{hostilePRM}},
	{"D17 ten thousand", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example","authorization_servers":[` + issuers(10_000) + `]}`}}, invalid, []string{hostilePRM}},
	{"D18 one a thousand times", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example","authorization_servers":[` + strings.Repeat(`"https://a.example",`, 1000) + `"https://b.example"]}`}},
		"https://h.example [https://a.example https://b.example]", []string{hostilePRM}},
	{"D19 none", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example"}`}}, "https://h.example []", []string{hostilePRM}},
	{"D19 an empty list", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example","authorization_servers":[]}`}}, "https://h.example []", []string{hostilePRM}},
	{"D20 none that is an issuer", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example","authorization_servers":["http://a.example","https://a.example/?q","https://[::1%25lo]","","javascript:x","https://a.example/..;/b"]}`}},
		"https://h.example []", []string{hostilePRM}},
	{"D33 an evil one before another", "https://h.example/", "", "", map[string]reply{hostilePRM: {body: `{"resource":"https://h.example","authorization_servers":["https://evil.example","https://configured.example"]}`}},
		"https://h.example [https://evil.example https://configured.example]", []string{hostilePRM}},

	// An authorization server that is not the one asked for (RFC 8414 §3.3).
	{"D21 the honest issuer, on the attacker's host", "", "", asIssuer, map[string]reply{asAt: {body: `{"issuer":"https://honest.example","authorization_endpoint":"https://honest.example/a","token_endpoint":"https://as.example/t"}`}}, mismatch, []string{asAt}},
	{"D21 the same, for OpenID Connect", "", "", asIssuer, map[string]reply{asIssuer + openIDConfiguration: {body: `{"issuer":"https://honest.example","authorization_endpoint":"https://honest.example/a","token_endpoint":"https://as.example/t"}`}}, mismatch, []string{asAt, asIssuer + openIDConfiguration}},
	{"D22 with a slash", "", "", asIssuer, map[string]reply{asAt: {body: `{"issuer":"https://as.example/","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"}`}}, mismatch, []string{asAt}},
	{"D22 of another tenant", "", "", asIssuer + "/a", map[string]reply{asAt + "/a": {body: `{"issuer":"https://as.example/b","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"}`}}, mismatch, []string{asAt + "/a"}},
	{"D22 an issuer that climbs", "", "", asIssuer + "/a/..%2fb", nil, invalid, nil},

	// Names that only look alike.
	{"D23 another case", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"ISSUER":"https://evil.example","Token_Endpoint":"https://evil.example"}`}}, "https://as.example/t", []string{asAt}},
	{"D23 letters that fold to it", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"i\u017f\u017fuer":"https://evil.example","to\u212aen_endpoint":"https://evil.example"}`}}, "https://as.example/t", []string{asAt}},
	{"D23 twice", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"issuer":"https://evil.example"}`}}, invalid, []string{asAt}},
	{"D23 twice, once escaped", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"token\u005fendpoint":"https://evil.example"}`}}, invalid, []string{asAt}},
	{"D24 invalid UTF-8", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + ",\"token_endpoint\xff\":\"https://evil.example\"}"}}, invalid, []string{asAt}},
	{"D24 two documents", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + "}" + asDoc + "}"}}, notFound, []string{asAt, asIssuer + openIDConfiguration}},
	{"D24 deep", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"x":` + strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000) + "}"}}, invalid, []string{asAt}},
	{"D24 a page that is called JSON", "", "", asIssuer, map[string]reply{asAt: {body: "<!doctype html>"}, asIssuer + openIDConfiguration: {body: asDoc + "}"}}, "https://as.example/t", []string{asAt, asIssuer + openIDConfiguration}},
	{"D24 a page", "", "", asIssuer, map[string]reply{asAt: {contentType: "text/html", body: asDoc + "}"}, asIssuer + openIDConfiguration: {body: asDoc + "}"}}, "https://as.example/t", []string{asAt, asIssuer + openIDConfiguration}},

	// Endpoints.
	{"D27 token", "", "", asIssuer, map[string]reply{asAt: {body: `{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"http://as.example/t"}`}}, invalid, []string{asAt}},
	{"D27 device", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"device_authorization_endpoint":"http://as.example/d"}`}}, invalid, []string{asAt}},
	{"D27 registration", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"registration_endpoint":"http://as.example/r"}`}}, invalid, []string{asAt}},
	{"D27 revocation", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"revocation_endpoint":"http://as.example/v"}`}}, invalid, []string{asAt}},
	{"D27 pushed requests", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"pushed_authorization_request_endpoint":"http://as.example/par"}`}}, invalid, []string{asAt}},
	{"D28 an alias", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"mtls_endpoint_aliases":{"token_endpoint":"http://as.example/t"}}`}}, invalid, []string{asAt}},
	{"D28 an alias at a cloud's metadata", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"mtls_endpoint_aliases":{"revocation_endpoint":"http://169.254.169.254/"}}`}}, invalid, []string{asAt}},
	{"D29 off-site, for others to judge", "", "", asIssuer, map[string]reply{asAt: {body: `{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://elsewhere.example/t"}`}}, "https://elsewhere.example/t", []string{asAt}},
	{"D30 nothing there: no endpoints are guessed", "", "", asIssuer, nil, notFound, []string{asAt, asIssuer + openIDConfiguration}},
	{"D30 nothing below a path: the root does not speak for it", "", "", asIssuer + "/p", map[string]reply{asAt: {body: asDoc + "}"}}, notFound,
		[]string{asAt + "/p", asIssuer + openIDConfiguration + "/p", asIssuer + "/p" + openIDConfiguration}},

	// Keys of signed metadata.
	{"D32 keys inside", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"signed_metadata":"` + unsigned(`{"alg":"ES256"}`, `{"iss":"https://as.example"}`) + `","jwks_uri":"https://169.254.169.254/jwks"}`}}, "https://as.example/t", []string{asAt}},
	{"D32 keys in the token itself", "", "", asIssuer, map[string]reply{asAt: {body: asDoc + `,"signed_metadata":"` + unsigned(`{"alg":"ES256","jku":"https://evil.example/jwks","x5u":"https://evil.example/x5u"}`, `{"iss":"https://as.example","token_endpoint":"https://evil.example"}`) + `"}`}},
		"https://as.example/t", []string{asAt}},
}

func issuers(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"https://as%d.example"`, i))
	}
	return strings.Join(list, ",")
}

func TestAttacks(t *testing.T) {
	if len(attacks) == 0 {
		t.Fatal("there are no attacks")
	}
	for _, tt := range attacks {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			c := New(Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				asked = append(asked, r.URL.String())
				if r.Method != http.MethodGet || r.Body != nil || r.Header.Get("Authorization")+r.Header.Get("Cookie")+r.Header.Get("Referer") != "" {
					t.Errorf("%s %s carries %v", r.Method, r.URL, r.Header)
				}
				a, ok := tt.replies[r.URL.String()]
				switch {
				case ok:
				case r.URL.Host == "h.example" || r.URL.Host == "x.h.example" || r.URL.Host == "as.example":
					a.status = 404
				default:
					a.body = `{"resource":"https://h.example","issuer":"https://as.example","authorization_endpoint":"https://evil.example/a","token_endpoint":"https://evil.example/t","authorization_servers":["https://evil.example"]}`
				}
				resp := jsonAnswer(a.body)
				resp.StatusCode = max(a.status, 200)
				if a.contentType != "" {
					resp.Header.Set("Content-Type", a.contentType)
				}
				if a.location != "" {
					resp.Header.Set("Location", a.location)
				}
				return resp, nil
			})})
			for range 2 { // what is known afterwards is the same
				got := attack(t.Context(), t, c, tt.page, tt.advertised, tt.issuer)
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func attack(ctx context.Context, t *testing.T, c *Client, page, advertised, issuer string) string {
	if page != "" {
		r, err := c.Resource(ctx, parse(t, page), advertised)
		if err != nil {
			return kind(err)
		}
		return fmt.Sprint(r.Resource, " ", r.AuthorizationServers)
	}
	s, err := c.AuthServer(ctx, issuer)
	if err != nil {
		return kind(err)
	}
	return s.TokenEndpoint
}
