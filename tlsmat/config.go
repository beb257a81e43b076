package tlsmat

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// Name is the entry's name, "" for a nil Material.
func (m *Material) Name() string {
	if m == nil {
		return ""
	}
	return m.name
}

// Leaf is the client certificate, nil when there are only roots.
func (m *Material) Leaf() *x509.Certificate {
	if m == nil || m.cert == nil {
		return nil
	}
	return m.cert.Leaf
}

// Certificate is the chain and the key to use it with, nil when there are only roots. The key is a
// [crypto.Signer] that prints no secret.
func (m *Material) Certificate() *tls.Certificate {
	if m == nil || m.cert == nil {
		return nil
	}
	c := *m.cert
	c.Certificate = slices.Clone(c.Certificate)
	return &c
}

// TLSConfig is a new client configuration for servers of that host name, with this material and
// what it says servers must be: roots, server name, pins and revocation lists. It notes what servers
// ask for in the [Seen] of the handshake's context ([WithSeen]), if it has one.
// Every server that asks gets the certificate, so use the configuration only for origins that are
// meant to; [http.Transport] hands it to an https proxy too, unless it has its own DialTLSContext.
//
// It has no session cache. Whoever adds one keeps it to this material and to one principal and
// origin: a resumed session brings its identity with it.
func (m *Material) TLSConfig(host string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if m != nil {
		config.RootCAs = m.roots
		config.MinVersion = cmp.Or(m.minVersion, config.MinVersion)
		config.ServerName = cmp.Or(m.serverName, config.ServerName)
		config.VerifyConnection = m.verifier(host)
		config.InsecureSkipVerify = m.spiffeID != "" // as crypto/tls knows names only; verifier does it all
	}
	cert := m.Certificate()
	// Not Config.Certificates: those are withheld from a server whose list of acceptable CAs does
	// not match, and the server then complains of no certificate at all.
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		seen := seenIn(info.Context())
		seen.note(info, cert)
		if m != nil && m.withdrawn != nil {
			return nil, m.withdrawn
		}
		if cert == nil {
			return &tls.Certificate{}, nil // nil would panic in crypto/tls
		}
		c := *cert
		c.PrivateKey = &watchedSigner{cert.PrivateKey.(crypto.Signer), info.Context(), seen}
		return &c, nil
	}
	return config
}
