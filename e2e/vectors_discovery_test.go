package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

const (
	resourceDocument = "/.well-known/oauth-protected-resource"
	serverDocument   = "/.well-known/oauth-authorization-server"
	openidDocument   = "/.well-known/openid-configuration"
)

// siteSays is a site that nobody configured, whose metadata says something else.
func siteSays(edit func(s *stage, m object)) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		o.resource.EditMetadata = func(m map[string]any) { edit(s, m) }
	}
}

// issuerSays is an issuer that nobody configured, whose metadata says something else.
func issuerSays(edit func(s *stage, m object)) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		o.issuer.Edit = func(_ string, m map[string]any) { edit(s, m) }
	}
}

// member is an edit that sets one.
func member(name string, value any) func(*stage, object) {
	return func(_ *stage, m object) { m[name] = value }
}

// without is an edit that takes one out.
func without(name string) func(*stage, object) {
	return func(_ *stage, m object) { delete(m, name) }
}

// at is an edit that sets one to a URL made from the stage.
func at(name string, value func(s *stage) string) func(*stage, object) {
	return func(s *stage, m object) { m[name] = value(s) }
}

func trapped(name string) func(*stage, object) {
	return at(name, func(s *stage) string { return s.trap.URL + "/" + name })
}

// servers is a list of issuers.
func servers(list func(s *stage) []string) func(*stage, object) {
	return func(s *stage, m object) { m["authorization_servers"] = list(s) }
}

func fixed(list ...string) func(s *stage) []string { return func(*stage) []string { return list } }

// siteDocument and issuerDocument replace the metadata by these bytes, in which GOOD is a member
// list of a whole honest document, and TRAP the trap's URL.
func siteDocument(text string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		o.resource.Handle = map[string]http.HandlerFunc{resourceDocument: s.document(text, func() object {
			return object{"resource": s.site.URL, "authorization_servers": []string{s.issuer.URL}}
		})}
	}
}

func issuerDocument(text string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		h := s.document(text, func() object {
			return object{
				"issuer": s.issuer.URL, "authorization_endpoint": s.issuer.URL + "/authorize", "token_endpoint": s.issuer.URL + "/token",
				"registration_endpoint": s.issuer.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
				"authorization_response_iss_parameter_supported": true,
			}
		})
		o.issuer.Handle = map[string]http.HandlerFunc{serverDocument: h, openidDocument: http.NotFound}
	}
}

func (s *stage) document(text string, good func() object) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := json.Marshal(good())
		if err != nil {
			panic(err)
		}
		members := strings.TrimSuffix(strings.TrimPrefix(string(data), "{"), "}")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.NewReplacer("GOOD", members, "TRAP", s.trap.URL).Replace(text))
	}
}

// siteLeads redirects the request for the site's metadata.
func siteLeads(status int, to func(s *stage) string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		o.resource.Handle = map[string]http.HandlerFunc{
			resourceDocument: func(w http.ResponseWriter, r *http.Request) { lead(w, status, to(s)) },
			"/one":           func(w http.ResponseWriter, r *http.Request) { lead(w, status, "/meta") },
			"/meta": s.document("{GOOD}", func() object {
				return object{"resource": s.site.URL, "authorization_servers": []string{s.issuer.URL}}
			}),
		}
	}
}

func lead(w http.ResponseWriter, status int, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}

func issuerLeads(to func(s *stage) string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		h := func(w http.ResponseWriter, r *http.Request) { lead(w, http.StatusFound, to(s)) }
		o.issuer.Handle = map[string]http.HandlerFunc{serverDocument: h, openidDocument: h}
	}
}

// advertises is a site whose challenge names its metadata elsewhere; it is where it belongs.
func advertises(where func(s *stage) string) func(*stage, *scene) {
	return func(s *stage, o *scene) {
		o.strangers = true
		o.resource.Metadata = "root"
		o.resource.Challenge = func(*http.Request) []string { return []string{`Bearer resource_metadata="` + where(s) + `"`} }
	}
}

func literally(text string) func(s *stage) string { return func(*stage) string { return text } }

// onlySite is a config that opens the addresses of this computer for the site and for nobody else.
func onlySite(s *stage) {
	s.config["network"] = object{"allow": []string{s.site.URL}}
	delete(s.config, "sites")
}

// noGuess: of the site nothing but the page and its metadata was asked.
func noGuess(s *stage, _ *agent, _ answer) {
	for _, e := range s.log.Events() {
		if e.Server == "resource" && e.Path != "/docs/handbook" && !strings.HasPrefix(e.Path, resourceDocument) {
			s.t.Errorf("the site was asked for %s %s", e.Method, e.Path)
		}
	}
}

func discoveryVectors() []vector {
	const mismatch, invalid, noIssuer, missing, denied = "oauth.metadata_mismatch", "oauth.metadata_invalid", "oauth.no_issuer", "oauth.discovery_not_found", "network.address_denied"
	vs := rows(
		row{id: "D01", what: "the resource is another origin", set: siteSays(member("resource", "https://bank.example")), want: mismatch, quiet: true},
		row{id: "D01", what: "the resource is a plea", set: siteSays(member("resource", "https://bank.example/"+plea)), want: mismatch, quiet: true},
		row{id: "D01", what: "the resource has our host as user", set: siteSays(at("resource", func(s *stage) string { return s.site.URL + "@bank.example" })), want: mismatch, quiet: true},
		row{id: "D01", what: "the resource has our host as the beginning of its own", set: siteSays(at("resource", func(s *stage) string { return s.site.URL + ".bank.example" })), want: mismatch, quiet: true},
		row{id: "D02", what: "the resource has part of a segment", set: siteSays(at("resource", func(s *stage) string { return s.site.URL + "/docs/hand" })), want: mismatch, quiet: true},
		row{id: "D02", what: "the resource is below another path", set: siteSays(at("resource", func(s *stage) string { return s.site.URL + "/admin" })), want: mismatch, quiet: true},
		row{id: "D02", what: "the resource climbs", set: siteSays(at("resource", func(s *stage) string { return s.site.URL + "/docs/../admin" })), want: mismatch, quiet: true},
		row{id: "D02", what: "the resource has a fragment", set: siteSays(at("resource", func(s *stage) string { return s.site.URL + "#x" })), want: mismatch, quiet: true},
		row{id: "D03", what: "the resource has another port", set: siteSays(at("resource", func(s *stage) string { return s.trap.URL })), want: mismatch, quiet: true},
		row{id: "D03", what: "the resource has the default port", set: siteSays(member("resource", "https://127.0.0.1")), want: mismatch, quiet: true},
		row{id: "D03", what: "the resource is http", set: siteSays(at("resource", func(s *stage) string { return strings.Replace(s.site.URL, "https", "http", 1) })), want: mismatch, quiet: true},
		row{id: "D05", what: "the resource is missing", set: siteSays(without("resource")), want: noIssuer, quiet: true},
		row{id: "D05", what: "the resource is empty", set: siteSays(member("resource", "")), want: noIssuer, quiet: true},
		row{id: "D05", what: "the resource is null", set: siteSays(member("resource", nil)), want: noIssuer, quiet: true},
		row{id: "D05", what: "the resource is a list", set: siteSays(func(s *stage, m object) { m["resource"] = []string{s.site.URL} }), want: invalid, quiet: true},
		row{id: "D05", what: "the resource is a number", set: siteSays(member("resource", 1)), want: invalid, quiet: true},
		row{id: "D05", what: "the resource is an object", set: siteSays(member("resource", object{})), want: invalid, quiet: true},

		row{id: "D07", what: "metadata at another port", set: advertises(func(s *stage) string { return s.trap.URL + resourceDocument }), want: "page"},
		row{id: "D08", what: "metadata at another host", set: advertises(func(s *stage) string { return s.trap.at("https", "localhost") + resourceDocument }), want: "page"},
		row{id: "D08", what: "metadata behind our host as user", set: advertises(func(s *stage) string {
			return strings.Replace(s.trap.URL, "//", "//"+strings.TrimPrefix(s.site.URL, "https://")+"@", 1)
		}), want: "page"},
		row{id: "D08", what: "metadata behind a backslash", set: advertises(func(s *stage) string { return s.site.URL + `\\@` + strings.TrimPrefix(s.trap.URL, "https://") }), want: "page"},
		row{id: "D09", what: "metadata at a path", set: advertises(literally("/x")), want: "page", then: func(s *stage, _ *agent, _ answer) {
			if n := len(s.heardBy("resource", "/x")); n > 0 {
				s.t.Errorf("a relative URL was asked for %d times", n)
			}
		}},
		row{id: "D09", what: "metadata without a scheme", set: advertises(func(s *stage) string { return strings.TrimPrefix(s.trap.URL, "https:") }), want: "page"},
		row{id: "D09", what: "metadata in javascript", set: advertises(literally("javascript:alert(1)")), want: "page"},
		row{id: "D09", what: "metadata in data", set: advertises(literally("data:application/json,%7B%7D")), want: "page"},
		row{id: "D09", what: "metadata in a file", set: advertises(literally("file:///etc/passwd")), want: "page"},
		row{id: "D09", what: "metadata over plain http", set: advertises(func(s *stage) string { return strings.Replace(s.site.URL, "https", "http", 1) + resourceDocument }), want: "page"},
		row{id: "D09", what: "metadata that is a plea", set: advertises(literally(plea)), want: "page"},
		row{id: "D10", what: "metadata inside the network", set: advertises(literally("https://10.0.0.1/")), want: "page"},
		row{id: "D10", what: "metadata of the cloud", set: advertises(literally("https://169.254.169.254/latest/meta-data")), want: "page"},
	)
	for _, issuer := range []string{
		"https://10.0.0.1", "https://192.168.0.1:8443/tenant", "https://[fd00::1]", "https://169.254.169.254", "https://[::ffff:10.0.0.1]",
		"https://[::ffff:169.254.169.254]", "https://[fd00:ec2::254]", "https://[64:ff9b::a9fe:a9fe]", "https://0.0.0.0", "https://100.100.100.200",
	} {
		vs = append(vs,
			row{id: "D11", what: "a stranger's issuer is " + issuer, set: siteSays(servers(fixed(issuer))), config: onlySite, want: denied, quiet: true}.vector(),
			row{id: "D13", what: "a configured site's issuer is " + issuer, set: known(siteSays(servers(fixed(issuer)))), want: denied, quiet: true}.vector())
	}
	for _, issuer := range []string{"https://169.254.169.254", "https://[::ffff:169.254.169.254]", "https://100.100.100.200"} {
		vs = append(vs, row{id: "D11", what: "though private addresses are allowed, " + issuer, set: siteSays(servers(fixed(issuer))), want: denied, quiet: true}.vector())
	}
	own := func(s *stage) []string { return []string{s.trap.URL} }
	vs = append(vs, rows(
		row{id: "D11", what: "a plain http issuer inside", set: siteSays(servers(fixed("http://10.0.0.1"))), want: noIssuer, quiet: true},
		row{id: "D11", what: "a stranger's issuer is on this computer", set: siteSays(servers(own)), config: onlySite, want: denied, quiet: true},
		row{id: "D11", what: "a stranger's issuer is localhost", set: siteSays(servers(func(s *stage) []string { return []string{s.trap.at("https", "localhost")} })), config: onlySite, want: denied, quiet: true},
		row{id: "D12", what: "a plain http issuer on this computer", set: siteSays(servers(func(s *stage) []string { return []string{s.trap.at("http", "127.0.0.1")} })), want: noIssuer, quiet: true},
		row{id: "D12", what: "a plain http issuer for a configured site", set: known(siteSays(servers(func(s *stage) []string { return []string{s.trap.at("http", "127.0.0.1")} }))), want: noIssuer, quiet: true},
		row{id: "D13", what: "a configured site's issuer is on this computer", set: known(siteSays(servers(own))), want: denied, quiet: true},
		row{id: "D13", what: "a configured site's issuer is localhost", set: known(siteSays(servers(func(s *stage) []string { return []string{s.trap.at("https", "localhost")} }))), want: denied, quiet: true},
		row{id: "D14", what: "a stranger names a configured origin", set: siteSays(servers(func(s *stage) []string { return []string{s.other.URL} })), config: func(s *stage) { s.name("sites", s.other.URL, object{}) },
			want: invalid, quiet: true, then: func(s *stage, _ *agent, _ answer) { s.checkOther(false) }},

		row{id: "D15", what: "metadata leads to the cloud's", set: siteLeads(302, literally("https://169.254.169.254/latest/meta-data")), want: noIssuer, quiet: true},
		row{id: "D15", what: "metadata leads to another origin", set: siteLeads(302, func(s *stage) string { return s.trap.URL }), want: noIssuer, quiet: true},
		row{id: "D15", what: "metadata leads to another origin for good", set: siteLeads(308, func(s *stage) string { return s.trap.URL }), want: noIssuer, quiet: true},
		row{id: "D15", what: "metadata leads to plain http", set: siteLeads(307, func(s *stage) string { return strings.Replace(s.site.URL, "https", "http", 1) + "/meta" }), want: noIssuer, quiet: true},
		row{id: "D15", what: "metadata leads to a plea", set: siteLeads(302, literally("https://bank.example/"+plea)), want: noIssuer, quiet: true},
		row{id: "D15", what: "metadata is one step further", set: siteLeads(302, literally("/meta")), want: "page"},
		row{id: "D15", what: "metadata is two steps further", set: siteLeads(302, literally("/one")), want: noIssuer, quiet: true},
		row{id: "D15", what: "metadata leads in a circle", set: siteLeads(302, literally(resourceDocument)), want: noIssuer, quiet: true, then: func(s *stage, _ *agent, _ answer) {
			if n := len(s.heardBy("resource", resourceDocument)); n > 2 {
				s.t.Errorf("asked %d times", n)
			}
		}},
		row{id: "D16", what: "the issuer's metadata leads to another origin", set: issuerLeads(func(s *stage) string { return s.trap.URL }), want: missing},
		row{id: "D16", what: "the issuer's metadata leads to the cloud's", set: issuerLeads(literally("https://169.254.169.254/latest/meta-data")), want: missing},

		row{id: "D17", what: "700 issuers", set: siteSays(servers(func(s *stage) (all []string) {
			for i := range 700 {
				all = append(all, fmt.Sprintf("%s/%d", s.other.URL, i))
			}
			return all
		})), want: missing, quiet: true, then: func(s *stage, _ *agent, _ answer) {
			s.checkOther(true)
			if n := len(s.other.Log.Events()); n == 0 || n > 9 {
				s.t.Errorf("%d requests for metadata, want those of three issuers", n)
			}
		}},
		row{id: "D17", what: "10000 issuers", set: siteSays(servers(func(s *stage) (all []string) {
			for i := range 10000 {
				all = append(all, fmt.Sprintf("%s/%d", s.trap.URL, i))
			}
			return all
		})), want: invalid, quiet: true},
		row{id: "D18", what: "metadata without end", set: func(s *stage, o *scene) {
			o.strangers = true
			o.resource.Handle = map[string]http.HandlerFunc{resourceDocument: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				line := `{"` + plea + `":"` + strings.Repeat(" ", 1<<10)
				for range 100 << 10 {
					if _, err := io.WriteString(w, line); err != nil {
						return
					}
				}
			}}
		}, want: invalid, quiet: true},

		row{id: "D19", what: "no issuers", set: siteSays(member("authorization_servers", []string{})), want: noIssuer, quiet: true, then: noGuess},
		row{id: "D19", what: "issuers are missing", set: siteSays(without("authorization_servers")), want: noIssuer, quiet: true, then: noGuess},
		row{id: "D19", what: "issuers are null", set: siteSays(member("authorization_servers", nil)), want: noIssuer, quiet: true, then: noGuess},
		row{id: "D19", what: "issuers are a text", set: siteSays(at("authorization_servers", func(s *stage) string { return s.issuer.URL })), want: invalid, quiet: true, then: noGuess},
		row{id: "D19", what: "issuers are numbers", set: siteSays(member("authorization_servers", []int{1})), want: invalid, quiet: true, then: noGuess},
		row{id: "D19", what: "issuers are no addresses", set: siteSays(servers(fixed("", "/", "javascript:alert(1)", "file:///etc/passwd", plea, "https://", "https://h\n.example"))), want: noIssuer, quiet: true, then: noGuess},
		row{id: "D19", what: "the issuer has a query, a fragment or climbs", set: siteSays(servers(func(s *stage) []string {
			return []string{s.trap.URL + "?a=b", s.trap.URL + "#a", s.trap.URL + "/a/../b", s.trap.URL + "/%2e%2e/b"}
		})), want: noIssuer, quiet: true, then: noGuess},
		row{id: "D20", what: "no metadata at all", set: func(s *stage, o *scene) { o.strangers, o.resource.Metadata = true, "none" }, want: noIssuer, quiet: true, then: noGuess},
		row{id: "D20", what: "no metadata at a configured site", set: func(s *stage, o *scene) { o.resource.Metadata = "none" }, want: noIssuer, quiet: true, then: noGuess},

		row{id: "D21", what: "the issuer is an honest one", set: issuerSays(at("issuer", func(s *stage) string { return s.other.URL })), want: mismatch, then: func(s *stage, _ *agent, _ answer) { s.checkOther(false) }},
		row{id: "D21", what: "the issuer has a slash more", set: issuerSays(at("issuer", func(s *stage) string { return s.issuer.URL + "/" })), want: mismatch},
		row{id: "D21", what: "the issuer is in capitals", set: issuerSays(at("issuer", func(s *stage) string { return strings.Replace(s.issuer.URL, "https", "HTTPS", 1) })), want: mismatch},
		row{id: "D21", what: "the issuer has a space more", set: issuerSays(at("issuer", func(s *stage) string { return s.issuer.URL + " " })), want: mismatch},
		row{id: "D21", what: "the issuer has a tenant more", set: issuerSays(at("issuer", func(s *stage) string { return s.issuer.URL + "/" + plea })), want: mismatch},
		row{id: "D22", what: "the issuer is missing", set: issuerSays(without("issuer")), want: missing},
		row{id: "D22", what: "the issuer is a number", set: issuerSays(member("issuer", 1)), want: invalid},
		row{id: "D22", what: "the issuer is a list", set: issuerSays(func(s *stage, m object) { m["issuer"] = []string{s.issuer.URL} }), want: invalid},

		row{id: "D23", what: "TOKEN_ENDPOINT after", set: issuerDocument(`{GOOD,"TOKEN_ENDPOINT":"TRAP","Authorization_Endpoint":"TRAP","ISSUER":"TRAP"}`), want: "page"},
		row{id: "D23", what: "TOKEN_ENDPOINT before", set: issuerDocument(`{"TOKEN_ENDPOINT":"TRAP","Authorization_Endpoint":"TRAP","ISSUER":"TRAP",GOOD}`), want: "page"},
		row{id: "D23", what: "a Kelvin sign", set: issuerDocument("{GOOD,\"to\u212aen_endpoint\":\"TRAP\"}"), want: "page"},
		row{id: "D23", what: "long s", set: issuerDocument(`{GOOD,"iſſuer":"TRAP","regiſtration_endpoint":"TRAP"}`), want: "page"},
		row{id: "D23", what: "underscores left out", set: issuerDocument(`{GOOD,"tokenendpoint":"TRAP","token-endpoint":"TRAP","TokenEndpoint":"TRAP"}`), want: "page"},
		row{id: "D23", what: "issuer twice", set: issuerDocument(`{GOOD,"issuer":"TRAP"}`), want: invalid},
		row{id: "D23", what: "token_endpoint twice", set: issuerDocument(`{"token_endpoint":"TRAP",GOOD}`), want: invalid},
		row{id: "D23", what: "token_endpoint twice, once escaped", set: issuerDocument(`{GOOD,"token_endpo\u0069nt":"TRAP"}`), want: invalid},
		row{id: "D23", what: "something twice further down", set: issuerDocument(`{GOOD,"x":{"a":1,"a":2}}`), want: invalid},
		row{id: "D23", what: "not UTF-8", set: issuerDocument("{GOOD,\"x\":\"\xff\"}"), want: invalid},
		row{id: "D23", what: "a second document", set: issuerDocument(`{GOOD}{"token_endpoint":"TRAP"}`), want: missing},
		row{id: "D23", what: "a list of documents", set: issuerDocument(`[{GOOD}]`), want: missing},
		row{id: "D23", what: "RESOURCE and Authorization_Servers", set: siteDocument(`{"RESOURCE":"TRAP","Authorization_Servers":["TRAP"],GOOD,"AUTHORIZATION_SERVERS":["TRAP"]}`), want: "page"},
		row{id: "D23", what: "long s at the site", set: siteDocument(`{GOOD,"authorization_ſervers":["TRAP"],"reſource":"TRAP"}`), want: "page"},
		row{id: "D23", what: "authorization_servers twice", set: siteDocument(`{GOOD,"authorization_servers":["TRAP"]}`), want: invalid, quiet: true},
		row{id: "D23", what: "resource twice", set: siteDocument(`{"resource":"TRAP",GOOD}`), want: invalid, quiet: true},

		row{id: "D25", what: "no PKCE", set: issuerSays(without("code_challenge_methods_supported")), want: "oauth.unsupported"},
		row{id: "D25", what: "plain PKCE", set: issuerSays(member("code_challenge_methods_supported", []string{"plain"})), want: "oauth.unsupported"},
		row{id: "D25", what: "PKCE in small letters", set: issuerSays(member("code_challenge_methods_supported", []string{"s256"})), want: "oauth.unsupported"},
		row{id: "D25", what: "PKCE by no method", set: issuerSays(member("code_challenge_methods_supported", []string{})), want: "oauth.unsupported"},
		row{id: "D25", what: "PKCE in a text", set: issuerSays(member("code_challenge_methods_supported", "S256")), want: invalid},
		row{id: "D25", what: "no PKCE at a configured site", set: known(issuerSays(without("code_challenge_methods_supported"))), want: "oauth.unsupported"},
	)...)
	for _, endpoint := range []string{
		"authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "registration_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint",
	} {
		plain := func(s *stage) string { return s.trap.at("http", "127.0.0.1") + "/x" }
		vs = append(vs, rows(
			row{id: "D27", what: endpoint + " over plain http", set: issuerSays(at(endpoint, plain)), want: invalid},
			row{id: "D27", what: endpoint + " over plain http for a configured site", set: known(issuerSays(at(endpoint, plain))), want: invalid},
			row{id: "D29", what: endpoint + " of a stranger at a configured origin", set: issuerSays(at(endpoint, func(s *stage) string { return s.other.URL + "/x" })),
				config: func(s *stage) { s.name("sites", s.other.URL, object{}) }, want: configuredElsewhere(endpoint), then: func(s *stage, _ *agent, _ answer) { s.checkOther(false) }},
		)...)
	}
	for _, bad := range []string{
		"javascript:alert(1)", "file:///etc/passwd", "/token", "//127.0.0.1/token", "https:", "https://", "https:///token", "https://a:b@127.0.0.1/token",
		"https://127.0.0.1/to ken", "https://127.0.0.1/\ttoken", "https://127.0.0.1/token\r\nHost: x", `https://127.0.0.1\token`, "https://127.0.0.1:99999/token", plea,
		"https://127.0.0.1/" + strings.Repeat("a", 4000),
	} {
		vs = append(vs, row{id: "D27", what: fmt.Sprintf("token_endpoint %.30q", bad), set: issuerSays(member("token_endpoint", bad)), want: invalid}.vector())
	}
	vs = append(vs, rows(
		row{id: "D27", what: "token_endpoint is a number", set: issuerSays(member("token_endpoint", 1)), want: invalid},
		row{id: "D27", what: "token_endpoint is missing", set: issuerSays(without("token_endpoint")), want: missing},
		row{id: "D29", what: "a stranger's sign-in page is on another site", set: issuerSays(at("authorization_endpoint", func(s *stage) string { return s.trap.at("https", "localhost") + "/authorize" })), want: "oauth.unsupported"},
		row{id: "D29", what: "nothing goes to a token endpoint elsewhere before a person agreed", set: issuerSays(trapped("token_endpoint")), want: "login_required"},
		row{id: "D29", what: "nothing goes to a registration endpoint elsewhere before a person agreed", set: issuerSays(trapped("registration_endpoint")), want: "login_required"},
		row{id: "D33", what: "the second issuer is configured", set: siteSays(servers(func(s *stage) []string { return []string{s.other.URL, s.issuer.URL} })),
			config: func(s *stage) { s.name("issuers", s.issuer.URL, object{"client_id": "desk"}) }, want: "page", then: func(s *stage, _ *agent, _ answer) { s.checkOther(false) }},
		row{id: "D33", what: "the site's own issuer is configured", set: known(siteSays(servers(func(s *stage) []string { return []string{s.other.URL, s.trap.URL} }))),
			config: func(s *stage) { s.name("sites", s.site.URL, object{"oauth": object{"issuer": s.issuer.URL}}) }, want: "page", then: func(s *stage, _ *agent, _ answer) { s.checkOther(false) }},
		row{id: "D34", what: "an issuer that is nowhere gives way to the next", set: siteSays(servers(func(s *stage) []string { return []string{s.site.URL + "/liar", s.issuer.URL} })), want: "page"},
		row{id: "D34", what: "a lie of the first issuer is not mended by the second", set: func(s *stage, o *scene) {
			siteSays(servers(func(s *stage) []string { return []string{s.issuer.URL, s.other.URL} }))(s, o)
			o.issuer.Edit = func(_ string, m map[string]any) { m["issuer"] = s.trap.URL }
		}, want: mismatch, then: func(s *stage, _ *agent, _ answer) { s.checkOther(false) }},
		row{id: "D35", what: "metadata 5000 deep", set: siteDocument(`{GOOD,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`), want: invalid, quiet: true},
		row{id: "D35", what: "metadata that is a web page", set: func(s *stage, o *scene) {
			o.strangers = true
			o.resource.Handle = map[string]http.HandlerFunc{resourceDocument: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				_, _ = fmt.Fprintf(w, `{"resource":%q,"authorization_servers":[%q]}`, s.site.URL, s.trap.URL)
			}}
		}, want: noIssuer, quiet: true},
		row{id: "D35", what: "metadata that wants a token itself", set: func(s *stage, o *scene) {
			o.strangers = true
			o.resource.Handle = map[string]http.HandlerFunc{resourceDocument: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+s.site.URL+resourceDocument+`"`)
				w.WriteHeader(http.StatusUnauthorized)
			}}
		}, want: noIssuer, quiet: true},
	)...)
	return append(vs,
		vector{"D29", "a token endpoint that moves gets no refresh token", tokenEndpointMoves},
		vector{"D30", "metadata that goes away leaves the refresh where it was", metadataGoesAway},
		vector{"D31", "a new issuer gets nothing of the old one", newIssuer},
		vector{"D31", "a new issuer of a configured site hears nothing", newIssuerOfConfigured},
		vector{"D32", "the config's client is not lent to a stranger", strangerNamesConfiguredIssuer},
	)
}

// configuredElsewhere: only where we would send something does the address matter; a browser may go anywhere
// on the issuer's own site, and the other origin is on it.
func configuredElsewhere(endpoint string) string {
	if endpoint == "authorization_endpoint" {
		return "login_required"
	}
	return "oauth.metadata_invalid"
}

// known is the same at a site that is configured, as is the issuer's origin.
func known(set func(*stage, *scene)) func(*stage, *scene) {
	return func(s *stage, o *scene) { set(s, o); o.strangers = false }
}

// switched is a scene of which a part comes later.
func switched(on *atomic.Bool, edit func(s *stage, m object)) func(*stage, object) {
	return func(s *stage, m object) {
		if on.Load() {
			edit(s, m)
		}
	}
}

// refreshes are the requests with the refresh token that was given first.
func (s *stage) refreshes() (all []oauthtest.Event) {
	for _, e := range s.tokens() {
		if e.Form.Get("grant_type") == "refresh_token" {
			all = append(all, e)
		}
	}
	return all
}

func tokenEndpointMoves(t *testing.T) {
	var moved atomic.Bool
	s := newStage(t, issuerSays(switched(&moved, trapped("token_endpoint"))))
	a := s.agent()
	s.signIn(a)
	a.stop()
	moved.Store(true)
	s.issuer.ExpireTokens()
	a = s.agent()
	s.read(a)
	if n := len(s.refreshes()); n != 1 {
		t.Errorf("%d refreshes where the token came from, want 1", n)
	}
	s.issuer.RevokeTokens()
	s.issuer.RevokeRefreshTokens()
	got := a.fetch(s.page(), 0)
	if got.Status != "login_required" && got.ErrorCode == "" {
		t.Errorf("got %+v, want another sign-in or an error", got)
	}
	s.trap.check(t)
}

func metadataGoesAway(t *testing.T) {
	var gone atomic.Bool
	s := newStage(t, func(s *stage, o *scene) {
		o.strangers = true
		o.resource.Handle = map[string]http.HandlerFunc{}
		o.resource.Metadata = "root"
		o.resource.Challenge = func(*http.Request) []string { return []string{"Bearer"} }
		o.resource.EditMetadata = func(m map[string]any) {
			if gone.Load() {
				clear(m)
			}
		}
		o.issuer.Edit = func(_ string, m map[string]any) {
			if gone.Load() {
				clear(m)
			}
		}
	})
	a := s.agent()
	s.signIn(a)
	a.stop()
	gone.Store(true)
	s.issuer.ExpireTokens()
	a = s.agent()
	s.read(a)
	s.issuer.ExpireTokens()
	s.issuer.RevokeRefreshTokens()
	if got := a.fetch(s.page(), 0); got.ErrorCode != "oauth.no_issuer" {
		t.Errorf("got %+v, want oauth.no_issuer", got)
	}
	for _, e := range s.log.Events() {
		if e.Server == "resource" && e.Method != http.MethodGet {
			t.Errorf("the site received %s %s %s", e.Method, e.Path, e.Body)
		}
	}
	noGuess(s, a, answer{})
}

func newIssuer(t *testing.T) {
	var moved atomic.Bool
	s := newStage(t, siteSays(switched(&moved, servers(func(s *stage) []string { return []string{s.other.URL} }))))
	a := s.agent()
	s.signIn(a)
	a.stop()
	moved.Store(true)
	s.issuer.RevokeTokens()
	s.issuer.RevokeRefreshTokens()
	a = s.agent()
	got := s.ask(a)
	s.checkOther(true)
	if !strings.Contains(got.Text, s.other.URL) {
		t.Errorf("the person is not told of the new issuer: %s", got.Text)
	}
	if s.press(got.Login.URL) == "" {
		t.Fatal("Continue leads nowhere")
	}
	first := s.tokens()[0].Form
	for _, e := range s.other.Log.Events() {
		for _, old := range []string{first.Get("client_id"), first.Get("code"), s.refreshes()[0].Form.Get("refresh_token")} {
			if strings.Contains(e.RawQuery+string(e.Body)+fmt.Sprint(e.Header), old) {
				t.Errorf("the new issuer received something of the old one: %s %s %s", e.Method, e.Path, e.Body)
			}
		}
	}
	if n := s.other.Log.Count("", http.MethodPost, "/register"); n != 1 {
		t.Errorf("%d registrations at the new issuer, want 1", n)
	}
}

func newIssuerOfConfigured(t *testing.T) {
	var moved atomic.Bool
	s := newStage(t, func(s *stage, o *scene) {
		siteSays(switched(&moved, servers(func(s *stage) []string { return []string{s.other.URL} })))(s, o)
		o.strangers = false
		o.issuer.Clients = map[string]string{"desk": clientSecret}
	})
	s.name("issuers", s.issuer.URL, object{"client_id": "desk", "client_secret": clientSecret})
	s.name("sites", s.site.URL, object{"oauth": object{"issuer": s.issuer.URL}})
	s.name("sites", s.other.URL, object{})
	a := s.agent()
	s.signIn(a)
	a.stop()
	moved.Store(true)
	s.issuer.RevokeTokens()
	s.issuer.RevokeRefreshTokens()
	a = s.agent()
	if got := a.fetch(s.page(), 0); !strings.Contains(got.Text, s.issuer.URL) || got.Status == "ok" {
		t.Errorf("got %+v, want it told of the configured issuer", got)
	}
	s.checkOther(false)
}

func strangerNamesConfiguredIssuer(t *testing.T) {
	s := newStage(t, func(s *stage, o *scene) {
		o.strangers = true
		o.issuer.Clients = map[string]string{"desk": clientSecret}
		o.issuer.AutoApprove = true
	})
	s.name("issuers", s.issuer.URL, object{"client_id": "desk", "client_secret": clientSecret})
	a := s.agent()
	got := s.ask(a)
	s.checkUntouched()
	s.callback(got.Login.URL)
	for _, e := range s.heardBy("issuer", "/authorize") {
		if id := e.Query.Get("client_id"); id == "desk" || id == "" {
			t.Errorf("a site that nobody configured borrows the client %q", id)
		}
	}
	for _, e := range s.log.Events() {
		if strings.Contains(string(e.Body)+e.Header.Get("Authorization"), clientSecret) {
			t.Errorf("%s %s has the secret", e.Method, e.Path)
		}
	}
}
