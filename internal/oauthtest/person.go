package oauthtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync"
)

// Person is a browser with a human in it, who has an account at the [Issuer].
type Person struct {
	Client *http.Client // nil: one with a cookie jar; redirects are followed in any case
	Log    *Log         // what the person did, as server "person"; nil: not recorded

	once    sync.Once
	browser *http.Client
}

// NewPerson returns a person whose browser trusts roots; nil: those of the system.
func NewPerson(roots *x509.CertPool) *Person {
	return &Person{Client: newBrowser(roots)}
}

// newBrowser keeps no connection open, so that a person leaves nothing behind.
func newBrowser(roots *x509.CertPool) *http.Client {
	jar, _ := cookiejar.New(nil) // never fails
	return &http.Client{
		Jar:       jar,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
}

func (p *Person) client() *http.Client {
	p.once.Do(func() {
		c := p.Client
		if c == nil {
			c = newBrowser(nil)
		}
		own := *c
		own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		p.browser = &own
	})
	return p.browser
}

// Continue opens the short login page, presses Continue, signs in and approves at the issuer and
// follows to the callback, whose page must come with status 200.
func (p *Person) Continue(ctx context.Context, loginURL string) error {
	last, err := p.signIn(ctx, loginURL, "approve")
	if err != nil {
		return err
	}
	if !last.cameBackWith("code") {
		return last.unexpected("the callback with a code")
	}
	return last.mustBe(http.StatusOK)
}

// Deny opens the short login page, presses Continue and denies at the issuer.
func (p *Person) Deny(ctx context.Context, loginURL string) error {
	last, err := p.signIn(ctx, loginURL, "deny")
	if err != nil {
		return err
	}
	if !last.cameBackWith("error") {
		return last.unexpected("the callback with an error")
	}
	return nil
}

// Cancel opens the short login page and presses Cancel.
func (p *Person) Cancel(ctx context.Context, loginURL string) error {
	short, err := p.open(ctx, "opens the login page", loginURL)
	if err != nil {
		return err
	}
	last, err := p.press(ctx, short, "cancel", nil)
	if err != nil {
		return err
	}
	if last.status >= 400 {
		return last.unexpected("a page that takes note of Cancel")
	}
	return nil
}

// EnterCode opens the verification page of the device flow, enters the code and approves.
func (p *Person) EnterCode(ctx context.Context, verificationURI, userCode string) error {
	return p.answerCode(ctx, verificationURI, userCode, "approve")
}

// RefuseCode opens the verification page of the device flow, enters the code and denies.
func (p *Person) RefuseCode(ctx context.Context, verificationURI, userCode string) error {
	return p.answerCode(ctx, verificationURI, userCode, "deny")
}

// Get opens any page.
func (p *Person) Get(ctx context.Context, u string) (status int, body string, err error) {
	pg, err := p.open(ctx, "opens a page", u)
	if err != nil {
		return 0, "", err
	}
	return pg.status, string(pg.body), nil
}

// signIn goes from the short page to the end. An issuer that asks nothing redirects at once.
func (p *Person) signIn(ctx context.Context, loginURL, answer string) (*page, error) {
	short, err := p.open(ctx, "opens the login page", loginURL)
	if err != nil {
		return nil, err
	}
	asked, err := p.press(ctx, short, "continue", nil)
	if err != nil || asked.cameBackWith("code") || asked.cameBackWith("error") {
		return asked, err
	}
	return p.press(ctx, asked, answer, nil)
}

func (p *Person) answerCode(ctx context.Context, verificationURI, userCode, answer string) error {
	start, err := p.open(ctx, "opens the verification page", verificationURI)
	if err != nil {
		return err
	}
	asked, err := p.press(ctx, start, "next", url.Values{"user_code": {userCode}})
	if err != nil {
		return err
	}
	last, err := p.press(ctx, asked, answer, nil)
	if err != nil {
		return err
	}
	return last.mustBe(http.StatusOK)
}

func (p *Person) open(ctx context.Context, what, rawURL string) (*page, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	return p.navigate(ctx, what, nil, http.MethodGet, u, nil)
}

// press fills in the form that has a button named or valued word, and presses that button.
func (p *Person) press(ctx context.Context, pg *page, word string, fill url.Values) (*page, error) {
	f, b, ok := pg.formWith(word)
	if !ok {
		return nil, pg.unexpected(fmt.Sprintf("a form with a button %q", word))
	}
	for name, values := range fill {
		if !f.values.Has(name) {
			return nil, pg.unexpected(fmt.Sprintf("a field %q", name))
		}
		f.values[name] = values
	}
	if b.name != "" {
		f.values.Set(b.name, b.value)
	}
	what := fmt.Sprintf("presses %q", word)
	if f.method == http.MethodPost {
		return p.navigate(ctx, what, pg, http.MethodPost, f.action, f.values)
	}
	f.action.RawQuery = f.values.Encode()
	return p.navigate(ctx, what, pg, http.MethodGet, f.action, nil)
}

// cameBackWith reports whether the way here led over a callback with that parameter.
func (pg *page) cameBackWith(parameter string) bool {
	for _, u := range pg.visited {
		if q := u.Query(); q.Has("state") && q.Has(parameter) {
			return true
		}
	}
	return false
}

func (pg *page) mustBe(status int) error {
	if pg.status != status {
		return pg.unexpected(fmt.Sprintf("status %d", status))
	}
	return nil
}

func (pg *page) unexpected(want string) error {
	excerpt := string(pg.body[:min(len(pg.body), 300)])
	return fmt.Errorf("%s%s answered %d, want %s: %q", originOf(pg.url), pg.url.Path, pg.status, want, excerpt)
}
