package oauthtest_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// tlsClient trusts roots and has these certificates.
func tlsClient(roots *x509.CertPool, certs ...tls.Certificate) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs}},
		CheckRedirect: plain.CheckRedirect,
	}
}

func x5t(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return b64(sum[:])
}

func getWith(t *testing.T, c *http.Client, u string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	return sendWith(t, c, req)
}

func TestCertificateClients(t *testing.T) {
	server, roots := newCertificate(t, "server")
	agent, agentPool := newCertificate(t, "build-agent-7")
	namesake, _ := newCertificate(t, "build-agent-7")
	other, _ := newCertificate(t, "other")
	clients := map[string]string{"by-name": "CN=build-agent-7", "by-certificate": "x5t#S256:" + x5t(agent)}
	for _, tt := range []struct {
		name   string
		ca     *x509.CertPool
		client string
		certs  []tls.Certificate
		want   int // 0: no connection
	}{
		{"name", nil, "by-name", []tls.Certificate{agent}, 200},
		{"name on another certificate", nil, "by-name", []tls.Certificate{namesake}, 200},
		{"another name", nil, "by-name", []tls.Certificate{other}, 401},
		{"name, no certificate", nil, "by-name", nil, 401},
		{"certificate", nil, "by-certificate", []tls.Certificate{agent}, 200},
		{"another certificate of that name", nil, "by-certificate", []tls.Certificate{namesake}, 401},
		{"no certificate", nil, "by-certificate", nil, 401},
		{"of the authority", agentPool, "by-name", []tls.Certificate{agent}, 200},
		{"of another authority", agentPool, "by-name", []tls.Certificate{namesake}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t, oauthtest.IssuerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{server}}, CertificateClients: clients, ClientCA: tt.ca})
			c := tlsClient(roots, tt.certs...)
			form := url.Values{"grant_type": {"client_credentials"}, "client_id": {tt.client}, "resource": {audience}}
			if tt.want == 0 {
				if resp, err := c.PostForm(i.URL+"/token", form); err == nil {
					resp.Body.Close()
					t.Errorf("got %d, want no connection", resp.StatusCode)
				}
				return
			}
			a := postWith(t, c, i.URL+"/token", form)
			if a.status != tt.want || tt.want == 401 && a.json["error"] != "invalid_client" {
				t.Errorf("got %d %s, want %d", a.status, a.body, tt.want)
			}
			e := i.Log.Find("issuer", "/token")
			if len(tt.certs) > 0 && e[0].ClientCertificate != tt.certs[0].Leaf.Subject.CommonName {
				t.Errorf("logged certificate %q", e[0].ClientCertificate)
			}
			if a := postWith(t, c, i.URL+"/token", values(form, "client_secret", "x")); a.status != 401 {
				t.Errorf("with a secret: got %d", a.status)
			}
			methods := strings.Join(strs(getWith(t, c, i.URL+rfc8414).json["token_endpoint_auth_methods_supported"]), " ")
			if !strings.HasSuffix(methods, " self_signed_tls_client_auth tls_client_auth") {
				t.Errorf("methods %s", methods)
			}
		})
	}
}

func TestCertificateBoundTokens(t *testing.T) {
	server, roots := newCertificate(t, "server")
	config := &tls.Config{Certificates: []tls.Certificate{server}}
	first, _ := newCertificate(t, "first")
	second, _ := newCertificate(t, "second")
	i := newIssuer(t, oauthtest.IssuerOptions{
		TLS: config, CertificateBound: true, AutoApprove: true, CertificateClients: map[string]string{"rotating": "CN=first"},
	})
	r := newResource(t, oauthtest.ResourceOptions{TLS: config, Issuer: i, CertificateBound: true, ResourceID: audience})
	with, without, stranger := tlsClient(roots, first), tlsClient(roots), tlsClient(roots, second)
	if getWith(t, without, i.URL+rfc8414).json["tls_client_certificate_bound_access_tokens"] != true ||
		getWith(t, without, r.URL+"/.well-known/oauth-protected-resource/manual").json["tls_client_certificate_bound_access_tokens"] != true {
		t.Error("not announced")
	}
	verifier := strings.Repeat("v", 43)
	code := func() string {
		return redirected(t, getWith(t, without, i.URL+"/authorize?"+authorizeQuery(verifier).Encode())).Get("code")
	}
	bound := postWith(t, with, i.URL+"/token", tokenForm(code(), verifier)).json
	free := postWith(t, without, i.URL+"/token", tokenForm(code(), verifier)).json
	for _, tt := range []struct {
		name  string
		by    *http.Client
		token any
		want  int
	}{
		{"right", with, bound["access_token"], 200},
		{"another certificate", stranger, bound["access_token"], 401},
		{"no certificate", without, bound["access_token"], 401},
		{"unbound token", with, free["access_token"], 401},
		{"unbound token, no certificate", without, free["access_token"], 401},
	} {
		a := getWith(t, tt.by, r.URL+"/", "Authorization", "Bearer "+tt.token.(string))
		if a.status != tt.want || tt.want == 401 && !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: got %d %v, want %d", tt.name, a.status, a.header, tt.want)
		}
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {"public"}, "refresh_token": {bound["refresh_token"].(string)}, "resource": {audience}}
	for _, tt := range []struct {
		name string
		by   *http.Client
		want int
	}{{"right", with, 200}, {"another certificate", stranger, 400}, {"no certificate", without, 400}} {
		if a := postWith(t, tt.by, i.URL+"/token", refresh); a.status != tt.want || tt.want == 400 && a.json["error"] != "invalid_grant" {
			t.Errorf("refresh, %s: got %d %s, want %d", tt.name, a.status, a.body, tt.want)
		}
	}
	// RFC 8705 §4: a client that authenticates may refresh with a newer certificate.
	renewed, _ := newCertificate(t, "first")
	authorize := authorizeQuery(verifier, "client_id", "rotating")
	own := redirected(t, getWith(t, without, i.URL+"/authorize?"+authorize.Encode())).Get("code")
	mine := postWith(t, with, i.URL+"/token", tokenForm(own, verifier, "client_id", "rotating")).json
	refresh = values(refresh, "client_id", "rotating", "refresh_token", mine["refresh_token"].(string))
	a := postWith(t, tlsClient(roots, renewed), i.URL+"/token", refresh)
	if a.status != 200 {
		t.Fatalf("renewed certificate: got %d %s", a.status, a.body)
	}
	if a := getWith(t, tlsClient(roots, renewed), r.URL+"/", "Authorization", "Bearer "+a.json["access_token"].(string)); a.status != 200 {
		t.Errorf("renewed certificate at the resource: got %d", a.status)
	}
}

func TestAliases(t *testing.T) {
	server, roots := newCertificate(t, "server")
	agent, _ := newCertificate(t, "agent")
	i := newIssuer(t, oauthtest.IssuerOptions{
		TLS: &tls.Config{Certificates: []tls.Certificate{server}}, Path: "/t", Aliases: true, CertificateBound: true, PAR: "offered",
		CertificateClients: map[string]string{"agent": "CN=agent"},
	})
	c := tlsClient(roots, agent)
	main := strings.TrimSuffix(i.URL, "/t")
	if !strings.HasPrefix(i.AliasURL, "https://127.0.0.1:") || !strings.HasSuffix(i.AliasURL, "/t") || i.AliasURL == i.URL {
		t.Fatalf("alias %s of %s", i.AliasURL, i.URL)
	}
	aliases := getWith(t, c, main+rfc8414+"/t").json["mtls_endpoint_aliases"].(object)
	for member, path := range map[string]string{
		"token_endpoint": "/token", "revocation_endpoint": "/revoke", "device_authorization_endpoint": "/device_authorization", "pushed_authorization_request_endpoint": "/par",
	} {
		if aliases[member] != i.AliasURL+path {
			t.Errorf("%s is %v", member, aliases[member])
		}
		if a := postWith(t, c, i.AliasURL+path, url.Values{"client_id": {"nobody"}}); a.status != 401 {
			t.Errorf("%s: got %d, want 401", path, a.status)
		}
	}
	if len(aliases) != 4 {
		t.Errorf("aliases %v", aliases)
	}
	for _, path := range []string{"/authorize", "/register", "/.well-known/openid-configuration", "/device"} {
		if a := getWith(t, c, i.AliasURL+path); a.status != 404 {
			t.Errorf("%s at the alias: got %d", path, a.status)
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"agent"}, "resource": {audience}}
	if a := postWith(t, c, i.AliasURL+"/token", form); a.status != 200 {
		t.Errorf("at the alias: got %d %s", a.status, a.body)
	}
	wantError(t, "at the main address", postWith(t, c, i.URL+"/token", form), 401, "invalid_client")
	if e := i.Log.Events(); e[len(e)-1].ClientCertificate != "" {
		t.Error("the main address asked for a certificate")
	}
	for name, o := range map[string]oauthtest.IssuerOptions{"aliases": {Aliases: true}, "bound": {CertificateBound: true}, "clients": {CertificateClients: map[string]string{"a": "CN=a"}}} {
		if bad, err := oauthtest.NewIssuer(o); err == nil {
			bad.Close()
			t.Errorf("%s without TLS was accepted", name)
		}
	}
	if bad, err := oauthtest.NewResource(oauthtest.ResourceOptions{CertificateBound: true}); err == nil {
		bad.Close()
		t.Error("a resource without TLS was accepted")
	}
}
