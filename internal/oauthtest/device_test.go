package oauthtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// inProcess answers without a network, so that a synctest bubble can hold the clock.
func inProcess(t *testing.T, i *oauthtest.Issuer) func(path string, form url.Values) answer {
	return func(path string, form url.Values) answer {
		r := httptest.NewRequest(http.MethodPost, i.URL+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		i.ServeHTTP(w, r)
		a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
		if w.Header().Get("Content-Type") == "application/json" {
			if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
}

func pollForm(deviceCode any, changes ...string) url.Values {
	return values(url.Values{
		"grant_type": {deviceGrant}, "device_code": {deviceCode.(string)}, "client_id": {"public"}, "resource": {audience},
	}, changes...)
}

func TestDeviceFlow(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	synctest.Test(t, func(t *testing.T) {
		call := inProcess(t, i)
		start := func() map[string]any {
			a := call("/device_authorization", url.Values{"client_id": {"public"}, "scope": {"docs.read"}, "resource": {audience}})
			if a.status != 200 || a.json["interval"] != 1.0 || a.json["verification_uri"] != i.URL+"/device" {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			return a.json
		}
		var answerAgain func() answer
		answerWith := func(d map[string]any, action string) answer {
			m := hidden.FindStringSubmatch(call("/device", url.Values{"user_code": {strings.ToLower(d["user_code"].(string))}}).body)
			if m == nil {
				t.Fatal("no page that asks to approve")
			}
			answerAgain = func() answer { return call("/device/decision", url.Values{"request": {m[1]}, "action": {action}}) }
			return answerAgain()
		}
		poll := func(name string, form url.Values, want string) answer {
			t.Helper()
			a := call("/token", form)
			if want != "" {
				wantError(t, name, a, 400, want)
			} else if a.status != 200 {
				t.Errorf("%s: got %d %s, want 200", name, a.status, a.body)
			}
			return a
		}

		d := start()
		form := pollForm(d["device_code"])
		poll("first", form, "authorization_pending")
		time.Sleep(700 * time.Millisecond)
		poll("too early", form, "slow_down")
		time.Sleep(4 * time.Second)
		poll("five seconds are added", form, "slow_down")
		time.Sleep(11 * time.Second)
		poll("and added again", form, "authorization_pending")
		if a := answerWith(d, "approve"); a.status != 200 {
			t.Errorf("approve: got %d", a.status)
		}
		time.Sleep(11 * time.Second)
		poll("other client", pollForm(d["device_code"], "client_id", "other"), "invalid_grant")
		poll("no resource", pollForm(d["device_code"], "resource", ""), "invalid_target")
		a := poll("approved", form, "")
		wantValid(t, i, a.json["access_token"], true)
		if a.json["refresh_token"] == nil {
			t.Error("no refresh token")
		}
		time.Sleep(time.Minute)
		poll("used", form, "invalid_grant")

		d = start()
		answerWith(d, "deny")
		poll("denied", pollForm(d["device_code"]), "access_denied")

		d = start()
		answerWith(d, "approve")
		poll("other resource", pollForm(d["device_code"], "resource", "https://other.example"), "invalid_target")

		d = call("/device_authorization", url.Values{"client_id": {"public"}}).json
		answerWith(d, "approve")
		if a := answerAgain(); a.status != 400 {
			t.Errorf("second answer: got %d, want 400", a.status)
		}
		a = poll("resource named by the poll only", pollForm(d["device_code"]), "")
		wantValid(t, i, a.json["access_token"], true)

		d = start()
		i.SlowDown(2)
		for range 2 {
			poll("SlowDown", pollForm(d["device_code"]), "slow_down")
			time.Sleep(time.Minute)
		}
		poll("after SlowDown", pollForm(d["device_code"]), "authorization_pending")

		d = start()
		time.Sleep(10*time.Minute + time.Second)
		poll("expired", pollForm(d["device_code"]), "expired_token")
		d = start()
		i.ExpireDeviceCodes()
		poll("ExpireDeviceCodes", pollForm(d["device_code"]), "expired_token")
		if a := call("/device", url.Values{"user_code": {d["user_code"].(string)}}); a.status != 404 {
			t.Errorf("expired user code: got %d, want 404", a.status)
		}
	})
}

// Tokens and codes follow the clock.
func TestExpiry(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{TokenLifetime: time.Minute, AutoApprove: true})
	synctest.Test(t, func(t *testing.T) {
		call := inProcess(t, i)
		code := func() string {
			w := httptest.NewRecorder()
			i.ServeHTTP(w, httptest.NewRequest(http.MethodGet, i.URL+"/authorize?"+authorizeQuery(strings.Repeat("v", 43)).Encode(), nil))
			return redirected(t, answer{status: w.Code, header: w.Header()}).Get("code")
		}
		late := code()
		time.Sleep(time.Minute)
		wantError(t, "late code", call("/token", tokenForm(late, strings.Repeat("v", 43))), 400, "invalid_grant")
		a := call("/token", tokenForm(code(), strings.Repeat("v", 43)))
		time.Sleep(59 * time.Second)
		wantValid(t, i, a.json["access_token"], true)
		time.Sleep(time.Second)
		wantValid(t, i, a.json["access_token"], false)
	})
}

func TestDeviceAuthorizationRefuses(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{})
	codeOnly := registered(t, i, nil)
	for _, tt := range []struct {
		name   string
		form   url.Values
		status int
		want   string
	}{
		{"unknown client", url.Values{"client_id": {"nobody"}}, 401, "invalid_client"},
		{"client not registered for it", url.Values{"client_id": {codeOnly}}, 400, "unauthorized_client"},
		{"bad resource", url.Values{"client_id": {"public"}, "resource": {"x"}}, 400, "invalid_target"},
		{"bad scope", url.Values{"client_id": {"public"}, "scope": {"a  b"}}, 400, "invalid_scope"},
	} {
		wantError(t, tt.name, post(t, i.URL+"/device_authorization", tt.form), tt.status, tt.want)
	}
	if a := post(t, i.URL+"/device", url.Values{"user_code": {"AAAA-AAAA"}}); a.status != 404 {
		t.Errorf("unknown user code: got %d, want 404", a.status)
	}
	if a := post(t, i.URL+"/device/decision", url.Values{"action": {"approve"}}); a.status != 400 {
		t.Errorf("decision without a request: got %d, want 400", a.status)
	}
	for _, path := range []string{"/device", "/device/decision"} {
		if a := post(t, i.URL+path, url.Values{}, "Origin", "https://evil.example"); a.status != 403 {
			t.Errorf("%s from a foreign origin: got %d, want 403", path, a.status)
		}
	}
	if a := get(t, i.URL+"/device/decision"); a.status != 405 {
		t.Errorf("GET of a decision: got %d, want 405", a.status)
	}
}

func TestDeviceIntervalIsSentAsItIs(t *testing.T) {
	for _, want := range []int{-1, 7, 1 << 40} {
		i := newIssuer(t, oauthtest.IssuerOptions{DeviceInterval: want})
		if got := post(t, i.URL+"/device_authorization", url.Values{"client_id": {"public"}}).json["interval"]; got != float64(want) {
			t.Errorf("interval: got %v, want %d", got, want)
		}
	}
}
