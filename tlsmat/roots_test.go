package tlsmat

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// directory makes a directory of files, and of links where the name has " -> " in it.
func directory(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		if isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDirectoryOfRoots(t *testing.T) {
	a, b, c, stranger := newAuthority(t, "A"), newAuthority(t, "B"), newAuthority(t, "C"), newAuthority(t, "Stranger")
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		files   map[string][]byte
		roots   []*authority
		skipped []string // words of the warning; nil: there is none
	}{
		{"PEM and DER, whatever they are called", map[string][]byte{"a.pem": a.pem(), "b.crt": b.cert.Raw, "c": c.pem()}, []*authority{a, b, c}, nil},
		{"names made of hashes", map[string][]byte{"a.pem": a.pem(), "5ad8a5d6.0 -> a.pem": nil, "b.pem": b.pem(), "9d04f354.0 -> b.pem": nil}, []*authority{a, b}, nil},
		{"Kubernetes", map[string][]byte{"..2026_11_22/ca.crt": a.pem(), "..data -> ..2026_11_22": nil, "ca.crt -> ..data/ca.crt": nil}, []*authority{a}, nil},
		{"duplicates", map[string][]byte{"a.pem": a.pem(), "bundle.pem": slices.Concat(b.pem(), a.pem())}, []*authority{a, b}, nil},
		{"hidden files and directories below", map[string][]byte{"a.pem": a.pem(), ".b.pem": b.pem(), "below/c.pem": c.pem()}, []*authority{a}, nil},
		{"what is no root", map[string][]byte{"a.pem": a.pem(), "a.key": encode("PRIVATE KEY", key), "der.key": key, "README": []byte("x"), "empty": nil},
			[]*authority{a}, []string{"README (is neither PEM", "a.key (holds no certificate)", "der.key (holds no certificate)", "and 1 more"}},
		{"a link to nothing", map[string][]byte{"a.pem": a.pem(), "b.pem -> gone.pem": nil}, []*authority{a}, []string{"b.pem (is a symbolic link to gone.pem, which does not exist)"}},
		{"a list of revocation beside", map[string][]byte{"a.pem": a.pem(), "a.r0": encode("X509 CRL", a.list(t, nil))}, []*authority{a}, []string{"a.r0 (holds no certificate)"}},
		{"key and certificate in one", map[string][]byte{"a.pem": slices.Concat(encode("PRIVATE KEY", key), a.pem())}, []*authority{a}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := directory(t, tt.files)
			m := loadEntry(t, Entry{CA: []string{dir}, CAOnly: true})
			if len(m.bundle) != len(tt.roots) {
				t.Errorf("%d roots, want %d", len(m.bundle), len(tt.roots))
			}
			for _, who := range []*authority{a, b, c, stranger} {
				addr, got := present(t, tls.VersionTLS13, who.server(t))
				err := dial(t, addr, m.TLSConfig("127.0.0.1"))
				<-got
				if want := slices.Contains(tt.roots, who); (err == nil) != want {
					t.Errorf("a server of %s: %v, want success %v", who.cert.Subject, err, want)
				}
			}
			warnings := strings.Join(m.Warnings(), "\n")
			for _, word := range tt.skipped {
				if !strings.Contains(warnings, word) {
					t.Errorf("warnings %q lack %q", warnings, word)
				}
			}
			if tt.skipped == nil && warnings != "" || tt.skipped != nil && !strings.HasPrefix(warnings, "mtls.corp.ca "+dir+": ") {
				t.Errorf("warnings %q", warnings)
			}
			if c := check(t, m, "roots"); !c.OK || c.Warn != (tt.skipped != nil) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestDirectoryThatCannotBeUsed(t *testing.T) {
	a := newAuthority(t, "A")
	corrupt := slices.Clone(a.cert.Raw)
	corrupt[8]++
	many := map[string][]byte{}
	for i := range maxRootFiles + 1 {
		many[fmt.Sprint(i)] = nil
	}
	large := map[string][]byte{"a.pem": a.pem()}
	for i := range maxRootBytes>>20 + 1 {
		large[fmt.Sprint(i)] = make([]byte, 1<<20)
	}
	for _, tt := range []struct {
		name   string
		files  map[string][]byte
		file   string // at fault, "" for the directory
		reason string
	}{
		{"empty", nil, "", "is a directory without any certificate"},
		{"hidden only", map[string][]byte{".a.pem": a.pem()}, "", "is a directory without any certificate"},
		{"none is a root", map[string][]byte{"README": []byte("x")}, "", "is a directory without any certificate"},
		{"one is corrupt", map[string][]byte{"a.pem": a.pem(), "b.pem": slices.Concat(a.pem(), encode("CERTIFICATE", corrupt))}, "b.pem", "block 2 (CERTIFICATE, line "},
		{"one is cut off", map[string][]byte{"a.pem": a.pem(), "b.pem": slices.Concat(a.pem(), a.pem()[:100])}, "b.pem", "block 2 (line "},
		{"one is corrupt DER", map[string][]byte{"a.pem": a.pem(), "b.der": corrupt}, "b.der", "block 1 (CERTIFICATE, at byte 0)"},
		{"too many", many, "", "more than 2000 files or 32 MiB"},
		{"too large", large, "", "more than 2000 files or 32 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := directory(t, tt.files)
			err := loadErr(t, Entry{Name: "corp", CA: []string{write(t, "good.pem", a.pem()), dir}})
			if err == nil {
				t.Fatal("accepted")
			}
			if want := "mtls.corp.ca " + filepath.Join(dir, tt.file) + ": "; err.Code() != "tls.ca_file" || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%s: %v, want %s %s", err.Code(), err, want, tt.reason)
			}
			if err.Hint() == "" || strings.Contains(err.Error()+err.Hint(), "{") {
				t.Errorf("%v; %s", err, err.Hint())
			}
		})
	}
}

func TestListOfRoots(t *testing.T) {
	a, b, c := newAuthority(t, "A"), newAuthority(t, "B"), newAuthority(t, "C", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	der := write(t, "b.cer", b.cert.Raw)
	m := loadEntry(t, Entry{CA: []string{write(t, "a.pem", a.pem()), der, directory(t, map[string][]byte{"c": c.pem()})}, CAOnly: true})
	for _, who := range []*authority{a, b} {
		addr, got := present(t, tls.VersionTLS12, who.server(t))
		if err := dial(t, addr, m.TLSConfig("127.0.0.1")); err != nil {
			t.Error(err)
		}
		<-got
	}
	if got := strings.Join(m.Warnings(), "\n"); !strings.HasSuffix(strings.Split(got, ":")[0], "/c") || !strings.Contains(got, `the root "CN=C" expired on`) {
		t.Errorf("warnings %q do not name the file of the expired root", got)
	}
	err := loadErr(t, Entry{Name: "corp", CA: []string{der, write(t, "key.der", func() []byte { k, _ := x509.MarshalPKCS8PrivateKey(a.key); return k }())}})
	if err == nil || err.Code() != "tls.ca_file" {
		t.Errorf("a key as root: %v", err)
	}
}

// What the configuration adds stands beside what the system has, unless that is left out.
func TestModeOfRoots(t *testing.T) {
	if os.Getenv("TLSMAT_ALONE") == "" { // the system's roots are read once in a process
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestModeOfRoots$", "-test.v")
		cmd.Env = append(os.Environ(), "TLSMAT_ALONE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), ": TestModeOfRoots") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	ours, systems := newAuthority(t, "Ours"), newAuthority(t, "System's")
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the system's roots are not in files here")
	}
	t.Setenv("SSL_CERT_FILE", write(t, "system.pem", systems.pem()))
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	ca := write(t, "ca.pem", ours.pem())
	for _, tt := range []struct {
		name string
		e    Entry
		want bool
	}{{"add", Entry{CA: []string{ca}}, true}, {"only", Entry{CA: []string{ca}, CAOnly: true}, false}} {
		addr, got := present(t, tls.VersionTLS13, systems.server(t))
		if err := dial(t, addr, loadEntry(t, tt.e).TLSConfig("127.0.0.1")); (err == nil) != tt.want {
			t.Errorf("%s: %v, want success %v", tt.name, err, tt.want)
		}
		<-got
	}
}
