package tlsmat

import (
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// Causes are what can be wrong with an [Entry] or the key of [LoadKey], and what [Material.Warnings]
// tells at load time, in the order of the documentation. Messages begin with the name of the setting
// and the file, and go on as Says. {field} in a code is "cert", "key", "ca" or "crl", {setting} the
// name of the setting such as mtls.corp.key.
func Causes() []Cause {
	return slices.Concat(entryCauses, fileCauses, encodingCauses, certificateCauses, keyCauses, passphraseCauses, pkcs12Causes, pairCauses, permissionCauses, trustCauses, homeCauses, reloadCauses)
}

var entryCauses = []Cause{causeNoCert, causeNoRoots, causeNothing, causeHome, causeNoChain, causeTwoKeys, causeTwoPassphrases}

var (
	causeNoCert = Cause{"entry.no_cert", "tls.cert_file", "is not set, but a key is",
		"set {setting} to the file of the certificate that belongs to the key"}
	causeNoRoots = Cause{"entry.no_roots", "tls.ca_file", "allows only the roots of {ca}, which is not set",
		"set {ca}, or leave {setting} out to use the system roots"}
	causeNothing = Cause{"entry.nothing", "tls.cert_file", "names neither a certificate nor roots",
		"set {cert} and {key}, or {ca}"}
	causeHome = Cause{"entry.home", "tls.key_file", "keeps its key to itself, and only files can be used here",
		"name the file with the private key in {key}"}
	causeTwoKeys = Cause{"entry.two_keys", "tls.key_file", "names more than one place where the key is",
		"leave only one of {key}, {signer}, {spiffe} and a pkcs11: URI in {cert}"}
	causeTwoPassphrases = Cause{"entry.two_passphrases", "tls.passphrase_unavailable", "is set, and {command} too",
		"leave only one of {setting} and {command}"}
	causeNoChain = Cause{"entry.no_chain", "tls.cert_file", "is not set, and where the key is kept there is no certificate",
		"set {setting} to the file with the certificate"}
)

var fileCauses = []Cause{causeMissing, causeDangling, causeDenied, causeDirectory, causeIrregular, causeUnreadable, causeLarge, causeEmpty, causeBlank}

var (
	causeMissing  = Cause{"file.missing", "tls.{field}_file", "does not exist", "check the path in {setting}"}
	causeDangling = Cause{"file.dangling", "tls.{field}_file", "is a symbolic link to {target}, which does not exist",
		"restore what the link leads to, or check the path in {setting}"}
	causeDenied = Cause{"file.denied", "tls.{field}_file", "is not readable for this user (uid {uid}): permission denied",
		"let the user that runs this program read {file} and enter its directories"}
	causeDirectory = Cause{"file.directory", "tls.{field}_file", "is a directory",
		"name the file inside it in {setting}; a Kubernetes TLS secret has tls.crt, tls.key and ca.crt"}
	causeIrregular  = Cause{"file.irregular", "tls.{field}_file", "is not a regular file", "name a regular file in {setting}"}
	causeUnreadable = Cause{"file.unreadable", "tls.{field}_file", "cannot be read: {detail}", "check the path in {setting}"}
	causeLarge      = Cause{"file.large", "tls.{field}_file", "is larger than {limit} MiB", "name a file of certificates or keys in {setting}"}
	causeEmpty      = Cause{"file.empty", "tls.{field}_file", "is empty (0 bytes)", "write the file {file} again from its source"}
	causeBlank      = Cause{"file.blank", "tls.{field}_file", "holds only white space ({size} bytes)", "write the file {file} again from its source"}
)

var encodingCauses = []Cause{causeUTF16, causeNoFormat, causeCut, causeEscaped, causeDamagedPEM, causeCutDER, causeDamagedDER, causeBER}

var (
	causeUTF16 = Cause{"encoding.utf16", "tls.{field}_file", "is saved as UTF-16",
		"save {file} again as UTF-8 or ASCII; PowerShell's > writes UTF-16"}
	causeNoFormat = Cause{"encoding.unknown", "tls.{field}_file", "is neither PEM (it has no BEGIN line) nor DER nor PKCS#12",
		"name a file of certificates or keys in {setting}"}
	causeCut = Cause{"encoding.pem_cut", "tls.{field}_file", "{block} has no END line: the file is cut off or damaged",
		"restore {file} from its source"}
	causeEscaped = Cause{"encoding.pem_escaped", "tls.{field}_file", `{block} contains the characters \n where line breaks belong`,
		"write {file} with line breaks; tools that print JSON escape them"}
	causeDamagedPEM = Cause{"encoding.pem_damaged", "tls.{field}_file", "{block} {detail}",
		"restore {file} from its source; each block needs its BEGIN line, its base64 lines and its END line"}
	causeCutDER = Cause{"encoding.der_cut", "tls.{field}_file", "is DER and cut off: {block} needs {want} bytes, of which the file has {size}",
		"restore {file} from its source, copied as binary"}
	causeDamagedDER = Cause{"encoding.der_damaged", "tls.{field}_file", "is DER, but {block} is not", "restore {file} from its source, copied as binary"}
	causeBER        = Cause{"encoding.ber", "tls.{field}_file", "is BER with indefinite lengths, not DER",
		"convert it: openssl pkcs12 -in {file} -out FILE.pem, and name that in {setting}"}
)

var certificateCauses = []Cause{causeDamagedCert, causeTrusted, causeRequest, causeKeyAsCert, causePKCS7, causePKCS12AsRoots, causeNoCertificate}

var (
	causeDamagedCert = Cause{"certificate.damaged", "tls.{field}_file", "{block} is not a valid certificate: {detail}",
		"restore this certificate in {file} from its source"}
	causeTrusted = Cause{"certificate.trusted", "tls.{field}_file", "{block} is in OpenSSL's own trusted form, not a plain certificate",
		"convert it: openssl x509 -in {file} -out FILE.pem, and name that in {setting}"}
	causeRequest = Cause{"certificate.request", "tls.{field}_file", "holds a certificate request, which is not signed yet",
		"have the request signed by your CA and name the certificate it returns in {setting}"}
	causeKeyAsCert = Cause{"certificate.is_key", "tls.{field}_file", "holds a private key, but no certificate", "name the certificate in {setting}"}
	causePKCS7     = Cause{"certificate.pkcs7", "tls.{field}_file", "holds PKCS#7, which is not read",
		"convert it: openssl pkcs7 -print_certs {inform}-in {file} -out FILE.pem, and name that in {setting}"}
	causePKCS12AsRoots = Cause{"certificate.pkcs12", "tls.{field}_file", "is PKCS#12, which is read for a certificate and its key only",
		"convert it: openssl pkcs12 -nokeys -in {file} -out FILE.pem, and name that in {setting}"}
	causeNoCertificate = Cause{"certificate.none", "tls.{field}_file", "holds no certificate, only {block}", "name a file with a certificate in {setting}"}
)

var keyCauses = []Cause{causeCertAsKey, causePublicKey, causeNoKey, causeDamagedKey, causeForeignKey, causeOpenSSH, causeForeignCipher}

var (
	causeCertAsKey  = Cause{"key.is_certificate", "tls.key_file", "holds a certificate, but no private key", "set {setting} to the file with the private key"}
	causePublicKey  = Cause{"key.public", "tls.key_file", "holds a public key, not the private one", "set {setting} to the file with the private key"}
	causeNoKey      = Cause{"key.none", "tls.key_file", "holds no private key", "set {setting} to the file with the private key"}
	causeDamagedKey = Cause{"key.damaged", "tls.key_file", "{block} is not a valid private key: {detail}", "restore {file} from its source"}
	causeForeignKey = Cause{"key.unsupported", "tls.key_file", "{block}: {detail} is not supported",
		"use an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key in {setting}"}
	causeOpenSSH = Cause{"key.openssh", "tls.key_file", "{block}: an OpenSSH key is not supported",
		"convert a copy of it: ssh-keygen -p -m PKCS8 -f FILE.key, and name that in {setting}"}
	causeForeignCipher = Cause{"key.unsupported_encryption", "tls.key_file", "{block}: {detail} is not supported",
		"encrypt the key anew: openssl pkcs8 -topk8 -v2 aes-256-cbc {inform}-in {file} -out FILE.key, and name that in {setting}"}
)

var passphraseCauses = []Cause{causePassphraseRequired, causePassphraseEmpty, causePassphraseWrong, causePassphraseUnavailable, causePassphraseNeedless,
	causeCommandStart, causeCommandStatus, causeCommandTime, causeCommandLong, causeCommandSilent}

var (
	causePassphraseRequired = Cause{"passphrase.required", "tls.passphrase_required", "{block} is encrypted, and no passphrase is set",
		`set {passphrase}; in a configuration file "{env:NAME}" and "{file:PATH}" keep it elsewhere`}
	causePassphraseEmpty = Cause{"passphrase.empty", "tls.passphrase_required", "{block} is encrypted, and the passphrase from {passphrase} is empty",
		"put the passphrase where {passphrase} takes it from"}
	causePassphraseWrong = Cause{"passphrase.wrong", "tls.passphrase_wrong", "{block} cannot be decrypted: wrong passphrase from {passphrase}{space}",
		"correct {passphrase}"}
	causePassphraseUnavailable = Cause{"passphrase.unavailable", "tls.passphrase_unavailable", "cannot be had: {detail}",
		"check where {setting} takes the passphrase from"}
	causePassphraseNeedless = Cause{"passphrase.needless", "tls.passphrase_needless", "{passphrase} is set, but the key is not encrypted",
		"remove {passphrase}, or encrypt the key"}
	causeCommandStart = Cause{"passphrase.command_start", "tls.passphrase_unavailable", "the program {program} does not start: {detail}",
		"correct the program in {setting}, which is run without a shell"}
	causeCommandStatus = Cause{"passphrase.command_status", "tls.passphrase_unavailable", "the program {program} ended with {detail}",
		"run the program of {setting} by hand to see what it complains of; it gets no input and no shell"}
	causeCommandTime = Cause{"passphrase.command_time", "tls.passphrase_unavailable", "the program {program} took longer than {limit}",
		"make the program of {setting} answer without asking anybody; it gets no input"}
	causeCommandLong = Cause{"passphrase.command_long", "tls.passphrase_unavailable", "the program {program} printed more than {limit} KiB",
		"make the program of {setting} print the passphrase only"}
	causeCommandSilent = Cause{"passphrase.command_silent", "tls.passphrase_unavailable", "the program {program} printed nothing",
		"make the program of {setting} print the passphrase to its standard output"}
)

var pkcs12Causes = []Cause{causeNoMAC, causeCostly, causePKCS12Foreign, causePKCS12Damaged}

var (
	causeNoMAC = Cause{"pkcs12.no_mac", "tls.{field}_file", "{block} has no MAC, by which a wrong passphrase is told from damage",
		"export it again without -nomac: openssl pkcs12 -export -in CERT.pem -inkey KEY.pem -out {file}"}
	causeCostly = Cause{"pkcs12.costly", "tls.{field}_file", "{block} asks for too much work to be opened: {detail}",
		"convert it: openssl pkcs12 -in {file} -out FILE.pem, and name that in {setting}"}
	causePKCS12Foreign = Cause{"pkcs12.unsupported", "tls.{field}_file", "{block}: {detail} is not supported",
		"convert it: openssl pkcs12 -in {file} -out FILE.pem (with -legacy for old ciphers), and name that in {setting}"}
	causePKCS12Damaged = Cause{"pkcs12.damaged", "tls.{field}_file", "{block} cannot be used: {detail}",
		"export it again with its certificate and its private key: openssl pkcs12 -export -in CERT.pem -inkey KEY.pem -out {file}"}
)

var pairCauses = []Cause{causeSwapped, causeMismatch, causeMismatchKind, causeHalfRenewed, causeMismatchHome, causeIncomplete, causeStranger}

var (
	causeSwapped = Cause{"pair.swapped", "tls.cert_file", "holds the private key, and {key} holds the certificate", "swap {cert} and {key}"}

	causeMismatch = Cause{"pair.mismatch", "tls.key_mismatch",
		"does not belong to the certificate {subject} in {cert_file}: the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}",
		"set {cert} and {key} to files that were issued together"}
	causeMismatchKind = Cause{"pair.mismatch_kind", "tls.key_mismatch",
		"does not belong to the certificate {subject} in {cert_file}: {key_kind} key, {cert_kind} certificate; the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}",
		"set {cert} and {key} to files that were issued together"}
	causeHalfRenewed = Cause{"pair.half_renewed", "tls.key_mismatch",
		"does not belong to the certificate {subject} in {cert_file}: the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}; the key was written at {key_time}, the certificate at {cert_time}: a renewal may be half done",
		"wait until both files are written, or set {cert} and {key} to files that were issued together"}
	causeMismatchHome = Cause{"pair.mismatch_home", "tls.key_mismatch",
		"has a key that does not belong to the certificate {subject}: the key's SPKI sha256 is {key_spki}, the certificate's {cert_spki}",
		"set {cert} to the certificate that was issued for this key"}
	causeIncomplete = Cause{"pair.incomplete", "tls.chain_incomplete",
		"the issuer of the certificate, {issuer}, is not in {place}; unless it is a root that servers know, they refuse the certificate",
		"append the certificate of {issuer} to {cert}"}
	causeStranger = Cause{"pair.stranger", "tls.chain_stranger",
		"{count} of its certificates do not lead from the client certificate to its root and are not sent, the first is {subject}",
		"remove them from {cert}, unless they are there for another purpose"}
)

var permissionCauses = []Cause{causeOpenToAll, causeOpenToGroup, causeGroupReadable, causeOpenDirectory}

var (
	causeOpenToAll   = Cause{"permissions.all", "tls.key_permissions", "the private key is open to every user of this machine (mode {mode})", "run chmod 600 {file}"}
	causeOpenToGroup = Cause{"permissions.group", "tls.key_permissions", "the private key is open to its group (mode {mode})", "run chmod 600 {file}"}

	causeGroupReadable = Cause{"permissions.group_read", "tls.key_permissions",
		"the private key is readable by its group (mode {mode}); tolerated, as Kubernetes mounts secrets that way",
		"run chmod 600 {file} where nobody else needs to read it"}
	causeOpenDirectory = Cause{"permissions.directory", "tls.key_permissions",
		"every user of this machine can replace the private key: the directory {directory} is open to all (mode {mode})",
		"run chmod o-w {directory}"}
)

// fault is that c is the case for this file.
func (f *file) fault(c Cause, err error, values ...string) *LoadError {
	says, remedy := c.Fill(f.known(values)...)
	return &LoadError{Entry: f.entry, Path: f.path, Reason: says, Err: err, field: f.field, named: f.setting(f.field),
		code: strings.ReplaceAll(c.Code, "{field}", f.field), hint: remedy}
}

// finding is that c is the case for this file, which can be used all the same.
func (f *file) finding(check string, c Cause, values ...string) finding {
	out := found(check, c, f.known(values)...)
	out.says = f.where() + ": " + out.says
	return out
}

// known adds what is known of every file; what is given goes first and counts.
func (f *file) known(values []string) []string {
	return append(slices.Clone(values), "setting", f.setting(f.field), "file", sanitize.Line(f.path, 1000),
		"passphrase", f.setting("passphrase"), "cert", f.setting("cert"), "key", f.setting("key"))
}

// fault is that c is the case for the entry itself, at one of its fields.
func (e Entry) fault(c Cause, field string, err error, values ...string) *LoadError {
	says, remedy := c.Fill(append(slices.Clone(values), "setting", e.setting(field), "cert", e.setting("cert"), "key", e.setting("key"), "ca", e.setting("ca"),
		"signer", e.setting("signer"), "spiffe", e.setting("spiffe"), "command", e.setting("passphrase_command"))...)
	return &LoadError{Entry: e.Name, Reason: says, Err: err, field: field, named: e.setting(field), code: c.Code, hint: remedy}
}
