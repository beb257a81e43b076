package tlsmat

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// Files that come back as they were end a failure without a new generation.
func TestFilesComeBack(t *testing.T) {
	p := newPlace(t)
	kept, err := os.ReadFile(p.key)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, p.key)
	p.look()
	p.wants("first", 1, "tls.key_file")
	overwrite(t, p.key, kept)
	p.look()
	p.wants("first", 1, "")
	if got := p.log.lines("can be loaded again"); len(got) != 1 {
		t.Errorf("%d lines tell of the recovery, want 1:\n%s", len(got), p.log.lines())
	}
	remove(t, p.key) // the same failure is told again after that
	p.look()
	if got := p.log.lines("level=WARN", "code=tls.key_file"); len(got) != 2 {
		t.Errorf("%d lines tell of two failures:\n%s", len(got), p.log.lines())
	}
}

// A renewal that takes a moment between its two files is no failure at all.
func TestTornPair(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second func(t *testing.T, p *place, pair *tlstest.Pair)
	}{
		{"certificate first", putCert, putKey},
		{"key first", putKey, putCert},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			p.source.pause = pause
			pair := p.issue("second")
			tt.first(t, p, pair)
			timer := time.AfterFunc(300*time.Millisecond, func() { tt.second(t, p, pair) })
			defer timer.Stop()
			p.look()
			p.wants("second", 2, "")
			if got := p.log.lines("level=WARN"); len(got) != 0 {
				t.Errorf("it was warned of:\n%s", got)
			}
		})
		t.Run(tt.name+", at the start", func(t *testing.T) {
			p := newPlace(t)
			pair := p.issue("second")
			tt.first(t, p, pair)
			timer := time.AfterFunc(300*time.Millisecond, func() { tt.second(t, p, pair) })
			defer timer.Stop()
			p.open()
			p.wants("second", 1, "")
		})
	}
}

func putCert(t *testing.T, p *place, pair *tlstest.Pair) { overwrite(t, p.cert, pair.CertPEM) }
func putKey(t *testing.T, p *place, pair *tlstest.Pair)  { overwrite(t, p.key, pair.KeyPEM) }

// At the start only what may be about to change is waited for.
func TestOpenFails(t *testing.T) {
	p := newPlace(t)
	other := p.issue("other")
	for _, tt := range []struct {
		name, code string
		atLeast    time.Duration
		atMost     time.Duration
		spoil      func()
	}{
		{"gone", "tls.key_file", 0, pause, func() { remove(t, p.key) }},
		{"mismatch", "tls.key_mismatch", (tries - 1) * pause, 10 * time.Second, func() { putKey(t, p, other) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spoil()
			begun := time.Now()
			s, err := Open(t.Context(), p.entry, SourceOptions{})
			took := time.Since(begun)
			var fail *LoadError
			if s != nil || !errors.As(err, &fail) || fail.Code() != tt.code {
				t.Errorf("Open returned %v and %v, want code %s", s, err, tt.code)
			}
			if took < tt.atLeast || took > tt.atMost {
				t.Errorf("it took %v", took)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	if _, err := Open(ctx, p.entry, SourceOptions{}); err == nil || time.Since(begun) > pause {
		t.Errorf("a cancelled start ended after %v with %v", time.Since(begun), err)
	}
}

// A file that changes between two readings is of no moment; the next attempt decides.
func TestChangingWhileRead(t *testing.T) {
	p := newPlace(t)
	a, b := p.issue("a"), p.issue("b")
	turn := 0
	p.source.between = func() { // between the readings
		if turn++; turn < 3 {
			p.put(map[bool]*tlstest.Pair{true: a, false: b}[turn%2 == 1])
		}
	}
	p.put(b)
	p.look()
	p.wants("b", 2, "")
	if turn != 3 {
		t.Errorf("the files were read twice %d times, want 3", turn)
	}
	if len(p.log.lines(`subject="CN=a"`)) != 0 {
		t.Error("what was there for a moment was published")
	}

	p.source.between = func() {
		turn++
		p.put(p.issue("c"))
	}
	p.put(a)
	p.look()
	p.wants("b", 2, "tls.files_changing")
}

func TestPassphraseChangesWithTheKey(t *testing.T) {
	needOpenSSL(t)
	var mu sync.Mutex
	current, asked := "old-passphrase", 0
	set := func(s string) { mu.Lock(); defer mu.Unlock(); current = s }
	encrypted := func(p *place, pair *tlstest.Pair, passphrase string) []byte {
		in, out := write(t, "plain", pair.KeyPEM), filepath.Join(t.TempDir(), "out")
		openssl(t, "pkcs8", "-topk8", "-in", in, "-out", out, "-passout", "pass:"+passphrase)
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	p := newPlace(t)
	first := p.issue("first")
	overwrite(t, p.cert, first.CertPEM)
	overwrite(t, p.key, encrypted(p, first, "old-passphrase"))
	p.entry.Passphrase = func(context.Context) (secret.Text, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return secret.New(current), nil
	}
	p.open()
	p.look()
	if p.wants("first", 1, ""); asked != 1 {
		t.Errorf("the passphrase was asked %d times for a key that did not change, want once", asked)
	}

	second := p.issue("second")
	overwrite(t, p.cert, second.CertPEM)
	overwrite(t, p.key, encrypted(p, second, "new-passphrase"))
	p.look()
	p.wants("first", 1, "tls.passphrase_wrong")
	set("new-passphrase") // later than the key
	p.look()
	p.wants("second", 2, "")
	for _, s := range []string{"old-passphrase", "new-passphrase"} {
		if p.log.lines(s) != nil {
			t.Errorf("a passphrase is in the log:\n%s", p.log.lines())
		}
	}
}

func TestStrictPermissionsOfTheNewKey(t *testing.T) {
	p := newPlace(t, func(e *Entry) { e.StrictPermissions = true })
	pair := p.issue("second")
	if err := os.Chmod(p.key, 0o644); err != nil {
		t.Fatal(err)
	}
	p.look()
	p.wants("first", 1, "") // nothing new to load
	p.put(pair)
	p.look()
	if s := p.source.Status(); s.Failure == nil || s.Generation != 1 {
		t.Fatalf("a key that everybody may read was loaded: %+v", s)
	}
	if err := os.Chmod(p.key, 0o600); err != nil {
		t.Fatal(err)
	}
	p.look()
	p.wants("second", 2, "")
}

// A renewal that is expired is what its owner wants, or cannot help; the old would be no better.
func TestExpiredRenewal(t *testing.T) {
	p := newPlace(t)
	for i, cn := range []string{"late", "late again"} {
		p.put(p.ca.Issue(tlstest.Leaf{CN: cn, Client: true, NotAfter: time.Now().Add(-time.Minute)}))
		for range 3 {
			p.look()
		}
		if s := p.source.Status(); s.Generation != i+2 || s.Failure != nil {
			t.Errorf("status %+v", s)
		}
		if got := p.source.Current().Leaf().Subject.CommonName; got != cn {
			t.Errorf("the certificate is of %s, want %s", got, cn)
		}
		if got := p.log.lines("level=WARN", "expired"); len(got) != i+1 {
			t.Errorf("%d lines warn of the end, want %d:\n%s", len(got), i+1, p.log.lines())
		}
	}
}

// Each stage of the end is told once, and again for each generation.
func TestExpiryIsToldInStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		issue := func(p *place) {
			now := time.Now()
			p.put(p.ca.Issue(tlstest.Leaf{CN: "x", Client: true, NotBefore: now, NotAfter: now.Add(400 * oneDay)}))
		}
		p := newPlace(t)
		for generation := range 2 {
			issue(p)
			told := func() int { p.look(); p.look(); return len(p.log.lines("level=WARN", "comes to its end")) }
			for i, stage := range []struct {
				days int // since it was issued
				want int // lines
			}{{0, 0}, {369, 0}, {371, 1}, {392, 1}, {394, 2}, {399, 2}, {401, 3}} {
				time.Sleep(time.Until(begun.Add(time.Duration(stage.days) * oneDay)))
				if got := told(); got != stage.want+3*generation {
					t.Errorf("generation %d, step %d: on day %d it was told %d times, want %d", generation, i, stage.days, got, stage.want+3*generation)
				}
			}
			begun = time.Now()
		}
		if got := p.log.lines("level=WARN", " expired on ", "code=tls.client_cert_expired", "hint="); len(got) != 2 {
			t.Errorf("%d lines say that it is over, want 2:\n%s", len(got), p.log.lines())
		}
	})
}

// What the first material is near to is told by whoever opened it; only what comes later is logged.
func TestExpiryAtTheFirstLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		p := newPlace(t, func(e *Entry) {
			ca := tlstest.NewCA("CA")
			pair := ca.Issue(tlstest.Leaf{CN: "x", Client: true, NotBefore: now.Add(-380 * oneDay), NotAfter: now.Add(20 * oneDay)})
			overwrite(t, e.Cert, pair.CertPEM)
			overwrite(t, e.Key, pair.KeyPEM)
		})
		if got := strings.Join(p.source.Current().Warnings(), "\n"); !strings.Contains(got, " expires on ") {
			t.Errorf("warnings %q", got)
		}
		for _, stage := range []struct{ days, want int }{{0, 0}, {12, 0}, {14, 1}, {19, 1}, {21, 2}} {
			time.Sleep(time.Until(now.Add(time.Duration(stage.days) * oneDay)))
			p.look()
			p.look()
			if got := p.log.lines("level=WARN"); len(got) != stage.want {
				t.Errorf("day %d: %d warnings, want %d:\n%s", stage.days, len(got), stage.want, got)
			}
		}
	})
}

// A program that may have to ask a person for the passphrase is not asked every few seconds.
func TestPassphraseCommandIsLeftAlone(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no shell")
	}
	p := newPlace(t)
	pair := p.issue("second")
	calls := filepath.Join(p.dir, "calls")
	p.entry.PassphraseCommand = []string{"sh", "-c", "echo x >> " + calls + "; echo wrong"}
	p.open()
	asked := func() int {
		data, _ := os.ReadFile(calls)
		return len(data) / 2
	}
	if asked() != 0 {
		t.Error("it was asked for a key that is not encrypted")
	}
	overwrite(t, p.cert, pair.CertPEM)
	overwrite(t, p.key, encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, block1(t, pair.KeyPEM).Bytes)))
	for _, step := range []struct {
		name   string
		change func()
		want   int
	}{
		{"new key", func() {}, 1},
		{"soon after", func() {}, 1},
		{"after a while", func() { p.source.last.asked = time.Now().Add(-askAgain) }, 2},
		{"other permissions", func() { must(t, os.Chmod(p.key, 0o640)) }, 3},
		{"another key", func() {
			other := p.issue("third")
			overwrite(t, p.cert, other.CertPEM)
			overwrite(t, p.key, encode("ENCRYPTED PRIVATE KEY", encryptedKey(t, block1(t, other.KeyPEM).Bytes)))
		}, 4},
	} {
		step.change()
		p.look()
		p.wants("first", 1, "tls.passphrase_wrong")
		if got := asked(); got != step.want {
			t.Errorf("%s: it was asked %d times, want %d", step.name, got, step.want)
		}
	}
}

// Roots and revocation lists change like certificates.
func TestTrustChanges(t *testing.T) {
	a, b := tlstest.NewCA("a"), tlstest.NewCA("b")
	reach := func(t *testing.T, p *place, server *tlstest.CA) bool {
		addr, _ := serve(t, server.ServerConfig("127.0.0.1"))
		return dial(t, addr, p.source.Current().TLSConfig("127.0.0.1")) == nil
	}
	t.Run("file", func(t *testing.T) {
		bundle := write(t, "ca.pem", a.PEM())
		p := newPlace(t, func(e *Entry) { e.CA, e.CAOnly = []string{bundle}, true })
		overwrite(t, bundle, b.PEM())
		p.look()
		if got, want := [2]bool{reach(t, p, a), reach(t, p, b)}, [2]bool{false, true}; got != want {
			t.Errorf("reached %v, want %v", got, want)
		}
		p.wants("first", 2, "")
	})
	t.Run("directory", func(t *testing.T) {
		dir := filepath.Dir(write(t, "a.pem", a.PEM()))
		p := newPlace(t, func(e *Entry) { e.CA, e.CAOnly = []string{dir}, true })
		overwrite(t, filepath.Join(dir, "b.pem"), b.PEM())
		p.look()
		if got, want := [2]bool{reach(t, p, a), reach(t, p, b)}, [2]bool{true, true}; got != want {
			t.Errorf("reached %v, want %v", got, want)
		}
		remove(t, filepath.Join(dir, "a.pem"))
		p.look()
		if got, want := [2]bool{reach(t, p, a), reach(t, p, b)}, [2]bool{false, true}; got != want {
			t.Errorf("reached %v, want %v", got, want)
		}
		p.wants("first", 3, "")
	})
	t.Run("revocation list", func(t *testing.T) {
		root := newAuthority(t, "root")
		server := root.server(t)
		ca, list := write(t, "ca.pem", root.pem()), write(t, "list.crl", root.list(t, nil))
		p := newPlace(t, func(e *Entry) { e.CA, e.CAOnly, e.CRL = []string{ca}, true, []string{list} })
		addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{server}})
		if err := dial(t, addr, p.source.Current().TLSConfig("127.0.0.1")); err != nil {
			t.Errorf("before: %v", err)
		}
		overwrite(t, list, root.list(t, nil, server.Leaf))
		p.look()
		if err := dial(t, addr, p.source.Current().TLSConfig("127.0.0.1")); err == nil {
			t.Error("a revoked server was believed")
		}
		p.wants("first", 2, "")
	})
}

func TestNilSource(t *testing.T) {
	var s *Source
	if s.Current() != nil {
		t.Error("a nil Source has material")
	}
}

// A combined file is renewed in one step.
func TestCombinedFile(t *testing.T) {
	p := newPlace(t)
	pair := p.issue("combined")
	overwrite(t, p.cert, bytes.Join([][]byte{pair.KeyPEM, pair.CertPEM}, nil))
	p.entry.Key = ""
	p.open()
	p.wants("combined", 1, "")
	pair = p.issue("second")
	overwrite(t, p.cert, pair.KeyPEM)
	p.look()
	p.wants("combined", 1, "tls.cert_file")
	overwrite(t, p.cert, bytes.Join([][]byte{pair.KeyPEM, pair.CertPEM}, nil))
	p.look()
	p.wants("second", 2, "")
}

func BenchmarkReload(b *testing.B) {
	ca := tlstest.NewCA("root").Intermediate("CA")
	pair, other := ca.Issue(tlstest.Leaf{CN: "a", Client: true}), ca.Issue(tlstest.Leaf{CN: "b", Client: true})
	dir := b.TempDir()
	cert, key, err := pair.Write(dir, "client")
	if err != nil {
		b.Fatal(err)
	}
	open := func(b *testing.B) *Source {
		s, err := Open(b.Context(), Entry{Name: "corp", Cert: cert, Key: key}, SourceOptions{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	b.Run("nothing changed", func(b *testing.B) {
		s := open(b)
		b.ReportAllocs()
		for b.Loop() {
			s.reload(b.Context())
		}
	})
	b.Run("changed", func(b *testing.B) {
		s := open(b)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			pair, other = other, pair
			if _, _, err := pair.Write(dir, "client"); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			s.reload(b.Context())
		}
		if s.Status().Generation < b.N {
			b.Errorf("%d generations of %d changes", s.Status().Generation, b.N)
		}
	})
	b.Run("tls.LoadX509KeyPair", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
				b.Fatal(err)
			}
		}
	})
}
