package tlsmat

import (
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
)

// Causes are what can be wrong with an [Entry], and what [Material.Warnings]
// tells at load time, in the order of the documentation. Messages begin with the name of the setting
// and the file, and go on as Says. {field} in a code is "cert", "key", "ca" or "crl", {setting} the
// name of the setting such as mtls.corp.key.
func Causes() []catalogue.Cause {
	return slices.Concat(entryCauses, keyfile.Causes(), pairCauses, trustCauses, homeCauses, reloadCauses)
}

var entryCauses = []catalogue.Cause{causeNoCert, causeNoRoots, causeNothing, causeHome, causeNoChain, causeTwoKeys, causeTwoPassphrases}

var (
	causeNoCert = catalogue.Cause{ID: "entry.no_cert", Code: "tls.cert_file",
		Says:   "is not set, but a key is",
		Remedy: "set {setting} to the file of the certificate that belongs to the key"}
	causeNoRoots = catalogue.Cause{ID: "entry.no_roots", Code: "tls.ca_file",
		Says:   "allows only the roots of {ca}, which is not set",
		Remedy: "set {ca}, or leave {setting} out to use the system roots"}
	causeNothing = catalogue.Cause{ID: "entry.nothing", Code: "tls.cert_file",
		Says:   "names neither a certificate nor roots",
		Remedy: "set {cert} and {key}, or {ca}"}
	causeHome = catalogue.Cause{ID: "entry.home", Code: "tls.key_file",
		Says:   "keeps its key to itself, and only files can be used here",
		Remedy: "name the file with the private key in {key}"}
	causeTwoKeys = catalogue.Cause{ID: "entry.two_keys", Code: "tls.key_file",
		Says:   "names more than one place where the key is",
		Remedy: "leave only one of {key}, {signer}, {spiffe} and a pkcs11: URI in {cert}"}
	causeTwoPassphrases = catalogue.Cause{ID: "entry.two_passphrases", Code: "tls.passphrase_unavailable",
		Says:   "is set, and {command} too",
		Remedy: "leave only one of {setting} and {command}"}
	causeNoChain = catalogue.Cause{ID: "entry.no_chain", Code: "tls.cert_file",
		Says:   "is not set, and where the key is kept there is no certificate",
		Remedy: "set {setting} to the file with the certificate"}
)

var pairCauses = []catalogue.Cause{causeMismatch, causeMismatchKind, causeHalfRenewed, causeMismatchHome, causeIncomplete, causeStranger}

var (
	causeMismatch = catalogue.Cause{ID: "pair.mismatch", Code: "tls.key_mismatch",
		Says:   "does not belong to the certificate {subject} in {cert_file}: the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}",
		Remedy: "set {cert} and {key} to files that were issued together"}
	causeMismatchKind = catalogue.Cause{ID: "pair.mismatch_kind", Code: "tls.key_mismatch",
		Says:   "does not belong to the certificate {subject} in {cert_file}: {key_kind} key, {cert_kind} certificate; the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}",
		Remedy: "set {cert} and {key} to files that were issued together"}
	causeHalfRenewed = catalogue.Cause{ID: "pair.half_renewed", Code: "tls.key_mismatch",
		Says:   "does not belong to the certificate {subject} in {cert_file}: the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}; the key was written at {key_time}, the certificate at {cert_time}: a renewal may be half done",
		Remedy: "wait until both files are written, or set {cert} and {key} to files that were issued together"}
	causeMismatchHome = catalogue.Cause{ID: "pair.mismatch_home", Code: "tls.key_mismatch",
		Says:   "has a key that does not belong to the certificate {subject}: the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}",
		Remedy: "set {cert} to the certificate that was issued for this key"}
	causeIncomplete = catalogue.Cause{ID: "pair.incomplete", Code: "tls.chain_incomplete",
		Says:   "the issuer of the certificate, {issuer}, is not in {place}; unless it is a root that servers know, they refuse the certificate",
		Remedy: "if {issuer} is an intermediate CA, {append}; if it is a root that servers know, nothing is missing"}
	causeStranger = catalogue.Cause{ID: "pair.stranger", Code: "tls.chain_stranger",
		Says:   "{count} of its certificates do not lead from the client certificate to its root and are not sent, the first is {subject}",
		Remedy: "remove them from {cert}, unless they are there for another purpose"}
)

// fault is that c is the case for the entry itself, at one of its fields.
func (e Entry) fault(c catalogue.Cause, field string, err error, values ...string) *LoadError {
	n := e.names()
	return n.Fault(c, field, err, append(slices.Clone(values), "ca", n.Setting("ca"), "signer", n.Setting("signer"), "spiffe", n.Setting("spiffe"))...)
}
