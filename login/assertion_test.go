package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

func subject(token string) Subject {
	return Subject{Token: func(context.Context) (secret.Text, error) { return secret.New(token), nil }}
}

func TestJWTBearer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		client Credentials
	}{{"public client", Credentials{ID: "workload"}}, {"secret", Credentials{ID: "robot", Secret: secret.New("s3cret")}}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, oauthtest.IssuerOptions{
				Clients: map[string]string{"workload": "", "robot": "s3cret"},
				Assertions: func(a string) (string, error) {
					if a != "workload.jwt.sig" {
						return "", errors.New("another")
					}
					return "workload", nil
				},
			}, options{})
			req := w.request()
			req.Grant, req.Client, req.Subject, req.Trusted = JWTBearer, tc.client, subject("workload.jwt.sig\n"), true
			tok, err := w.Obtain(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			form := w.one("/token").Form
			for name, want := range map[string]string{
				"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "workload.jwt.sig", "resource": resource, "scope": "wiki.read wiki.list",
			} {
				if got := form[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if form.Has("subject_token") || form.Has("client_secret") || form.Has("client_id") != (tc.client.ID == "workload") {
				t.Errorf("form %v", form)
			}
			if ok, why := w.issuer.Valid(tok.AccessToken.Reveal(), resource, []string{"wiki.read"}); !ok {
				t.Error(why)
			}
			if stored := w.token(); stored == nil || !stored.AccessToken.Equal(tok.AccessToken.Reveal()) {
				t.Error("not stored")
			}
		})
	}
}

func TestTokenExchange(t *testing.T) {
	var got url.Values
	w := newWorld(t, oauthtest.IssuerOptions{Clients: map[string]string{"robot": "s3cret"}, Exchange: func(form url.Values) (string, string, error) {
		got = form
		return "", "", nil
	}}, options{})
	req := w.request()
	req.Grant, req.Client, req.Subject, req.Trusted = TokenExchange, Credentials{ID: "robot", Secret: secret.New("s3cret")}, subject("subject.token"), true
	for _, kind := range []string{"", "urn:ietf:params:oauth:token-type:saml2"} {
		req.Subject.Type = kind
		tok, err := w.Obtain(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if kind == "" {
			kind = "urn:ietf:params:oauth:token-type:id_token"
		}
		for name, want := range map[string]string{
			"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "subject.token", "subject_token_type": kind,
			"requested_token_type": "urn:ietf:params:oauth:token-type:access_token", "resource": resource, "scope": "wiki.read wiki.list",
		} {
			if g := got[name]; len(g) != 1 || g[0] != want {
				t.Errorf("%s = %q, want %q", name, g, want)
			}
		}
		if ok, why := w.issuer.Valid(tok.AccessToken.Reveal(), resource, nil); !ok {
			t.Error(why)
		}
	}
}

// What an exchange gives that is no access token is not used as one.
func TestIssuedTokenType(t *testing.T) {
	const prefix = "urn:ietf:params:oauth:token-type:"
	for kind, ok := range map[string]bool{"": true, prefix + "access_token": true, prefix + "jwt": true, prefix + "id_token": false, prefix + "refresh_token": false, "x": false} {
		f, store, req := at(t, saysJSON(200, `{"access_token":"tok","token_type":"Bearer","refresh_token":"kept","issued_token_type":"`+kind+`"}`))
		req.Grant, req.Subject, req.Trusted = TokenExchange, subject("s"), true
		tok, err := f.Obtain(t.Context(), req)
		if (err == nil) != ok || ok && tok.RefreshToken.Reveal() != "kept" {
			t.Errorf("%q: %v", kind, err)
		}
		if entries, _ := store.List(t.Context(), tokenstore.KindToken, req.Principal); (len(entries) == 1) != ok {
			t.Errorf("%q: %d tokens stored", kind, len(entries))
		}
	}
}

// The identity provider makes an assertion for the authorization server, which takes it from there.
func TestIdentityAssertion(t *testing.T) {
	const idJAG = "urn:ietf:params:oauth:token-type:id-jag"
	var exchanged url.Values
	provider, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{Clients: map[string]string{"at-provider": "p4ss"}, Exchange: func(form url.Values) (string, string, error) {
		exchanged = form
		if form.Get("subject_token") != "id.token.sig" {
			return "", "", errors.New("another token")
		}
		return "jag.jwt.sig", idJAG, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)
	w := newWorld(t, oauthtest.IssuerOptions{Clients: map[string]string{"at-server": "s3cret"}, Assertions: func(a string) (string, error) {
		if a != "jag.jwt.sig" {
			return "", errors.New("another assertion")
		}
		return "alice", nil
	}}, options{})
	req := w.request()
	req.Grant, req.Client, req.Trusted = JWTBearer, Credentials{ID: "at-server", Secret: secret.New("s3cret")}, true
	req.Subject = subject("id.token.sig")
	req.Subject.At, req.Subject.AtEndpoint = provider.URL, provider.URL+"/token"
	req.Subject.Client = Credentials{ID: "at-provider", Secret: secret.New("p4ss"), AuthMethod: "client_secret_post"}
	tok, err := w.Obtain(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "requested_token_type": idJAG, "audience": w.issuer.URL, "resource": resource,
		"subject_token": "id.token.sig", "subject_token_type": "urn:ietf:params:oauth:token-type:id_token", "scope": "wiki.read wiki.list", "client_id": "at-provider",
	} {
		if got := exchanged[name]; len(got) != 1 || got[0] != want {
			t.Errorf("exchange: %s = %q, want %q", name, got, want)
		}
	}
	form := w.one("/token").Form
	if form.Get("assertion") != "jag.jwt.sig" || form.Get("resource") != resource || strings.Contains(string(w.one("/token").Body), "id.token") {
		t.Errorf("form %v", form)
	}
	for _, e := range append(provider.Log.Events(), w.issuer.Log.Events()...) {
		if e.Server != "issuer" {
			continue
		}
		if s := string(e.Body) + e.Header.Get("Authorization"); strings.Contains(s, "p4ss") && strings.Contains(s, "s3cret") {
			t.Error("a secret went to the wrong server")
		}
	}
	if tok.Issuer != w.issuer.URL || tok.ClientID != "at-server" {
		t.Errorf("stored for %s, %s", tok.Issuer, tok.ClientID)
	}
}

func TestIdentityAssertionAnswers(t *testing.T) {
	const kind = `"issued_token_type":"urn:ietf:params:oauth:token-type:id-jag"`
	for _, tc := range []struct {
		name, body string
		status     int
		text       string // "": accepted
	}{
		{"good", `{"access_token":"jag",` + kind + `,"token_type":"N_A"}`, 200, ""},
		{"type in another case", `{"access_token":"jag",` + kind + `,"token_type":"n_a"}`, 200, ""},
		{"no token type", `{"access_token":"jag",` + kind + `}`, 200, ""},
		{"another kind", `{"access_token":"jag","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"N_A"}`, 200, "issued_token_type"},
		{"no kind", `{"access_token":"jag","token_type":"N_A"}`, 200, "issued_token_type"},
		{"no assertion", `{` + kind + `}`, 200, "assertion is missing"},
		{"line break", `{"access_token":"a\nb",` + kind + `}`, 200, "assertion is missing"},
		{"refused", `{"error":"invalid_grant"}`, 400, "invalid_grant"},
		{"refused with 200", `{"error":"invalid_grant","access_token":"jag",` + kind + `}`, 200, "invalid_grant"},
		{"created", `{"access_token":"jag",` + kind + `}`, 201, "answered 201"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := map[string]int{}
			f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked[r.Host]++
				if r.Host == "idp.example" {
					saysJSON(tc.status, tc.body)(w, r)
					return
				}
				if r.PostFormValue("assertion") != "jag" {
					t.Errorf("assertion %q", r.PostFormValue("assertion"))
				}
				saysJSON(200, `{"access_token":"tok","token_type":"Bearer"}`)(w, r)
			})
			req.Grant, req.Trusted, req.Subject = JWTBearer, true, subject("id.token")
			req.Subject.At, req.Subject.AtEndpoint, req.Subject.Client = "https://idp.example", "https://idp.example/token", Credentials{ID: "c"}
			_, err := f.Obtain(t.Context(), req)
			want := 1
			if tc.text != "" {
				want = 0
				if err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("error %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if asked["idp.example"] != 1 || asked["login.example"] != want {
				t.Errorf("requests %v", asked)
			}
		})
	}
}

// An assertion that is refused is not sent again, in whatever way.
func TestRefusedAssertionIsNotRetried(t *testing.T) {
	for _, grant := range []string{JWTBearer, TokenExchange} {
		for _, code := range []string{"invalid_grant", "invalid_scope", "unauthorized_client", "invalid_client"} {
			asked := 0
			f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				saysJSON(400, `{"error":"`+code+`"}`)(w, r)
			})
			req.Grant, req.Trusted, req.Subject = grant, true, subject("s") // a letter of every error code
			var e *TokenError
			if _, err := f.Obtain(t.Context(), req); !errors.As(err, &e) || e.ErrorCode != code || asked != 1 {
				t.Errorf("%s, %s: %v after %d requests", grant, code, err, asked)
			}
		}
	}
}

func TestSubjectTokens(t *testing.T) {
	reads := func(token string, err error) func(context.Context) (secret.Text, error) {
		return func(context.Context) (secret.Text, error) { return secret.New(token), err }
	}
	for _, tc := range []struct {
		name  string
		token func(context.Context) (secret.Text, error)
		text  string // "": sent
	}{
		{"good", reads("a.b.c", nil), ""},
		{"largest", reads(strings.Repeat("x", 64<<10), nil), ""},
		{"too large", reads(strings.Repeat("x", 64<<10+1), nil), "longer than 64 KiB"},
		{"empty", reads("", nil), "empty"},
		{"blank", reads(" \n", nil), "empty"},
		{"two words", reads("CANARY b", nil), "one word"},
		{"control character", reads("CANARY\x00", nil), "one word"},
		{"letters", reads("CANARYé", nil), "one word"},
		{"not there", reads("", errors.New("no such file")), "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				saysJSON(200, `{"access_token":"tok","token_type":"Bearer"}`)(w, r)
			})
			req.Grant, req.Trusted, req.Subject.Token = JWTBearer, true, tc.token
			_, err := f.Obtain(t.Context(), req)
			if tc.text == "" {
				if err != nil || asked != 1 {
					t.Errorf("%v, %d requests", err, asked)
				}
				return
			}
			if err == nil || asked != 0 || !strings.Contains(err.Error(), tc.text) || leaks(printed(err)) {
				t.Errorf("%v, %d requests", err, asked)
			}
		})
	}
}

// The token is read anew for each request: such tokens rotate.
func TestSubjectTokenIsReadEachTime(t *testing.T) {
	got := forms{}
	f, _, req := at(t, got.serve(wellAnswered))
	n := 0
	req.Grant, req.Trusted = JWTBearer, true
	req.Subject.Token = func(context.Context) (secret.Text, error) { n++; return secret.New(strings.Repeat("x", n)), nil }
	for range 2 {
		if _, err := f.Obtain(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	if a := got["/token"]; a[0].Get("assertion") != "x" || a[1].Get("assertion") != "xx" {
		t.Errorf("sent %v", a)
	}
}

func TestSilentGrantsThatCannotBegin(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*Request)
		code string
		text string
	}{
		{"no token", func(r *Request) { r.Grant, r.Trusted = JWTBearer, true }, "oauth.no_client", "token to start from"},
		{"no token to exchange", func(r *Request) { r.Grant, r.Trusted = TokenExchange, true }, "oauth.no_client", "token to start from"},
		{"an issuer that nobody named", func(r *Request) { r.Grant, r.Subject = JWTBearer, subject("s") }, "oauth.no_client", "oauth.issuer"},
		{"exchange there, too", func(r *Request) { r.Grant, r.Subject = TokenExchange, subject("s") }, "oauth.no_client", "oauth.issuer"},
		{"provider without endpoint", func(r *Request) {
			r.Grant, r.Trusted, r.Subject = JWTBearer, true, subject("s")
			r.Subject.At = "https://idp.example"
		}, "oauth.unsupported", "https://idp.example"},
		{"provider with exchange", func(r *Request) {
			r.Grant, r.Trusted, r.Subject = TokenExchange, true, subject("s")
			r.Subject.At, r.Subject.AtEndpoint = "https://idp.example", "https://idp.example/token"
		}, "oauth.unsupported", "jwt_bearer"},
		{"no client", func(r *Request) { r.Grant, r.Client = ClientCredentials, Credentials{} }, "oauth.no_client", "client_credentials"},
		{"a grant with a person", func(r *Request) { r.Grant = AuthorizationCode }, "", "needs a person"},
		{"no grant", func(r *Request) { r.Grant = "" }, "", "needs a person"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, func(http.ResponseWriter, *http.Request) { t.Error("a server was asked") })
			tc.edit(&req)
			_, err := f.Obtain(t.Context(), req)
			if err == nil || code(err) != tc.code {
				t.Fatalf("error %v", err)
			}
			text := err.Error()
			if e, ok := err.(interface{ Hint() string }); ok {
				text += e.Hint()
			}
			contains(t, "error and hint", text, tc.text)
		})
	}
}

// No client is needed where the assertion says who asks (RFC 7521 §4.1).
func TestAssertionWithoutClient(t *testing.T) {
	got := forms{}
	f, _, req := at(t, got.serve(wellAnswered))
	req.Grant, req.Trusted, req.Subject, req.Client = JWTBearer, true, subject("s"), Credentials{}
	if _, err := f.Obtain(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got["/token"][0].Has("client_id") {
		t.Errorf("form %v", got["/token"][0])
	}
}
