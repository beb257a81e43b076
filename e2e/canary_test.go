package e2e

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// forms are the ways in which bytes could be printed. Of base64 the middle counts, which is the same
// wherever the bytes begin in three of them.
func forms(b []byte) map[string]string {
	all := map[string]string{"as it is": string(b), "in hex": hex.EncodeToString(b), "in URL form": url.QueryEscape(string(b))}
	for shift, name := range []string{"in base64", "in base64, shifted once", "in base64, shifted twice"} {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), b...))
		all[name] = text[4 : len(text)-4]
		all[name+", for URLs"] = base64.URLEncoding.EncodeToString(append(make([]byte, shift), b...))[4 : len(text)-4]
	}
	return all
}

// No byte of a key or passphrase is in what the program prints at its most talkative, whatever is
// wrong with them.
func TestNoKeyIsPrinted(t *testing.T) {
	t.Parallel()
	const passphrase = "canary/passphrase+51"
	ca := tlstest.NewCA("Harbour Root")
	g := startNginx(t, ca, ca, "127.0.0.1", "on")
	alice := ca.Issue(tlstest.Leaf{CN: "alice", Client: true})
	scalar, err := alice.Cert.PrivateKey.(*ecdsa.PrivateKey).Bytes()
	must(t, err)
	w := newOffice(t, ca, g.url)
	w.useCertificate(alice, g.url)
	w.env = []string{"PASSPHRASE=" + passphrase}
	stranger := tlstest.NewCA("Stranger").Issue(tlstest.Leaf{CN: "alice", Client: true})
	_, _, err = stranger.Write(w.dir, "stranger")
	must(t, err)
	openssl := func(args ...string) {
		cmd := exec.Command("openssl", args...)
		cmd.Dir, cmd.Env = w.dir, append(os.Environ(), w.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			missing(t, "openssl "+args[0]+": "+string(out))
		}
	}
	openssl("pkcs8", "-topk8", "-in", "client.key", "-out", "encrypted.key", "-v2", "aes-256-cbc", "-passout", "env:PASSPHRASE")
	openssl("pkcs12", "-export", "-inkey", "client.key", "-in", "client.pem", "-out", "client.p12", "-passout", "env:PASSPHRASE")
	openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "der", "-in", "client.key", "-out", "key.der")
	der, err := os.ReadFile(filepath.Join(w.dir, "key.der"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(w.dir, "half.key"), alice.KeyPEM[:len(alice.KeyPEM)/2], 0o644))
	must(t, os.WriteFile(filepath.Join(w.dir, "damaged.key"), append([]byte("-----BEGIN PRIVATE KEY-----\n"), alice.KeyPEM[40:]...), 0o666))
	must(t, os.WriteFile(filepath.Join(w.dir, "other.key"), stranger.KeyPEM, 0o600))

	secrets := map[string]string{}
	for what, b := range map[string][]byte{"passphrase": []byte(passphrase), "wrong passphrase": []byte("canary/wrong+62"), "scalar": scalar, "key": der} {
		for form, text := range forms(b) {
			secrets[text] = "the " + what + " " + form
		}
	}
	for line := range strings.Lines(string(alice.KeyPEM)) {
		if !strings.HasPrefix(line, "-----") {
			secrets[strings.TrimSpace(line)] = "a line of the key file"
		}
	}
	for name, entry := range map[string]object{
		"PEM":                      {"cert": "client.pem", "key": "client.key"},
		"encrypted":                {"cert": "client.pem", "key": "encrypted.key", "passphrase": "{env:PASSPHRASE}"},
		"literal passphrase":       {"cert": "client.pem", "key": "encrypted.key", "passphrase": passphrase},
		"wrong passphrase":         {"cert": "client.pem", "key": "encrypted.key", "passphrase": "canary/wrong+62"},
		"passphrase of a command":  {"cert": "client.pem", "key": "encrypted.key", "passphrase_command": []string{"sh", "-c", `printf %s "$PASSPHRASE"; printf %s "$PASSPHRASE" >&2`}},
		"a command that fails":     {"cert": "client.pem", "key": "encrypted.key", "passphrase_command": []string{"sh", "-c", `printf %s "$PASSPHRASE"; printf %s "$PASSPHRASE" >&2; exit 3`}},
		"PKCS#12":                  {"cert": "client.p12", "passphrase": "{env:PASSPHRASE}"},
		"PKCS#12, wrong":           {"cert": "client.p12", "passphrase": "canary/wrong+62"},
		"DER":                      {"cert": "client.pem", "key": "key.der"},
		"half a key":               {"cert": "client.pem", "key": "half.key"},
		"a damaged key":            {"cert": "client.pem", "key": "damaged.key"},
		"swapped":                  {"cert": "client.key", "key": "client.pem"},
		"key as roots":             {"ca": "client.key"},
		"another's key":            {"cert": "stranger.pem", "key": "client.key"},
		"unknown there":            {"cert": "stranger.pem", "key": "other.key"},
		"key as a revocation list": {"cert": "client.pem", "key": "client.key", "crl": "client.key"},
	} {
		t.Run(name, func(t *testing.T) {
			if entry["ca"] == nil {
				entry["ca"], entry["ca_mode"] = "ca.pem", "only"
			}
			w := &world{provider: &provider{}, t: t, ca: ca, dir: w.dir, env: w.env, config: object{
				"mtls": object{"client": entry}, "sites": object{g.url: object{"mtls": "client"}}, "login": object{"browser": "never"},
			}}
			all := ""
			for _, args := range [][]string{{"fetch", g.url + "/", "--verbose"}, {"doctor", g.url, "--verbose"}, {"doctor", g.url, "--json"}, {"config", "check", "--verbose"}} {
				r := w.try(args...)
				all += r.stdout + r.stderr
			}
			if !strings.Contains(all, "client.") && !strings.Contains(all, ".key") {
				t.Errorf("hardly anything was printed: %s", all)
			}
			for text, what := range secrets {
				if strings.Contains(all, text) || strings.Contains(strings.ToLower(all), text) {
					t.Errorf("%s is printed:\n%s", what, all)
				}
			}
		})
	}
}
