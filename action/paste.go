package action

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// PasteError: the address that a person copied from the browser is not the one that ends the
// action. Nothing was changed; the person can try again.
type PasteError struct {
	Reason string // what is wrong with it; holds nothing of the address
	Want   string // what the right one begins with; "" where none is expected
}

func (e *PasteError) Error() string { return e.Reason }

// Code is the stable machine code of this error.
func (e *PasteError) Code() string { return "login_paste" }

// Hint says what to do.
func (e *PasteError) Hint() string {
	if e.Want == "" {
		return "open the page of the sign-in first"
	}
	return "sign in until the browser arrives at an address that begins with " + e.Want + ", and copy the whole of it, even if the browser cannot open it"
}

var errElsewhere = errors.New("the page of this action is not shown by this process")

// Continue presses the page's button for a person who was shown the prompt in another way. It
// returns the address that their browser must open next, or "" where the yes was all that was
// needed. The error is the one that ended the action, or that of ctx.
func (d *Desk) Continue(ctx context.Context, a *Action) (next string, err error) {
	p, err := d.placed(a)
	if err != nil {
		return "", err
	}
	pressed := make(chan string, 1)
	go func() { pressed <- p.proceed() }() // outlives ctx like a press of the button; bounded by stepTimeout
	select {
	case next = <-pressed:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if next == "" {
		return "", a.Wait(ctx)
	}
	return next, nil
}

// maxPaste bounds an address; browsers and servers take less.
const maxPaste = 16 << 10

// Answer takes the address that the issuer sent the browser to, for a browser that cannot reach this
// process. It must be the redirect URI as it stands, with the answer in its query: the query alone
// would not show where the answer was sent, which is what tells an issuer's own answer from one
// that another issuer diverted (mix-up, RFC 9700 §4.4). The error is a [*PasteError] where the
// person can try again, else the one that ended the action, or that of ctx.
func (d *Desk) Answer(ctx context.Context, a *Action, address string) error {
	p, err := d.placed(a)
	if err != nil {
		return err
	}
	if p.waits() {
		answer, err := d.readPaste(p, address)
		if err != nil {
			return err
		}
		if p.used.Swap(true) {
			return &PasteError{Reason: "this address was already used", Want: p.redirect.String()}
		}
		go p.take(ctx, answer) // outlives ctx; bounded by stepTimeout
		return a.Wait(ctx)
	}
	if err := a.Wait(ctx); err != nil {
		return err
	}
	return &PasteError{Reason: "the sign-in is over: an address is taken once"}
}

// placed returns the page of a, which may have ended.
func (d *Desk) placed(a *Action) (*pending, error) {
	p, _ := d.find(a.ID())
	if p == nil || p.Action != a {
		return nil, errElsewhere
	}
	return p, nil
}

// readPaste returns the answer in a pasted address if it is the one that p waits for.
func (d *Desk) readPaste(p *pending, address string) (url.Values, error) {
	d.mu.Lock()
	state, authorize, redirect := p.state, p.authorize, p.redirect
	d.mu.Unlock()
	if redirect == nil {
		return nil, &PasteError{Reason: "the sign-in has not begun"}
	}
	wrong := func(reason string) (url.Values, error) {
		return nil, &PasteError{Reason: reason, Want: redirect.String() + "?"}
	}
	if len(address) > maxPaste {
		return wrong("this is too long to be the address")
	}
	u, err := url.Parse(unwrap(address))
	if err != nil {
		return wrong("this could not be read as an address")
	}
	// A fragment is not compared: it stays in the browser, and some issuers leave one there.
	if u.Scheme != redirect.Scheme || u.User != nil || u.Host != redirect.Host || u.EscapedPath() != redirect.EscapedPath() {
		return wrong(misplaced(u, redirect, authorize, p.Prompt()))
	}
	answer, err := parseAnswer(u.RawQuery)
	switch got := answer.Get("state"); {
	case err != nil:
		return wrong(err.Error())
	case got == "" || !answer.Has("code") && !answer.Has("error"):
		return wrong("a part of the address is missing")
	case subtle.ConstantTimeCompare([]byte(got), []byte(state)) != 1:
		return wrong("this address belongs to another sign-in")
	}
	return answer, nil
}

// unwrap removes what comes along when an address is copied out of a text.
func unwrap(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return strings.ContainsRune("\"'`<>«»‹›“”„‘’‚\u00a0\ufeff", r) || r <= ' '
	})
}

// misplaced says what an address is that is not the redirect URI.
func misplaced(u, redirect *url.URL, authorize string, prompt Prompt) string {
	switch page, err := url.Parse(prompt.URL); {
	case u.Scheme == "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "this is not a whole address"
	case err == nil && u.Host == page.Host && !isCallback(u.Path):
		return "this is the address of the page that begins the sign-in, not the one after it"
	case u.Host == redirect.Host && isCallback(u.Path):
		return "this address belongs to another sign-in"
	case sameHost(u, authorize) || sameHost(u, prompt.Issuer) || !isLoopback(u.Hostname()):
		return "this is the address of the sign-in page, not the one after it"
	}
	return "this address belongs to another sign-in"
}

func sameHost(u *url.URL, other string) bool {
	o, err := url.Parse(other)
	return err == nil && o.Host == u.Host
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
