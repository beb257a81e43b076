package tlsmat

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
	"github.com/mcp-authfetch/mcp-authfetch/pkcs11key"
	"github.com/mcp-authfetch/mcp-authfetch/workload"
)

// rack stands for a token that can be taken out and put in again. Each opening is a new home.
type rack struct {
	mu      sync.Mutex // guards what follows
	pair    *tlstest.Pair
	bare    bool  // no certificates, the key alone
	refuses error // to be opened or asked
	opened  []*fakeHome
	tried   []time.Time
}

// fakeHome is one session. Its key works until it is closed, or the token is taken out.
type fakeHome struct {
	rack   *rack
	gone   bool // guarded by rack.mu, as all below
	closed bool
	asked  int
}

func (r *rack) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *rack) open(context.Context) (home, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried = append(r.tried, time.Now())
	if r.refuses != nil {
		return nil, r.refuses
	}
	h := &fakeHome{rack: r}
	r.opened = append(r.opened, h)
	return h, nil
}

// takeOut ends all sessions, and lets none be opened.
func (r *rack) takeOut() {
	r.set(func() {
		r.refuses = errors.New("no token")
		for _, h := range r.opened {
			h.gone = true
		}
	})
}

func (h *fakeHome) Identity(context.Context) ([]*x509.Certificate, crypto.Signer, error) {
	h.rack.mu.Lock()
	defer h.rack.mu.Unlock()
	h.asked++
	switch {
	case h.closed, h.gone:
		return nil, nil, fmt.Errorf("asking: %w", pkcs11key.ErrGone)
	case h.rack.refuses != nil:
		return nil, nil, h.rack.refuses
	}
	key := &fakeKey{h, h.rack.pair.Cert.PrivateKey.(crypto.Signer)}
	if h.rack.bare {
		return nil, key, nil
	}
	chain, err := x509.ParseCertificates(slices.Concat(h.rack.pair.Cert.Certificate...))
	return chain, key, err
}

func (h *fakeHome) Close() error {
	h.rack.mu.Lock()
	defer h.rack.mu.Unlock()
	h.closed = true
	return nil
}

type fakeKey struct {
	home *fakeHome
	crypto.Signer
}

func (k *fakeKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.home.rack.mu.Lock()
	defer k.home.rack.mu.Unlock()
	if k.home.gone || k.home.closed {
		return nil, pkcs11key.ErrGone
	}
	return k.Signer.Sign(rand, digest, opts)
}

// tellingHome is a home that tells of changes.
type tellingHome struct {
	*fakeHome
	changed chan struct{}
	roots   []*x509.Certificate
}

func (h *tellingHome) Changed() <-chan struct{} { return h.changed }

func (h *tellingHome) Bundle() []*x509.Certificate {
	h.rack.mu.Lock()
	defer h.rack.mu.Unlock()
	return h.roots
}

// newHomePlace is a place whose key is in a rack. With a home, that is what opens instead.
func newHomePlace(t *testing.T, e Entry, homes ...home) (*place, *rack) {
	t.Helper()
	p := &place{t: t, ca: tlstest.NewCA("CA"), dir: t.TempDir(), log: &logged{}, entry: e}
	r := &rack{pair: p.issue("first")}
	p.openHome(r, homes...)
	return p, r
}

func (p *place) openHome(r *rack, homes ...home) {
	p.t.Helper()
	s := newSource(p.entry, SourceOptions{Logger: slog.New(slog.NewTextHandler(p.log, nil)), Interval: 20 * time.Millisecond})
	s.pause = time.Millisecond
	s.keeper = newKeeper(p.entry, s.interval, s.look)
	s.keeper.open = r.open
	for _, h := range homes {
		s.keeper.open = func(context.Context) (home, error) { return h, nil }
	}
	if err := s.open(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = s.Close() })
	p.source = s
}

var atHome = Entry{Name: "corp", Key: "pkcs11:object=client", Cert: "pkcs11:object=client"}

// The chain comes from the home, which is asked once a minute.
func TestHome(t *testing.T) {
	p, r := newHomePlace(t, atHome)
	p.wants("first", 1, "")
	for range 3 {
		p.look()
	}
	p.wants("first", 1, "")
	r.set(func() {
		if n := r.opened[0].asked; n != 1 {
			t.Errorf("the home was asked %d times in a moment, want once", n)
		}
		r.pair = p.issue("second")
	})
	p.source.keeper.asked = time.Now().Add(-homeEvery)
	p.look()
	p.wants("second", 2, "")

	r.set(func() { r.refuses = errors.New("locked") })
	p.source.keeper.asked = time.Now().Add(-homeEvery)
	p.look()
	p.wants("second", 2, "tls.pkcs11")
	r.set(func() { r.refuses = nil })
	p.look()
	p.wants("second", 2, "")
	if len(r.opened) != 1 {
		t.Errorf("it was opened %d times, want once: its key still worked", len(r.opened))
	}
	must(t, p.source.Close())
	if !r.opened[0].closed {
		t.Error("the home was not closed")
	}
}

// A token that is put in again gets a new session, and a new key.
func TestHomeComesBack(t *testing.T) {
	p, r := newHomePlace(t, atHome)
	first := p.source.Current()
	p.source.interval = time.Hour
	p.source.keeper.interval = 100 * time.Millisecond
	p.watch()
	time.Sleep(20 * time.Millisecond)
	r.takeOut()
	// Nothing but the handshake that fails can bring it to light.
	addr, _ := serve(t, p.ca.MutualConfig(p.ca, "127.0.0.1"))
	config := p.source.Current().TLSConfig("127.0.0.1")
	config.RootCAs = p.ca.Pool()
	if err := dial(t, addr, config); err == nil || !strings.Contains(err.Error(), pkcs11key.ErrGone.Error()) {
		t.Errorf("a handshake without the token: %v", err)
	}
	eventually(t, func() bool { return p.source.Status().Failure != nil })
	if p.source.Current() != first {
		t.Error("the last good is gone")
	}
	var fail *LoadError
	if err := p.source.Status().Failure; !errors.As(err, &fail) || fail.Code() != "tls.pkcs11" || fail.Hint() == "" {
		t.Errorf("failure %v", err)
	}
	r.set(func() { r.refuses = nil })
	time.Sleep(120 * time.Millisecond) // until it may be opened again
	p.source.look()
	eventually(t, func() bool { return p.source.Current() != first })
	p.wants("first", 2, "")
	r.set(func() {
		if len(r.opened) != 2 || !r.opened[0].closed || r.opened[1].closed {
			t.Errorf("homes %+v", r.opened)
		}
	})
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			t.Fatal("it does not happen")
		}
	}
}

// A home that cannot be opened is tried less and less often.
func TestHomeIsLeftAlone(t *testing.T) {
	p, r := newHomePlace(t, atHome)
	k := p.source.keeper
	k.interval = 10 * time.Second
	r.takeOut()
	k.asked = time.Time{}
	var rests []time.Duration
	for range 6 {
		k.until = time.Time{}
		n := len(r.tried)
		for range 3 {
			p.look()
		}
		if len(r.tried) != n+1 {
			t.Fatalf("opened %d times at once, want once", len(r.tried)-n)
		}
		rests = append(rests, time.Until(k.until).Round(time.Second)/time.Second)
	}
	if want := []time.Duration{10, 20, 40, 60, 60, 60}; !slices.Equal(rests, want) {
		t.Errorf("left alone for %d seconds, want %d", rests, want)
	}
	if got := p.log.lines("level=WARN"); len(got) != 1 {
		t.Errorf("told %d times, want once:\n%s", len(got), got)
	}
}

// The certificates of a file and the key of a home make a pair, if they belong together.
func TestHomeWithACertificateFile(t *testing.T) {
	for _, bare := range []bool{true, false} {
		t.Run(map[bool]string{true: "key alone", false: "other certificates at home"}[bare], func(t *testing.T) {
			ca := tlstest.NewCA("CA")
			key := ca.Issue(tlstest.Leaf{}).Cert.PrivateKey.(crypto.Signer)
			issue := func(cn string) *tlstest.Pair { return ca.Issue(tlstest.Leaf{CN: cn, Client: true, Key: key}) }
			file := write(t, "client.pem", issue("file").CertPEM)
			p := &place{t: t, ca: ca, log: &logged{}, entry: Entry{Name: "corp", Cert: file, Signer: []string{"signer"}}}
			r := &rack{pair: issue("home"), bare: bare}
			p.openHome(r)
			p.wants("file", 1, "")
			overwrite(t, file, issue("renewed").CertPEM)
			p.look()
			p.wants("renewed", 2, "")
			overwrite(t, file, p.issue("of another key").CertPEM)
			p.look()
			p.wants("renewed", 2, "tls.key_mismatch")
		})
	}
}

// A home that tells of changes is not waited for, and brings roots.
func TestHomeTells(t *testing.T) {
	r := &rack{}
	h := &tellingHome{fakeHome: &fakeHome{rack: r}, changed: make(chan struct{}, 1)}
	p := &place{t: t, ca: tlstest.NewCA("CA"), log: &logged{}, entry: Entry{Name: "corp", SPIFFE: "unix:///agent.sock"}}
	r.pair, h.roots = p.issue("first"), []*x509.Certificate{p.ca.Cert()}
	p.openHome(r, h)
	p.wants("first", 1, "")
	p.source.interval = time.Hour
	p.watch()
	time.Sleep(20 * time.Millisecond)
	r.set(func() { r.pair = p.issue("second") })
	h.changed <- struct{}{}
	p.becomes("second", 2*time.Second)

	other := tlstest.NewCA("other")
	server, _ := serve(t, other.ServerConfig("127.0.0.1"))
	if err := dial(t, server, p.source.Current().TLSConfig("127.0.0.1")); err == nil {
		t.Error("a server of an unknown authority was believed")
	}
	r.set(func() { h.roots = append(h.roots, other.Cert()) })
	h.changed <- struct{}{}
	eventually(t, func() bool { return p.source.Status().Generation == 3 })
	if err := dial(t, server, p.source.Current().TLSConfig("127.0.0.1")); err != nil {
		t.Errorf("a server of an authority that the home told of: %v", err)
	}
}

// denied is what a Workload API says that has taken an identity back.
type denied struct{}

func (denied) Error() string { return "taken back" }
func (denied) Code() string  { return workload.CodeDenied }
func (denied) Hint() string  { return "register it" }

// An identity that was taken back is not used any more, until it is given again.
func TestIdentityTakenBack(t *testing.T) {
	r := &rack{}
	h := &tellingHome{fakeHome: &fakeHome{rack: r}, changed: make(chan struct{}, 1)}
	p := &place{t: t, ca: tlstest.NewCA("CA"), log: &logged{}, entry: Entry{Name: "corp", SPIFFE: "unix:///agent.sock"}}
	r.pair, h.roots = p.issue("first"), []*x509.Certificate{p.ca.Cert()}
	p.openHome(r, h)
	server, got := serve(t, p.ca.MutualConfig(p.ca, "127.0.0.1"))
	handshake := func() error { return dial(t, server, p.source.Current().TLSConfig("127.0.0.1")) }
	if err := handshake(); err != nil {
		t.Fatal(err)
	}
	<-got
	for _, other := range []error{errors.New("away"), denied{}} {
		r.set(func() { r.refuses = other })
		p.look()
		err := handshake()
		var fail *LoadError
		if withdrawn := other == error(denied{}); !withdrawn && err != nil || withdrawn && (!errors.As(err, &fail) || fail.Code() != workload.CodeDenied) {
			t.Errorf("after %v: %v", other, err)
		}
		<-got
	}
	if s := p.source.Status(); !errors.Is(s.Withdrawn, denied{}) || s.Withdrawn.Error() != s.Failure.Error() {
		t.Errorf("status %+v", s)
	}
	if c := check(t, p.source.Current(), "pair"); c.OK || c.Code != workload.CodeDenied || c.Remedy != "register it" || !strings.HasSuffix(c.Result, "taken back") {
		t.Errorf("check %+v", c)
	}
	if got := p.log.lines("level=WARN", "was withdrawn and is not used", "taken back", "code="+workload.CodeDenied); len(got) != 1 {
		t.Errorf("%d lines tell of it, want 1:\n%s", len(got), p.log.lines())
	}
	if got := p.log.lines("has changed"); len(got) != 0 {
		t.Errorf("it is told as a renewal:\n%s", got)
	}
	p.look() // the same again makes no other material
	if n := p.source.Status().Generation; n != 2 {
		t.Errorf("generation %d, want 2", n)
	}
	r.set(func() { r.refuses = nil })
	p.look()
	if err := handshake(); err != nil {
		t.Errorf("given again: %v", err)
	}
	if s := p.source.Status(); s.Withdrawn != nil || s.Failure != nil {
		t.Errorf("given again: status %+v", s)
	}
	if c := check(t, p.source.Current(), "pair"); !c.OK {
		t.Errorf("given again: check %+v", c)
	}
}

// What homes say keeps its code and its remedy.
func TestHomeErrors(t *testing.T) {
	for _, tt := range []struct {
		name             string
		entry            Entry
		err              error
		key, code, hints string
	}{
		{"PKCS #11 not built", Entry{Key: "pkcs11:"}, pkcs11key.ErrNotBuilt, "mtls.corp.key: ", "tls.pkcs11_not_built", "-tags pkcs11"},
		{"PKCS #11, in cert", Entry{Cert: "pkcs11:"}, pkcs11key.ErrNotBuilt, "mtls.corp.cert: ", "tls.pkcs11_not_built", "signer"},
		{"SPIFFE not built", Entry{SPIFFE: "unix:///x"}, workload.ErrNotBuilt, "mtls.corp.spiffe: ", "tls.spiffe_not_built", "-tags spiffe"},
		{"a signer, in two lines", Entry{Signer: []string{"x"}}, errors.New("one\ntwo"), "mtls.corp.signer: gives no identity: one", "tls.signer", "signer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.entry.Name = "corp"
			err := tt.entry.homeFailed(tt.err)
			var fail *LoadError
			if !errors.As(err, &fail) || fail.Code() != tt.code || !strings.Contains(fail.Hint(), tt.hints) || !errors.Is(err, tt.err) {
				t.Errorf("%v: %#v", err, fail)
			}
			if !strings.HasPrefix(err.Error(), tt.key) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q, want it to begin with %q and be one line", err, tt.key)
			}
		})
	}
	_, err := Open(t.Context(), Entry{Name: "corp", Signer: []string{filepath.Join(t.TempDir(), "none")}}, SourceOptions{})
	var fail *LoadError
	if !errors.As(err, &fail) || fail.Code() != "tls.signer" || fail.Hint() == "" {
		t.Errorf("a signer that does not exist: %v", err)
	}
}

// actAsSigner answers as docs/signer.md says, with the pair in dir.
func actAsSigner(dir string) {
	fmt.Fprintln(os.Stderr, "started")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var q struct {
			ID     int    `json:"id"`
			Method string `json:"method"`
			Digest []byte `json:"digest"`
		}
		if json.Unmarshal(in.Bytes(), &q) != nil {
			os.Exit(3)
		}
		answer := map[string]any{"id": q.ID, "protocol": 1}
		certText, _ := os.ReadFile(filepath.Join(dir, "client.pem"))
		keyText, _ := os.ReadFile(filepath.Join(dir, "client.key"))
		cert, _ := pem.Decode(certText)
		block, _ := pem.Decode(keyText)
		key, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
		switch q.Method {
		case "chain":
			answer["chain"] = [][]byte{cert.Bytes}
		case "sign":
			answer["signature"], _ = key.(crypto.Signer).Sign(rand.Reader, q.Digest, crypto.SHA256)
		}
		line, _ := json.Marshal(answer)
		fmt.Println(string(line))
		if pid := filepath.Join(dir, "pid"); q.Method == "hello" {
			_ = os.WriteFile(pid, fmt.Append(nil, os.Getpid()), 0o600)
		}
	}
}

// A real signer shows its certificate, is renewed, survives the death of its process, and ends with
// the source.
func TestSigner(t *testing.T) {
	p := &place{t: t, ca: tlstest.NewCA("CA"), dir: t.TempDir(), log: &logged{}}
	p.cert, p.key = filepath.Join(p.dir, "client.pem"), filepath.Join(p.dir, "client.key")
	p.put(p.issue("first"))
	t.Setenv("TLSMAT_TEST_SIGNER", p.dir)
	p.entry = Entry{Name: "corp", Signer: []string{os.Args[0]}}
	p.open()
	p.wants("first", 1, "")
	process := func() *os.Process {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(p.dir, "pid"))
		must(t, err)
		var pid int
		_, err = fmt.Sscan(string(text), &pid)
		must(t, err)
		proc, err := os.FindProcess(pid)
		must(t, err)
		return proc
	}
	before := process()
	must(t, before.Kill())
	p.source.keeper.asked = time.Time{}
	p.look()
	p.wants("first", 1, "")
	if process().Pid == before.Pid {
		t.Error("the signer was not started again")
	}
	p.put(p.issue("second"))
	p.source.keeper.asked = time.Time{}
	p.look()
	p.wants("second", 2, "")
	last := process()
	must(t, p.source.Close())
	eventually(t, func() bool { return last.Signal(syscall.Signal(0)) != nil })
}
