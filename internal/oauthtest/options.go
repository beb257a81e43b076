package oauthtest

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"
)

// IssuerOptions shape an [Issuer]. The zero value is a well-behaved server of the code,
// device and client credentials grants, with registration and revocation.
type IssuerOptions struct {
	TLS    *tls.Config // nil: plain http on loopback
	Listen string      // "": 127.0.0.1:0; the host given here is the host of the URL
	Path   string      // path of the issuer identifier, such as "/tenant1"
	Log    *Log        // nil: its own

	TokenLifetime  time.Duration // 0: one hour; negative: expires_in is omitted, tokens do not expire
	NoRefresh      bool          // issue no refresh tokens
	NoRegistration bool          // no dynamic registration (RFC 7591)
	NoDevice       bool          // no device grant (RFC 8628)
	NoISS          bool          // neither announce nor send iss (RFC 9207)
	NoPKCEMetadata bool          // do not announce S256; it is demanded all the same
	NoCode         bool          // no authorization endpoint and no code grant
	RotateRefresh  bool          // each refresh token works once; using one again revokes its family
	OIDCOnly       bool          // metadata only where OpenID Connect Discovery puts it: path + /.well-known/openid-configuration
	AutoApprove    bool          // the authorization endpoint redirects back at once, with no person
	DeviceInterval int           // seconds; 0: 1. Sent as it is, enforced up to 60

	// Clients registered beforehand: client_id to secret, "" for a public client. One with a secret
	// may use client_secret_basic or client_secret_post.
	Clients map[string]string
	// ClientKeys are clients that authenticate with private_key_jwt (RFC 7523): client_id to public key.
	ClientKeys map[string]crypto.PublicKey
	// CertificateClients authenticate with the certificate of their connection (RFC 8705 §2):
	// client_id to the subject (RFC 4514) for tls_client_auth, or to "x5t#S256:" and the thumbprint
	// for self_signed_tls_client_auth.
	CertificateClients map[string]string
	// RedirectURIs of all those clients; nil: /callback on 127.0.0.1 or [::1], any port (RFC 8252 §7.3).
	RedirectURIs []string
	// MetadataClients fetches the documents of clients whose client_id is a URL; nil: not offered.
	MetadataClients *http.Client

	PAR         string         // pushed authorization requests (RFC 9126): "" for none, "offered" or "required"
	DPoP        bool           // tokens are bound to the key of the request's proof, if it has one (RFC 9449)
	RequireDPoP bool           // no token without a proof
	DPoPNonce   bool           // proofs at the token and PAR endpoints need a nonce of this server
	Management  bool           // registrations can be read and deleted (RFC 7592)
	IDToken     bool           // what a person approved yields an ID token with sub and email too
	Aliases     bool           // a second listener asks for client certificates (RFC 8705 §5); the main one then does not
	ClientCA    *x509.CertPool // signs client certificates; nil: any certificate may connect
	// CertificateBound binds tokens to the certificate presented at the token endpoint (RFC 8705 §3).
	CertificateBound bool

	// Assertions offers the JWT bearer grant (RFC 7523 §2.1) and returns whom an assertion stands for.
	Assertions func(assertion string) (subject string, err error)
	// Exchange offers token exchange (RFC 8693). Where it returns no token, the issuer makes an
	// access token of its own.
	Exchange func(form url.Values) (token, issuedTokenType string, err error)

	Edit         func(path string, metadata map[string]any) // change a metadata document before it is sent
	EditReply    func(path string, reply map[string]any)    // change a JSON reply, of /token or /register say
	EditRedirect func(query url.Values)                     // change what the redirect back to the client carries
	// Handle overrides an endpoint by the end of its path ("/token", "/register"); the longest wins.
	Handle map[string]http.HandlerFunc
}

// needsCertificates reports whether any of the options looks at client certificates.
func (o *IssuerOptions) needsCertificates() bool {
	return o.CertificateBound || o.Aliases || len(o.CertificateClients) > 0
}
