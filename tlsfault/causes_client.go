package tlsfault

// The server asked for a certificate and got none.
var (
	requiredNone = cause{ID: "client_cert_required.none", Code: "tls.client_cert_required",
		Says:   "{host} requires a client certificate, and none is configured for it{accepted}",
		Remedy: "{set}"}
	requiredClosed = cause{ID: "client_cert_required.closed", Code: "tls.client_cert_required",
		Says:   "{host} closed the connection after it had asked for a client certificate and got none{accepted}",
		Remedy: "{set}"}
	requiredStatus = cause{ID: "client_cert_required.status", Code: "tls.client_cert_required",
		Says:   "{host} answered {status} after it had asked for a client certificate and got none, so it may require one{accepted}",
		Remedy: "if the site is for holders of certificates, {set}"}
	requiredLost = cause{ID: "client_cert_required.lost", Code: "tls.client_cert_required",
		Says:   "{host} requires a client certificate and says that it got none, though one is configured{accepted}{facts}",
		Remedy: "see the server's log; it may count a certificate of an authority it does not know as none, or a proxy in front of it does not pass the certificate on"}
	requiredLater = cause{ID: "client_cert_required.later", Code: "tls.client_cert_required",
		Says:   "{host} asks for a client certificate in the middle of a TLS 1.2 connection (renegotiation), which is refused here",
		Remedy: "have the server ask for the certificate when the connection starts, for the whole site or under a host name of its own"}
	requiredAfter = cause{ID: "client_cert_required.after", Code: "tls.client_cert_required",
		Says:   "{host} wants to ask for a client certificate in the middle of a TLS 1.3 connection (post-handshake authentication), which is not offered here",
		Remedy: "have the server ask for the certificate when the connection starts, for the whole site or under a host name of its own"}
)

// The server got our certificate and its time is wrong.
var (
	expiredOver = cause{ID: "client_cert_expired.over", Code: "tls.client_cert_expired",
		Says:   "{host} rejected {which}, which expired on {date}{alert}{facts}",
		Remedy: "renew the certificate in {cert} and its key"}
	expiredNotYet = cause{ID: "client_cert_expired.not_yet", Code: "tls.client_cert_expired",
		Says:   "{host} rejected {which}, which is not valid before {date}{alert}; this machine's clock says {now}{facts}",
		Remedy: "check the clock of this machine; if it is right, wait, or have the certificate in {cert} issued anew"}
	expiredClock = cause{ID: "client_cert_expired.clock", Code: "tls.client_cert_expired",
		Says:   "{host} says that the client certificate has expired or is not valid yet{alert}, but by this machine's clock, {now}, it is valid{facts}",
		Remedy: "compare the clocks of both machines; the server may also check other intermediate certificates than those in {cert}"}
)

// The server got our certificate and refused it for what it is.
var (
	rejectedUsage = cause{ID: "client_cert_rejected.usage", Code: "tls.client_cert_rejected",
		Says:   "{host} rejected the client certificate, which is not meant for clients: its extended key usage is {usage}{alert}{facts}",
		Remedy: "set {cert} to a certificate whose extended key usage includes clientAuth"}
	rejectedKeyUsage = cause{ID: "client_cert_rejected.key_usage", Code: "tls.client_cert_rejected",
		Says:   "{host} rejected the client certificate, whose key usage allows no signatures{alert}{facts}",
		Remedy: "set {cert} to a certificate whose key usage includes digitalSignature"}
	rejectedWeak = cause{ID: "client_cert_rejected.weak", Code: "tls.client_cert_rejected",
		Says:   "{host} rejected the client certificate, perhaps because its {weakness} is too weak{alert}{facts}",
		Remedy: "have the certificate in {cert} issued anew with an RSA key of 2048 bits or an ECDSA key, and signed with SHA-256"}
	rejectedRevoked = cause{ID: "client_cert_rejected.revoked", Code: "tls.client_cert_rejected",
		Says:   "{host} says that the client certificate is revoked{alert}{facts}",
		Remedy: "have a new certificate issued and set it in {cert}"}
	rejectedAlgorithms = cause{ID: "client_cert_rejected.algorithms", Code: "tls.client_cert_rejected",
		Says:   "{host} accepts no signature that the client certificate's {algorithm} key can make{makes}{wants}",
		Remedy: "set {cert} to a certificate with a key the server accepts, usually RSA 2048 or ECDSA P-256"}
	rejectedOther = cause{ID: "client_cert_rejected.other", Code: "tls.client_cert_rejected",
		Says:   "{host} rejected the client certificate{alert}{accepted}{facts}",
		Remedy: "set {cert} to a certificate the server accepts, or see its log for the reason"}
)

// The server accepts the certificate, but not for this.
var (
	deniedAlert = cause{ID: "client_cert_denied.alert", Code: "tls.client_cert_denied",
		Says:   "{host} accepts the client certificate, but denies it access{alert}{facts}",
		Remedy: "have the server's administrator allow this subject, or set {cert} to a certificate that is allowed"}
	deniedStatus = cause{ID: "client_cert_denied.status", Code: "tls.client_cert_denied",
		Says:   "{host} answered {status} to the holder of {which}, so it may not allow it{facts}",
		Remedy: "have the server's administrator allow this subject, or set {cert} to a certificate that is allowed; the site may also want a sign-in that it does not name"}
)

// The server knows nobody who vouches for the certificate.
var (
	clientCAIssuer = cause{ID: "client_ca_unknown.issuer", Code: "tls.client_ca_unknown",
		Says:   "{host} does not know the authority {issuer} that issued the client certificate{alert}{accepted}{facts}",
		Remedy: "have the server trust {issuer}, or set {cert} to a certificate of an authority it trusts"}
	clientCAIntermediate = cause{ID: "client_ca_unknown.intermediate", Code: "tls.client_ca_unknown",
		Says:   "{host} does not know the authority {issuer} that issued the client certificate, and its certificate is not sent along{alert}{accepted}{facts}",
		Remedy: "if {issuer} is an intermediate CA, {append}; otherwise have the server trust it, or set {cert} to a certificate of an authority it trusts"}
	clientCASelfSigned = cause{ID: "client_ca_unknown.self_signed", Code: "tls.client_ca_unknown",
		Says:   "{host} does not know the client certificate {subject}, which is self-signed{alert}{accepted}{facts}",
		Remedy: "have the server trust this very certificate, or set {cert} to a certificate of an authority it trusts"}
)

// Our key.
var (
	keyMismatch = cause{ID: "key_mismatch.signature", Code: "tls.key_mismatch",
		Says:   "{host} could not verify the signature made with the client key{alert}{facts}",
		Remedy: "check that {key} belongs to {cert}; a token or signer may hold several keys"}
	signerTold = cause{ID: "signer.told", Code: "tls.signer",
		Says:   "the client key did not sign the handshake with {host}: {reason}",
		Remedy: "{advice}"}
	signerFailed = cause{ID: "signer.failed", Code: "tls.signer",
		Says:   "the client key did not sign the handshake with {host}{facts}",
		Remedy: "check that the program, token or agent that holds the key of {cert} is running and unlocked"}
	signerSlow = cause{ID: "signer.slow", Code: "tls.signer",
		Says:   "the client key had not signed the handshake with {host} when the time was up{facts}",
		Remedy: "if its token wants to be touched or asks for a PIN, do that and try again; otherwise check the program or token that holds the key of {cert}"}
	signerLate = cause{ID: "signer.late", Code: "tls.signer",
		Says:   "{host} closed the connection after the client key had taken {took} to sign the handshake{facts}",
		Remedy: "try again and touch the token, or answer its prompt, at once; servers wait some seconds only"}
)
