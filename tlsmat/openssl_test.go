package tlsmat

import (
	"bufio"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// TestOpenSSLKeys decrypts what the tool writes, with the right passphrase, a wrong one and none.
func TestOpenSSLKeys(t *testing.T) {
	needOpenSSL(t)
	const right = "correct horse 4 battery"
	dir := t.TempDir()
	cert := map[string]string{}
	plain := map[string]string{}
	for kind, args := range map[string][]string{
		"rsa": {"-newkey", "rsa:2048"},
		"ec":  {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"ed":  {"-newkey", "ed25519"},
	} {
		cert[kind], plain[kind] = filepath.Join(dir, kind+".pem"), filepath.Join(dir, kind+".key")
		openssl(t, append([]string{"req", "-x509", "-nodes", "-subj", "/CN=" + kind, "-days", "60", "-keyout", plain[kind], "-out", cert[kind]}, args...)...)
	}
	pkcs8 := []string{"pkcs8", "-topk8"}
	for _, tt := range []struct {
		name, kind string
		args       []string
		slow       bool
		code       string // "": it loads with the right passphrase
		reason     string
	}{
		{name: "default", kind: "rsa", args: pkcs8},
		{name: "default EC", kind: "ec", args: pkcs8},
		{name: "default Ed25519", kind: "ed", args: pkcs8},
		{name: "AES-128", kind: "ec", args: append(pkcs8, "-v2", "aes-128-cbc")},
		{name: "AES-192", kind: "ec", args: append(pkcs8, "-v2", "aes-192-cbc")},
		{name: "AES-256 SHA-1", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1")},
		{name: "AES-256 SHA-224", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA224")},
		{name: "AES-256 SHA-256", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256")},
		{name: "AES-256 SHA-384", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384")},
		{name: "AES-256 SHA-512", kind: "rsa", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512")},
		{name: "triple DES", kind: "ec", args: append(pkcs8, "-v2", "des3")},
		{name: "many iterations", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-iter", "100000"), slow: true},
		{name: "scrypt", kind: "ec", args: append(pkcs8, "-v2", "aes-128-cbc", "-scrypt"), slow: true},
		{name: "legacy AES-128 RSA", kind: "rsa", args: []string{"rsa", "-aes128", "-traditional"}},
		{name: "legacy AES-256 RSA", kind: "rsa", args: []string{"rsa", "-aes256", "-traditional"}},
		{name: "legacy triple DES EC", kind: "ec", args: []string{"ec", "-des3"}},
		{name: "PBES1 triple DES", kind: "ec", args: append(pkcs8, "-v1", "PBE-SHA1-3DES"), code: "tls.key_file", reason: "the encryption PBES1 (PKCS#12) is not supported"},
		{name: "unsupported PRF", kind: "ec", args: append(pkcs8, "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512-256"), code: "tls.key_file", reason: "PBKDF2 with the function"},
		{name: "unsupported cipher", kind: "ec", args: append(pkcs8, "-v2", "camellia-256-cbc"), code: "tls.key_file", reason: "the encryption 1.2.392"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "enc.key")
			args := append([]string{}, tt.args...)
			args = append(args, "-in", plain[tt.kind], "-out", key)
			if tt.args[0] == "ec" || tt.args[0] == "rsa" {
				args = append(args, "-passout", "pass:"+right)
			} else {
				args = append(args, "-passout", "pass:"+right, "-passin", "pass:")
			}
			openssl(t, args...)
			e := Entry{Name: "corp", Cert: cert[tt.kind], Key: key}

			if err := loadErr(t, e); err == nil || err.Code() != "tls.passphrase_required" || !strings.Contains(err.Hint(), "mtls.corp.passphrase") {
				t.Errorf("without a passphrase: %v", err)
			}
			e.Passphrase = pass(right)
			err := loadErr(t, e)
			switch {
			case tt.code == "" && err != nil:
				t.Fatalf("with the right passphrase: %v", err)
			case tt.code != "" && (err == nil || err.Code() != tt.code || !strings.Contains(err.Reason, tt.reason) || !strings.Contains(err.Hint(), "openssl pkcs8 -topk8")):
				t.Fatalf("%v, want %s %q", err, tt.code, tt.reason)
			case tt.code != "":
				return
			}
			wrongs := []string{"wrong", right + "\n", " " + right}
			if tt.slow {
				wrongs = wrongs[:1]
			}
			for _, wrong := range wrongs {
				e.Passphrase = pass(wrong)
				err := loadErr(t, e)
				if err == nil || err.Code() != "tls.passphrase_wrong" || !strings.Contains(err.Hint(), "mtls.corp.passphrase") {
					t.Fatalf("with %q: %v", wrong, err)
				}
				if got, want := strings.Contains(err.Reason, "white space"), strings.TrimSpace(wrong) != wrong; got != want {
					t.Errorf("with %q: %q", wrong, err.Reason)
				}
			}
		})
	}
}

// A wrong passphrase sometimes leaves a right padding; it must still be called wrong.
func TestManyWrongPassphrases(t *testing.T) {
	dir := t.TempDir()
	plain, key := filepath.Join(dir, "plain.key"), filepath.Join(dir, "enc.key")
	openssl(t, "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", plain)
	openssl(t, "rsa", "-in", plain, "-aes128", "-traditional", "-passout", "pass:right", "-out", key)
	data, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{entry: "corp", field: "key", path: key, data: data}
	blocks, err := f.blocks()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if _, err := blocks[0].decrypt([]byte{byte(i), byte(i >> 8)}); err != errPassphrase {
			t.Fatalf("passphrase %d: %v", i, err)
		}
	}
}

func TestOpenSSLUnsupportedKeys(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"Ed448", []string{"-newkey", "ed448"}, "an Ed448 key is not supported"},
		{"RSA-PSS", []string{"-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"}, "a key restricted to RSA-PSS is not supported"},
		{"secp256k1", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"}, "on the curve secp256k1 is not supported"},
		{"brainpool", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"}, "on the curve 1.3.36.3.3.2.8.1.1.7 is not supported"},
		{"explicit parameters", []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"}, "without a named curve is not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := filepath.Join(dir, tt.name+".pem"), filepath.Join(dir, tt.name+".key")
			openssl(t, append([]string{"req", "-x509", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", cert}, tt.args...)...)
			good, _, err := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "x", Client: true}).Write(t.TempDir(), "good")
			if err != nil {
				t.Fatal(err)
			}
			check := func(key string) {
				t.Helper()
				e := loadErr(t, Entry{Name: "corp", Cert: good, Key: key})
				if e == nil || e.Code() != "tls.key_file" || !strings.Contains(e.Reason, tt.want) || !strings.Contains(e.Hint(), "ECDSA") {
					t.Errorf("%v, want %q", e, tt.want)
				}
			}
			check(key)
			if tt.name == "secp256k1" {
				sec1 := filepath.Join(dir, "sec1.key")
				openssl(t, "ec", "-in", key, "-out", sec1)
				check(sec1)
			}
		})
	}
}

func TestOpenSSLFiles(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	openssl(t, "req", "-x509", "-nodes", "-subj", "/CN=x", "-newkey", "rsa:2048", "-keyout", key, "-out", cert)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"PKCS#12", []string{"pkcs12", "-export", "-in", cert, "-inkey", key, "-passout", "pass:x"}, "is PKCS#12"},
		{"DER", []string{"x509", "-in", cert, "-outform", "der"}, "is DER"},
		{"request", []string{"req", "-new", "-key", key, "-subj", "/CN=x"}, "not signed yet"},
		{"trusted certificate", []string{"x509", "-in", cert, "-trustout", "-addtrust", "clientAuth"}, "OpenSSL's own trusted form"},
		{"PKCS#7", []string{"crl2pkcs7", "-nocrl", "-certfile", cert}, "PKCS#7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			openssl(t, append(tt.args, "-out", out)...)
			for field, e := range map[string]Entry{"cert": {Name: "corp", Cert: out, Key: key}, "ca": {Name: "corp", CA: out}} {
				err := loadErr(t, e)
				if err == nil || err.Code() != "tls."+field+"_file" || !strings.Contains(err.Reason, tt.want) || !strings.Contains(err.Error(), out) {
					t.Errorf("%s: %v, want %q", field, err, tt.want)
				}
			}
		})
	}
}

// sServer starts openssl s_server, which demands a client certificate issued by clients.
func sServer(t *testing.T, servers, clients *tlstest.CA, args ...string) (addr string) {
	t.Helper()
	needOpenSSL(t)
	dir := t.TempDir()
	cert, key, err := servers.Issue(tlstest.Leaf{CN: "s", Hosts: []string{"127.0.0.1"}}).Write(dir, "server")
	if err != nil {
		t.Fatal(err)
	}
	ca := write(t, "clients.pem", clients.PEM())
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-www", "-cert", cert, "-key", key,
		"-CAfile", ca, "-verify_return_error"}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if addr, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
				found <- addr
			}
		}
		close(found)
	}()
	select {
	case addr, ok := <-found:
		if !ok {
			t.Fatal("openssl s_server ended before it listened")
		}
		return addr
	case <-time.After(20 * time.Second):
		t.Fatal("openssl s_server does not listen")
	}
	return ""
}

func TestExplainOpenSSLServer(t *testing.T) {
	needOpenSSL(t)
	servers, clients, others := tlstest.NewCA("Servers"), tlstest.NewCA("Clients"), tlstest.NewCA("Others")
	now := time.Now()
	incomplete := clients.Intermediate("Issuing").Issue(tlstest.Leaf{CN: "alice", Client: true})
	incomplete.CertPEM = block0(incomplete.CertPEM)
	for _, tt := range []struct {
		name    string
		pair    *tlstest.Pair
		roots   *tlstest.CA // nil: servers
		host    string      // "": 127.0.0.1
		args    []string
		other   bool   // the server knows only the name other.test
		code    string // "": accepted
		message string
	}{
		{name: "accepted", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true})},
		{name: "no certificate", code: "tls.client_cert_required", message: `it accepts certificates of "CN=Clients"`},
		{name: "unknown authority", pair: others.Issue(tlstest.Leaf{CN: "alice", Client: true}), code: "tls.client_ca_unknown", message: `"CN=Others"`},
		{name: "missing intermediate", pair: incomplete, code: "tls.client_ca_unknown", message: `"CN=Issuing"`},
		{name: "expired", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}), code: "tls.client_cert_expired", message: "expired on"},
		{name: "not yet valid", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true, NotBefore: now.Add(time.Hour)}), code: "tls.client_cert_expired", message: "not valid before"},
		{name: "wrong usage", pair: clients.Issue(tlstest.Leaf{CN: "alice"}), code: "tls.client_cert_rejected", message: "extended key usage is serverAuth"},
		{name: "other signatures wanted", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), args: []string{"-client_sigalgs", "RSA-PSS+SHA256:RSA+SHA256"}, code: "tls.client_cert_rejected", message: "accepts no signature"},
		{name: "unknown server authority", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), roots: others, code: "tls.server_ca_unknown", message: `"CN=Servers"`},
		{name: "other host name", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), host: "site.test", code: "tls.hostname_mismatch", message: "127.0.0.1"},
		{name: "unrecognised name", host: "unknown.test", pair: clients.Issue(tlstest.Leaf{CN: "alice", Client: true}), other: true, code: "tls.unrecognized_name", message: "alert 112"},
	} {
		for name, flag := range map[string]string{"TLS 1.2": "-tls1_2", "TLS 1.3": "-tls1_3"} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				args := append([]string{"-Verify", "5", flag}, tt.args...)
				if tt.other {
					cert, key, err := servers.Issue(tlstest.Leaf{CN: "o", Hosts: []string{"other.test"}}).Write(t.TempDir(), "other")
					if err != nil {
						t.Fatal(err)
					}
					args = append(args, "-servername", "other.test", "-servername_fatal", "-cert2", cert, "-key2", key)
				}
				roots := servers
				if tt.roots != nil {
					roots = tt.roots
				}
				addr := sServer(t, servers, clients, args...)
				m, seen := load(t, tt.pair, roots.PEM()), &Seen{}
				client := m.TLSConfig(seen)
				client.ServerName = "127.0.0.1"
				if tt.host != "" {
					client.ServerName = tt.host
				}
				err := rejection(t, addr, client)
				if tt.code == "" {
					if err != nil || !seen.Sent() {
						t.Errorf("%v, sent %v", err, seen.Sent())
					}
					return
				}
				check(t, Explain(err, "site.test", m, seen), tt.code, tt.message, "")
			})
		}
	}
	t.Run("old versions only", func(t *testing.T) {
		addr := sServer(t, servers, clients, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
		m := load(t, nil, servers.PEM())
		client := m.TLSConfig(nil)
		client.ServerName = "127.0.0.1"
		check(t, Explain(rejection(t, addr, client), "site.test", m, nil), "tls.version", "share no TLS version", "TLS 1.2")
	})
	t.Run("renegotiation is not asked for by accident", func(t *testing.T) {
		addr := sServer(t, servers, clients, "-tls1_2")
		m, seen := load(t, nil, servers.PEM()), &Seen{}
		client := m.TLSConfig(seen)
		client.ServerName = "127.0.0.1"
		if err := rejection(t, addr, client); err != nil || seen.Asked() {
			t.Errorf("%v, asked %v", err, seen.Asked())
		}
	})
}

// rejection does a handshake and waits a moment for what the server thinks of it.
func rejection(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
