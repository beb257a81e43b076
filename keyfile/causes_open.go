package keyfile

import "github.com/mcp-authfetch/mcp-authfetch/catalogue"

var passphraseCauses = []catalogue.Cause{causePassphraseRequired, causePassphraseEmpty, causePassphraseWrong, causePassphraseUnavailable, causePassphraseNeedless,
	causeCommandStart, causeCommandStatus, causeCommandTime, causeCommandLong, causeCommandSilent}

var (
	causePassphraseRequired = catalogue.Cause{ID: "passphrase.required", Code: "tls.passphrase_required",
		Says:   "{block} is encrypted, and no passphrase is set",
		Remedy: `set {passphrase}; in a configuration file "{env:NAME}" and "{file:PATH}" keep it elsewhere`}
	causePassphraseEmpty = catalogue.Cause{ID: "passphrase.empty", Code: "tls.passphrase_required",
		Says:   "{block} is encrypted, and the passphrase from {passphrase} is empty",
		Remedy: "put the passphrase where {passphrase} takes it from"}
	causePassphraseWrong = catalogue.Cause{ID: "passphrase.wrong", Code: "tls.passphrase_wrong",
		Says:   "{block} cannot be decrypted: wrong passphrase from {passphrase}{space}",
		Remedy: "correct {passphrase}"}
	causePassphraseUnavailable = catalogue.Cause{ID: "passphrase.unavailable", Code: "tls.passphrase_unavailable",
		Says:   "cannot be had: {detail}",
		Remedy: "check where {setting} takes the passphrase from"}
	causePassphraseNeedless = catalogue.Cause{ID: "passphrase.needless", Code: "tls.passphrase_needless",
		Says:   "{passphrase} is set, but the key is not encrypted",
		Remedy: "remove {passphrase}, or encrypt the key"}
	causeCommandStart = catalogue.Cause{ID: "passphrase.command_start", Code: "tls.passphrase_unavailable",
		Says:   "the program {program} does not start: {detail}",
		Remedy: "correct the program in {setting}, which is run without a shell"}
	causeCommandStatus = catalogue.Cause{ID: "passphrase.command_status", Code: "tls.passphrase_unavailable",
		Says:   "the program {program} ended with {detail}",
		Remedy: "run the program of {setting} by hand to see what it complains of; it gets no input and no shell"}
	causeCommandTime = catalogue.Cause{ID: "passphrase.command_time", Code: "tls.passphrase_unavailable",
		Says:   "the program {program} took longer than {limit}",
		Remedy: "make the program of {setting} answer without asking anybody; it gets no input"}
	causeCommandLong = catalogue.Cause{ID: "passphrase.command_long", Code: "tls.passphrase_unavailable",
		Says:   "the program {program} printed more than {limit} KiB",
		Remedy: "make the program of {setting} print the passphrase only"}
	causeCommandSilent = catalogue.Cause{ID: "passphrase.command_silent", Code: "tls.passphrase_unavailable",
		Says:   "the program {program} printed nothing",
		Remedy: "make the program of {setting} print the passphrase to its standard output"}
)

var pkcs12Causes = []catalogue.Cause{causeNoMAC, causeCostly, causePKCS12Foreign, causePKCS12Damaged}

var (
	causeNoMAC = catalogue.Cause{ID: "pkcs12.no_mac", Code: "tls.{field}_file",
		Says:   "{block} has no MAC, by which a wrong passphrase is told from damage",
		Remedy: "export it again without -nomac: openssl pkcs12 -export -in CERT.pem -inkey KEY.pem -out {file}"}
	causeCostly = catalogue.Cause{ID: "pkcs12.costly", Code: "tls.{field}_file",
		Says:   "{block} asks for too much work to be opened: {detail}",
		Remedy: "convert it: openssl pkcs12 -in {file} -out FILE.pem, and name that in {setting}"}
	causePKCS12Foreign = catalogue.Cause{ID: "pkcs12.unsupported", Code: "tls.{field}_file",
		Says:   "{block}: {detail} is not supported",
		Remedy: "convert it: openssl pkcs12 -in {file} -out FILE.pem (with -legacy for old ciphers), and name that in {setting}"}
	causePKCS12Damaged = catalogue.Cause{ID: "pkcs12.damaged", Code: "tls.{field}_file",
		Says:   "{block} cannot be used: {detail}",
		Remedy: "export it again with its certificate and its private key: openssl pkcs12 -export -in CERT.pem -inkey KEY.pem -out {file}"}
)

var permissionCauses = []catalogue.Cause{causeOpenToAll, causeOpenToGroup, causeGroupReadable, causeForeignOwner, causeOpenDirectory}

var (
	causeOpenToAll = catalogue.Cause{ID: "permissions.all", Code: "tls.key_permissions",
		Says:   "the private key is open to every user of this machine (mode {mode})",
		Remedy: "run chmod 600 {file}"}
	causeOpenToGroup = catalogue.Cause{ID: "permissions.group", Code: "tls.key_permissions",
		Says:   "the private key is open to its group (mode {mode})",
		Remedy: "run chmod 600 {file}"}

	causeGroupReadable = catalogue.Cause{ID: "permissions.group_read", Code: "tls.key_permissions",
		Says:   "the private key is readable by its group (mode {mode}); tolerated, as Kubernetes mounts secrets that way",
		Remedy: "run chmod 600 {file} where nobody else needs to read it"}
	causeForeignOwner = catalogue.Cause{ID: "permissions.owner", Code: "tls.key_permissions",
		Says:   "the private key belongs to another user (uid {other}), who can read and replace it; this program runs as uid {uid}",
		Remedy: "run chown {uid} {file}"}
	causeOpenDirectory = catalogue.Cause{ID: "permissions.directory", Code: "tls.key_permissions",
		Says:   "every user of this machine can replace the private key: the directory {directory} is open to all (mode {mode})",
		Remedy: "run chmod o-w {directory}"}
)
