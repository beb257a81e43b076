package tlsmat

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

// place is a directory with a pair in two files, and the source of it.
type place struct {
	t         *testing.T
	ca        *tlstest.CA
	dir       string
	cert, key string
	entry     Entry
	log       *logged
	source    *Source
}

// newPlace makes a place with the pair of "first". The source does not watch; it looks when asked.
func newPlace(t *testing.T, change ...func(*Entry)) *place {
	t.Helper()
	p := &place{t: t, ca: tlstest.NewCA("CA"), dir: t.TempDir(), log: &logged{}}
	p.cert, p.key = filepath.Join(p.dir, "client.pem"), filepath.Join(p.dir, "client.key")
	p.put(p.issue("first"))
	p.entry = Entry{Name: "corp", Cert: p.cert, Key: p.key}
	for _, c := range change {
		c(&p.entry)
	}
	p.open()
	return p
}

func (p *place) open() {
	p.t.Helper()
	s, err := Open(p.t.Context(), p.entry, SourceOptions{Logger: slog.New(slog.NewTextHandler(p.log, nil)), Interval: 20 * time.Millisecond})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			p.t.Error(err)
		}
	})
	s.pause = 5 * time.Millisecond
	p.source = s
}

func (p *place) issue(cn string) *tlstest.Pair {
	return p.ca.Issue(tlstest.Leaf{CN: cn, Client: true})
}

// put writes the pair in place.
func (p *place) put(pair *tlstest.Pair) {
	p.t.Helper()
	overwrite(p.t, p.cert, pair.CertPEM)
	overwrite(p.t, p.key, pair.KeyPEM)
}

// look has the source look once, as Watch does.
func (p *place) look() { p.source.reload(p.t.Context()) }

// shown is whom a server recognises, by a handshake with what is current.
func (p *place) shown() string {
	p.t.Helper()
	return shown(p.t, p.ca, p.source.Current())
}

// wants checks who is shown, the generation, and that nothing failed or that the failure has the code.
func (p *place) wants(cn string, generation int, code string) {
	p.t.Helper()
	if got := p.shown(); got != cn {
		p.t.Errorf("the server was shown %q, want %q", got, cn)
	}
	status := p.source.Status()
	var fail *LoadError
	if errors.As(status.Failure, &fail) != (code != "") || fail != nil && fail.Code() != code {
		p.t.Errorf("failure %v, want code %q", status.Failure, code)
	}
	if status.Failed.IsZero() != (status.Failure == nil) {
		p.t.Errorf("failed at %v with the failure %v", status.Failed, status.Failure)
	}
	if status.Generation != generation {
		p.t.Errorf("generation %d, want %d", status.Generation, generation)
	}
}

// shown does a handshake with a server that trusts ca and returns whom it recognised.
func shown(t *testing.T, ca *tlstest.CA, m *Material) string {
	t.Helper()
	addr, got := serve(t, ca.MutualConfig(ca, "127.0.0.1"))
	config := m.TLSConfig("127.0.0.1")
	config.RootCAs, config.VerifyConnection = ca.Pool(), nil
	if err := dial(t, addr, config); err != nil {
		t.Errorf("handshake: %v", err)
	}
	s := <-got
	if s.err != nil || len(s.state.PeerCertificates) == 0 {
		t.Errorf("the server saw %d certificates and %v", len(s.state.PeerCertificates), s.err)
		return ""
	}
	return s.state.PeerCertificates[0].Subject.CommonName
}

// overwrite writes over what is there, as cp does.
func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace renames a new file over the old.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	overwrite(t, path+".new", data)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// logged collects log lines.
type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// lines are those with all of the words.
func (l *logged) lines(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}

func TestReload(t *testing.T) {
	p := newPlace(t)
	p.wants("first", 1, "")
	before, first := time.Now(), p.source.Current()
	p.put(p.issue("second"))
	p.look()
	p.wants("second", 2, "")
	if first == p.source.Current() || first.Leaf().Subject.CommonName != "first" {
		t.Error("the former material was changed")
	}
	if at := p.source.Status().Loaded; at.Before(before) {
		t.Errorf("loaded at %v, before %v", at, before)
	}
	want := p.source.Current().Leaf().SerialNumber.Text(16)
	if got := p.log.lines("level=INFO", "generation=2", `subject="CN=second"`, "serial="+want, "mtls=corp"); len(got) != 1 {
		t.Errorf("%d lines tell of the change, want 1:\n%s", len(got), p.log.lines())
	}
}

// What is the same bytes is no new generation, for which every connection would be made anew.
func TestNoNewGeneration(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, p *place, pair *tlstest.Pair)
	}{
		{"nothing", func(*testing.T, *place, *tlstest.Pair) {}},
		{"written again", func(_ *testing.T, p *place, pair *tlstest.Pair) { p.put(pair) }},
		{"replaced by the same", func(t *testing.T, p *place, pair *tlstest.Pair) {
			replace(t, p.cert, pair.CertPEM)
			replace(t, p.key, pair.KeyPEM)
		}},
		{"touched", func(t *testing.T, p *place, _ *tlstest.Pair) {
			if err := os.Chtimes(p.cert, time.Now(), time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}},
		{"permissions", func(t *testing.T, p *place, _ *tlstest.Pair) {
			if err := os.Chmod(p.key, 0o640); err != nil {
				t.Fatal(err)
			}
		}},
		{"a link to the same", func(t *testing.T, p *place, pair *tlstest.Pair) {
			overwrite(t, p.key+".other", pair.KeyPEM)
			if err := errors.Join(os.Remove(p.key), os.Symlink("client.key.other", p.key)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			pair := p.issue("kept")
			p.put(pair)
			p.look()
			m := p.source.Current()
			tt.change(t, p, pair)
			p.look()
			p.wants("kept", 2, "")
			if p.source.Current() != m {
				t.Error("a new material was published")
			}
		})
	}
}

// Whatever appears in the files, the last good stays until something better does.
func TestLastGoodStays(t *testing.T) {
	other := tlstest.NewCA("other").Issue(tlstest.Leaf{CN: "other", Client: true})
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, p *place)
		code  string
	}{
		{"key gone", func(t *testing.T, p *place) { remove(t, p.key) }, "tls.key_file"},
		{"certificate gone", func(t *testing.T, p *place) { remove(t, p.cert) }, "tls.cert_file"},
		{"key empty", func(t *testing.T, p *place) { overwrite(t, p.key, nil) }, "tls.key_file"},
		{"certificate empty", func(t *testing.T, p *place) { overwrite(t, p.cert, nil) }, "tls.cert_file"},
		{"certificate half written", func(t *testing.T, p *place) { overwrite(t, p.cert, other.CertPEM[:200]) }, "tls.cert_file"},
		{"key half written", func(t *testing.T, p *place) { overwrite(t, p.key, other.KeyPEM[:100]) }, "tls.key_file"},
		{"certificate of another key", func(t *testing.T, p *place) { overwrite(t, p.cert, other.CertPEM) }, "tls.key_mismatch"},
		{"key of another certificate", func(t *testing.T, p *place) { overwrite(t, p.key, other.KeyPEM) }, "tls.key_mismatch"},
		{"a directory", func(t *testing.T, p *place) {
			remove(t, p.key)
			if err := os.Mkdir(p.key, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "tls.key_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			first := p.source.Current()
			kept, err := os.ReadFile(p.key)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, p)
			p.look()
			p.wants("first", 1, tt.code)
			since := p.source.Status().Failed
			p.look()
			p.wants("first", 1, tt.code)
			if at := p.source.Status().Failed; !at.Equal(since) {
				t.Errorf("failed since %v, want %v", at, since)
			}
			if got := p.log.lines("level=WARN", "code="+tt.code, "hint=", "error="); len(got) != 1 {
				t.Errorf("%d lines tell of the failure, want 1:\n%s", len(got), p.log.lines())
			}
			for _, line := range strings.Split(string(kept)+string(other.KeyPEM), "\n") {
				if len(line) > 40 && p.log.lines(line[:40]) != nil {
					t.Errorf("the key is in the log:\n%s", p.log.lines())
				}
			}
			if p.source.Current() != first {
				t.Error("a new material was published")
			}

			_ = os.Remove(p.key)
			p.put(p.issue("second"))
			p.look()
			p.wants("second", 2, "")
			if got := p.log.lines("level=WARN", "can be loaded again"); len(got) != 1 {
				t.Errorf("%d lines tell of the recovery, want 1:\n%s", len(got), p.log.lines())
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
