package login

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628 §3.4

	minInterval     = 1 * time.Second
	defaultInterval = 5 * time.Second // RFC 8628 §3.2
	maxInterval     = 60 * time.Second
	maxDeviceTime   = 15 * time.Minute
	deviceStepTime  = 30 * time.Second // to get a client and a code; somebody waits for the call
)

// deviceAnswer is a device authorization response (RFC 8628 §3.2), validated.
type deviceAnswer struct {
	deviceCode                secret.Text
	userCode, uri, completeID string
	lifetime, interval        time.Duration
}

// startDevice asks for a user code and polls until the person has entered it.
func (f *Flows) startDevice(ctx context.Context, req Request) (*action.Action, error) {
	g, answer, err := f.authorizeDevice(ctx, req)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(min(answer.lifetime, f.opts.Desk.Timeout()))
	a := action.New(rand.Text(), action.Prompt{
		Kind: action.SignIn, Origin: req.Origin, Issuer: req.Server.Issuer, Resource: req.Resource, Scopes: req.Scopes,
		VerificationURI: answer.uri, VerificationURIComplete: answer.completeID, UserCode: answer.userCode,
		ExpiresAt: deadline,
	})
	go func() {
		// Its own context: the login outlives the call that caused it; the action may be ended elsewhere.
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
		go func() { <-a.Done(); cancel() }()
		a.End(f.poll(ctx, g, answer))
	}()
	return a, nil
}

// authorizeDevice makes the device authorization request (RFC 8628 §3.1). A stored registration
// that the server has forgotten is replaced once. One made for a server that nobody configured is
// kept only if it gives a code: any page may name such servers, and no person is asked before.
func (f *Flows) authorizeDevice(ctx context.Context, req Request) (*grant, *deviceAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, deviceStepTime)
	defer cancel()
	for first := true; ; first = false {
		var g *grant
		var answer *deviceAnswer
		ask := func(c Credentials) (err error) {
			if g, err = f.settle(ctx, req, c); err != nil {
				return err
			}
			answer, err = f.requestDevice(ctx, g)
			return err
		}
		try := ask
		if req.Trusted {
			try = kept
		}
		c, stored, err := f.provenClient(ctx, req, f.redirectURI(req, callback), try)
		if err == nil && answer == nil {
			err = ask(c)
		}
		if first && stored && isUnknownClient(err) {
			f.forgetRegistration(ctx, req.Principal, req.Server.Issuer, c)
			continue
		}
		return g, answer, err
	}
}

func (f *Flows) requestDevice(ctx context.Context, g *grant) (*deviceAnswer, error) {
	form := extra(g.Request, f.Settings(g.Server.Issuer).AuthorizeParams)
	f.addResource(form, g.Server.Issuer, g.Resource)
	if len(g.Scopes) > 0 {
		form["scope"] = strings.Join(g.Scopes, " ")
	}
	to := g.call(g.device)
	to.key = nil // proofs are for token requests (RFC 9449 §5)
	r, err := f.sendForm(ctx, to, g.client, form)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, to.fail(r)
	}
	answer, err := parseDevice(g.Server.Issuer, r.body)
	if err != nil {
		return nil, &TokenError{Endpoint: shownEndpoint(g.device), Status: r.status, Reason: err.Error()}
	}
	return answer, nil
}

func parseDevice(issuer string, body []byte) (*deviceAnswer, error) {
	var a struct {
		DeviceCode string         `json:"device_code"`
		UserCode   string         `json:"user_code"`
		URI        string         `json:"verification_uri"`
		OldURI     string         `json:"verification_url"` // the draft's name, still sent
		Complete   string         `json:"verification_uri_complete"`
		ExpiresIn  jsontext.Value `json:"expires_in"`
		Interval   jsontext.Value `json:"interval"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, errors.New("the answer is not a valid JSON object")
	}
	if a.URI == "" {
		a.URI = a.OldURI
	}
	answer := &deviceAnswer{
		deviceCode: secret.New(a.DeviceCode), userCode: a.UserCode, uri: a.URI,
		lifetime: seconds(a.ExpiresIn), interval: seconds(a.Interval),
	}
	switch {
	case !usableToken(a.DeviceCode):
		return nil, errors.New("the device_code is missing or unusable")
	case !usableUserCode(a.UserCode):
		return nil, errors.New("the user_code is not 4 to 16 letters, digits and hyphens")
	}
	at, err := verificationOrigin(issuer, a.URI)
	if err != nil {
		return nil, err
	}
	// The complete form spares typing; it is shown only if it leads to the same place.
	if o, err := verificationOrigin(issuer, a.Complete); err == nil && o == at && strings.Contains(a.Complete, "?") {
		answer.completeID = a.Complete
	}
	if answer.lifetime == 0 || answer.lifetime > maxDeviceTime {
		answer.lifetime = maxDeviceTime
	}
	if answer.interval == 0 {
		answer.interval = defaultInterval
	}
	answer.interval = min(max(answer.interval, minInterval), maxInterval)
	return answer, nil
}

// usableUserCode refuses what could carry a sentence or an escape sequence to the person.
func usableUserCode(s string) bool {
	if len(s) < 4 || len(s) > 16 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			continue
		}
		return false
	}
	return true
}

// verificationOrigin: where the person enters the code must be https (or the issuer's own loopback
// origin) and belong to the issuer's site, so that no server sends people elsewhere (RFC 8628 §5.4).
func verificationOrigin(issuer, raw string) (origin.Origin, error) {
	bad := errors.New("the verification_uri is not an https address of the issuer's site")
	own, err := origin.OfURL(issuer)
	if err != nil {
		return origin.Origin{}, bad
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || len(raw) > 512 || strings.ContainsFunc(raw, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
		return origin.Origin{}, bad
	}
	o, err := origin.Of(u)
	switch {
	case err != nil:
		return origin.Origin{}, bad
	case o == own:
		return o, nil
	case o.Scheme() != "https" || o.Site() != own.Site():
		return origin.Origin{}, bad
	}
	return o, nil
}

// poll asks for the token until there is an answer (RFC 8628 §3.5).
func (f *Flows) poll(ctx context.Context, g *grant, d *deviceAnswer) error {
	form := f.tokenForm(g.Request, deviceGrant)
	form["device_code"] = d.deviceCode.Reveal()
	delete(form, "scope")
	interval := d.interval
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return action.ErrExpired
		case <-timer.C:
		}
		if err := f.maySend(ctx, g.call(g.token)); err != nil { // waiting does not mend it
			return err
		}
		_, failed := f.obtain(ctx, g, form)
		next, err := afterPoll(interval, failed)
		var no *TokenError
		if errors.Is(err, action.ErrDenied) && errors.As(failed, &no) {
			err = &DeniedError{Issuer: g.Server.Issuer, Description: no.Description}
		}
		if next == 0 {
			return err
		}
		interval = next
		timer.Reset(max(interval, waitAskedFor(failed)))
	}
}

// afterPoll decides on a poll's outcome: the next interval, or 0 and the end. slow_down adds five
// seconds for good; a network failure doubles the interval (RFC 8628 §3.5).
func afterPoll(interval time.Duration, err error) (time.Duration, error) {
	var e *TokenError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &e), e.Status >= 500:
		if isFinal(err) {
			return 0, err
		}
		return min(interval*2, maxInterval), nil
	case e.ErrorCode == "authorization_pending":
		return interval, nil
	case e.ErrorCode == "slow_down", e.Status == http.StatusTooManyRequests:
		return min(interval+5*time.Second, maxInterval), nil
	case e.ErrorCode == "access_denied":
		return 0, action.ErrDenied
	case e.ErrorCode == "expired_token":
		return 0, action.ErrExpired
	}
	return 0, fmt.Errorf("waiting for the code to be entered: %w", err)
}

// waitAskedFor is how long the server wants to be left alone, this once.
func waitAskedFor(err error) time.Duration {
	var e *TokenError
	if !errors.As(err, &e) {
		return 0
	}
	return e.retryAfter
}

// isFinal: failures that waiting does not mend, such as a store that cannot be written.
func isFinal(err error) bool {
	var coded interface{ Code() string }
	return errors.As(err, &coded) && (strings.HasPrefix(coded.Code(), "store.") || strings.HasPrefix(coded.Code(), "tls."))
}
