package oauthtest_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mcp-authfetch/mcp-authfetch/internal/oauthtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain follows no redirect and keeps no connection.
var plain = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

const (
	audience    = "https://docs.example/manual"
	redirectURI = "http://127.0.0.1:40001/callback"
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
)

func newIssuer(t *testing.T, o oauthtest.IssuerOptions) *oauthtest.Issuer {
	t.Helper()
	if o.Clients == nil {
		o.Clients = map[string]string{"public": "", "confidential": "s3cret &+%", "other": ""}
	}
	i, err := oauthtest.NewIssuer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func newResource(t *testing.T, o oauthtest.ResourceOptions) *oauthtest.Resource {
	t.Helper()
	r, err := oauthtest.NewResource(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func send(t *testing.T, req *http.Request) answer {
	t.Helper()
	return sendWith(t, plain, req)
}

func sendWith(t *testing.T, client *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &a.json); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func get(t *testing.T, u string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Add(header[n], header[n+1])
	}
	return send(t, req)
}

func bearer(t *testing.T, u string, token any) answer {
	t.Helper()
	return get(t, u, "Authorization", "Bearer "+token.(string))
}

func post(t *testing.T, u string, form url.Values, header ...string) answer {
	t.Helper()
	return postWith(t, plain, u, form, header...)
}

func postWith(t *testing.T, client *http.Client, u string, form url.Values, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	return sendWith(t, client, req)
}

func postJSON(t *testing.T, u string, v any) answer {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, u, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return send(t, req)
}

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// values copies base with changes: name, value pairs; an empty value removes.
func values(base url.Values, changes ...string) url.Values {
	v := maps.Clone(base)
	for n := 0; n < len(changes); n += 2 {
		v.Set(changes[n], changes[n+1])
		if changes[n+1] == "" {
			v.Del(changes[n])
		}
	}
	return v
}

func authorizeQuery(verifier string, changes ...string) url.Values {
	return values(url.Values{
		"response_type": {"code"}, "client_id": {"public"}, "redirect_uri": {redirectURI}, "state": {"st-1"},
		"code_challenge": {s256(verifier)}, "code_challenge_method": {"S256"}, "resource": {audience}, "scope": {"docs.read docs.list"},
	}, changes...)
}

func tokenForm(code, verifier string, changes ...string) url.Values {
	return values(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "client_id": {"public"},
		"code_verifier": {verifier}, "resource": {audience},
	}, changes...)
}

var hidden = regexp.MustCompile(`name="request" value="([^"]+)"`)

// decide signs in at the issuer and returns what the redirect back carries.
func decide(t *testing.T, i *oauthtest.Issuer, query url.Values, action string) url.Values {
	t.Helper()
	a := get(t, i.URL+"/authorize?"+query.Encode())
	m := hidden.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || m == nil {
		t.Fatalf("authorize: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	return redirected(t, post(t, i.URL+"/authorize/decision", url.Values{"request": {m[1]}, "action": {action}}))
}

func redirected(t *testing.T, a answer) url.Values {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if a.status != http.StatusSeeOther || err != nil || !strings.HasPrefix(u.String(), redirectURI+"?") {
		t.Fatalf("got %d to %q, want 303 to %s: %s", a.status, a.header.Get("Location"), redirectURI, a.body)
	}
	return u.Query()
}

// newCode returns a fresh code and the verifier that belongs to it.
func newCode(t *testing.T, i *oauthtest.Issuer, changes ...string) (code, verifier string) {
	t.Helper()
	verifier = rand.Text() + rand.Text()
	code = decide(t, i, authorizeQuery(verifier, changes...), "approve").Get("code")
	if code == "" {
		t.Fatal("no code")
	}
	return code, verifier
}

// login runs the code flow and returns the token reply.
func login(t *testing.T, i *oauthtest.Issuer) map[string]any {
	t.Helper()
	a := post(t, i.URL+"/token", tokenForm(newCode(t, i)))
	if a.status != http.StatusOK {
		t.Fatalf("token: %d %s", a.status, a.body)
	}
	return a.json
}

func refresh(t *testing.T, i *oauthtest.Issuer, token any, changes ...string) answer {
	t.Helper()
	return post(t, i.URL+"/token", values(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}, "client_id": {"public"}, "resource": {audience},
	}, changes...))
}

func wantError(t *testing.T, name string, a answer, status int, code string) {
	t.Helper()
	if got := a.json["error"]; a.status != status || got != code {
		t.Errorf("%s: got %d %v (%v), want %d %s", name, a.status, got, a.json["error_description"], status, code)
	}
}

func wantValid(t *testing.T, i *oauthtest.Issuer, token any, want bool) {
	t.Helper()
	if got, why := i.Valid(token.(string), audience, nil); got != want {
		t.Errorf("token valid: got %v (%s), want %v", got, why, want)
	}
}
