package tlsfault

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

func TestCauses(t *testing.T) {
	seen := map[string]bool{}
	code := regexp.MustCompile(`^tls\.[a-z_]+$`)
	for _, c := range tlsmat.Causes() {
		if seen[c.ID] {
			t.Errorf("%s stands twice", c.ID)
		}
		seen[c.ID] = true
	}
	for _, c := range Causes() {
		if seen[c.ID] {
			t.Errorf("%s stands twice", c.ID)
		}
		seen[c.ID] = true
		if first, rest, ok := strings.Cut(c.ID, "."); !ok || rest == "" || "tls."+first != c.Code || !code.MatchString(c.Code) {
			t.Errorf("%s has the code %s", c.ID, c.Code)
		}
		for _, s := range []string{c.Says, c.Remedy} {
			if s == "" || strings.HasSuffix(s, ".") || strings.Contains(s, "  ") {
				t.Errorf("%s says %q", c.ID, s)
			}
		}
	}
}

func TestTable(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(table([]tlsmat.Cause{
		{ID: "b.second", Code: "tls.b", Says: "{host} sent a|b{alert}{facts}", Remedy: "set {cert} to {other_thing}"},
		{ID: "b.third", Code: "tls.b", Says: "x", Remedy: "<y>"},
		{ID: "file.x", Code: "tls.{field}_file", Says: "is odd", Remedy: "look"},
		{ID: "a.first", Code: "tls.a", Says: "{which} is old", Remedy: "{set}"},
	}), "\n"), "\n")
	for i, want := range []string{
		"| code | what happened | what to do |",
		"|---|---|---|",
		"| `tls.a` | the certificate is old | set `mtls.NAME.cert` and `mtls.NAME.key` of an entry that the site names |",
		"| `tls.b` | the server sent a\\|b | set `mtls.NAME.cert` to *other thing* |",
		"| `tls.b` | x | &lt;y> |",
		"| `tls.cert_file` `tls.key_file` `tls.ca_file` `tls.crl_file` | is odd | look |",
	} {
		if i >= len(lines) || lines[i] != want {
			t.Errorf("line %d of %q, want %q", i, lines, want)
		}
	}
	if lines := strings.Count(Table(), "\n"); lines < 2+len(Causes())+len(tlsmat.Causes()) {
		t.Errorf("the table has %d lines", lines)
	}
	cells := regexp.MustCompile(`(?m)^\| [^|]+ \| [^|]+ \| [^|]+ \|$`)
	for _, line := range strings.Split(strings.TrimSuffix(Table(), "\n"), "\n")[2:] {
		if !cells.MatchString(strings.ReplaceAll(line, `\|`, "")) || placeholder.MatchString(line) {
			t.Errorf("bad row %q", line)
		}
	}
}

// A signer, token or agent that does not sign has its own words.
func TestSigning(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	m := load(t, clients.Issue(tlstest.Leaf{CN: "alice", Client: true, Key: rsaKey(t, 2048)}), servers.PEM())
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, _ := serve(t, config)
			client, seen := m.TLSConfig("127.0.0.1"), &tlsmat.Seen{}
			certificate := client.GetClientCertificate
			client.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				cert, err := certificate(info)
				cert.PrivateKey = shortDigests{cert.PrivateKey.(crypto.Signer)}
				return cert, err
			}
			err := dial(t, "tcp", addr, client, seen)
			f := Explain(err, "site.test", m, seen)
			check(t, f, "signer.failed", "did not sign the handshake with site.test", "mtls.corp.cert is running and unlocked")
			wantFacts(t, f, m)
		})
	}
}

// A signer has its own words, in whichever version crypto/tls passes its error on.
func TestExternalSigner(t *testing.T) {
	servers, clients := tlstest.NewCA("Servers"), tlstest.NewCA("Clients")
	pair := clients.Issue(tlstest.Leaf{CN: "alice", Client: true})
	t.Setenv(signerVariable, base64.StdEncoding.EncodeToString(pair.Cert.Certificate[0]))
	e := tlsmat.Entry{Name: "corp", Signer: []string{os.Args[0]}, CA: []string{write(t, "ca.pem", servers.PEM())}, CAOnly: true}
	source, err := tlsmat.Open(t.Context(), e, tlsmat.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	m := source.Current()
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			config := servers.MutualConfig(clients, "127.0.0.1")
			config.MaxVersion = version
			addr, _ := serve(t, config)
			seen := &tlsmat.Seen{}
			err := dial(t, "tcp", addr, m.TLSConfig("127.0.0.1"), seen)
			f := Explain(err, "site.test", m, seen)
			check(t, f, "signer.told", "the client key did not sign the handshake with site.test: ", "do what its text asks for")
			if !strings.Contains(f.Error(), "nobody touched the card") {
				t.Errorf("%q lacks the signer's own text", f)
			}
		})
	}
	t.Run("with another key", func(t *testing.T) {
		t.Setenv(signatureVariable, "AAAA")
		source, err := tlsmat.Open(t.Context(), e, tlsmat.SourceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = source.Close() }()
		addr, _ := serve(t, servers.MutualConfig(clients, "127.0.0.1"))
		seen := &tlsmat.Seen{}
		err = dial(t, "tcp", addr, source.Current().TLSConfig("127.0.0.1"), seen)
		if f := Explain(err, "site.test", m, seen); f == nil || f.Code() != "tls.key_mismatch" || f.id != "signer.told" {
			t.Errorf("%v", f)
		}
	})
	// The entry has no cert.
	x := newExchange("site.test", m, asked(t, nil))
	if f := x.rejected(alertUnknownCA); !strings.Contains(f.Hint(), "append its certificate to mtls.corp.signer") {
		t.Errorf("hint %q", f.Hint())
	}
}

const (
	signerVariable    = "TLSFAULT_TEST_SIGNER"
	signatureVariable = "TLSFAULT_TEST_SIGNATURE"
)

// refuseToSign is a signer (docs/signer.md) of this certificate that signs nothing, or badly.
func refuseToSign(certificate string) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var request struct {
			ID     int
			Method string
		}
		_ = json.Unmarshal(lines.Bytes(), &request)
		answer := map[string]any{"id": request.ID}
		switch request.Method {
		case "hello":
			answer["protocol"] = 1
		case "chain":
			answer["chain"] = []string{certificate}
		default:
			answer["error"] = "nobody touched the card"
			if signature := os.Getenv(signatureVariable); signature != "" {
				answer = map[string]any{"id": request.ID, "signature": signature}
			}
		}
		_ = json.NewEncoder(os.Stdout).Encode(answer)
	}
}

// shortDigests signs what is no digest, which no RSA key does.
type shortDigests struct{ crypto.Signer }

func (s shortDigests) Sign(_ io.Reader, _ []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(rand.Reader, []byte("short"), opts)
}
