package oauthtest

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const codeLifetime = time.Minute

// authorization is a valid authorization request.
type authorization struct {
	client      *client
	redirectURI string
	state       string
	challenge   string
	scopes      []string
	resources   []string
	jkt         string // dpop_jkt (RFC 9449 §10)
	nonce       string // OpenID Connect Core §3.1.2.1
	acr         []string
	maxAge      *int
}

// code is an authorization code (RFC 6749 §4.1.2).
type code struct {
	authorization
	grant   *grant
	expires time.Time
	used    bool
}

// authorize is the authorization endpoint: it shows the person who asks for what.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		i.turnAway(w, "The request cannot be read.")
		return
	}
	if q.Has("request_uri") {
		a, why := i.takePushed(q)
		if a == nil {
			i.turnAway(w, why)
			return
		}
		i.ask(w, a)
		return
	}
	// RFC 6749 §4.1.2.1: with a client or redirect URI in doubt, tell the person and do not redirect.
	if len(q["client_id"]) != 1 || len(q["redirect_uri"]) != 1 {
		i.turnAway(w, "The request must name one client_id and one redirect_uri.")
		return
	}
	c, why := i.findClient(r.Context(), q.Get("client_id"))
	if c == nil {
		i.turnAway(w, "This client cannot be served: "+why+".")
		return
	}
	a := &authorization{client: c, redirectURI: q.Get("redirect_uri"), state: q.Get("state"), challenge: q.Get("code_challenge")}
	if !c.mayRedirectTo(a.redirectURI) {
		i.turnAway(w, "The redirect_uri is not registered for this client.")
		return
	}
	f := a.read(q)
	if f == nil && i.options.PAR == "required" {
		f = refuse("invalid_request", "the request must be pushed") // RFC 9126 §5
	}
	if f != nil {
		note(w, "refused, %s: %s", f.code, f.description)
		i.redirect(w, a, url.Values{"error": {f.code}, "error_description": {f.description}})
		return
	}
	i.ask(w, a)
}

// ask has the person decide.
func (i *Issuer) ask(w http.ResponseWriter, a *authorization) {
	if i.options.AutoApprove {
		i.approve(w, a)
		return
	}
	id := random()
	i.mu.Lock()
	i.requests[id] = a
	i.mu.Unlock()
	note(w, "sign-in page shown for %s", a.client.name)
	writePage(w, http.StatusOK, "decision", decisionPage{
		Title: "Sign in as " + subject, Client: a.client.name, Action: i.options.Path + "/authorize/decision", Request: id,
		Resources: a.resources, Scopes: a.scopes,
	})
}

// read validates what RFC 6749 §4.1.1, RFC 7636 §4.3 and RFC 8707 §2.1 demand of the request.
func (a *authorization) read(q url.Values) (f *refusal) {
	if f := single(q); f != nil {
		return f
	}
	if got := q.Get("response_type"); got != "code" {
		return refuse("unsupported_response_type", "response_type must be code")
	}
	if !a.client.mayUse("authorization_code") {
		return refuse("unauthorized_client", "the client is not registered for the code grant")
	}
	if a.state == "" {
		return refuse("invalid_request", "state is missing")
	}
	if a.challenge == "" {
		return refuse("invalid_request", "code_challenge is missing")
	}
	// An absent method means plain (RFC 7636 §4.3).
	if q.Get("code_challenge_method") != "S256" {
		return refuse("invalid_request", "code_challenge_method must be S256")
	}
	if sum, err := base64.RawURLEncoding.DecodeString(a.challenge); err != nil || len(sum) != 32 {
		return refuse("invalid_request", "code_challenge is not a SHA-256 sum in base64url")
	}
	if a.scopes, f = scopes(q); f != nil {
		return f
	}
	if a.resources, f = resources(q); f != nil {
		return f
	}
	if len(a.resources) == 0 {
		return refuse("invalid_target", "resource is missing")
	}
	return a.readDemands(q)
}

// readDemands reads what the tokens shall be bound to and how the person shall sign in.
func (a *authorization) readDemands(q url.Values) *refusal {
	a.jkt, a.nonce, a.acr = q.Get("dpop_jkt"), q.Get("nonce"), strings.Fields(q.Get("acr_values"))
	if sum, err := base64.RawURLEncoding.DecodeString(a.jkt); q.Has("dpop_jkt") && (err != nil || len(sum) != 32) {
		return refuse("invalid_request", "dpop_jkt is not a SHA-256 thumbprint in base64url")
	}
	if q.Has("max_age") {
		seconds, err := strconv.Atoi(q.Get("max_age"))
		if err != nil || seconds < 0 {
			return refuse("invalid_request", "max_age is not a number of seconds")
		}
		a.maxAge = &seconds
	}
	return nil
}

// decideAuthorization takes the person's answer.
func (i *Issuer) decideAuthorization(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) || !i.sameOrigin(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRecorded)
	id, action := r.PostFormValue("request"), r.PostFormValue("action")
	if action != "approve" && action != "deny" {
		i.turnAway(w, "Approve or deny.")
		return
	}
	i.mu.Lock()
	a := i.requests[id]
	delete(i.requests, id)
	i.mu.Unlock()
	if a == nil {
		i.turnAway(w, "This request is unknown or was answered before.")
		return
	}
	if action == "deny" {
		note(w, "%s denied the request", subject)
		i.redirect(w, a, url.Values{"error": {"access_denied"}, "error_description": {"the person said no"}})
		return
	}
	i.approve(w, a)
}

func (i *Issuer) approve(w http.ResponseWriter, a *authorization) {
	value := random()
	i.mu.Lock()
	i.codes[value] = &code{
		authorization: *a,
		grant: &grant{
			client: a.client, subject: subject, scopes: a.scopes, resources: a.resources,
			signedIn: true, nonce: a.nonce, acr: a.acr, maxAge: a.maxAge,
		},
		expires: time.Now().Add(codeLifetime),
	}
	i.mu.Unlock()
	note(w, "%s signed in and approved: authorization code issued", subject)
	i.redirect(w, a, url.Values{"code": {value}})
}

// redirect sends the browser back with state and iss (RFC 9207 §2); 303, so that no form is
// posted again (RFC 9700 §4.12).
func (i *Issuer) redirect(w http.ResponseWriter, a *authorization, q url.Values) {
	if a.state != "" {
		q.Set("state", a.state)
	}
	if !i.options.NoISS {
		q.Set("iss", i.URL)
	}
	if i.options.EditRedirect != nil {
		i.options.EditRedirect(q)
	}
	u, err := url.Parse(a.redirectURI)
	if err != nil {
		i.turnAway(w, "The redirect_uri cannot be read.")
		return
	}
	// A query that was registered is kept (RFC 6749 §3.1.2).
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode()
	w.Header().Set("Location", u.String())
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}

func (i *Issuer) turnAway(w http.ResponseWriter, text string) {
	note(w, "refused without redirect: %s", text)
	writeMessage(w, http.StatusBadRequest, "This request cannot be answered", text)
}

// mayRedirectTo compares byte for byte (RFC 9700 §2.1), save for the port of a loopback IP
// literal, which may be any (RFC 8252 §7.3).
func (c *client) mayRedirectTo(uri string) bool {
	return slices.ContainsFunc(c.redirectURIs, func(registered string) bool {
		return uri == registered || withoutLoopbackPort(registered) != "" && withoutLoopbackPort(uri) == withoutLoopbackPort(registered)
	})
}

// withoutLoopbackPort returns uri without its port, or "" where uri is not plain http to a loopback
// IP literal.
func withoutLoopbackPort(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return ""
	}
	switch u.Hostname() {
	case "127.0.0.1", "::1":
		u.Host = net.JoinHostPort(u.Hostname(), "0")
		return u.String()
	}
	return ""
}
