package oauthtest_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

const jwtAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func TestClientAssertions(t *testing.T) {
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	i := newIssuer(t, oauthtest.IssuerOptions{Path: "/t", ClientKeys: map[string]crypto.PublicKey{"signer": key.Public(), "second": other.Public()}})
	m := get(t, strings.TrimSuffix(i.URL, "/t")+rfc8414+"/t").json
	if d := cmp.Diff([]any{"ES256", "RS256", "PS256", "EdDSA"}, m["token_endpoint_auth_signing_alg_values_supported"]); d != "" || !strings.Contains(strings.Join(strs(m["token_endpoint_auth_methods_supported"]), " "), "private_key_jwt") {
		t.Errorf("metadata %v", m)
	}
	now := time.Now().Unix()
	header := object{"alg": "ES256"}
	claims := func(changes ...any) object {
		return with(object{"iss": "signer", "sub": "signer", "aud": i.URL, "exp": now + 60, "iat": now, "jti": rand.Text()}, changes...)
	}
	form := func(assertion string, changes ...string) url.Values {
		return values(url.Values{"grant_type": {"client_credentials"}, "resource": {audience}, "client_assertion_type": {jwtAssertion}, "client_assertion": {assertion}}, changes...)
	}
	again := jws(t, key, header, claims())
	for _, tt := range []struct {
		name string
		form url.Values
		why  string // "": accepted
	}{
		{"right", form(again), ""},
		{"with client_id", form(jws(t, key, header, claims()), "client_id", "signer"), ""},
		{"issuer in a list", form(jws(t, key, header, claims("aud", []string{i.URL}))), ""},
		{"sent again", form(again), "jti was seen"},
		{"another key", form(jws(t, other, header, claims())), "signature"},
		{"no signature", form(jws(t, key, object{"alg": "none"}, claims())), "offered algorithm"},
		{"for the token endpoint", form(jws(t, key, header, claims("aud", i.URL+"/token"))), "aud"},
		{"for another issuer too", form(jws(t, key, header, claims("aud", []string{i.URL, "https://evil.example"}))), "aud"},
		{"for nobody", form(jws(t, key, header, claims("aud", nil))), "aud"},
		{"iss of another", form(jws(t, key, header, claims("iss", "second"))), "iss and sub"},
		{"sub of another", form(jws(t, key, header, claims("sub", "second"))), "signature"},
		{"expired", form(jws(t, key, header, claims("exp", now-1))), "exp"},
		{"no exp", form(jws(t, key, header, claims("exp", nil))), "exp"},
		{"for a day", form(jws(t, key, header, claims("exp", now+86400))), "exp"},
		{"issued tomorrow", form(jws(t, key, header, claims("iat", now+86400))), "not valid yet"},
		{"not before tomorrow", form(jws(t, key, header, claims("nbf", now+86400))), "not valid yet"},
		{"no jti", form(jws(t, key, header, claims("jti", nil))), "jti"},
		{"another client_id", form(jws(t, key, header, claims()), "client_id", "second"), "client_id differs"},
		{"unknown client", form(jws(t, key, header, claims("iss", "x", "sub", "x"))), "unknown"},
		{"a public client's", form(jws(t, key, header, claims("iss", "public", "sub", "public"))), "registered for none"},
		{"type missing", form(jws(t, key, header, claims()), "client_assertion_type", ""), "client_assertion_type"},
		{"assertion missing", form("", "client_assertion", "", "client_id", "signer"), "JWS"},
		{"only the client_id", values(form("", "client_id", "signer", "client_assertion", "", "client_assertion_type", "")), "registered for private_key_jwt"},
	} {
		a := post(t, i.URL+"/token", tt.form)
		if tt.why == "" {
			if a.status != 200 {
				t.Errorf("%s: got %d %s", tt.name, a.status, a.body)
			}
			continue
		}
		wantError(t, tt.name, a, 401, "invalid_client")
		if note := lastNote(i.Log); !strings.Contains(note, tt.why) {
			t.Errorf("%s: note %q does not say %q", tt.name, note, tt.why)
		}
	}
	wantError(t, "two ways", post(t, i.URL+"/token", form(jws(t, key, header, claims()), "client_secret", "x")), 400, "invalid_request")
}

func TestClientAssertionOfEd25519(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t, oauthtest.IssuerOptions{ClientKeys: map[string]crypto.PublicKey{"signer": public}})
	unsigned := jws(t, newKey(t, elliptic.P256()), object{"alg": "EdDSA"}, object{"iss": "signer", "sub": "signer", "aud": i.URL, "exp": time.Now().Unix() + 60, "jti": "1"})
	input := unsigned[:strings.LastIndex(unsigned, ".")]
	form := func(signature []byte) url.Values {
		return values(url.Values{"grant_type": {"client_credentials"}, "resource": {audience}, "client_assertion_type": {jwtAssertion}}, "client_assertion", input+"."+b64(signature))
	}
	wantError(t, "wrong signature", post(t, i.URL+"/token", form(make([]byte, 64))), 401, "invalid_client")
	if a := post(t, i.URL+"/token", form(ed25519.Sign(private, []byte(input)))); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestJWTBearerGrant(t *testing.T) {
	const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	i := newIssuer(t, oauthtest.IssuerOptions{Assertions: func(assertion string) (string, error) {
		if assertion != "good" {
			return "", errors.New("not good")
		}
		return "workload-1", nil
	}})
	form := url.Values{"grant_type": {grant}, "assertion": {"good"}, "client_id": {"public"}, "resource": {audience}, "scope": {"docs.read"}}
	a := post(t, i.URL+"/token", form)
	if a.status != 200 || a.json["refresh_token"] != nil || a.json["scope"] != "docs.read" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	wantValid(t, i, a.json["access_token"], true)
	for _, tt := range []struct {
		name, parameter, value, want string
	}{
		{"bad assertion", "assertion", "bad", "invalid_grant"},
		{"no assertion", "assertion", "", "invalid_request"},
		{"no resource", "resource", "", "invalid_target"},
		{"bad scope", "scope", `"`, "invalid_scope"},
	} {
		wantError(t, tt.name, post(t, i.URL+"/token", values(form, tt.parameter, tt.value)), 400, tt.want)
	}
	off := newIssuer(t, oauthtest.IssuerOptions{})
	wantError(t, "not offered", post(t, off.URL+"/token", form), 400, "unsupported_grant_type")
	for issuer, want := range map[*oauthtest.Issuer]bool{i: true, off: false} {
		if got := strings.Contains(strings.Join(strs(get(t, issuer.URL+rfc8414).json["grant_types_supported"]), " "), grant); got != want {
			t.Errorf("announced: got %v, want %v", got, want)
		}
	}
}

func TestTokenExchange(t *testing.T) {
	const jag = "urn:ietf:params:oauth:token-type:id-jag"
	var i *oauthtest.Issuer
	i = newIssuer(t, oauthtest.IssuerOptions{Exchange: func(form url.Values) (string, string, error) {
		i.Valid("x", audience, nil) // the issuer may be asked meanwhile
		switch form.Get("subject_token") {
		case "mine":
			return "assertion-for-" + form.Get("audience"), form.Get("requested_token_type"), nil
		case "direct":
			return "", "", nil
		}
		return "", "", errors.New("not known")
	}})
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"public"}, "subject_token": {"mine"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"}, "requested_token_type": {jag}, "audience": {"https://as.example"},
	}
	a := post(t, i.URL+"/token", form)
	if a.status != 200 || a.json["access_token"] != "assertion-for-https://as.example" || a.json["issued_token_type"] != jag || a.json["token_type"] != "N_A" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	direct := values(form, "subject_token", "direct", "resource", audience)
	if a = post(t, i.URL+"/token", direct); a.status != 200 || a.json["token_type"] != "Bearer" || a.json["issued_token_type"] != "urn:ietf:params:oauth:token-type:access_token" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	wantValid(t, i, a.json["access_token"], true)
	for _, tt := range []struct {
		name, parameter, value, want string
	}{
		{"unknown token", "subject_token", "x", "invalid_request"},
		{"no token", "subject_token", "", "invalid_request"},
		{"no type", "subject_token_type", "", "invalid_request"},
		{"type is no URI", "subject_token_type", "id_token", "invalid_request"},
		{"requested type is no URI", "requested_token_type", "id-jag", "invalid_request"},
		{"actor without type", "actor_token", "x", "invalid_request"},
		{"for nobody", "resource", "", "invalid_target"},
		{"unknown client", "client_id", "nobody", "invalid_client"},
	} {
		if got := post(t, i.URL+"/token", values(direct, tt.parameter, tt.value)); got.json["error"] != tt.want {
			t.Errorf("%s: got %d %s, want %s", tt.name, got.status, got.body, tt.want)
		}
	}
}
