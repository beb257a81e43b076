package tlsmat

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/catalogue"
	"github.com/mcp-authfetch/mcp-authfetch/pkcs11key"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	external "github.com/mcp-authfetch/mcp-authfetch/signer"
	"github.com/mcp-authfetch/mcp-authfetch/workload"
)

// home is where a key lives that nobody else gets.
type home interface {
	// Identity returns the certificates, leaf first, and the key of the leaf.
	Identity(context.Context) ([]*x509.Certificate, crypto.Signer, error)
	Close() error
}

// teller is a home that tells of changes, and of roots.
type teller interface {
	Bundle() []*x509.Certificate
	Changed() <-chan struct{}
}

const (
	homeTimeout = 30 * time.Second // for an answer
	homeEvery   = time.Minute      // how often one is asked that does not tell by itself
	maxRests    = 6                // how many intervals one that cannot be opened is left alone
)

// keepsKey reports whether the key is no file.
func (e Entry) keepsKey() bool {
	return len(e.Signer) > 0 || e.SPIFFE != "" || isURI(e.Key) || isURI(e.Cert)
}

// openHome opens the home of the entry's key.
func (e Entry) openHome(ctx context.Context) (home, error) {
	switch {
	case len(e.Signer) > 0:
		p, err := external.Start(ctx, e.Signer)
		if err != nil {
			return nil, err
		}
		return p, nil
	case e.SPIFFE != "":
		c, err := workload.Open(ctx, e.SPIFFE)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	pin, err := e.passphrase().Text(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, homeTimeout)
	defer cancel()
	t, err := pkcs11key.Open(ctx, e.keyURI(), pin)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (e Entry) keyURI() string {
	if isURI(e.Key) {
		return e.Key
	}
	return e.Cert
}

// What is said of homes that do not say it themselves, as of a context that is over.
var (
	causeSigner = catalogue.Cause{ID: "home.signer", Code: "tls.signer",
		Says:   "gives no identity: {detail}",
		Remedy: "look whether the signer runs, and waits for somebody"}
	causeToken = catalogue.Cause{ID: "home.pkcs11", Code: "tls.pkcs11",
		Says:   "cannot be used: {detail}",
		Remedy: "look whether the token is there, and waits for somebody"}
	causeSPIFFE = catalogue.Cause{ID: "home.spiffe", Code: "tls.spiffe",
		Says:   "gives no identity: {detail}",
		Remedy: "look whether the agent runs"}
	homeCauses = []catalogue.Cause{causeSigner, causeToken, causeSPIFFE}
)

// HomeCauses are what homes of keys say of themselves: signers, tokens and Workload APIs.
func HomeCauses() []catalogue.Cause {
	return slices.Concat(external.Causes(), pkcs11key.Causes(), workload.Causes())
}

// homeFailed says why there is no identity.
func (e Entry) homeFailed(err error) error {
	if _, ok := errors.AsType[*LoadError](err); ok {
		return err
	}
	field, cause := "cert", causeToken
	switch {
	case len(e.Signer) > 0:
		field, cause = "signer", causeSigner
	case e.SPIFFE != "":
		field, cause = "spiffe", causeSPIFFE
	case isURI(e.Key):
		field = "key"
	}
	fail := e.fault(cause, field, err, "detail", sanitize.Line(err.Error(), 500))
	if known, ok := errors.AsType[coded](err); ok {
		fail.Cause.Says, fail.Cause.Code, fail.Cause.Remedy = sanitize.Line(known.Error(), 1000), known.Code(), known.Hint()
	}
	return fail
}

// coded are the errors of homes.
type coded interface {
	error
	Code() string
	Hint() string
}

// keeper keeps a home open. Only one goroutine at a time may use it.
type keeper struct {
	entry    Entry
	open     func(context.Context) (home, error)
	interval time.Duration
	refused  func() // called when the key did not sign

	home    home // nil: none is open
	opened  int  // how often one was
	chain   []*x509.Certificate
	key     crypto.Signer
	asked   time.Time   // for chain and key
	suspect atomic.Bool // the key did not sign: ask now

	err   error     // why none could be opened
	rests int       // how many intervals it is left alone for that
	until time.Time // when that is over
}

func newKeeper(e Entry, interval time.Duration, refused func()) *keeper {
	return &keeper{entry: e, open: e.openHome, interval: interval, refused: refused}
}

// provide adds what the home has to in.
func (k *keeper) provide(ctx context.Context, in *inputs) error {
	if err := k.ask(ctx); err != nil {
		return k.entry.homeFailed(err)
	}
	in.signer = &homeKey{k.key, func() {
		k.suspect.Store(true)
		k.refused()
	}}
	if in.cert == nil {
		in.chain = k.chain
	}
	if t, ok := k.home.(teller); ok {
		in.roots = t.Bundle()
	}
	return nil
}

// ask brings chain and key up to date. Only a home that is gone for good is opened anew; the others
// see to that themselves.
func (k *keeper) ask(ctx context.Context) error {
	if k.home == nil {
		return k.reopen(ctx)
	}
	if _, tells := k.home.(teller); !tells && time.Since(k.asked) < homeEvery && !k.suspect.Load() {
		return nil
	}
	err := k.identity(ctx)
	if errors.Is(err, pkcs11key.ErrGone) {
		return k.reopen(ctx)
	}
	return err
}

// identity asks the home that is open.
func (k *keeper) identity(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, homeTimeout)
	defer cancel()
	k.suspect.Store(false)
	chain, key, err := k.home.Identity(ctx)
	if err != nil {
		return err
	}
	k.chain, k.key, k.asked = chain, key, time.Now()
	return nil
}

// reopen opens a home, unless that went wrong a moment ago.
func (k *keeper) reopen(ctx context.Context) error {
	if k.err != nil && time.Now().Before(k.until) {
		return k.err
	}
	_ = k.close()
	h, err := k.open(ctx)
	if err == nil {
		k.home = h
		if err = k.identity(ctx); err != nil {
			_ = k.close()
		}
	}
	if ctx.Err() != nil {
		return err
	}
	k.err = err
	if err != nil {
		k.rests = min(max(1, 2*k.rests), maxRests)
		k.until = time.Now().Add(time.Duration(k.rests) * k.interval)
		return err
	}
	k.rests = 0
	k.opened++ // the key of the home before works no longer
	return nil
}

// changed receives when the home has something new.
func (k *keeper) changed() <-chan struct{} {
	if t, ok := k.home.(teller); ok {
		return t.Changed()
	}
	return nil
}

// close ends the home.
func (k *keeper) close() error {
	if k.home == nil {
		return nil
	}
	h := k.home
	k.home, k.chain, k.key = nil, nil, nil
	return h.Close()
}

// homeKey tells when its key did not sign.
type homeKey struct {
	crypto.Signer
	refused func()
}

// Sign implements [crypto.Signer].
func (h *homeKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := h.Signer.Sign(rand, digest, opts)
	if err != nil {
		h.refused()
	}
	return signature, err
}
