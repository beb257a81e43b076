package oauthtest

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"
)

const thumbprintPrefix = "x5t#S256:"

// asking returns config so that it asks clients for a certificate, unless it says itself how.
func asking(config *tls.Config, ca *x509.CertPool) *tls.Config {
	if config.ClientAuth != tls.NoClientCert {
		return config
	}
	config = config.Clone()
	config.ClientAuth = tls.RequestClientCert
	if ca != nil {
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, ca
	}
	return config
}

// certificateThumbprint is the x5t#S256 of the client's certificate (RFC 8705 §3.1), "" where it has none.
func certificateThumbprint(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// certificateMethod is how a client of CertificateClients authenticates (RFC 8705 §2).
func certificateMethod(wanted string) string {
	if strings.HasPrefix(wanted, thumbprintPrefix) {
		return "self_signed_tls_client_auth"
	}
	return "tls_client_auth"
}

func (c *client) checkCertificate(r *http.Request) *refusal {
	got := certificateThumbprint(r)
	if got == "" {
		return refuse("invalid_client", "the connection has no client certificate")
	}
	if wanted, ok := strings.CutPrefix(c.certificate, thumbprintPrefix); ok {
		if got != wanted {
			return refuse("invalid_client", "the client certificate is not the registered one")
		}
		return nil
	}
	if subject := r.TLS.PeerCertificates[0].Subject.String(); subject != c.certificate {
		return refuse("invalid_client", "the client certificate is for %q", subject)
	}
	return nil
}

// aliased are the endpoints that have a second address (RFC 8705 §5), by the member that names them.
func (i *Issuer) aliased() map[string]string {
	endpoints := map[string]string{"token_endpoint": "/token", "revocation_endpoint": "/revoke"}
	if !i.options.NoDevice {
		endpoints["device_authorization_endpoint"] = "/device_authorization"
	}
	if i.options.PAR != "" && !i.options.NoCode {
		endpoints["pushed_authorization_request_endpoint"] = "/par"
	}
	return endpoints
}

func (i *Issuer) aliases() map[string]string {
	endpoints := i.aliased()
	for member, path := range endpoints {
		endpoints[member] = i.AliasURL + path
	}
	return endpoints
}

// startAlias opens the second address, on the host of the first.
func (i *Issuer) startAlias() error {
	host := "127.0.0.1"
	if i.options.Listen != "" {
		host, _, _ = net.SplitHostPort(i.options.Listen) // it was listened on
	}
	config := asking(i.options.TLS, i.options.ClientCA)
	l, origin, err := listen(net.JoinHostPort(host, "0"), config)
	if err != nil {
		return err
	}
	i.AliasURL = origin + i.options.Path
	i.alias = serve(l, config, http.HandlerFunc(i.serveAlias))
	return nil
}

// serveAlias answers at the second address.
func (i *Issuer) serveAlias(w http.ResponseWriter, r *http.Request) {
	h := http.HandlerFunc(notFound)
	for _, path := range i.aliased() {
		if r.URL.Path == i.options.Path+path {
			h = i.route(r.URL.Path)
		}
	}
	i.Log.record("issuer", h, w, r)
}

// authMethods are what the clients of this issuer may use (RFC 8414 §2).
func (i *Issuer) authMethods() []string {
	methods := []string{"none", "client_secret_basic", "client_secret_post"}
	if len(i.options.ClientKeys) > 0 {
		methods = append(methods, "private_key_jwt")
	}
	for _, wanted := range i.options.CertificateClients {
		if m := certificateMethod(wanted); !slices.Contains(methods, m) {
			methods = append(methods, m)
		}
	}
	slices.Sort(methods[3:])
	return methods
}
