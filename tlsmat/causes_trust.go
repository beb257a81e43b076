package tlsmat

// What can be wrong with the settings of trust when they are loaded.
var (
	causeDirectoryTooLarge = Cause{"ca.directory_too_large", "tls.ca_file", "is a directory with more than {max} files or {size}",
		"name a directory that holds roots only, or the files themselves"}
	causeDirectoryWithoutRoots = Cause{"ca.directory_empty", "tls.ca_file", "is a directory without any certificate",
		"put the certificates of the authorities into it (PEM or DER), or correct {setting}"}
	causeSystemRoots = Cause{"ca.system_roots", "tls.ca_file", "cannot be added to the system roots, which are unreadable: {detail}",
		`install the system's CA certificates, or set {ca_mode} to "only"`}
	causeMinVersion = Cause{"min_version.unknown", "tls.min_version", "is neither TLS 1.2 nor TLS 1.3", `set {setting} to "1.2" or "1.3"`}
	causeServerName = Cause{"server_name.malformed", "tls.server_name", "{name} is neither a DNS name, nor an IP address, nor a SPIFFE ID",
		"set {setting} to the name alone, without scheme, port or wildcard, such as wiki.corp.example"}
	causeSPIFFEID = Cause{"server_name.spiffe_id", "tls.server_name", "{name} is not a SPIFFE ID of a workload",
		"write {setting} as spiffe://TRUST.DOMAIN/PATH: a trust domain in lower case and a path, without port, query, escapes or empty segments"}
	causeNoTrustDomain = Cause{"server_name.no_trust_domain", "tls.server_name", "is {id}, but no authority of its trust domain is known",
		"set {ca} to the bundle of that trust domain; the system's roots vouch for no SPIFFE ID"}
	causePinFormat = Cause{"pins.malformed", "tls.pins", "entry {number} {pin} is not sha256// followed by the base64 of 32 bytes",
		"make it from the server's certificate: openssl x509 -in CERT.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"}
	causeNoList = Cause{"crl.none", "tls.crl_file", "holds no revocation list, only {block}",
		"name a file with X509 CRL blocks, or a list in DER"}
	causeListDamaged = Cause{"crl.damaged", "tls.crl_file", "{block} is not a valid revocation list: {detail}",
		"fetch the list again from its issuer"}
	causeListDelta = Cause{"crl.delta", "tls.crl_file", "{block} is a delta list, which tells only what has changed",
		"name the issuer's complete list"}
	causeListExtension = Cause{"crl.extension", "tls.crl_file", "{block} has the critical extension {oid}, without which it must not be used and which is not supported",
		"name a list without that extension, if the issuer has one"}
	causeListScope = Cause{"crl.scope", "tls.crl_file", "{block} cannot be used: {detail}",
		"name the issuer's complete list"}
)

// Why a server is refused that its authority vouches for.
var (
	causePinMismatch = Cause{"pin_mismatch", "tls.pin_mismatch", "the certificate chain of {host} has none of the pinned keys; its own key has the pin {pin}",
		"find out from whoever runs the server whether its key was changed on purpose; if so, set {setting} to the new pin"}
	causeIDMismatch = Cause{"server_id_mismatch", "tls.server_id_mismatch", "the certificate of {host} is not that of {id}: {got}",
		"check that the URL leads to that workload, and {setting}"}
	causeRevoked = Cause{"server_cert_revoked", "tls.server_cert_revoked", "{whose}, {subject} with the serial number {serial}, was revoked on {date} according to {list}",
		"do not use the server until it has a new certificate; its issuer can tell why the old one was revoked"}
	causeListStale = Cause{"crl_expired", "tls.crl_expired", "{whose} cannot be checked: the revocation list of {issuer} in {list} was to be replaced by {date}",
		"fetch the current list of {issuer} into {file}"}
	causeListEarly = Cause{"crl_expired.early", "tls.crl_expired", "{whose} cannot be checked: the revocation list of {issuer} in {list} is not valid before {date}",
		"check the clock of this machine"}
	causeListSignature = Cause{"crl_invalid", "tls.crl_invalid", "{whose} cannot be checked: the revocation list of {issuer} in {list} is not signed by that authority's key ({detail})",
		"fetch the list again from its issuer; if the authority has a new key, add the list that the new key signed to {setting}"}
)

// What [Material.Checks] and [Material.Warnings] find.
var (
	causeRootsSkipped = Cause{"ca.skipped", "tls.ca_file", "not all files in the directory are roots; passed over are {files}",
		"move what is no certificate out of the directory"}
	causeRootExpired = Cause{"ca.expired", "tls.ca_file", "the root {subject} expired on {date}",
		"replace it by the authority's new certificate"}
	causeListAge = Cause{"crl.expires", "tls.crl_expiring", "the revocation list of {issuer} is to be replaced by {date}, in {left}",
		"fetch the current list; afterwards servers of that issuer are refused"}
	causeListOld = Cause{"crl.expired", "tls.crl_expired", "the revocation list of {issuer} was to be replaced by {date}; servers of that issuer are refused",
		"fetch the current list of that issuer"}
	causeListOpenEnded = Cause{"crl.open_ended", "tls.crl_expiring", "the revocation list of {issuer} does not say when it is replaced, and is taken for current",
		"have the issuer set nextUpdate"}
	causeExpired = Cause{"client_cert_expired", "tls.client_cert_expired", "the {what} {subject} expired on {date}",
		"renew the certificate in {setting} and its key"}
	causeExpires = Cause{"client_cert_expires", "tls.client_cert_expiring", "the {what} {subject} expires on {date}, in {left}",
		"renew the certificate in {setting} before then"}
	causeNotYetValid = Cause{"client_cert_early", "tls.client_cert_expired", "the {what} {subject} is not valid before {date}",
		"check the clock of this machine, or wait"}
	causeNotForClients = Cause{"client_cert_usage", "tls.client_cert_rejected", "the certificate {subject} is not meant for clients: its extended key usage is {usage}, without clientAuth",
		"set {setting} to a certificate whose extended key usage includes clientAuth"}
	causeWeakKey = Cause{"client_cert_weak", "tls.client_cert_rejected", "the certificate {subject} has an RSA key of {bits} bits; many servers refuse less than 2048",
		"have the certificate issued anew, for an ECDSA P-256 key or an RSA key of 2048 bits"}
)

// trustCauses are what can be wrong when trust is loaded, or is found by looking at it.
var trustCauses = []Cause{
	causeDirectoryTooLarge, causeDirectoryWithoutRoots, causeRootsSkipped, causeRootExpired, causeSystemRoots, causeMinVersion,
	causeServerName, causeSPIFFEID, causeNoTrustDomain, causePinFormat,
	causeNoList, causeListDamaged, causeListDelta, causeListExtension, causeListScope, causeListAge, causeListOld, causeListOpenEnded,
	causeExpired, causeExpires, causeNotYetValid, causeNotForClients, causeWeakKey,
}

// ServerCauses are why a server is refused for which crypto/tls finds nothing wrong: the messages of
// [PinError], [IDError], [RevokedError] and [CRLError].
func ServerCauses() []Cause {
	return []Cause{causePinMismatch, causeIDMismatch, causeRevoked, causeListStale, causeListEarly, causeListSignature}
}
