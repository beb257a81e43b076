package oauthtest

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"
)

const deviceLifetime = 10 * time.Minute

// device is a device authorization (RFC 8628 §3.2).
type device struct {
	userCode  string // letters only
	grant     *grant
	expires   time.Time
	interval  time.Duration
	lastPoll  time.Time
	confirm   string // names the confirmation page that was shown, "" where none was
	approved  bool
	denied    bool
	delivered bool
}

// authorizeDevice is the device authorization endpoint (RFC 8628 §3.1).
func (i *Issuer) authorizeDevice(w http.ResponseWriter, r *http.Request) {
	form, c, f := i.clientRequest(w, r)
	if f == nil && form == nil {
		return
	}
	var wanted, audience []string
	if f == nil && !c.mayUse(deviceGrant) {
		f = refuse("unauthorized_client", "the client is not registered for the device grant")
	}
	if f == nil {
		wanted, f = scopes(form)
	}
	if f == nil {
		audience, f = resources(form)
	}
	if f != nil {
		f.write(w)
		return
	}
	interval := i.options.DeviceInterval
	if interval == 0 {
		interval = 1
	}
	d := &device{
		userCode: userCode(), expires: time.Now().Add(deviceLifetime),
		grant:    &grant{client: c, subject: subject, scopes: wanted, resources: audience, signedIn: true},
		interval: time.Duration(min(max(interval, 0), 60)) * time.Second,
	}
	code := random()
	i.mu.Lock()
	i.devices[code] = d
	i.mu.Unlock()
	shown := d.userCode[:4] + "-" + d.userCode[4:]
	note(w, "device code issued to %s", c.name)
	i.reply(w, r, http.StatusOK, map[string]any{
		"device_code": code, "user_code": shown, "verification_uri": i.URL + "/device",
		"verification_uri_complete": i.URL + "/device?user_code=" + shown,
		"expires_in":                int(deviceLifetime.Seconds()), "interval": interval,
	})
}

// userCode is eight letters of an alphabet without vowels (RFC 8628 §6.1).
func userCode() string {
	const alphabet = "BCDFGHJKLMNPQRSTVWXZ"
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	for n, c := range b {
		b[n] = alphabet[int(c)%len(alphabet)]
	}
	return string(b)
}

// redeemDevice is one poll (RFC 8628 §3.4, §3.5).
func (i *Issuer) redeemDevice(q *tokenRequest) (map[string]any, *refusal) {
	d := i.devices[q.form.Get("device_code")]
	if d == nil || d.grant.client != q.client || d.delivered {
		return nil, refuse("invalid_grant", "the device code is unknown, used or was issued to another client")
	}
	now := time.Now()
	since := now.Sub(d.lastPoll)
	d.lastPoll = now
	// A fifth is left for what the network does to the rhythm of an honest client.
	if i.slowDowns > 0 || since < d.interval-d.interval/5 {
		i.slowDowns = max(i.slowDowns-1, 0)
		d.interval += 5 * time.Second
		return nil, refuse("slow_down", "polling too fast; wait five seconds more from now on")
	}
	switch {
	case d.denied:
		return nil, refuse("access_denied", "the person said no")
	case !now.Before(d.expires):
		return nil, refuse("expired_token", "the device code has expired")
	case !d.approved:
		return nil, refuse("authorization_pending", "the person has not answered yet")
	}
	if len(d.grant.resources) == 0 {
		d.grant.resources = q.audience
	}
	if !subset(q.audience, d.grant.resources) {
		return nil, refuse("invalid_target", "resource was not part of the device authorization request")
	}
	d.delivered = true
	return i.issue(q, d.grant, d.grant.scopes, true), nil
}

// devicePage asks for the user code, then shows who asks for what (RFC 8628 §3.3).
func (i *Issuer) devicePage(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) || r.Method == http.MethodPost && !i.sameOrigin(w, r) {
		return
	}
	action := i.options.Path + "/device"
	if r.Method == http.MethodGet {
		// A code in the URL still has to be confirmed (RFC 8628 §3.3.1).
		note(w, "page for the user code shown")
		writePage(w, http.StatusOK, "code", codePage{"Sign in as " + subject, action, r.URL.Query().Get("user_code")})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRecorded)
	id, entered := random(), letters(r.PostFormValue("user_code"))
	i.mu.Lock()
	d := i.pendingDevice(func(d *device) bool { return d.userCode == entered })
	if d != nil {
		d.confirm = id
	}
	i.mu.Unlock()
	if d == nil {
		note(w, "refused: unknown user code")
		writeMessage(w, http.StatusNotFound, "Unknown code", "This code is unknown, expired or was answered before.")
		return
	}
	note(w, "user code entered for %s", d.grant.client.name)
	writePage(w, http.StatusOK, "decision", decisionPage{
		Title: "Connect a device", Client: d.grant.client.name, Action: action + "/decision", Request: id,
		Resources: d.grant.resources, Scopes: d.grant.scopes,
	})
}

// letters folds a user code as a person may type it (RFC 8628 §6.1).
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 'A' || r > 'Z' {
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

// decideDevice takes the person's answer.
func (i *Issuer) decideDevice(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) || !i.sameOrigin(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRecorded)
	id, action := r.PostFormValue("request"), r.PostFormValue("action")
	if id == "" || action != "approve" && action != "deny" {
		i.turnAway(w, "Approve or deny.")
		return
	}
	i.mu.Lock()
	d := i.pendingDevice(func(d *device) bool { return d.confirm == id })
	if d != nil {
		d.approved, d.denied = action == "approve", action == "deny"
	}
	i.mu.Unlock()
	if d == nil {
		i.turnAway(w, "This request is unknown, expired or was answered before.")
		return
	}
	if action == "deny" {
		note(w, "%s denied the device", subject)
		writeMessage(w, http.StatusOK, "Denied", "The device was not connected.")
		return
	}
	note(w, "%s approved the device", subject)
	writeMessage(w, http.StatusOK, "Approved", "The device is connected. You can close this window.")
}

// pendingDevice finds a device that waits for an answer; i.mu is held.
func (i *Issuer) pendingDevice(match func(*device) bool) *device {
	for _, d := range i.devices {
		if !d.approved && !d.denied && time.Now().Before(d.expires) && match(d) {
			return d
		}
	}
	return nil
}
