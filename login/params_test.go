package login

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

// forms are what a server of one answer received, by path.
type forms map[string][]url.Values

func (f forms) serve(answers map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		f[r.URL.Path] = append(f[r.URL.Path], r.PostForm)
		saysJSON(200, answers[r.URL.Path])(w, r)
	}
}

var wellAnswered = map[string]string{
	"/token":                `{"access_token":"tok","token_type":"Bearer","refresh_token":"r"}`,
	"/device_authorization": `{"device_code":"dev","user_code":"ABCD","verification_uri":"https://login.example/d"}`,
	"/par":                  `{"request_uri":"urn:x","expires_in":60}`,
}

// everyRequest makes one of each kind and returns them; the browser's is "/authorize".
func everyRequest(t *testing.T, s Settings, edit func(*Request)) forms {
	t.Helper()
	got := forms{}
	f, _, req := at(t, got.serve(wellAnswered))
	settings(s)(&f.opts)
	if edit != nil {
		edit(&req)
	}
	req.Grant = AuthorizationCode
	next := authorize(t, f, req, req.Client)
	u, err := url.Parse(next.URL)
	if err != nil {
		t.Fatal(err)
	}
	got["/authorize"] = append(got["/authorize"], u.Query())
	if err := next.Callback(t.Context(), url.Values{"code": {"C"}}); err != nil {
		t.Fatal(err)
	}
	device := req
	device.Grant, device.ACRValues, device.MaxAge = DeviceCode, nil, nil
	g, answer, err := f.authorizeDevice(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	form := f.tokenForm(g.Request, deviceGrant)
	form["device_code"] = answer.deviceCode.Reveal()
	if _, err := f.obtain(t.Context(), g, form); err != nil {
		t.Fatal(err)
	}
	device.Grant = ClientCredentials
	tok, err := f.Obtain(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	if tok.Resource != resource {
		t.Errorf("stored for %q", tok.Resource)
	}
	if _, err := f.Refresh(t.Context(), tok, req.Client); err != nil {
		t.Fatal(err)
	}
	if len(got["/token"]) != 4 {
		t.Fatalf("%d token requests, want 4", len(got["/token"]))
	}
	return got
}

func TestResourceParameter(t *testing.T) {
	for _, tc := range []struct {
		setting string
		want    []string
	}{{"", []string{resource}}, {"send", []string{resource}}, {"omit", nil}} {
		for _, par := range []string{"", "https://login.example/par"} {
			got := everyRequest(t, Settings{Resource: tc.setting}, func(r *Request) { r.Server.PushedAuthorizationRequestEndpoint = par })
			for path, all := range got {
				for i, form := range all {
					if path == "/authorize" && par != "" {
						continue
					}
					if diff := cmp.Diff(tc.want, form["resource"]); diff != "" {
						t.Errorf("%q: request %d to %s: %s", tc.setting, i, path, diff)
					}
				}
			}
		}
	}
}

// Configured parameters are added, and never take the place of ours.
func TestConfiguredParameters(t *testing.T) {
	ours := map[string]string{
		"state": "x", "redirect_uri": "x", "client_id": "x", "response_type": "token", "code_challenge": "x", "code_challenge_method": "plain", "scope": "x", "resource": "x",
		"grant_type": "password", "code": "x", "code_verifier": "x", "device_code": "x", "max_age": "1", "acr_values": "x", "dpop_jkt": "x",
	}
	with := func(name, value string) map[string]string {
		m := map[string]string{name: value}
		for k, v := range ours {
			m[k] = v
		}
		return m
	}
	hour := time.Hour
	got := everyRequest(t, Settings{AuthorizeParams: with("audience", "<{resource}>"), TokenParams: with("aud", "{resource}{resource}")}, func(r *Request) {
		r.ACRValues, r.MaxAge = []string{"a", "b"}, &hour
	})
	q := got["/authorize"][0]
	for name, want := range map[string]string{
		"audience": "<" + resource + ">", "client_id": "configured", "response_type": "code", "code_challenge_method": "S256", "scope": "wiki.read", "resource": resource,
		"redirect_uri": "http://127.0.0.1:1/callback", "acr_values": "a b", "max_age": "3600",
	} {
		if len(q[name]) != 1 || q.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, q[name], want)
		}
	}
	if q.Get("state") == "x" || q.Get("code_challenge") == "x" || q.Has("aud") {
		t.Errorf("query %v", q)
	}
	if d := got["/device_authorization"][0]; d.Get("audience") != "<"+resource+">" || d.Get("resource") != resource || d.Get("scope") != "wiki.read" {
		t.Errorf("device authorization request %v", d)
	}
	for i, want := range []struct{ grant, code, device string }{{"authorization_code", "C", ""}, {deviceGrant, "", "dev"}, {"client_credentials", "", ""}} {
		form := got["/token"][i]
		if form.Get("aud") != resource+resource || form.Get("grant_type") != want.grant || form.Get("resource") != resource ||
			want.code != "" && form.Get("code") != want.code || want.device != "" && form.Get("device_code") != want.device {
			t.Errorf("token request %d: %v", i, form)
		}
	}
	if v := got["/token"][0].Get("code_verifier"); len(v) < 43 {
		t.Errorf("code_verifier %q", v)
	}
	if r := got["/token"][3]; r.Get("grant_type") != "refresh_token" || r.Has("aud") || r.Has("audience") {
		t.Errorf("refresh %v", r)
	}
}

// How the person has to sign in is part of the authorization request (RFC 9470).
func TestStepUp(t *testing.T) {
	for _, par := range []string{"", "required"} {
		w := newWorld(t, oauthtest.IssuerOptions{PAR: par}, options{})
		req := w.request()
		age := 90*time.Second + 900*time.Millisecond
		req.ACRValues, req.MaxAge = []string{"urn:mfa", "urn:phr"}, &age
		if err := w.signIn(req); err != nil {
			t.Fatal(err)
		}
		asked := w.one("/authorize").Query
		if par != "" {
			asked = w.one("/par").Form
		}
		if asked.Get("acr_values") != "urn:mfa urn:phr" || asked.Get("max_age") != "90" {
			t.Errorf("asked %v", asked)
		}
	}
	zero := time.Duration(0)
	f, _, req := at(t, http.NotFound)
	req.Grant, req.MaxAge = AuthorizationCode, &zero
	if u, err := url.Parse(authorize(t, f, req, req.Client).URL); err != nil || u.Query().Get("max_age") != "0" {
		t.Errorf("%v: %v", u, err)
	}
}

// A prompt that the configuration or the endpoint's URL wants stays.
func TestPrompt(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint, configured string
		scopes                     []string
		want                       []string
	}{
		{"none", "", "", []string{"a"}, nil},
		{"offline", "", "", []string{"offline_access"}, []string{"consent"}},
		{"offline, configured", "", "select_account", []string{"offline_access"}, []string{"select_account"}},
		{"offline, in the endpoint", "?prompt=login", "", []string{"offline_access"}, []string{"login"}},
		{"configured", "", "login", nil, []string{"login"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, req := at(t, http.NotFound)
			req.Grant, req.Scopes = AuthorizationCode, tc.scopes
			req.Server.AuthorizationEndpoint += tc.endpoint
			if tc.configured != "" {
				settings(Settings{AuthorizeParams: map[string]string{"prompt": tc.configured}})(&f.opts)
			}
			u, err := url.Parse(authorize(t, f, req, req.Client).URL)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, u.Query()["prompt"]); diff != "" {
				t.Error(diff)
			}
			if u.Query().Has("scope") != (tc.scopes != nil) {
				t.Errorf("scope %q", u.Query()["scope"])
			}
		})
	}
}
