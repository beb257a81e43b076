package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/principal"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func TestAuthorizationCodeEndToEnd(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{Path: "/tenant1"}, options{})
	a := w.start(w.request())
	p := a.Prompt()
	if p.Kind != action.SignIn || p.Issuer != w.issuer.URL || p.Origin.String() != "https://wiki.example" || p.UserCode != "" {
		t.Errorf("prompt %+v", p)
	}
	if _, body, err := w.person.Get(t.Context(), p.URL); err != nil || !strings.Contains(body, "wiki.read, wiki.list") {
		t.Errorf("the page: %v\n%s", err, body)
	}
	if n := len(w.issuer.Log.Events()); n != 0 {
		t.Fatalf("the issuer got %d requests before the person agreed", n)
	}
	if err := w.person.Continue(t.Context(), p.URL); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, a); err != nil {
		t.Fatal(err)
	}

	redirect := w.one("/tenant1/register")
	contains(t, "registration", string(redirect.Body), `"application_type":"native"`, `"client_name":"mcp-authfetch"`,
		`"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"]`,
		`"response_types":["code"]`, `"token_endpoint_auth_method":"none"`)
	if strings.Contains(string(redirect.Body), "scope") {
		t.Errorf("registration asks for a scope: %s", redirect.Body)
	}

	q := w.one("/tenant1/authorize").Query
	pageHost := strings.SplitN(p.URL, "/", 4)[2]
	if got := q.Get("redirect_uri"); !regexp.MustCompile(`^http://`+regexp.QuoteMeta(pageHost)+`/callback/[0-9a-f]{32}$`).MatchString(got) ||
		!strings.Contains(string(redirect.Body), got) {
		t.Errorf("redirect_uri %q, page %s, registration %s", got, p.URL, redirect.Body)
	}
	if got := q.Get("state"); !regexp.MustCompile(`^[A-Z2-7]{26,}$`).MatchString(got) {
		t.Errorf("state %q has fewer than 128 bits", got)
	}
	for name, want := range map[string]string{
		"response_type": "code", "code_challenge_method": "S256", "resource": resource, "scope": "wiki.read wiki.list", "client_id": w.registration().ClientID,
	} {
		if len(q[name]) != 1 || q.Get(name) != want {
			t.Errorf("authorization request: %s = %q, want %q", name, q[name], want)
		}
	}

	token := w.one("/tenant1/token")
	form := token.Form
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	if got := base64.RawURLEncoding.EncodeToString(sum[:]); got != q.Get("code_challenge") || len(form.Get("code_verifier")) < 43 {
		t.Errorf("verifier %q for challenge %q", form.Get("code_verifier"), q.Get("code_challenge"))
	}
	for name, want := range map[string]string{
		"grant_type": "authorization_code", "redirect_uri": q.Get("redirect_uri"), "resource": resource, "client_id": q.Get("client_id"),
	} {
		if got := form[name]; len(got) != 1 || got[0] != want {
			t.Errorf("token request: %s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"client_secret", "scope", "state"} {
		if form.Has(name) {
			t.Errorf("token request has %s", name)
		}
	}
	if token.RawQuery != "" || token.Header.Get("Authorization") != "" || token.Header.Get("Referer") != "" {
		t.Errorf("token request: query %q, headers %v", token.RawQuery, token.Header)
	}

	tok := w.token()
	if ok, why := w.issuer.Valid(tok.AccessToken.Reveal(), resource, []string{"wiki.read", "wiki.list"}); !ok {
		t.Errorf("the stored token: %s", why)
	}
	if left := time.Until(tok.Expiry); left < 58*time.Minute || left > time.Hour {
		t.Errorf("expires in %v", left)
	}
	if tok.RefreshToken.IsZero() || tok.ObtainedAt.IsZero() {
		t.Error("no refresh token, or no time")
	}
	want := &tokenstore.Token{
		Principal: principal.Local, Resource: resource, Issuer: w.issuer.URL, TokenType: "Bearer", Scopes: []string{"wiki.read", "wiki.list"},
		ClientID: q.Get("client_id"), TokenEndpoint: w.issuer.URL + "/token", RevocationEndpoint: w.issuer.URL + "/revoke", Expiry: tok.Expiry, ObtainedAt: tok.ObtainedAt,
	}
	want.AccessToken, want.RefreshToken = tok.AccessToken, tok.RefreshToken
	if diff := cmp.Diff(want, tok, equalSecrets); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// The registration is used again; state, verifier and everything else are fresh.
func TestSecondLogin(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	for range 2 {
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
	}
	w.one("/register")
	asked, tokens := w.received("/authorize"), w.received("/token")
	if len(asked) != 2 || len(tokens) != 2 {
		t.Fatalf("%d authorization requests, %d token requests", len(asked), len(tokens))
	}
	for _, name := range []string{"state", "code_challenge"} {
		if asked[0].Query.Get(name) == asked[1].Query.Get(name) {
			t.Errorf("the same %s twice", name)
		}
	}
	for _, name := range []string{"client_id", "redirect_uri"} {
		if asked[0].Query.Get(name) != asked[1].Query.Get(name) {
			t.Errorf("another %s", name)
		}
	}
}

func TestRegistrationsAreNotShared(t *testing.T) {
	one := newWorld(t, oauthtest.IssuerOptions{}, options{})
	two := newWorld(t, oauthtest.IssuerOptions{}, options{})
	req := one.request()
	if err := one.signIn(req); err != nil {
		t.Fatal(err)
	}
	atTwo := req
	atTwo.Server = two.server
	if err := one.signIn(atTwo); err != nil {
		t.Fatal(err)
	}
	other := req
	other.Principal = "someone-else"
	if err := one.signIn(other); err != nil {
		t.Fatal(err)
	}
	first, second := one.received("/authorize"), two.received("/authorize")
	if len(one.received("/register")) != 2 || len(two.received("/register")) != 1 {
		t.Fatalf("%d and %d registrations, want 2 (one for each principal) and 1", len(one.received("/register")), len(two.received("/register")))
	}
	if first[0].Query.Get("client_id") == first[1].Query.Get("client_id") {
		t.Error("two principals have the same client")
	}
	if first[0].Query.Get("redirect_uri") == second[0].Query.Get("redirect_uri") {
		t.Error("two issuers have the same redirect URI")
	}
	for _, e := range two.issuer.Log.Events() {
		if strings.Contains(e.RawQuery+string(e.Body), first[0].Query.Get("client_id")) {
			t.Errorf("the client of one issuer went to another: %s %s", e.Method, e.Path)
		}
	}
}

// A dishonest issuer sends the browser on to an honest one, with our state, to get its code. The
// code then arrives at the honest issuer's address, not at that of the flow.
func TestMixUp(t *testing.T) {
	honest := newWorld(t, oauthtest.IssuerOptions{NoISS: true}, options{})
	if err := honest.signIn(honest.request()); err != nil {
		t.Fatal(err)
	}
	known := honest.received("/authorize")[0].Query
	honest.issuer.Log.Reset()
	var evil *oauthtest.Issuer
	evil, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{NoISS: true, Handle: map[string]http.HandlerFunc{
		"/authorize": func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			own, err := url.Parse(q.Get("redirect_uri"))
			if err != nil {
				t.Error(err)
			}
			registered, err := url.Parse(known.Get("redirect_uri"))
			if err != nil {
				t.Error(err)
			}
			registered.Host = own.Host
			q.Set("client_id", known.Get("client_id"))
			q.Set("redirect_uri", registered.String())
			http.Redirect(w, r, honest.issuer.URL+"/authorize?"+q.Encode(), http.StatusFound)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(evil.Close)
	req := honest.request()
	req.Server = metadata(t, evil)
	a := honest.start(req)
	if err := honest.person.Continue(t.Context(), a.Prompt().URL); err == nil {
		t.Error("the person saw no refusal")
	}
	if n := len(honest.received("/authorize/decision")); n != 1 {
		t.Fatalf("the honest issuer was asked %d times; the test proves nothing", n)
	}
	if n := evil.Log.Count("issuer", "", "/token"); n != 0 {
		t.Errorf("the code went to the dishonest issuer, %d times", n)
	}
	select {
	case <-a.Done():
		t.Errorf("the login ended: %v", a.Err())
	default:
	}
}

func TestForgottenClient(t *testing.T) {
	t.Run("the server says so on a page of its own", func(t *testing.T) {
		w := newWorld(t, oauthtest.IssuerOptions{}, options{desk: action.DeskOptions{Timeout: 1500 * time.Millisecond}})
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
		before := w.registration().ClientID
		w.issuer.ForgetClients()
		if err := w.signIn(w.request()); err != action.ErrExpired {
			t.Fatalf("ended with %v", err)
		}
		eventually(t, "the registration is dropped", func() bool { return w.registration() == nil })
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
		if after := w.registration().ClientID; after == before || len(w.received("/register")) != 2 {
			t.Errorf("client %q after %q, %d registrations", after, before, len(w.received("/register")))
		}
	})
	t.Run("between the sign-in and the code", func(t *testing.T) {
		var i *oauthtest.Issuer
		forget := false
		i, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{EditRedirect: func(url.Values) {
			if forget {
				forget = false
				i.ForgetClients()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(i.Close)
		w := newWorldAt(t, i, options{})
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
		forget = true
		var e *TokenError
		if err := w.signIn(w.request()); !errors.As(err, &e) || e.ErrorCode != "invalid_client" {
			t.Fatalf("ended with %v", err)
		}
		eventually(t, "the registration is dropped", func() bool { return w.registration() == nil })
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a page that nobody opened keeps it", func(t *testing.T) {
		w := newWorld(t, oauthtest.IssuerOptions{}, options{desk: action.DeskOptions{Timeout: 1500 * time.Millisecond}})
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, w.start(w.request())); err != action.ErrExpired {
			t.Fatalf("ended with %v", err)
		}
		time.Sleep(20 * time.Millisecond)
		if w.registration() == nil {
			t.Error("the registration was dropped")
		}
	})
	t.Run("a no keeps it", func(t *testing.T) {
		w := newWorld(t, oauthtest.IssuerOptions{}, options{})
		if err := w.signIn(w.request()); err != nil {
			t.Fatal(err)
		}
		if err := w.deny(w.request()); !errors.Is(err, action.ErrDenied) {
			t.Fatalf("ended with %v", err)
		}
		time.Sleep(20 * time.Millisecond)
		if w.registration() == nil {
			t.Error("the registration was dropped")
		}
	})
}

// Continue may still talk to a slow issuer when the time is over.
func TestExpiryDuringRegistration(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, oauthtest.IssuerOptions{}, options{
		desk: action.DeskOptions{Timeout: 300 * time.Millisecond},
		wrap: func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				<-release
				return next.RoundTrip(r)
			})
		},
	})
	a := w.start(w.request())
	pressed := make(chan error, 1)
	go func() { pressed <- w.person.Continue(context.Background(), a.Prompt().URL) }()
	if err := wait(t, a); err != action.ErrExpired {
		t.Errorf("ended with %v", err)
	}
	close(release)
	if err := <-pressed; err == nil {
		t.Error("the person was led on although the time was over")
	}
	if n := len(w.received("/authorize")); n != 0 {
		t.Errorf("%d authorization requests", n)
	}
}

func TestIssuerOfTheAnswer(t *testing.T) {
	for _, tc := range []struct {
		name       string
		advertised bool
		iss        func(issuer string) []string // nil: absent
		ok         bool
	}{
		{"advertised, right", true, func(i string) []string { return []string{i} }, true},
		{"advertised, missing", true, nil, false},
		{"advertised, wrong", true, func(string) []string { return []string{"https://evil.example"} }, false},
		{"advertised, empty", true, func(string) []string { return []string{""} }, false},
		{"advertised, with a slash", true, func(i string) []string { return []string{i + "/"} }, false},
		{"advertised, with a query", true, func(i string) []string { return []string{i + "?"} }, false},
		{"advertised, with a default port", true, func(i string) []string { return []string{i + ":443"} }, false},
		{"advertised, in capitals", true, func(i string) []string { return []string{strings.ToUpper(i)} }, false},
		{"advertised, with a space", true, func(i string) []string { return []string{i + " "} }, false},
		{"unadvertised, right", false, func(i string) []string { return []string{i} }, true},
		{"unadvertised, wrong", false, func(string) []string { return []string{"https://evil.example"} }, false},
		{"unadvertised, absent", false, nil, true},
	} {
		for _, answer := range []string{"code", "error"} {
			t.Run(tc.name+", "+answer, func(t *testing.T) {
				var i *oauthtest.Issuer
				i, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{NoISS: !tc.advertised, EditRedirect: func(q url.Values) {
					q.Del("iss")
					if tc.iss != nil {
						q["iss"] = tc.iss(i.URL)
					}
					if answer == "error" {
						q.Set("error_description", canary)
						q.Set("error", "access_denied")
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(i.Close)
				w := newWorldAt(t, i, options{})
				sign := w.signIn
				if answer == "error" {
					sign = w.deny
				}
				got := sign(w.request())
				var refused *AnswerError
				switch {
				case !tc.ok:
					if !errors.As(got, &refused) || refused.Code() != "oauth.answer_refused" || refused.Hint() == "" {
						t.Errorf("ended with %v", got)
					}
					if len(w.received("/token")) != 0 || w.token() != nil {
						t.Error("the answer was used")
					}
					if s := got.Error(); strings.Contains(s, canary) || strings.Contains(s, "evil") || strings.Contains(s, "denied") {
						t.Errorf("the answer is shown: %s", s)
					}
				case answer == "error":
					if !errors.Is(got, action.ErrDenied) {
						t.Errorf("ended with %v", got)
					}
				case got != nil || w.token() == nil:
					t.Errorf("ended with %v", got)
				}
			})
		}
	}
}

func TestErrorResponses(t *testing.T) {
	for _, tc := range []struct {
		name       string
		edit       url.Values
		code, text string
	}{
		{"server error", url.Values{"error": {"server_error"}, "error_description": {"try \x1b[31mlater\u202e"}}, "oauth.token_endpoint", `"server_error": "try [31mlater"`},
		{"scope", url.Values{"error": {"invalid_scope"}}, "oauth.invalid_scope", `"invalid_scope"`},
		{"long", url.Values{"error": {strings.Repeat("e", 5000)}, "error_description": {strings.Repeat("d", 5000)}}, "oauth.token_endpoint", "…"},
		{"error and code", url.Values{"error": {"server_error"}, "code": {"C"}}, "oauth.token_endpoint", "server_error"},
		{"neither", url.Values{}, "oauth.answer_refused", "no usable code"},
		{"empty code", url.Values{"code": {""}}, "oauth.answer_refused", "no usable code"},
		{"code with a line break", url.Values{"code": {"a\r\nb"}}, "oauth.answer_refused", "no usable code"},
		{"huge code", url.Values{"code": {strings.Repeat("c", 9<<10)}}, "oauth.answer_refused", "no usable code"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{EditRedirect: func(q url.Values) {
				q.Del("code")
				for name, values := range tc.edit {
					q[name] = values
				}
			}}, options{})
			err := w.signIn(w.request())
			var coded interface{ Code() string }
			if !errors.As(err, &coded) || coded.Code() != tc.code {
				t.Fatalf("ended with %v", err)
			}
			contains(t, "error", err.Error(), tc.text)
			if strings.ContainsAny(err.Error(), "\x1b\n\u202e") || len(err.Error()) > 600 {
				t.Errorf("error %q", err)
			}
			if len(w.received("/token")) != 0 {
				t.Error("the token endpoint was asked")
			}
		})
	}
}

func TestPersonSaysNo(t *testing.T) {
	t.Run("at the issuer", func(t *testing.T) {
		w := newWorld(t, oauthtest.IssuerOptions{}, options{})
		if err := w.deny(w.request()); !errors.Is(err, action.ErrDenied) {
			t.Fatalf("ended with %v", err)
		}
		_, err := w.Start(t.Context(), w.request())
		var declined *action.DeclinedError
		if !errors.As(err, &declined) || declined.Prompt.Issuer != w.issuer.URL {
			t.Errorf("the next login: %v", err)
		}
	})
	t.Run("on our page", func(t *testing.T) {
		w := newWorld(t, oauthtest.IssuerOptions{}, options{})
		a := w.start(w.request())
		if err := w.person.Cancel(t.Context(), a.Prompt().URL); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, a); !errors.Is(err, action.ErrDenied) {
			t.Errorf("ended with %v", err)
		}
		if n := len(w.issuer.Log.Events()); n != 0 {
			t.Errorf("the issuer got %d requests", n)
		}
	})
}

// The exchange goes on when the browser leaves, and a token endpoint's redirect is not followed.
func TestTokenEndpointRedirectsTheCode(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		w := newWorld(t, oauthtest.IssuerOptions{Handle: map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, status)
		}}}, options{})
		err := w.signIn(w.request())
		var e *TokenError
		if !errors.As(err, &e) || e.Status != status {
			t.Errorf("%d: ended with %v", status, err)
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("the redirect was followed %d times", elsewhere.Load())
	}
}

// What the authorization endpoint's URL brings along stays.
func TestAuthorizationEndpointWithQuery(t *testing.T) {
	f, _, req := at(t, http.NotFound)
	req.Server.AuthorizationEndpoint = "https://login.example/authorize?tenant=a%20b"
	next := authorize(t, f, req, req.Client)
	u, err := url.Parse(next.URL)
	if err != nil || u.Query().Get("tenant") != "a b" || u.Query().Get("state") != next.State || strings.Count(next.URL, "?") != 1 {
		t.Errorf("%s: %v", next.URL, err)
	}
}

// Whatever a shell, a browser or a header would make something of is escaped in what the browser is led to.
func TestAuthorizationURLIsWrittenAnew(t *testing.T) {
	f, _, req := at(t, http.NotFound)
	for _, path := range []string{"/$(touch%20x)/`id`;a&b|c^d", "/%0d%0aX-Evil:%201", "/%25COMSPEC%25/'\"<>", "/ü\u202e", "/a?x=$(id)&y=`z`", "/a?b;c=d"} {
		req.Server.AuthorizationEndpoint = "https://login.example" + path
		next := authorize(t, f, req, req.Client)
		u, err := url.Parse(next.URL)
		if err != nil || u.String() != next.URL || u.Host != "login.example" || u.Scheme != "https" || u.Query().Get("state") != next.State {
			t.Errorf("%s became %s: %v", path, next.URL, err)
		}
		if strings.ContainsAny(next.URL, "\"<>`^|\\") || strings.ContainsFunc(next.URL, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			t.Errorf("%s became %s", path, next.URL)
		}
	}
	req.Server.AuthorizationEndpoint = "https://login.example/%zz"
	g, err := f.settle(t.Context(), req, req.Client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.authorizationRequest(t.Context(), g, "http://127.0.0.1:1/callback"); err == nil {
		t.Error("a URL that is none was used")
	}
}

// A no that comes while the token is on its way counts: nothing is stored.
func TestCancelWhileTheTokenIsOnItsWay(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	w := newWorld(t, oauthtest.IssuerOptions{EditReply: func(path string, _ map[string]any) {
		if strings.HasSuffix(path, "/token") {
			close(asked)
			<-goOn
		}
	}}, options{})
	a := w.start(w.request())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.person.Continue(t.Context(), a.Prompt().URL)
	}()
	<-asked
	a.End(action.ErrDenied)
	close(goOn)
	<-done
	tokens, err := tokenstore.Tokens(t.Context(), w.opts.Store, w.request().Principal)
	if err != nil || len(tokens) != 0 {
		t.Errorf("%d tokens are stored (%v)", len(tokens), err)
	}
}
