package keyfile

import (
	"slices"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
)

// Causes are what can be wrong with a file, a key or a passphrase, in the order of the documentation.
// {field} in a code is "cert", "key", "ca" or "crl", {setting} the name of the setting such as
// mtls.corp.key.
func Causes() []catalogue.Cause {
	return slices.Concat(fileCauses, encodingCauses, certificateCauses, keyCauses, passphraseCauses, pkcs12Causes, permissionCauses)
}

var fileCauses = []catalogue.Cause{causePasted, causeMissing, causeDangling, causeDenied, causeDirectory, causeIrregular, causeUnreadable, causeSlow, causeLarge, causeEmpty, causeBlank}

var (
	causePasted = catalogue.Cause{ID: "file.pasted", Code: "tls.{field}_file",
		Says:   "holds the text of a file, not its name",
		Remedy: "write that text into a file and set {setting} to its path"}
	causeMissing = catalogue.Cause{ID: "file.missing", Code: "tls.{field}_file",
		Says:   "does not exist",
		Remedy: "check the path in {setting}"}
	causeDangling = catalogue.Cause{ID: "file.dangling", Code: "tls.{field}_file",
		Says:   "is a symbolic link to {target}, which does not exist",
		Remedy: "restore what the link leads to, or check the path in {setting}"}
	causeDenied = catalogue.Cause{ID: "file.denied", Code: "tls.{field}_file",
		Says:   "is not readable for this user (uid {uid}): permission denied{owner}",
		Remedy: "let the user that runs this program read {file} and enter its directories"}
	causeDirectory = catalogue.Cause{ID: "file.directory", Code: "tls.{field}_file",
		Says:   "is a directory",
		Remedy: "name the file inside it in {setting}; a Kubernetes TLS secret has tls.crt, tls.key and ca.crt"}
	causeIrregular = catalogue.Cause{ID: "file.irregular", Code: "tls.{field}_file",
		Says:   "is not a regular file",
		Remedy: "name a regular file in {setting}"}
	causeUnreadable = catalogue.Cause{ID: "file.unreadable", Code: "tls.{field}_file",
		Says:   "cannot be read: {detail}",
		Remedy: "check the path in {setting}"}
	causeSlow = catalogue.Cause{ID: "file.slow", Code: "tls.{field}_file",
		Says:   "could not be read within {limit}",
		Remedy: "check the file system that {file} is on; the server of a network file system may be gone"}
	causeLarge = catalogue.Cause{ID: "file.large", Code: "tls.{field}_file",
		Says:   "is larger than {limit} MiB",
		Remedy: "name a file of certificates or keys in {setting}"}
	causeEmpty = catalogue.Cause{ID: "file.empty", Code: "tls.{field}_file",
		Says:   "is empty (0 bytes)",
		Remedy: "write the file {file} again from its source"}
	causeBlank = catalogue.Cause{ID: "file.blank", Code: "tls.{field}_file",
		Says:   "holds only white space ({size} bytes)",
		Remedy: "write the file {file} again from its source"}
)

var encodingCauses = []catalogue.Cause{causeUTF16, causeNoFormat, causeCut, causeEscaped, causeDamagedPEM, causeCutDER, causeDamagedDER, causeBER}

var (
	causeUTF16 = catalogue.Cause{ID: "encoding.utf16", Code: "tls.{field}_file",
		Says:   "is saved as UTF-16",
		Remedy: "save {file} again as UTF-8 or ASCII; PowerShell's > writes UTF-16"}
	causeNoFormat = catalogue.Cause{ID: "encoding.unknown", Code: "tls.{field}_file",
		Says:   "is neither PEM (it has no BEGIN line) nor DER nor PKCS#12",
		Remedy: "name a file of certificates or keys in {setting}"}
	causeCut = catalogue.Cause{ID: "encoding.pem_cut", Code: "tls.{field}_file",
		Says:   "{block} has no END line: the file is cut off or damaged",
		Remedy: "restore {file} from its source"}
	causeEscaped = catalogue.Cause{ID: "encoding.pem_escaped", Code: "tls.{field}_file",
		Says:   `{block} contains the characters \n where line breaks belong`,
		Remedy: "write {file} with line breaks; tools that print JSON escape them"}
	causeDamagedPEM = catalogue.Cause{ID: "encoding.pem_damaged", Code: "tls.{field}_file",
		Says:   "{block} {detail}",
		Remedy: "restore {file} from its source; each block needs its BEGIN line, its base64 lines and its END line"}
	causeCutDER = catalogue.Cause{ID: "encoding.der_cut", Code: "tls.{field}_file",
		Says:   "is DER and cut off: {block} needs {want} bytes, of which the file has {size}",
		Remedy: "restore {file} from its source, copied as binary"}
	causeDamagedDER = catalogue.Cause{ID: "encoding.der_damaged", Code: "tls.{field}_file",
		Says:   "is DER, but {block} is not",
		Remedy: "restore {file} from its source, copied as binary"}
	causeBER = catalogue.Cause{ID: "encoding.ber", Code: "tls.{field}_file",
		Says:   "is BER with indefinite lengths, not DER",
		Remedy: "convert it: openssl pkcs12 -in {file} -out FILE.pem, and name that in {setting}"}
)

var certificateCauses = []catalogue.Cause{causeDamagedCert, causeTrusted, causeRequest, causeKeyAsCert, causePKCS7, causePKCS12AsRoots, causeNoCertificate}

var (
	causeDamagedCert = catalogue.Cause{ID: "certificate.damaged", Code: "tls.{field}_file",
		Says:   "{block} is not a valid certificate: {detail}",
		Remedy: "restore this certificate in {file} from its source"}
	causeTrusted = catalogue.Cause{ID: "certificate.trusted", Code: "tls.{field}_file",
		Says:   "{block} is in OpenSSL's own trusted form, not a plain certificate",
		Remedy: "convert it: openssl x509 -in {file} -out FILE.pem, and name that in {setting}"}
	causeRequest = catalogue.Cause{ID: "certificate.request", Code: "tls.{field}_file",
		Says:   "holds a certificate request, which is not signed yet",
		Remedy: "have the request signed by your CA and name the certificate it returns in {setting}"}
	causeKeyAsCert = catalogue.Cause{ID: "certificate.is_key", Code: "tls.{field}_file",
		Says:   "holds a private key, but no certificate",
		Remedy: "name the certificate in {setting}"}
	causePKCS7 = catalogue.Cause{ID: "certificate.pkcs7", Code: "tls.{field}_file",
		Says:   "holds PKCS#7, which is not read",
		Remedy: "convert it: openssl pkcs7 -print_certs {inform}-in {file} -out FILE.pem, and name that in {setting}"}
	causePKCS12AsRoots = catalogue.Cause{ID: "certificate.pkcs12", Code: "tls.{field}_file",
		Says:   "is PKCS#12, which is read for a certificate and its key only",
		Remedy: "convert it: openssl pkcs12 -nokeys -in {file} -out FILE.pem, and name that in {setting}"}
	causeNoCertificate = catalogue.Cause{ID: "certificate.none", Code: "tls.{field}_file",
		Says:   "holds no certificate, only {block}",
		Remedy: "name a file with a certificate in {setting}"}
)

var keyCauses = []catalogue.Cause{causeSwapped, causeCertAsKey, causePublicKey, causeNoKey, causeDamagedKey, causeForeignKey, causeOpenSSH, causeForeignCipher}

var (
	causeSwapped = catalogue.Cause{ID: "pair.swapped", Code: "tls.cert_file",
		Says:   "holds the private key, and {key} holds the certificate",
		Remedy: "swap {cert} and {key}"}
	causeCertAsKey = catalogue.Cause{ID: "key.is_certificate", Code: "tls.key_file",
		Says:   "holds a certificate, but no private key",
		Remedy: "set {setting} to the file with the private key"}
	causePublicKey = catalogue.Cause{ID: "key.public", Code: "tls.key_file",
		Says:   "holds a public key, not the private one",
		Remedy: "set {setting} to the file with the private key"}
	causeNoKey = catalogue.Cause{ID: "key.none", Code: "tls.key_file",
		Says:   "holds no private key",
		Remedy: "set {setting} to the file with the private key"}
	causeDamagedKey = catalogue.Cause{ID: "key.damaged", Code: "tls.key_file",
		Says:   "{block} is not a valid private key: {detail}",
		Remedy: "restore {file} from its source"}
	causeForeignKey = catalogue.Cause{ID: "key.unsupported", Code: "tls.key_file",
		Says:   "{block}: {detail} is not supported",
		Remedy: "use an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key in {setting}"}
	causeOpenSSH = catalogue.Cause{ID: "key.openssh", Code: "tls.key_file",
		Says:   "{block}: an OpenSSH key is not supported",
		Remedy: "convert a copy of it: ssh-keygen -p -m PKCS8 -f FILE.key, and name that in {setting}"}
	causeForeignCipher = catalogue.Cause{ID: "key.unsupported_encryption", Code: "tls.key_file",
		Says:   "{block}: {detail} is not supported",
		Remedy: "encrypt the key anew: openssl pkcs8 -topk8 -v2 aes-256-cbc {inform}-in {file} -out FILE.key, and name that in {setting}"}
)
