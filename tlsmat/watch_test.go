package tlsmat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TLSMAT_TEST_WRITER"); dir != "" {
		writeSlowly(dir)
		return
	}
	if dir := os.Getenv("TLSMAT_TEST_SIGNER"); dir != "" {
		actAsSigner(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// watch has the source watched until the test ends, and checks that nothing is left then.
func (p *place) watch() {
	ignore := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.source.Watch(ctx)
	}()
	p.t.Cleanup(func() {
		cancel()
		begun := time.Now()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			p.t.Error("Watch goes on after its context has ended")
		}
		if d := time.Since(begun); d > time.Second {
			p.t.Errorf("Watch went on for %v", d)
		}
		if err := goleak.Find(ignore); err != nil {
			p.t.Error(err)
		}
	})
}

// becomes waits until somebody is current.
func (p *place) becomes(cn string, within time.Duration) {
	p.t.Helper()
	begun := time.Now()
	for p.source.Current().Leaf().Subject.CommonName != cn {
		if time.Since(begun) > within {
			p.t.Fatalf("after %v, %s is current, want %s; %+v\n%s", within, p.source.Current().Leaf().Subject, cn, p.source.Status(), p.log.lines())
		}
		time.Sleep(time.Millisecond)
	}
}

// renewals are ways in which files are renewed. Each lays out a place of its own and returns what
// renews it.
var renewals = []struct {
	name   string
	layout func(t *testing.T, p *place) (renew func(*tlstest.Pair))
}{
	{"written over", func(_ *testing.T, p *place) func(*tlstest.Pair) { return p.put }},
	{"renamed over", func(t *testing.T, p *place) func(*tlstest.Pair) {
		return func(pair *tlstest.Pair) {
			replace(t, p.cert, pair.CertPEM)
			replace(t, p.key, pair.KeyPEM)
		}
	}},
	{"removed and made anew", func(t *testing.T, p *place) func(*tlstest.Pair) {
		return func(pair *tlstest.Pair) {
			remove(t, p.cert)
			remove(t, p.key)
			p.put(pair)
		}
	}},
	{"..data of Kubernetes", func(t *testing.T, p *place) func(*tlstest.Pair) {
		version := 0
		renew := func(pair *tlstest.Pair) {
			version++
			dir := fmt.Sprintf("..2026_11_22_%d", version)
			old, _ := os.Readlink(filepath.Join(p.dir, "..data"))
			must(t, os.Mkdir(filepath.Join(p.dir, dir), 0o755))
			overwrite(t, filepath.Join(p.dir, dir, "client.pem"), pair.CertPEM)
			overwrite(t, filepath.Join(p.dir, dir, "client.key"), pair.KeyPEM)
			must(t, os.Symlink(dir, filepath.Join(p.dir, "..data_tmp")))
			must(t, os.Rename(filepath.Join(p.dir, "..data_tmp"), filepath.Join(p.dir, "..data")))
			if old != "" {
				must(t, os.RemoveAll(filepath.Join(p.dir, old)))
			}
		}
		remove(t, p.cert)
		remove(t, p.key)
		renew(p.issue("first"))
		must(t, os.Symlink("..data/client.pem", p.cert))
		must(t, os.Symlink("..data/client.key", p.key))
		return renew
	}},
	{"links to a file per version, as of certbot", func(t *testing.T, p *place) func(*tlstest.Pair) {
		archive, version := t.TempDir(), 0
		renew := func(pair *tlstest.Pair) {
			version++
			for name, data := range map[string][]byte{p.cert: pair.CertPEM, p.key: pair.KeyPEM} {
				file := filepath.Join(archive, fmt.Sprintf("%d-%s", version, filepath.Base(name)))
				overwrite(t, file, data)
				_ = os.Remove(name)
				must(t, os.Symlink(file, name))
			}
		}
		renew(p.issue("first"))
		return renew
	}},
	{"written over behind links", func(t *testing.T, p *place) func(*tlstest.Pair) {
		elsewhere := t.TempDir()
		cert, key := p.cert, p.key
		must(t, os.Rename(cert, filepath.Join(elsewhere, "c")), os.Rename(key, filepath.Join(elsewhere, "k")))
		must(t, os.Symlink(filepath.Join(elsewhere, "c"), cert), os.Symlink(filepath.Join(elsewhere, "k"), key))
		return func(pair *tlstest.Pair) {
			overwrite(t, filepath.Join(elsewhere, "k"), pair.KeyPEM)
			overwrite(t, filepath.Join(elsewhere, "c"), pair.CertPEM)
		}
	}},
	{"another directory behind a link, then written over there", func(t *testing.T, p *place) func(*tlstest.Pair) {
		version := 0
		link := filepath.Join(p.dir, "live")
		renew := func(pair *tlstest.Pair) {
			version++
			dir := filepath.Join(p.dir, fmt.Sprint("v", version))
			must(t, os.Mkdir(dir, 0o755))
			overwrite(t, filepath.Join(dir, "client.pem"), pair.CertPEM)
			overwrite(t, filepath.Join(dir, "client.key"), pair.KeyPEM)
			must(t, os.Symlink(dir, link+".new"))
			must(t, os.Rename(link+".new", link))
		}
		renew(p.issue("first"))
		renewInTurns := func(pair *tlstest.Pair) {
			if version%2 == 1 {
				renew(pair)
				return
			}
			version++
			overwrite(t, filepath.Join(link, "client.key"), pair.KeyPEM)
			overwrite(t, filepath.Join(link, "client.pem"), pair.CertPEM)
		}
		p.entry.Cert, p.entry.Key = filepath.Join(link, "client.pem"), filepath.Join(link, "client.key")
		return renewInTurns
	}},
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Polling alone sees every change: on some file systems, and beyond some limits, nothing tells of them.
func TestPolling(t *testing.T) {
	for _, tt := range renewals {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			renew := tt.layout(t, p)
			p.open()
			p.source.notifier = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
			p.watch()
			for i := range 3 {
				cn := fmt.Sprint("renewed ", i)
				renew(p.issue(cn))
				p.becomes(cn, 10*time.Second)
				p.wants(cn, i+2, "")
			}
		})
	}
}

// Where the system tells of changes nobody waits for the next poll.
func TestNotices(t *testing.T) {
	for _, tt := range renewals {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			renew := tt.layout(t, p)
			p.open()
			p.source.interval, p.source.pause = time.Hour, pause
			p.watch()
			time.Sleep(50 * time.Millisecond) // for the first look
			for i := range 3 {
				cn := fmt.Sprint("renewed ", i)
				renew(p.issue(cn))
				p.becomes(cn, 2*time.Second)
				p.wants(cn, i+2, "")
			}
			if got := p.log.lines("level=WARN"); len(got) != 0 {
				t.Errorf("renewals were warned of:\n%s", got)
			}
		})
	}
	t.Run("directory of roots", func(t *testing.T) {
		a, b := tlstest.NewCA("a"), tlstest.NewCA("b")
		dir := filepath.Dir(write(t, "a.pem", a.PEM()))
		p := newPlace(t, func(e *Entry) { e.CA, e.CAOnly = []string{dir}, true })
		p.source.interval = time.Hour
		p.watch()
		time.Sleep(50 * time.Millisecond)
		overwrite(t, filepath.Join(dir, "b.pem"), b.PEM())
		begun := time.Now()
		for p.source.Status().Generation != 2 {
			if time.Since(begun) > 2*time.Second {
				t.Fatalf("%+v", p.source.Status())
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// A change between Open and Watch is not missed, nor one in a directory that was replaced.
func TestWatchMissesNothing(t *testing.T) {
	p := newPlace(t)
	p.source.interval = time.Hour
	p.put(p.issue("between"))
	p.watch()
	p.becomes("between", 2*time.Second)

	q := newPlace(t)
	q.watch()
	time.Sleep(50 * time.Millisecond)
	pair := q.issue("elsewhere")
	must(t, os.Mkdir(q.dir+".new", 0o755))
	overwrite(t, filepath.Join(q.dir+".new", "client.pem"), pair.CertPEM)
	overwrite(t, filepath.Join(q.dir+".new", "client.key"), pair.KeyPEM)
	must(t, os.Rename(q.dir, q.dir+".old"), os.Rename(q.dir+".new", q.dir))
	q.becomes("elsewhere", 2*time.Second)
}

// What happens beside our files is nothing to us, as it may be much.
func TestNeighboursAreIgnored(t *testing.T) {
	p := newPlace(t)
	n := p.source.newNotices()
	defer n.close()
	n.follow(p.entry.paths())
	overwrite(t, filepath.Join(p.dir, "neighbour"), []byte("x"))
	overwrite(t, p.key, p.issue("x").KeyPEM)
	var got []string
	timeout := time.After(5 * time.Second)
	for !slices.Contains(got, p.key) {
		select {
		case e := <-n.events:
			if got = append(got, e.Name); n.concern(e) != (e.Name == p.key) {
				t.Errorf("%v concerns us: %v", e, n.concern(e))
			}
		case <-timeout:
			t.Fatalf("events for %q only", got)
		}
	}
	if !slices.Contains(got, filepath.Join(p.dir, "neighbour")) {
		t.Errorf("no event of the neighbour: %q", got)
	}
}

// A failure that lasts is told once, whatever the number of polls, and heals by itself.
func TestFailureWhileWatching(t *testing.T) {
	p := newPlace(t)
	p.source.notifier = func() (*fsnotify.Watcher, error) { return nil, fs.ErrPermission }
	p.watch()
	pair := p.issue("second")
	putCert(t, p, pair)
	time.Sleep(400 * time.Millisecond) // some 15 polls
	p.wants("first", 1, "tls.key_mismatch")
	if got := p.log.lines("level=WARN"); len(got) != 1 {
		t.Errorf("%d warnings, want 1:\n%s", len(got), got)
	}
	putKey(t, p, pair)
	p.becomes("second", 5*time.Second)
	time.Sleep(100 * time.Millisecond)
	p.wants("second", 2, "")
}

// Close ends Watch, too.
func TestCloseEndsWatch(t *testing.T) {
	p := newPlace(t)
	p.source.interval = time.Hour
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.source.Watch(context.Background())
	}()
	time.Sleep(20 * time.Millisecond)
	must(t, p.source.Close())
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("Watch goes on")
	}
}

// writeSlowly writes the pairs that it finds in dir over one another, a few bytes at a time, until
// it is killed.
func writeSlowly(dir string) {
	pairs, err := filepath.Glob(filepath.Join(dir, "pair-*.pem"))
	if err != nil || len(pairs) == 0 {
		os.Exit(3)
	}
	fmt.Println("ready")
	for {
		pair := pairs[rand.N(len(pairs))]
		for from, to := range map[string]string{pair: "client.pem", strings.TrimSuffix(pair, ".pem") + ".key": "client.key"} {
			data, err := os.ReadFile(from)
			if err != nil {
				os.Exit(4)
			}
			f, err := os.OpenFile(filepath.Join(dir, to), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				os.Exit(5)
			}
			for piece := range slices.Chunk(data, 100) {
				if _, err := f.Write(piece); err != nil {
					os.Exit(6)
				}
				time.Sleep(time.Millisecond)
			}
			_ = f.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Whenever whoever writes the files dies, the source has a pair that servers accept.
func TestWriterIsKilled(t *testing.T) {
	p := newPlace(t)
	for i := range 4 {
		pair := p.issue(fmt.Sprint("pair ", i))
		overwrite(t, filepath.Join(p.dir, fmt.Sprintf("pair-%d.pem", i)), pair.CertPEM)
		overwrite(t, filepath.Join(p.dir, fmt.Sprintf("pair-%d.key", i)), pair.KeyPEM)
	}
	p.source.interval = 5 * time.Millisecond
	p.watch()
	addr, got := serve(t, p.ca.MutualConfig(p.ca, "127.0.0.1"))
	torn := 0
	for i := range 100 {
		writer := exec.Command(os.Args[0])
		writer.Env = append(os.Environ(), "TLSMAT_TEST_WRITER="+p.dir)
		out, err := writer.StdoutPipe()
		must(t, err, writer.Start())
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the writer has not begun: %v", err)
		}
		deadline := time.Now().Add(rand.N(60 * time.Millisecond))
		for first := true; first || time.Now().Before(deadline); first = false {
			config := p.source.Current().TLSConfig("127.0.0.1")
			config.RootCAs = p.ca.Pool()
			err := dial(t, addr, config)
			if s := <-got; err != nil || s.err != nil || len(s.state.PeerCertificates) == 0 {
				t.Fatalf("handshake %d: %v, the server says %v", i, err, s.err)
			}
		}
		must(t, writer.Process.Kill())
		_ = writer.Wait()
		if _, err := tls.LoadX509KeyPair(p.cert, p.key); err != nil {
			torn++
		}
	}
	generations := p.source.Status().Generation
	t.Logf("%d generations; after %d of 100 kills the files did not fit together", generations, torn)
	if generations < 2 || torn == 0 {
		t.Error("the writer was never done, or never interrupted")
	}
	p.put(p.issue("the end"))
	p.becomes("the end", 5*time.Second)
}
