package tlsmat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
)

func crlPEM(der []byte) []byte { return encode("X509 CRL", der) }

// trusting loads an entry that trusts root and has these lists, each in a file of its own.
func trusting(t *testing.T, root *authority, lists ...[]byte) *Material {
	t.Helper()
	e := Entry{CA: []string{write(t, "ca.pem", root.pem())}, CAOnly: true}
	for _, l := range lists {
		e.CRL = append(e.CRL, write(t, "list.crl", l))
	}
	return loadEntry(t, e)
}

// revocation is a chain with lists about it.
type revocation struct {
	name   string
	server tls.Certificate
	lists  [][]byte
	code   string // "": the server is accepted
	text   string // in the error
}

func revocations(t *testing.T) (root *authority, all []revocation) {
	root = newAuthority(t, "Root")
	issuing := root.intermediate(t, "Issuing")
	namesake := newAuthority(t, "Issuing") // of the same name, with another key
	server, neighbour := issuing.server(t), issuing.server(t)
	sharded := issuing.server(t, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.test/2"} })
	stranger := newAuthority(t, "Stranger")

	stale := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}
	early := func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Hour) }
	scoped := func(value []byte, more ...func(*x509.RevocationList)) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = scopeOf(value)
			for _, change := range more {
				change(l)
			}
		}
	}
	const revoked, expired, invalid = "tls.server_cert_revoked", "tls.crl_expired", "tls.crl_invalid"
	return root, []revocation{
		{"no list", server, nil, "", ""},
		{"not listed", server, [][]byte{crlPEM(issuing.list(t, nil, neighbour.Leaf))}, "", ""},
		{"listed", server, [][]byte{crlPEM(issuing.list(t, nil, neighbour.Leaf, server.Leaf))}, revoked, "the certificate of 127.0.0.1, \"CN=server\""},
		{"listed, in DER", server, [][]byte{issuing.list(t, nil, server.Leaf)}, revoked, ""},
		{"listed in the second block", server, [][]byte{slices.Concat(crlPEM(root.list(t, nil)), crlPEM(issuing.list(t, nil, server.Leaf)))}, revoked, "block 2 (X509 CRL, line "},
		{"listed after the issuer's certificate", server, [][]byte{slices.Concat(issuing.pem(), crlPEM(issuing.list(t, nil, server.Leaf)))}, revoked, ""},
		{"listed in the second file", server, [][]byte{crlPEM(root.list(t, nil)), crlPEM(issuing.list(t, nil, server.Leaf))}, revoked, ""},
		{"listed by another issuer", server, [][]byte{crlPEM(stranger.list(t, nil, server.Leaf))}, "", ""},
		{"listed by the root", server, [][]byte{crlPEM(root.list(t, nil, server.Leaf))}, "", ""},
		{"the authority is listed", server, [][]byte{crlPEM(root.list(t, nil, issuing.cert)), crlPEM(issuing.list(t, nil))}, revoked, "the authority \"CN=Issuing\" in the chain of 127.0.0.1"},
		{"old", server, [][]byte{crlPEM(issuing.list(t, stale))}, expired, "the revocation list of \"CN=Issuing\""},
		{"old, of the root", server, [][]byte{crlPEM(root.list(t, stale))}, expired, "the authority"},
		{"old, but listed", server, [][]byte{crlPEM(issuing.list(t, stale, server.Leaf))}, revoked, ""},
		{"old beside a current one", server, [][]byte{crlPEM(issuing.list(t, stale)), crlPEM(issuing.list(t, nil))}, "", ""},
		{"old, of another issuer", server, [][]byte{crlPEM(stranger.list(t, stale))}, "", ""},
		{"of tomorrow", server, [][]byte{crlPEM(issuing.list(t, early))}, expired, "is not valid before"},
		{"forged", server, [][]byte{crlPEM(namesake.list(t, nil))}, invalid, "is not signed by that authority's key"},
		{"forged beside a true one", server, [][]byte{crlPEM(namesake.list(t, nil, server.Leaf)), crlPEM(issuing.list(t, nil))}, "", ""},
		{"true beside a forged one", server, [][]byte{crlPEM(namesake.list(t, nil)), crlPEM(issuing.list(t, nil, server.Leaf))}, revoked, ""},
		{"of authorities only", server, [][]byte{crlPEM(issuing.list(t, scoped(tlv(0x30, tlv(0x82, []byte{0xff})), stale)))}, "", ""},
		{"of users only", server, [][]byte{crlPEM(issuing.list(t, scoped(tlv(0x30, tlv(0x81, []byte{0xff})), stale)))}, expired, ""},
		{"of another part", sharded, [][]byte{crlPEM(issuing.list(t, scoped(point("http://crl.test/1"), stale)))}, "", ""},
		{"of its part", sharded, [][]byte{crlPEM(issuing.list(t, scoped(point("http://crl.test/2"), stale)))}, expired, ""},
		{"of some part", server, [][]byte{crlPEM(issuing.list(t, scoped(point("http://crl.test/1"), stale)))}, expired, ""},
	}
}

func scopeOf(value []byte) []pkix.Extension {
	return []pkix.Extension{{Id: oidScope, Critical: true, Value: value}}
}

// tlv encodes by hand what the standard library only decodes.
func tlv(tag byte, content ...[]byte) []byte {
	body := slices.Concat(content...)
	return append([]byte{tag, byte(len(body))}, body...)
}

// point is an IssuingDistributionPoint with the address of the list.
func point(url string) []byte {
	return tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(url)))))
}

func TestRevocation(t *testing.T) {
	root, all := revocations(t)
	for _, tt := range all {
		for name, version := range versions {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				m := trusting(t, root, tt.lists...)
				addr, got := present(t, version, tt.server)
				err := dial(t, addr, m.TLSConfig("127.0.0.1"))
				s := <-got
				if tt.code == "" {
					if err != nil || s.err != nil {
						t.Errorf("client %v, server %v", err, s.err)
					}
					return
				}
				var known interface {
					error
					Code() string
					Hint() string
				}
				if !errors.As(err, &known) || known.Code() != tt.code || !strings.Contains(known.Error(), tt.text) || known.Hint() == "" {
					t.Fatalf("error %v, want %s with %q", err, tt.code, tt.text)
				}
				if !strings.Contains(known.Error(), "mtls.corp.crl /") || strings.Contains(known.Error()+known.Hint(), "{") {
					t.Errorf("error %v; %s", err, known.Hint())
				}
			})
		}
	}
}

func TestRevokedError(t *testing.T) {
	root := newAuthority(t, "Root")
	server := root.server(t)
	list := crlPEM(root.list(t, nil, server.Leaf))
	m := trusting(t, root, list)
	addr, got := present(t, tls.VersionTLS13, server)
	err := dial(t, addr, m.TLSConfig("127.0.0.1"))
	<-got
	var revoked *RevokedError
	if !errors.As(err, &revoked) {
		t.Fatalf("error %v", err)
	}
	if revoked.Serial != server.Leaf.SerialNumber.Text(16) || revoked.Subject != "CN=server" || time.Since(revoked.Revoked) > time.Hour ||
		!strings.HasSuffix(revoked.Path, "/list.crl") || !strings.Contains(revoked.Error(), day(revoked.Revoked)) || !strings.Contains(revoked.Error(), revoked.Serial) {
		t.Errorf("%+v", revoked)
	}
}

func TestRevocationHoldsForResumedSessions(t *testing.T) {
	root := newAuthority(t, "Root")
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			server := root.server(t)
			addr, got := present(t, version, server)
			resume(t, addr, got, trusting(t, root), trusting(t, root, crlPEM(root.list(t, nil, server.Leaf))), func(err error) bool {
				var revoked *RevokedError
				return errors.As(err, &revoked)
			})
		})
	}
}

// The list's own signature counts, once for each issuer, whoever asks first.
func TestSignatureIsRememberedForItsIssuerOnly(t *testing.T) {
	a, b := newAuthority(t, "CA"), newAuthority(t, "CA")
	lists, err := revocationLists(file(t, "crl", a.list(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := lists[0].verify(a.cert); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if err := lists[0].verify(b.cert); err == nil {
			t.Errorf("%d: the signature of another key is good", i)
		}
	}
}

// An authority that certifies another's key makes a second chain; one good chain is enough.
func TestRevocationOfOneChainOfTwo(t *testing.T) {
	old, young := newAuthority(t, "Old"), newAuthority(t, "Young")
	crossed := &authority{cert: sign(t, authorityTemplate("Young", nil), young.key.Public(), old), key: young.key, above: []*authority{old}}
	server := crossed.server(t)
	for _, tt := range []struct {
		name string
		ca   []byte
		ok   bool
	}{{"both roots", slices.Concat(old.pem(), young.pem()), true}, {"the old root", old.pem(), false}} {
		t.Run(tt.name, func(t *testing.T) {
			m := loadEntry(t, Entry{CA: []string{write(t, "ca.pem", tt.ca)}, CAOnly: true, CRL: []string{write(t, "crl", crlPEM(old.list(t, nil, crossed.cert)))}})
			addr, got := present(t, tls.VersionTLS13, server)
			if err := dial(t, addr, m.TLSConfig("127.0.0.1")); (err == nil) != tt.ok {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
			<-got
		})
	}
}

func TestListsAreCheckedWhenLoaded(t *testing.T) {
	root := newAuthority(t, "Root")
	good := root.list(t, nil)
	damaged := slices.Clone(good)
	damaged[5]++
	extension := func(id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
		return root.list(t, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: value}}
		})
	}
	entry := func(critical bool) []byte {
		return root.list(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), RevocationTime: time.Now(),
				ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: critical, Value: []byte{5, 0}}}}}
		})
	}
	ca := write(t, "ca.pem", root.pem())
	for _, tt := range []struct {
		name   string
		data   []byte
		reason string // "": it loads
	}{
		{"good", crlPEM(good), ""},
		{"harmless extension", extension(asn1.ObjectIdentifier{1, 2, 3}, false, []byte{5, 0}), ""},
		{"harmless extension of an entry", entry(false), ""},
		{"second damaged", slices.Concat(crlPEM(good), crlPEM(damaged)), "block 2 (X509 CRL, line "},
		{"DER damaged", damaged, "block 1 (CERTIFICATE, at byte 0) is not a valid revocation list"},
		{"DER with something behind it", append(slices.Clone(good), 0), "is DER, but block 2"},
		{"a certificate", root.pem(), "holds no revocation list, only block 1 (CERTIFICATE, line 1)"},
		{"a certificate in DER", root.cert.Raw, "holds no revocation list, only block 1 (CERTIFICATE, at byte 0)"},
		{"empty", nil, "is empty"},
		{"delta", extension(oidDeltaList, true, []byte{2, 1, 1}), "is a delta list"},
		{"critical extension", extension(asn1.ObjectIdentifier{1, 2, 3}, true, []byte{5, 0}), "critical extension 1.2.3"},
		{"critical extension of an entry", entry(true), "critical extension 1.2.3"},
		{"indirect", extension(oidScope, true, tlv(0x30, tlv(0x84, []byte{0xff}))), "it is indirect"},
		{"some reasons", extension(oidScope, true, tlv(0x30, tlv(0x83, []byte{1, 0x40}))), "some reasons"},
		{"attributes", extension(oidScope, true, tlv(0x30, tlv(0x85, []byte{0xff}))), "attribute certificates"},
		{"place without URL", extension(oidScope, true, tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x82, []byte("crl.test")))))), "not named by a URL"},
		{"scope damaged", extension(oidScope, true, []byte{4, 1, 0}), "its scope is not readable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "list", tt.data)
			err := loadErr(t, Entry{Name: "corp", CA: []string{ca}, CRL: []string{path}})
			if tt.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Code() != "tls.crl_file" || !strings.Contains(err.Error(), tt.reason) || !strings.HasPrefix(err.Error(), "mtls.corp.crl "+path) || err.Hint() == "" {
				t.Errorf("%s: %v; %s", err.Code(), err, err.Hint())
			}
		})
	}
}

func TestListsAgeWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		root := newAuthority(t, "Root", func(c *x509.Certificate) { c.NotAfter = now.Add(1000 * oneDay) })
		lasting := func(days int) []byte {
			return crlPEM(root.list(t, func(l *x509.RevocationList) {
				l.ThisUpdate, l.NextUpdate = now, now.Add(time.Duration(days)*oneDay)
			}))
		}
		month, week := trusting(t, root, lasting(30)), trusting(t, root, lasting(7))
		endless := trusting(t, root, lasting(30))
		endless.sortedLists()[0].list.NextUpdate = time.Time{}
		for _, tt := range []struct {
			name  string
			m     *Material
			after time.Duration
			want  string
			ok    bool
		}{
			{"new", month, 0, "", true},
			{"new, of a week", week, 0, "", true},
			{"its last day", week, 6*oneDay + 12*time.Hour, `the revocation list of "CN=Root" is to be replaced by`, true},
			{"22 days old", month, 22 * oneDay, "", true},
			{"24 days old", month, 24 * oneDay, "in 6 days", true},
			{"31 days old", month, 31 * oneDay, "servers of that issuer are refused", false},
			{"without end", endless, 31 * oneDay, "does not say when it is replaced", true},
		} {
			time.Sleep(time.Until(now.Add(tt.after)))
			got := strings.Join(tt.m.Warnings(), "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
			if c := check(t, tt.m, "revocation lists"); c.OK != tt.ok || c.Warn != (tt.ok && tt.want != "") {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
	})
}

// What OpenSSL's own authority issues and revokes.
func TestListsOfOpenSSL(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("index.txt", "")
	put("serial", "80A1\n")
	put("crlnumber", "01\n")
	config := put("ca.cnf", `[ca]
default_ca = d
[d]
database = `+dir+`/index.txt
serial = `+dir+`/serial
crlnumber = `+dir+`/crlnumber
new_certs_dir = `+dir+`
certificate = `+dir+`/ca.pem
private_key = `+dir+`/ca.key
default_md = sha256
default_days = 10
default_crl_days = 30
policy = p
x509_extensions = leaf
copy_extensions = copy
[p]
commonName = supplied
[leaf]
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1
`)
	openssl(t, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=OpenSSL CA", "-days", "10", "-keyout", dir+"/ca.key", "-out", dir+"/ca.pem",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign")
	server := func(name string) tls.Certificate {
		openssl(t, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN="+name, "-keyout", dir+"/"+name+".key", "-out", dir+"/"+name+".csr")
		openssl(t, "ca", "-batch", "-notext", "-config", config, "-in", dir+"/"+name+".csr", "-out", dir+"/"+name+".pem")
		pair, err := tls.LoadX509KeyPair(dir+"/"+name+".pem", dir+"/"+name+".key")
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	good, bad := server("good"), server("bad")
	openssl(t, "ca", "-config", config, "-revoke", dir+"/bad.pem", "-crl_reason", "keyCompromise")
	openssl(t, "ca", "-config", config, "-gencrl", "-out", dir+"/crl.pem")
	openssl(t, "crl", "-in", dir+"/crl.pem", "-outform", "der", "-out", dir+"/crl.der")
	for _, list := range []string{"crl.pem", "crl.der"} {
		m := loadEntry(t, Entry{CA: []string{dir + "/ca.pem"}, CAOnly: true, CRL: []string{filepath.Join(dir, list)}})
		for _, tt := range []struct {
			server  tls.Certificate
			revoked bool
		}{{good, false}, {bad, true}} {
			addr, got := present(t, tls.VersionTLS13, tt.server)
			err := dial(t, addr, m.TLSConfig("127.0.0.1"))
			<-got
			var revoked *RevokedError
			if errors.As(err, &revoked) != tt.revoked || !tt.revoked && err != nil {
				t.Errorf("%s: %v, want revoked %v", list, err, tt.revoked)
			}
			if tt.revoked && revoked.Serial != tt.server.Leaf.SerialNumber.Text(16) {
				t.Errorf("serial %s", revoked.Serial)
			}
		}
	}
}

// BenchmarkRevocation asks a list of 100 000 certificates.
func BenchmarkRevocation(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
				KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotAfter: time.Now().Add(time.Hour)}
			der, _ := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
			ca, err := x509.ParseCertificate(der)
			if err != nil {
				b.Fatal(err)
			}
			list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
			for i := range n {
				list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
					x509.RevocationListEntry{SerialNumber: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 100), big.NewInt(int64(i))), RevocationTime: time.Now()})
			}
			data, err := x509.CreateRevocationList(rand.Reader, list, ca, key)
			if err != nil {
				b.Fatal(err)
			}
			m, in := &Material{name: "corp"}, file(b, "crl", data)
			start := time.Now()
			if err := m.loadLists([]*keyfile.File{in}); err != nil {
				b.Fatal(err)
			}
			loading := time.Since(start)
			leaf := &x509.Certificate{SerialNumber: big.NewInt(7)}
			for b.Loop() {
				if err := m.checkRevocation("x", []*x509.Certificate{leaf, ca}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(loading.Milliseconds()), "ms/load")
		})
	}
}
