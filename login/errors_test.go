package login

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
	"github.com/mcp-authfetch/mcp-authfetch/tokenstore"
)

// canary is in every secret.
const canary = "CANARY"

func leaks(out string) bool {
	return strings.Contains(out, canary) || strings.Contains(out, hex.EncodeToString([]byte(canary)))
}

// printed is v in every way that text gets out.
func printed(v any) string {
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	if j, err := json.Marshal(v); err == nil {
		b.Write(j)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	if err, ok := v.(error); ok {
		for e := errors.Unwrap(err); e != nil; e = errors.Unwrap(e) {
			b.WriteString(printed(e))
		}
	}
	return b.String()
}

// echo refuses everything and repeats what it was sent.
func echo(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	var all []string
	for name, values := range r.PostForm {
		all = append(all, name+" was "+strings.Join(values, ","))
	}
	user, password, _ := r.BasicAuth()
	password, _ = url.QueryUnescape(password)
	all = append(all, user+" has "+password)
	body, _ := json.Marshal(map[string]string{"error": "invalid_request " + r.PostFormValue("refresh_token"), "error_description": strings.Join(all, "; ")})
	saysJSON(400, string(body))(w, r)
}

func TestErrorsNeverHoldSecrets(t *testing.T) {
	clean := func(t *testing.T, err error) {
		t.Helper()
		if err == nil {
			t.Fatal("no error: nothing is proven")
		}
		if out := printed(err); leaks(out) {
			t.Errorf("printed:\n%s", out)
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"echo", echo},
		{"raw echo", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			_, _ = io.Copy(w, r.Body)
		}},
		{"the token itself is unusable", saysJSON(200, `{"access_token":"CANARY\n","token_type":"Bearer"}`)},
		{"the type is", saysJSON(200, `{"access_token":"CANARY","token_type":"CANARY"}`)},
		{"broken JSON", saysJSON(200, `{"access_token":"CANARY"`)},
		{"wrong type", saysJSON(200, `{"access_token":["CANARY"]}`)},
		{"twice", saysJSON(200, `{"access_token":"x","access_token":"CANARY"}`)},
		{"HTML", says(200, "text/html", "CANARY")},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://x.example/?CANARY", http.StatusTemporaryRedirect)
		}},
		{"content type", says(200, "text/CANARY", "x")},
		{"failure", says(500, "text/html", "CANARY")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, tc.handler)
			for _, method := range []string{"client_secret_basic", "client_secret_post", "private_key_jwt"} {
				req.Client.AuthMethod = method
				_, err := robotToken(t, f, req)
				clean(t, err)
			}
			tok := &tokenstore.Token{
				Principal: "local", Resource: resource, Issuer: req.Server.Issuer, ClientID: "c", TokenEndpoint: req.Server.TokenEndpoint,
				RefreshToken: secret.New("CANARY-refresh"), AccessToken: secret.New("CANARY-access"),
			}
			_, err := f.Refresh(t.Context(), tok, Credentials{})
			clean(t, err)
			next := authorize(t, f, req, Credentials{ID: "c", Secret: secret.New("CANARY-secret"), AuthMethod: "client_secret_post"})
			clean(t, next.Callback(t.Context(), url.Values{"code": {"CANARY-code"}}))
			clean(t, next.Callback(t.Context(), url.Values{"code": {"CANARY-code"}, "iss": {"https://CANARY.example"}, "error": {"CANARY"}}))
			for _, method := range []string{"client_secret_basic", "client_secret_post"} {
				req.Client.AuthMethod = method
				_, _, err = f.authorizeDevice(t.Context(), req)
				clean(t, err)
			}
			for _, at := range []string{"", "https://idp.example"} {
				req.Grant, req.Trusted, req.Subject = JWTBearer, true, subject("CANARY-subject")
				req.Subject.At, req.Subject.AtEndpoint, req.Subject.Client = at, "https://idp.example/token", Credentials{ID: "c", Secret: secret.New("CANARY-at"), AuthMethod: "client_secret_post"}
				_, err = f.Obtain(t.Context(), req)
				clean(t, err)
			}
			req.Grant, req.Subject.At = TokenExchange, ""
			_, err = f.Obtain(t.Context(), req)
			clean(t, err)
			req.Grant, req.Server.PushedAuthorizationRequestEndpoint = AuthorizationCode, "https://login.example/par"
			g, err := f.settle(t.Context(), req, req.Client)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.push(t.Context(), g, map[string]string{"state": "CANARY-state"})
			clean(t, err)
		})
	}
}

// A server that repeats the assertion or proof that it was sent is not quoted.
func TestErrorsNeverHoldAssertionsAndProofs(t *testing.T) {
	var sent []string
	f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.PostFormValue("client_assertion"), r.Header.Get("DPoP"))
		body, _ := json.Marshal(map[string]string{"error": "invalid_request", "error_description": sent[len(sent)-2] + " " + sent[len(sent)-1]})
		saysJSON(400, string(body))(w, r)
	})
	settings(Settings{DPoP: "always"})(&f.opts)
	req.Client = Credentials{ID: "c", AuthMethod: "private_key_jwt", Key: &SigningKey{Signer: ecKey(t, elliptic.P256())}}
	_, err := robotToken(t, f, req)
	var e *TokenError
	if !errors.As(err, &e) || len(sent) != 2 || e.Description != "[redacted] [redacted]" {
		t.Errorf("%v after %d values", err, len(sent))
	}
}

// A server that repeats the request as it came, encoded, decoded or in its error code, is not quoted.
func TestErrorsNeverHoldWhatWasSent(t *testing.T) {
	const password, token = "CANARY/s+1 %&=ü", "CANARY//refresh+1"
	encoded := []string{
		canary, base64.StdEncoding.EncodeToString([]byte("mine:" + url.QueryEscape(password)))[:20], base64.StdEncoding.EncodeToString([]byte(password))[:16],
		base64.RawURLEncoding.EncodeToString([]byte(token))[:20],
	}
	for _, tc := range []struct {
		name string
		echo func(r *http.Request, body string) (code, description string)
		code string // of the error
	}{
		{"header", func(r *http.Request, _ string) (string, string) {
			return "invalid_grant", r.Header.Get("Authorization") + " is wrong"
		}, "invalid_grant"},
		{"its credentials", func(r *http.Request, _ string) (string, string) {
			return "invalid_grant", "got " + strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
		}, "invalid_grant"},
		{"decoded", func(r *http.Request, _ string) (string, string) {
			user, pass, _ := r.BasicAuth()
			return "invalid_grant", user + ":" + pass
		}, "invalid_grant"},
		{"body", func(_ *http.Request, body string) (string, string) { return "invalid_grant", body }, "invalid_grant"},
		{"values", func(r *http.Request, _ string) (string, string) {
			return "invalid_grant", r.PostFormValue("refresh_token") + r.PostFormValue("client_secret")
		}, "invalid_grant"},
		{"base64", func(r *http.Request, _ string) (string, string) {
			return "invalid_grant", base64.RawURLEncoding.EncodeToString([]byte(r.PostFormValue("refresh_token"))) + " " + base64.StdEncoding.EncodeToString([]byte(password))
		}, "invalid_grant"},
		{"parted by what is not shown", func(*http.Request, string) (string, string) { return "invalid_grant", "CAN\u200bARY//refresh+1" }, "invalid_grant"},
		{"code", func(r *http.Request, _ string) (string, string) {
			return "invalid_grant " + r.PostFormValue("refresh_token"), ""
		}, ""},
		{"encoded code", func(_ *http.Request, body string) (string, string) { return body, "" }, ""},
	} {
		for _, method := range []string{"client_secret_basic", "client_secret_post"} {
			t.Run(tc.name+", "+method, func(t *testing.T) {
				f, _, req := at(t, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(bytes.NewReader(body))
					code, description := tc.echo(r, string(body))
					answer, _ := json.Marshal(map[string]string{"error": code, "error_description": description})
					saysJSON(400, string(answer))(w, r)
				})
				_, err := f.Refresh(t.Context(), &tokenstore.Token{
					Principal: "local", Resource: resource, Issuer: req.Server.Issuer, ClientID: "mine", TokenEndpoint: req.Server.TokenEndpoint, RefreshToken: secret.New(token),
				}, Credentials{ID: "mine", Secret: secret.New(password), AuthMethod: method})
				e, ok := errors.AsType[*TokenError](err)
				if !ok || e.ErrorCode != tc.code || (e.ErrorCode == "") != (e.Reason != "") {
					t.Fatalf("got %#v", err)
				}
				for _, s := range encoded {
					if strings.Contains(printed(err), s) {
						t.Errorf("%q is in %s", s, err)
					}
				}
			})
		}
	}
}

func TestValuesNeverPrintSecrets(t *testing.T) {
	_, _, req := at(t, http.NotFound)
	for name, v := range map[string]any{
		"credentials": req.Client, "request": req, "pointer": &req,
		"device answer": &deviceAnswer{deviceCode: secret.New("CANARY")}, "token answer": &tokenAnswer{accessToken: secret.New("CANARY")},
	} {
		if out := printed(v); leaks(out) {
			t.Errorf("%s:\n%s", name, out)
		}
	}
}

// Everything logged during two logins and a refresh, with and without trouble.
func TestLogNeverHoldsSecrets(t *testing.T) {
	w := newWorld(t, oauthtest.IssuerOptions{}, options{})
	if err := w.signIn(w.request()); err != nil {
		t.Fatal(err)
	}
	tok := w.token()
	if _, err := w.Refresh(t.Context(), tok, Credentials{}); err != nil {
		t.Fatal(err)
	}
	if err := w.deny(w.request()); !errors.Is(err, action.ErrDenied) {
		t.Fatal(err)
	}
	secrets := []string{tok.AccessToken.Reveal(), tok.RefreshToken.Reveal()}
	for _, e := range w.issuer.Log.Events() {
		for _, name := range []string{"code", "code_verifier", "state"} {
			secrets = append(secrets, e.Form.Get(name), e.Query.Get(name))
		}
	}
	w.desk.Close()
	if w.log.Len() == 0 {
		t.Fatal("nothing is logged")
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(w.log.String(), s) {
			t.Errorf("the log holds %q:\n%s", s, w.log)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		name             string
		err              error
		code, text, hint string
	}{
		{"client", &TokenError{Endpoint: "https://login.example", Status: 401, ErrorCode: "invalid_client"}, "oauth.invalid_client", `answered 401 with the error "invalid_client"`, "client_secret"},
		{"scope", &TokenError{Status: 400, ErrorCode: "invalid_scope"}, "oauth.invalid_scope", "invalid_scope", "scopes"},
		{"target", &TokenError{Status: 400, ErrorCode: "invalid_target"}, "oauth.invalid_target", "invalid_target", "resource"},
		{"denied", &TokenError{Status: 400, ErrorCode: "access_denied"}, "login_denied", "access_denied", "try again"},
		{"expired", &TokenError{Status: 400, ErrorCode: "expired_token"}, "login_expired", "expired_token", "try again"},
		{"made up", &TokenError{Status: 400, ErrorCode: "tls.ours\n\x1b[0m", Description: "say \"yes\"\u202e"}, "oauth.token_endpoint", `"tls.ours [0m": "say 'yes'"`, "operator"},
		{"answer", &AnswerError{Issuer: "https://bücher.example", Reason: "why"}, "oauth.answer_refused", "https://xn--bcher-kva.example was refused: why", "tampering"},
		{"unsupported", &UnsupportedError{Issuer: "https://login.example", What: "that", Remedy: "do this"}, "oauth.unsupported", "https://login.example does not offer that", "do this"},
		{"client with a remedy", &ClientError{Issuer: "https://login.example", Reason: "why", Remedy: "do that"}, "oauth.no_client", "why", "do that"},
		{"certificate", &CertificateError{Origin: mustOrigin(t, "https://wiki.example"), TokenOrigin: "https://login.example", Reason: "why", Remedy: "do that"}, "oauth.certificate", "https://wiki.example demands", "do that"},
		{"through the browser", &TokenError{Endpoint: "https://login.example", ErrorCode: "server_error", Description: "later"}, "oauth.token_endpoint", `the sign-in at https://login.example ended with the error "server_error": "later"`, "operator"},
		{"not asked", unusableURL("https://login.example/%zz"), "oauth.token_endpoint", "was not asked: its URL is not usable", "operator"},
		{"configured client", &ClientRefusedError{Issuer: "https://login.example", Err: &TokenError{Endpoint: "https://login.example", Status: 401, ErrorCode: "invalid_client"}},
			"oauth.invalid_client", `https://login.example does not accept the configured client: https://login.example answered 401`, `issuers."https://login.example"`},
		{"binding", &BindingError{Issuer: "https://login.example", To: "a key"}, "oauth.binding_lost", "bound to a key", "sign in"},
		{"step-up", &TokenError{ErrorCode: "unmet_authentication_requirements"}, "oauth.token_endpoint", "unmet", "second factor"},
		{"no client", &ClientError{Issuer: "https://login.example", Reason: "why"}, "oauth.no_client", "no client for https://login.example: why", `issuers."https://login.example"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, ok := tc.err.(interface {
				error
				Code() string
				Hint() string
			})
			if !ok {
				t.Fatal("no code or hint")
			}
			if e.Code() != tc.code {
				t.Errorf("code %q", e.Code())
			}
			contains(t, "error", e.Error(), tc.text)
			contains(t, "hint", e.Hint(), tc.hint)
		})
	}
}
