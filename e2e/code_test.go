package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// public is a client of an app on somebody's computer, registered beforehand.
func public(more object) object {
	client := object{
		"client_id": "desk", "application_type": "native", "token_endpoint_auth_method": "none", "redirect_uris": []string{"http://127.0.0.1/callback"},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
	for name, v := range more {
		client[name] = v
	}
	return client
}

// checkCode checks what both servers received in a sign-in with an authorization code.
func checkCode(t *testing.T, w *world, clientID any) {
	t.Helper()
	asked := w.only("authorization request", w.requests("issuer", "/auth"), http.StatusSeeOther)
	want(t, "authorization request", asked.Query, object{
		"response_type": "code", "client_id": clientID, "code_challenge_method": "S256", "resource": w.site,
	})
	if asked.Query["state"] == "" || asked.Query["code_challenge"] == "" || !strings.Contains(asked.Query["scope"], "docs.read") {
		t.Errorf("authorization request: %v", asked.Query)
	}
	token := w.granted("authorization_code")
	want(t, "token request", token.Form, object{"client_id": clientID, "resource": w.site, "client_secret": nil, "redirect_uri": asked.Query["redirect_uri"]})
	if v, _ := token.Form["code_verifier"].(string); len(v) < 43 {
		t.Errorf("token request without a verifier: %v", token.Form)
	}
	checkSite(t, w, "Bearer ")
}

// checkSite checks that the site was asked once without a token, and after that with one of that
// scheme which it took; and that nobody else was shown one.
func checkSite(t *testing.T, w *world, scheme string) {
	t.Helper()
	for i, e := range w.requests("site", "/docs/handbook") {
		status := http.StatusOK
		if i == 0 {
			status = http.StatusUnauthorized
		}
		if e.Status != status || (status == http.StatusOK) != strings.HasPrefix(e.Authorization, scheme) {
			t.Errorf("request %d for the page: %d with %q", i+1, e.Status, e.Authorization)
		}
	}
	for _, e := range w.find(func(e event) bool { return e.Server == "issuer" && strings.HasPrefix(e.Authorization, scheme) }) {
		t.Errorf("the issuer was shown a token: %+v", e)
	}
}

func TestDynamicRegistration(t *testing.T) {
	w := newWorld(t, options{Features: object{"registration": on}})
	a := w.startAgent()
	w.signIn(a)
	w.read(a)
	reg := w.only("registration", w.requests("issuer", "/reg"), http.StatusCreated)
	want(t, "registration", reg.Form, object{"application_type": "native", "token_endpoint_auth_method": "none", "scope": nil})
	auth := w.requests("issuer", "/auth")
	checkCode(t, w, auth[0].Query["client_id"])

	// What was registered and obtained is there for the next process.
	a.stop()
	w.read(w.startAgent())
	w.only("registration", w.requests("issuer", "/reg"), http.StatusCreated)
	w.granted("authorization_code")
}

func TestIssuerWithAPath(t *testing.T) {
	w := newWorld(t, options{Path: "/tenants/harbour", Clients: []map[string]any{public(nil)}})
	w.configureClient(object{"client_id": "desk"}, object{})
	w.signIn(w.startAgent())
	checkCode(t, w, "desk")
}

func TestClientIDMetadataDocument(t *testing.T) {
	w := newWorld(t, options{Features: object{
		"clientIdMetadataDocument": object{"enabled": true, "ack": "draft-02"},
		"registration":             on, // is not needed
	}})
	var document []byte
	asked := make(chan string, 10)
	home := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(document)
	}))
	home.TLS = w.ca.ServerConfig("127.0.0.1")
	home.StartTLS()
	t.Cleanup(home.Close)
	id := home.URL + "/clients/authfetch.json"
	w.config["login"].(object)["client_metadata_url"] = id
	document = []byte(w.run("config", "client-metadata"))

	w.signIn(w.startAgent())
	checkCode(t, w, id)
	if got := <-asked; got != "/clients/authfetch.json" || len(asked) > 0 {
		t.Errorf("the document's server was asked for %s, and %d more", got, len(asked))
	}
	if n := len(w.requests("issuer", "/reg")); n > 0 {
		t.Errorf("%d registrations", n)
	}
}

func TestPushedAuthorizationRequest(t *testing.T) {
	w := newWorld(t, options{
		Clients:  []map[string]any{public(object{"token_endpoint_auth_method": "client_secret_basic", "client_secret": "quay"})},
		Features: object{"pushedAuthorizationRequests": object{"enabled": true, "requirePushedAuthorizationRequests": true}},
	})
	w.configureClient(object{"client_id": "desk", "client_secret": "quay"}, object{})
	w.signIn(w.startAgent())
	pushed := w.only("pushed request", w.requests("issuer", "/request"), http.StatusCreated)
	want(t, "pushed request", pushed.Form, object{"response_type": "code", "code_challenge_method": "S256", "resource": w.site})
	if !strings.HasPrefix(pushed.Authorization, "Basic ") {
		t.Errorf("the pushed request is not authenticated: %+v", pushed)
	}
	asked := w.only("authorization request", w.requests("issuer", "/auth"), http.StatusSeeOther)
	want(t, "authorization request", asked.Query, object{"client_id": "desk", "state": nil, "code_challenge": nil, "resource": nil})
	if len(asked.Query) != 2 || !strings.HasPrefix(asked.Query["request_uri"], "urn:ietf:params:oauth:request_uri:") {
		t.Errorf("authorization request: %v", asked.Query)
	}
	w.granted("authorization_code")
}

func TestPrivateKeyJWT(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	client := public(object{
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
		"jwks": object{"keys": []jose.JSONWebKey{{Key: key.Public(), KeyID: "quay-1", Algorithm: "ES256", Use: "sig"}}},
	})
	w := newWorld(t, options{Clients: []map[string]any{client}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(w.dir, "desk.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	w.configureClient(object{"client_id": "desk", "private_key": "desk.key", "key_id": "quay-1"}, object{})
	w.signIn(w.startAgent())
	token := w.granted("authorization_code")
	want(t, "token request", token.Form, object{"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_secret": nil})
	assertion, _ := token.Form["client_assertion"].(string)
	jws, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	if got := jws.Signatures[0].Header.KeyID; got != "quay-1" {
		t.Errorf("the assertion names the key %q", got)
	}
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t, options{
		Clients: []map[string]any{{
			"client_id": "robot", "client_secret": "s p+c:e%", "token_endpoint_auth_method": "client_secret_basic",
			"grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{},
		}},
		Features: object{"clientCredentials": on},
	})
	w.configureClient(object{"client_id": "robot", "client_secret": "s p+c:e%"}, object{"grant": "client_credentials"})
	a := w.startAgent()
	w.read(a)
	w.read(a)
	token := w.granted("client_credentials")
	want(t, "token request", token.Form, object{"resource": w.site, "client_secret": nil})
	checkSite(t, w, "Bearer ")
}

// Over SSH nobody's browser reaches this computer: a code is shown.
func TestDeviceCode(t *testing.T) {
	w := newWorld(t, options{Features: object{"deviceFlow": on, "registration": on}})
	w.env = []string{"SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22"}
	a := w.startAgent()
	got := a.fetch(w.page(), 0)
	if got.Status != "login_required" || got.Login.UserCode == "" || got.Login.URL != "" || !strings.Contains(got.Text, got.Login.UserCode) {
		t.Fatalf("got %+v, want a code", got)
	}
	if _, err := w.person.walk(t.Context(), got.Login.VerificationURI, got.Login.UserCode); err != nil {
		t.Fatalf("entering the code: %v", err)
	}
	if got := a.fetch(w.page(), 20*time.Second); !got.isHandbook() {
		t.Fatalf("got %+v, want the page", got)
	}
	asked := w.only("device authorization request", w.requests("issuer", "/device/auth"), http.StatusOK)
	want(t, "device authorization request", asked.Form, object{"resource": w.site})
	polls := w.grants("urn:ietf:params:oauth:grant-type:device_code")
	for i, e := range polls {
		want(t, "poll", e.Form, object{"client_id": asked.Form["client_id"], "resource": w.site})
		if last := i == len(polls)-1; (e.Status == http.StatusOK) != last || !last && e.Error != "authorization_pending" {
			t.Errorf("poll %d of %d: %+v", i+1, len(polls), e)
		}
	}
	if len(polls) == 0 || len(w.requests("issuer", "/auth")) > 0 {
		t.Errorf("%d polls, %d authorization requests", len(polls), len(w.requests("issuer", "/auth")))
	}
}

// The site does not read the token, but asks the issuer about it.
func TestOpaqueToken(t *testing.T) {
	w := newWorld(t, options{Format: "opaque", Clients: []map[string]any{public(nil)}})
	w.configureClient(object{"client_id": "desk"}, object{})
	a := w.startAgent()
	w.signIn(a)
	w.read(a)
	checkCode(t, w, "desk")
	asked := w.requests("issuer", "/token/introspection")
	pages := w.requests("site", "/docs/handbook")
	if len(asked) != 2 || pages[1].Authorization != "Bearer "+asked[0].Form["token"].(string) || strings.Contains(pages[1].Authorization, ".") {
		t.Errorf("introspections %+v of %+v", asked, pages)
	}
}
