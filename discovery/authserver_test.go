package discovery

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inProcess answers every request with one document.
func inProcess(doc string) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) { return jsonAnswer(doc), nil })
}

func TestAuthServerAddresses(t *testing.T) {
	doc := func(issuer string) answer {
		return answer{body: `{"issuer":"` + issuer + `","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"}`}
	}
	const as, oidc = authorizationServer, openIDConfiguration
	for _, tt := range []struct {
		name      string
		issuer    string // behind the origin
		answers   map[string]answer
		want      string // kind of error
		wantPaths []string
	}{
		{"RFC 8414", "", map[string]answer{as: doc("ORIGIN")}, "", []string{as}},
		{"OpenID Connect", "", map[string]answer{oidc: doc("ORIGIN")}, "", []string{as, oidc}},
		{"RFC 8414 before OpenID Connect", "", map[string]answer{as: doc("ORIGIN"), oidc: doc("ORIGIN")}, "", []string{as}},
		{"nowhere", "", nil, notFound, []string{as, oidc}},
		{"slash", "/", map[string]answer{as: doc("ORIGIN/")}, "", []string{as}},
		{"path, RFC 8414", "/p/q", map[string]answer{as + "/p/q": doc("ORIGIN/p/q")}, "", []string{as + "/p/q"}},
		{"path, OpenID Connect inserted", "/p", map[string]answer{oidc + "/p": doc("ORIGIN/p")}, "", []string{as + "/p", oidc + "/p"}},
		{"path, OpenID Connect appended", "/p", map[string]answer{"/p" + oidc: doc("ORIGIN/p")}, "", []string{as + "/p", oidc + "/p", "/p" + oidc}},
		{"path with a slash", "/p/", map[string]answer{"/p" + oidc: doc("ORIGIN/p/")}, "", []string{as + "/p", oidc + "/p", "/p" + oidc}},
		{"path, never the root", "/p", map[string]answer{as: doc("ORIGIN/p"), oidc: doc("ORIGIN/p")}, notFound, []string{as + "/p", oidc + "/p", "/p" + oidc}},
		{"HTML everywhere first", "", map[string]answer{as: {contentType: "text/html", body: "<html>"}, oidc: doc("ORIGIN")}, "", []string{as, oidc}},
		{"no issuer falls through", "", map[string]answer{as: {body: `{"token_endpoint":"https://as.example/t"}`}, oidc: doc("ORIGIN")}, "", []string{as, oidc}},
		{"no token endpoint falls through", "", map[string]answer{as: {body: `{"issuer":"ORIGIN","authorization_endpoint":"https://as.example/a"}`}, oidc: doc("ORIGIN")}, "", []string{as, oidc}},
		{"no authorization endpoint falls through", "", map[string]answer{as: {body: `{"issuer":"ORIGIN","token_endpoint":"https://as.example/t"}`}, oidc: doc("ORIGIN")}, "", []string{as, oidc}},
		{"another issuer stops", "", map[string]answer{as: doc("https://honest.example"), oidc: doc("ORIGIN")}, mismatch, []string{as}},
		{"another issuer without members stops", "", map[string]answer{as: {body: `{"issuer":"https://honest.example"}`}, oidc: doc("ORIGIN")}, mismatch, []string{as}},
		{"invalid endpoint stops", "", map[string]answer{as: {body: `{"issuer":"ORIGIN","authorization_endpoint":"javascript:alert(1)","token_endpoint":"https://as.example/t"}`}, oidc: doc("ORIGIN")}, invalid, []string{as}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.answers)
			got, err := s.client(nil).AuthServer(t.Context(), s.URL+tt.issuer)
			if kind(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			paths := s.paths()
			if diff := cmp.Diff(tt.wantPaths, paths); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
			if err == nil && (got.Issuer != s.URL+tt.issuer || got.URL != s.URL+paths[len(paths)-1]) {
				t.Errorf("issuer %s read at %s", got.Issuer, got.URL)
			}
			var missing *NotFoundError
			if errors.As(err, &missing) {
				var tried []string
				for _, p := range tt.wantPaths {
					tried = append(tried, s.URL+p)
				}
				if diff := cmp.Diff(tried, missing.Tried); diff != "" || missing.Subject != "authorization server metadata of "+s.URL+tt.issuer {
					t.Errorf("%q tried (-want +got):\n%s", missing.Subject, diff)
				}
				if len(missing.Reasons) != len(tried) || !strings.Contains(err.Error(), "status 404") {
					t.Errorf("reasons %q in %v", missing.Reasons, err)
				}
			}
		})
	}
}

func TestIssuerIsIdentical(t *testing.T) {
	for _, tt := range []struct{ asked, named string }{
		{"https://as.example", "https://as.example/"},
		{"https://as.example/", "https://as.example"},
		{"https://as.example/p", "https://as.example/p/"},
		{"https://as.example", "https://AS.example"},
		{"https://as.example", "https://as.example:443"},
		{"https://as.example/%7Ep", "https://as.example/~p"},
		{"https://as.example", "https://honest.example"},
		{"https://as.example", "http://as.example"},
	} {
		c := New(Options{Transport: inProcess(fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"}`, tt.named))})
		_, err := c.AuthServer(t.Context(), tt.asked)
		var m *MismatchError
		if !errors.As(err, &m) || m.Member != "issuer" || m.Got != tt.named || m.Want != tt.asked {
			t.Errorf("%s named %s: got %v, want a mismatch", tt.asked, tt.named, err)
		}
	}
}

func TestIssuerIsNotValid(t *testing.T) {
	for _, issuer := range []string{
		"", "as.example", "/p", "http://as.example", "ftp://as.example", "javascript:alert(1)", "https://", "https://as.example?q", "https://as.example?",
		"https://as.example#f", "https://as.example#", "https://u@as.example", "https://as.example/a/../b", "https://as.example/%2e%2e/b", `https://as.example/..\b`,
		"https://as.example/ ", "https://as.example/\n", "https://127.1", "https://[::1%25lo]", "https://as.example/é", "https://as.example/" + strings.Repeat("p", MaxURLBytes),
	} {
		requests := 0
		c := New(Options{Transport: inProcess(`{}`), Observe: func(Step) { requests++ }})
		if _, err := c.AuthServer(t.Context(), issuer); kind(err) != invalid || requests != 0 {
			t.Errorf("%.60q: %v after %d requests, want a refusal", issuer, err, requests)
		}
	}
}

func TestInternationalIssuer(t *testing.T) {
	var asked string
	c := New(Options{Transport: inProcess(`{"issuer":"https://bücher.example","authorization_endpoint":"https://bücher.example/a","token_endpoint":"https://bücher.example/t"}`),
		Observe: func(s Step) { asked = s.URL }})
	if _, err := c.AuthServer(t.Context(), "https://bücher.example"); err != nil || asked != "https://xn--bcher-kva.example"+authorizationServer {
		t.Errorf("asked %s: %v", asked, err)
	}
}

func TestAuthServerDocument(t *testing.T) {
	base := AuthServer{Issuer: "https://as.example", AuthorizationEndpoint: "https://as.example/a", TokenEndpoint: "https://as.example/t"}
	with := func(change func(*AuthServer)) *AuthServer {
		s := base
		s.URL = "https://as.example" + authorizationServer
		change(&s)
		return &s
	}
	const endpoints = `,"authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t"`
	const token = `,"token_endpoint":"https://as.example/t"`
	for _, tt := range []struct {
		name string
		doc  string // behind the issuer
		want *AuthServer
		err  string
	}{
		{"minimal", endpoints, with(func(*AuthServer) {}), ""},
		{"full", endpoints + `,"device_authorization_endpoint":"https://as.example/d","registration_endpoint":"https://as.example/r","revocation_endpoint":"https://as.example/v",
			"pushed_authorization_request_endpoint":"https://as.example/par","jwks_uri":"https://keys.example/j","scopes_supported":["a","b c"],
			"grant_types_supported":["authorization_code"],"code_challenge_methods_supported":["S256"],"token_endpoint_auth_methods_supported":["none"],
			"authorization_response_iss_parameter_supported":true,"require_pushed_authorization_requests":true,"client_id_metadata_document_supported":true,
			"token_endpoint_auth_signing_alg_values_supported":["ES256","RS256"],"dpop_signing_alg_values_supported":["ES256"],"tls_client_certificate_bound_access_tokens":true,
			"mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example/t","device_authorization_endpoint":"https://mtls.example/d","registration_endpoint":"https://mtls.example/r",
				"revocation_endpoint":"https://mtls.example/v","pushed_authorization_request_endpoint":"https://mtls.example/par","userinfo_endpoint":"http://ignored.example"}`,
			with(func(s *AuthServer) {
				s.DeviceAuthorizationEndpoint, s.RegistrationEndpoint, s.RevocationEndpoint = "https://as.example/d", "https://as.example/r", "https://as.example/v"
				s.PushedAuthorizationRequestEndpoint = "https://as.example/par"
				s.ScopesSupported, s.GrantTypesSupported = []string{"a"}, []string{"authorization_code"}
				s.CodeChallengeMethodsSupported, s.TokenEndpointAuthMethodsSupported = []string{"S256"}, []string{"none"}
				s.IssParameterSupported, s.RequirePushedAuthorizationRequests, s.ClientIDMetadataDocumentSupported = true, true, true
				s.TokenEndpointAuthSigningAlgValuesSupported, s.DPoPSigningAlgValuesSupported = []string{"ES256", "RS256"}, []string{"ES256"}
				s.TLSClientCertificateBoundAccessTokens = true
				s.MTLSEndpointAliases = Endpoints{
					TokenEndpoint: "https://mtls.example/t", DeviceAuthorizationEndpoint: "https://mtls.example/d", RegistrationEndpoint: "https://mtls.example/r",
					RevocationEndpoint: "https://mtls.example/v", PushedAuthorizationRequestEndpoint: "https://mtls.example/par",
				}
			}), ""},
		{"query in an endpoint", `,"authorization_endpoint":"https://as.example/a?tenant=1"` + token, with(func(s *AuthServer) { s.AuthorizationEndpoint += "?tenant=1" }), ""},
		{"only plain PKCE is told as it is", endpoints + `,"code_challenge_methods_supported":["plain"]`, with(func(s *AuthServer) { s.CodeChallengeMethodsSupported = []string{"plain"} }), ""},
		{"device endpoint only", token + `,"device_authorization_endpoint":"https://as.example/d"`,
			with(func(s *AuthServer) {
				s.AuthorizationEndpoint, s.DeviceAuthorizationEndpoint = "", "https://as.example/d"
			}), ""},
		{"device grant only", token + `,"grant_types_supported":["urn:ietf:params:oauth:grant-type:device_code"]`,
			with(func(s *AuthServer) {
				s.AuthorizationEndpoint, s.GrantTypesSupported = "", []string{"urn:ietf:params:oauth:grant-type:device_code"}
			}), ""},
		{"client credentials only", token + `,"grant_types_supported":["client_credentials"]`,
			with(func(s *AuthServer) {
				s.AuthorizationEndpoint, s.GrantTypesSupported = "", []string{"client_credentials"}
			}), ""},
		{"no authorization endpoint", token + `,"grant_types_supported":["authorization_code"]`, nil, notFound},
		{"null token endpoint", `,"authorization_endpoint":"https://as.example/a","token_endpoint":null`, nil, notFound},
		{"issuer in another case", endpoints + `,"ISSUER":"https://evil.example","i\u017f\u017fuer":"https://evil.example","TOKEN_ENDPOINT":"https://evil.example","to\u212aen_endpoint":"https://evil.example"`,
			with(func(*AuthServer) {}), ""},
		{"issuer twice", endpoints + `,"issuer":"https://evil.example"`, nil, invalid},
		{"token endpoint twice", endpoints + token, nil, invalid},
		{"token endpoint a list", `,"authorization_endpoint":"https://as.example/a","token_endpoint":["https://as.example/t"]`, nil, invalid},
		{"grants a string", endpoints + `,"grant_types_supported":"authorization_code"`, nil, invalid},
		{"flag a string", endpoints + `,"authorization_response_iss_parameter_supported":"true"`, nil, invalid},
		{"bound tokens a string", endpoints + `,"tls_client_certificate_bound_access_tokens":"true"`, nil, invalid},
		{"PKCE methods a string", endpoints + `,"code_challenge_methods_supported":"S256"`, nil, invalid},
		{"client authentication a string", endpoints + `,"token_endpoint_auth_methods_supported":"none"`, nil, invalid},
		{"what we can do without, of the wrong type", endpoints + `,"scopes_supported":"a b","token_endpoint_auth_signing_alg_values_supported":"ES256","dpop_signing_alg_values_supported":[1],
			"mtls_endpoint_aliases":[],"jwks_uri":["x"],"response_types_supported":5,"ui_locales_supported":{}`, with(func(*AuthServer) {}), ""},
		{"key set over plain http", endpoints + `,"jwks_uri":"http://as.example/j"`, with(func(*AuthServer) {}), ""},
		{"null aliases", endpoints + `,"mtls_endpoint_aliases":null`, with(func(*AuthServer) {}), ""},
		{"null alias", endpoints + `,"mtls_endpoint_aliases":{"token_endpoint":null}`, with(func(*AuthServer) {}), ""},
		{"alias a number", endpoints + `,"mtls_endpoint_aliases":{"token_endpoint":1}`, nil, invalid},
		{"alias twice", endpoints + `,"mtls_endpoint_aliases":{"token_endpoint":"https://as.example/t","token_endpoint":"https://evil.example/t"}`, nil, invalid},
		{"alias in another case", endpoints + `,"mtls_endpoint_aliases":{"Token_Endpoint":"https://evil.example/t"}`, with(func(*AuthServer) {}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New(Options{Transport: inProcess(`{"issuer":"https://as.example"` + tt.doc + `}`)})
			got, err := c.AuthServer(t.Context(), "https://as.example")
			if kind(err) != tt.err {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("server (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryAuthServerScopeIsKept(t *testing.T) {
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`"s%d"`, i))
	}
	list = append(list, `"offline_access"`)
	c := New(Options{Transport: inProcess(`{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t","scopes_supported":[` + strings.Join(list, ",") + `]}`)})
	got, err := c.AuthServer(t.Context(), "https://as.example")
	if err != nil || len(got.ScopesSupported) != 101 || got.ScopesSupported[100] != "offline_access" {
		t.Errorf("got %v, %v; want all scopes", got, err)
	}
}

func TestEndpoints(t *testing.T) {
	all := AuthServer{
		AuthorizationEndpoint: "a", TokenEndpoint: "b", DeviceAuthorizationEndpoint: "c", RegistrationEndpoint: "d", RevocationEndpoint: "e", PushedAuthorizationRequestEndpoint: "f",
		MTLSEndpointAliases: Endpoints{TokenEndpoint: "g", DeviceAuthorizationEndpoint: "h", RegistrationEndpoint: "i", RevocationEndpoint: "j", PushedAuthorizationRequestEndpoint: "k"},
	}
	for _, tt := range []struct {
		name   string
		server AuthServer
		want   []NamedEndpoint
	}{
		{"all", all, []NamedEndpoint{
			{"token_endpoint", "b"}, {"device_authorization_endpoint", "c"}, {"registration_endpoint", "d"}, {"revocation_endpoint", "e"}, {"pushed_authorization_request_endpoint", "f"},
			{"mtls_endpoint_aliases.token_endpoint", "g"}, {"mtls_endpoint_aliases.device_authorization_endpoint", "h"}, {"mtls_endpoint_aliases.registration_endpoint", "i"},
			{"mtls_endpoint_aliases.revocation_endpoint", "j"}, {"mtls_endpoint_aliases.pushed_authorization_request_endpoint", "k"},
		}},
		{"few", AuthServer{AuthorizationEndpoint: "a", TokenEndpoint: "b", MTLSEndpointAliases: Endpoints{RevocationEndpoint: "j"}}, []NamedEndpoint{{"token_endpoint", "b"}, {"mtls_endpoint_aliases.revocation_endpoint", "j"}}},
	} {
		if diff := cmp.Diff(tt.want, tt.server.Endpoints()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	const aliases = "mtls_endpoint_aliases."
	members := []string{"authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "registration_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint"}
	for _, m := range members[1:] {
		members = append(members, aliases+m)
	}
	bad := []string{
		"http://as.example/x", "javascript:alert(1)", "file:///etc/passwd", "//as.example/x", "/x", "x", "https:///x", "https://u:p@as.example/x", "https://as.example/x#f", "https://as.example/x#",
		"https://as.example/a b", "https://as.example/`id`", "https://$(touch x)/", "https://127.1/", "https://2130706433/", "https://[fe80::1%25lo]/", "https://as.example:0/", "https://as.example:/",
		"https://as.example/\u202e", "https://as.example/\u007f", "https://as.example/" + strings.Repeat("x", MaxURLBytes), `\\as.example\x`, "--flag", "https://as.example/%zz", "https://[",
	}
	for _, member := range members {
		for _, u := range bad {
			doc := map[string]string{"authorization_endpoint": "https://as.example/a", "token_endpoint": "https://as.example/t"}
			doc[member] = u
			var body strings.Builder
			body.WriteString(`{"issuer":"https://as.example"`)
			for k, v := range doc {
				v = strings.NewReplacer(`\`, `\\`, "\u007f", `\u007f`).Replace(v)
				if alias, ok := strings.CutPrefix(k, aliases); ok {
					fmt.Fprintf(&body, `,"mtls_endpoint_aliases":{"%s":"%s"}`, alias, v)
				} else {
					fmt.Fprintf(&body, `,"%s":"%s"`, k, v)
				}
			}
			c := New(Options{Transport: inProcess(body.String() + "}")})
			_, err := c.AuthServer(t.Context(), "https://as.example")
			var i *InvalidError
			if !errors.As(err, &i) || !strings.Contains(i.Reason, member) {
				t.Errorf("%s %.60q: got %v, want that it is invalid", member, u, err)
			}
		}
	}
}
