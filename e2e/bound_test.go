package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestDPoPWithNonces(t *testing.T) {
	w := newWorld(t, options{Binding: "dpop", Nonce: true, Features: object{"dPoP": on, "registration": on}})
	a := w.startAgent()
	w.signIn(a)
	w.read(a)

	requests := w.grants("authorization_code")
	if len(requests) != 2 || requests[0].Error != "use_dpop_nonce" || requests[1].Status != http.StatusOK || requests[1].Nonce == "" {
		t.Errorf("token requests: %+v", requests)
	}
	pages := w.requests("site", "/docs/handbook")
	var statuses []int
	for _, e := range pages {
		statuses = append(statuses, e.Status)
		if e.Proof != "" && !strings.HasPrefix(e.Authorization, "DPoP ") {
			t.Errorf("a proof without a bound token: %+v", e)
		}
	}
	// Without a token; without the site's nonce; with both; and once more, with the nonce at once.
	if len(pages) != 4 || statuses[0] != 401 || statuses[1] != 401 || statuses[2] != 200 || statuses[3] != 200 {
		t.Fatalf("the site answered %v", statuses)
	}
	if pages[0].Proof != "" || !strings.Contains(pages[1].Error.(string), "use_dpop_nonce") || pages[3].Nonce != pages[2].Nonce {
		t.Errorf("requests for the page: %+v", pages)
	}
	seen := map[string]bool{}
	for _, e := range w.find(func(e event) bool { return e.Proof != "" }) {
		if seen[e.Proof] {
			t.Errorf("the proof %s was shown twice", e.Proof)
		}
		seen[e.Proof] = true
	}

	// The key is there for the next process too.
	a.stop()
	w.read(w.startAgent())
}

var mutualTLS = object{"enabled": true, "tlsClientAuth": true, "selfSignedTlsClientAuth": true, "certificateBoundAccessTokens": true}

func TestMutualTLSClientAuthentication(t *testing.T) {
	robot := func(more object) object {
		client := object{"client_id": "robot", "grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{}}
		for name, v := range more {
			client[name] = v
		}
		return client
	}
	ownKey := selfSigned(t)
	for name, tt := range map[string]struct {
		method string
		client object
		pair   *tlstest.Pair // nil: issued by the authority that the issuer trusts
		where  string
	}{
		"by the subject, at the alias":  {"tls_client_auth", object{"tls_client_auth_subject_dn": "CN=robot"}, nil, "alias"},
		"by the subject, at the issuer": {"tls_client_auth", object{"tls_client_auth_subject_dn": "CN=robot"}, nil, "issuer"},
		"by the certificate itself, at the alias": {"self_signed_tls_client_auth", object{"jwks": object{"keys": []jose.JSONWebKey{{
			Key: ownKey.Cert.Leaf.PublicKey, Certificates: []*x509.Certificate{ownKey.Cert.Leaf},
		}}}}, ownKey, "alias"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.client["token_endpoint_auth_method"] = tt.method
			w := newWorld(t, options{
				Certificates: tt.where, Clients: []map[string]any{robot(tt.client)},
				Features: object{"mTLS": mutualTLS, "clientCredentials": on},
			})
			pair := tt.pair
			if pair == nil {
				pair = w.ca.Issue(tlstest.Leaf{CN: "robot", Client: true})
			}
			at := map[string]string{"alias": w.alias, "issuer": originOf(w.issuer)}[tt.where]
			w.useCertificate(pair, at)
			w.configureClient(object{"client_id": "robot", "token_endpoint_auth_method": tt.method}, object{"grant": "client_credentials"})
			w.read(w.startAgent())
			token := w.granted("client_credentials")
			want(t, "token request", token.Form, object{"client_id": "robot", "client_secret": nil, "client_assertion": nil, "resource": w.site})
			if token.AtAlias != (tt.where == "alias") || token.Certificate != thumbprint(pair) || token.Authorization != "" {
				t.Errorf("token request: %+v", token)
			}
			for _, e := range w.find(func(e event) bool { return e.Server == "site" && e.Certificate != "" }) {
				t.Errorf("the site was shown the certificate: %+v", e)
			}
		})
	}
}

// A certificate is renewed between two runs, or while the program runs. The token that was bound to
// the old one is never shown with the new one.
func TestCertificateBoundTokens(t *testing.T) {
	bound := object{"tls_client_certificate_bound_access_tokens": true}
	confidential := object{"tls_client_certificate_bound_access_tokens": true, "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=alice"}
	withCertificate := object{"client_id": "desk", "token_endpoint_auth_method": "tls_client_auth"}
	for name, tt := range map[string]struct {
		registered object
		ours       object
		silent     bool // the refresh token is the client's, whatever its certificate
		running    bool // the program is not started again
	}{
		"of a client with a certificate":          {confidential, withCertificate, true, false},
		"of a client with a certificate, running": {confidential, withCertificate, true, true},
		"of a public client":                      {bound, object{"client_id": "desk"}, false, false},
		"of a public client, running":             {bound, object{"client_id": "desk"}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{
				Certificates: "alias", Binding: "certificate", Clients: []map[string]any{public(tt.registered)}, Features: object{"mTLS": mutualTLS},
			})
			w.configureClient(tt.ours, object{})
			first := w.ca.Issue(tlstest.Leaf{CN: "alice", Client: true})
			w.useCertificate(first, w.site, w.alias)
			a := w.startAgent()
			w.signIn(a)
			if !tt.running {
				a.stop()
			}
			if got := w.granted("authorization_code"); got.Certificate != thumbprint(first) || !got.AtAlias {
				t.Errorf("token request: %+v", got)
			}
			checkSite(t, w, "Bearer ")
			before := len(w.requests("site", "/docs/handbook"))

			second := w.ca.Issue(tlstest.Leaf{CN: "alice", Client: true})
			w.useCertificate(second, w.site, w.alias)
			if tt.running {
				waitFor(t, "certificate to be used", 15*time.Second, func() bool {
					a.fetch(w.page(), 0)
					all := w.requests("site", "/docs/handbook")
					return all[len(all)-1].Certificate == thumbprint(second)
				})
				all := w.requests("site", "/docs/handbook")
				for before < len(all) && all[before].Certificate == thumbprint(first) { // not noticed yet
					before++
				}
			} else {
				a = w.startAgent()
			}
			if tt.silent {
				w.read(a)
				if got := w.granted("refresh_token"); got.Certificate != thumbprint(second) || !got.AtAlias {
					t.Errorf("refresh: %+v", got)
				}
			} else {
				w.signIn(a)
				if n := len(w.grants("refresh_token")); n > 0 {
					t.Errorf("%d refreshes with a token that is bound to the old certificate", n)
				}
			}
			old := w.requests("site", "/docs/handbook")[before-1].Authorization
			for _, e := range w.requests("site", "/docs/handbook")[before:] {
				if e.Certificate != thumbprint(second) || e.Authorization == old {
					t.Errorf("the old token with the new certificate: %+v", e)
				}
			}
		})
	}
}

func thumbprint(p *tlstest.Pair) string {
	sum := sha256.Sum256(p.Cert.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// selfSigned is a certificate that no authority issued.
func selfSigned(t *testing.T) *tlstest.Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "robot"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	p := &tlstest.Pair{
		CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
	p.Cert.Certificate, p.Cert.PrivateKey, p.Cert.Leaf = [][]byte{der}, key, leaf
	return p
}
