package tlsmat

import "github.com/mcp-authfetch/mcp-authfetch/catalogue"

// What can be wrong with the settings of trust when they are loaded.
var (
	causeDirectoryTooLarge = catalogue.Cause{ID: "ca.directory_too_large", Code: "tls.ca_file",
		Says:   "is a directory with more than {max} files or {size}",
		Remedy: "name a directory that holds roots only, or the files themselves"}
	causeDirectoryWithoutRoots = catalogue.Cause{ID: "ca.directory_empty", Code: "tls.ca_file",
		Says:   "is a directory without any certificate",
		Remedy: "put the certificates of the authorities into it (PEM or DER), or correct {setting}"}
	causeSystemRoots = catalogue.Cause{ID: "ca.system_roots", Code: "tls.ca_file",
		Says:   "cannot be added to the system roots, which are unreadable: {detail}",
		Remedy: `install the system's CA certificates, or set {ca_mode} to "only"`}
	causeMinVersion = catalogue.Cause{ID: "min_version.unknown", Code: "tls.min_version",
		Says:   "is neither TLS 1.2 nor TLS 1.3",
		Remedy: `set {setting} to "1.2" or "1.3"`}
	causeServerName = catalogue.Cause{ID: "server_name.malformed", Code: "tls.server_name",
		Says:   "{name} is neither a DNS name, nor an IP address, nor a SPIFFE ID",
		Remedy: "set {setting} to the name alone, without scheme, port or wildcard, such as wiki.corp.example"}
	causeSPIFFEID = catalogue.Cause{ID: "server_name.spiffe_id", Code: "tls.server_name",
		Says:   "{name} is not a SPIFFE ID of a workload",
		Remedy: "write {setting} as spiffe://TRUST.DOMAIN/PATH: a trust domain in lower case and a path, without port, query, escapes or empty segments"}
	causeNoTrustDomain = catalogue.Cause{ID: "server_name.no_trust_domain", Code: "tls.server_name",
		Says:   "is {id}, but no authority of its trust domain is known",
		Remedy: "set {ca} to the bundle of that trust domain; the system's roots vouch for no SPIFFE ID"}
	causePinFormat = catalogue.Cause{ID: "pins.malformed", Code: "tls.pins",
		Says:   "entry {number} {pin} is not sha256// followed by the base64 of 32 bytes",
		Remedy: "make it from the server's certificate: openssl x509 -in CERT.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"}
	causeNoList = catalogue.Cause{ID: "crl.none", Code: "tls.crl_file",
		Says:   "holds no revocation list, only {block}",
		Remedy: "name a file with X509 CRL blocks, or a list in DER"}
	causeListDamaged = catalogue.Cause{ID: "crl.damaged", Code: "tls.crl_file",
		Says:   "{block} is not a valid revocation list: {detail}",
		Remedy: "fetch the list again from its issuer"}
	causeListDelta = catalogue.Cause{ID: "crl.delta", Code: "tls.crl_file",
		Says:   "{block} is a delta list, which tells only what has changed",
		Remedy: "name the issuer's complete list"}
	causeListExtension = catalogue.Cause{ID: "crl.extension", Code: "tls.crl_file",
		Says:   "{block} has the critical extension {oid}, without which it must not be used and which is not supported",
		Remedy: "name a list without that extension, if the issuer has one"}
	causeListScope = catalogue.Cause{ID: "crl.scope", Code: "tls.crl_file",
		Says:   "{block} cannot be used: {detail}",
		Remedy: "name the issuer's complete list"}
)

// Why a server is refused that its authority vouches for.
var (
	causePinMismatch = catalogue.Cause{ID: "pin_mismatch", Code: "tls.pin_mismatch",
		Says:   "the certificate chain of {host} has none of the pinned keys; its own key has the pin {pin}",
		Remedy: "find out from whoever runs the server whether its key was changed on purpose; if so, set {setting} to the new pin"}
	causeIDMismatch = catalogue.Cause{ID: "server_id_mismatch", Code: "tls.server_id_mismatch",
		Says:   "the certificate of {host} is not that of {id}: {got}",
		Remedy: "check that the URL leads to that workload, and {setting}"}
	causeRevoked = catalogue.Cause{ID: "server_cert_revoked", Code: "tls.server_cert_revoked",
		Says:   "{whose}, {subject} with the serial number {serial}, was revoked on {date} according to {list}",
		Remedy: "do not use the server until it has a new certificate; its issuer can tell why the old one was revoked"}
	causeListStale = catalogue.Cause{ID: "crl_expired", Code: "tls.crl_expired",
		Says:   "{whose} cannot be checked: the revocation list of {issuer} in {list} was to be replaced by {date}",
		Remedy: "fetch the current list of {issuer} into {file}"}
	causeListEarly = catalogue.Cause{ID: "crl_expired.early", Code: "tls.crl_expired",
		Says:   "{whose} cannot be checked: the revocation list of {issuer} in {list} is not valid before {date}",
		Remedy: "check the clock of this machine"}
	causeListSignature = catalogue.Cause{ID: "crl_invalid", Code: "tls.crl_invalid",
		Says:   "{whose} cannot be checked: the revocation list of {issuer} in {list} is not signed by that authority's key ({detail})",
		Remedy: "fetch the list again from its issuer; if the authority has a new key, add the list that the new key signed to {setting}"}
)

// What [Material.Checks] and [Material.Warnings] find.
var (
	causeRootsSkipped = catalogue.Cause{ID: "ca.skipped", Code: "tls.ca_file",
		Says:   "not all files in the directory are roots; passed over are {files}",
		Remedy: "move what is no certificate out of the directory"}
	causeRootExpired = catalogue.Cause{ID: "ca.expired", Code: "tls.ca_file",
		Says:   "the root {subject} expired on {date}",
		Remedy: "replace it by the authority's new certificate"}
	causeListAge = catalogue.Cause{ID: "crl.expires", Code: "tls.crl_expiring",
		Says:   "the revocation list of {issuer} is to be replaced by {date}, in {left}",
		Remedy: "fetch the current list; afterwards servers of that issuer are refused"}
	causeListOld = catalogue.Cause{ID: "crl.expired", Code: "tls.crl_expired",
		Says:   "the revocation list of {issuer} was to be replaced by {date}; servers of that issuer are refused",
		Remedy: "fetch the current list of that issuer"}
	causeListOpenEnded = catalogue.Cause{ID: "crl.open_ended", Code: "tls.crl_expiring",
		Says:   "the revocation list of {issuer} does not say when it is replaced, and is taken for current",
		Remedy: "have the issuer set nextUpdate"}
	causeExpired = catalogue.Cause{ID: "client_cert_expired", Code: "tls.client_cert_expired",
		Says:   "the {what} {subject} expired on {date}",
		Remedy: "renew the certificate in {setting} and its key"}
	causeExpires = catalogue.Cause{ID: "client_cert_expires", Code: "tls.client_cert_expiring",
		Says:   "the {what} {subject} expires on {date}, in {left}",
		Remedy: "renew the certificate in {setting} before then"}
	causeNotYetValid = catalogue.Cause{ID: "client_cert_early", Code: "tls.client_cert_expired",
		Says:   "the {what} {subject} is not valid before {date}",
		Remedy: "check the clock of this machine, or wait"}
	causeNotForClients = catalogue.Cause{ID: "client_cert_usage", Code: "tls.client_cert_rejected",
		Says:   "the certificate {subject} is not meant for clients: its extended key usage is {usage}, without clientAuth",
		Remedy: "set {setting} to a certificate whose extended key usage includes clientAuth"}
	causeWeakKey = catalogue.Cause{ID: "client_cert_weak", Code: "tls.client_cert_rejected",
		Says:   "the certificate {subject} has an RSA key of {bits} bits; many servers refuse less than 2048",
		Remedy: "have the certificate issued anew, for an ECDSA P-256 key or an RSA key of 2048 bits"}
)

// trustCauses are what can be wrong when trust is loaded, or is found by looking at it.
var trustCauses = []catalogue.Cause{
	causeDirectoryTooLarge, causeDirectoryWithoutRoots, causeRootsSkipped, causeRootExpired, causeSystemRoots, causeMinVersion,
	causeServerName, causeSPIFFEID, causeNoTrustDomain, causePinFormat,
	causeNoList, causeListDamaged, causeListDelta, causeListExtension, causeListScope, causeListAge, causeListOld, causeListOpenEnded,
	causeExpired, causeExpires, causeNotYetValid, causeNotForClients, causeWeakKey,
}

// ServerCauses are why a server is refused for which crypto/tls finds nothing wrong: the messages of
// [PinError], [IDError], [RevokedError] and [CRLError].
func ServerCauses() []catalogue.Cause {
	return []catalogue.Cause{causePinMismatch, causeIDMismatch, causeRevoked, causeListStale, causeListEarly, causeListSignature}
}
