package oauthtest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

const (
	rfc8414 = "/.well-known/oauth-authorization-server"
	oidc    = "/.well-known/openid-configuration"
)

func TestMetadataPlaces(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options oauthtest.IssuerOptions
		want    map[string]int
	}{
		{"root", oauthtest.IssuerOptions{}, map[string]int{rfc8414: 200, oidc: 200, rfc8414 + "/x": 404}},
		{"path", oauthtest.IssuerOptions{Path: "/tenant1"}, map[string]int{
			rfc8414 + "/tenant1": 200, "/tenant1" + oidc: 200, rfc8414: 404, oidc: 404, "/tenant1" + rfc8414: 404,
		}},
		{"oidc only", oauthtest.IssuerOptions{Path: "/tenant1", OIDCOnly: true}, map[string]int{
			rfc8414 + "/tenant1": 404, "/tenant1" + oidc: 200,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t, tt.options)
			origin := i.URL[:len(i.URL)-len(tt.options.Path)]
			if a := post(t, origin+"/token", nil); (a.status == 404) != (tt.options.Path != "") {
				t.Errorf("token endpoint outside the path: got %d", a.status)
			}
			for path, want := range tt.want {
				a := get(t, origin+path)
				if a.status != want {
					t.Errorf("%s: got %d, want %d", path, a.status, want)
				}
				if want == 200 && a.json["issuer"] != i.URL {
					t.Errorf("%s: issuer is %v, want %s", path, a.json["issuer"], i.URL)
				}
			}
		})
	}
}

// What is switched off is neither announced nor answered.
func TestMetadataMembers(t *testing.T) {
	all := map[string]bool{
		"authorization_endpoint": true, "token_endpoint": true, "registration_endpoint": true, "device_authorization_endpoint": true,
		"revocation_endpoint": true, "code_challenge_methods_supported": true, "authorization_response_iss_parameter_supported": true,
	}
	for _, tt := range []struct {
		name    string
		options oauthtest.IssuerOptions
		without []string
		dead    []string // POST answers 404
	}{
		{"all", oauthtest.IssuerOptions{}, nil, nil},
		{"no registration", oauthtest.IssuerOptions{NoRegistration: true}, []string{"registration_endpoint"}, []string{"/register"}},
		{"no device", oauthtest.IssuerOptions{NoDevice: true}, []string{"device_authorization_endpoint"}, []string{"/device_authorization", "/device", "/device/decision"}},
		{"no iss", oauthtest.IssuerOptions{NoISS: true}, []string{"authorization_response_iss_parameter_supported"}, nil},
		{"no pkce metadata", oauthtest.IssuerOptions{NoPKCEMetadata: true}, []string{"code_challenge_methods_supported"}, nil},
		{"no code", oauthtest.IssuerOptions{NoCode: true}, []string{
			"authorization_endpoint", "code_challenge_methods_supported", "authorization_response_iss_parameter_supported",
		}, []string{"/authorize", "/authorize/decision"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t, tt.options)
			m := get(t, i.URL+rfc8414).json
			want := map[string]bool{}
			for name := range all {
				want[name] = true
			}
			for _, name := range tt.without {
				delete(want, name)
			}
			got := map[string]bool{}
			for name := range all {
				if _, ok := m[name]; ok {
					got[name] = true
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			for _, path := range tt.dead {
				if a := post(t, i.URL+path, nil); a.status != http.StatusNotFound {
					t.Errorf("%s: got %d, want 404", path, a.status)
				}
			}
		})
	}
}

func TestMisbehaviourOnDemand(t *testing.T) {
	i := newIssuer(t, oauthtest.IssuerOptions{
		Path: "/t",
		Edit: func(path string, m map[string]any) {
			if path == rfc8414+"/t" {
				m["issuer"] = "https://evil.example"
			}
		},
		EditReply: func(path string, m map[string]any) {
			if path == "/t/device_authorization" {
				m["interval"] = -1
			}
		},
		EditRedirect: func(q url.Values) { q.Set("iss", "https://evil.example") },
		Handle: map[string]http.HandlerFunc{
			"/token":            func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) },
			"/register":         func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
			"/.well-known/junk": func(w http.ResponseWriter, r *http.Request) { http.NewResponseController(w).Hijack() },
		},
	})
	origin := i.URL[:len(i.URL)-2]
	if got := get(t, origin+rfc8414+"/t").json["issuer"]; got != "https://evil.example" {
		t.Errorf("edited issuer: got %v", got)
	}
	if got := get(t, i.URL+oidc).json["issuer"]; got != i.URL {
		t.Errorf("issuer of the document left alone: got %v", got)
	}
	if got := post(t, i.URL+"/device_authorization", map[string][]string{"client_id": {"public"}}).json["interval"]; got != -1.0 {
		t.Errorf("edited interval: got %v", got)
	}
	if got := decide(t, i, authorizeQuery("v"), "approve").Get("iss"); got != "https://evil.example" {
		t.Errorf("edited iss: got %q", got)
	}
	if a := post(t, i.URL+"/token", nil); a.status != http.StatusTeapot {
		t.Errorf("replaced token endpoint: got %d", a.status)
	}
	if resp, err := plain.Post(i.URL+"/register", "application/json", nil); err == nil {
		resp.Body.Close()
		t.Error("aborted answer came through")
	}
	if e := i.Log.Find("issuer", "/t/register"); len(e) != 1 || e[0].Status != 0 {
		t.Errorf("aborted answer: got %+v, want one event with status 0", e)
	}
}

func TestRefusesBadOptions(t *testing.T) {
	for _, o := range []oauthtest.IssuerOptions{{Path: "tenant"}, {Path: "/"}, {Listen: "nonsense"}, {Listen: ":0"}} {
		if i, err := oauthtest.NewIssuer(o); err == nil {
			i.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
	if r, err := oauthtest.NewResource(oauthtest.ResourceOptions{Metadata: "somewhere"}); err == nil {
		r.Close()
		t.Error("unknown Metadata was accepted")
	}
}

func TestCloseEndsHandlersThatHang(t *testing.T) {
	reached := make(chan struct{})
	i, err := oauthtest.NewIssuer(oauthtest.IssuerOptions{Handle: map[string]http.HandlerFunc{"/slow": func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
	}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		resp, err := plain.Get(i.URL + "/slow")
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-reached
	if got := i.Log.Count("issuer", "GET", "/slow"); got != 1 {
		t.Errorf("a request that waits for its answer: logged %d times, want 1", got)
	}
	i.Close()
	<-done
}
