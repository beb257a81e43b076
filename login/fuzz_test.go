package login

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/action"
	"github.com/mcp-authfetch/mcp-authfetch/challenge"
	"github.com/mcp-authfetch/mcp-authfetch/discovery"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
	"github.com/mcp-authfetch/mcp-authfetch/secret"
)

// checkText fails for an error that could carry a control character or a flood of text.
func checkText(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); len(s) > 2000 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x202e }) {
		t.Errorf("error %q", s)
	}
}

func FuzzCallbackQuery(f *testing.F) {
	const issuer = "https://login.example"
	for _, s := range []string{
		"code=C&iss=https%3A%2F%2Flogin.example", "code=C", "code=C&iss=https%3A%2F%2Flogin.example%2F", "error=access_denied", "code=&error=",
		"error=x&error_description=%1b%5b0m&iss=", "code=%0d%0a", "iss=https%3A%2F%2Flogin.example&iss=evil&code=a", "%zz", "code=a;b",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, query string, advertised bool) {
		answer, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		req := Request{Server: &discovery.AuthServer{Issuer: issuer, AuthorizationEndpoint: issuer + "/a", IssParameterSupported: advertised}}
		code, err := checkAnswer(req, answer)
		if err == nil {
			iss, present := answer["iss"]
			if code == "" || code != answer.Get("code") || answer.Get("error") != "" || present && iss[0] != issuer || advertised && !present || strings.ContainsAny(code, "\r\n\x00") {
				t.Errorf("%q gave the code %q", query, code)
			}
			return
		}
		checkText(t, err)
		var refused *AnswerError
		var failed *TokenError
		if code != "" || !errors.Is(err, action.ErrDenied) && !errors.As(err, &refused) && !errors.As(err, &failed) {
			t.Errorf("%q gave %q and %v", query, code, err)
		}
		if answer.Has("iss") && answer.Get("iss") != issuer && !errors.As(err, &refused) {
			t.Errorf("%q of another issuer gave %v", query, err)
		}
	})
}

func FuzzTokenResponse(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"a","token_type":"bearer","expires_in":3600,"refresh_token":"r","scope":"a b"}`, `{"access_token":"a","token_type":"Bearer","expires_in":"-1e999"}`,
		`{"access_token":"a","access_token":"b","token_type":"Bearer"}`, `{"error":"invalid_grant","error_description":"\u001b[31m"}`, `{"ACCESS_TOKEN":"a"}`, `null`, `[`, "",
		`{"access_token":"a\r\n","token_type":"Bearer"}`, `{"access_token":"a","token_type":"Bearer","scope":"\" \\ é"}`,
	} {
		f.Add(200, []byte(s))
		f.Add(400, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		want := "Bearer"
		if len(body)%2 == 1 {
			want = "DPoP"
		}
		a, err := parseToken("https://login.example/token", status, body, want)
		if err != nil {
			checkText(t, err)
			if a != nil {
				t.Error("an answer with an error")
			}
			return
		}
		if status != 200 || !usableToken(a.accessToken.Reveal()) || !a.refreshToken.IsZero() && !usableToken(a.refreshToken.Reveal()) ||
			a.lifetime < 0 || a.lifetime > 11*365*24*time.Hour || a.tokenType != want || len(a.scopes) > maxScopes {
			t.Errorf("accepted %+v", a)
		}
		for _, s := range a.scopes {
			if !challenge.IsScope(s) {
				t.Errorf("scope %q", s)
			}
		}
	})
}

func FuzzPushedResponse(f *testing.F) {
	for _, s := range []string{
		`{"request_uri":"urn:ietf:params:oauth:request_uri:x","expires_in":60}`, `{"request_uri":"a b","expires_in":"1"}`, `{"request_uri":"urn:x","expires_in":-1}`,
		`{"request_uri":"urn:x","expires_in":1e999}`, `{"request_uri":"\u001b","expires_in":1}`, `{}`, `null`, `[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		uri, err := parsePushed(body)
		if err != nil {
			checkText(t, err)
			if uri != "" {
				t.Error("a request_uri with an error")
			}
			return
		}
		if !isVisible(uri) || len(uri) > 512 {
			t.Errorf("accepted %q", uri)
		}
	})
}

func FuzzIDToken(f *testing.F) {
	for _, s := range []string{
		`{"iss":"https://login.example","aud":"c","sub":"1"}`, `{"iss":"https://login.example","aud":["c","d"],"preferred_username":"a\u202eb"}`,
		`{"iss":"https://login.example","aud":["c"],"email":"\u0000"}`, `{"iss":1,"aud":null}`, `{}`, `null`, `[`,
	} {
		f.Add(idToken(s))
	}
	f.Add("a.b")
	f.Fuzz(func(t *testing.T, token string) {
		who := subjectOf(secret.New(token), "https://login.example", "c")
		if who != sanitize.Line(who, maxSubject) {
			t.Errorf("gave %q", who)
		}
		if who != "" && subjectOf(secret.New(token), "https://other.example", "c") != "" {
			t.Error("the issuer does not count")
		}
	})
}

func FuzzAssertionResponse(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"jag","issued_token_type":"urn:ietf:params:oauth:token-type:id-jag","token_type":"N_A"}`, `{"access_token":"a b","issued_token_type":"urn:ietf:params:oauth:token-type:id-jag"}`,
		`{"access_token":"jag"}`, `{"error":"invalid_grant","error_description":"\u001b"}`, `null`,
	} {
		f.Add(200, []byte(s))
		f.Add(400, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a, err := parseAssertion("https://idp.example/token", status, body)
		if err != nil {
			checkText(t, err)
		}
		if (err == nil) != (status == 200 && isVisible(a.Reveal())) {
			t.Errorf("%d gave %q, %v", status, a.Reveal(), err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"0", "120", "-1", "99999999999", "Sat, 01 Jan 2000 00:00:00 GMT", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(http.Header{"Retry-After": {s}}); d < 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}

func FuzzDeviceResponse(f *testing.F) {
	for _, s := range []string{
		`{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"https://login.example/d","verification_uri_complete":"https://login.example/d?c=1","interval":5,"expires_in":600}`,
		`{"device_code":"d","user_code":"ABCD","verification_url":"https://www.login.example/d","interval":-1,"expires_in":-1}`,
		`{"device_code":"d","user_code":"ABCD","verification_uri":"javascript:x","interval":9223372036854775807}`,
		`{"device_code":"d","user_code":"AB\u001b","verification_uri":"https://login.example@evil.example/d","interval":"0.001"}`,
		`{"device_code":"d","user_code":"ABCD","verification_uri":"https://login.example/d","verification_uri_complete":"https://evil.example/?"}`, `{}`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseDevice("https://login.example", body)
		if err != nil {
			checkText(t, err)
			return
		}
		if a.interval < minInterval || a.interval > maxInterval || a.lifetime <= 0 || a.lifetime > maxDeviceTime || !usableUserCode(a.userCode) || !usableToken(a.deviceCode.Reveal()) {
			t.Errorf("accepted %+v", a)
		}
		for _, raw := range []string{a.uri, a.completeID} {
			u, err := url.Parse(raw)
			if raw == "" && raw == a.completeID {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			o, err := origin.Of(u)
			if err != nil || o.Scheme() != "https" || o.Host() != "login.example" && !strings.HasSuffix(o.Host(), ".login.example") {
				t.Errorf("accepted %q", raw)
			}
		}
	})
}

func FuzzRegistrationResponse(f *testing.F) {
	for _, s := range []string{
		`{"client_id":"c","client_secret":"s","client_secret_expires_at":0,"token_endpoint_auth_method":"client_secret_basic"}`, `{"client_id":"c","client_secret_expires_at":1e300}`,
		`{"client_id":"c","client_id":"d"}`, `{"client_id":"\n"}`, `{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"private_key_jwt"}`, `[]`,
	} {
		f.Add([]byte(s), "none")
		f.Add([]byte(s), "client_secret_post")
	}
	f.Fuzz(func(t *testing.T, body []byte, asked string) {
		reg, err := parseRegistration(body, asked, "https://login.example", "https://login.example/register")
		if err != nil {
			checkText(t, err)
			return
		}
		c := Credentials{ID: reg.ClientID, Secret: reg.ClientSecret, AuthMethod: reg.AuthMethod}
		if !usableToken(c.ID) || c.AuthMethod != "none" && c.Secret.IsZero() || reg.SecretExpiry.Year() > 40000 {
			t.Errorf("accepted %+v", reg)
		}
		switch c.AuthMethod {
		case "none", "client_secret_basic", "client_secret_post":
		default:
			t.Errorf("accepted the method %q", c.AuthMethod)
		}
	})
}
