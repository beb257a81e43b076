package tlsfault

// We know nobody who vouches for the server.
var (
	serverCAUnknown = cause{ID: "server_ca_unknown.issuer", Code: "tls.server_ca_unknown",
		Says:   "the certificate of {host} is not issued under an authority trusted here{chain}{trusted}",
		Remedy: "{trust}"}
	serverCAIntermediate = cause{ID: "server_ca_unknown.intermediate", Code: "tls.server_ca_unknown",
		Says:   "{host} sends its certificate without that of its issuer {issuer}, which is not trusted here{chain}{trusted}",
		Remedy: "if that issuer is an intermediate CA, have the server send its certificate too; until then, or if it is a root, {trust}"}
	serverCASelfSigned = cause{ID: "server_ca_unknown.self_signed", Code: "tls.server_ca_unknown",
		Says:   "the certificate of {host} is self-signed and not trusted here{chain}{trusted}",
		Remedy: "if the server is meant to have it, it is its own authority: {trust}"}
	serverCARekeyed = cause{ID: "server_ca_unknown.rekeyed", Code: "tls.server_ca_unknown",
		Says:   "the certificate of {host} is issued under an authority whose name is trusted here, but not its key{chain}{trusted}",
		Remedy: "the authority has a new key, and the root known here is the old one: {trust}"}
	serverCASystem = cause{ID: "server_ca_unknown.system", Code: "tls.server_ca_unknown",
		Says:   "the certificate of {host} cannot be verified: the system's roots are unreadable",
		Remedy: "install the system's CA certificates (the package ca-certificates), or {trust}"}
)

// The server's certificate itself is at fault.
var (
	serverExpired = cause{ID: "server_cert_expired.over", Code: "tls.server_cert_expired",
		Says:   "{server_cert} expired on {date}",
		Remedy: "have the server's certificate renewed; if it is new, check the clock of this machine"}
	serverNotYet = cause{ID: "server_cert_expired.not_yet", Code: "tls.server_cert_expired",
		Says:   "{server_cert} is not valid before {date}, and this machine's clock says {now}",
		Remedy: "check the clock of this machine"}
	serverTime = cause{ID: "server_cert_expired.unclear", Code: "tls.server_cert_expired",
		Says:   "{server_cert} has expired or is not valid yet; this machine's clock says {now}",
		Remedy: "check the clock of this machine, or have the server's certificate renewed"}
	serverCertUsage = cause{ID: "server_cert_invalid.usage", Code: "tls.server_cert_invalid",
		Says:   "{server_cert} is not meant for servers: its extended key usage is {usage}",
		Remedy: "have the server use a certificate whose extended key usage includes serverAuth"}
	serverCertWeak = cause{ID: "server_cert_invalid.weak", Code: "tls.server_cert_invalid",
		Says:   "the certificate of {host} is signed with an algorithm that is no longer safe{chain}",
		Remedy: "have the server's certificate replaced by one signed with SHA-256 or better"}
	serverCertOther = cause{ID: "server_cert_invalid.other", Code: "tls.server_cert_invalid",
		Says:   "{server_cert} cannot be accepted: {reason}",
		Remedy: "have the server's certificate replaced"}
	hostnameOther = cause{ID: "hostname_mismatch.other", Code: "tls.hostname_mismatch",
		Says:   "the certificate of {host} is not for {wanted} but for {names}",
		Remedy: "use one of these names in {url}, have the certificate issued for {wanted} too, or, if this is the right server, set {server_name} to one of these names"}
	hostnameNone = cause{ID: "hostname_mismatch.none", Code: "tls.hostname_mismatch",
		Says:   "the certificate of {host} has no subject alternative name, so it is not for {wanted}{common_name}",
		Remedy: "have the certificate issued with {wanted} as a subject alternative name"}
	hostnameServerName = cause{ID: "hostname_mismatch.server_name", Code: "tls.hostname_mismatch",
		Says:   "the certificate of {host} is not for {wanted}, which {server_name} demands, but for {names}",
		Remedy: "correct {server_name}, or remove it if the certificate is for the name in {url}"}
)

// Nothing in common.
var (
	versionOld = cause{ID: "version.old", Code: "tls.version",
		Says:   "{host} and this program share no TLS version: TLS 1.2 and 1.3 are offered",
		Remedy: "enable TLS 1.2 or 1.3 on the server; older versions are not used"}
	versionMin = cause{ID: "version.min_version", Code: "tls.version",
		Says:   "{host} and this program share no TLS version: only TLS 1.3 is offered, as {min_version} demands",
		Remedy: "enable TLS 1.3 on the server, or set {min_version} to \"1.2\""}
	noCipher = cause{ID: "no_cipher.refused", Code: "tls.no_cipher",
		Says:   "{host} refused the connection before it showed its certificate{alert}: as a rule, because no cipher suite, curve or signature algorithm is shared",
		Remedy: "enable a cipher suite with ECDHE and AES-GCM or ChaCha20 on the server, or see its log for the reason"}
	noALPN = cause{ID: "no_alpn.refused", Code: "tls.no_alpn",
		Says:   "{host} speaks neither HTTP/2 nor HTTP/1.1 on this port{alert}",
		Remedy: "check the port in {url}; another service may be listening there"}
	unrecognizedName = cause{ID: "unrecognized_name.refused", Code: "tls.unrecognized_name",
		Says:   "{host} says that it serves no site of that name{alert}",
		Remedy: "check the host name in {url}, and {server_name} if it is set"}
)

// No TLS where it was expected, and the other way round.
var (
	notTLSHTTP = cause{ID: "not_tls.http", Code: "tls.not_tls",
		Says:   "{host} does not speak TLS on this port, but plain HTTP",
		Remedy: "use the port where it speaks TLS, or http:// in {url} if it is meant to be plain"}
	notTLSOther = cause{ID: "not_tls.other", Code: "tls.not_tls",
		Says:   "{host} does not speak TLS on this port",
		Remedy: "use the port where it speaks TLS, or http:// in {url} if it is meant to be plain"}
	notTLSPlain = cause{ID: "not_tls.plain", Code: "tls.not_tls",
		Says:   "{host} speaks TLS on this port, but was asked over plain HTTP",
		Remedy: "use https:// in {url}"}
)

// The rest.
var (
	handshakeUnclear = cause{ID: "handshake.unclear", Code: "tls.handshake",
		Says:   "{host} ended the TLS handshake{alert}: it needs a client certificate, or shares no cipher suite with this program",
		Remedy: "if the site needs a client certificate, {set}; otherwise see the server's log"}
	handshakeAlert = cause{ID: "handshake.alert", Code: "tls.handshake",
		Says:   "{host} ended the TLS handshake{alert}",
		Remedy: "see the server's log for the reason"}
	handshakeRefused = cause{ID: "handshake.refused", Code: "tls.handshake",
		Says:   "the TLS connection with {host} was ended on this side{alert}",
		Remedy: "check that nothing on the way interferes with the connection, and see the server's log"}
	handshakeLocal = cause{ID: "handshake.local", Code: "tls.handshake",
		Says:   "the TLS handshake with {host} failed: {reason}",
		Remedy: "see the server's log for the reason"}
	handshakeTimeout = cause{ID: "handshake.timeout", Code: "tls.handshake",
		Says:   "{host} did not finish the TLS handshake in time",
		Remedy: "check that the port speaks TLS and that no firewall is in between"}
	handshakeClosed = cause{ID: "handshake.closed", Code: "tls.handshake",
		Says:   "{host} closed the connection without a reason; it had asked for a client certificate and may have refused it{facts}",
		Remedy: "see the server's log for whether it refused the certificate, and try again"}
	handshakeUnasked = cause{ID: "handshake.unasked", Code: "tls.handshake",
		Says:   "{host} closed the connection without a reason; it had asked for a client certificate and may have refused it, and asking it why takes another signature of the key{facts}",
		Remedy: "run doctor for {url}, which makes one more signature to hear the reason, or see the server's log"}
)
