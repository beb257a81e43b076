package oauthtest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// proofs checks the DPoP proofs that one server receives (RFC 9449 §4.3).
type proofs struct {
	https      bool
	needsNonce bool

	mu            sync.Mutex // guards all below
	nonce, former string
	seen          map[string]bool // by jti
}

func newProofs(serverURL string, needsNonce bool) *proofs {
	return &proofs{https: strings.HasPrefix(serverURL, "https:"), needsNonce: needsNonce, nonce: random(), seen: map[string]bool{}}
}

// RenewDPoPNonce makes a new nonce, which the next answers carry (RFC 9449 §8.2). The one before
// is still accepted, until the next renewal.
func (i *Issuer) RenewDPoPNonce() { i.proofs.renew() }

// RenewDPoPNonce is [Issuer.RenewDPoPNonce] for the nonces of the resource.
func (s *Resource) RenewDPoPNonce() { s.proofs.renew() }

func (p *proofs) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.former, p.nonce = p.nonce, random()
}

// check returns the thumbprint of the key that the request proves. token is the access token that
// it carries, "" at the issuer.
func (p *proofs) check(w http.ResponseWriter, r *http.Request, token string) (thumbprint string, f *refusal) {
	bad := func(why string) (string, *refusal) { return "", refuse("invalid_dpop_proof", "%s", why) }
	header := r.Header.Values("DPoP")
	if len(header) != 1 {
		return bad("there must be one DPoP proof")
	}
	jws, err := jose.ParseSignedCompact(header[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return bad("the proof is not a JWS of ES256 with a public key in it")
	}
	protected := jws.Signatures[0].Protected
	if protected.ExtraHeaders[jose.HeaderType] != "dpop+jwt" {
		return bad("typ of the proof is not dpop+jwt")
	}
	jwk := protected.JSONWebKey
	if jwk == nil || !jwk.IsPublic() {
		return bad("the proof has no public key in it")
	}
	if key, ok := jwk.Key.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return bad("the key of the proof is not one of ES256")
	}
	payload, err := jws.Verify(jwk)
	if err != nil {
		return bad("the signature of the proof is wrong")
	}
	var claims struct {
		ID       string  `json:"jti"`
		Method   string  `json:"htm"`
		URL      string  `json:"htu"`
		IssuedAt float64 `json:"iat"`
		Nonce    string  `json:"nonce"`
		Token    string  `json:"ath"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.ID == "" {
		return bad("the claims of the proof cannot be read, or jti is missing")
	}
	if age := time.Since(time.Unix(int64(claims.IssuedAt), 0)); age > time.Minute || age < -time.Minute {
		return bad("iat of the proof is not now")
	}
	if claims.Method != r.Method {
		return bad("htm of the proof is not the method")
	}
	if claims.URL != p.target(r) {
		return bad("htu of the proof is not the URL without query and fragment")
	}
	sum := sha256.Sum256([]byte(token))
	if token != "" && claims.Token != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return bad("ath of the proof is not the hash of the token")
	}
	if token == "" && claims.Token != "" {
		return bad("the proof has an ath where there is no token")
	}
	if f := p.fresh(w, claims.ID, claims.Nonce); f != nil {
		return "", f
	}
	digest, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return bad("the key of the proof has no thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(digest), nil
}

// fresh refuses what was sent before, and what lacks our nonce (RFC 9449 §8, §9, §11.1).
func (p *proofs) fresh(w http.ResponseWriter, id, nonce string) *refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[id] {
		return refuse("invalid_dpop_proof", "jti of the proof was seen before")
	}
	p.seen[id] = true
	if !p.needsNonce {
		return nil
	}
	w.Header().Set("DPoP-Nonce", p.nonce)
	if nonce == "" || nonce != p.nonce && nonce != p.former {
		return refuse("use_dpop_nonce", "the proof needs a nonce of this server")
	}
	return nil
}

// target is the URL of the request as its sender wrote it, in the normal form of RFC 3986 §6.2.3.
func (p *proofs) target(r *http.Request) string {
	scheme, port := "http", ":80"
	if p.https || r.TLS != nil {
		scheme, port = "https", ":443"
	}
	return scheme + "://" + strings.TrimSuffix(strings.ToLower(r.Host), port) + cmp.Or(r.URL.EscapedPath(), "/")
}
