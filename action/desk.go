package action

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DeskOptions configure a [Desk]. The zero value works.
type DeskOptions struct {
	Port    int           // of the loopback listeners; 0: any free one
	Timeout time.Duration // how long an action waits for its person; 0: 10 minutes
	// Open shows url to the person in a browser. It returns an error when it could not. nil: nobody opens anything.
	Open func(ctx context.Context, url string) error
	// Own is told the address of each listener and returns what to call when it is closed. nil: nobody.
	Own    func(netip.AddrPort) (release func())
	Logger *slog.Logger // nil: silent
}

// Desk shows pages on the loopback addresses 127.0.0.1 and, where there is one, ::1, and takes the
// answers. It listens only while an action waits.
type Desk struct {
	opts   DeskOptions
	linger time.Duration // how long the listener outlives its last action: the person is still reading the last page
	listen func(network, address string) (net.Listener, error)

	mu        sync.Mutex // guards what follows
	srv       *listener
	closed    bool
	pending   map[string]*pending // by id
	states    map[string]*pending // by OAuth state
	recent    []*pending          // ended ones, so that a reload of their page is explained
	idleSince time.Time           // when the last action was removed
	opened    []time.Time         // when pages were opened by themselves, of the last minute
}

// Form is an action's page.
type Form struct {
	Prompt Prompt // URL, Opened and ExpiresAt are filled in by the desk
	Target string // the URL that Continue will lead to, as far as known; browsers must be told beforehand when it is plain http
	// Continue runs when the person agrees. It returns where the browser goes next, or "" when the
	// person's yes was all. redirectURI is where an issuer sends the browser back to. Its error is
	// shown on the page and ends the action.
	Continue func(ctx context.Context, redirectURI string) (next Next, err error)
}

// Next is where the browser goes after Continue.
type Next struct {
	URL string // "" ends the action: the person's yes was all that was needed
	// State and Callback tell the desk which answer of the issuer belongs here (RFC 6749 §4.1.2).
	State    string
	Callback func(ctx context.Context, answer url.Values) error
	// RedirectURI is where that answer must arrive: the redirect URI that Continue was given ("" for
	// that one itself) or a path below it, whose host may be localhost or [::1] instead. An answer
	// that arrives elsewhere changes nothing.
	RedirectURI string
}

type pending struct {
	*Action
	target string
	goOn   func() (Next, error) // runs Continue once, however often the button is pressed
	timer  *time.Timer
	used   atomic.Bool  // an answer of the issuer with the right state has come
	answer atomic.Int32 // the first button pressed: unanswered, continued or cancelled

	// What follows is set once, under Desk.mu, when the issuer's answer can come.
	state     string
	authorize string   // where the person signs in
	redirect  *url.URL // where the answer must arrive
	callback  func(ctx context.Context, answer url.Values) error
}

// The values of pending.answer.
const (
	unanswered int32 = iota
	continued
	cancelled
)

// NewDesk returns a desk without a listener yet.
func NewDesk(opts DeskOptions) *Desk {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Minute
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Desk{opts: opts, linger: 30 * time.Second, listen: net.Listen, pending: map[string]*pending{}, states: map[string]*pending{}}
}

// Timeout is how long an action waits for its person.
func (d *Desk) Timeout() time.Duration { return d.opts.Timeout }

// Port is the fixed port of the pages, 0 where it is any free one.
func (d *Desk) Port() int { return d.opts.Port }

// Place shows a form and returns its action. It opens nothing; see [Desk.OpenBrowser]. The error is
// a [*PortError], or [ErrClosed] after [Desk.Close].
func (d *Desk) Place(f Form) (*Action, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.srv == nil {
		srv, err := d.open()
		if err != nil {
			return nil, err
		}
		d.srv = srv
	}
	id, srv, base := rand.Text(), d.srv, d.srv.base()
	f.Prompt.URL = base + "/l/" + id
	f.Prompt.Opened = false
	f.Prompt.ExpiresAt = time.Now().Add(d.opts.Timeout)
	p := &pending{Action: New(id, f.Prompt), target: f.Target}
	p.goOn = sync.OnceValues(func() (Next, error) {
		// Not the browser's context: its going away must not leave a half-made registration.
		ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
		defer cancel()
		n, err := f.Continue(ctx, base+callbackPath)
		if err == nil {
			if n.RedirectURI == "" {
				n.RedirectURI = base + callbackPath
			}
			err = d.expect(p, srv, n)
		}
		return n, err
	})
	d.pending[id] = p
	p.timer = time.AfterFunc(d.opts.Timeout, func() { p.End(ErrExpired) })
	go func() { // ends with the action, which the timer bounds
		<-p.Done()
		p.timer.Stop()
		d.remove(p)
	}()
	return p.Action, nil
}

// OpenBrowser shows the action's page in a browser and reports whether one could be started.
func (d *Desk) OpenBrowser(ctx context.Context, a *Action) bool {
	if d.opts.Open == nil {
		return false
	}
	if !d.mayOpen(time.Now()) {
		d.opts.Logger.Warn("too many sign-in pages were opened in the last minute; this one is only shown as a link", "origin", a.Prompt().Origin.String())
		return false
	}
	if err := d.opts.Open(ctx, a.Prompt().URL); err != nil {
		d.opts.Logger.Info("no browser could be opened", "error", err)
		return false
	}
	a.setOpened()
	return true
}

// maxWindows is how many pages are opened by themselves in a minute: an agent led astray must not
// bury the person under windows.
const maxWindows = 3

func (d *Desk) mayOpen(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = slices.DeleteFunc(d.opened, func(t time.Time) bool { return now.Sub(t) > time.Minute })
	if len(d.opened) >= maxWindows {
		return false
	}
	d.opened = append(d.opened, now)
	return true
}

// Close ends every action and the listener, for good.
func (d *Desk) Close() {
	d.mu.Lock()
	d.closed = true
	all := slices.Collect(maps.Values(d.pending))
	srv := d.freePort()
	d.mu.Unlock()
	for _, p := range all {
		p.End(ErrClosed)
	}
	if srv != nil {
		srv.close(2 * time.Second) // lets the last page reach its reader
	}
}

// stepTimeout bounds one talk with the issuer.
const stepTimeout = 30 * time.Second

func (d *Desk) remove(p *pending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, p.id)
	delete(d.states, p.state)
	if d.recent = append(d.recent, p); len(d.recent) > 16 {
		d.recent = d.recent[1:]
	}
	d.idleSince = time.Now()
	if len(d.pending) == 0 && d.srv != nil {
		srv := d.srv
		time.AfterFunc(d.linger, func() { d.closeIdle(srv) })
	}
}

func (d *Desk) closeIdle(srv *listener) {
	d.mu.Lock()
	idle := d.srv == srv && len(d.pending) == 0 && time.Since(d.idleSince) >= d.linger
	if idle {
		d.freePort()
		d.recent = nil
	}
	d.mu.Unlock()
	if idle {
		srv.close(5 * time.Second)
	}
}

// find returns the waiting action of id, or the ended one.
func (d *Desk) find(id string) (p *pending, waiting bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pending[id]; p != nil {
		return p, p.waits()
	}
	for _, p := range d.recent {
		if p.id == id {
			return p, false
		}
	}
	return nil, false
}

// byState returns the action that an answer of an issuer belongs to, nil if there is none. It may
// have ended a short while ago.
func (d *Desk) byState(state string) *pending {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.states[state]; p != nil {
		return p
	}
	for _, p := range d.recent {
		if p.state == state && state != "" {
			return p
		}
	}
	return nil
}

// waits reports whether the person can still answer; what has ended is removed a moment later.
func (p *pending) waits() bool { return p.EndedAt().IsZero() }

// expect lets the issuer's answer find p, unless p has ended meanwhile.
func (d *Desk) expect(p *pending, srv *listener, n Next) error {
	if n.State == "" {
		return nil
	}
	redirect, err := srv.arrives(n.RedirectURI)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending[p.id] == p {
		p.state, p.authorize, p.redirect, p.callback = n.State, n.URL, redirect, n.Callback
		d.states[n.State] = p
	}
	return nil
}
